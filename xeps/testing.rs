//! What the tests of several extensions need.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use unisono_core::account::Account;
use unisono_core::extension::{Registry, Side};
use unisono_core::hub::{ArchivePolicy, Settings};
use unisono_core::ids::{AccountId, LogPosition};
use unisono_core::jid::BareJid;
use unisono_core::record::{Keep, MessageRecord, Payload};
use unisono_core::roster::RosterItem;
use unisono_core::stanza::{CLIENT_SCOPE, Header, Message, MessageType};
use unisono_core::storage::{AccountData, AccountState};
use unisono_xml::{Element, Limits};

pub(crate) const ALICE: AccountId = AccountId(1);
pub(crate) const BOB: AccountId = AccountId(2);

/// An element, as it stands in a stanza.
pub(crate) fn element(text: &str) -> Element {
    Element::parse(text, &CLIENT_SCOPE, &Limits::default()).expect("the text of a test is well-formed")
}

/// The settings of a server for example.org.
pub(crate) fn settings() -> Settings {
    Settings { domains: vec![BareJid::domain_jid("example.org").unwrap()], ..Settings::default() }
}

/// A message from alice to bob.
pub(crate) fn message(kind: &str, payload: &str) -> Message {
    let header = Header {
        from: "alice@example.org/phone".parse().unwrap(),
        to: Some("bob@example.org".parse().unwrap()),
        id: Some("m1".into()),
        lang: None,
    };
    Message {
        header,
        kind: MessageType::parse(kind).expect("a type of RFC 6121"),
        payload: Payload::from_text(payload),
    }
}

/// The same as it is recorded.
pub(crate) fn record(kind: &str, payload: &str) -> MessageRecord {
    let Message { header, kind, payload } = message(kind, payload);
    MessageRecord {
        from: header.from,
        to: header.to.unwrap(),
        id: header.id,
        kind,
        lang: header.lang,
        payload,
        sent: None,
        received: None,
        origin: None,
        speaks: false,
        fingerprint: 0,
    }
}

/// alice's account, new and empty.
pub(crate) fn account() -> Account {
    account_with([])
}

/// bob's account, new and empty.
pub(crate) fn bob() -> Account {
    load(BOB, "bob@example.org", Vec::new(), settings())
}

/// alice's account, with a roster.
pub(crate) fn account_with(roster: impl IntoIterator<Item = RosterItem>) -> Account {
    load(ALICE, "alice@example.org", roster.into_iter().collect(), settings())
}

/// alice's account, where the operator has an archive policy.
pub(crate) fn account_under(archive: ArchivePolicy) -> Account {
    load(ALICE, "alice@example.org", Vec::new(), Settings { archive, ..settings() })
}

fn load(id: AccountId, jid: &str, roster: Vec<RosterItem>, settings: Settings) -> Account {
    let data = AccountData {
        id,
        jid: jid.parse().unwrap(),
        state: AccountState::Enabled,
        passwords: 0,
        head: LogPosition::START,
        waiting: LogPosition::START,
        roster,
        devices: Vec::new(),
        sessions: Vec::new(),
        documents: Vec::new(),
        recent: Vec::new(),
    };
    Account::new(data, &Registry::new(crate::ALL), Arc::new(settings))
}

/// An entry of a roster.
pub(crate) fn contact(jid: &str) -> RosterItem {
    RosterItem::new(jid.parse().unwrap())
}

/// What all extensions together make a log keep.
pub(crate) fn vote(message: &Message, account: &Account, side: Side) -> Keep {
    Registry::new(crate::ALL).keep(message, account, side)
}
