//! Requests as they come.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use unisono_core::extension::Registry;
use unisono_core::hub::{Connection, Hub, Settings};
use unisono_core::session::ConnectionInfo;
use unisono_core::storage::{Accounts, Wake};
use unisono_store::MemoryStore;

use super::*;
use crate::api::local::{By, LocalAdmin, Running};
use crate::system::{SystemClock, SystemRandom};

struct Asleep;

impl Wake for Asleep {
    fn wake(&self) {}
}

/// The API of a running server with the account `alice@localhost`.
async fn server() -> (Arc<MemoryStore>, Arc<Hub>, SocketAddr) {
    let store = Arc::new(MemoryStore::new());
    store.create(&alice(), &[], 0).await.unwrap();
    let settings = Settings { domains: vec!["localhost".parse().unwrap()], ..Settings::default() };
    let registry = Registry::new(unisono_xeps::ALL);
    let (clock, random) = (Arc::new(SystemClock::start()), Arc::new(SystemRandom));
    let hub = Hub::open(store.clone(), registry, clock, random, settings).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let admin = LocalAdmin::running(hub.clone(), Running::default(), By::Socket);
    let router = router(Arc::new(admin));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (store, hub, address)
}

fn alice() -> BareJid {
    "alice@localhost".parse().unwrap()
}

async fn send(address: SocketAddr, line: &str, body: &str) -> TcpStream {
    let mut io = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    io.write_all(head.as_bytes()).await.unwrap();
    io.write_all(body.as_bytes()).await.unwrap();
    io
}

#[tokio::test]
async fn whatever_is_wrong_is_told_as_an_error_of_ours() {
    let (_, _, address) = server().await;
    let long = " ".repeat((2 << 20) + 1);
    for (line, body, want) in [
        ("GET /v1/users?limit=1&limit=2", "", ErrorCode::InvalidRequest),
        ("GET /v1/users?limit=0", "", ErrorCode::InvalidRequest),
        ("GET /v1/users?after=%FF", "", ErrorCode::InvalidRequest),
        ("GET /v1/sessions?jid=a%40b&jid=a%40b", "", ErrorCode::InvalidRequest),
        ("DELETE /v1/sessions?jid=a%40b&jid=a%40b", "", ErrorCode::InvalidRequest),
        ("GET /v1/users/%FF", "", ErrorCode::InvalidRequest),
        ("DELETE /v1/users/%FF", "", ErrorCode::InvalidRequest),
        ("PATCH /v1/users/%FF", "", ErrorCode::InvalidRequest),
        ("PUT /v1/users/%FF/password", "", ErrorCode::InvalidRequest),
        ("GET /v1/sync/%FF", "", ErrorCode::InvalidRequest),
        ("POST /v1/users", &long, ErrorCode::InvalidRequest),
        ("PUT /v1/users/alice%40localhost/password", &long, ErrorCode::InvalidRequest),
        ("PATCH /v1/users/alice%40localhost", &long, ErrorCode::InvalidRequest),
        ("POST /v1/users", "{", ErrorCode::InvalidRequest),
        ("PUT /v1/users", "", ErrorCode::InvalidRequest),
        ("POST /v1/version", "", ErrorCode::InvalidRequest),
        ("GET /v1/nothing", "", ErrorCode::NotFound),
        ("GET /", "", ErrorCode::NotFound),
    ] {
        let mut io = send(address, line, body).await;
        let mut answer = String::new();
        io.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{line}: {answer}"));
        let status = format!("HTTP/1.1 {} ", want.status());
        assert!(head.starts_with(&status), "{line}: {answer}");
        let body: ErrorBody = serde_json::from_str(body).unwrap_or_else(|_| panic!("{line}: {answer}"));
        assert_eq!(body.error.code, want, "{line}");
    }
}

#[tokio::test]
async fn a_change_goes_on_when_its_client_goes() {
    let (store, hub, address) = server().await;
    let info = ConnectionInfo { address: String::new(), tls: String::new(), since: 0 };
    let connection = Connection { number: hub.connection_number(), wake: Arc::new(Asleep), info };
    store.hold();
    let binding = timeout(Duration::from_millis(20), hub.bind(&alice(), None, connection)).await;
    assert!(binding.is_err(), "the store takes nothing");
    // It waits for what the account wrote.
    let io = send(address, "DELETE /v1/users/alice%40localhost", "").await;
    let begun = async |has_begun: &dyn Fn() -> bool| {
        while !has_begun() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let patience = Duration::from_secs(60);
    timeout(patience, begun(&|| hub.is_leaving(&alice()))).await.expect("it begins");
    drop(io);
    sleep(Duration::from_millis(200)).await;
    store.release();
    let removed = async {
        while hub.store.summary(&alice()).await.unwrap().is_some() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(patience, removed).await.expect("the account is removed");
    // And nothing is left of it that would be in the way of another one.
    store.create(&alice(), &[], 0).await.unwrap();
    timeout(patience, async {
        while hub.account(&alice()).await.unwrap().is_none() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the name can be used");
}

/// What is looked at on the store of a server that does not run stays as it is.
#[tokio::test]
async fn a_look_takes_no_session_up() {
    let (store, hub, _) = server().await;
    let admin = LocalAdmin::stopped(hub.clone());
    assert_eq!(admin.doctor(&alice()).await.unwrap().jid, "alice@localhost");
    assert_eq!(admin.sessions(Some(&alice())).await.unwrap().sessions, []);
    assert!(admin.user(&alice()).await.is_ok() && admin.users(None, None).await.is_ok());
    assert!(hub.resident(&alice()).is_none());
    let nobody = "nobody@localhost".parse().unwrap();
    let missing = [admin.doctor(&nobody).await.err(), admin.sessions(Some(&nobody)).await.err()];
    for error in missing {
        assert_eq!(error.unwrap().code, ErrorCode::NotFound);
    }
    // There is no log that would say more.
    store.fail_reads(true);
    let error = admin.user(&alice()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
    let cause = store.summary(&alice()).await.unwrap_err().to_string();
    assert!(error.message.contains(&cause) && !error.message.contains("log"), "{error}");
    let running = LocalAdmin::running(hub, Running::default(), By::Socket);
    assert!(!running.user(&alice()).await.unwrap_err().message.contains(&cause));
}

/// A store that takes nothing keeps no command.
#[tokio::test(start_paused = true)]
async fn a_command_ends_whatever_the_store_does() {
    let (store, hub, _) = server().await;
    store.hold();
    let info = ConnectionInfo { address: String::new(), tls: String::new(), since: 0 };
    let connection = Connection { number: hub.connection_number(), wake: Arc::new(Asleep), info };
    let binding = timeout(Duration::from_millis(20), hub.bind(&alice(), None, connection)).await;
    assert!(binding.is_err(), "the store takes nothing");
    let admin = LocalAdmin::stopped(hub);
    timeout(Duration::from_secs(60), admin.close()).await.expect("it ends");
}
