//! The commit queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use unisono_core::ids::{LogPosition, Ticket};
use unisono_core::record::Keep;
use unisono_core::storage::{Commit, Wake, Write};

use super::{Subject, contract, jid, message, payloads, positions};
use crate::contract::LogQuery;

contract! {
    tickets_grow_and_become_durable_in_order,
    whoever_waits_is_woken_once_it_is_durable,
    what_is_durable_survives_a_crash,
    a_message_is_whole_when_it_comes_back,
    what_no_log_keeps_is_in_none,
    delivered_entries_are_forgotten,
    the_head_never_falls,
    a_message_to_oneself_is_one_entry,
    a_batch_of_large_messages_is_stored,
}

async fn tickets_grow_and_become_durable_in_order(subject: Subject) {
    let account = subject.account("alice").await;
    let store = subject.store();
    assert_eq!(store.durable(), Ticket::NONE);
    store.wait(Ticket::NONE).await;
    let sent = |n: i64| message("alice", "bob", &n.to_string()).sent(account, n, Keep::Archive).write();
    let tickets: Vec<Ticket> = (1..=1000).map(|n| subject.submit([sent(n)])).collect();
    assert!(tickets.is_sorted_by(|a, b| a < b));
    for ticket in [tickets[10], tickets[500], tickets[3], tickets[999]] {
        store.wait(ticket).await;
        assert!(store.durable() >= ticket);
        // All up to the ticket is there, and readable.
        let page = subject.page(account, LogQuery { limit: 2000, ..LogQuery::default() }).await;
        let expected: Vec<i64> = (1..=i64::try_from(page.entries.len()).unwrap()).collect();
        assert_eq!(positions(&page), expected);
        assert!(u64::try_from(expected.len()).unwrap() >= ticket.0);
    }
    assert_eq!(store.durable(), tickets[999]);
    assert_eq!(store.failing(), None);
}

struct Bell {
    store: Arc<dyn unisono_core::storage::Store>,
    rings: AtomicUsize,
    rang: tokio::sync::Notify,
    durable: std::sync::Mutex<Ticket>,
}

impl Wake for Bell {
    fn wake(&self) {
        *self.durable.lock().unwrap() = self.store.durable();
        self.rings.fetch_add(1, Ordering::SeqCst);
        self.rang.notify_one();
    }
}

async fn whoever_waits_is_woken_once_it_is_durable(subject: Subject) {
    let account = subject.account("alice").await;
    let bell = Arc::new(Bell {
        store: subject.store(),
        rings: AtomicUsize::new(0),
        rang: tokio::sync::Notify::new(),
        durable: std::sync::Mutex::default(),
    });
    let writes = vec![message("alice", "bob", "m").sent(account, 1, Keep::Archive).write()];
    let wake: Vec<Arc<dyn Wake>> = vec![bell.clone(), bell.clone()];
    let ticket = subject.store().submit(Commit { writes, wake });
    bell.rang.notified().await;
    assert_eq!(bell.rings.load(Ordering::SeqCst), 1);
    assert_eq!(*bell.durable.lock().unwrap(), ticket);
    // A commit without writes has its place in the queue as well.
    let ticket = subject.store().submit(Commit { writes: Vec::new(), wake: vec![bell.clone()] });
    bell.rang.notified().await;
    assert_eq!(*bell.durable.lock().unwrap(), ticket);
}

async fn what_is_durable_survives_a_crash(mut subject: Subject) {
    let (alice, bob) = (subject.account("alice").await, subject.account("bob").await);
    let sent = |n: i64| {
        message("alice", "bob", &n.to_string())
            .sent(alice, n * 2, Keep::Archive)
            .received(bob, n * 3, Keep::Archive)
            .write()
    };
    let mut expected = Vec::new();
    for round in 0..6 {
        for n in 1..=20 {
            subject.submit([sent(round * 20 + n)]);
            expected.push((round * 20 + n).to_string());
        }
        subject.write([]).await;
        if round % 2 == 0 {
            subject.index().await;
        }
        if round % 3 == 1 {
            subject = subject.crash().await;
        }
        assert_eq!(subject.all(alice).await, expected);
        assert_eq!(subject.all(bob).await, expected);
    }
    let subject = subject.crash().await.crash().await;
    assert_eq!(subject.all(bob).await, expected);
    let page = subject.page(alice, LogQuery { limit: 0, counted: true, ..LogQuery::default() }).await;
    assert_eq!(page.count, Some(120));
}

async fn a_message_is_whole_when_it_comes_back(subject: Subject) {
    let (alice, bob) = (subject.account("alice").await, subject.account("bob").await);
    let draft = message("alice", "bob", "<body>a:1;ü</body>")
        .to("y: z")
        .sent(alice, 10, Keep::Archive)
        .received(bob, 20, Keep::UntilDelivered)
        .queued(-3, 7)
        .queued(i64::MAX, u32::MAX)
        .origin(9, 1)
        .fingerprint(-1);
    let Write::Message(record) = draft.write() else { unreachable!() };
    subject.write([Write::Message(record.clone())]).await;
    for _ in 0..2 {
        let query = LogQuery { include_unarchived: true, ..LogQuery::default() };
        for account in [alice, bob] {
            let page = subject.page(account, query.clone()).await;
            let (place, direction) = record.place(account).unwrap();
            assert_eq!(page.entries[0].position, place.position);
            assert_eq!(page.entries[0].direction, direction);
            assert_eq!(page.entries[0].record.payload.text(), record.payload.text());
            assert_eq!(format!("{:?}", page.entries[0].record.received), format!("{:?}", record.received));
            assert_eq!(page.entries[0].record.to, record.to);
            assert_eq!(page.entries[0].record.origin, record.origin);
            assert_eq!(page.entries[0].record.fingerprint, -1);
        }
        subject.index().await;
    }
}

async fn what_no_log_keeps_is_in_none(subject: Subject) {
    let (alice, bob) = (subject.account("alice").await, subject.account("bob").await);
    let nothing = |n| message("alice", "bob", "no").sent(alice, n, Keep::Nothing);
    subject
        .write([
            nothing(1).write(),
            nothing(2).received(bob, 2, Keep::Nothing).write(),
            nothing(3).received(bob, 3, Keep::Archive).write(),
            message("eve", "mallory", "neither").write(),
        ])
        .await;
    for _ in 0..2 {
        assert!(subject.all(alice).await.is_empty());
        assert_eq!(subject.all(bob).await, ["no"]);
        subject.index().await;
    }
}

async fn delivered_entries_are_forgotten(mut subject: Subject) {
    let alice = subject.account("alice").await;
    let received = |n: i64, keep| message("bob", "alice", &n.to_string()).received(alice, n, keep).write();
    let delivered = |upto| Write::Delivered { account: alice, upto: LogPosition(upto) };
    subject
        .write((1..=9).map(|n| received(n, if n % 3 == 0 { Keep::Archive } else { Keep::UntilDelivered })))
        .await;
    assert_eq!(subject.all(alice).await.len(), 9);
    let archived = subject.page(alice, LogQuery::default()).await;
    assert_eq!(positions(&archived), [3, 6, 9]);

    // Not indexed yet, neither when it is delivered nor when the server crashes.
    subject.write([delivered(4)]).await;
    assert_eq!(subject.all(alice).await, ["3", "5", "6", "7", "8", "9"]);
    subject = subject.crash().await;
    assert_eq!(subject.all(alice).await, ["3", "5", "6", "7", "8", "9"]);
    // Indexed, and what is delivered comes in the same commit as more.
    subject.write([delivered(5), received(10, Keep::UntilDelivered), delivered(2)]).await;
    assert_eq!(subject.all(alice).await, ["3", "6", "7", "8", "9", "10"]);
    subject.index().await;
    assert_eq!(subject.all(alice).await, ["3", "6", "7", "8", "9", "10"]);
    subject.write([delivered(1000)]).await;
    assert_eq!(subject.all(alice).await, ["3", "6", "9"]);
    subject.index().await;
    subject = subject.crash().await;
    assert_eq!(subject.all(alice).await, ["3", "6", "9"]);
    if let Some(store) = subject.sql() {
        assert_eq!(crate::sql::stored_messages(store).await, 3, "forgotten messages take no room");
    }
}

/// A position is never given twice, so the head stays where it was when the last entries are gone.
async fn the_head_never_falls(subject: Subject) {
    let alice = subject.account("alice").await;
    let received = |n: i64, keep| message("bob", "alice", "m").received(alice, n, keep).write();
    let head =
        async |subject: &Subject| subject.store().load(&jid("alice"), &[]).await.unwrap().unwrap().head.0;
    subject.write([received(10, Keep::Archive), received(20, Keep::Archive)]).await;
    assert_eq!(head(&subject).await, 20);
    subject.store().purge(Some(alice), LogPosition(100)).await.unwrap();
    assert_eq!(head(&subject).await, 20);
    subject.write([received(30, Keep::UntilDelivered)]).await;
    assert_eq!(head(&subject).await, 30);
    subject.index().await;
    assert_eq!(head(&subject).await, 30);
    subject.write([Write::Delivered { account: alice, upto: LogPosition(30) }]).await;
    subject.index().await;
    let subject = subject.crash().await;
    assert_eq!(head(&subject).await, 30);
}

async fn a_message_to_oneself_is_one_entry(subject: Subject) {
    let alice = subject.account("alice").await;
    subject.write([message("alice", "alice", "note").received(alice, 5, Keep::Archive).write()]).await;
    for _ in 0..2 {
        let query = LogQuery { with: "alice@example.org".parse().ok(), counted: true, ..LogQuery::default() };
        let page = subject.page(alice, query).await;
        assert_eq!(payloads(&page.entries), ["note"]);
        assert_eq!((page.count, page.index), (Some(1), Some(0)));
        subject.index().await;
    }
}

/// More than one statement can take.
async fn a_batch_of_large_messages_is_stored(subject: Subject) {
    const COUNT: i64 = 9;
    let account = subject.account("alice").await;
    let large = "x".repeat(8 * 1024 * 1024);
    let large = message("alice", "bob", &large).id(None);
    subject.write((1..=COUNT).map(|n| large.clone().sent(account, n, Keep::Archive).write())).await;
    for n in [1, COUNT] {
        let query = LogQuery { positions: Some(vec![LogPosition(n)]), ..LogQuery::default() };
        let page = subject.page(account, query).await;
        assert_eq!(page.entries[0].record.payload.text().len(), 8 * 1024 * 1024);
    }
    assert_eq!(subject.store().bounds(account).await.unwrap(), Some((LogPosition(1), LogPosition(COUNT))));
}
