//! What the tests of several extensions need.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use unisono_core::hub::Settings;
use unisono_core::jid::BareJid;
use unisono_core::record::{MessageRecord, Payload};
use unisono_core::stanza::{CLIENT_SCOPE, Header, Message, MessageType};
use unisono_xml::{Element, Limits};

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
        fingerprint: 0,
    }
}
