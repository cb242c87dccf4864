//! # XEP-0184: Message Delivery Receipts
//!
//! Follows 1.4.0 (2018-08-02). That a message arrived is part of the conversation.
//!
//! - Read by XEP-0313: receipts are kept, so that the sender's other devices show the same.
//! - Receipts are made by clients alone (§7): a message that a device reads in the archive was received before (§5.5),
//!   and the server answers for nobody. The feature is one of clients (§6).

use unisono_core::extension::{Extension, Registry, Spec};
use unisono_core::record::Payload;

pub const NS: &str = "urn:xmpp:receipts";

pub struct Receipts;

impl Extension for Receipts {
    fn spec(&self) -> Spec {
        Spec::xep(184, "1.4.0")
    }

    /// [`is_part`] is read by XEP-0313.
    fn register(&self, _: &mut Registry) {}
}

/// §7, the "ack message"
pub(crate) fn is_part(payload: &Payload) -> bool {
    payload.has("received", NS)
}

#[cfg(test)]
mod tests {
    use unisono_core::extension::Side;
    use unisono_core::record::Keep;

    use crate::testing::{account, message};
    use crate::xep0313_mam::keep;

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
