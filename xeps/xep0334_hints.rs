//! # XEP-0334: Message Processing Hints
//!
//! Follows 1.0.0 (2024-04-17). A sender says what the servers should make of a message.
//!
//! - Stage: `record`; `<no-copy/>` is read by XEP-0280.
//! - Ours: `<no-store/>` beats `<store/>`, and no hint makes a message lost that carries a body to somebody who is away
//!   without telling the sender. `<store/>` in a message to a room speaks to the room, whose history it is.

use unisono_core::account::Account;
use unisono_core::extension::{Extension, Registry, Side, Spec};
use unisono_core::record::{Keep, Payload};
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
        // Only these wait for who is away at all (RFC 6121 §8.5.2.1.1, §8.5.2.2.1).
        Some(if message.kind.is_conversation() { Keep::UntilDelivered } else { Keep::Nothing })
    } else if is_to_be_stored(message.kind, &message.payload) {
        Some(Keep::Archive)
    } else {
        None
    }
}

/// §4.4, unless another hint forbids it.
pub(crate) fn is_to_be_stored(kind: MessageType, payload: &Payload) -> bool {
    let is_ours = !matches!(kind, MessageType::Groupchat | MessageType::Error);
    is_ours && payload.has("store", NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{account, message};

    #[test]
    fn what_a_hint_asks_for() {
        let hint = |name| format!("<body>hi</body><{name} xmlns='{NS}'/>");
        for (kind, payload, kept) in [
            ("chat", hint("no-permanent-store"), Some(Keep::UntilDelivered)), // §4.1
            ("normal", hint("no-permanent-store"), Some(Keep::UntilDelivered)),
            ("groupchat", hint("no-permanent-store"), Some(Keep::Nothing)),
            ("headline", hint("no-permanent-store"), Some(Keep::Nothing)),
            ("headline", hint("store") + &hint("no-permanent-store"), Some(Keep::Nothing)),
            ("chat", hint("no-store"), Some(Keep::Nothing)), // §4.2
            ("headline", hint("no-store"), Some(Keep::Nothing)),
            ("chat", hint("no-copy"), None),              // §4.3
            ("chat", hint("store"), Some(Keep::Archive)), // §4.4
            ("headline", hint("store"), Some(Keep::Archive)),
            ("groupchat", hint("store"), None),
            ("chat", hint("store") + &hint("no-store"), Some(Keep::Nothing)),
            ("error", hint("store"), None), // §5
            ("error", hint("no-store"), None),
            ("chat", hint("keep"), None),
            ("chat", "<store xmlns='urn:example'/>".into(), None),
        ] {
            assert_eq!(keep(&message(kind, &payload), &account(), Side::Sender), kept, "{kind} {payload}");
        }
    }
}
