//! # XEP-0160: Best Practices for Handling Offline Messages
//!
//! Follows 1.0.1 (2016-10-07). Who is away gets what was sent meanwhile, on every device.
//!
//! - Stage: `record`, the last vote of all (§3): what no archive shows waits until every device has it.
//! - The messages that wait are the log behind a device's cursor (the core's `catch_up`); there is no other store of
//!   them, and no limit to their number (§2, step 3). §2, step 5: a first presence of priority 0 or above takes them.
//! - Ours: messages to the bare address and to a resource that is gone wait for all devices, not for the next one alone.

use unisono_core::account::Account;
use unisono_core::extension::{Entity, Extension, Registry, Side, Spec};
use unisono_core::record::Keep;
use unisono_core::stanza::Message;

/// §4
pub const FEATURE: &str = "msgoffline";

pub struct Offline;

impl Extension for Offline {
    fn spec(&self) -> Spec {
        Spec::xep(160, "1.0.1")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, FEATURE);
        on.record(keep);
    }
}

/// §3: `normal` and `chat` wait, whatever they carry, if anything. Typing states were sorted out before.
fn keep(message: &Message, _: &Account, _: Side) -> Option<Keep> {
    let waits = message.kind.is_conversation() && !message.payload.elements().is_empty();
    waits.then_some(Keep::UntilDelivered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{account, message, vote};

    #[test]
    fn what_waits() {
        let data = "<data xmlns='urn:example'/>";
        for (kind, payload, kept) in [
            ("normal", data, Some(Keep::UntilDelivered)),
            ("chat", data, Some(Keep::UntilDelivered)),
            ("groupchat", data, None),
            ("headline", data, None),
            ("error", data, None),
            ("chat", "", None),
        ] {
            assert_eq!(keep(&message(kind, payload), &account(), Side::Recipient), kept, "{kind} {payload}");
        }
    }

    /// §3 as a whole: what reaches a user who is away.
    #[test]
    fn what_reaches_who_is_away() {
        for (kind, payload, waits) in [
            ("normal", "<body>hi</body>", true),
            ("chat", "<body>hi</body>", true),
            ("chat", "<paused xmlns='http://jabber.org/protocol/chatstates'/>", false),
            ("chat", "<body>hi</body><active xmlns='http://jabber.org/protocol/chatstates'/>", true),
            ("chat", "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>", true),
            ("groupchat", "<body>hi</body>", false),
            ("headline", "<body>hi</body>", false),
            ("error", "<body>hi</body>", false),
        ] {
            let kept = vote(&message(kind, payload), &account(), Side::Recipient);
            assert_eq!(kept != Keep::Nothing, waits, "{kind} {payload}");
        }
    }
}
