//! Two things at once: whoever was shown as available is shown to leave, whatever comes in between.

use std::pin::Pin;
use std::sync::Barrier;
use std::thread;

use super::contacts::befriend;
use super::*;

/// How often both are tried against each other. The right order of events is a matter of microseconds.
pub(super) const ROUNDS: usize = 400;

/// Runs two things at once.
pub(super) fn at_once(one: impl Future<Output = ()> + Send, other: impl Future<Output = ()> + Send) {
    let barrier = Barrier::new(2);
    let run = |work: Pin<Box<dyn Future<Output = ()> + Send + '_>>| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        barrier.wait();
        runtime.block_on(work);
    };
    let (one, other) = (Box::pin(one), Box::pin(other));
    thread::scope(|scope| {
        scope.spawn(|| run(one));
        scope.spawn(|| run(other));
    });
}

/// Whether a device believes that a resource is available.
pub(super) async fn sees(device: &Device, from: &str) -> bool {
    let stanzas = device.take().await;
    let mut presences = stanzas.iter().rev().filter(|stanza| stanza.name() == "presence");
    presences.find(|presence| presence.attr("from") == Some(from)).is_some_and(|p| p.attr("type").is_none())
}

#[tokio::test]
async fn who_comes_while_another_leaves_sees_no_ghost() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    befriend(&alice, &bob).await;
    for round in 0..ROUNDS {
        alice.send("<presence/>").await;
        bob.send("<presence type='unavailable'/>").await;
        bob.take().await;
        alice.take().await;
        at_once(bob.send("<presence/>"), alice.send("<presence type='unavailable'/>"));
        assert!(!sees(&bob, "alice@example.org/phone").await, "round {round}");
    }
}

#[tokio::test]
async fn a_session_that_ends_while_it_comes_leaves_no_ghost() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.online("bob", "desk").await;
    befriend(&alice, &bob).await;
    for directed in ["", "to='bob@example.org'"] {
        for round in 0..ROUNDS {
            let phone = world.bind("alice", "phone").await;
            let end = async { phone.hub.end(&phone.session.cell, phone.session.id) };
            at_once(end, phone.send(&format!("<presence {directed}/>")));
            assert!(!sees(&bob, "alice@example.org/phone").await, "round {round} {directed}");
            alice.take().await;
        }
    }
}

#[tokio::test]
async fn a_session_that_takes_the_place_of_another_is_seen() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.online("bob", "desk").await;
    befriend(&alice, &bob).await;
    for round in 0..ROUNDS {
        let old = world.bind("alice", "phone").await;
        old.send("<presence/>").await;
        let end = async { old.hub.end(&old.session.cell, old.session.id) };
        let come = async {
            let new = world.bind("alice", "phone").await;
            new.send("<presence/>").await;
        };
        at_once(end, come);
        assert!(sees(&bob, "alice@example.org/phone").await, "round {round}");
        alice.take().await;
    }
}

/// What a device holds that keeps a list as it is told: the whole in a result, changes in pushes.
fn kept(stanzas: &[Element], list: &str, added: &str, removed: &str) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for stanza in stanzas.iter().filter(|stanza| stanza.name() == "iq") {
        for change in stanza.children().filter(|child| [list, added, removed].contains(&child.name())) {
            if change.name() == list && stanza.attr("type") == Some("result") {
                kept.clear();
            }
            for item in change.children() {
                let jid = item.attr("jid").unwrap().to_owned();
                kept.retain(|known| *known != jid);
                if change.name() != removed && item.attr("subscription") != Some("remove") {
                    kept.push(jid);
                }
            }
        }
    }
    kept
}

#[tokio::test]
async fn a_list_that_changes_while_it_is_asked_for_is_whole() {
    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    for (round, (ns, list, add, remove)) in
        [("jabber:iq:roster", "query", "query", ""), ("urn:xmpp:blocking", "blocklist", "block", "unblock")]
            .into_iter()
            .cycle()
            .take(ROUNDS)
            .enumerate()
    {
        let laptop = world.bind("alice", "laptop").await;
        let ask = format!("<iq type='get' id='r'><{list} xmlns='{ns}'/></iq>");
        let item = format!("<item jid='c{}@example.org'/>", round / 2);
        let change = format!("<iq type='set' id='s'><{add} xmlns='{ns}'>{item}</{add}></iq>");
        at_once(laptop.send(&ask), phone.send(&change));
        let got = kept(&laptop.take().await, list, add, remove);
        let now = world.bind("alice", "tool").await;
        now.send(&ask).await;
        let mut want = kept(&now.take().await, list, add, remove);
        let mut got: Vec<_> = got;
        got.sort();
        want.sort();
        assert_eq!(got, want, "round {round}");
        phone.take().await;
    }
}
