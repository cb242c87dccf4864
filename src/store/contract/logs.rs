//! Reading logs.

use unisono_core::ids::{AccountId, LogPosition, SessionId};
use unisono_core::record::Keep;
use unisono_core::storage::{LogPage, LogQuery, StoreError, Write};

use super::{Subject, contract, message, positions};

contract! {
    a_log_is_paged_forwards_and_backwards,
    a_page_knows_its_place,
    a_page_with_one_party,
    a_search_for_a_full_address_ends,
    entries_are_asked_for_by_position,
    what_must_exist_must_exist,
    the_bounds_are_those_of_the_archive,
    what_a_session_had_received,
    a_purged_entry_is_gone_for_its_account_only,
    all_accounts_are_purged_at_once,
}

/// Entries 10, 20, … 90 of alice, of which 40 and 80 only wait. The index has those up to `indexed`.
async fn log(subject: &Subject, name: &str, indexed: i64) -> AccountId {
    let account = subject.account(name).await;
    for n in 1..=9 {
        let keep = if n % 4 == 0 { Keep::UntilDelivered } else { Keep::Archive };
        let from = if n % 2 == 0 { "bob" } else { "carol" };
        let resource = if n < 5 { "home" } else { "work" };
        let received = message(from, name, &n.to_string()).from(resource).received(account, n * 10, keep);
        subject.write([received.write()]).await;
        if n == indexed {
            subject.index().await;
        }
    }
    account
}

/// The log with the index ending at each of its entries.
async fn logs(subject: &Subject) -> Vec<AccountId> {
    let mut accounts = Vec::new();
    // The index is one for all accounts: the first that are made have all of their log in it.
    for indexed in (0..=9).rev() {
        accounts.push(log(subject, &format!("alice{indexed}"), indexed).await);
    }
    accounts
}

fn after(position: i64) -> LogQuery {
    LogQuery { after: Some(LogPosition(position)), ..LogQuery::default() }
}

fn before(position: i64) -> LogQuery {
    LogQuery { before: Some(LogPosition(position)), from_end: true, ..LogQuery::default() }
}

fn limited(limit: usize, query: LogQuery) -> LogQuery {
    LogQuery { limit, ..query }
}

fn unarchived(query: LogQuery) -> LogQuery {
    LogQuery { include_unarchived: true, ..query }
}

fn with(jid: &str, query: LogQuery) -> LogQuery {
    LogQuery { with: jid.parse().ok(), ..query }
}

async fn check(subject: &Subject, account: AccountId, query: LogQuery, expected: &[i64], complete: bool) {
    let page = subject.page(account, query.clone()).await;
    assert_eq!((positions(&page).as_slice(), page.complete), (expected, complete), "{query:?}");
    assert_eq!((page.count, page.index), (None, None));
}

async fn a_log_is_paged_forwards_and_backwards(subject: Subject) {
    for account in logs(&subject).await {
        let all = [10, 20, 30, 50, 60, 70, 90];
        let every = [10, 20, 30, 40, 50, 60, 70, 80, 90];
        let end = LogQuery { from_end: true, ..LogQuery::default() };
        let between = LogQuery { before: Some(LogPosition(70)), ..after(20) };
        for (query, expected, complete) in [
            (LogQuery::default(), &all[..], true),
            (limited(7, LogQuery::default()), &all, true),
            (limited(6, LogQuery::default()), &all[..6], false),
            (unarchived(LogQuery::default()), &every, true),
            (limited(4, unarchived(LogQuery::default())), &every[..4], false),
            (limited(2, after(30)), &[50, 60], false),
            (limited(3, after(50)), &[60, 70, 90], true),
            (after(90), &[], true),
            (after(1000), &[], true),
            (after(45), &[50, 60, 70, 90], true),
            (limited(2, unarchived(after(30))), &[40, 50], false),
            (limited(3, end.clone()), &[60, 70, 90], false),
            (limited(2, unarchived(end.clone())), &[80, 90], false),
            (end, &all, true),
            (limited(2, before(60)), &[30, 50], false),
            (limited(4, before(60)), &all[..4], true),
            (before(10), &[], true),
            (between.clone(), &[30, 50, 60], true),
            (limited(2, between.clone()), &[30, 50], false),
            (limited(2, LogQuery { from_end: true, ..between }), &[50, 60], false),
            (limited(0, LogQuery::default()), &[], false),
            (limited(0, after(90)), &[], true),
        ] {
            check(&subject, account, query, expected, complete).await;
        }
    }
    check(&subject, AccountId(4711), LogQuery::default(), &[], true).await;
}

async fn a_page_knows_its_place(subject: Subject) {
    let counted = |query| LogQuery { counted: true, ..query };
    for account in logs(&subject).await {
        let bob = "bob@example.org";
        for (query, count, index) in [
            (LogQuery::default(), 7, Some(0)),
            (limited(2, after(30)), 7, Some(3)),
            (limited(2, before(90)), 7, Some(4)),
            (after(90), 7, None),
            (limited(0, LogQuery::default()), 7, None),
            (with(bob, LogQuery::default()), 2, Some(0)),
            (with(bob, after(20)), 2, Some(1)),
            (with("nobody@example.org", LogQuery::default()), 0, None),
            (LogQuery { positions: Some(vec![LogPosition(90), LogPosition(20)]), ..after(20) }, 2, Some(1)),
        ] {
            let page = subject.page(account, counted(query.clone())).await;
            assert_eq!((page.count, page.index), (Some(count), index), "{query:?}");
        }
        let page = subject.page(account, counted(unarchived(LogQuery::default()))).await;
        assert_eq!((page.count, page.index), (None, None), "only the archive is counted");
        let page = subject.page(account, counted(with("carol@example.org/work", LogQuery::default()))).await;
        assert_eq!((page.count, page.index), (None, None), "only whole conversations are counted");
    }
    let page: LogPage = subject.page(AccountId(4711), counted(LogQuery::default())).await;
    assert_eq!((page.count, page.index), (Some(0), None));
}

async fn a_page_with_one_party(subject: Subject) {
    for account in logs(&subject).await {
        let (bob, carol) = ("bob@example.org", "carol@example.org");
        let end = LogQuery { from_end: true, ..LogQuery::default() };
        for (query, expected, complete) in [
            (with(bob, LogQuery::default()), &[20, 60][..], true),
            (with(bob, unarchived(LogQuery::default())), &[20, 40, 60, 80], true),
            (with(bob, limited(1, LogQuery::default())), &[20], false),
            (with(bob, limited(1, end.clone())), &[60], false),
            (with(carol, after(30)), &[50, 70, 90], true),
            (with("carol@example.org/home", LogQuery::default()), &[10, 30], true),
            (with("carol@example.org/work", limited(2, LogQuery::default())), &[50, 70], false),
            (with("carol@example.org/home", limited(1, end.clone())), &[30], false),
            (with("carol@example.org/home", limited(2, end)), &[10, 30], true),
            (with("carol@example.org/nowhere", LogQuery::default()), &[], true),
            (with("bob@example.org/work", unarchived(LogQuery::default())), &[60, 80], true),
            (with("alice@example.org", LogQuery::default()), &[], true),
        ] {
            check(&subject, account, query, expected, complete).await;
        }
    }
    // What was sent to a bare address is no conversation with a full one.
    let dave = subject.account("dave").await;
    subject
        .write([
            message("dave", "bob", "1").sent(dave, 1, Keep::Archive).write(),
            message("dave", "bob", "2").to("home").sent(dave, 2, Keep::Archive).write(),
        ])
        .await;
    check(&subject, dave, with("bob@example.org", LogQuery::default()), &[1, 2], true).await;
    check(&subject, dave, with("bob@example.org/home", LogQuery::default()), &[2], true).await;
}

async fn a_search_for_a_full_address_ends(subject: Subject) {
    for account in logs(&subject).await {
        let (home, work) = ("carol@example.org/home", "carol@example.org/work");
        let end = LogQuery { from_end: true, ..LogQuery::default() };
        let none = "carol@example.org/nowhere";
        // carol's are 10, 30 at home and 50, 70, 90 at work.
        for (query, search_max, expected, searched_to) in [
            (with(none, LogQuery::default()), 2, &[][..], Some(30)),
            (with(none, after(30)), 2, &[], Some(70)),
            (with(none, after(70)), 2, &[], None),
            (with(none, LogQuery::default()), 5, &[], Some(90)),
            (with(none, LogQuery::default()), 6, &[], None),
            (with(work, LogQuery::default()), 3, &[50], Some(50)),
            (with(work, LogQuery::default()), 1, &[], Some(10)),
            (with(home, limited(1, LogQuery::default())), 2, &[10], None), // the second is one too many
            (with(home, limited(1, LogQuery::default())), 1, &[10], Some(10)),
            (with(none, end.clone()), 2, &[], Some(70)),
            (with(none, before(70)), 2, &[], Some(30)),
            (with(home, end.clone()), 4, &[30], Some(30)),
            (with(work, limited(2, end)), 3, &[70, 90], None),
            (with("carol@example.org", LogQuery::default()), 1, &[10, 30, 50, 70, 90], None),
        ] {
            let query = LogQuery { search_max, ..query };
            let page = subject.page(account, query.clone()).await;
            let found = (positions(&page), page.searched_to);
            assert_eq!(found, (expected.to_vec(), searched_to.map(LogPosition)), "{query:?}");
            let is_cut = searched_to.is_some() || query.limit == 1 || query.limit == 2;
            assert_eq!(page.complete, !is_cut, "{query:?}");
        }
        let named = LogQuery { positions: Some(vec![LogPosition(50)]), search_max: 0, ..LogQuery::default() };
        check(&subject, account, with(work, named), &[50], true).await;
    }
}

async fn entries_are_asked_for_by_position(subject: Subject) {
    let these = |positions: &[i64]| LogQuery {
        positions: Some(positions.iter().map(|position| LogPosition(*position)).collect()),
        ..LogQuery::default()
    };
    for account in logs(&subject).await {
        for (query, expected, complete) in [
            (these(&[90, 10, 50, 10]), &[10, 50, 90][..], true),
            (these(&[40, 41]), &[], true),
            (unarchived(these(&[40, 41, 50])), &[40, 50], true),
            (these(&[]), &[], true),
            (limited(2, these(&[30, 20, 10])), &[10, 20], false),
            (LogQuery { after: Some(LogPosition(10)), ..these(&[10, 20]) }, &[20], true),
            (with("bob@example.org", these(&[10, 20])), &[20], true),
        ] {
            check(&subject, account, query, expected, complete).await;
        }
        let many: Vec<i64> = (1..300).collect();
        check(&subject, account, these(&many), &[10, 20, 30, 50, 60, 70, 90], true).await;
    }
}

async fn what_must_exist_must_exist(subject: Subject) {
    let needs = |positions: &[i64]| LogQuery {
        must_exist: positions.iter().map(|position| LogPosition(*position)).collect(),
        ..LogQuery::default()
    };
    for account in logs(&subject).await {
        let store = subject.store();
        for (query, exists) in [
            (needs(&[10]), true),
            (needs(&[90, 10, 10, 50]), true),
            (needs(&[11]), false),
            (needs(&[10, 20, 35]), false),
            (needs(&[40]), false),
            (unarchived(needs(&[40, 80])), true),
            // It must be in the archive, not on the page.
            (with("bob@example.org", needs(&[10])), true),
        ] {
            match store.page(account, &query).await {
                Ok(_) => assert!(exists, "{query:?}"),
                Err(StoreError::NotFound) => assert!(!exists, "{query:?}"),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

async fn the_bounds_are_those_of_the_archive(subject: Subject) {
    for account in logs(&subject).await {
        let bounds = subject.store().bounds(account).await.unwrap();
        assert_eq!(bounds, Some((LogPosition(10), LogPosition(90))));
    }
    let empty = subject.account("eve").await;
    assert_eq!(subject.store().bounds(empty).await.unwrap(), None);
    subject.write([message("bob", "eve", "w").received(empty, 5, Keep::UntilDelivered).write()]).await;
    assert_eq!(subject.store().bounds(empty).await.unwrap(), None);
    subject.write([message("bob", "eve", "a").received(empty, 7, Keep::Archive).write()]).await;
    assert_eq!(subject.store().bounds(empty).await.unwrap(), Some((LogPosition(7), LogPosition(7))));
}

async fn what_a_session_had_received(subject: Subject) {
    for indexed in [0, 3, 600] {
        let name = format!("alice{indexed}");
        let account = subject.account(&name).await;
        // Session 7 is there up to entry 400, session 8 gets every third of them.
        for n in 1..=600_u32 {
            let position = i64::from(n) * 10;
            let mut received = message("bob", &name, "m").received(account, position, Keep::Archive);
            if n <= 400 {
                received = received.queued(7, n);
            }
            if n % 3 == 0 {
                received = received.queued(8, n / 3);
            }
            subject.submit([received.write()]);
            if n == indexed {
                subject.write([]).await;
                subject.index().await;
            }
        }
        subject.write([]).await;
        for (session, handled, after, expected) in [
            (7, 0, 0, None),
            (7, 1, 0, Some(10)),
            (7, 399, 0, Some(3990)),
            (7, 400, 0, Some(4000)),
            (7, 1000, 0, Some(4000)),
            (7, 400, 4000, None),
            (7, 10, 2000, None),
            (8, 5, 0, Some(150)),
            (8, 5, 140, Some(150)),
            (8, 199, 0, Some(5970)),
            (9, 5, 0, None),
        ] {
            let found = subject
                .store()
                .received_by(account, SessionId(session), handled, LogPosition(after))
                .await
                .unwrap();
            assert_eq!(found, expected.map(LogPosition), "{session} {handled} {after}");
        }
    }
}

async fn a_purged_entry_is_gone_for_its_account_only(subject: Subject) {
    let (alice, bob) = (subject.account("alice").await, subject.account("bob").await);
    let both = |n: i64| {
        let keep = if n == 3 { Keep::UntilDelivered } else { Keep::Archive };
        message("alice", "bob", &n.to_string()).sent(alice, n, keep).received(bob, n, Keep::Archive).write()
    };
    subject.write((1..=8).map(both)).await;
    subject.index().await;
    subject.write((9..=10).map(both)).await;
    let store = subject.store();
    assert_eq!(store.purge(Some(alice), LogPosition(7)).await.unwrap(), 5);
    assert_eq!(store.purge(Some(alice), LogPosition(7)).await.unwrap(), 0);

    let page = subject.page(alice, LogQuery { counted: true, ..LogQuery::default() }).await;
    assert_eq!(positions(&page), [7, 8, 9, 10]);
    assert_eq!((page.count, page.index), (Some(4), Some(0)));
    assert_eq!(subject.all(alice).await, ["3", "7", "8", "9", "10"], "what waits is not the archive's");
    let query = LogQuery { must_exist: vec![LogPosition(5)], ..after(5) };
    assert!(matches!(store.page(alice, &query).await, Err(StoreError::NotFound)));
    assert_eq!(store.bounds(alice).await.unwrap(), Some((LogPosition(7), LogPosition(10))));
    assert_eq!(store.purged(alice).await.unwrap(), LogPosition(6));
    assert_eq!(store.purged(bob).await.unwrap(), LogPosition::START);
    let page = subject.page(alice, LogQuery { counted: true, ..after(8) }).await;
    assert_eq!((positions(&page), page.count, page.index), (vec![9, 10], Some(4), Some(2)));

    let page = subject.page(bob, LogQuery { counted: true, ..LogQuery::default() }).await;
    assert_eq!((page.entries.len(), page.count), (10, Some(10)));

    // Up to the end of the log, which then goes on.
    assert_eq!(store.purge(Some(alice), LogPosition(100)).await.unwrap(), 4);
    assert_eq!(store.purge(Some(bob), LogPosition(10)).await.unwrap(), 9);
    assert_eq!(store.purged(alice).await.unwrap(), LogPosition(10));
    subject.write([both(11)]).await;
    for _ in 0..2 {
        let page = subject.page(alice, LogQuery { counted: true, ..LogQuery::default() }).await;
        assert_eq!((positions(&page), page.count, page.index), (vec![11], Some(1), Some(0)));
        subject.index().await;
    }
    if let Some(store) = subject.sql() {
        assert_eq!(crate::sql::stored_messages(store).await, 3, "what waits, and 10 and 11");
    }
    subject.write([Write::Delivered { account: alice, upto: LogPosition(3) }]).await;
    subject.index().await;
    if let Some(store) = subject.sql() {
        assert_eq!(crate::sql::stored_messages(store).await, 2);
    }
}

async fn all_accounts_are_purged_at_once(subject: Subject) {
    let mut accounts = Vec::new();
    for n in 0..5 {
        let account = subject.account(&format!("alice{n}")).await;
        accounts.push(account);
        let received = |p: i64| message("bob", "alice", "m").received(account, p, Keep::Archive).write();
        subject.write((n * 10..n * 10 + 20).map(received)).await;
    }
    // Before position 25: 20 of the first, 15 of the second, 5 of the third.
    assert_eq!(subject.store().purge(None, LogPosition(25)).await.unwrap(), 40);
    let left = async |account| subject.all(account).await.len();
    assert_eq!(left(accounts[0]).await, 0);
    assert_eq!(left(accounts[1]).await, 5);
    assert_eq!(left(accounts[2]).await, 15);
    assert_eq!(left(accounts[3]).await, 20);
}
