//! Requests from one device to another (RFC 6121 §8.5.3).

use super::contacts::befriend;
use super::presence::condition;
use super::*;

/// Asks a device something. Returns what came of it: nothing if the request was passed on.
async fn ask(device: &Device, to: &str, payload: &str) -> Option<String> {
    device.take().await;
    device.send(&format!("<iq type='get' id='q' to='{to}'>{payload}</iq>")).await;
    let got = device.take().await;
    assert!(got.len() <= 1, "{got:?}");
    got.first().map(|answer| condition(answer).unwrap_or_else(|| format!("{answer:?}")))
}

const PAYLOAD: &str = "<query xmlns='urn:example:q'/>";
const UNAVAILABLE: Option<&str> = Some("service-unavailable");

#[tokio::test]
async fn a_stranger_reaches_no_device_and_learns_nothing() {
    let world = World::with(&["alice", "bob", "carol"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    for to in
        ["bob@example.org/desk", "bob@example.org/none", "carol@example.org/desk", "ghost@example.org/desk"]
    {
        assert_eq!(ask(&alice, to, PAYLOAD).await.as_deref(), UNAVAILABLE, "{to}"); // §8.5.3.1, RFC 6120 §13.10.2
    }
    assert_eq!(bob.take().await, []);
    // What was not asked is not answered either.
    bob.send("<iq type='result' id='q' to='alice@example.org/phone'/>").await;
    assert_eq!(alice.take().await, []);
}

#[tokio::test]
async fn who_may_see_a_device_may_ask_it() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    let tab = world.online("bob", "tab").await;
    for to in ["alice@example.org", "alice@example.org/phone"] {
        bob.send(&format!("<presence to='{to}'/>")).await;
        assert_eq!(ask(&alice, "bob@example.org/desk", PAYLOAD).await, None, "{to}");
        bob.send("<iq type='result' id='q' to='alice@example.org/phone'/>").await;
        assert_eq!(alice.take().await.len(), 1, "and is answered");
        assert_eq!(ask(&alice, "bob@example.org/tab", PAYLOAD).await.as_deref(), UNAVAILABLE);
        bob.send(&format!("<presence to='{to}' type='unavailable'/>")).await;
        assert_eq!(ask(&alice, "bob@example.org/desk", PAYLOAD).await.as_deref(), UNAVAILABLE);
    }
    alice.send("<presence to='bob@example.org' type='subscribe'/>").await;
    assert_eq!(ask(&alice, "bob@example.org/tab", PAYLOAD).await.as_deref(), UNAVAILABLE);
    tab.send("<presence to='alice@example.org' type='subscribed'/>").await;
    assert_eq!(ask(&alice, "bob@example.org/tab", PAYLOAD).await, None);
    assert_eq!(ask(&alice, "bob@example.org/none", PAYLOAD).await.as_deref(), UNAVAILABLE); // §8.5.3.2.3
    // Seeing is not being seen.
    bob.take().await;
    assert_eq!(ask(&bob, "alice@example.org/phone", PAYLOAD).await.as_deref(), UNAVAILABLE);
    assert_eq!(ask(&bob, "bob@example.org/tab", PAYLOAD).await, None, "one's own devices");
}

#[tokio::test]
async fn whether_an_account_is_in_memory_does_not_show() {
    let last = "<query xmlns='jabber:iq:last'/>";
    let world = World::with(&["alice", "bob", "carol"]).await;
    let alice = world.online("alice", "phone").await;
    let _bob = world.online("bob", "desk").await;
    for to in ["bob@example.org/desk", "bob@example.org", "carol@example.org/desk", "carol@example.org"] {
        assert_eq!(ask(&alice, to, last).await.as_deref(), Some("forbidden"), "{to}"); // XEP-0012 §3, §4
    }
}

#[tokio::test]
async fn whether_there_is_an_account_does_not_show() {
    let payloads = [
        PAYLOAD,
        "<query xmlns='jabber:iq:last'/>",
        "<query xmlns='jabber:iq:version'/>",
        "<query xmlns='http://jabber.org/protocol/disco#info'/>",
        "<ping xmlns='urn:xmpp:ping'/>",
        "<time xmlns='urn:xmpp:time'/>",
        "<vCard xmlns='vcard-temp'/>",
        "<query xmlns='jabber:iq:roster'/>",
        "<offline xmlns='http://jabber.org/protocol/offline'/>",
        "<query xmlns='jabber:iq:private'><x xmlns='urn:x'/></query>",
        "<blocklist xmlns='urn:xmpp:blocking'/>",
        "<block xmlns='urn:xmpp:blocking'><item jid='x@example.org'/></block>",
        "<enable xmlns='urn:xmpp:carbons:2'/>",
        "<query xmlns='urn:xmpp:mam:2'/>",
        "<metadata xmlns='urn:xmpp:mam:2'/>",
        "<prefs xmlns='urn:xmpp:mam:2' default='always'/>",
        "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>",
        "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>",
    ];
    let world = World::with(&["alice", "bob", "carol"]).await;
    let alice = world.online("alice", "phone").await;
    let _bob = world.online("bob", "desk").await;
    for is_blocked in [false, true] {
        for payload in payloads {
            for kind in ["get", "set"] {
                for resource in ["/desk", ""] {
                    let answer = async |name: &str| {
                        alice.take().await;
                        let to = format!("{name}@example.org{resource}");
                        alice.send(&format!("<iq type='{kind}' id='q' to='{to}'>{payload}</iq>")).await;
                        format!("{:?}", alice.take().await).replace(&to, "TO")
                    };
                    let of_ghost = answer("ghost").await;
                    assert!(of_ghost.contains("error"), "{payload}");
                    for name in ["bob", "carol"] {
                        assert_eq!(answer(name).await, of_ghost, "{kind} {payload} to {name}{resource}");
                    }
                }
            }
        }
        for name in ["bob", "carol", "ghost"] {
            super::presence::block(&alice, &format!("{name}@example.org")).await;
        }
        assert!(
            !is_blocked
                || ask(&alice, "ghost@example.org/desk", PAYLOAD).await.as_deref() == Some("not-acceptable")
        );
    }
    // A domain has no account, and nothing to hide.
    assert_eq!(ask(&alice, "example.org/desk", payloads[1]).await.as_deref(), UNAVAILABLE);
}

#[tokio::test]
async fn a_block_holds_for_requests_in_both_directions() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    befriend(&alice, &bob).await;
    super::presence::block(&alice, "bob@example.org").await;
    assert_eq!(ask(&bob, "alice@example.org/phone", PAYLOAD).await.as_deref(), UNAVAILABLE);
    assert_eq!(ask(&alice, "bob@example.org/desk", PAYLOAD).await.as_deref(), Some("not-acceptable"));
}
