//! Whom one does not want to hear (XEP-0191): what others see of it, and what two devices make of the list at once.

use std::collections::BTreeSet;

use super::at_once::{ROUNDS, at_once, sees};
use super::contacts::befriend;
use super::presence::{condition, presences};
use super::*;

/// A request with these addresses.
fn change(name: &str, jids: &[&str]) -> String {
    let items = jids.iter().map(|jid| format!("<item jid='{jid}'/>")).collect::<Vec<_>>().concat();
    format!("<iq type='set' id='b'><{name} xmlns='urn:xmpp:blocking'>{items}</{name}></iq>")
}

async fn list(device: &Device) -> BTreeSet<String> {
    device.take().await;
    device.send("<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>").await;
    let stanzas = device.take().await;
    let list = stanzas[0].child("blocklist", "urn:xmpp:blocking").unwrap();
    list.children().map(|item| item.attr("jid").unwrap().to_owned()).collect()
}

#[tokio::test]
async fn of_two_changes_at_once_neither_is_lost() {
    let world = World::with(&["alice"]).await;
    let (phone, laptop) = (world.online("alice", "phone").await, world.online("alice", "laptop").await);
    for round in 0..ROUNDS {
        let (one, other) = (change("block", &["a@example.net"]), change("block", &["b@example.net"]));
        at_once(phone.send(&one), laptop.send(&other));
        let want = ["a@example.net", "b@example.net"].map(str::to_owned);
        assert_eq!(list(&phone).await, BTreeSet::from(want), "round {round}");
        let (one, other) = (change("unblock", &["a@example.net"]), change("unblock", &["b@example.net"]));
        at_once(phone.send(&one), laptop.send(&other));
        assert_eq!(list(&phone).await, BTreeSet::new(), "round {round}");
        laptop.take().await;
    }
}

#[tokio::test]
async fn whoever_is_blocked_while_something_else_happens_sees_no_ghost() {
    let world = World::with(&["alice", "bob"]).await;
    let phone = world.online("alice", "phone").await;
    let laptop = world.online("alice", "laptop").await;
    let bob = world.online("bob", "desk").await;
    befriend(&phone, &bob).await;
    let name = "alice@example.org/phone";
    let (block, unblock) = (change("block", &["bob@example.org"]), change("unblock", &[]));
    for round in 0..ROUNDS {
        bob.send("<presence type='unavailable'/>").await;
        bob.take().await;
        at_once(bob.send("<presence/>"), laptop.send(&block));
        assert!(!sees(&bob, name).await, "he comes, round {round}");
        at_once(bob.send("<presence/>"), laptop.send(&unblock));
        assert!(sees(&bob, name).await, "she unblocks, round {round}");
        at_once(phone.send("<presence type='unavailable'/>"), laptop.send(&block));
        assert!(!sees(&bob, name).await, "she leaves, round {round}");
        at_once(phone.send("<presence/>"), laptop.send(&unblock));
        assert!(sees(&bob, name).await, "she comes, round {round}");
        for device in [&phone, &laptop] {
            device.take().await;
        }
    }
}

#[tokio::test]
async fn a_block_that_ends_shows_both_to_each_other() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let (desk, tab) = (world.online("bob", "desk").await, world.online("bob", "tab").await);
    befriend(&alice, &desk).await;
    tab.take().await;
    for (blocked, on_desk, on_tab) in [
        ("example.org", true, true), // XEP-0191 §6
        ("bob@example.org", true, true),
        ("bob@example.org/desk", true, false),
        ("example.org/tab", false, true),
        ("bob@example.org/none", false, false),
        ("carol@example.org", false, false),
        ("example.net", false, false),
    ] {
        for (request, kind) in [(change("block", &[blocked]), "unavailable"), (change("unblock", &[]), "")] {
            alice.take().await;
            // The second time, nothing changes any more.
            alice.send(&request).await;
            alice.send(&request).await;
            for (device, is_meant) in [(&desk, on_desk), (&tab, on_tab)] {
                let want = if is_meant { vec![("alice@example.org/phone", kind)] } else { vec![] };
                assert_eq!(presences(&device.take().await), want, "{blocked} {kind}");
            }
            let seen = alice.take().await;
            let seen: Vec<_> = presences(&seen).into_iter().map(|(from, _)| from).collect();
            let shown = [("bob@example.org/desk", on_desk), ("bob@example.org/tab", on_tab)];
            let want = shown.into_iter().filter(|(_, is_meant)| *is_meant && kind.is_empty());
            assert_eq!(seen, want.map(|(from, _)| from).collect::<Vec<_>>(), "{blocked} {kind}");
        }
    }
}

#[tokio::test]
async fn only_those_who_may_see_are_told_of_a_block() {
    let world = World::with(&["alice", "bob", "carol"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    let carol = world.online("carol", "desk").await;
    // Alice sees Bob, and not the other way round; Carol is a stranger who was shown presence once.
    alice.send("<presence to='bob@example.org' type='subscribe'/>").await;
    bob.send("<presence to='alice@example.org' type='subscribed'/>").await;
    alice.send("<presence to='carol@example.org'/>").await;
    bob.take().await;
    assert_eq!(presences(&carol.take().await), [("alice@example.org/phone", "")]);
    alice.send(&change("block", &["example.org"])).await;
    assert_eq!(bob.take().await, []);
    assert_eq!(presences(&carol.take().await), [("alice@example.org/phone", "unavailable")]);
    // What was directed has ended: neither the end of the block nor that of the session says it again.
    alice.send(&change("unblock", &[])).await;
    alice.send("<presence type='unavailable'/>").await;
    assert_eq!([bob.take().await, carol.take().await], [[], []]);
}

#[tokio::test]
async fn a_directed_presence_goes_on_for_those_who_are_not_blocked() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let (desk, tab) = (world.online("bob", "desk").await, world.online("bob", "tab").await);
    alice.send("<presence to='bob@example.org'/>").await;
    desk.take().await;
    tab.take().await;
    alice.send(&change("block", &["bob@example.org/desk"])).await;
    assert_eq!(presences(&desk.take().await), [("alice@example.org/phone", "unavailable")]);
    assert_eq!(tab.take().await, []);
    alice.send("<presence type='unavailable'/>").await;
    assert_eq!(presences(&tab.take().await), [("alice@example.org/phone", "unavailable")]);
}

#[tokio::test]
async fn a_list_takes_so_much_and_no_more() {
    let world = World::with(&["alice"]).await;
    let alice = world.online("alice", "phone").await;
    let long = |n: usize| format!("{}@example.net/{}", "a".repeat(1_000), "b".repeat(1_000 - n));
    let many: Vec<_> = (0..32).map(long).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    alice.send(&change("block", &many)).await;
    alice.take().await;
    for (request, want) in [
        (change("block", &[&long(32)]), Some("resource-constraint")),
        (change("block", &many), None), // all are on the list
        (change("unblock", &many[..2]), None),
        (change("block", &[&long(32)]), None),
    ] {
        alice.send(&request).await;
        let answer = alice.take().await;
        assert_eq!(answer.iter().find_map(condition).as_deref(), want);
    }
    let world = world.crash().await;
    let alice = world.online("alice", "phone").await;
    assert_eq!(list(&alice).await.len(), 31);
    alice.send(&change("unblock", &[])).await;
    assert_eq!(list(&alice).await.len(), 0);
}

#[tokio::test]
async fn what_is_one_s_own_cannot_be_blocked() {
    let world = World::with(&["alice", "bob"]).await;
    let phone = world.online("alice", "phone").await;
    for (jids, want) in [
        (vec!["alice@example.org"], Some("not-allowed")),
        (vec!["alice@example.org/laptop"], Some("not-allowed")),
        (vec!["bob@example.org", "alice@example.org"], Some("not-allowed")), // all or nothing
        (vec![], Some("bad-request")),
        (vec!["@"], Some("jid-malformed")),
        (vec!["example.org"], None), // all others of this server
    ] {
        phone.send(&change("block", &jids)).await;
        let answer = phone.take().await;
        assert_eq!(answer.iter().find_map(condition).as_deref(), want, "{jids:?}");
    }
    assert_eq!(list(&phone).await, BTreeSet::from(["example.org".to_owned()]));
}

/// Who may ask a device cannot tell it whom it blocks.
#[tokio::test]
async fn a_friend_pushes_no_block() {
    let world = World::with(&["alice", "bob"]).await;
    let (phone, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    befriend(&phone, &bob).await;
    phone.take().await;
    for name in ["block", "unblock"] {
        let push = change(name, &["carol@example.org"]);
        bob.send(&push.replace("<iq", "<iq to='alice@example.org/phone'")).await;
        assert_eq!(condition(&bob.take().await[0]).as_deref(), Some("service-unavailable"), "{name}");
        assert_eq!(phone.take().await, [], "{name}");
    }
}

/// XEP-0191 §3.5: all blocks end with an element that is empty, and with no other.
#[tokio::test]
async fn what_is_not_understood_ends_no_block() {
    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    phone.send(&change("block", &["a@example.net"])).await;
    for children in ["<item xmlns='urn:x' jid='a@example.net'/>", "<Item jid='a@example.net'/>"] {
        let request = change("unblock", &[]).replace("</unblock>", &format!("{children}</unblock>"));
        phone.take().await;
        phone.send(&request).await;
        assert_eq!(condition(&phone.take().await[0]).as_deref(), Some("bad-request"), "{children}");
        assert_eq!(list(&phone).await.len(), 1, "{children}");
    }
}
