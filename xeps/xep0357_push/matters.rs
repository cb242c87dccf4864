//! What matters: what is worth waking a device for. All of it stands here.
//!
//! | wakes | does not |
//! | --- | --- |
//! | what people write, be it encrypted | corrections, retractions, reactions, markers, receipts, typing states |
//! | a call that begins (XEP-0353) | what comes of it |
//! | an invitation to a room | key exchanges without a text |
//! | | what the owner sent from another device, headlines, errors, the history of rooms |
//!
//! Of that, what the owner wants to be told of (XEP-0492): nothing of a conversation that is muted; of one with
//! `on-mention`, what names the owner, and what is encrypted, since only the device can see whether it does.

use unisono_core::account::Account;
use unisono_core::jid::Jid;
use unisono_core::record::{MessageRecord, Payload};
use unisono_core::session::Session;
use unisono_core::stanza::{MessageType, NS_CLIENT, NS_DELAY};

use crate::xep0492_notification_settings::{Setting, setting};
use crate::{xep0280_carbons, xep0353_jingle_messages, xep0380_encryption, xep0430_inbox, xep0444_reactions};

/// XEP-0372
const NS_REFERENCE: &str = "urn:xmpp:reference:0";
/// What sleeps is a phone (XEP-0492 §2.2).
const SLEEPER: (&str, &str) = ("client", "phone");

/// Whether a message that an account received is worth waking its devices for.
pub(super) fn matters(record: &MessageRecord, account: &Account) -> bool {
    let is_own = record.from.to_bare() == *account.jid() || is_of_own_occupant(record, account);
    !is_own && is_worth(record.kind, &record.payload) && is_wanted(record, account)
}

/// Whether what the owner sends shows that the conversation is seen to: what came before it wakes nobody any more.
pub(super) fn answers(payload: &Payload) -> bool {
    let takes = ["proceed", "accept", "reject"];
    xep0430_inbox::says_something_new(payload)
        || xep0444_reactions::is_part(payload)
        || takes.iter().any(|name| payload.has(name, xep0353_jingle_messages::NS))
}

fn is_worth(kind: MessageType, payload: &Payload) -> bool {
    match kind {
        MessageType::Chat | MessageType::Normal => {
            xep0430_inbox::says_something_new(payload)
                || payload.has("propose", xep0353_jingle_messages::NS)
                || xep0280_carbons::is_invitation(payload)
        }
        MessageType::Groupchat => {
            xep0430_inbox::says_something_new(payload) && !payload.has("delay", NS_DELAY)
        }
        MessageType::Headline | MessageType::Error => false,
    }
}

/// Of a room, what it sends back to who said it.
fn is_of_own_occupant(record: &MessageRecord, account: &Account) -> bool {
    record.kind == MessageType::Groupchat && names(record, account).any(|jid| *jid == record.from)
}

/// What the owner is called in the room that a message is from.
fn names<'a>(record: &'a MessageRecord, account: &'a Account) -> impl Iterator<Item = &'a Jid> {
    let room = record.from.to_bare();
    let all = account.sessions().flat_map(Session::directed_to);
    all.filter(move |jid| jid.is_full() && jid.to_bare() == room)
}

fn is_wanted(record: &MessageRecord, account: &Account) -> bool {
    match setting(account, record.from.to_bare().as_str(), SLEEPER) {
        None | Some(Setting::Always) => true,
        Some(Setting::Never) => false,
        Some(Setting::OnMention) => {
            xep0380_encryption::is_part(&record.payload) || is_mentioned(record, account)
        }
    }
}

/// A reference to the owner (XEP-0372), or a text with a name of the owner in it.
fn is_mentioned(record: &MessageRecord, account: &Account) -> bool {
    let own = account.jid();
    let refers = record.payload.elements().iter().any(|child| {
        let target = child.attr("uri").and_then(|uri| uri.strip_prefix("xmpp:"));
        let target = target.and_then(|target| target.split('?').next()?.parse::<Jid>().ok());
        child.is("reference", NS_REFERENCE)
            && target
                .is_some_and(|jid| jid.to_bare() == *own || names(record, account).any(|name| *name == jid))
    });
    let Some(body) = record.payload.child("body", NS_CLIENT) else { return refers };
    let text = body.text().to_lowercase();
    let is_named = |name: &str| has_word(&text, &name.to_lowercase());
    refers
        || own.local().is_some_and(is_named)
        || names(record, account).filter_map(Jid::resource).any(is_named)
}

/// Whether a name stands in a text, not as a part of another word.
fn has_word(text: &str, name: &str) -> bool {
    let is_part_of_word = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
    let mut found = text.match_indices(name).map(|(at, name)| {
        let (before, rest) = text.split_at(at);
        let after = rest.strip_prefix(name).unwrap_or_default();
        !is_part_of_word(before.chars().next_back()) && !is_part_of_word(after.chars().next())
    });
    !name.is_empty() && found.any(|is_word| is_word)
}
