//! Acknowledged is recorded (promise P2), and recorded once (promise P3).

use crate::harness::{Database, Server, chat, on_each_database};

on_each_database!(
    what_is_acknowledged_survives_a_kill_at_once,
    an_acknowledgement_counts_everything_before_it,
    a_message_that_is_sent_again_is_one_message,
    a_resend_after_a_resumption_is_one_message,
);

async fn what_is_acknowledged_survives_a_kill_at_once(database: Database) {
    let mut server = Server::start(database).await;
    server.account("bob").await;
    for round in 1..=3 {
        let mut alice = server.managed("alice", "phone").await;
        alice.send(&chat("bob", &format!("round {round}"))).await;
        alice.recorded().await;
        server.kill9().await;
        server.boot().await;
    }
    let rounds = ["round 1", "round 2", "round 3"];
    let mut laptop = server.bind("alice", "laptop").await;
    let archive = laptop.archive_after(None).await;
    assert_eq!(archive.iter().map(|said| said.body.as_str()).collect::<Vec<_>>(), rounds);
    // The other side has its own log, and nothing has been delivered from it.
    let mut bob = server.online("bob", "phone").await;
    for round in rounds {
        bob.hears(round).await;
    }
}

async fn an_acknowledgement_counts_everything_before_it(database: Database) {
    let server = Server::start(database).await;
    server.account("bob").await;
    let mut alice = server.managed("alice", "phone").await;
    let before = alice.acknowledged().await;
    for number in 0..100 {
        alice.send(&chat("bob", &number.to_string())).await;
    }
    assert_eq!(alice.acknowledged().await, before + 100);
    alice.send("<iq type='get' id='1' to='example.org'><nothing xmlns='urn:example:nothing'/></iq>").await;
    alice.send("<presence><show>away</show></presence>").await;
    alice.send("<message/>").await;
    assert_eq!(alice.acknowledged().await, before + 103);
}

async fn a_message_that_is_sent_again_is_one_message(database: Database) {
    let mut server = Server::start(database).await;
    let mut bob = server.device("bob").await;
    let mut laptop = server.online("alice", "laptop").await;
    let mut phone = server.online("alice", "phone").await;
    let once = "<message to='bob@example.org' type='chat' id='1'><body>once</body>\
                <origin-id xmlns='urn:xmpp:sid:0' id='o1'/></message>";
    phone.send(once).await;
    bob.hears("once").await;
    laptop.hears("once").await;
    drop(phone);
    let mut phone = server.online("alice", "phone").await;
    phone.send(once).await;
    phone.send(&chat("bob", "end")).await;
    bob.hears("end").await;
    laptop.hears("end").await;
    assert!(server.metric("unisono_duplicates_suppressed_total").await >= 1.0);
    // The server knows it again after a crash.
    server.kill9().await;
    server.boot().await;
    let mut phone = server.bind("alice", "phone").await;
    phone.send(once).await;
    phone.settle().await;
    let archive = phone.archive_after(None).await;
    assert_eq!(archive.iter().map(|said| said.body.as_str()).collect::<Vec<_>>(), ["once", "end"]);
}

async fn a_resend_after_a_resumption_is_one_message(database: Database) {
    let server = Server::start(database).await;
    let mut bob = server.device("bob").await;
    let mut phone = server.managed("alice", "phone").await;
    phone.send(&chat("bob", "1")).await;
    phone.send(&chat("bob", "2")).await;
    bob.hears("1").await;
    bob.hears("2").await;
    // The client never sees an acknowledgement, and believes that all of it is lost.
    let lost = phone.lose();
    let mut phone = server.resumed("alice", lost).await;
    assert_eq!(phone.acknowledged().await, phone.counts.as_ref().unwrap().sent());
    for again in ["1", "2", "3"] {
        phone.send(&chat("bob", again)).await;
    }
    bob.hears("3").await;
}
