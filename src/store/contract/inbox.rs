//! Conversations and what is unread of them.

use unisono_core::ids::{AccountId, LogPosition};
use unisono_core::record::Keep;
use unisono_core::storage::{Inbox, InboxQuery, ReadUpto, Write};

use super::{Draft, Subject, contract, jid, message};

contract! {
    conversations_come_with_what_is_unread,
    what_was_displayed_never_moves_back,
    conversations_come_in_pages,
    a_purged_conversation_is_gone,
    an_inbox_goes_with_its_account,
    the_indexer_may_end_at_any_moment,
}

/// What an inbox says, in short.
pub(super) fn told(inbox: &Inbox) -> (Vec<String>, bool, [u64; 4]) {
    let conversations = inbox.conversations.iter().map(|found| {
        let message = found.message.as_ref();
        let said = message.map_or("nothing".to_owned(), |entry| {
            format!("{} {:?} {}", entry.record.payload.text(), entry.direction, entry.position)
        });
        format!("{}: {} unread, ends at {}, last {said}", found.peer, found.unread, found.last)
    });
    (conversations.collect(), inbox.complete, [inbox.index, inbox.total, inbox.unread, inbox.all_unread])
}

/// Who it is with, what is unread, and what was said last.
async fn read(subject: &Subject, account: AccountId, query: InboxQuery) -> Vec<String> {
    let inbox = subject.store().inbox(account, &query).await.unwrap();
    let brief = inbox.conversations.iter().map(|found| {
        let said =
            found.message.as_ref().map_or("-".to_owned(), |entry| entry.record.payload.text().to_owned());
        format!("{} {} {said}", found.peer.local().unwrap(), found.unread)
    });
    brief.collect()
}

async fn all(subject: &Subject, account: AccountId) -> Vec<String> {
    read(subject, account, InboxQuery::default()).await
}

fn displayed(account: AccountId, peer: &str, upto: ReadUpto) -> Write {
    Write::Displayed { account, peer: jid(peer), upto }
}

fn by_id(id: &str) -> ReadUpto {
    ReadUpto::Message(id.into())
}

fn by_position(position: i64) -> ReadUpto {
    ReadUpto::Position(LogPosition(position))
}

/// What alice has, each at ten times its number.
fn entries(name: &str, alice: AccountId) -> Vec<Write> {
    let shown = |draft: Draft, n: i64| draft.received(alice, n * 10, Keep::Archive);
    let heard = |from: &str, n: i64| shown(message(from, name, &format!("m{n}")).speaks(), n);
    let said =
        |to: &str, n: i64| message(name, to, &format!("m{n}")).speaks().sent(alice, n * 10, Keep::Archive);
    let waits = message("carol", name, "m8").speaks().received(alice, 80, Keep::UntilDelivered);
    let marker = message(name, "bob", "m6").sent(alice, 60, Keep::Archive);
    [
        heard("bob", 1),
        heard("carol", 2),
        said("bob", 3),
        heard("bob", 4),
        heard("bob", 5),
        marker,
        shown(message("dan", name, "m7"), 7),
        waits,
        heard(name, 9),
        heard("carol", 10),
    ]
    .map(Draft::write)
    .into()
}

/// Logs with the index ending at each of their entries.
async fn logs(subject: &Subject) -> Vec<AccountId> {
    let mut accounts = Vec::new();
    for indexed in (0..=10).rev() {
        let name = format!("alice{indexed}");
        let account = subject.account(&name).await;
        for (n, write) in entries(&name, account).into_iter().enumerate() {
            subject.write([write]).await;
            if n + 1 == indexed {
                subject.index().await;
            }
        }
        accounts.push(account);
    }
    accounts
}

async fn conversations_come_with_what_is_unread(subject: Subject) {
    for (n, account) in logs(&subject).await.into_iter().enumerate() {
        let own = format!("alice{}", 10 - n);
        let expected = ["carol 2 m10".to_owned(), format!("{own} 0 m9"), "dan 0 -".into(), "bob 2 m5".into()];
        assert_eq!(all(&subject, account).await, expected);
        let inbox = subject.store().inbox(account, &InboxQuery::default()).await.unwrap();
        assert_eq!((inbox.total, inbox.unread, inbox.all_unread), (4, 2, 4));
        let last: Vec<_> = inbox.conversations.iter().map(|found| found.last.0).collect();
        assert_eq!(last, [100, 90, 70, 60]);
        let elided = InboxQuery { messages: false, unread_only: true, ..InboxQuery::default() };
        assert_eq!(read(&subject, account, elided).await, ["carol 2 -", "bob 2 -"]);
    }
    assert_eq!(all(&subject, AccountId(4711)).await, [] as [&str; 0]);
}

async fn what_was_displayed_never_moves_back(subject: Subject) {
    for account in logs(&subject).await {
        for (peer, upto, unread, position) in [
            ("bob", by_id("m1"), 2, 10), // before the last answer
            ("bob", by_id("nothing"), 2, 10),
            ("bob", by_id("m2"), 2, 10), // of another conversation
            ("bob", by_id("m4"), 1, 40),
            ("bob", by_position(10), 1, 40),
            ("bob", by_id("m1"), 1, 40),
            ("bob", by_position(55), 0, 55),
            ("bob", by_id("m5"), 0, 55),
            ("carol", by_id("m8"), 2, 0), // no archive shows it
            ("carol", by_position(20), 1, 20),
            ("carol", by_id("m10"), 0, 100),
        ] {
            subject.write([displayed(account, peer, upto.clone())]).await;
            let found = all(&subject, account).await;
            let found = found.iter().find(|found| found.starts_with(peer)).unwrap();
            assert!(found.starts_with(&format!("{peer} {unread} ")), "{upto:?}: {found}");
            assert_eq!(subject.store().displayed(account, &jid(peer)).await.unwrap().0, position, "{upto:?}");
        }
        // What comes now is unread, known in one commit or not.
        let next = |n: i64| {
            message("bob", "alice", &format!("m{n}")).speaks().received(account, n, Keep::Archive).write()
        };
        subject.write([next(200), next(210), displayed(account, "bob", by_id("m200"))]).await;
        assert_eq!(all(&subject, account).await[0], "bob 1 m210");
        let silent = message("bob", "alice", "m220").received(account, 220, Keep::Archive).write();
        subject.write([displayed(account, "bob", by_id("m220")), silent]).await;
        assert_eq!(all(&subject, account).await[0], "bob 1 m210");
        // A party that was not there before.
        let first = message("eve", "alice", "e1").speaks().received(account, 300, Keep::Archive).write();
        let second = message("eve", "alice", "e2").speaks().received(account, 310, Keep::Archive).write();
        subject.write([first, second]).await;
        subject.write([displayed(account, "eve", by_id("e1"))]).await;
        assert_eq!(all(&subject, account).await[0], "eve 1 e2");
    }
}

async fn conversations_come_in_pages(subject: Subject) {
    let page = |limit| InboxQuery { limit, messages: false, ..InboxQuery::default() };
    for account in logs(&subject).await {
        let names = ["carol", "alice", "dan", "bob"];
        let at = |position| Some(LogPosition(position));
        for (query, expected, complete, index) in [
            (page(4), &names[..], true, 0),
            (page(2), &names[..2], false, 0),
            (InboxQuery { after: at(90), ..page(1) }, &names[2..3], false, 2),
            (InboxQuery { after: at(90), ..page(2) }, &names[2..], true, 2),
            (InboxQuery { after: at(95), ..page(9) }, &names[1..], true, 1),
            (InboxQuery { after: at(60), ..page(9) }, &[], true, 4),
            (InboxQuery { from_end: true, ..page(1) }, &names[3..], false, 3),
            (InboxQuery { from_end: true, before: at(60), ..page(2) }, &names[1..3], false, 1),
            (InboxQuery { from_end: true, before: at(90), ..page(2) }, &names[..1], true, 0),
            (InboxQuery { after: at(100), before: at(70), ..page(9) }, &names[1..2], true, 1),
            (InboxQuery { unread_only: true, ..page(1) }, &names[..1], false, 0),
            (InboxQuery { unread_only: true, after: at(100), ..page(1) }, &names[3..], true, 1),
            (page(0), &[], false, 0),
        ] {
            let inbox = subject.store().inbox(account, &query).await.unwrap();
            let found: Vec<_> = inbox.conversations.iter().map(|found| found.peer.local().unwrap()).collect();
            let found: Vec<_> = found.iter().map(|name| name.trim_end_matches(char::is_numeric)).collect();
            assert_eq!(
                (found.as_slice(), inbox.complete, inbox.index),
                (expected, complete, index),
                "{query:?}"
            );
            assert_eq!(inbox.total, 4);
        }
    }
}

async fn a_purged_conversation_is_gone(subject: Subject) {
    for account in logs(&subject).await {
        subject.store().purge(Some(account), LogPosition(45)).await.unwrap();
        let found = all(&subject, account).await;
        assert_eq!((found[0].as_str(), found[3].as_str()), ("carol 1 m10", "bob 1 m5"));
        subject.store().purge(Some(account), LogPosition(55)).await.unwrap();
        assert_eq!(all(&subject, account).await[3], "bob 0 -", "a marker is left");
        subject.store().purge(Some(account), LogPosition(75)).await.unwrap();
        assert_eq!(all(&subject, account).await.len(), 2);
        let again = message("bob", "alice", "m20").speaks().received(account, 200, Keep::Archive).write();
        subject.write([again]).await;
        assert_eq!(all(&subject, account).await[0], "bob 1 m20");
    }
}

async fn an_inbox_goes_with_its_account(subject: Subject) {
    let account = subject.account("alice").await;
    subject.write(entries("alice", account)).await;
    subject.write([displayed(account, "bob", by_id("m4"))]).await;
    subject.index().await;
    subject.store().delete(&jid("alice")).await.unwrap();
    assert_eq!(all(&subject, account).await, [] as [&str; 0]);
    assert_eq!(subject.store().displayed(account, &jid("bob")).await.unwrap(), LogPosition::START);
}

async fn the_indexer_may_end_at_any_moment(mut subject: Subject) {
    let account = subject.account("alice").await;
    let peers = ["bob", "carol", "dan", "eve", "fay", "gus", "hal", "ida", "jon"];
    let mut position = 0;
    for steps in 0..14 {
        let mut writes = Vec::new();
        for _ in 0..3 {
            for peer in peers {
                position += 1;
                let id = format!("m{position}");
                let heard = message(peer, "alice", &id).speaks().received(account, position, Keep::Archive);
                writes.push(heard.write());
            }
        }
        subject.write(writes).await;
        for _ in 0..steps {
            subject.index_some().await;
        }
        let check = async |subject: &Subject| {
            let inbox = subject.store().inbox(account, &InboxQuery::default()).await.unwrap();
            let unread: Vec<_> = inbox.conversations.iter().map(|found| found.unread).collect();
            assert_eq!(unread, vec![3 * (steps + 1); peers.len()], "after {steps} steps");
        };
        check(&subject).await;
        subject = subject.crash().await;
        check(&subject).await;
    }
}
