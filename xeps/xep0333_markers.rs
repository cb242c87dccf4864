//! # XEP-0333: Displayed Markers
//!
//! Follows 1.0.0 (2024-04-17). How far somebody read is part of the conversation.
//!
//! - Stage: `record`.

use unisono_core::account::Account;
use unisono_core::extension::{Extension, Registry, Side, Spec};
use unisono_core::record::Keep;
use unisono_core::stanza::{Message, MessageType};

pub const NS: &str = "urn:xmpp:chat-markers:0";

pub struct Markers;

impl Extension for Markers {
    fn spec(&self) -> Spec {
        Spec::xep(333, "1.0.0")
    }

    fn register(&self, on: &mut Registry) {
        on.record(keep);
    }
}

/// §4: a marker is recorded, so that every device shows the same state.
fn keep(message: &Message, _: &Account, _: Side) -> Option<Keep> {
    let is_conversation = matches!(message.kind, MessageType::Chat | MessageType::Normal);
    let marks = ["received", "displayed", "acknowledged"].iter().any(|name| message.payload.has(name, NS));
    (is_conversation && marks).then_some(Keep::Archive)
}
