//! Sessions outlive a clean stop of the server (promise P4).

use crate::harness::{Arrival, Database, Library, Server, chat, on_each_database};

on_each_database!(
    a_stream_is_resumed_after_a_restart_with_nothing_lost_or_doubled,
    a_stopping_server_takes_its_leave,
    a_client_library_of_others_goes_on_after_a_restart,
);

/// The first signal is for the sessions, the second for whoever cannot wait.
#[tokio::test]
async fn who_tells_a_server_twice_to_stop_does_not_wait() {
    let mut server = Server::start(Database::Sqlite).await;
    let _silent = server.device("alice").await; // its last words are waited for
    server.signal(rustix::process::Signal::INT);
    let status = server.stop().await;
    assert_eq!(status.code(), Some(1));
    server.logged("told to stop a second time").await;
}

async fn a_stream_is_resumed_after_a_restart_with_nothing_lost_or_doubled(database: Database) {
    let mut server = Server::start(database).await;
    let mut alice = server.managed("alice", "phone").await;
    let mut bob = server.managed("bob", "phone").await;
    bob.answers = false; // nothing that comes now is acknowledged
    for number in 1..=3 {
        alice.send(&chat("bob", &number.to_string())).await;
    }
    bob.hears("1").await;
    bob.hears("2").await;
    bob.acknowledge().await; // 3 may have come, but the client will not say so
    bob.settle().await;
    let bob = bob.lose();
    alice.send(&chat("bob", "4")).await;
    alice.settle().await;
    let alice = alice.lose();
    server.restart().await;
    let mut alice = server.resumed("alice", alice).await;
    alice.send(&chat("bob", "5")).await;
    let handled = bob.counts.handled;
    let mut bob = server.resumed("bob", bob).await;
    bob.hears_until("5").await;
    assert!(bob.counts.as_ref().unwrap().handled > handled);
    alice.send(&chat("bob", "6")).await;
    bob.hears("6").await;
    let archive = bob.archive_after(None).await;
    let bodies: Vec<_> = archive.iter().map(|said| said.body.as_str()).collect();
    assert_eq!(bodies, ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(
        server.metric("unisono_resumptions_total{outcome=\"resumed\"}").await.to_bits(),
        2.0_f64.to_bits()
    );
}

async fn a_stopping_server_takes_its_leave(database: Database) {
    let mut server = Server::start(database).await;
    let mut alice = server.managed("alice", "phone").await;
    let mut bob = server.online("bob", "phone").await;
    alice.send(&chat("bob", "1")).await;
    bob.hears("1").await;
    let stopped = server.stop().await;
    assert!(stopped.success(), "{stopped}");
    // Who can come back to a session is told nothing that would make it forget that.
    assert_eq!(bob.error().await, "system-shutdown");
    assert_eq!(bob.wire.next().await, Arrival::Close);
    assert_eq!(bob.wire.next().await, Arrival::End);
    loop {
        match alice.wire.next().await {
            Arrival::Element(element) if element.name() == "a" => {}
            arrival => break assert_eq!(arrival, Arrival::End),
        }
    }
    let log = server.log();
    assert!(log.contains("stopping") && log.contains("stopped"), "{log}");
}

async fn a_client_library_of_others_goes_on_after_a_restart(database: Database) {
    let mut server = Server::start(database).await;
    let mut phone = server.managed("alice", "phone").await;
    let mut bob = Library::online(&server, "bob").await;
    phone.send(&chat("bob", "before")).await;
    assert_eq!(bob.hears().await, "before");
    let phone = phone.lose();
    bob.close().await;
    server.restart().await;
    let mut phone = server.resumed("alice", phone).await;
    let mut bob = Library::online(&server, "bob").await;
    phone.send(&chat("bob", "after")).await;
    // The library does not acknowledge what it has when it leaves, so it may hear that again.
    while bob.hears().await != "after" {}
}
