//! # XEP-0280: Message Carbons
//!
//! Follows 1.0.1 (2021-12-26). Every device that asked for it sees what the others send and receive.
//!
//! - Stages: `annotate` (§11, forged copies), `reflect` (§8, sent), `deliver` (§7, received). State: one flag per session.
//! - Ours: a device that was away gets the copies of what is recorded when it comes back; what archives keep for what it
//!   carries is copied, whatever its type.
//! - Left out: `<x/>` in copies of private messages to rooms (§6.1, a MAY).

use unisono_core::bind2::{JustBound, Settled};
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Child, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::hub::Settings;
use unisono_core::jid::Jid;
use unisono_core::outbox::{Form, Wrapping};
use unisono_core::record::{Direction, MessageRecord, Payload};
use unisono_core::session::Session;
use unisono_core::stanza::{IqType, MessageType};
use unisono_xml::Element;

use crate::{xep0085_chat_states, xep0184_receipts, xep0313_mam, xep0333_markers, xep0334_hints};

pub const NS: &str = "urn:xmpp:carbons:2";
/// What the namespaces of all versions begin with.
const NS_ANY: &str = "urn:xmpp:carbons:";
/// §6.2: promises clients all of §6.1.
pub const NS_RULES: &str = "urn:xmpp:carbons:rules:0";
/// XEP-0249: an invitation that one user sends to another.
const NS_INVITATION: &str = "jabber:x:conference";
/// What a room adds to the private messages of its occupants (XEP-0045 §7.5).
pub(crate) const NS_MUC_USER: &str = "http://jabber.org/protocol/muc#user";

/// §8
static SENT: Wrapping = Wrapping {
    name: "carbon-sent",
    open: "<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>",
    close: "</forwarded></sent>",
};
/// §7
static RECEIVED: Wrapping = Wrapping {
    name: "carbon-received",
    open: "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>",
    close: "</forwarded></received>",
};

pub struct Carbons;

impl Extension for Carbons {
    fn spec(&self) -> Spec {
        Spec::xep(280, "1.0.1")
    }

    fn register(&self, on: &mut Registry) {
        // COMPAT(Monal 6): looks for carbons on the domain; others ask the account.
        for entity in [Entity::Server, Entity::OwnAccount] {
            on.feature(entity, NS).feature(entity, NS_RULES);
        }
        on.iq(Entity::OwnAccount, IqType::Set, (NS, "enable"), |request| switch(request, true));
        on.iq(Entity::OwnAccount, IqType::Set, (NS, "disable"), |request| switch(request, false));
        on.iq(Entity::OtherAccount, IqType::Set, (NS, "enable"), refuse_others);
        on.iq(Entity::OtherAccount, IqType::Set, (NS, "disable"), refuse_others);
        on.at_bind(Some(NS), enable_at_bind);
        on.annotate(refuse_forged);
        on.wrapping(&SENT).wrapping(&RECEIVED);
        on.reflect(copy_sent);
        on.deliver(copy_received);
    }
}

/// §4 and §5; a repetition is not an error (§10.1).
fn switch(request: &Request, wanted: bool) -> Answer {
    request.with_session(|session| session.set_carbons(wanted));
    Ok(Reply::empty())
}

/// XEP-0386 §3.2: without an answer, for it cannot fail.
fn enable_at_bind(bound: &mut JustBound<'_>) -> Settled {
    if bound.request.has_child("enable", NS)
        && let Some(session) = bound.account.session_mut(bound.session)
    {
        session.set_carbons(true);
    }
    Settled::Nothing
}

/// §4.1 and §5.1: another account's devices. A stranger does not learn that there is one.
fn refuse_others(request: &Request) -> Answer {
    let is_known = request.account()?.is_seen_by(&request.from().to_bare());
    let condition = if is_known { Condition::NotAllowed } else { Condition::ServiceUnavailable };
    Err(StanzaError::new(condition))
}

/// §11: only the account itself sends copies, so a client that forgets to look at `from` is safe.
fn refuse_forged(child: &Element, _: &Jid, _: &Settings) -> Child {
    let is_copy = matches!(child.name(), "sent" | "received") && child.ns().starts_with(NS_ANY);
    if is_copy { Child::Remove } else { Child::Keep }
}

/// §8: the sender's other devices get what this one sent.
fn copy_sent(record: &MessageRecord, _: Direction, session: &Session, settings: &Settings) -> Option<Form> {
    (session.wants_carbons() && is_eligible(record, settings)).then_some(Form::Wrapped(&SENT))
}

/// §7: devices that a message was not addressed to get a copy.
fn copy_received(
    record: &MessageRecord,
    _: Direction,
    session: &Session,
    settings: &Settings,
) -> Option<Form> {
    (session.wants_carbons() && is_for_all(record, settings)).then_some(Form::Wrapped(&RECEIVED))
}

fn is_for_all(record: &MessageRecord, settings: &Settings) -> bool {
    // §10.3: what answers a message of the account itself answers a copy, and must not be copied in turn.
    if record.kind == MessageType::Error && record.to.is_bare() {
        return false;
    }
    // §6.1: a room sends its private messages to each of the user's devices in it.
    let from_occupant =
        is_of_room(record, settings) && record.from.is_full() && !is_invitation(&record.payload);
    is_eligible(record, settings) && !from_occupant
}

/// Whether one of the two is a room or somebody in it. The mark of rooms is not enough: between users of this server
/// either of them could have put it there, and would keep the message off the other's devices.
pub(crate) fn is_of_room(record: &MessageRecord, settings: &Settings) -> bool {
    let is_user = |jid: &Jid| settings.serves(jid.domain());
    record.payload.has("x", NS_MUC_USER) && !(is_user(&record.from) && is_user(&record.to))
}

/// §6.1
fn is_eligible(record: &MessageRecord, settings: &Settings) -> bool {
    let payload = &record.payload;
    if payload.has("private", NS) || payload.has("no-copy", xep0334_hints::NS) {
        return false;
    }
    match record.kind {
        MessageType::Groupchat => false,
        MessageType::Chat => true,
        // What it answers is not known any more; a room's errors are for the device that spoke.
        MessageType::Error => !is_of_room(record, settings),
        MessageType::Normal | MessageType::Headline => {
            is_kept_for_content(record)
                || is_invitation(payload)
                || payload.elements().iter().any(is_instant_messaging)
        }
    }
}

/// What archives keep for what it carries is a part of the conversation: a device without it shows another one.
fn is_kept_for_content(record: &MessageRecord) -> bool {
    let MessageRecord { kind, payload, .. } = record;
    xep0313_mam::is_conversation(*kind, payload) || xep0334_hints::is_to_be_stored(*kind, payload)
}

/// §6.1, the third rule
fn is_instant_messaging(child: &Element) -> bool {
    [xep0184_receipts::NS, xep0085_chat_states::NS, xep0333_markers::NS].contains(&child.ns())
}

/// XEP-0249, and the mediated invitation of XEP-0045 §7.8.2.
pub(crate) fn is_invitation(payload: &Payload) -> bool {
    let mediated = payload.child("x", NS_MUC_USER).is_some_and(|x| x.has_child("invite", NS_MUC_USER));
    mediated || payload.has("x", NS_INVITATION)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use unisono_core::extension::Side;
    use unisono_core::record::Keep;

    use super::*;
    use crate::testing::{account, element, message, record, settings, vote};

    #[test]
    fn what_is_copied() {
        for (kind, payload, eligible) in [
            ("chat", "<body>hi</body>", true),
            ("chat", "<active xmlns='http://jabber.org/protocol/chatstates'/>", true),
            ("normal", "<body>hi</body>", true),
            ("normal", "<received xmlns='urn:xmpp:receipts' id='1'/>", true),
            ("normal", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", true),
            ("normal", "<x xmlns='jabber:x:conference' jid='room@muc.example'/>", true),
            ("normal", "<x xmlns='http://jabber.org/protocol/muc#user'><invite/></x>", true),
            ("normal", "<data xmlns='urn:example'/>", false),
            ("chat", "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>", true),
            ("normal", "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>", true),
            ("normal", "<ringing xmlns='urn:xmpp:jingle-message:0' id='1'/>", false),
            (
                "normal",
                "<ringing xmlns='urn:xmpp:jingle-message:0' id='1'/><store xmlns='urn:xmpp:hints'/>",
                true,
            ),
            ("groupchat", "<body>hi</body>", false),
            ("groupchat", "<received xmlns='urn:xmpp:receipts' id='1'/>", false),
            ("headline", "<body>hi</body>", false),
            ("headline", "<body>hi</body><request xmlns='urn:xmpp:receipts'/>", true),
            ("headline", "<active xmlns='http://jabber.org/protocol/chatstates'/>", true),
            ("headline", "<x xmlns='jabber:x:conference' jid='room@muc.example'/>", true),
            ("error", "<error type='cancel'/>", true),
            ("chat", "<body>hi</body><private xmlns='urn:xmpp:carbons:2'/>", false), // §9
            ("chat", "<body>hi</body><no-copy xmlns='urn:xmpp:hints'/>", false),     // §9
        ] {
            assert_eq!(is_eligible(&record(kind, payload), &settings()), eligible, "{kind} {payload}");
        }
    }

    /// A user who says to be a room is none.
    #[test]
    fn what_a_room_sends_is_not_copied() {
        let x = "<x xmlns='http://jabber.org/protocol/muc#user'/>";
        let invites = "<x xmlns='http://jabber.org/protocol/muc#user'><invite/></x>";
        for (from, kind, payload, is_copied) in [
            ("room@muc.example/nick", "chat", format!("<body>hi</body>{x}"), false),
            ("room@muc.example/nick", "chat", "<body>hi</body>".to_owned(), true),
            ("room@muc.example/nick", "normal", invites.to_owned(), true),
            ("room@muc.example", "normal", invites.to_owned(), true),
            ("room@muc.example/nick", "error", format!("{x}<error type='cancel'/>"), false),
            ("room@muc.example.org/nick", "chat", format!("<body>hi</body>{x}"), false),
            ("alice@example.org/phone", "chat", format!("<body>hi</body>{x}"), true),
            ("alice@example.org/phone", "normal", format!("<body>hi</body>{x}"), true),
            ("alice@example.org/phone", "error", format!("{x}<error type='cancel'/>"), true),
        ] {
            let to = "bob@example.org/phone".parse().unwrap();
            let record = MessageRecord { from: from.parse().unwrap(), to, ..record(kind, &payload) };
            assert_eq!(is_for_all(&record, &settings()), is_copied, "{from} {kind} {payload}");
        }
    }

    /// What is sent to a room goes to the own devices (§6.1), its errors to the one that spoke.
    #[test]
    fn what_a_room_gets() {
        let x = "<x xmlns='http://jabber.org/protocol/muc#user'/>";
        for (kind, payload, eligible) in [
            ("chat", format!("<body>hi</body>{x}"), true),
            ("error", format!("{x}<error type='cancel'/>"), false),
        ] {
            let to = "room@muc.example/nick".parse().unwrap();
            let record = MessageRecord { to, ..record(kind, &payload) };
            assert_eq!(is_eligible(&record, &settings()), eligible, "{kind} {payload}");
        }
    }

    /// No device may show another conversation than the archive does.
    #[test]
    fn what_archives_keep_is_copied() {
        let store = |payload: &str| format!("{payload}<store xmlns='urn:xmpp:hints'/>");
        let parts = [
            "<subject>news</subject>",
            "<received xmlns='urn:xmpp:receipts' id='1'/>",
            "<replace xmlns='urn:xmpp:message-correct:0' id='1'/>",
            "<acknowledged xmlns='urn:xmpp:chat-markers:0' id='1'/>",
            "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:example'/>",
            "<encrypted xmlns='urn:xmpp:omemo:2'/>",
            "<openpgp xmlns='urn:xmpp:openpgp:0'/>",
            "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>",
            "<reactions xmlns='urn:xmpp:reactions:0' id='1'/>",
            "<reply xmlns='urn:xmpp:reply:0' id='1'/>",
        ];
        let others =
            ["<data xmlns='urn:example'/>", "<active xmlns='http://jabber.org/protocol/chatstates'/>"];
        for payload in parts {
            assert!(is_eligible(&record("normal", payload), &settings()), "{payload}");
        }
        let payloads =
            parts.into_iter().chain(others).flat_map(|payload| [payload.to_owned(), store(payload)]);
        for (kind, payload) in
            payloads.flat_map(|p| ["chat", "normal", "headline", "groupchat"].map(|k| (k, p.clone())))
        {
            let kept = vote(&message(kind, &payload), &account(), Side::Recipient) == Keep::Archive;
            assert!(!kept || is_eligible(&record(kind, &payload), &settings()), "{kind} {payload}");
        }
    }

    #[test]
    fn forged_copies_are_taken_out() {
        let from = "eve@other.example/x".parse().unwrap();
        for (child, verdict) in [
            ("<sent xmlns='urn:xmpp:carbons:2'/>", Child::Remove),
            ("<received xmlns='urn:xmpp:carbons:2'/>", Child::Remove),
            ("<received xmlns='urn:xmpp:carbons:1'/>", Child::Remove), // what older clients read
            ("<private xmlns='urn:xmpp:carbons:2'/>", Child::Keep),
            ("<received xmlns='urn:xmpp:receipts' id='1'/>", Child::Keep),
        ] {
            assert_eq!(refuse_forged(&element(child), &from, &settings()), verdict, "{child}");
        }
    }
}
