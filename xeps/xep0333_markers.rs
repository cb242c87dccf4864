//! # XEP-0333: Displayed Markers
//!
//! Follows 1.0.0 (2024-04-17). How far somebody read is part of the conversation.
//!
//! - Read by XEP-0313: markers are kept, so that who was away learns of them (§2); in the log's order, as they only move
//!   forward (§5). `<received/>` and `<acknowledged/>` of earlier versions (§11) are markers, too.
//! - A message that asks for markers is kept for its text. The feature is one of clients (§3).

use unisono_core::extension::{Extension, Registry, Spec};
use unisono_core::record::Payload;

pub const NS: &str = "urn:xmpp:chat-markers:0";

pub struct Markers;

impl Extension for Markers {
    fn spec(&self) -> Spec {
        Spec::xep(333, "1.0.0")
    }

    /// [`is_part`] is read by XEP-0313.
    fn register(&self, _: &mut Registry) {}
}

/// §4.2
pub(crate) fn is_part(payload: &Payload) -> bool {
    ["displayed", "received", "acknowledged"].iter().any(|name| payload.has(name, NS))
}

#[cfg(test)]
mod tests {
    use unisono_core::extension::Side;
    use unisono_core::record::Keep;

    use crate::testing::{account, message};
    use crate::xep0313_mam::keep;

    #[test]
    fn a_marker_is_kept() {
        let displayed = "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>";
        for (kind, payload, kept) in [
            ("chat", displayed, Some(Keep::Archive)),
            ("normal", displayed, Some(Keep::Archive)), // §4.2, example 4 has no type
            ("chat", "<received xmlns='urn:xmpp:chat-markers:0' id='1'/>", Some(Keep::Archive)),
            ("chat", "<acknowledged xmlns='urn:xmpp:chat-markers:0' id='1'/>", Some(Keep::Archive)),
            ("groupchat", displayed, None), // §4.3
            ("headline", displayed, None),
            ("error", displayed, None),
            ("chat", "<markable xmlns='urn:xmpp:chat-markers:0'/>", None), // §4.1
            ("chat", "<displayed xmlns='urn:example' id='1'/>", None),
        ] {
            assert_eq!(keep(&message(kind, payload), &account(), Side::Sender), kept, "{kind} {payload}");
        }
    }
}
