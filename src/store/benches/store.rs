//! CPU time per message, item and page, of the whole process: what the store costs a server, whatever the
//! disk does. The accounts and the size of a message are those of the table in DESIGN.md §3.
//!
//! `UNISONO_BENCH_POSTGRES` names an empty PostgreSQL database to measure as well; what is measured there is
//! our side alone. `UNISONO_BENCH_LOG` is the length of the long log.

#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a bench may stop at once")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};
use unisono_core::ids::{AccountId, DeviceId, LogPosition, SessionId};
use unisono_core::record::{Keep, MessageRecord, Origin, Payload, Place};
use unisono_core::stanza::MessageType;
use unisono_core::storage::{
    Accounts, Commit, ItemQuery, Journal, KEEP_ALL, LogQuery, Logs, NodeItem, Nodes, Write,
};
use unisono_store::SqlStore;

const ACCOUNTS: i64 = 2_000;
const SHORT_LOG: i64 = 5_000;
const LONG_LOG: i64 = 1_000_000;
/// Microseconds between two messages.
const STEP: i64 = 10;

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(15)
        .measurement_time(Duration::from_secs(12))
        .configure_from_args();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut urls = vec![("sqlite", format!("sqlite:{}/commit", folder.path().display()))];
    urls.extend(std::env::var("UNISONO_BENCH_POSTGRES").ok().map(|url| ("postgres", url)));
    for (name, url) in urls {
        let store = runtime.block_on(SqlStore::open(&url)).unwrap();
        commit(&mut criterion, &runtime, name, &store);
        publish(&mut criterion, &runtime, name, &store);
        read_items(&mut criterion, &runtime, name, &store);
        runtime.block_on(store.close());
    }
    let length = std::env::var("UNISONO_BENCH_LOG").map_or(LONG_LOG, |length| length.parse().unwrap());
    for length in [SHORT_LOG, length] {
        let url = format!("sqlite:{}/log-{length}", folder.path().display());
        let store = runtime.block_on(filled(&url, length));
        read(&mut criterion, &runtime, length, &store);
        runtime.block_on(store.close());
    }
    criterion.final_summary();
}

/// Messages between 2,000 accounts, 20 or 200 in one commit, the indexing included. One iteration is one
/// message.
fn commit(criterion: &mut Criterion<CpuTime>, runtime: &Runtime, name: &str, store: &SqlStore) {
    let mut group = criterion.benchmark_group(format!("{name}: a message"));
    let mut number = 0;
    for size in [1, 20, 200] {
        group.bench_function(BenchmarkId::new("messages per commit", size), |bencher| {
            bencher.iter_custom(|messages| {
                let commits = messages.div_ceil(size);
                let mut elapsed = Duration::ZERO;
                for _ in 0..commits {
                    let group: Vec<_> = (0..size).map(|_| next(&mut number)).collect();
                    let started = cpu_time();
                    runtime.block_on(commit_group(store, group));
                    elapsed += cpu_time().abs_diff(started);
                }
                let elapsed = elapsed.as_nanos() * u128::from(messages);
                Duration::from_nanos(u64::try_from(elapsed / u128::from(commits * size)).unwrap())
            });
        });
    }
    group.finish();
}

fn next(number: &mut i64) -> Commit {
    *number += 1;
    let sender = number.wrapping_mul(7_919) % ACCOUNTS + 1;
    let recipient = number.wrapping_mul(104_729) % ACCOUNTS + 1;
    let writes = vec![Write::Message(Arc::new(message(*number, sender, recipient)))];
    Commit { writes, wake: Vec::new() }
}

/// The runtime has one thread, so the writer finds all of the group when it comes to run.
async fn commit_group(store: &SqlStore, group: Vec<Commit>) {
    let mut last = store.durable();
    for commit in group {
        last = store.submit(commit);
    }
    store.wait(last).await;
}

/// Nodes that have so many items, and payloads of so many bytes.
const NODES: [(&str, i64, usize); 4] =
    [("current", 1, 300), ("read", 500, 300), ("blog", 10_000, 300), ("picture", 1, 100_000)];

/// Items that are published again, 1 or 20 in one commit, each of another account. One iteration is one item.
fn publish(criterion: &mut Criterion<CpuTime>, runtime: &Runtime, name: &str, store: &SqlStore) {
    let mut group = criterion.benchmark_group(format!("{name}: an item"));
    let mut number: i64 = 0;
    let mut next = |(node, items, bytes): (&str, i64, usize), account: i64, keep: u32| {
        number += 1;
        let item = NodeItem {
            id: (number / 20 % items).to_string().into(),
            position: LogPosition(number),
            publisher: Some(format!("user{account}@example.org/phone.a1b2").parse().unwrap()),
            payload: "x".repeat(bytes),
        };
        let account = AccountId(account);
        let writes = vec![Write::Item { account, node: node.into(), item: Arc::new(item), keep }];
        Commit { writes, wake: Vec::new() }
    };
    for node in NODES {
        // To fill it, nothing has to give way.
        let all = (0..node.1 * 20).map(|n| next(node, n % 20 + 1, KEEP_ALL)).collect();
        runtime.block_on(commit_group(store, all));
        let keep = u32::try_from(node.1).unwrap();
        for size in [1, 20] {
            let name = format!("of {} bytes, node of {}, items per commit", node.2, node.1);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter_custom(|items| {
                    let commits = items.div_ceil(size);
                    let mut elapsed = Duration::ZERO;
                    for _ in 0..commits {
                        let accounts = 1..=i64::try_from(size).unwrap();
                        let commits = accounts.map(|account| next(node, account, keep)).collect();
                        let started = cpu_time();
                        runtime.block_on(commit_group(store, commits));
                        elapsed += cpu_time().abs_diff(started);
                    }
                    let elapsed = elapsed.as_nanos() * u128::from(items);
                    Duration::from_nanos(u64::try_from(elapsed / u128::from(commits * size)).unwrap())
                });
            });
        }
    }
    group.finish();
}

fn read_items(criterion: &mut Criterion<CpuTime>, runtime: &Runtime, name: &str, store: &SqlStore) {
    let mut group = criterion.benchmark_group(format!("{name}: reading items"));
    let page = ItemQuery { counted: true, ..ItemQuery::default() };
    for (what, node, limit, query) in [
        ("all 500", "read", 500, page.clone()),
        ("50 of 10,000, from the end", "blog", 50, ItemQuery { from_end: true, ..page.clone() }),
        ("one of 100,000 bytes", "picture", 1, page),
    ] {
        let query = ItemQuery { limit, ..query };
        group.bench_function(what, |bencher| {
            bencher.iter(|| {
                let page = runtime.block_on(store.items(AccountId(1), node, black_box(&query))).unwrap();
                assert_eq!(page.items.len(), limit);
                page
            });
        });
    }
    let names = ["current", "read", "blog", "1", "2", "3", "4", "5", "6", "7"];
    group.bench_function("the last of 10 nodes", |bencher| {
        bencher.iter(|| runtime.block_on(store.last_items(AccountId(1), black_box(&names))).unwrap());
    });
    group.finish();
}

fn message(number: i64, sender: i64, recipient: i64) -> MessageRecord {
    let body = "What is said here is about as long as what people say. ".repeat(3);
    let place = |account, deliveries: &[i64]| Place {
        account: AccountId(account),
        position: LogPosition(number * STEP),
        keep: Keep::Archive,
        deliveries: deliveries
            .iter()
            .map(|device| (SessionId(account << 32 | device), u32::try_from(number).unwrap()))
            .collect(),
    };
    MessageRecord {
        from: format!("user{sender}@example.org/phone.a1b2").parse().unwrap(),
        to: format!("user{recipient}@example.org").parse().unwrap(),
        id: Some(format!("0b8e6c2a-5a0d-4d3b-9c55-{number:012}").into()),
        kind: MessageType::Chat,
        lang: None,
        payload: Payload::from_text(format!(
            "<body>{body}</body><origin-id xmlns='urn:xmpp:sid:0' id='0b8e6c2a-5a0d-4d3b-9c55-{number:012}'/>"
        )),
        sent: Some(place(sender, &[2])),
        received: Some(place(recipient, &[1, 2, 3])),
        origin: Some(Origin {
            device: DeviceId(sender),
            session: Some((SessionId(sender << 32), u32::try_from(number).unwrap())),
        }),
        speaks: true,
        fingerprint: number.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed()),
    }
}

/// A log of one account, with 20 contacts.
async fn filled(url: &str, length: i64) -> SqlStore {
    let store = SqlStore::open(url).await.unwrap();
    let jid = "user1@example.org".parse().unwrap();
    store.create(&jid, &[], 0).await.unwrap();
    let mut last = store.durable();
    for number in 1..=length {
        let record = message(number, number % 20 + 2, 1);
        let record = MessageRecord { sent: None, ..record };
        last = store.submit(Commit { writes: vec![Write::Message(Arc::new(record))], wake: Vec::new() });
        if number % 2_000 == 0 {
            store.wait(last).await;
        }
    }
    store.wait(last).await;
    store.close().await;
    SqlStore::open(url).await.unwrap()
}

/// Reading from the middle of a log.
fn read(criterion: &mut Criterion<CpuTime>, runtime: &Runtime, length: i64, store: &SqlStore) {
    let mut group = criterion.benchmark_group(format!("sqlite: a log of {length}"));
    let account = AccountId(1);
    let middle = LogPosition(length / 2 * STEP);
    let page = LogQuery { after: Some(middle), ..LogQuery::default() };
    let queries = [
        ("a page of 50", page.clone()),
        (
            "a page of 50 after an id, counted",
            LogQuery { must_exist: vec![middle], counted: true, ..page.clone() },
        ),
        (
            "a page of 50 with one contact",
            LogQuery { with: "user7@example.org".parse().ok(), ..page.clone() },
        ),
        ("the last page of 50", LogQuery { from_end: true, ..LogQuery::default() }),
        ("a page of 1", LogQuery { limit: 1, ..page }),
    ];
    for (name, query) in queries {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let page = runtime.block_on(store.page(account, black_box(&query))).unwrap();
                assert_eq!(page.entries.len(), query.limit);
                page
            });
        });
    }
    let jid = "user1@example.org".parse().unwrap();
    group.bench_function("loading the account", |bencher| {
        bencher.iter(|| runtime.block_on(store.load(black_box(&jid), &["block", "roster"])).unwrap());
    });
    group.finish();
}

/// CPU time of all threads of the process.
struct CpuTime;

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu_time()
    }

    fn end(&self, started: Duration) -> Duration {
        cpu_time().abs_diff(started)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
