//! A new certificate needs no restart.

use std::time::SystemTime;

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
