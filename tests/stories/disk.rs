//! A disk that takes no more (promise P2): nothing is acknowledged that is not recorded, and everybody is told.

use rustix::process::{Resource, Rlimit, prlimit};

use crate::harness::{Database, NS_SM, Resumption, Server, chat, said};

/// From here on no file of the server grows, as on a disk that is full.
fn fill(server: &Server) {
    let limit = Rlimit { current: Some(8192), maximum: None };
    prlimit(Some(server.pid()), Resource::Fsize, limit).unwrap();
}

fn make_room(server: &Server) {
    prlimit(Some(server.pid()), Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
}

#[tokio::test]
async fn a_full_disk_stops_acknowledgements_until_there_is_space() {
    let mut server = Server::start(Database::Sqlite).await;
    let mut bob = server.device("bob").await;
    let mut alice = server.managed("alice", "phone").await;
    alice.send(&chat("bob", "before")).await;
    bob.hears("before").await;
    let before = alice.acknowledged().await;
    fill(&server);
    alice.send(&chat("bob", "meanwhile")).await;
    alice.wire.send(&format!("<r xmlns='{NS_SM}'/>")).await;
    let log = server.logged("nothing is acknowledged until it works").await;
    assert_eq!(log.matches("nothing is acknowledged until it works").count(), 1, "{log}");
    alice.settle().await;
    assert_eq!(alice.counts.as_ref().unwrap().acked, before);
    assert_eq!(server.metric("unisono_store_failing").await.to_bits(), 1.0_f64.to_bits());
    make_room(&server);
    server.logged("commits work again").await;
    alice.recorded().await;
    bob.hears("meanwhile").await;
    assert_eq!(server.metric("unisono_store_failing").await.to_bits(), 0.0_f64.to_bits());
    server.kill9().await;
    server.boot().await;
    let archive = server.bind("bob", "laptop").await.archive_after(None).await;
    assert_eq!(archive.iter().map(|said| said.body.as_str()).collect::<Vec<_>>(), ["before", "meanwhile"]);
}

#[tokio::test]
async fn a_server_that_dies_with_a_full_disk_has_shown_nothing_that_is_lost() {
    let mut server = Server::start(Database::Sqlite).await;
    let bob = server.device("bob").await;
    let mut alice = server.managed("alice", "phone").await;
    let before = alice.acknowledged().await;
    fill(&server);
    alice.send(&chat("bob", "lost")).await;
    alice.wire.send(&format!("<r xmlns='{NS_SM}'/>")).await;
    server.logged("nothing is acknowledged until it works").await;
    server.kill9().await;
    let (_, alice) = alice.outlive().await;
    let (arrived, _) = bob.outlive().await;
    assert_eq!(arrived.iter().find_map(|element| said(element, "bob@example.org")), None);
    assert_eq!(alice.counts.acked, before);
    server.boot().await;
    let Resumption::Failed { login, handled, unacked } = server.resume("alice", alice).await else {
        panic!("what was in memory alone is gone, and so the session cannot be resumed")
    };
    assert_eq!((handled, unacked.len()), (Some(before), 1));
    let mut alice = login.bind("phone").await;
    alice.send(&unacked[0]).await;
    server.device("bob").await.hears("lost").await;
}
