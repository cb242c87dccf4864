//! # XEP-0092: Software Version
//!
//! Follows 1.1 (2007-02-15). Which server this is. The operating system is nobody's business (§5).

use unisono_core::extension::{Entity, Extension, Registry, Reply, Spec};
use unisono_core::stanza::IqType;
use unisono_xml::Element;

pub const NS: &str = "jabber:iq:version";
/// What this software is called.
pub const NAME: &str = "Unisono";
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub struct Version;

impl Extension for Version {
    fn spec(&self) -> Spec {
        Spec::xep(92, "1.1")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS);
        on.iq(Entity::Server, IqType::Get, (NS, "query"), |_| {
            let name = Element::builder("name", NS).text(NAME).build();
            let version = Element::builder("version", NS).text(VERSION).build();
            Ok(Reply::with(Element::builder("query", NS).child(name).child(version).build()))
        });
    }
}
