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
