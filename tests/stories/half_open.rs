//! Connections that never authenticate (THREATS: memory before authentication).
//!
//! `UNISONO_TEST_STRANGERS=19000` opens so many of them, as far as there are descriptors.

use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt as _, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::harness::{DOMAIN, Database, NS_CLIENT, NS_STREAMS, Server, Start, chat, handshake};

/// How a stranger stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Halt {
    /// Without a byte, where a TLS handshake should begin.
    Silent,
    /// In the clear, in the middle of `<starttls/>`.
    InTheClear,
    /// Inside of TLS, when the server has said what it offers.
    InsideTls,
    /// Inside of TLS, in the middle of an element as large as may be.
    InAnElement,
    /// Inside of TLS, in the middle of a record as large as may be.
    InARecord,
}

enum Half {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Half {
    /// Waits until the server has ended the connection.
    async fn ended(mut self) {
        let mut bytes = [0; 1024];
        loop {
            let read = match &mut self {
                Self::Tcp(tcp) => tcp.read(&mut bytes).await,
                Self::Tls(tls) => tls.read(&mut bytes).await,
            };
            if !matches!(read, Ok(1..)) {
                return;
            }
        }
    }
}

impl Halt {
    const ALL: [Self; 5] =
        [Self::Silent, Self::InTheClear, Self::InsideTls, Self::InAnElement, Self::InARecord];

    async fn reach(self, server: &Server, source: u8) -> Half {
        let starttls = self == Self::InTheClear;
        let to = server.address(if starttls { "starttls" } else { "direct_tls" });
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 1, source], 0).into()).unwrap();
        let mut tcp = socket.connect(to).await.unwrap();
        let header = format!(
            "<?xml version='1.0'?><stream:stream to='{DOMAIN}' version='1.0' xmlns='{NS_CLIENT}' \
             xmlns:stream='{NS_STREAMS}'>"
        );
        let mut bytes = [0; 4096];
        match self {
            Self::Silent => Half::Tcp(tcp),
            Self::InTheClear => {
                tcp.write_all(header.as_bytes()).await.unwrap();
                let _features = tcp.read(&mut bytes).await.unwrap();
                tcp.write_all(b"<starttls xmlns='urn:ietf:params").await.unwrap();
                Half::Tcp(tcp)
            }
            Self::InsideTls | Self::InAnElement | Self::InARecord => {
                let (mut tls, _) = handshake(tcp, server.tls()).await.unwrap();
                tls.write_all(header.as_bytes()).await.unwrap();
                let _features = tls.read(&mut bytes).await.unwrap();
                if self == Self::InAnElement {
                    let start = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>";
                    tls.write_all(format!("{start}{}", "A".repeat(2_950)).as_bytes()).await.unwrap();
                }
                if self == Self::InARecord {
                    let record = [&[23, 3, 3, 0x3e, 0x80][..], &[0; 4_000]].concat();
                    tls.get_mut().0.write_all(&record).await.unwrap();
                }
                Half::Tls(Box::new(tls))
            }
        }
    }
}

/// So many strangers who stop in one way, from 16 addresses, a few at a time.
async fn strangers(server: &Server, halt: Halt, count: usize) -> Vec<Half> {
    let sources = (1..=16).cycle().take(count);
    stream::iter(sources).map(|source| halt.reach(server, source)).buffer_unordered(32).collect().await
}

/// Bytes of memory of the server.
fn memory(server: &Server) -> u64 {
    let pid = server.pid().as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// Waits until a number of the server is this one.
async fn becomes(server: &Server, name: &str, want: u32) {
    let counting = async { while server.metric(name).await.to_bits() != f64::from(want).to_bits() {} };
    let counted = timeout(Duration::from_secs(60), counting).await;
    assert!(counted.is_ok(), "{name} is {} and not {want}", server.metric(name).await);
}

/// How many strangers to open, and how long they have: time to come, all of them, on a slow machine.
fn scale() -> (usize, u64) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let descriptors = limit.maximum.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
    let wanted = std::env::var("UNISONO_TEST_STRANGERS").ok().and_then(|count| count.parse().ok());
    let count = wanted.unwrap_or(2_000).min(descriptors.saturating_sub(1_000));
    (count, 10 + count as u64 / 150)
}

#[tokio::test]
async fn strangers_take_little_memory_for_a_short_time_and_nobody_notices() {
    let (count, seconds) = scale();
    let set = vec![
        "limits.connections_per_ip_before_auth=0",
        "limits.connections_per_ip_per_minute=0",
        "limits.connections_before_auth=100000",
        format!("limits.auth_timeout={seconds}s").leak(),
    ];
    let server = Server::start(Start { database: Database::Sqlite, set }).await;
    let [mut phone, mut laptop] = server.devices("alice").await;
    for halt in Halt::ALL {
        drop(strangers(&server, halt, 16).await); // what is made once, and kept
    }
    becomes(&server, "unisono_client_connections", 2).await;

    let share = count / Halt::ALL.len();
    let mut first = Vec::new();
    for halt in Halt::ALL {
        let before = memory(&server);
        first.extend(strangers(&server, halt, share).await);
        let each = memory(&server).saturating_sub(before) / share as u64;
        println!("{share} strangers, {halt:?}: {each} bytes each, on {before}");
        assert!(each <= 16 * 1024, "{halt:?}: {each} bytes each");
    }
    let peak = memory(&server);

    let mut bob = server.device("bob").await;
    bob.send(&chat("alice", "hello")).await;
    phone.hears("hello").await;
    laptop.hears("hello").await;

    let ended = timeout(Duration::from_secs(seconds + 60), join_all(first.into_iter().map(Half::ended)));
    ended.await.expect("the deadline ends each of them");
    becomes(&server, "unisono_client_connections", 3).await;

    // The next ones find the room that these have left.
    let second = strangers(&server, Halt::InAnElement, share).await;
    let again = memory(&server);
    println!("{share} more: {again}, after {peak}");
    assert!(again <= peak + 1024 * 1024, "{peak} {again}");
    drop(second);
    bob.send(&chat("alice", "still here")).await;
    phone.hears("still here").await;
    laptop.hears("still here").await;
}

#[tokio::test]
async fn each_address_and_all_together_have_their_bound() {
    let set = vec!["limits.connections_before_auth=150", "limits.auth_timeout=300s"];
    let server = Server::start(Start { database: Database::Sqlite, set }).await;
    server.account("alice").await;
    let refused = "unisono_client_connections_refused_total";
    let mut all = Vec::new();
    for (source, connections, refusals) in [
        (1, 64, 16),  // of 80, as many as one address may have
        (2, 128, 32), // and another
        (3, 150, 90), // and a third, until all places are taken
    ] {
        all.push(join_all((0..80).map(|_| Halt::Silent.reach(&server, source))).await);
        becomes(&server, "unisono_client_connections", connections).await;
        becomes(&server, refused, refusals).await;
    }
    // Those of the first address leave, and their places are free.
    drop(all.remove(0));
    becomes(&server, "unisono_client_connections", 86).await;
    let mut alice = server.device("alice").await;
    becomes(&server, "unisono_client_connections", 87).await;
    // Who is in is no stranger, and keeps nobody out.
    let again = join_all((0..64).map(|_| Halt::Silent.reach(&server, 1))).await;
    becomes(&server, "unisono_client_connections", 151).await;
    becomes(&server, refused, 90).await;
    alice.settle().await;
    drop((all, again));
}
