//! Accounts, documents, devices and sessions.

use std::sync::Arc;

use unisono_core::ids::{DeviceId, LogPosition, SessionId};
use unisono_core::record::Keep;
use unisono_core::roster::RosterItem;
use unisono_core::storage::{
    Access, AccountState, DeviceRecord, Document, RECENT_FINGERPRINTS, SessionRecord, StoreError,
    TokenRecord, Write,
};
use unisono_core::subscription::{Subscription, SubscriptionState};

use super::{Subject, contract, jid, message};

contract! {
    an_account_has_credentials_and_a_state,
    an_account_can_be_asked_for_whose_name_looks_like_no_other,
    of_names_that_look_alike_and_come_at_once_one_is_taken,
    accounts_are_listed_in_the_order_of_their_addresses,
    devices_are_counted,
    a_secret_stays_what_it_was_first,
    an_account_is_loaded_whole,
    texts_come_back_as_they_were,
    a_deleted_account_leaves_nothing_but_what_others_have,
    the_number_of_an_account_is_not_given_twice,
    documents_are_replaced_and_removed,
    handled_stanzas_are_counted_by_messages_too,
    a_removed_device_takes_its_sessions_along,
    the_access_of_a_device_is_its_own,
    saved_sessions_are_found,
    who_has_documents_of_a_kind_is_found,
    recent_fingerprints_are_the_last_ones_sent,
    recent_fingerprints_name_the_sessions_that_are_left,
}

fn credentials(value: &str) -> Vec<(String, String)> {
    vec![("SCRAM-SHA-1".into(), format!("{value}-1")), ("SCRAM-SHA-256".into(), format!("{value}-256"))]
}

async fn an_account_has_credentials_and_a_state(subject: Subject) {
    let (store, alice, bob) = (subject.store(), jid("alice"), jid("bob"));
    let id = store.create(&alice, &credentials("a"), 77).await.unwrap();
    assert!(matches!(store.create(&alice, &credentials("b"), 78).await, Err(StoreError::Exists)));
    let found = store.credential(&alice, "SCRAM-SHA-256").await.unwrap();
    assert_eq!(found, Some(("a-256".into(), AccountState::Enabled)));
    assert_eq!(store.credential(&alice, "PLAIN").await.unwrap(), None);
    assert_eq!(store.credential(&bob, "SCRAM-SHA-256").await.unwrap(), None);

    assert_eq!(store.load(&alice, &[]).await.unwrap().unwrap().passwords, 0);
    for changed in 1..3 {
        let new = [("SCRAM-SHA-256".into(), "new".into())];
        assert_eq!(store.set_credentials(&alice, &new).await.unwrap(), changed);
        assert_eq!(store.load(&alice, &[]).await.unwrap().unwrap().passwords, changed);
    }
    store.set_state(&alice, AccountState::Disabled).await.unwrap();
    assert_eq!(
        store.credential(&alice, "SCRAM-SHA-256").await.unwrap(),
        Some(("new".into(), AccountState::Disabled))
    );
    assert_eq!(store.credential(&alice, "SCRAM-SHA-1").await.unwrap(), None);
    let summary = store.summary(&alice).await.unwrap().unwrap();
    assert_eq!((summary.id, summary.jid, summary.state), (id, alice, AccountState::Disabled));
    assert_eq!(summary.created_at, 77);

    assert!(matches!(store.set_credentials(&bob, &[]).await, Err(StoreError::NotFound)));
    assert!(matches!(store.set_state(&bob, AccountState::Enabled).await, Err(StoreError::NotFound)));
    assert!(matches!(store.delete(&bob).await, Err(StoreError::NotFound)));
    assert!(store.summary(&bob).await.unwrap().is_none());
    assert!(store.load(&bob, &[]).await.unwrap().is_none());
}

async fn an_account_can_be_asked_for_whose_name_looks_like_no_other(subject: Subject) {
    let store = subject.store();
    let (paypal, digit, cyrillic) = (jid("paypal"), jid("paypa1"), jid("p\u{430}yp\u{430}l"));
    store.create_distinct(&paypal, &credentials("a"), 1).await.unwrap();
    for other in [&digit, &cyrillic] {
        let refused = store.create_distinct(other, &[], 2).await;
        assert!(matches!(refused, Err(StoreError::Alike(alike)) if alike == paypal), "{other}");
        assert!(store.summary(other).await.unwrap().is_none(), "{other}");
    }
    assert!(matches!(store.create_distinct(&paypal, &[], 3).await, Err(StoreError::Exists)));
    assert!(store.credential(&paypal, "SCRAM-SHA-1").await.unwrap().is_some());
    store.create_distinct(&jid("paypol"), &[], 4).await.unwrap();
    let elsewhere = "paypa1@example.net".parse().unwrap();
    store.create_distinct(&elsewhere, &[], 5).await.unwrap();
    // Who wants it nevertheless may have it, and both count from then on.
    store.create(&digit, &[], 6).await.unwrap();
    store.delete(&paypal).await.unwrap();
    let refused = store.create_distinct(&cyrillic, &[], 7).await;
    assert!(matches!(refused, Err(StoreError::Alike(alike)) if alike == digit));
    store.delete(&digit).await.unwrap();
    store.create_distinct(&cyrillic, &[], 8).await.unwrap();
}

async fn of_names_that_look_alike_and_come_at_once_one_is_taken(subject: Subject) {
    let store = subject.store();
    for n in 0..10 {
        let (one, other) = (jid(&format!("modern{n}")), jid(&format!("modem{n}")));
        let (one, other) =
            tokio::join!(store.create_distinct(&one, &[], 1), store.create_distinct(&other, &[], 1));
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        assert!([one, other].iter().any(|result| matches!(result, Err(StoreError::Alike(_)))));
    }
}

async fn accounts_are_listed_in_the_order_of_their_addresses(subject: Subject) {
    let store = subject.store();
    let names = ["éa", "a", "b", "a.b", "ab", "z-z", "a_b"];
    for name in names {
        subject.account(name).await;
    }
    // A service is no account of anybody.
    store.create(&"aa.example.org".parse().unwrap(), &[], 1).await.unwrap();
    let mut expected: Vec<_> = names.iter().map(|name| jid(name)).collect();
    expected.sort();
    let mut listed = Vec::new();
    loop {
        let some = store.list(listed.last(), 3).await.unwrap();
        if some.is_empty() {
            break;
        }
        listed.extend(some.into_iter().map(|summary| summary.jid));
    }
    assert_eq!(listed, expected);
}

async fn devices_are_counted(subject: Subject) {
    let (alice, bob) = (subject.account("alice").await, subject.account("bob").await);
    subject.account("carol").await;
    let device = |account, id| Write::Device { account, device: device(id, 0) };
    subject
        .write([device(alice, 1), device(alice, 2), device(bob, 3), device(alice, 4), device(alice, 2)])
        .await;
    subject.write([Write::DeviceRemoved { device: DeviceId(1) }]).await;
    let store = subject.store();
    let counts: Vec<_> = store.list(None, 9).await.unwrap().iter().map(|summary| summary.devices).collect();
    assert_eq!(counts, [2, 1, 0]);
    assert_eq!(store.summary(&jid("alice")).await.unwrap().unwrap().devices, 2);
}

async fn a_secret_stays_what_it_was_first(subject: Subject) {
    let first: [u8; 32] = std::array::from_fn(|i| u8::try_from(i * 8).unwrap());
    assert_eq!(subject.store().secret("seal", first).await.unwrap(), first);
    assert_eq!(subject.store().secret("seal", [1; 32]).await.unwrap(), first);
    assert_eq!(subject.store().secret("other", [1; 32]).await.unwrap(), [1; 32]);
    let subject = subject.crash().await;
    assert_eq!(subject.store().secret("seal", [2; 32]).await.unwrap(), first);
}

fn device(id: i64, cursor: i64) -> DeviceRecord {
    let (id, cursor) = (DeviceId(id), LogPosition(cursor));
    DeviceRecord {
        id,
        key: "phone;1:".into(),
        cursor,
        pages_archive: id.0 % 2 == 0,
        last_seen: -5,
        access: None,
    }
}

fn session(id: i64, device: i64, handled: u32, snapshot: Option<&str>) -> SessionRecord {
    SessionRecord {
        id: SessionId(id),
        device: DeviceId(device),
        resource: "resource".into(),
        handled,
        snapshot: snapshot.map(Into::into),
    }
}

fn contact(name: &str, version: i64) -> RosterItem {
    RosterItem { version, ..RosterItem::new(jid(name)) }
}

async fn an_account_is_loaded_whole(subject: Subject) {
    let (account, other) = (subject.account("alice").await, subject.account("other").await);
    let state = SubscriptionState {
        subscription: Subscription::To,
        pending_out: false,
        pending_in: true,
        approved: true,
    };
    let friend = RosterItem {
        name: Some("Bob: the \u{1F600};".into()),
        groups: vec!["a;b".into(), "".into(), "ü".into()],
        state,
        ..contact("bob", 8)
    };
    let nameless = RosterItem { name: Some(String::new()), ..contact("carol", 9) };
    let gone = RosterItem { removed: true, ..contact("dave", 10) };
    let document = |key: &str, value: &str| Write::Document {
        account,
        kind: "private".into(),
        key: key.into(),
        value: Some(value.into()),
    };
    subject
        .write([
            Write::RosterItem { account, item: contact("bob", 1) },
            Write::RosterItem { account, item: friend.clone() },
            Write::RosterItem { account, item: nameless.clone() },
            Write::RosterItem { account, item: gone.clone() },
            Write::RosterItem { account, item: contact("erin", 1) },
            Write::RosterItemForgotten { account, jid: jid("erin") },
            Write::RosterItemForgotten { account, jid: jid("nobody") },
            Write::RosterItemForgotten { account, jid: jid("carol") },
            Write::RosterItem { account, item: nameless.clone() },
            Write::RosterItem { account: other, item: contact("bob", 1) },
            Write::Device { account, device: device(i64::MIN, 3) },
            Write::Device { account, device: device(2, 4) },
            Write::Session { account, session: session(-7, 2, u32::MAX, None) },
            Write::Session { account, session: session(8, 2, 1, Some("")) },
            document("a", "1"),
            document("b", "2"),
            Write::Document { account, kind: "vcard".into(), key: "".into(), value: Some("v".into()) },
        ])
        .await;
    let subject = subject.crash().await;
    let mut data = subject.store().load(&jid("alice"), &["private", "block"]).await.unwrap().unwrap();
    assert_eq!((data.id, data.jid, data.state), (account, jid("alice"), AccountState::Enabled));
    assert_eq!(data.head, LogPosition::START);
    data.roster.sort_by(|a, b| a.jid.cmp(&b.jid));
    assert_eq!(data.roster, [friend, nameless.clone(), gone.clone()]);
    data.devices.sort_by_key(|device| device.id);
    assert_eq!(data.devices, [device(i64::MIN, 3), device(2, 4)]);
    data.sessions.sort_by_key(|session| session.id);
    assert_eq!(data.sessions, [session(-7, 2, u32::MAX, None), session(8, 2, 1, Some(""))]);
    data.documents.sort_by(|a, b| a.key.cmp(&b.key));
    let document =
        |key: &str, value: &str| Document { kind: "private".into(), key: key.into(), value: value.into() };
    assert_eq!(data.documents, [document("a", "1"), document("b", "2")]);
    assert!(data.recent.is_empty());
    subject.write([Write::RosterItemForgotten { account, jid: jid("bob") }]).await;
    let subject = subject.crash().await;
    let mut without = subject.store().load(&jid("alice"), &[]).await.unwrap().unwrap();
    assert!(without.documents.is_empty());
    without.roster.sort_by(|a, b| a.jid.cmp(&b.jid));
    assert_eq!(without.roster, [nameless, gone]);
    let other = subject.store().load(&jid("other"), &[]).await.unwrap().unwrap();
    assert_eq!(other.roster, [contact("bob", 1)]);
}

/// Whatever the form in which rows travel, no text can break it.
async fn texts_come_back_as_they_were(subject: Subject) {
    let account = subject.account("alice").await;
    let texts = ["", "-1:", "3:abc;", "\u{1e}\u{1f}\n\r\t'\"\\", "ß\u{10ffff}e\u{301}", &"x".repeat(100_000)];
    let writes = texts.iter().map(|text| Write::Document {
        account,
        kind: "k".into(),
        key: (*text).into(),
        value: Some((*text).into()),
    });
    subject.write(writes).await;
    for text in texts {
        let found = subject.store().document(account, "k", text).await.unwrap();
        assert_eq!(found.as_deref(), Some(text));
    }
    let data = subject.store().load(&jid("alice"), &["k"]).await.unwrap().unwrap();
    assert_eq!(data.documents.len(), texts.len());
    for Document { key, value, .. } in data.documents {
        assert_eq!(key, value);
        assert!(texts.contains(&value.as_str()));
    }
}

async fn a_deleted_account_leaves_nothing_but_what_others_have(subject: Subject) {
    let (alice, bob) = (subject.account("alice").await, subject.account("bob").await);
    let store = subject.store();
    subject
        .write([
            message("alice", "bob", "shared")
                .sent(alice, 10, Keep::Archive)
                .received(bob, 10, Keep::Archive)
                .write(),
            message("alice", "eve", "own").sent(alice, 11, Keep::Archive).write(),
            message("eve", "alice", "waits").received(alice, 12, Keep::UntilDelivered).write(),
            message("bob", "alice", "half")
                .sent(bob, 13, Keep::UntilDelivered)
                .received(alice, 13, Keep::Archive)
                .write(),
            Write::Device { account: alice, device: device(1, 1) },
            Write::Session { account: alice, session: session(1, 1, 1, Some("s")) },
            Write::RosterItem { account: alice, item: contact("bob", 1) },
            Write::Document { account: alice, kind: "k".into(), key: "k".into(), value: Some("v".into()) },
        ])
        .await;
    subject.index().await;
    subject
        .write([message("bob", "alice", "late")
            .sent(bob, 14, Keep::Archive)
            .received(alice, 14, Keep::Archive)
            .write()])
        .await;
    store.delete(&jid("alice")).await.unwrap();

    assert!(store.load(&jid("alice"), &["k"]).await.unwrap().is_none());
    assert!(subject.all(alice).await.is_empty());
    assert_eq!(store.document(alice, "k", "k").await.unwrap(), None);
    assert!(store.session(SessionId(1)).await.unwrap().is_none());
    assert!(store.saved().await.unwrap().is_empty());
    assert_eq!(subject.all(bob).await, ["shared", "half", "late"]);
    drop(store);
    let subject = subject.crash().await;
    assert!(subject.all(alice).await.is_empty());
    assert_eq!(subject.all(bob).await, ["shared", "half", "late"]);
    if let Some(store) = subject.sql() {
        assert_eq!(crate::sql::stored_messages(store).await, 3, "only what somebody still has");
    }
}

async fn the_number_of_an_account_is_not_given_twice(subject: Subject) {
    let first = subject.account("alice").await;
    subject.store().delete(&jid("alice")).await.unwrap();
    let subject = subject.crash().await;
    assert!(subject.account("alice").await > first);
}

async fn documents_are_replaced_and_removed(subject: Subject) {
    let account = subject.account("alice").await;
    let put = |kind: &str, key: &str, value: Option<&str>| Write::Document {
        account,
        kind: kind.into(),
        key: key.into(),
        value: value.map(Into::into),
    };
    subject.write([put("k", "a", Some("1")), put("k", "b", Some("1")), put("l", "a", Some("1"))]).await;
    subject.write([put("k", "a", Some("2")), put("k", "b", None), put("k", "never", None)]).await;
    subject
        .write([put("k", "c", Some("x")), put("k", "c", None), put("k", "d", None), put("k", "d", Some("y"))])
        .await;
    let store = subject.store();
    let mut found = store.documents(account, "k").await.unwrap();
    found.sort_by(|a, b| a.key.cmp(&b.key));
    let found: Vec<_> = found.iter().map(|d| (d.kind.as_str(), d.key.as_str(), d.value.as_str())).collect();
    assert_eq!(found, [("k", "a", "2"), ("k", "d", "y")]);
    assert_eq!(store.document(account, "l", "a").await.unwrap().as_deref(), Some("1"));
    assert_eq!(store.document(account, "k", "b").await.unwrap(), None);
}

async fn who_has_documents_of_a_kind_is_found(subject: Subject) {
    let put = |account, kind: &str, value: Option<&str>| Write::Document {
        account,
        kind: kind.into(),
        key: "a".into(),
        value: value.map(Into::into),
    };
    for name in ["dora", "alice", "carol", "bob", "eve"] {
        let account = subject.account(name).await;
        let kind = if name == "carol" { "other" } else { "k" };
        subject.write([put(account, kind, Some("1"))]).await;
        if name == "bob" {
            subject.write([put(account, kind, None)]).await;
        }
    }
    let store = subject.store();
    assert_eq!(store.holders("k", None, 2).await.unwrap(), [jid("alice"), jid("dora")]);
    assert_eq!(store.holders("k", Some(&jid("dora")), 2).await.unwrap(), [jid("eve")]);
    assert!(store.holders("none", None, 2).await.unwrap().is_empty());
    for (name, text) in [("dora", "<a jid='b_b@x'/>"), ("eve", "<a jid='bob@x'/>"), ("bob", "100%!")] {
        let account = store.summary(&jid(name)).await.unwrap().unwrap().id;
        subject.write([put(account, "k", Some(text))]).await;
    }
    for (kind, text, want) in [
        ("k", "b_b@x", Some("dora")),
        ("k", "bob@", Some("eve")),
        ("k", "0%!", Some("bob")),
        ("k", "bo%@x", None),
        ("other", "bob@x", None),
    ] {
        let found = store.mentioning(kind, text).await.unwrap();
        assert_eq!(found, want.map(jid).into_iter().collect::<Vec<_>>(), "{text}");
    }
}

/// The number travels with the message, so it is there when the message is, also after a crash.
async fn handled_stanzas_are_counted_by_messages_too(subject: Subject) {
    let account = subject.account("alice").await;
    let sent =
        |n: u32| message("alice", "bob", "m").origin(5, n).sent(account, i64::from(n), Keep::Archive).write();
    subject
        .write([
            Write::Device { account, device: device(1, 0) },
            Write::Session { account, session: session(5, 1, 3, None) },
        ])
        .await;
    let handled = async |subject: &Subject| {
        let (owner, session) = subject.store().session(SessionId(5)).await.unwrap().unwrap();
        assert_eq!(owner, jid("alice"));
        let data = subject.store().load(&owner, &[]).await.unwrap().unwrap();
        assert_eq!(data.sessions, std::slice::from_ref(&session));
        session.handled
    };
    assert_eq!(handled(&subject).await, 3);
    subject.write([sent(7), sent(8)]).await;
    assert_eq!(handled(&subject).await, 8);
    let subject = subject.crash().await;
    assert_eq!(handled(&subject).await, 8);
    subject.write([sent(9)]).await;
    subject.index().await;
    assert_eq!(handled(&subject).await, 9);
    subject.write([Write::SessionHandled { session: SessionId(5), handled: 4 }]).await;
    assert_eq!(handled(&subject).await, 9);
    subject.write([Write::SessionHandled { session: SessionId(5), handled: 12 }]).await;
    subject.write([Write::Session { account, session: session(5, 1, 1, None) }]).await;
    assert_eq!(handled(&subject).await, 12);
    // A message that no log keeps counts as well.
    subject
        .write([message("alice", "bob", "typing").origin(5, 20).sent(account, 20, Keep::Nothing).write()])
        .await;
    let subject = subject.crash().await;
    assert_eq!(handled(&subject).await, 20);
    subject.write([Write::SessionEnded { session: SessionId(5) }]).await;
    assert!(subject.store().session(SessionId(5)).await.unwrap().is_none());
}

async fn a_removed_device_takes_its_sessions_along(subject: Subject) {
    let account = subject.account("alice").await;
    subject
        .write([
            Write::Device { account, device: device(1, 1) },
            Write::Device { account, device: device(2, 1) },
            Write::Session { account, session: session(10, 1, 0, None) },
            Write::Session { account, session: session(20, 2, 0, None) },
        ])
        .await;
    subject
        .write([
            Write::DeviceRemoved { device: DeviceId(1) },
            Write::Device { account, device: device(2, 9) },
        ])
        .await;
    let data = subject.store().load(&jid("alice"), &[]).await.unwrap().unwrap();
    assert_eq!(data.devices, [device(2, 9)]);
    assert_eq!(data.sessions, [session(20, 2, 0, None)]);
}

async fn the_access_of_a_device_is_its_own(subject: Subject) {
    let (account, other) = (subject.account("alice").await, subject.account("bob").await);
    let access = |name: &str, salt| {
        let token = TokenRecord {
            mechanism: "HT-SHA-256-NONE".into(),
            salt,
            issued: 1,
            expires: i64::MAX,
            passwords: 2,
        };
        Arc::new(Access {
            first_seen: 7,
            software: "a;1:b".into(),
            name: name.into(),
            password: Some(0),
            current: Some(token),
            next: None,
        })
    };
    let put = |id, access: &Arc<Access>| Write::Access { device: DeviceId(id), access: access.clone() };
    let (first, second, third) = (access("phone", u128::MAX), access("laptop", 5), access("\u{fc}", 0));
    subject
        .write([
            Write::Device { account, device: device(1, 1) },
            put(1, &first),
            put(1, &second),
            Write::Device { account, device: device(2, 1) },
            Write::Device { account, device: device(3, 1) },
            put(3, &first),
            Write::Device { account: other, device: device(4, 1) },
            put(4, &third),
            // Of none that is there.
            put(5, &first),
        ])
        .await;
    // A cursor that moves leaves it as it is; a device that is forgotten takes it along, also where it comes again.
    subject
        .write([
            Write::Device { account, device: device(1, 9) },
            Write::DeviceRemoved { device: DeviceId(3) },
            Write::Device { account, device: device(3, 2) },
        ])
        .await;
    subject.write([Write::DeviceRemoved { device: DeviceId(6) }, put(6, &first)]).await;
    let subject = subject.crash().await;
    let of = async |name: &str| {
        let mut devices = subject.store().load(&jid(name), &[]).await.unwrap().unwrap().devices;
        devices.sort_by_key(|device| device.id);
        devices
    };
    let with = |access: &Arc<Access>, device| DeviceRecord { access: Some(access.clone()), ..device };
    assert_eq!(of("alice").await, [with(&second, device(1, 9)), device(2, 1), device(3, 2)]);
    assert_eq!(of("bob").await, [with(&third, device(4, 1))]);
    subject.store().delete(&jid("bob")).await.unwrap();
    subject.account("bob").await;
    assert!(of("bob").await.is_empty());
}

async fn saved_sessions_are_found(subject: Subject) {
    for (name, snapshot) in [("alice", Some("s")), ("bob", None), ("carol", Some("t"))] {
        let account = subject.account(name).await;
        let numbers = [account.0 * 10, account.0 * 10 + 1];
        let sessions = numbers.map(|id| Write::Session { account, session: session(id, 1, 0, snapshot) });
        subject.write(sessions).await;
    }
    assert_eq!(subject.store().saved().await.unwrap(), [jid("alice"), jid("carol")]);
}

async fn recent_fingerprints_are_the_last_ones_sent(subject: Subject) {
    let (alice, bob) = (subject.account("alice").await, subject.account("bob").await);
    let count = i64::try_from(RECENT_FINGERPRINTS).unwrap() + 20;
    let recent = async |subject: &Subject| {
        let recent = subject.store().load(&jid("alice"), &[]).await.unwrap().unwrap().recent;
        recent.into_iter().map(|(_, fingerprint)| fingerprint).collect::<Vec<_>>()
    };
    for number in 1..=count {
        let keep = if number % 3 == 0 { Keep::UntilDelivered } else { Keep::Archive };
        subject.submit([message("alice", "bob", "m")
            .sent(alice, number * 10, keep)
            .fingerprint(number)
            .write()]);
        if number % 5 == 0 {
            // Neither what others sent nor what has no id to go by.
            let answer = message("bob", "alice", "m").sent(bob, number * 10 + 1, Keep::Archive);
            let answer = answer.received(alice, number * 10 + 1, Keep::Archive).fingerprint(-number);
            let nameless = message("alice", "bob", "m").sent(alice, number * 10 + 2, Keep::Archive);
            subject.submit([answer.write(), nameless.write()]);
        }
        if number == 100 {
            subject.write([]).await;
            assert_eq!(recent(&subject).await, (1..=100).collect::<Vec<_>>());
            subject.index().await;
        }
    }
    // A message to oneself was sent, though its one entry is a received one.
    subject
        .write([message("alice", "alice", "me")
            .received(alice, count * 10 + 9, Keep::Archive)
            .fingerprint(9999)
            .write()])
        .await;
    let expected: Vec<i64> = (22..=count).chain([9999]).collect();
    assert_eq!(recent(&subject).await, expected);
    let subject = subject.crash().await;
    assert_eq!(recent(&subject).await, expected);
    let data = subject.store().load(&jid("alice"), &[]).await.unwrap().unwrap();
    assert_eq!(data.head, LogPosition(count * 10 + 9));
}

async fn recent_fingerprints_name_the_sessions_that_are_left(subject: Subject) {
    let (alice, bob) = (subject.account("alice").await, subject.account("bob").await);
    let session = |account, id| Write::Session { account, session: session(id, 1, 0, Some("s")) };
    subject.write([session(alice, 20), session(alice, 21), session(bob, 30)]).await;
    let sent = |n: i64, by: i64| {
        let keep = if n % 2 == 0 { Keep::UntilDelivered } else { Keep::Archive };
        let draft = message("alice", "bob", "m").sent(alice, n, keep).received(bob, n, Keep::Archive);
        draft.fingerprint(n).origin(by, u32::try_from(n).unwrap()).write()
    };
    let to_oneself = message("alice", "alice", "m").received(alice, 7, Keep::Archive);
    subject.write([sent(1, 20), sent(2, 20), sent(3, 21), sent(4, 99)]).await;
    subject.index().await;
    let no_session = message("alice", "bob", "m").sent(alice, 6, Keep::Archive).fingerprint(6);
    subject.write([sent(5, 20), no_session.write(), to_oneself.fingerprint(7).origin(21, 7).write()]).await;
    let expect = async |subject: &Subject, expected: [i64; 7]| {
        let data = subject.store().load(&jid("alice"), &[]).await.unwrap().unwrap();
        let expected: Vec<_> = expected.into_iter().map(SessionId).zip(1..).collect();
        assert_eq!(data.recent, expected);
        assert!(subject.store().load(&jid("bob"), &[]).await.unwrap().unwrap().recent.is_empty());
    };
    expect(&subject, [20, 20, 21, 0, 20, 0, 21]).await;
    let subject = subject.crash().await;
    expect(&subject, [20, 20, 21, 0, 20, 0, 21]).await;
    subject.write([Write::SessionEnded { session: SessionId(20) }]).await;
    expect(&subject, [0, 0, 21, 0, 0, 0, 21]).await;
    subject.write([Write::SessionEnded { session: SessionId(21) }]).await;
    expect(&subject, [0; 7]).await;
}
