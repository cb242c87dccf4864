//! Presence, and what is answered to it.

use super::contacts::befriend;
use super::*;

/// The condition of an error stanza.
pub(super) fn condition(stanza: &Element) -> Option<String> {
    let error = stanza.child("error", "jabber:client").filter(|_| stanza.attr("type") == Some("error"))?;
    error.first_child().map(|condition| condition.name().to_owned())
}

/// Sender and type of each presence, in order.
pub(super) fn presences(stanzas: &[Element]) -> Vec<(&str, &str)> {
    let presences = stanzas.iter().filter(|stanza| stanza.name() == "presence");
    presences.map(|p| (p.attr("from").unwrap_or(""), p.attr("type").unwrap_or(""))).collect()
}

#[tokio::test]
async fn an_answer_is_not_answered() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    for answer in [
        "<iq type='result'/>", // RFC 6120 §8.2.3, rules 1 and 4
        "<iq type='result' id='1' to='@'/>",
        "<iq type='error' to='bob@example.org/none'/>",
        "<iq type='result' id='1' to='bob@example.org/none'/>",
        "<presence type='error' to='@'/>",
    ] {
        alice.send(answer).await;
        assert_eq!(alice.take().await, [], "{answer}");
    }
    alice.send("<iq type='get'><query xmlns='urn:example:q'/></iq>").await;
    assert_eq!(alice.take().await.iter().map(condition).collect::<Vec<_>>(), [Some("bad-request".into())]);
}

#[tokio::test]
async fn an_error_for_somebody_blocked_is_not_answered() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    alice
        .send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='bob@example.org'/></block></iq>")
        .await;
    alice.take().await;
    alice.send("<presence type='error' to='bob@example.org/desk'/>").await;
    assert_eq!(alice.take().await, []); // RFC 6120 §8.3.1
}

#[tokio::test]
async fn an_error_reaches_the_resource_it_is_for() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    let tab = world.online("bob", "tab").await;
    bob.take().await;
    alice.send("<presence type='error' to='bob@example.org/desk' id='e'><x xmlns='urn:x'/></presence>").await;
    let got = bob.take().await;
    assert_eq!(presences(&got), [("alice@example.org/phone", "error")]);
    assert!(got[0].has_child("x", "urn:x"));
    for nobody in ["bob@example.org", "bob@example.org/none", "none@example.org/x", "bob@example.net/x"] {
        alice.send(&format!("<presence type='error' to='{nobody}'/>")).await;
    }
    assert_eq!([bob.take().await, tab.take().await, alice.take().await], [[], [], []]);
}

#[tokio::test]
async fn presence_is_kept_whole() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    // RFC 6121 §4.3.2: "all elements and attributes whether qualified by the content namespace or extended namespaces"
    let rest = "xml:lang='de' xmlns:x='urn:x' x:n='1' m='2'";
    for kind in ["", "type='subscribe'"] {
        alice
            .send(&format!(
                "<presence to='bob@example.org' {kind} id='p' {rest}><y xmlns='urn:y'/></presence>"
            ))
            .await;
        let got = bob.take().await;
        let [presence] = got.as_slice() else { panic!("{got:?}") };
        assert_eq!(presence.attr("id"), Some("p"));
        assert_eq!(presence.attr_ns("http://www.w3.org/XML/1998/namespace", "lang"), Some("de"));
        assert_eq!((presence.attr_ns("urn:x", "n"), presence.attr("m")), (Some("1"), Some("2")));
        assert!(presence.has_child("y", "urn:y"));
    }
    let tab = world.online("bob", "tab").await;
    tab.send("<presence type='unavailable'/>").await;
    tab.take().await;
    tab.send("<presence/>").await;
    let got = tab.take().await;
    let request = got.iter().find(|presence| presence.attr("type") == Some("subscribe")).unwrap();
    assert_eq!((request.attr_ns("urn:x", "n"), request.attr("m")), (Some("1"), Some("2")));
}

#[tokio::test]
async fn the_language_of_a_request_is_kept() {
    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    let desk = world.online("alice", "desk").await;
    phone.take().await;
    desk.send("<iq type='get' id='q' to='alice@example.org/phone' xml:lang='de'><q xmlns='urn:q'/></iq>")
        .await;
    let got = phone.take().await;
    assert_eq!(got[0].attr_ns("http://www.w3.org/XML/1998/namespace", "lang"), Some("de"), "{got:?}"); // RFC 6120 §8.1.5
}

#[tokio::test]
async fn presence_to_oneself_is_directed() {
    let world = World::with(&["alice", "bob"]).await;
    let phone = world.online("alice", "phone").await;
    let desk = world.online("alice", "desk").await;
    phone.take().await;
    desk.take().await;
    phone.send("<presence to='alice@example.org'><show>dnd</show></presence>").await;
    for device in [&phone, &desk] {
        assert_eq!(presences(&device.take().await), [("alice@example.org/phone", "")]);
    }
    let tab = world.bind("alice", "tab").await;
    tab.send("<presence/>").await;
    let got = tab.take().await;
    let shown = got.iter().find(|p| p.attr("from") == Some("alice@example.org/phone")).unwrap();
    assert!(!shown.has_child("show", "jabber:client"), "what was directed is not the presence of the device");
    phone.send("<presence to='alice@example.org' type='unavailable'/>").await;
    phone.take().await;
    desk.say("alice@example.org/phone", "still there").await;
    assert_eq!(phone.bodies().await, ["still there"]);
}

#[tokio::test]
async fn nobody_subscribes_to_oneself() {
    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    phone.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    phone.take().await;
    for kind in ["subscribe", "subscribed", "unsubscribe", "unsubscribed"] {
        for to in ["alice@example.org", "alice@example.org/phone", "alice@example.org/none"] {
            phone.send(&format!("<presence to='{to}' type='{kind}'/>")).await;
            assert_eq!(phone.take().await, [], "{kind} {to}");
        }
    }
}

#[tokio::test]
async fn presence_to_another_server_is_refused() {
    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    for (kind, want) in [
        ("", Some("remote-server-not-found")), // RFC 6120 §10.4
        ("type='unavailable'", Some("remote-server-not-found")),
        ("type='subscribe'", Some("remote-server-not-found")),
        ("type='probe'", None), // RFC 6121 §4.3
        ("type='error'", None), // RFC 6120 §8.3.1
    ] {
        phone.send(&format!("<presence to='bob@example.net' id='p' {kind}/>")).await;
        let got = phone.take().await;
        assert_eq!(got.first().and_then(condition).as_deref(), want, "{kind}");
    }
}

/// Blocks somebody.
pub(super) async fn block(device: &Device, whom: &str) {
    let item = format!("<item jid='{whom}'/>");
    device.send(&format!("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>{item}</block></iq>")).await;
    device.take().await;
}

#[tokio::test]
async fn a_block_holds_when_devices_come_and_go() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    befriend(&alice, &bob).await;
    for blocked in ["bob@example.org", "bob@example.org/desk", "bob@example.org/tab"] {
        block(&alice, blocked).await;
        bob.take().await;
        let is_blocked = |resource: &str| !blocked.contains('/') || blocked.ends_with(resource);
        // XEP-0191 §3.3: neither sees the other, whoever comes later.
        let tab = world.online("bob", "tab").await;
        tab.send("<presence type='unavailable'/>").await;
        tab.take().await;
        tab.send("<presence/>").await;
        let seen = tab.take().await;
        let sees_alice = presences(&seen).iter().any(|(from, _)| from.starts_with("alice@"));
        assert_eq!(sees_alice, !is_blocked("tab"), "{blocked}: {seen:?}");
        alice.take().await;
        let laptop = world.bind("alice", "laptop").await;
        laptop.send("<presence/>").await;
        let seen = laptop.take().await;
        for resource in ["desk", "tab"] {
            let name = format!("bob@example.org/{resource}");
            let sees_bob = presences(&seen).iter().any(|(from, _)| *from == name);
            assert_eq!(sees_bob, !is_blocked(resource), "{blocked}: {seen:?}");
        }
        for (device, resource) in [(&bob, "desk"), (&tab, "tab")] {
            let seen = device.take().await;
            let sees_alice = presences(&seen).iter().any(|(from, _)| *from == "alice@example.org/laptop");
            assert_eq!(sees_alice, !is_blocked(resource), "{blocked}, {resource}: {seen:?}");
        }
        laptop.hub.end(&laptop.session.cell, laptop.session.id);
        tab.hub.end(&tab.session.cell, tab.session.id);
        alice.send("<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>").await;
        alice.take().await;
    }
}

#[tokio::test]
async fn a_request_of_somebody_blocked_waits_for_the_end_of_the_block() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    bob.send("<presence to='alice@example.org' type='subscribe'/>").await;
    block(&alice, "bob@example.org").await;
    alice.send("<presence type='unavailable'/>").await;
    alice.take().await;
    alice.send("<presence/>").await;
    assert_eq!(presences(&alice.take().await), [("alice@example.org/phone", "")]);
    alice.send("<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>").await;
    alice.send("<presence type='unavailable'/>").await;
    alice.take().await;
    alice.send("<presence/>").await;
    assert!(presences(&alice.take().await).contains(&("bob@example.org", "subscribe")));
}

#[tokio::test]
async fn one_device_tells_so_many_strangers_and_no_more() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    for n in 0..999 {
        alice.send(&format!("<presence to='somebody-{n}@example.org'/>")).await;
    }
    alice.send("<presence to='bob@example.org/desk'/>").await;
    alice.send("<presence to='bob@example.org'/>").await;
    let refused = alice.take().await;
    assert_eq!(refused.iter().map(condition).collect::<Vec<_>>(), [Some("policy-violation".to_owned())]);
    // Who was told is told on, and an end makes room.
    alice.send("<presence to='bob@example.org/desk'><show>dnd</show></presence>").await;
    alice.send("<presence to='somebody-7@example.org' type='unavailable'/>").await;
    alice.send("<presence to='bob@example.org'/>").await;
    assert_eq!(alice.take().await, []);
    assert_eq!(bob.take().await.len(), 3);
    alice.send("<presence type='unavailable'/>").await;
    let ends = [("alice@example.org/phone", "unavailable"); 2];
    assert_eq!(presences(&bob.take().await), ends, "to each address that was told");
}

#[tokio::test]
async fn who_has_left_is_not_told_that_others_leave() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    alice.send("<presence to='bob@example.org/desk'/>").await;
    bob.send("<presence to='alice@example.org' type='unavailable'/>").await;
    bob.take().await;
    alice.send("<presence type='unavailable'/>").await; // RFC 6121 §4.6.1
    assert_eq!(bob.take().await, []);
}

/// What a probe brings, with the id that it had.
async fn probe(device: &Device, to: &str) -> Vec<Element> {
    device.take().await;
    device.send(&format!("<presence to='{to}' type='probe' id='p'/>")).await;
    device.take().await
}

#[tokio::test]
async fn a_subscriber_learns_by_a_probe_how_a_contact_is() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    befriend(&alice, &bob).await;
    bob.send("<presence id='b'><show>dnd</show></presence>").await;
    let tab = world.online("bob", "tab").await;
    let got = probe(&alice, "bob@example.org").await;
    assert_eq!(presences(&got), [("bob@example.org/desk", ""), ("bob@example.org/tab", "")]);
    // §4.3.2.1: what the device says keeps its own id.
    assert!(got[0].has_child("show", "jabber:client") && got[0].attr("id") == Some("b"));
    // §4.3.2: of a resource only that it is there, and of no other.
    let got = probe(&alice, "bob@example.org/desk").await;
    assert_eq!((presences(&got), got[0].children().count()), (vec![("bob@example.org/desk", "")], 0));
    let got = probe(&alice, "bob@example.org/none").await;
    assert_eq!(
        (presences(&got), got[0].attr("id")),
        (vec![("bob@example.org/none", "unavailable")], Some("p"))
    );
    // Of oneself, too.
    let got = probe(&alice, "alice@example.org").await;
    assert_eq!(presences(&got), [("alice@example.org/phone", "")]);
    tab.send("<presence type='unavailable'/>").await;
    world.step_clock(60_000_000);
    bob.send("<presence type='unavailable'><status>Gone</status></presence>").await;
    world.step_clock(60_000_000);
    for _ in 0..2 {
        let got = probe(&alice, "bob@example.org").await;
        assert_eq!(
            (presences(&got), got[0].attr("id")),
            (vec![("bob@example.org", "unavailable")], Some("p"))
        );
        let delay = got[0].child("delay", "urn:xmpp:delay").unwrap();
        assert_eq!(delay.attr("stamp"), Some("2026-09-21T14:14:20.000000Z")); // when he left
        // The same when he is not in memory.
        bob.hub.end(&bob.session.cell, bob.session.id);
        tab.hub.end(&tab.session.cell, tab.session.id);
    }
}

#[tokio::test]
async fn a_probe_does_not_tell_who_is_there() {
    let world = World::with(&["alice", "bob", "carol", "dave", "erin"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    let dave = world.online("dave", "desk").await;
    let erin = world.online("erin", "desk").await;
    // erin asked, alice asked dave, and nobody answered
    erin.send("<presence to='alice@example.org' type='subscribe'/>").await;
    alice.send("<presence to='dave@example.org' type='subscribe'/>").await;
    for stranger in ["bob", "carol", "dave", "erin", "ghost"] {
        for address in ["", "/desk", "/none"] {
            let to = format!("{stranger}@example.org{address}");
            assert_eq!(probe(&alice, &to).await, [], "{to}");
        }
    }
    for device in [&bob, &dave, &erin] {
        device.take().await;
    }
    assert_eq!(probe(&alice, "example.org").await, []);
    // Nothing was taken back by asking.
    dave.send("<presence to='alice@example.org' type='subscribed'/>").await;
    assert!(presences(&alice.take().await).contains(&("dave@example.org/desk", "")));
}

#[tokio::test]
async fn who_was_shown_presence_may_ask_again() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    let tab = world.online("bob", "tab").await;
    for address in ["alice@example.org", "alice@example.org/phone"] {
        bob.send(&format!("<presence to='{address}'><show>dnd</show></presence>")).await;
        for to in ["bob@example.org", "bob@example.org/desk"] {
            let got = probe(&alice, to).await; // §4.6.6: mere presence, and of that resource only
            assert_eq!((presences(&got), got[0].children().count()), (vec![("bob@example.org/desk", "")], 0));
        }
        assert_eq!(probe(&alice, "bob@example.org/tab").await, []);
        bob.send(&format!("<presence to='{address}' type='unavailable'/>")).await;
        assert_eq!(probe(&alice, "bob@example.org/desk").await, []);
    }
    tab.send("<presence to='alice@example.org/other'/>").await;
    assert_eq!(probe(&alice, "bob@example.org/tab").await, [], "another resource was shown it");
    // XEP-0191 §3.3: somebody blocked is not answered.
    bob.send("<presence to='alice@example.org'/>").await;
    block(&bob, "alice@example.org").await;
    assert_eq!(probe(&alice, "bob@example.org/desk").await, []);
}

#[tokio::test]
async fn a_subscription_that_the_contact_knows_nothing_of_ends_by_a_probe() {
    use unisono_core::roster::RosterItem;
    use unisono_core::storage::{Commit, Journal, Write};
    use unisono_core::subscription::{Subscription, SubscriptionState};

    let world = World::with(&["alice", "bob"]).await;
    let account = world.hub.account(&jid("alice")).await.unwrap().unwrap().id;
    for contact in ["bob", "ghost"] {
        let state = SubscriptionState { subscription: Subscription::To, ..SubscriptionState::default() };
        let item = RosterItem { state, version: 1, ..RosterItem::new(jid(contact)) };
        let writes = vec![Write::RosterItem { account, item }];
        world.store.submit(Commit { writes, wake: Vec::new() });
    }
    let world = world.crash().await;
    let alice = world.online("alice", "phone").await;
    super::contacts::subscription(&alice, "bob").await;
    for contact in ["bob", "ghost"] {
        let from = format!("{contact}@example.org");
        let got = probe(&alice, &from).await; // §4.3.2, rule 1, and §3.2.3
        assert_eq!((presences(&got), got[0].attr("id")), (vec![(from.as_str(), "unsubscribed")], Some("p")));
        let none = super::contacts::subscription(&alice, contact).await;
        assert_eq!(none.as_deref(), Some("none"), "{contact}");
    }
}

#[tokio::test]
async fn a_presence_has_a_size() {
    let world = World::with(&["alice"]).await;
    let (desk, phone) = (world.online("alice", "desk").await, world.bind("alice", "phone").await);
    for (bytes, is_taken) in [(15 * 1024, true), (17 * 1024, false)] {
        phone.send(&format!("<presence><status>{}</status></presence>", "x".repeat(bytes))).await;
        let refused: Vec<_> = phone.take().await.iter().filter_map(condition).collect();
        assert_eq!(refused.is_empty(), is_taken, "{refused:?}");
        assert_eq!(desk.take().await.iter().any(|stanza| stanza.name() == "presence"), is_taken);
    }
}
