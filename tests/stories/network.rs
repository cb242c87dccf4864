//! Networks that break (promise P4).

use crate::harness::{Arrival, Database, NS_SM, Server, chat, on_each_database};

on_each_database!(
    a_broken_connection_loses_and_doubles_nothing,
    a_session_moves_to_another_connection_while_the_old_one_lives,
    a_session_can_be_resumed_again_and_again,
    a_closed_stream_is_over,
    a_client_that_counts_too_much_is_told_so,
);

async fn a_broken_connection_loses_and_doubles_nothing(database: Database) {
    let server = Server::start(database).await;
    let mut phone = server.managed("alice", "phone").await;
    let mut laptop = server.online("alice", "laptop").await;
    let mut bob = server.device("bob").await;
    bob.send(&chat("alice", "1")).await;
    phone.hears("1").await;
    let phone = phone.lose();
    bob.send(&chat("alice", "2")).await;
    laptop.hears("1").await;
    laptop.hears("2").await;
    laptop.send(&chat("bob", "3")).await;
    bob.hears("3").await;
    let mut phone = server.resumed("alice", phone).await;
    phone.hears("2").await;
    phone.hears("3").await; // as a carbon
    bob.send(&chat("alice", "4")).await;
    phone.hears("4").await;
    laptop.hears("4").await;
}

async fn a_session_moves_to_another_connection_while_the_old_one_lives(database: Database) {
    let server = Server::start(database).await;
    let mut old = server.managed("alice", "phone").await;
    let mut bob = server.device("bob").await;
    bob.send(&chat("alice", "1")).await;
    old.hears("1").await;
    let lost = crate::harness::Lost { jid: old.jid.clone(), counts: old.counts.clone().unwrap() };
    let mut new = server.resumed("alice", lost).await;
    assert_eq!(old.error().await, "conflict");
    assert_eq!(old.wire.next().await, Arrival::Close);
    assert_eq!(old.wire.next().await, Arrival::End);
    bob.send(&chat("alice", "2")).await;
    new.hears("2").await;
}

async fn a_session_can_be_resumed_again_and_again(database: Database) {
    let server = Server::start(database).await;
    let mut bob = server.device("bob").await;
    let mut phone = server.managed("alice", "phone").await;
    for number in 0..5 {
        let body = number.to_string();
        let lost = phone.lose();
        bob.send(&chat("alice", &body)).await;
        bob.settle().await;
        phone = server.resumed("alice", lost).await;
        phone.hears(&body).await;
    }
}

async fn a_closed_stream_is_over(database: Database) {
    let server = Server::start(database).await;
    let mut phone = server.managed("alice", "phone").await;
    phone.settle().await;
    let lost = crate::harness::Lost { jid: phone.jid.clone(), counts: phone.counts.clone().unwrap() };
    phone.close().await;
    assert!(matches!(server.resume("alice", lost).await, crate::harness::Resumption::Failed { .. }));
}

async fn a_client_that_counts_too_much_is_told_so(database: Database) {
    let server = Server::start(database).await;
    let mut phone = server.managed("alice", "phone").await;
    phone.wire.send(&format!("<a xmlns='{NS_SM}' h='1000'/>")).await;
    let error = phone.find(|element| element.name() == "error").await;
    let detail = error.get_child("handled-count-too-high", NS_SM).unwrap(); // XEP-0198 §6
    assert_eq!(detail.attr("h"), Some("1000"));
}
