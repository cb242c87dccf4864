//! # XEP-0424: Message Retraction
//!
//! Follows 0.4.2 (2025-01-18). Who takes a message back takes it out of the archives of both sides, too.
//!
//! - Stage: `record`: with the retraction (§5), in one commit, the tombstone (§4).
//! - Ours: a tombstone keeps place, id and time of what it stands for. It is set in both logs of a conversation inside
//!   this server, which share one record, and only if both archives show the retraction beside it.
//! - Left out: retractions in rooms, which belong to the rooms (XEP-0425), and between occupants of a room, whose bare
//!   address does not tell who wrote (§5); tombstones for the corrections (XEP-0308) of what is retracted, which have
//!   ids of their own.

use unisono_core::account::Account;
use unisono_core::datetime::format_utc;
use unisono_core::extension::{Entity, Extension, Registry, Spec};
use unisono_core::hub::Settings;
use unisono_core::record::{Direction, Keep, MessageRecord, Payload, Place};
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_core::storage::Write;
use unisono_xml::Element;

use crate::xep0280_carbons;

pub const NS: &str = "urn:xmpp:message-retract:1";
/// §4
pub const NS_TOMBSTONE: &str = "urn:xmpp:message-retract:1#tombstone";

pub struct Retraction;

impl Extension for Retraction {
    fn spec(&self) -> Spec {
        Spec::xep(424, "0.4.2")
    }

    fn register(&self, on: &mut Registry) {
        for entity in [Entity::Server, Entity::OwnAccount] {
            on.feature(entity, NS).feature(entity, NS_TOMBSTONE);
        }
        on.apply(bury);
    }
}

/// §5: the archive has the retraction, whatever becomes of the message.
pub(crate) fn is_part(payload: &Payload) -> bool {
    payload.has("retract", NS)
}

/// §4: what the retraction names makes way for a tombstone. That its author is the one who retracts is the store's to
/// check, which has the message.
fn bury(record: &MessageRecord, account: &Account, direction: Direction, writes: &mut Vec<Write>) {
    let Some(id) = record.payload.child("retract", NS).and_then(|retract| retract.attr("id")) else { return };
    let Some((place, _)) = record.place(account.id()) else { return };
    // A tombstone names the retraction (§4), so there has to be one to be found, and it is not its own.
    let Some(own) = record.id.as_deref().filter(|own| *own != id && !id.is_empty()) else { return };
    // §5: all occupants of a room have one bare address.
    let is_kept = is_shown_beside(record, account.settings());
    if !is_kept || !record.kind.is_conversation() || xep0280_carbons::is_of_room(record, account.settings()) {
        return;
    }
    let tombstone =
        Element::builder("retracted", NS).attr("id", own).attr("stamp", format_utc(place.position.0));
    writes.push(Write::Retract {
        account: account.id(),
        peer: record.peer(direction).to_bare(),
        from: record.from.to_bare(),
        id: id.into(),
        payload: tombstone.build().to_string_in(&CLIENT_SCOPE),
    });
}

/// Whether the retraction is in each archive of this server that may have what it retracts: both share one record. Who
/// refused it, or does not want it archived, keeps the message as it was.
fn is_shown_beside(record: &MessageRecord, settings: &Settings) -> bool {
    let shown = |place: &Option<Place>| place.as_ref().is_some_and(|place| place.keep == Keep::Archive);
    let is_to_oneself = record.from.to_bare() == record.to.to_bare();
    let is_sender_here = settings.serves(record.from.domain()) && !is_to_oneself;
    (!is_sender_here || shown(&record.sent))
        && (!settings.serves(record.to.domain()) || shown(&record.received))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use unisono_core::extension::Side;
    use unisono_core::ids::{AccountId, LogPosition};

    use super::*;
    use crate::testing::{ALICE, BOB, account, message, record};
    use crate::xep0313_mam::keep;

    const RETRACT: &str =
        "<retract xmlns='urn:xmpp:message-retract:1' id='wrong'/><body>/me retracted</body>";

    fn place(account: AccountId, keep: Keep) -> Option<Place> {
        Some(Place { account, position: LogPosition(1_569_020_972_000_000), keep, deliveries: Vec::new() })
    }

    /// Alice's retraction, recorded in both logs.
    fn retraction(kind: &str, payload: &str) -> MessageRecord {
        let (sent, received) = (place(ALICE, Keep::Archive), place(BOB, Keep::Archive));
        MessageRecord { sent, received, ..record(kind, payload) }
    }

    fn writes(record: &MessageRecord) -> Vec<Write> {
        let mut writes = Vec::new();
        bury(record, &account(), Direction::Sent, &mut writes);
        writes
    }

    #[test]
    fn a_retraction_is_kept() {
        for (kind, payload, kept) in [
            ("chat", RETRACT, Some(Keep::Archive)),
            ("normal", "<retract xmlns='urn:xmpp:message-retract:1' id='wrong'/>", Some(Keep::Archive)),
            ("groupchat", RETRACT, None),
            ("error", RETRACT, None),
            ("chat", "<retract xmlns='urn:example' id='wrong'/>", None),
            ("chat", "<retracted xmlns='urn:xmpp:message-retract:1' id='wrong'/>", None),
        ] {
            assert_eq!(keep(&message(kind, payload), &account(), Side::Sender), kept, "{kind} {payload}");
        }
    }

    #[test]
    fn a_retraction_leaves_a_tombstone() {
        let written = writes(&retraction("chat", RETRACT));
        let [Write::Retract { account, peer, from, id, payload }] = written.as_slice() else {
            panic!("one write: {written:?}")
        };
        assert_eq!((*account, id.as_str()), (ALICE, "wrong"));
        assert_eq!((from.as_str(), peer.as_str()), ("alice@example.org", "bob@example.org"));
        // §4: the id is that of the retraction, the time that of the retraction.
        assert_eq!(
            payload,
            "<retracted xmlns='urn:xmpp:message-retract:1' id='m1' stamp='2019-09-20T23:09:32.000000Z'/>"
        );
        let mut received = Vec::new();
        bury(&retraction("chat", RETRACT), &crate::testing::bob(), Direction::Received, &mut received);
        let [Write::Retract { account, peer, from, .. }] = received.as_slice() else { panic!("one write") };
        assert_eq!((*account, peer, from.as_str()), (BOB, from, "alice@example.org"));
    }

    #[test]
    fn what_leaves_no_tombstone() {
        let elsewhere =
            |record: MessageRecord| MessageRecord { to: "bob@elsewhere.net".parse().unwrap(), ..record };
        let chat = retraction("chat", RETRACT);
        let marked =
            retraction("chat", &format!("{RETRACT}<x xmlns='http://jabber.org/protocol/muc#user'/>"));
        for (what, record) in [
            ("no retraction", retraction("chat", "<body>hi</body>")),
            ("of nothing", retraction("chat", "<retract xmlns='urn:xmpp:message-retract:1'/>")),
            ("of an empty id", retraction("chat", "<retract xmlns='urn:xmpp:message-retract:1' id=''/>")),
            ("of itself", retraction("chat", "<retract xmlns='urn:xmpp:message-retract:1' id='m1'/>")),
            ("without an id", MessageRecord { id: None, ..chat.clone() }),
            ("in a room", retraction("groupchat", RETRACT)),
            ("between occupants", elsewhere(MessageRecord { received: None, ..marked.clone() })),
            ("not shown", MessageRecord { sent: place(ALICE, Keep::UntilDelivered), ..chat.clone() }),
            ("in no log", MessageRecord { sent: None, ..chat.clone() }),
            ("refused by the other side", MessageRecord { received: None, ..chat.clone() }),
            (
                "not shown to the other side",
                MessageRecord { received: place(BOB, Keep::UntilDelivered), ..chat.clone() },
            ),
        ] {
            assert!(writes(&record).is_empty(), "{what}");
        }
        assert_eq!(writes(&marked).len(), 1, "users of this server are no occupants, whatever they say");
        let mut received = Vec::new();
        for sent in [None, place(ALICE, Keep::UntilDelivered)] {
            let record = MessageRecord { sent, ..chat.clone() };
            bury(&record, &crate::testing::bob(), Direction::Received, &mut received);
            assert!(received.is_empty(), "not shown to its sender");
        }
        let to_oneself = MessageRecord {
            to: "alice@example.org".parse().unwrap(),
            sent: None,
            received: place(ALICE, Keep::Archive),
            ..chat.clone()
        };
        bury(&to_oneself, &account(), Direction::Received, &mut received);
        assert_eq!(received.len(), 1, "one log holds both sides");
        let remote = elsewhere(MessageRecord { received: None, ..chat });
        assert_eq!(writes(&remote).len(), 1, "the other side is not ours to ask");
    }
}
