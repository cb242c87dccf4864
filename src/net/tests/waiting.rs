//! Clients that wait for an answer that does not come.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use unisono_core::extension::Registry;
use unisono_net::{Limits, Security};
use unisono_store::MemoryStore;

use crate::client::Client;
use crate::server::{Device, Server};

const NEVER: &str = "<never xmlns='urn:example:never'/>";

/// A server with an extension that never answers.
async fn server() -> Server {
    let mut registry = Registry::new(unisono_xeps::ALL);
    registry.nonza(("urn:example:never", "never"), |_| Box::pin(pending()));
    let server = Server::on(Arc::new(MemoryStore::new()), registry, Limits::default()).await;
    server.user("alice").await;
    server
}

/// A client that waits, before it has a resource.
async fn waiting(server: &Server) -> Device {
    let mut client = server.client().await;
    client.log_in("alice").await;
    client.send(NEVER).await;
    client
}

async fn nobody_is_left(server: &Server) {
    while server.c2s.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_beyond_the_deadline() {
    let server = server().await;
    let began = Instant::now();
    let mut client = waiting(&server).await;
    assert!(client.rest().await.contains("<resource-constraint "));
    assert_eq!(began.elapsed().as_secs(), 30);

    let began = Instant::now();
    let mut stranger = Client::new(server.connect(Security::StartTls));
    stranger.open().await;
    stranger.send(NEVER).await;
    assert!(stranger.rest().await.contains("<resource-constraint "));
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_not_waited_for() {
    let server = server().await;
    let began = Instant::now();
    drop(waiting(&server).await);
    nobody_is_left(&server).await;
    assert_eq!(began.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_does_not_wait() {
    let server = server().await;
    let mut client = waiting(&server).await;
    let c2s = server.c2s.clone();
    let stopping = tokio::spawn(async move { c2s.stop(Duration::from_secs(10)).await });
    assert!(client.rest().await.contains("<system-shutdown "));
    drop(client);
    assert_eq!(stopping.await.unwrap(), 0);
}

/// What is sent behind the request is not lost.
#[tokio::test(start_paused = true)]
async fn what_comes_meanwhile_is_read_afterwards() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut client = server.client().await;
    client.log_in("alice").await;
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    let ping = "<iq type='get' id='p'><none xmlns='urn:example:none'/></iq>";
    client
        .send(&format!("<resume xmlns='urn:xmpp:sm:3' previd='none' h='0'/>{bind}{}", ping.repeat(20)))
        .await;
    client.until("<failed").await;
    client.until("id='b'").await;
    for _ in 0..20 {
        client.until("id='p'").await;
    }
}

/// THREATS, "Memory before auth": a disk that is full does not gather those who want their session back.
#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_taken_up_is_not_waited_for() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut phone = server.device("alice", "phone").await;
    let id = phone.enable_management().await;
    phone.ping().await;
    server.store.hold();
    phone.send("<message to='alice@example.org' type='chat'><body>kept</body></message>").await;
    phone.ping().await;
    drop(phone);
    nobody_is_left(&server).await;
    let began = Instant::now();
    let mut client = server.client().await;
    client.log_in("alice").await;
    let resume = format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>");
    client.send(&resume).await;
    let end = client.rest().await;
    assert!(end.contains("<resource-constraint ") && !end.contains("<resumed "), "{end}");
    assert_eq!(began.elapsed().as_secs(), 30);
    drop(client);
    nobody_is_left(&server).await;

    // It still waits for its device.
    server.store.release();
    let mut client = server.client().await;
    client.log_in("alice").await;
    client.send(&resume).await;
    client.until("<resumed ").await;
}

#[tokio::test]
async fn those_who_bind_nothing_are_counted() {
    let limits = Limits { unauthenticated_per_address_max: 3, ..Limits::default() };
    let server = Server::with(limits).await;
    server.user("alice").await;
    let mut newcomers = Vec::new();
    for _ in 0..3 {
        let mut client = server.client().await;
        client.log_in("alice").await;
        newcomers.push(client);
    }
    // There is no place left for another one, but for a stranger.
    let mut fourth = server.client().await;
    fourth.open().await;
    let login = crate::scram::Scram::new("SCRAM-SHA-256", "alice", crate::server::PASSWORD);
    fourth.authenticate(&login).await.unwrap();
    assert!(fourth.rest().await.contains("<resource-constraint "));
    newcomers[0].bind("phone").await;
    let mut fifth = server.client().await;
    fifth.log_in("alice").await;
    fifth.bind("laptop").await;
}
