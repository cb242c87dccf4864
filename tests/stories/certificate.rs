//! A new certificate needs no restart.

use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use unisono_net::tls::self_signed;

use crate::harness::{DOMAIN, Database, Server, Wire, chat};

#[tokio::test]
async fn a_new_certificate_is_served_and_streams_go_on() {
    let mut server = Server::start(Database::Sqlite).await;
    let mut alice = server.device("alice").await;
    let mut bob = server.device("bob").await;
    let made = self_signed(&[DOMAIN.to_owned()], SystemTime::now()).unwrap();
    std::fs::write(server.path("data/tls/self-signed.pem"), made.certificate_pem).unwrap();
    std::fs::write(server.path("data/tls/self-signed.key"), made.key_pem).unwrap();
    let old = server.tls();
    server.signal(Signal::HUP);
    server.logged("certificate replaced").await;
    server.trust();
    let tcp = tokio::net::TcpStream::connect(server.direct_tls()).await.unwrap();
    assert!(Wire::direct(tcp, old).await.is_err(), "the old certificate is still served");
    server.online("alice", "laptop").await.settle().await;
    // Who came in before does not notice.
    bob.send(&chat("alice", "still here")).await;
    alice.hears("still here").await;
}

#[tokio::test]
async fn a_certificate_of_the_servers_own_does_not_end_while_it_runs() {
    let mut server = Server::start(Database::Sqlite).await;
    let mut alice = server.device("alice").await;
    // It was made 380 days ago, and ends in 17.
    let then = SystemTime::now() - Duration::from_secs(380 * 86_400);
    let made = self_signed(&[DOMAIN.to_owned()], then).unwrap();
    std::fs::write(server.path("data/tls/self-signed.pem"), &made.certificate_pem).unwrap();
    std::fs::write(server.path("data/tls/self-signed.key"), made.key_pem).unwrap();
    server.signal(Signal::HUP);
    server.logged("ended soon, made another").await;
    let left = server.metric("unisono_certificate_expiry_seconds").await / 86_400.0;
    assert!((30.0..500.0).contains(&left), "{left} days");
    server.trust();
    assert_ne!(
        std::fs::read_to_string(server.path("data/tls/self-signed.pem")).unwrap(),
        made.certificate_pem
    );
    server.online("alice", "laptop").await.settle().await;
    alice.settle().await;
    let key = std::fs::metadata(server.path("data/tls/self-signed.key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
}
