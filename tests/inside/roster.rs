//! Rosters: what they hold, and what a device learns that comes back (RFC 6121 §2).

use std::fmt::Write as _;

use unisono_core::roster::{BYTES_MAX, ITEMS_MAX, RosterItem};
use unisono_core::storage::{Commit, Journal, Write};

use super::presence::condition;
use super::*;

const NS: &str = "jabber:iq:roster";

/// Sets an item. The condition of the error, if it is one.
async fn set(device: &Device, item: &str) -> Option<String> {
    device.take().await;
    device.send(&format!("<iq type='set' id='s'><query xmlns='{NS}'>{item}</query></iq>")).await;
    let got = device.take().await;
    condition(got.iter().find(|stanza| stanza.attr("id") == Some("s")).unwrap())
}

/// Asks for the roster with a version. The items of the result, if it has any, and those of the pushes after it.
async fn get(device: &Device, version: &str) -> (Option<Vec<String>>, Vec<String>, String) {
    device.take().await;
    device.send(&format!("<iq type='get' id='g'><query xmlns='{NS}' ver='{version}'/></iq>")).await;
    let got = device.take().await;
    let (result, pushes) = got.split_first().unwrap();
    let named = |query: &Element| {
        let items = query.children();
        items.map(|item| item.attr("jid").unwrap().split('@').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let queries: Vec<_> = pushes.iter().map(|push| push.child("query", NS).unwrap()).collect();
    let whole = result.child("query", NS);
    let newest = queries.last().copied().or(whole).and_then(|query| query.attr("ver")).unwrap_or(version);
    (whole.map(named), queries.iter().flat_map(|query| named(query)).collect(), newest.to_owned())
}

/// How many rows the store has.
async fn rows(world: &World, name: &str) -> usize {
    world.store.load(&jid(name), &[]).await.unwrap().unwrap().roster.len()
}

#[tokio::test]
async fn a_device_with_an_old_roster_is_told_what_is_gone() {
    let world = World::with(&["alice"]).await;
    let phone = world.bind("alice", "phone").await;
    let (all, _, start) = get(&phone, "").await;
    assert_eq!(all, Some(vec![]));
    set(&phone, "<item jid='a@example.org'/>").await;
    set(&phone, "<item jid='b@example.org'/>").await;
    set(&phone, "<item jid='a@example.org' subscription='remove'/>").await;
    let world = world.crash().await;
    let phone = world.bind("alice", "phone").await;
    let (all, pushes, now) = get(&phone, &start).await;
    assert_eq!((all, pushes), (None, vec!["b".to_owned(), "a".to_owned()]));
    assert_eq!(get(&phone, &now).await, (None, vec![], now));
    for unknown in ["7", "x", "1-2", &"A".repeat(22)] {
        assert_eq!(get(&phone, unknown).await.0, Some(vec!["b".to_owned()]), "{unknown}");
    }
}

#[tokio::test]
async fn what_was_removed_long_ago_is_forgotten() {
    let world = World::with(&["alice"]).await;
    let phone = world.bind("alice", "phone").await;
    set(&phone, "<item jid='friend@example.org'/>").await;
    let (_, _, old) = get(&phone, "").await;
    let mut later = String::new();
    for n in 0..450 {
        set(&phone, &format!("<item jid='c{n}@example.org'/>")).await;
        set(&phone, &format!("<item jid='c{n}@example.org' subscription='remove'/>")).await;
        if n == 440 {
            later = get(&phone, "").await.2;
        }
    }
    let world = world.crash().await;
    assert!(rows(&world, "alice").await <= 202, "{}", rows(&world, "alice").await);
    let phone = world.bind("alice", "phone").await;
    let (all, pushes, now) = get(&phone, &old).await;
    assert_eq!((all, pushes), (Some(vec!["friend".to_owned()]), vec![]), "all of it, once");
    let want: Vec<_> = (441..450).map(|n| format!("c{n}")).collect();
    assert_eq!(get(&phone, &later).await, (None, want, now));
}

#[tokio::test]
async fn a_version_is_of_one_account() {
    let world = World::with(&["alice"]).await;
    let phone = world.bind("alice", "phone").await;
    set(&phone, "<item jid='old@example.org'/>").await;
    let (_, _, old) = get(&phone, "").await;
    world.hub.remove_account(&phone.session.cell).await.unwrap();
    world.store.create(&jid("alice"), &[], 1).await.unwrap();
    let phone = world.bind("alice", "phone").await;
    set(&phone, "<item jid='new@example.org'/>").await;
    assert_eq!(get(&phone, &old).await.0, Some(vec!["new".to_owned()]));
}

#[tokio::test]
async fn requests_leave_nothing_in_a_roster() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    for kind in ["unsubscribed", "subscribed"] {
        bob.send("<presence to='alice@example.org' type='subscribe'/>").await;
        assert_eq!(rows(&world, "alice").await, 0, "RFC 6121 §3.1.3, security warning");
        alice.send(&format!("<presence to='bob@example.org' type='{kind}'/>")).await;
    }
    assert_eq!(rows(&world, "alice").await, 1, "who was approved");
}

#[tokio::test]
async fn a_roster_has_a_size() {
    let world = World::with(&["alice"]).await;
    let phone = world.bind("alice", "phone").await;
    let item = |n: usize| {
        let groups = (0..100).fold(String::new(), |mut text, group| {
            write!(text, "<group>{group:01000}</group>").unwrap();
            text
        });
        format!("<item jid='c{n}@example.org'>{groups}</item>")
    };
    let many = BYTES_MAX / 100_100;
    for n in 0..many {
        assert_eq!(set(&phone, &item(n)).await, None, "{n}");
    }
    assert_eq!(set(&phone, &item(many)).await.as_deref(), Some("resource-constraint"));
    assert_eq!(set(&phone, &item(0)).await, None, "what is there may be set again");
    assert_eq!(set(&phone, "<item jid='c0@example.org'/>").await, None);
    assert_eq!(set(&phone, &item(many)).await, None, "a smaller one makes room");
}

#[tokio::test]
async fn a_full_roster_says_so() {
    let world = World::with(&["alice", "bob"]).await;
    let account = world.hub.account(&jid("alice")).await.unwrap().unwrap().id;
    let contacts =
        (0..ITEMS_MAX).map(|n| RosterItem { version: 1, ..RosterItem::new(jid(&format!("c{n}"))) });
    let writes = contacts.map(|item| Write::RosterItem { account, item }).collect();
    world.store.submit(Commit { writes, wake: Vec::new() });
    let world = world.crash().await;
    let alice = world.online("alice", "phone").await;
    let full = Some("resource-constraint");
    assert_eq!(set(&alice, "<item jid='bob@example.org'/>").await.as_deref(), full);
    assert_eq!(set(&alice, "<item jid='c7@example.org' name='Seven'/>").await, None);
    let bob = world.online("bob", "desk").await;
    bob.send("<presence to='alice@example.org' type='subscribe'/>").await;
    alice.take().await;
    for kind in ["subscribe", "subscribed"] {
        alice.send(&format!("<presence to='bob@example.org' type='{kind}'/>")).await;
        assert_eq!(alice.take().await.first().and_then(condition).as_deref(), full, "{kind}");
    }
    bob.take().await;
    set(&alice, "<item jid='c7@example.org' subscription='remove'/>").await;
    alice.send("<presence to='bob@example.org' type='subscribed'/>").await;
    assert_eq!(super::presence::presences(&bob.take().await), [("alice@example.org/phone", "")]);
    assert_eq!(super::contacts::subscription(&alice, "bob").await.as_deref(), Some("from"));
}
