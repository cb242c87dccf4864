//! # XEP-0334: Message Processing Hints
//!
//! Follows 1.0.0 (2024-04-17). A sender says what the servers should make of a message.
//!
//! - Stage: `record`; `<no-copy/>` is read by XEP-0280.
//! - Ours: `<no-store/>` beats `<store/>`, and no hint makes a message lost that carries a body to somebody who is away
//!   without telling the sender.

use unisono_core::account::Account;
use unisono_core::extension::{Extension, Registry, Side, Spec};
use unisono_core::record::Keep;
use unisono_core::stanza::{Message, MessageType};

pub const NS: &str = "urn:xmpp:hints";

pub struct Hints;

impl Extension for Hints {
    fn spec(&self) -> Spec {
        Spec::xep(334, "1.0.0")
    }

    fn register(&self, on: &mut Registry) {
        on.record(keep);
    }
}

/// §4: the hints about storage.
fn keep(message: &Message, _: &Account, _: Side) -> Option<Keep> {
    let has = |name| message.payload.has(name, NS);
    if message.payload.in_ns(NS).is_none() || message.kind == MessageType::Error {
        None
    } else if has("no-store") {
        Some(Keep::Nothing)
    } else if has("no-permanent-store") {
        Some(Keep::UntilDelivered)
    } else if has("store") {
        Some(Keep::Archive)
    } else {
        None
    }
}
