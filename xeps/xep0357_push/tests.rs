//! What matters, what is kept of a service, and when it is asked again, in cases.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use unisono_core::extension::{Entity, KeyedState, Registry};
use unisono_core::ids::{DeviceId, LogPosition};
use unisono_core::record::MessageRecord;

use super::matters::{answers, matters};
use super::registration::{Options, Registration, address, key};
use super::waiting::Place;
use crate::testing::{account, bob, element, record};
use crate::xep0492_notification_settings::changed;

const BODY: &str = "<body>hi</body>";

/// Whether bob is woken by what alice sends.
fn wakes(kind: &str, payload: &str) -> bool {
    matters(&record(kind, payload), &bob())
}

#[test]
fn what_matters() {
    let about = |name: &str, ns: &str| format!("{BODY}<{name} xmlns='{ns}' id='1'/>");
    let omemo =
        |inner: &str| format!("<encrypted xmlns='eu.siacs.conversations.axolotl'>{inner}</encrypted>");
    for (kind, payload, want) in [
        ("chat", BODY.to_owned(), true),
        ("normal", BODY.to_owned(), true),
        ("groupchat", BODY.to_owned(), true),
        ("chat", omemo("<header sid='1'/><payload>x</payload>"), true),
        ("groupchat", omemo("<payload>x</payload>"), true),
        ("chat", "<openpgp xmlns='urn:xmpp:openpgp:0'>x</openpgp>".to_owned(), true),
        ("chat", "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>".to_owned(), true),
        ("normal", "<x xmlns='jabber:x:conference' jid='room@c.example'/>".to_owned(), true),
        ("normal", "<x xmlns='http://jabber.org/protocol/muc#user'><invite/></x>".to_owned(), true),
        ("headline", BODY.to_owned(), false),
        ("error", BODY.to_owned(), false),
        ("groupchat", format!("{BODY}<delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/>"), false),
        ("groupchat", "<subject>s</subject>".to_owned(), false),
        ("chat", omemo("<header sid='1'/>"), false), // moves keys
        ("chat", about("replace", "urn:xmpp:message-correct:0"), false),
        ("chat", about("retract", "urn:xmpp:message-retract:1"), false),
        ("chat", about("reactions", "urn:xmpp:reactions:0"), false),
        ("chat", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>".to_owned(), false),
        ("chat", "<received xmlns='urn:xmpp:receipts' id='1'/>".to_owned(), false),
        ("chat", "<composing xmlns='http://jabber.org/protocol/chatstates'/>".to_owned(), false),
        ("chat", "<retract xmlns='urn:xmpp:jingle-message:0' id='1'/>".to_owned(), false),
        ("chat", "<finish xmlns='urn:xmpp:jingle-message:0' id='1'/>".to_owned(), false),
        ("normal", "<x xmlns='http://jabber.org/protocol/muc#user'/>".to_owned(), false),
        ("chat", String::new(), false),
    ] {
        assert_eq!(wakes(kind, &payload), want, "{kind} {payload}");
    }
    assert!(!matters(&record("chat", BODY), &account()), "what the owner sent");
}

#[test]
fn what_the_owner_does_about_it() {
    for (payload, want) in [
        (BODY, true),
        ("<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>x</reaction></reactions>", true),
        ("<proceed xmlns='urn:xmpp:jingle-message:0' id='1'/>", true),
        ("<reject xmlns='urn:xmpp:jingle-message:0' id='1'/>", true),
        ("<ringing xmlns='urn:xmpp:jingle-message:0' id='1'/>", false),
        ("<received xmlns='urn:xmpp:receipts' id='1'/>", false),
        ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", false),
    ] {
        assert_eq!(answers(&record("chat", payload).payload), want, "{payload}");
    }
}

/// XEP-0492
#[test]
fn what_the_owner_wants_to_be_told_of() {
    let mention = |uri: &str| {
        format!("<body>x</body><reference xmlns='urn:xmpp:reference:0' type='mention' uri='{uri}'/>")
    };
    let omemo = "<encrypted xmlns='urn:xmpp:omemo:2'><payload>x</payload></encrypted>";
    let on_mention = "<on-mention/>";
    for (settings, payload, want) in [
        ("<never/>", BODY, false),
        ("<never/>", "<body>bob</body>", false),
        ("<never/>", omemo, false),
        ("<always/>", BODY, true),
        ("<never/><always identity-category='client' identity-type='phone'/>", BODY, true),
        ("<never identity-category='client' identity-type='pc'/>", BODY, true),
        (on_mention, BODY, false),
        (on_mention, "<body>where is Bob?</body>", true),
        (on_mention, "<body>bob: bobcats!</body>", true),
        (on_mention, "<body>bobcats kebob</body>", false),
        (on_mention, &mention("xmpp:bob@example.org"), true),
        (on_mention, &mention("xmpp:bob@example.org?message"), true),
        (on_mention, &mention("xmpp:carol@example.org"), false),
        (on_mention, &mention("https://example.org/bob@example.org"), false),
        (on_mention, omemo, true),
    ] {
        let mut account = bob();
        let text = format!(
            "<extensions><notify xmlns='urn:xmpp:notification-settings:1'>{settings}</notify></extensions>"
        );
        changed(&mut account, "alice@example.org", Some(&element(&text)), &mut Vec::new());
        let record: MessageRecord = record("chat", payload);
        assert_eq!(matters(&record, &account), want, "{settings} {payload}");
    }
}

#[test]
fn options_are_a_form_for_them() {
    let form = |kind: &str, fields: &str| {
        let form_type = "<field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>";
        element(&format!(
            "<enable xmlns='urn:xmpp:push:0' jid='p.example'><x xmlns='jabber:x:data' type='{kind}'>{form_type}{fields}</x></enable>"
        ))
    };
    let field = |name: &str, value: &str| format!("<field var='{name}'><value>{value}</value></field>");
    let none = Options::of(&element("<enable xmlns='urn:xmpp:push:0' jid='p.example'/>")).unwrap();
    assert_eq!(none.form(), None);
    let options = Options::of(&form("submit", &field("secret", "a &lt; b"))).unwrap();
    let written = options.form().unwrap();
    let secret = written.children().find(|field| field.attr("var") == Some("secret")).unwrap();
    assert_eq!(secret.child_text("value", "jabber:x:data").as_deref(), Some("a < b"));
    assert_eq!((written.attr("type"), written.children().count()), (Some("submit"), 2));
    let many: String = (0..17).map(|number| field(&format!("f{number}"), "x")).collect();
    for (wrong, want) in [
        (form("form", ""), "bad-request"),
        (
            element("<enable xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='submit'/></enable>"),
            "bad-request",
        ),
        (form("submit", &many), "not-acceptable"),
        (form("submit", &field("secret", &"x".repeat(5000))), "not-acceptable"),
    ] {
        let found = Options::of(&wrong).err().map(|error| error.condition.as_str());
        assert_eq!(found, Some(want), "{wrong:?}");
    }
}

#[test]
fn a_registration_is_read_back() {
    let form = "<enable xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='submit'>\
        <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
        <field var='text'><value>two\nlines</value></field></x></enable>";
    for options in [Options::default(), Options::of(&element(form)).unwrap()] {
        let known = Registration {
            failures: 3,
            ..Registration::new(DeviceId(7), options, LogPosition(8), LogPosition(9))
        };
        let text = known.encode();
        let read = Registration::decode(&text).unwrap();
        assert_eq!(read.encode(), text);
        assert_eq!(
            (read.device, read.since, read.pushed, read.failures),
            (known.device, known.since, known.pushed, 3)
        );
        assert_eq!(read.options, known.options);
    }
    for text in ["", "1", "1\n2\n3", "1\n2\n3\n-4\n", "x\n2\n3\n4\n"] {
        assert!(Registration::decode(text).is_none(), "{text:?}");
    }
    let jid: unisono_core::jid::Jid = "p.example/with space".parse().unwrap();
    for node in [None, Some(""), Some("n"), Some("two\nlines")] {
        assert_eq!(address(&key(&jid, node)), Some((jid.clone(), node)));
    }
}

#[test]
fn failures_are_tried_again_for_two_days_and_pushes_without_an_end_are_rare() {
    let mut known = Registration::new(DeviceId(1), Options::default(), LogPosition(1), LogPosition(1));
    let mut now = Duration::ZERO;
    let mut waits = Vec::new();
    while known.failed(now) {
        waits.push(known.rest_until.saturating_sub(now).as_secs());
        now = known.rest_until;
    }
    assert_eq!(waits.first_chunk(), Some(&[5, 10, 20, 40]));
    assert_eq!(waits.iter().max(), Some(&(6 * 3600)));
    let hours = now.as_secs() / 3600;
    assert!((36..60).contains(&hours), "{hours}");

    known = known.again(DeviceId(1), Options::default());
    for number in 1..=16_i64 {
        assert!(known.rest_until <= now, "{number}");
        let place = Place { position: Some(LogPosition(number)), queued: None, conversation: "c".into() };
        known.waiting.add(place.clone(), now, false);
        known.waiting.add(place, now, false);
        known.sent = Some(known.waiting.count().1);
        known.succeeded(now);
        assert_eq!((known.pushed, known.waiting.has_news()), (LogPosition(number), false));
    }
    assert_eq!(known.rest_until, now + Duration::from_secs(60));
    assert_eq!(known.waiting.count(), (16, 16));
}

#[test]
fn it_is_announced_to_the_owner_of_an_account() {
    let registry = Registry::new(crate::ALL);
    let announced: Vec<_> = registry.features_of(Entity::OwnAccount).collect();
    assert!(announced.contains(&super::NS));
    for entity in [Entity::Server, Entity::OtherAccount] {
        assert!(!registry.features_of(entity).any(|ns| ns == super::NS));
    }
}
