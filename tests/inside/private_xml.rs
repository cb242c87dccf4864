//! What clients keep on the server (XEP-0049), and how much of it.

use super::presence::condition;
use super::*;

/// The content of the result, or the condition of the error.
async fn ask(device: &Device, kind: &str, query: &str) -> Result<String, String> {
    device
        .send(&format!("<iq type='{kind}' id='p'><query xmlns='jabber:iq:private'>{query}</query></iq>"))
        .await;
    let answer = device.take().await.remove(0);
    match condition(&answer) {
        Some(condition) => Err(condition),
        None => Ok(answer.first_child().map_or_else(String::new, |query| {
            query.children().map(|e| e.to_string_in(&CLIENT_SCOPE)).collect()
        })),
    }
}

#[tokio::test]
async fn what_is_stored_comes_back_and_what_is_empty_takes_nothing() {
    let world = World::with(&["alice"]).await;
    let alice = world.online("alice", "phone").await;
    let nothing = "<a xmlns='urn:x'/>";
    for stored in [
        "<a xmlns='urn:x'>1</a>",
        "<a xmlns='urn:x'>1</a><a xmlns='urn:x' b='2'/>",
        "<a xmlns='urn:x'/>",
        "<a xmlns='urn:x' b='2'/>",
    ] {
        assert_eq!(ask(&alice, "set", stored).await, Ok(String::new()));
        assert_eq!(ask(&alice, "get", nothing).await.as_deref(), Ok(stored));
    }
    let world = world.crash().await;
    let alice = world.online("alice", "phone").await;
    assert_eq!(ask(&alice, "get", nothing).await.as_deref(), Ok("<a xmlns='urn:x' b='2'/>"));
}

#[tokio::test]
async fn an_account_stores_so_much_and_no_more() {
    let world = World::with(&["alice"]).await;
    let alice = world.online("alice", "phone").await;
    let large = "x".repeat(120_000);
    let element = |n: usize, text: &str| format!("<a xmlns='urn:x:{n}'>{text}</a>");
    for n in 0..8 {
        assert_eq!(ask(&alice, "set", &element(n, &large)).await, Ok(String::new()));
    }
    let full = Err("resource-constraint".to_owned());
    assert_eq!(ask(&alice, "set", &element(8, &large)).await, full);
    assert_eq!(ask(&alice, "set", &element(8, &large[..50_000])).await, Ok(String::new()), "less fits");
    // What is stored already is known after a restart, and may be replaced.
    let world = world.crash().await;
    let alice = world.online("alice", "phone").await;
    assert_eq!(ask(&alice, "set", &element(9, &large)).await, full);
    assert_eq!(
        ask(&alice, "get", &element(9, "")).await,
        Ok("<a xmlns='urn:x:9'/>".to_owned()),
        "nothing has changed"
    );
    assert_eq!(ask(&alice, "set", &element(7, &large)).await, Ok(String::new()));
    assert_eq!(ask(&alice, "set", "<a xmlns='urn:x:7'/>").await, Ok(String::new()));
    assert_eq!(ask(&alice, "set", &element(9, &large)).await, Ok(String::new()), "there is room again");
}

#[tokio::test]
async fn an_account_has_so_many_names_and_no_more() {
    let world = World::with(&["alice"]).await;
    let alice = world.online("alice", "phone").await;
    let element = |n: usize| format!("<a xmlns='urn:x:{n}'>1</a>");
    let hundred: String = (0..100).map(element).collect();
    assert_eq!(ask(&alice, "set", &hundred).await, Ok(String::new()));
    assert_eq!(ask(&alice, "set", &element(100)).await, Err("resource-constraint".to_owned()));
    assert_eq!(ask(&alice, "set", &element(7)).await, Ok(String::new()));
}

#[tokio::test]
async fn whether_there_is_an_account_is_not_told_by_what_it_keeps() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    for (kind, payload) in [
        ("get", "<query xmlns='jabber:iq:private'><a xmlns='urn:x'/></query>"), // XEP-0049 §2.3
        ("set", "<query xmlns='jabber:iq:private'><a xmlns='urn:x'>1</a></query>"),
        ("get", "<vCard xmlns='vcard-temp'/>"), // XEP-0054 §3.3
        ("set", "<vCard xmlns='vcard-temp'><FN>forged</FN></vCard>"),
        ("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>"), // XEP-0030 §8
        ("get", "<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>"),
    ] {
        for whom in ["bob", "ghost"] {
            alice.send(&format!("<iq type='{kind}' id='q' to='{whom}@example.org'>{payload}</iq>")).await;
            let answer = alice.take().await.remove(0);
            assert_eq!(condition(&answer).as_deref(), Some("service-unavailable"), "{whom}: {payload}");
        }
    }
}
