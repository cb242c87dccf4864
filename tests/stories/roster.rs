//! Contacts: one list on all devices (RFC 6121 §2 and §3), and whom one does not want to hear (XEP-0191).

use minidom::Element;

use crate::harness::{Database, Device, Server, chat, on_each_database};

const NS_ROSTER: &str = "jabber:iq:roster";
const NS_BLOCKING: &str = "urn:xmpp:blocking";

on_each_database!(
    a_contact_reaches_all_devices_and_a_returning_one_gets_what_changed,
    two_people_get_to_know_each_other,
    a_block_is_known_to_all_devices,
);

/// A device that asked for its contacts, and the version it has.
async fn with_roster(server: &Server, name: &str, resource: &str, version: &str) -> (Device, Element) {
    let mut device = server.bind(name, resource).await;
    let answer = device.get(&format!("<query xmlns='{NS_ROSTER}' ver='{version}'/>")).await;
    device.be_online().await;
    (device, answer)
}

/// The next roster push: its item and its version.
async fn push(device: &mut Device) -> (Element, String) {
    let push = device.find(|element| element.has_child("query", NS_ROSTER)).await;
    assert_eq!(push.attr("type"), Some("set"));
    let query = push.get_child("query", NS_ROSTER).unwrap();
    (query.get_child("item", NS_ROSTER).unwrap().clone(), query.attr("ver").unwrap().to_owned())
}

async fn a_contact_reaches_all_devices_and_a_returning_one_gets_what_changed(database: Database) {
    let mut server = Server::start(database).await;
    let (mut phone, _) = with_roster(&server, "alice", "phone", "").await;
    let (mut laptop, _) = with_roster(&server, "alice", "laptop", "").await;
    let item = "<item jid='bob@example.org' name='Bob'><group>Friends</group></item>";
    phone.set(&format!("<query xmlns='{NS_ROSTER}'>{item}</query>")).await;
    let on_phone = push(&mut phone).await;
    assert_eq!(push(&mut laptop).await, on_phone);
    assert_eq!((on_phone.0.attr("jid"), on_phone.0.attr("name")), (Some("bob@example.org"), Some("Bob")));
    laptop.close().await;
    phone.set(&format!("<query xmlns='{NS_ROSTER}'><item jid='carol@example.org'/></query>")).await;
    let (_, newest) = push(&mut phone).await;
    server.restart().await;
    // §2.6: who has the newest version is told nothing, who has another gets what changed, or all of it.
    let (_, answer) = with_roster(&server, "alice", "phone", &newest).await;
    assert_eq!(answer.children().count(), 0);
    let (mut laptop, answer) = with_roster(&server, "alice", "laptop", &on_phone.1).await;
    if let Some(all) = answer.get_child("query", NS_ROSTER) {
        let jids: Vec<_> = all.children().filter_map(|item| item.attr("jid")).collect();
        assert_eq!(jids, ["bob@example.org", "carol@example.org"]);
        assert_eq!(all.attr("ver"), Some(newest.as_str()));
    } else {
        let (item, version) = push(&mut laptop).await;
        assert_eq!((item.attr("jid"), version), (Some("carol@example.org"), newest));
    }
}

/// The next presence of a type from somebody else.
async fn presence(device: &mut Device, kind: Option<&str>, from: &str) -> Element {
    device
        .find(|element| {
            element.name() == "presence"
                && element.attr("type") == kind
                && element.attr("from").is_some_and(|jid| jid.starts_with(from))
        })
        .await
}

async fn two_people_get_to_know_each_other(database: Database) {
    let server = Server::start(database).await;
    let (mut phone, _) = with_roster(&server, "alice", "phone", "").await;
    let (mut laptop, _) = with_roster(&server, "alice", "laptop", "").await;
    let (mut bob, _) = with_roster(&server, "bob", "phone", "").await;
    phone.send("<presence to='bob@example.org' type='subscribe'/>").await;
    for device in [&mut phone, &mut laptop] {
        let (item, _) = push(device).await;
        assert_eq!((item.attr("subscription"), item.attr("ask")), (Some("none"), Some("subscribe")));
    }
    presence(&mut bob, Some("subscribe"), "alice@example.org").await;
    bob.send("<presence to='alice@example.org' type='subscribed'/>").await;
    bob.send("<presence to='alice@example.org' type='subscribe'/>").await;
    for device in [&mut phone, &mut laptop] {
        let (item, _) = push(device).await;
        assert_eq!((item.attr("subscription"), item.attr("ask")), (Some("to"), None));
        presence(device, None, "bob@example.org/phone").await;
    }
    presence(&mut laptop, Some("subscribe"), "bob@example.org").await;
    laptop.send("<presence to='bob@example.org' type='subscribed'/>").await;
    for device in [&mut phone, &mut laptop] {
        assert_eq!(push(device).await.0.attr("subscription"), Some("both"));
    }
    presence(&mut bob, None, "alice@example.org/").await;
    presence(&mut bob, None, "alice@example.org/").await;
    drop(bob); // and the connection breaks
    presence(&mut phone, Some("unavailable"), "bob@example.org/phone").await;
    presence(&mut laptop, Some("unavailable"), "bob@example.org/phone").await;
}

async fn a_block_is_known_to_all_devices(database: Database) {
    let mut server = Server::start(database).await;
    let [mut phone, mut laptop] = server.devices("alice").await;
    let mut mallory = server.device("mallory").await;
    for device in [&mut phone, &mut laptop] {
        device.get(&format!("<blocklist xmlns='{NS_BLOCKING}'/>")).await;
    }
    let item = "<item jid='mallory@example.org'/>";
    phone.set(&format!("<block xmlns='{NS_BLOCKING}'>{item}</block>")).await;
    for device in [&mut phone, &mut laptop] {
        let push = device.find(|element| element.has_child("block", NS_BLOCKING)).await;
        assert_eq!(push.attr("type"), Some("set"));
    }
    mallory.send(&chat("alice", "blocked")).await;
    let refused = mallory.message().await;
    assert_eq!(refused.attr("type"), Some("error")); // XEP-0191 §3.2
    server.restart().await;
    let mut phone = server.online("alice", "phone").await;
    let list = phone.get(&format!("<blocklist xmlns='{NS_BLOCKING}'/>")).await;
    assert_eq!(list.children().flat_map(Element::children).count(), 1);
    phone.set(&format!("<unblock xmlns='{NS_BLOCKING}'>{item}</unblock>")).await;
    let mut mallory = server.device("mallory").await;
    mallory.send(&chat("alice", "heard")).await;
    phone.hears("heard").await;
}
