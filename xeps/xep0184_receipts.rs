//! # XEP-0184: Message Delivery Receipts
//!
//! Follows 1.4.0 (2018-08-02). That a message arrived is part of the conversation.
//!
//! - Stage: `record`.

use unisono_core::account::Account;
use unisono_core::extension::{Extension, Registry, Side, Spec};
use unisono_core::record::Keep;
use unisono_core::stanza::{Message, MessageType};

pub const NS: &str = "urn:xmpp:receipts";

pub struct Receipts;

impl Extension for Receipts {
    fn spec(&self) -> Spec {
        Spec::xep(184, "1.4.0")
    }

    fn register(&self, on: &mut Registry) {
        on.record(keep);
    }
}

/// §5.4: a receipt is recorded like what it answers, so that every device shows the same state.
fn keep(message: &Message, _: &Account, _: Side) -> Option<Keep> {
    let is_conversation = matches!(message.kind, MessageType::Chat | MessageType::Normal);
    (is_conversation && message.payload.has("received", NS)).then_some(Keep::Archive)
}
