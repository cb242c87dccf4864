//! # XEP-0444: Message Reactions
//!
//! Follows 0.2.1 (2024-04-15). A reaction is a part of the conversation, though it has no text.
//!
//! - Read by XEP-0313: all reactions are kept, those that take others back (§3.2) included; in the log's order, the last
//!   of a sender holds. The feature is one of clients (§2.1).
//! - Left out: restrictions (§2.2), which are for gateways and rooms.

use unisono_core::extension::{Extension, Registry, Spec};
use unisono_core::record::Payload;

pub const NS: &str = "urn:xmpp:reactions:0";

pub struct Reactions;

impl Extension for Reactions {
    fn spec(&self) -> Spec {
        Spec::xep(444, "0.2.1")
    }

    /// [`is_part`] is read by XEP-0313.
    fn register(&self, _: &mut Registry) {}
}

/// §4: the `<store/>` hint that senders should add says the same.
pub(crate) fn is_part(payload: &Payload) -> bool {
    payload.has("reactions", NS)
}

#[cfg(test)]
mod tests {
    use unisono_core::extension::Side;
    use unisono_core::record::Keep;

    use crate::testing::{account, message};
    use crate::xep0313_mam::keep;

    #[test]
    fn a_reaction_is_kept() {
        let wave = "<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>👋</reaction></reactions>";
        let nothing = "<reactions xmlns='urn:xmpp:reactions:0' id='1'/>";
        for (kind, payload, kept) in [
            ("chat", wave, Some(Keep::Archive)),
            ("chat", nothing, Some(Keep::Archive)), // §3.2, example 7
            ("normal", wave, Some(Keep::Archive)),
            ("groupchat", wave, None),
            ("headline", wave, None),
            ("error", wave, None), // §3.3
            ("chat", "<reaction xmlns='urn:xmpp:reactions:0'>👋</reaction>", None),
            ("chat", "<reactions xmlns='urn:example' id='1'/>", None),
        ] {
            assert_eq!(keep(&message(kind, payload), &account(), Side::Sender), kept, "{kind} {payload}");
        }
    }
}
