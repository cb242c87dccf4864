//! What two people agree on is the same on both sides, whatever happens in between.

use super::contacts::{befriend, subscription};
use super::presence::{condition, presences};
use super::*;

const NOTHING: [Element; 0] = [];

/// Sends a subscription stanza.
async fn send(device: &Device, kind: &str, to: &str) {
    device.send(&format!("<presence to='{to}@example.org' type='{kind}'/>")).await;
}

async fn remove(device: &Device, contact: &str) {
    let item = format!("<item jid='{contact}@example.org' subscription='remove'/>");
    device.send(&format!("<iq type='set' id='x'><query xmlns='jabber:iq:roster'>{item}</query></iq>")).await;
}

/// What the roster says of a contact: subscription, and whether an answer is awaited.
async fn roster(device: &Device, contact: &str) -> (String, bool) {
    device.take().await;
    device.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    let stanzas = device.take().await;
    let result = stanzas.iter().find(|stanza| stanza.attr("id") == Some("r")).unwrap();
    let query = result.child("query", "jabber:iq:roster").unwrap();
    let item = query.children().find(|item| item.attr("jid") == Some(&format!("{contact}@example.org")));
    let subscription = item.and_then(|item| item.attr("subscription")).unwrap_or("none");
    (subscription.to_owned(), item.is_some_and(|item| item.attr("ask").is_some()))
}

/// Whether a request of somebody waits for an account.
async fn is_asked(world: &World, name: &str, by: &str) -> bool {
    let device = world.bind(name, "look").await;
    device.send("<presence/>").await;
    let got = device.take().await;
    let by = format!("{by}@example.org");
    let asked = presences(&got).contains(&(by.as_str(), "subscribe"));
    device.hub.end(&device.session.cell, device.session.id);
    asked
}

/// Checks that alice and bob have the same idea of what is between them.
async fn agree(world: &World, what: &str) {
    for (user, contact) in [("alice", "bob"), ("bob", "alice")] {
        let (device, other) = (world.bind(user, "a").await, world.bind(contact, "b").await);
        let (own, theirs) = (roster(&device, contact).await, roster(&other, user).await);
        let (to, from) =
            (matches!(own.0.as_str(), "to" | "both"), matches!(theirs.0.as_str(), "from" | "both"));
        assert_eq!(to, from, "{what}: {user} has {own:?}, {contact} has {theirs:?}");
        assert_eq!(own.1, is_asked(world, contact, user).await, "{what}: {user} has {own:?}");
    }
}

#[tokio::test]
async fn a_crash_leaves_two_rosters_that_agree() {
    for (before, acts) in [
        ("nothing", "subscribe"),
        ("asked", "subscribed"),
        ("asked", "unsubscribed"),
        ("asked", "withdrawn"),
        ("approved", "asked"),
        ("friends", "unsubscribe"),
        ("friends", "unsubscribed"),
        ("friends", "remove"),
    ] {
        for commits in 0..5 {
            let what = format!("{before}, {acts}, a crash after {commits} commits");
            let world = World::with(&["alice", "bob"]).await;
            let alice = world.online("alice", "phone").await;
            let bob = world.online("bob", "desk").await;
            match before {
                "asked" => send(&bob, "subscribe", "alice").await,
                "approved" => send(&alice, "subscribed", "bob").await,
                "friends" => befriend(&alice, &bob).await,
                _ => {}
            }
            let act = async |alice: &Device, bob: &Device| match acts {
                "remove" => remove(alice, "bob").await,
                "asked" => send(bob, "subscribe", "alice").await,
                "withdrawn" => send(bob, "unsubscribe", "alice").await,
                kind => send(alice, kind, "bob").await,
            };
            world.store.fail_after(commits);
            act(&alice, &bob).await;
            let world = world.crash().await;
            agree(&world, &what).await;
            // Who never learned that it was done sends it again.
            let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
            act(&alice, &bob).await;
            agree(&world, &what).await;
            let (asks, want) = match acts {
                "subscribe" => (true, "none"),
                "subscribed" | "asked" | "unsubscribe" => (false, "from"),
                "unsubscribed" if before == "friends" => (false, "to"),
                _ => (false, "none"),
            };
            assert_eq!(roster(&alice, "bob").await, (want.to_owned(), asks), "{what}");
        }
    }
}

#[tokio::test]
async fn nobody_learns_of_what_is_not_durable() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    subscription(&alice, "bob").await;
    subscription(&bob, "alice").await;
    for (device, kind, to) in [
        (&alice, "subscribe", "bob"),
        (&bob, "subscribed", "alice"),
        (&bob, "subscribe", "alice"),
        (&alice, "subscribed", "bob"),
        (&alice, "unsubscribe", "bob"),
        (&alice, "unsubscribed", "bob"),
    ] {
        world.store.hold();
        send(device, kind, to).await;
        assert_eq!([alice.take().await, bob.take().await], [NOTHING, NOTHING], "{kind}");
        world.store.release();
        let (alice, bob) = (alice.take().await, bob.take().await);
        assert!(!alice.is_empty() && !bob.is_empty(), "{kind}: {alice:?} {bob:?}");
    }
}

#[tokio::test]
async fn nobody_learns_who_has_an_account() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    subscription(&alice, "bob").await;
    let mut seen = Vec::new();
    for name in ["bob", "ghost"] {
        let mut stanzas = Vec::new();
        for kind in ["subscribe", "subscribe", "probe", "unsubscribe", "unsubscribed", "probe"] {
            send(&alice, kind, name).await;
            stanzas.push(kind.to_owned());
            let got = alice.take().await.into_iter().map(|stanza| {
                let text = stanza.to_string_in(&CLIENT_SCOPE).replace(name, "somebody");
                let (ids, versions) =
                    (stanza.attr("id"), stanza.first_child().and_then(|query| query.attr("ver")));
                ids.into_iter().chain(versions).fold(text, |text, once| text.replace(once, "?"))
            });
            stanzas.extend(got);
        }
        send(&alice, "subscribe", name).await;
        stanzas.push(format!("{:?}", roster(&alice, name).await));
        seen.push(stanzas);
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].iter().any(|stanza| stanza.contains("ask='subscribe'")), "{seen:?}");
}

#[tokio::test]
async fn each_device_gets_what_it_asked_for() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.bind("bob", "both").await;
    let interested = world.bind("bob", "interested").await;
    let available = world.online("bob", "available").await;
    let connected = world.bind("bob", "connected").await;
    for device in [&bob, &interested] {
        subscription(device, "alice").await;
    }
    bob.send("<presence/>").await;
    let all = [&bob, &interested, &available, &connected];
    for device in all {
        device.take().await;
    }
    let (request, push) = ("subscribe", "iq");
    for (by, kind, to, want) in [
        // RFC 6121 §3.1.3: requests to available resources
        (&alice, "subscribe", "bob", [vec![request], vec![], vec![request], vec![]]),
        // §3.3.3: what was withdrawn, to interested ones
        (&alice, "unsubscribe", "bob", [vec!["unsubscribe"], vec!["unsubscribe"], vec![], vec![]]),
        (&bob, "subscribe", "alice", [vec![push], vec![push], vec![], vec![]]),
        // §3.1.6: approvals to interested ones, before the push
        (
            &alice,
            "subscribed",
            "bob",
            [vec!["subscribed", push, ""], vec!["subscribed", push], vec![""], vec![]],
        ),
        // §3.2.3: cancellations, too
        (
            &alice,
            "unsubscribed",
            "bob",
            [
                vec!["unavailable", "unsubscribed", push],
                vec!["unsubscribed", push],
                vec!["unavailable"],
                vec![],
            ],
        ),
    ] {
        send(by, kind, to).await;
        for (device, want) in all.into_iter().zip(want) {
            let got = device.take().await;
            let got = got.iter().map(|e| if e.name() == "iq" { "iq" } else { e.attr("type").unwrap_or("") });
            assert_eq!(got.collect::<Vec<_>>(), want, "{kind}, {}", device.session.jid);
        }
    }
}

#[tokio::test]
async fn so_many_requests_wait_and_no_more() {
    let names: Vec<_> = (0..101).map(|n| format!("a{n}")).collect();
    let mut accounts: Vec<_> = names.iter().map(String::as_str).collect();
    accounts.push("bob");
    let world = World::with(&accounts).await;
    let (last, first) = names.split_last().unwrap();
    for name in first {
        send(&world.online(name, "phone").await, "subscribe", "bob").await;
    }
    let last = world.online(last, "phone").await;
    send(&last, "subscribe", "bob").await;
    assert_eq!(last.take().await.first().and_then(condition).as_deref(), Some("resource-constraint"));
    assert_eq!(roster(&last, "bob").await, ("none".to_owned(), false));
    // Who waits may ask again; an answer makes room.
    let waits = world.online("a7", "phone").await;
    send(&waits, "subscribe", "bob").await;
    assert_eq!(waits.take().await, NOTHING);
    let bob = world.online("bob", "desk").await;
    send(&bob, "unsubscribed", "a7").await;
    send(&last, "subscribe", "bob").await;
    assert_eq!(roster(&last, "bob").await, ("none".to_owned(), true));
}

#[tokio::test]
async fn a_request_has_a_size() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let long = "x".repeat(5_000);
    for name in ["bob", "ghost"] {
        alice
            .send(&format!(
                "<presence to='{name}@example.org' type='subscribe'><status>{long}</status></presence>"
            ))
            .await;
        assert_eq!(alice.take().await.first().and_then(condition).as_deref(), Some("policy-violation"));
        assert_eq!(roster(&alice, name).await, ("none".to_owned(), false));
    }
}

#[tokio::test]
async fn what_somebody_blocked_takes_back_is_taken_back() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    befriend(&alice, &bob).await;
    super::presence::block(&alice, "bob@example.org").await;
    subscription(&alice, "bob").await;
    send(&bob, "unsubscribe", "alice").await;
    send(&bob, "unsubscribed", "alice").await;
    let got = alice.take().await;
    assert!(got.iter().all(|stanza| stanza.name() == "iq"), "nothing of bob's: {got:?}"); // XEP-0191 §3.3
    agree(&world, "blocked").await;
    assert_eq!(roster(&alice, "bob").await.0, "none");
}
