//! # XEP-0184: Message Delivery Receipts
//!
//! Follows 1.4.0 (2018-08-02). That a message arrived is part of the conversation.
//!
//! - Stage: `record`: receipts are kept, so that the sender's other devices show the same.
//! - Receipts are made by clients alone (§7): a message that a device reads in the archive was received before (§5.5),
//!   and the server answers for nobody. The feature is one of clients (§6).

use unisono_core::account::Account;
use unisono_core::extension::{Extension, Registry, Side, Spec};
use unisono_core::record::Keep;
use unisono_core::stanza::Message;

use crate::xep0313_mam;

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

/// §7, the "ack message"
fn keep(message: &Message, _: &Account, _: Side) -> Option<Keep> {
    xep0313_mam::keep_if(message, message.payload.has("received", NS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{account, message};

    #[test]
    fn a_receipt_is_kept() {
        let received = "<received xmlns='urn:xmpp:receipts' id='1'/>";
        for (kind, payload, kept) in [
            ("chat", received, Some(Keep::Archive)),
            ("normal", received, Some(Keep::Archive)), // §7, example 4 has no type
            ("groupchat", received, None),             // §5.3
            ("headline", received, None),
            ("error", received, None),
            ("chat", "<request xmlns='urn:xmpp:receipts'/>", None),
            ("chat", "<received xmlns='urn:example' id='1'/>", None),
        ] {
            assert_eq!(keep(&message(kind, payload), &account(), Side::Sender), kept, "{kind} {payload}");
        }
    }
}
