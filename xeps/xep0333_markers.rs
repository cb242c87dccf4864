//! # XEP-0333: Displayed Markers
//!
//! Follows 1.0.0 (2024-04-17). How far somebody read is part of the conversation.
//!
//! - Stage: `record`: markers are kept, so that who was away learns of them (§2); in the log's order, as they only move
//!   forward (§5). `<received/>` and `<acknowledged/>` of earlier versions (§11) are markers, too.
//! - A message that asks for markers is kept for its text. The feature is one of clients (§3).

use unisono_core::account::Account;
use unisono_core::extension::{Extension, Registry, Side, Spec};
use unisono_core::record::Keep;
use unisono_core::stanza::Message;

use crate::xep0313_mam;

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

/// §4.2
fn keep(message: &Message, _: &Account, _: Side) -> Option<Keep> {
    let marks = ["displayed", "received", "acknowledged"].iter().any(|name| message.payload.has(name, NS));
    xep0313_mam::keep_if(message, marks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{account, message};

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
