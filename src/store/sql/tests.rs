//! What only a database can get wrong: disks, plans, locks, schemas, lost connections. What it shares with the
//! store in memory is tested in `contract`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::time::Duration;

use sqlx::{AnyConnection, Connection as _, Executor as _};
use tokio::time::sleep;
use unisono_core::ids::{AccountId, LogPosition, Ticket};
use unisono_core::jid::unicode_tables;
use unisono_core::record::Keep;
use unisono_core::storage::{Accounts as _, Commit, Journal as _, LogQuery, Logs as _, StoreError, Write};

use super::database::composed;
use super::error::{CommitError, read_error};
use super::index::{Index, Question, Range};
use super::{SqlStore, indexer, recovery, retract};
use crate::contract::{Subject, jid, message, payloads};
use crate::testing::OwnServer;

/// Runs the indexer at a moment of the test's choice.
pub(crate) async fn index_now(store: &SqlStore) {
    drop(indexer::settle(&store.shared).await.map_err(|error| error.text().to_owned()).unwrap());
}

/// Runs one slice of the indexer.
pub(crate) async fn index_step(store: &SqlStore) {
    indexer::step(&store.shared).await.map_err(|error| error.text().to_owned()).unwrap();
}

/// How many rows there are in the table of messages.
pub(crate) async fn stored_messages(store: &SqlStore) -> i64 {
    let mut reader = store.shared.database.reader().await.unwrap();
    let count = sqlx::query_scalar("SELECT count(*) FROM message").fetch_one(&mut reader.connection).await;
    reader.finish(Ok(count.unwrap())).unwrap()
}

async fn on_writer(store: &SqlStore, sql: String) -> Option<i64> {
    let query = sqlx::query_scalar(composed(sql));
    let work =
        async |connection: &mut AnyConnection| query.fetch_optional(connection).await.map_err(read_error);
    store.shared.write(work).await.unwrap()
}

fn sent(account: AccountId, n: i64) -> Write {
    message("alice", "bob", &n.to_string()).sent(account, n, Keep::Archive).write()
}

fn numbers(upto: i64) -> Vec<String> {
    (1..=upto).map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn a_full_disk_stops_acknowledgements_and_loses_nothing() {
    let subject = Subject::sqlite().await;
    let account = subject.account("alice").await;
    subject.write([sent(account, 1)]).await;
    let store = subject.sql().unwrap();
    let pages = on_writer(store, "PRAGMA page_count".to_owned()).await.unwrap();
    on_writer(store, format!("PRAGMA max_page_count = {}", pages + 4)).await;

    let mut last = Ticket::NONE;
    for n in 2..=500 {
        last = subject.submit([sent(account, n)]);
        if n % 10 == 0 {
            tokio::task::yield_now().await;
        }
    }
    while store.failing().is_none() {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(store.failing().unwrap().contains("full"), "{:?}", store.failing());
    let durable = store.durable();
    assert!(durable < last);
    // What is shown is what is durable: nothing of the failed transaction.
    assert_eq!(subject.all(account).await.len() as u64, durable.0);
    let late = subject.submit([sent(account, 501)]);
    assert!(late > last && store.durable() == durable);

    on_writer(store, "PRAGMA max_page_count = 1000000".to_owned()).await;
    store.wait(late).await;
    assert_eq!(store.failing(), None);
    assert_eq!(subject.all(account).await, numbers(501));
    let subject = subject.crash().await;
    assert_eq!(subject.all(account).await, numbers(501));
}

#[tokio::test]
async fn a_commit_that_is_refused_stops_the_store_and_is_never_durable() {
    let mut subjects = vec![Subject::sqlite().await];
    subjects.extend(Subject::postgres().await);
    for subject in subjects {
        let account = subject.account("alice").await;
        let store = subject.sql().unwrap();
        on_writer(store, "CREATE UNIQUE INDEX refuses ON device (key)".to_owned()).await;
        let device = |id: i64| Write::Device {
            account,
            device: unisono_core::storage::DeviceRecord {
                id: unisono_core::ids::DeviceId(id),
                key: "taken".into(),
                cursor: LogPosition(0),
                pages_archive: false,
                last_seen: 0,
                access: None,
            },
        };
        // One batch, since nothing else runs between on a runtime of one thread.
        let good = subject.submit([sent(account, 1), device(1)]);
        let refused = subject.submit([sent(account, 2), device(2)]);
        let later = subject.submit([sent(account, 3)]);
        store.wait(good).await;
        while !store.failing().is_some_and(|text| text.contains("refuses")) {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(store.durable() == good && good < refused && refused < later);
        assert_eq!(subject.all(account).await, ["1"]);
        // It stays so, and closing does not hang.
        subject.submit([sent(account, 4)]);
        store.close().await;
        assert_eq!(store.durable(), good);
    }
}

#[tokio::test]
async fn lost_connections_lose_and_double_nothing() {
    const CUT: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let Some(subject) = Subject::postgres().await else { return };
    let account = subject.account("alice").await;
    let store = subject.sql().unwrap();
    let mut knife = AnyConnection::connect(subject.url()).await.unwrap();
    let mut number = 0;
    for round in 0..8 {
        let mut last = Ticket::NONE;
        for _ in 0..50 {
            number += 1;
            last = subject.submit([sent(account, number)]);
        }
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let cut: i64 = sqlx::query_scalar(CUT).fetch_one(&mut knife).await.unwrap();
        assert!(cut > 0);
        store.wait(last).await;
        // A reader may find its connection cut, once for each.
        let query = LogQuery { limit: 10_000, ..LogQuery::default() };
        let page = loop {
            match store.page(account, &query).await {
                Ok(page) => break page,
                Err(StoreError::Unavailable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(payloads(&page.entries), numbers(number));
    }
    assert_eq!(stored_messages(store).await, number);
    assert_eq!(store.failing(), None);
}

/// Nothing is lost with a connection: it is there, and no word comes.
#[tokio::test]
async fn a_server_that_falls_silent_is_told_and_loses_nothing() {
    const SILENT: &str = "the database does not answer";
    let Some(server) = OwnServer::start() else { return };
    let store = SqlStore::open_answering(server.url(), Duration::from_secs(2)).await.unwrap();
    let account = store.create(&jid("alice"), &[], 1).await.unwrap();
    let submit = |n| store.submit(Commit { writes: vec![sent(account, n)], wake: Vec::new() });
    let first = (1..=20).map(submit).last().unwrap();
    store.wait(first).await;
    let query = LogQuery { limit: 10_000, ..LogQuery::default() };
    let all = async || Ok::<_, StoreError>(payloads(&store.page(account, &query).await?.entries));
    assert_eq!(all().await.unwrap(), numbers(20));

    server.stop();
    let last = (21..=40).map(submit).last().unwrap();
    // More readers than there are connections; none stays for ever, and neither does whoever writes or indexes.
    let mut results = Vec::new();
    for _ in 0..2 {
        let readers = async {
            let bob = jid("bob");
            tokio::join!(
                all(),
                all(),
                all(),
                all(),
                all(),
                all(),
                all(),
                all(),
                all(),
                store.purged(account),
                store.credential(&bob, "SCRAM-SHA-1"),
                store.load(&bob, &[]),
                store.create(&bob, &[], 2)
            )
        };
        let (one, .., nine, purged, credential, loaded, created) = readers.await;
        results.extend([one.map(drop), nine.map(drop), purged.map(drop), credential.map(drop)]);
        results.extend([loaded.map(drop), created.map(drop)]);
    }
    results.push(indexer::settle(&store.shared).await.map(drop).map_err(CommitError::into_store));
    for result in results {
        assert!(matches!(&result, Err(StoreError::Unavailable(text)) if text.contains(SILENT)), "{result:?}");
    }
    while !store.failing().is_some_and(|text| text.contains(SILENT)) {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(store.durable(), first);

    server.go_on();
    store.wait(last).await;
    assert_eq!(store.failing(), None);
    assert_eq!(all().await.unwrap(), numbers(40));
    store.create(&jid("bob"), &[], 2).await.unwrap();
    index_now(&store).await;
    assert_eq!(all().await.unwrap(), numbers(40));
    assert_eq!(stored_messages(&store).await, 40);
    store.close().await;
}

#[tokio::test]
async fn what_another_server_wrote_is_not_taken_for_ours() {
    const CUT: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    const FOREIGN: &str = "INSERT INTO message SELECT id + 1, sender, sent_at + 7, recipient, received_at, flags, \
        sent_to, received_from, stanza, fingerprint, session, handled, record FROM message";
    let Some(subject) = Subject::postgres().await else { return };
    let account = subject.account("alice").await;
    let store = subject.sql().unwrap();
    store.wait(subject.submit([sent(account, 1)])).await;
    let mut knife = AnyConnection::connect(subject.url()).await.unwrap();
    sqlx::query(FOREIGN).execute(&mut knife).await.unwrap();
    let _cut: i64 = sqlx::query_scalar(CUT).fetch_one(&mut knife).await.unwrap();
    let last = subject.submit([sent(account, 2)]);
    let stopped = async {
        while !store.failing().is_some_and(|why| why.starts_with("stopped")) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), stopped).await.unwrap();
    assert!(store.durable() < last);
}

#[tokio::test]
async fn a_crash_while_indexing_repeats_and_loses_nothing() {
    let mut subjects = vec![Subject::sqlite().await];
    subjects.extend(Subject::postgres().await);
    for mut subject in subjects {
        let (alice, bob) = (subject.account("alice").await, subject.account("bob").await);
        let both = |n: i64| {
            let keep = if n % 5 == 0 { Keep::UntilDelivered } else { Keep::Archive };
            message("alice", "bob", &n.to_string())
                .sent(alice, n, keep)
                .received(bob, n, Keep::Archive)
                .write()
        };
        for round in 0..6 {
            subject.write((round * 50 + 1..=round * 50 + 50).map(both)).await;
            for _ in 0..round {
                index_step(subject.sql().unwrap()).await;
            }
            // Delivered while it is being indexed.
            let upto = LogPosition(round * 50 + 20);
            subject.write([Write::Delivered { account: alice, upto }]).await;
            subject = subject.crash().await;
            assert_eq!(subject.all(bob).await, numbers(round * 50 + 50));
            let kept = (1..=round * 50 + 50).filter(|n| n % 5 != 0 || *n > upto.0);
            assert_eq!(subject.all(alice).await, kept.map(|n| n.to_string()).collect::<Vec<_>>());
            for (account, count) in [(alice, (round + 1) * 40), (bob, (round + 1) * 50)] {
                let query = LogQuery { counted: true, from_end: true, limit: 1, ..LogQuery::default() };
                let page = subject.page(account, query).await;
                assert_eq!(page.count, u64::try_from(count).ok());
                assert_eq!(page.index, u64::try_from(count - 1).ok());
            }
        }
    }
}

#[tokio::test]
async fn what_a_crash_left_stays_visible_when_other_work_comes_first() {
    let mut subjects = vec![Subject::sqlite().await];
    subjects.extend(Subject::postgres().await);
    for subject in subjects {
        let account = subject.account("alice").await;
        subject.write([sent(account, 1)]).await;
        subject.index().await;
        subject.write((2..=6).map(|n| sent(account, n))).await;
        let subject = subject.crash().await;
        // The indexer has something to do before there is a new message.
        subject.write([Write::Delivered { account, upto: LogPosition(6) }]).await;
        subject.index().await;
        assert_eq!(subject.all(account).await, numbers(6));
        let subject = subject.crash().await;
        assert_eq!(subject.all(account).await, numbers(6));
    }
}

#[tokio::test]
async fn a_closed_store_is_indexed_and_opens_again() {
    let mut subjects = vec![Subject::sqlite().await];
    subjects.extend(Subject::postgres().await);
    for subject in subjects {
        let account = subject.account("alice").await;
        for n in 1..=100 {
            subject.submit([sent(account, n)]);
        }
        subject.sql().unwrap().close().await;
        let subject = subject.crash().await;
        assert_eq!(subject.all(account).await, numbers(100));
        let store = subject.sql().unwrap();
        let mut reader = store.shared.database.reader().await.unwrap();
        let extent = recovery::extent(&mut reader.connection).await.unwrap();
        assert_eq!((extent.watermark, extent.newest), (100, 100));
    }
}

#[tokio::test]
async fn one_process_has_the_database() {
    let mut subjects = vec![Subject::sqlite().await];
    subjects.extend(Subject::postgres().await);
    for subject in subjects {
        let Err(StoreError::Unavailable(text)) = SqlStore::open(subject.url()).await else {
            panic!("opened twice")
        };
        assert!(text.contains("another process uses"), "{text}");
        subject.sql().unwrap().close().await;
        SqlStore::open(subject.url()).await.unwrap();
    }
}

/// How many entries wait, or did and are still there.
async fn waiting(store: &SqlStore) -> i64 {
    on_writer(store, "SELECT count(*) FROM waiting".to_owned()).await.unwrap()
}

#[tokio::test]
async fn what_is_delivered_goes_in_steps_and_after_a_crash() {
    let mut subjects = vec![Subject::sqlite().await];
    subjects.extend(Subject::postgres().await);
    for mut subject in subjects {
        let names = ["alice", "bob", "carol"];
        let mut accounts = Vec::new();
        for name in names {
            accounts.push(subject.account(name).await);
        }
        let writes = (1..=30).map(|n| {
            let account = accounts[usize::try_from(n % 3).unwrap()];
            message("eve", "anybody", &n.to_string()).received(account, n, Keep::UntilDelivered).write()
        });
        subject.write(writes).await;
        subject.index().await;
        let upto = LogPosition(27);
        subject.write(accounts[..2].iter().map(|account| Write::Delivered { account: *account, upto })).await;
        subject = subject.crash().await;
        assert_eq!(waiting(subject.sql().unwrap()).await, 30);
        let mut before = 30;
        while before > 12 {
            subject.index_some().await;
            let left = waiting(subject.sql().unwrap()).await;
            assert!(left < before && left + 4 >= before, "{before} to {left}");
            assert_eq!(stored_messages(subject.sql().unwrap()).await, left);
            before = left;
        }
        subject.index().await;
        assert_eq!(waiting(subject.sql().unwrap()).await, 12);
        for name in names {
            subject.store().delete(&jid(name)).await.unwrap();
        }
        assert_eq!(waiting(subject.sql().unwrap()).await, 0);
        assert_eq!(stored_messages(subject.sql().unwrap()).await, 0);
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let mut subjects = vec![Subject::sqlite().await];
    subjects.extend(Subject::postgres().await);
    for subject in subjects {
        on_writer(subject.sql().unwrap(), "INSERT INTO schema_version (version) VALUES (9999)".to_owned())
            .await;
        subject.sql().unwrap().close().await;
        let Err(StoreError::Unavailable(text)) = SqlStore::open(subject.url()).await else {
            panic!("opened")
        };
        assert!(text.contains("version 9999") && text.contains("newer program"), "{text}");
    }
}

/// As a program with other tables of Unicode would have left a store with these accounts: after `statements`.
async fn reopened(subject: &Subject, names: &[&str], statements: &[&str]) -> Result<SqlStore, StoreError> {
    for name in names {
        subject.account(name).await;
    }
    for statement in statements {
        on_writer(subject.sql().unwrap(), (*statement).to_owned()).await;
    }
    subject.sql().unwrap().close().await;
    SqlStore::open(subject.url()).await
}

#[tokio::test]
async fn other_tables_of_unicode_change_no_name() {
    const OTHER: &str = "UPDATE unicode SET tables = 'Unicode 1.1'";
    const NONE: &str = "DELETE FROM unicode";
    // Before names were compared.
    const OLD: &str = "UPDATE account SET likeness = 0";
    let names = ["alice", "m\u{fc}ller", "\u{438}\u{432}\u{430}\u{43d}", "paypal"];
    for statements in [[OTHER, OLD], [NONE, OLD]] {
        let mut subjects = vec![Subject::sqlite().await];
        subjects.extend(Subject::postgres().await);
        for subject in subjects {
            let store = reopened(&subject, &names, &statements).await.unwrap();
            let refused = store.create_distinct(&jid("paypa1"), &[], 1).await;
            assert!(matches!(refused, Err(StoreError::Alike(_))), "{statements:?} {refused:?}");
            for name in names {
                assert!(store.summary(&jid(name)).await.unwrap().is_some(), "{name}");
            }
            let tables =
                on_writer(&store, "SELECT count(*) FROM unicode WHERE tables LIKE '%, case%'".to_owned());
            assert_eq!(tables.await, Some(1));
        }
    }
    // There was no small letter for it, and the other one was assigned.
    for (was, now) in
        [("alic\u{c9}@example.org", "alic\u{e9}@example.org"), ("alice\u{378}@example.org", "no address")]
    {
        let rename = format!("UPDATE account SET jid = '{was}' WHERE jid LIKE 'alice%'");
        let mut subjects = vec![Subject::sqlite().await];
        subjects.extend(Subject::postgres().await);
        for subject in subjects {
            let Err(StoreError::Unavailable(text)) = reopened(&subject, &names, &[&rename, OTHER]).await
            else {
                panic!("opened with {was}")
            };
            assert!(text.contains(&format!("names of accounts: {was} would be {now};")), "{text}");
            assert!(text.contains("Unicode 1.1") && text.contains(&unicode_tables()), "{text}");
        }
        // Nobody reads a million names at each start.
        let subject = Subject::sqlite().await;
        reopened(&subject, &names, &[&rename]).await.unwrap();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_reads_the_file() {
    use std::os::unix::fs::PermissionsExt as _;

    let subject = Subject::sqlite().await;
    subject.account("alice").await;
    let folder = subject.folder().unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert!(files >= 3, "the database, its log and its lock");
}

/// A page costs the same whatever the length of the log: no plan reads more of a table than it shows, or
/// sorts it.
/// All questions that a page may ask.
fn questions() -> impl Iterator<Item = String> {
    (0..32).map(|case| {
        let is = |bit: i32| case & bit != 0;
        let peer = is(1).then_some(1);
        let index = Index { account: AccountId(1), watermark: 1, peer, unarchived: is(2) };
        let range = Range { after: 0, before: 9, from_end: is(4), limit: 51 };
        let existing: &[i64] = if is(8) { &[1, 2, 3] } else { &[] };
        index.sql(&Question { range: Some(range), existing, count_upto: is(16).then_some(1) })
    })
}

#[tokio::test]
async fn no_page_scans_or_sorts() {
    let subject = Subject::sqlite().await;
    let store = subject.sql().unwrap();
    let mut reader = store.shared.database.reader().await.unwrap();
    for question in questions() {
        let query =
            sqlx::query_as::<_, (i64, i64, i64, String)>(composed(format!("EXPLAIN QUERY PLAN {question}")));
        let query = (0..10).fold(query, |query, _| query.bind(1_i64));
        let plan = query.fetch_all(&mut reader.connection).await.unwrap();
        let plan: Vec<&str> = plan.iter().map(|(_, _, _, detail)| detail.as_str()).collect();
        assert!(plan.iter().any(|step| step.starts_with("SEARCH log USING")), "{plan:#?}");
        // All of an account is searched for its first and its last entry only, which end at the first that is found.
        let whole = plan.iter().filter(|step| step.starts_with("SEARCH") && step.ends_with("(account=?)"));
        let ends = if question.contains("SELECT ordinal") { 2 } else { 0 };
        assert_eq!(whole.count(), ends, "{plan:#?} of {question}");
        for step in plan {
            // `e` is the part of the index that a page shows, and DISTINCT is for the named positions.
            let is_scan = step.starts_with("SCAN") && step != "SCAN e" && step != "SCAN CONSTANT ROW";
            let is_sort = step.contains("TEMP B-TREE") && !step.contains("DISTINCT");
            assert!(!is_scan && !is_sort, "{step} in {question}");
        }
    }
}

/// The indexes by which a retraction finds its messages, with all that it asks of them.
const STANZA_INDEXES: [&str; 2] = ["log_stanza", "waiting_stanza"];

#[tokio::test]
async fn a_retraction_reads_what_it_concerns() {
    let subject = Subject::sqlite().await;
    let store = subject.sql().unwrap();
    let mut reader = store.shared.database.reader().await.unwrap();
    let explain = composed(format!("EXPLAIN QUERY PLAN {}", retract::FIND));
    let query = sqlx::query_as::<_, (i64, i64, i64, String)>(explain);
    let query = (0..5).fold(query, |query, _| query.bind(1_i64));
    let plan = query.fetch_all(&mut reader.connection).await.unwrap();
    let plan: Vec<&str> = plan.iter().map(|(_, _, _, detail)| detail.as_str()).collect();
    for index in STANZA_INDEXES {
        let search = format!("USING COVERING INDEX {index} (account=? AND stanza=? AND peer=?)");
        assert!(plan.iter().any(|step| step.ends_with(&search)), "{plan:#?}");
    }
    // What the parts have found is read, of course.
    let is_scan =
        |step: &str| ["SCAN log", "SCAN waiting", "SCAN mark"].iter().any(|scan| step.starts_with(scan));
    assert!(!plan.iter().any(|step| is_scan(step) || step.contains("TEMP B-TREE")), "{plan:#?}");
}

#[tokio::test]
async fn a_retraction_reads_what_it_concerns_on_postgres() {
    let Some(subject) = Subject::postgres().await else { return };
    let account = subject.account("alice").await;
    let store = subject.sql().unwrap();
    // As many that only wait as are archived.
    let both = |n: i64| {
        let keep = if n % 2 == 0 { Keep::UntilDelivered } else { Keep::Archive };
        message("alice", "bob", &n.to_string()).sent(account, n, keep).write()
    };
    subject.write((1..=4_000).map(both)).await;
    subject.index().await;
    on_writer(store, "ANALYZE".to_owned()).await;
    let mut reader = store.shared.database.reader().await.unwrap();
    let find = (1..=5).rev().fold(retract::FIND.to_owned(), |text, n| text.replace(&format!("${n}"), "1"));
    let explain = sqlx::query_scalar::<_, String>(composed(format!("EXPLAIN {find}")));
    let plan = explain.fetch_all(&mut reader.connection).await.unwrap().join("\n");
    for index in STANZA_INDEXES {
        assert!(plan.contains(&format!("Scan Backward using {index} on")), "{plan}");
    }
    assert!(!plan.contains("Seq Scan on log") && !plan.contains("Sort"), "{plan}");
}

#[tokio::test]
async fn no_page_scans_on_postgres() {
    let Some(subject) = Subject::postgres().await else { return };
    let account = subject.account("alice").await;
    subject.write((1..=2_000).map(|n| sent(account, n))).await;
    subject.index().await;
    let store = subject.sql().unwrap();
    let mut reader = store.shared.database.reader().await.unwrap();
    // In a table as small as this, reading all of it would be the best plan.
    for set in ["ANALYZE", "SET enable_seqscan = off"] {
        reader.connection.execute(set).await.unwrap();
    }
    for question in questions() {
        let values = (1..=10).rev().fold(question, |text, n| text.replace(&format!("${n}"), "1"));
        let explain = sqlx::query_scalar::<_, String>(composed(format!("EXPLAIN {values}")));
        let plan = explain.fetch_all(&mut reader.connection).await.unwrap().join("\n");
        assert!(plan.contains("on log"), "{plan}");
        for table in ["log", "waiting", "message"] {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{plan}");
        }
    }
}

#[tokio::test]
async fn a_start_reads_what_is_not_indexed_and_nothing_else() {
    let mut subjects = vec![Subject::sqlite().await];
    subjects.extend(Subject::postgres().await);
    for subject in subjects {
        let account = subject.account("alice").await;
        subject.write((1..=20).map(|n| sent(account, n))).await;
        subject.index().await;
        // Whoever reads these finds out.
        on_writer(subject.sql().unwrap(), "UPDATE message SET record = 'spoilt' WHERE id <= 20".to_owned())
            .await;
        subject.write((21..=25).map(|n| sent(account, n))).await;
        let subject = subject.crash().await;
        let page = LogQuery { after: Some(LogPosition(20)), ..LogQuery::default() };
        assert_eq!(subject.page(account, page).await.entries.len(), 5);
        let store = subject.store();
        assert!(store.page(account, &LogQuery::default()).await.is_err(), "they are spoilt");
    }
}
