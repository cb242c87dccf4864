//! Contacts whose account is not in memory at the moment.

use std::sync::Arc;
use std::time::Duration;

use unisono_core::storage::{Accounts, StoreError};

use super::{Device, World, jid};

const AN_HOUR: Duration = Duration::from_secs(3_600);

/// Two accounts that see each other's presence; the second leaves the memory.
async fn friends() -> (World, Device) {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    befriend(&alice, &bob).await;
    assert_eq!(subscription(&bob, "alice").await.as_deref(), Some("both"));
    world.hub.end_sessions(&bob.session.cell, &unisono_core::error::StreamCondition::PolicyViolation);
    drop(bob);
    world.pass(AN_HOUR);
    assert!(world.hub.resident(&jid("bob")).is_none(), "the test needs an account that is not in memory");
    (world, alice)
}

/// Makes each see the other's presence.
pub(super) async fn befriend(one: &Device, other: &Device) {
    for kind in ["subscribe", "subscribed"] {
        for (device, peer) in [(one, other), (other, one)] {
            device.send(&format!("<presence to='{}' type='{kind}'/>", peer.session.cell.jid)).await;
        }
    }
    one.take().await;
    other.take().await;
}

/// The subscription that a device finds in its roster.
pub(super) async fn subscription(device: &Device, contact: &str) -> Option<String> {
    device.take().await;
    device.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    let stanzas = device.take().await;
    let result = stanzas.iter().find(|stanza| stanza.attr("id") == Some("r")).unwrap();
    let query = result.child("query", "jabber:iq:roster").unwrap();
    let item = query.children().find(|item| item.attr("jid") == Some(&format!("{contact}@example.org")))?;
    item.attr("subscription").map(str::to_owned)
}

#[tokio::test]
async fn a_removal_reaches_a_contact_that_is_not_in_memory() {
    let (world, alice) = friends().await;
    alice
        .send(
            "<iq type='set' id='x'><query xmlns='jabber:iq:roster'>\
             <item jid='bob@example.org' subscription='remove'/></query></iq>",
        )
        .await;
    let bob = world.online("bob", "desk").await;
    assert_eq!(subscription(&bob, "alice").await.as_deref(), Some("none"));
}

#[tokio::test]
async fn the_end_of_an_account_reaches_a_contact_that_is_not_in_memory() {
    let (world, alice) = friends().await;
    world.hub.remove_account(&alice.session.cell).await.unwrap();
    let bob = world.online("bob", "desk").await;
    assert_eq!(subscription(&bob, "alice").await.as_deref(), Some("none"));
}

/// What a device finds in its roster of somebody.
async fn item(device: &Device, contact: &str) -> Option<unisono_xml::Element> {
    device.take().await;
    device.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    let stanzas = device.take().await;
    let query = stanzas.iter().find_map(|stanza| stanza.child("query", "jabber:iq:roster")).unwrap();
    let address = format!("{contact}@example.org");
    query.children().find(|item| item.attr("jid") == Some(&address)).cloned()
}

/// Makes two accounts contacts as an invitation does.
async fn introduce(world: &World, one: &str, other: &str) {
    let one = world.hub.account(&jid(one)).await.unwrap().unwrap();
    let other = world.hub.account(&jid(other)).await.unwrap().unwrap();
    world.hub.befriend(&one, &other).unwrap();
}

#[tokio::test]
async fn who_is_introduced_is_agreed_to_once() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    bob.send("<presence to='alice@example.org' type='subscribed'/>").await;
    introduce(&world, "alice", "bob").await;
    for (device, contact, approved) in [(&alice, "bob", None), (&bob, "alice", Some("true"))] {
        let item = item(device, contact).await.unwrap();
        assert_eq!(item.attr("subscription"), Some("both"), "{contact}");
        // What people approve by hand stays approved (RFC 6121 §3.4.2).
        assert_eq!(item.attr("approved"), approved, "{contact}");
    }
}

#[tokio::test]
async fn whoever_takes_a_removed_name_is_let_in_by_nobody() {
    for leaves_memory in [false, true] {
        let world = World::with(&["alice", "invited", "approver", "asker"]).await;
        let alice = world.online("alice", "phone").await;
        introduce(&world, "alice", "invited").await;
        for (name, kind) in [("approver", "subscribed"), ("asker", "subscribe")] {
            let device = world.online(name, "desk").await;
            device.send(&format!("<presence to='alice@example.org' type='{kind}'/>")).await;
            device.lose_connection();
        }
        if leaves_memory {
            world.pass(AN_HOUR);
            assert!(world.hub.resident(&jid("approver")).is_none());
        }
        world.hub.remove_account(&alice.session.cell).await.unwrap();
        world.store.create(&jid("alice"), &[], 1).await.unwrap();
        let stranger = world.online("alice", "phone").await;
        for contact in ["invited", "approver"] {
            stranger.send(&format!("<presence to='{contact}@example.org' type='subscribe'/>")).await;
            assert_eq!(subscription(&stranger, contact).await.as_deref(), Some("none"), "{contact}");
        }
        stranger.send("<presence to='asker@example.org' type='subscribed'/>").await;
        let asker = world.online("asker", "desk").await;
        assert_eq!(subscription(&asker, "alice").await.as_deref(), Some("none"));
    }
}

#[tokio::test]
async fn nothing_is_agreed_with_who_is_being_removed() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    world.store.hold();
    let removing = world.hub.remove_account(&alice.session.cell);
    let mut removing = std::pin::pin!(removing);
    let moment = Duration::from_millis(20);
    assert!(
        tokio::time::timeout(moment, &mut removing).await.is_err(),
        "it waits for what is not stored yet"
    );
    // Each has agreed to the other's request; it comes too late for one of them.
    alice.send("<presence to='bob@example.org' type='subscribe'/>").await;
    alice.send("<presence to='bob@example.org' type='subscribed'/>").await;
    bob.send("<presence to='alice@example.org' type='subscribed'/>").await;
    bob.send("<presence to='alice@example.org' type='subscribe'/>").await;
    assert!(world.hub.befriend(&alice.session.cell, &bob.session.cell).is_err());
    let again = world.hub.remove_account(&alice.session.cell).await;
    assert!(matches!(again, Err(StoreError::Unavailable(_))), "{again:?}");
    world.store.release();
    removing.await.unwrap();
    let left = item(&bob, "alice").await;
    let left = left.map(|item| (item.attr("subscription") != Some("none"), item.attr("approved").is_some()));
    assert!(matches!(left, None | Some((false, false))), "{left:?}");
    world.store.create(&jid("alice"), &[], 1).await.unwrap();
    let again = world.hub.remove_account(&alice.session.cell).await;
    assert!(matches!(again, Err(StoreError::NotFound)), "it would remove somebody else's: {again:?}");
}

#[tokio::test]
async fn an_account_whose_removal_fails_early_is_in_memory_once() {
    let world = World::with(&["alice", "bob", "carol"]).await;
    let alice = world.online("alice", "phone").await;
    for contact in ["bob", "carol"] {
        introduce(&world, "alice", contact).await;
    }
    world.pass(AN_HOUR);
    world.store.spoil(&jid("carol"), Some(StoreError::Unavailable));
    let cell = alice.session.cell.clone();
    assert!(world.hub.remove_account(&cell).await.is_err());
    let known = world.hub.account(&jid("alice")).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&known, &cell), "two would number one log");
    alice.say("alice@example.org", "still here").await;
    assert_eq!(alice.bodies().await, ["still here"]);
    // What nobody can read keeps nobody from leaving.
    world.store.spoil(&jid("carol"), Some(StoreError::Corrupt));
    world.hub.remove_account(&cell).await.unwrap();
    assert!(world.hub.account(&jid("alice")).await.unwrap().is_none());
}

#[tokio::test]
async fn who_has_no_room_for_a_contact_is_not_introduced_by_half() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    let mut count = 0;
    for name in ["n".repeat(900), String::new()] {
        loop {
            let set = format!(
                "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>\
                 <item jid='{count}@b' name='{name}'/></query></iq>"
            );
            alice.send(&set).await;
            if alice.take().await.iter().any(|answer| answer.attr("type") == Some("error")) {
                break;
            }
            count += 1;
        }
    }
    assert!(world.hub.befriend(&alice.session.cell, &bob.session.cell).is_err());
    assert!(item(&bob, "alice").await.is_none());
}
