//! What was said, read again: the archive (XEP-0313) and what is taken out of it (XEP-0424).

use unisono_core::ids::LogPosition;

use crate::harness::{Database, Device, NS_MAM, Server, chat, condition, on_each_database};

on_each_database!(
    an_archive_is_paged_from_both_ends,
    a_query_is_narrowed,
    an_archive_that_was_cleared_says_so,
    what_is_taken_back_is_gone_on_both_sides,
);

/// Bob says these to Alice, and her phone hears them. Returns their ids.
async fn told(server: &Server, alice: &mut Device, bodies: &[&str]) -> Vec<String> {
    let mut bob = server.device("bob").await;
    let mut ids = Vec::new();
    for body in bodies {
        bob.send(&chat("alice", body)).await;
        ids.push(alice.hears(body).await.stanza_id.unwrap());
    }
    bob.close().await;
    ids
}

async fn an_archive_is_paged_from_both_ends(database: Database) {
    let server = Server::start(database).await;
    let mut alice = server.online("alice", "phone").await;
    let ids = told(&server, &mut alice, &["1", "2", "3", "4", "5"]).await;
    let (third, unknown) = (&ids[2], "AAAAAAAAAAAAAAAAAAAAAA");
    for (page, bodies, is_complete) in [
        ("<max>2</max>", vec!["1", "2"], false),
        (&format!("<max>2</max><after>{third}</after>"), vec!["4", "5"], true),
        ("<max>2</max><before/>", vec!["4", "5"], false),
        (&format!("<max>2</max><before>{third}</before>"), vec!["1", "2"], true),
        (&format!("<max>1</max><before>{third}</before>"), vec!["2"], false),
        ("<max>50</max>", vec!["1", "2", "3", "4", "5"], true),
    ] {
        let got = alice.page(&[], page).await;
        assert_eq!((got.bodies(), got.is_complete), (bodies, is_complete), "{page}");
        let shown: Vec<_> = got.said.iter().map(|said| said.stanza_id.clone()).collect();
        assert_eq!(
            (shown.first().cloned().flatten(), shown.last().cloned().flatten()),
            (got.first, got.last)
        );
    }
    assert_eq!(refused(&mut alice, unknown).await, "item-not-found"); // XEP-0059 §2.2
}

/// Asks for what follows an id, which is refused.
async fn refused(device: &mut Device, after: &str) -> String {
    let query = format!(
        "<query xmlns='{NS_MAM}'><set xmlns='http://jabber.org/protocol/rsm'><after>{after}</after></set></query>"
    );
    condition(&device.ask("set", None, &query).await)
}

async fn a_query_is_narrowed(database: Database) {
    let server = Server::start(database).await;
    let mut alice = server.online("alice", "phone").await;
    let ids = told(&server, &mut alice, &["1", "2", "3", "4"]).await;
    let mut carol = server.device("carol").await;
    carol.send(&chat("alice", "5")).await;
    alice.hears("5").await;
    alice.send(&chat("carol", "6")).await;
    carol.hears("6").await;
    for (fields, bodies) in [
        (vec![("with", "bob@example.org")], vec!["1", "2", "3", "4"]),
        (vec![("with", "carol@example.org")], vec!["5", "6"]),
        (vec![("with", "carol@example.org/device")], vec!["5"]),
        (vec![("with", "nobody@example.org")], vec![]),
        (vec![("after-id", ids[0].as_str()), ("before-id", ids[3].as_str())], vec!["2", "3"]),
        (vec![("ids", ids[1].as_str())], vec!["2"]),
        (vec![("start", "2200-01-01T00:00:00Z")], vec![]),
        (vec![("end", "2200-01-01T00:00:00Z"), ("with", "bob@example.org")], vec!["1", "2", "3", "4"]),
    ] {
        assert_eq!(alice.page(&fields, "").await.bodies(), bodies, "{fields:?}");
    }
}

async fn an_archive_that_was_cleared_says_so(database: Database) {
    let mut server = Server::start(database).await;
    let mut alice = server.online("alice", "phone").await;
    let ids = told(&server, &mut alice, &["1", "2", "3"]).await;
    server.stop().await;
    // What the server does by itself after `archive.retention_days`.
    let store = unisono_store::open(&server.store()).await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    store.purge(None, LogPosition(i64::try_from(now.as_micros()).unwrap())).await.unwrap();
    store.close().await;
    server.boot().await;
    let mut alice = server.online("alice", "phone").await;
    told(&server, &mut alice, &["4"]).await;
    // XEP-0313 §4.3.1: a client whose last message is gone has to know that it missed something.
    assert_eq!(refused(&mut alice, &ids[0]).await, "item-not-found");
    assert_eq!(alice.page(&[], "<max>10</max>").await.bodies(), ["4"]);
}

async fn what_is_taken_back_is_gone_on_both_sides(database: Database) {
    let mut server = Server::start(database).await;
    let mut alice = server.online("alice", "phone").await;
    let mut bob = server.device("bob").await;
    let mut mallory = server.device("mallory").await;
    bob.send(&chat("alice", "wrong")).await;
    alice.hears("wrong").await;
    let retraction = "<retract id='wrong' xmlns='urn:xmpp:message-retract:1'/>";
    // Somebody else cannot take it back.
    mallory.send(&format!("<message to='alice@example.org' type='chat' id='m'>{retraction}</message>")).await;
    alice.message().await;
    assert_eq!(alice.page(&[], "").await.bodies(), ["wrong"]);
    bob.send(&format!("<message to='alice@example.org' type='chat' id='r'>{retraction}</message>")).await;
    let live = alice.message().await;
    assert!(live.has_child("retract", "urn:xmpp:message-retract:1"), "{live:?}");
    server.kill9().await;
    server.boot().await;
    for name in ["alice", "bob"] {
        let mut device = server.bind(name, "laptop").await;
        device.set(&crate::harness::query(&[("with", other(name))], "")).await;
        let results = device.take_waiting(|element| element.has_child("result", NS_MAM));
        let texts: Vec<_> = results.iter().map(String::from).collect();
        assert_eq!(texts.len(), 2, "the message and its retraction: {texts:?}");
        assert!(texts[0].contains("<retracted") && texts[0].contains("id='r'"), "{}", texts[0]);
        assert!(!texts.concat().contains("<body"), "{texts:?}");
    }
}

fn other(name: &str) -> &'static str {
    if name == "alice" { "bob@example.org" } else { "alice@example.org" }
}
