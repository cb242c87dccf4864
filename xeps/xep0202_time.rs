//! # XEP-0202: Entity Time
//!
//! Follows 2.0 (2009-09-11). What time it is on the server, in UTC.

use unisono_core::datetime::format_utc;
use unisono_core::extension::{Answer, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::stanza::IqType;
use unisono_xml::Element;

pub const NS: &str = "urn:xmpp:time";

pub struct EntityTime;

impl Extension for EntityTime {
    fn spec(&self) -> Spec {
        Spec::xep(202, "2.0")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS);
        on.iq(Entity::Server, IqType::Get, (NS, "time"), time);
    }
}

/// §3
fn time(request: &Request) -> Answer {
    let offset = Element::builder("tzo", NS).text("+00:00").build();
    let now = Element::builder("utc", NS).text(format_utc(request.hub.clock.now_micros())).build();
    Ok(Reply::with(Element::builder("time", NS).child(offset).child(now).build()))
}
