//! # XEP-0353: Jingle Message Initiation
//!
//! Follows 0.8.0 (2026-02-19). A call rings on all devices, and stops on all of them.
//!
//! - Read by XEP-0313: what begins, takes, refuses or ends a call is kept, so that who was away learns that somebody called
//!   and what came of it (§1, §3.7), and XEP-0280 copies what is kept.
//! - Ours: the `<store/>` that each of these messages has to carry (§3) is not missed where it is not there, and that a device
//!   rings is kept only where it asks for that: of a call that is over it says nothing. `<accept/>` of earlier versions (§11)
//!   is kept as well.
//! - The feature is one of clients; tie-breaking (§4) is theirs, too.

use unisono_core::extension::{Extension, Registry, Spec};
use unisono_core::record::Payload;

pub const NS: &str = "urn:xmpp:jingle-message:0";

pub struct JingleMessages;

impl Extension for JingleMessages {
    fn spec(&self) -> Spec {
        Spec::xep(353, "0.8.0")
    }

    /// [`is_part`] is read by XEP-0313.
    fn register(&self, _: &mut Registry) {}
}

/// §3.1, §3.3 to §3.5, §3.7
pub(crate) fn is_part(payload: &Payload) -> bool {
    ["propose", "retract", "proceed", "accept", "reject", "finish"].iter().any(|name| payload.has(name, NS))
}

#[cfg(test)]
mod tests {
    use unisono_core::extension::Side;
    use unisono_core::record::Keep;

    use super::*;
    use crate::testing::{account, message, vote};

    #[test]
    fn what_a_call_leaves() {
        let store = "<store xmlns='urn:xmpp:hints'/>";
        let element = |name: &str| format!("<{name} xmlns='{NS}' id='1'/>");
        for (kind, payload, kept) in [
            ("chat", element("propose"), Keep::Archive), // §3.1
            ("chat", element("propose") + store, Keep::Archive),
            ("chat", element("retract"), Keep::Archive),   // §3.3
            ("chat", element("proceed"), Keep::Archive),   // §3.4
            ("chat", element("reject"), Keep::Archive),    // §3.5
            ("chat", element("finish"), Keep::Archive),    // §3.7
            ("chat", element("accept"), Keep::Archive),    // §11
            ("normal", element("propose"), Keep::Archive), // though §3 wants another type
            ("chat", element("ringing"), Keep::UntilDelivered), // §3.2
            ("chat", element("ringing") + store, Keep::Archive),
            ("chat", element("propose") + "<no-store xmlns='urn:xmpp:hints'/>", Keep::Nothing),
            ("headline", element("propose"), Keep::Nothing),
            ("groupchat", element("propose") + store, Keep::Nothing),
            ("error", element("propose") + store, Keep::Nothing),
            (
                "chat",
                "<propose xmlns='urn:xmpp:jingle:jingle-message:0' id='1'/>".into(),
                Keep::UntilDelivered,
            ),
        ] {
            for side in [Side::Sender, Side::Recipient] {
                assert_eq!(vote(&message(kind, &payload), &account(), side), kept, "{kind} {payload}");
            }
        }
    }
}
