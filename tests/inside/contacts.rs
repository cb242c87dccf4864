//! Contacts whose account is not in memory at the moment.

use super::{Device, World, jid};
use std::time::Duration;

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
