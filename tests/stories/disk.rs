//! A disk that takes no more (promise P2): nothing is acknowledged that is not recorded, and everybody is told.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, prlimit};

use crate::harness::{Database, Device, Disk, NS_SM, Resumption, Server, chat, said};

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

const REFUSED: &str = "nothing is acknowledged until it works";

/// Sends messages until one is not acknowledged, because the disk is full. Returns how many were.
async fn send_until_refused(server: &mut Server, device: &mut Device) -> usize {
    for number in 0.. {
        let body = format!("{number} {}", "x".repeat(4000));
        device.send(&chat("bob", &body)).await;
        tokio::select! {
            () = device.recorded() => {}
            _ = server.logged(REFUSED) => return number,
        }
    }
    unreachable!("no disk is so large")
}

#[tokio::test]
async fn on_a_disk_without_space_every_acknowledgement_is_true() {
    let Some(disk) = Disk::of_mib(8) else { return };
    let disk = Arc::new(disk);
    let mut server = Server::start(Database::SqliteOn(disk.clone())).await;
    let mut bob = server.device("bob").await;
    let mut alice = server.managed("alice", "phone").await;
    alice.recorded().await;
    let before = alice.counts.as_ref().unwrap().acked;
    disk.fill(256);
    let recorded = send_until_refused(&mut server, &mut alice).await;
    assert!(recorded >= 5, "{recorded}");
    let acked = before + u32::try_from(recorded).unwrap();
    // One after the other was acknowledged, and this one was not; nor is what follows.
    alice.send(&chat("bob", "later")).await;
    alice.wire.send(&format!("<r xmlns='{NS_SM}'/>")).await;
    alice.settle().await;
    assert_eq!(alice.counts.as_ref().unwrap().acked, acked);
    assert_eq!(server.metric("unisono_store_failing").await.to_bits(), 1.0_f64.to_bits());
    assert!(server.metric("unisono_store_commit_failures_total").await >= 1.0);
    for number in 0..recorded {
        assert!(
            bob.message()
                .await
                .get_child("body", "jabber:client")
                .unwrap()
                .text()
                .starts_with(&format!("{number} "))
        );
    }
    // The disk stays full, and so it is tried again and again, and said once.
    let log = server.log();
    assert_eq!(log.matches(REFUSED).count(), 1, "{log}");

    disk.make_room();
    server.logged("commits work again").await;
    alice.recorded().await;
    let next = bob.message().await.get_child("body", "jabber:client").unwrap().text();
    assert!(next.starts_with(&format!("{recorded} ")), "nothing was shown before it was recorded: {next}");
    bob.hears("later").await;
    server.kill9().await;
    server.boot().await;
    let archive = server.bind("bob", "laptop").await.archive_after(None).await;
    assert_eq!(archive.len(), recorded + 2);
}

#[tokio::test]
async fn a_server_that_dies_on_a_disk_without_space_lost_nothing_that_it_acknowledged() {
    let Some(disk) = Disk::of_mib(8) else { return };
    let disk = Arc::new(disk);
    let mut server = Server::start(Database::SqliteOn(disk.clone())).await;
    server.account("bob").await;
    let mut alice = server.managed("alice", "phone").await;
    alice.recorded().await;
    disk.fill(256);
    let recorded = send_until_refused(&mut server, &mut alice).await;
    assert!(recorded >= 5, "{recorded}");
    server.kill9().await;
    let (_, alice) = alice.outlive().await;
    disk.make_room();
    server.boot().await;
    let Resumption::Failed { login, handled, unacked } = server.resume("alice", alice.clone()).await else {
        panic!("what was in memory alone is gone, and so the session cannot be resumed")
    };
    // Each message that the server says it has is in the archive, and no other. The last one may be
    // among them: it was tried again until the end, and a commit that failed can stand whole in the
    // write-ahead log.
    let handled = handled.expect("the position told by a server that starts again");
    let beyond = handled - alice.counts.acked;
    assert_eq!(beyond as usize + unacked.len(), 1);
    let mut phone = login.bind("phone").await;
    let archive = phone.archive_after(None).await;
    assert_eq!(archive.len(), recorded + beyond as usize);
    for stanza in &unacked {
        phone.send(stanza).await;
    }
    phone.settle().await;
    assert_eq!(phone.archive_after(None).await.len(), recorded + 1);
}
