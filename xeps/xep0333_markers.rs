//! # XEP-0333: Displayed Markers
//!
//! Follows 1.0.0 (2024-04-17). How far somebody read is part of the conversation.
//!
//! - Read by XEP-0313: markers are kept, so that who was away learns of them (§2); in the log's order, as they only move
//!   forward (§5). `<received/>` and `<acknowledged/>` of earlier versions (§11) are markers, too.
//! - Stage: `apply`: what one displays oneself, on whatever device, says how far one has read the conversation, for the
//!   server as well (XEP-0430 §4). It is kept by conversation, and only moves forward, in the log's order.
//! - A message that asks for markers is kept for its text. The feature is one of clients (§3).

use unisono_core::account::Account;
use unisono_core::extension::{Extension, Registry, Spec};
use unisono_core::record::{Direction, MessageRecord, Payload};
use unisono_core::storage::{ReadUpto, Write};

pub const NS: &str = "urn:xmpp:chat-markers:0";

pub struct Markers;

impl Extension for Markers {
    fn spec(&self) -> Spec {
        Spec::xep(333, "1.0.0")
    }

    /// [`is_part`] is read by XEP-0313.
    fn register(&self, on: &mut Registry) {
        on.apply(read_upto);
    }
}

/// §5: one's own marker names the last message that was displayed, and means all before it, too.
fn read_upto(record: &MessageRecord, account: &Account, direction: Direction, writes: &mut Vec<Write>) {
    if direction != Direction::Sent || !record.kind.is_conversation() {
        return;
    }
    let marker = ["displayed", "acknowledged"].iter().find_map(|name| record.payload.child(name, NS));
    if let Some(id) = marker.and_then(|marker| marker.attr("id")).filter(|id| !id.is_empty()) {
        let (peer, upto) = (record.to.to_bare(), ReadUpto::Message(id.into()));
        writes.push(Write::Displayed { account: account.id(), peer, upto });
    }
}

/// §4.2
pub(crate) fn is_part(payload: &Payload) -> bool {
    ["displayed", "received", "acknowledged"].iter().any(|name| payload.has(name, NS))
}

#[cfg(test)]
mod tests {
    use unisono_core::extension::Side;
    use unisono_core::record::Keep;

    use super::*;
    use crate::testing::{account, message, record};
    use crate::xep0313_mam::keep;

    #[test]
    fn ones_own_marker_says_how_far_one_has_read() {
        let marker = |name: &str, id: &str| format!("<{name} xmlns='{NS}' id='{id}'/>");
        for (kind, payload, direction, want) in [
            ("chat", marker("displayed", "m1"), Direction::Sent, true),
            ("chat", marker("acknowledged", "m1"), Direction::Sent, true), // XEP-0430 §4
            ("normal", marker("displayed", "m1"), Direction::Sent, true),
            ("chat", marker("received", "m1"), Direction::Sent, false),
            ("chat", marker("displayed", "m1"), Direction::Received, false), // the other's
            ("chat", marker("displayed", ""), Direction::Sent, false),
            ("headline", marker("displayed", "m1"), Direction::Sent, false),
            ("chat", "<body>hi</body>".to_owned(), Direction::Sent, false),
        ] {
            let mut writes = Vec::new();
            read_upto(&record(kind, &payload), &account(), direction, &mut writes);
            let found = matches!(writes.as_slice(), [Write::Displayed { peer, upto: ReadUpto::Message(id), .. }]
                if peer.as_str() == "bob@example.org" && id == "m1");
            assert_eq!((found, writes.len()), (want, usize::from(want)), "{kind} {payload} {direction:?}");
        }
    }

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
