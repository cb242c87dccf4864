//! # XEP-0199: XMPP Ping
//!
//! Follows 2.0.1 (2019-03-26). Answers pings to the server, to its services and to the own account. Dead connections the server finds by
//! acknowledgements and white space, which cost less than a ping of its own.

use unisono_core::extension::{Entity, Extension, Registry, Reply, Spec};
use unisono_core::stanza::IqType;

use crate::xep0060_pubsub;

pub const NS: &str = "urn:xmpp:ping";

pub struct Ping;

impl Extension for Ping {
    fn spec(&self) -> Spec {
        Spec::xep(199, "2.0.1")
    }

    fn register(&self, on: &mut Registry) {
        for entity in [Entity::Server, Entity::OwnAccount, Entity::Service(xep0060_pubsub::SERVICE)] {
            on.feature(entity, NS);
            on.iq(entity, IqType::Get, (NS, "ping"), |_| Ok(Reply::empty()));
        }
    }
}
