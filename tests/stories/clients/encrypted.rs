//! Two people as they have Dino: SASL by RFC 6120 without channel binding, XEP-0198, copies, nodes of OMEMO that each
//! follows by what it announces, and an archive that is read back from its end.

use super::asking::{NS_EVENT, announce, befriend, finds, items, publish, told};
use crate::harness::{
    DOMAIN, Database, Device, Login, Mechanism, PASSWORD, Said, Server, on_each_database, said,
};

on_each_database!(encrypted_messages_find_every_device_also_one_that_comes_later);

const LIST: &str = "eu.siacs.conversations.axolotl.devicelist";
const BUNDLE: &str = "eu.siacs.conversations.axolotl.bundles:7";
const NS_OMEMO: &str = "eu.siacs.conversations.axolotl";
const NOTIFIED: [&str; 3] = [LIST, "urn:xmpp:avatar:metadata", "urn:xmpp:bookmarks:1"];
const OPEN: [(&str, &str); 2] = [("persist_items", "true"), ("access_model", "open")];

async fn encrypted_messages_find_every_device_also_one_that_comes_later(database: Database) {
    let server = Server::start(database).await;
    let mut alice = dino(&server, "alice", "dino.a").await;
    let mut bob = dino(&server, "bob", "dino.b").await;
    befriend(&mut alice, &mut bob).await;
    let bob_jid = bob.bare().to_owned();
    publish(&mut bob, (BUNDLE, "current"), &format!("<bundle xmlns='{NS_OMEMO}'/>"), &OPEN).await.unwrap();
    lists(&mut bob, &[7]).await;
    assert_eq!(devices(&told(&mut alice, &bob_jid, LIST).await), ["7"]);
    assert_eq!(items(&mut alice, &bob_jid, BUNDLE).await.unwrap().len(), 1);

    // What comes while her network is away is there when it is back, in order: messages, and another device of his.
    let lost = alice.lose();
    bob.send(&encrypted("alice", "1")).await;
    lists(&mut bob, &[7, 8]).await;
    bob.send(&encrypted("alice", "2")).await;
    bob.settle().await;
    let mut alice = server.resumed("alice", lost).await;
    let first = hears(&mut alice, "1").await;
    assert_eq!(devices(&told(&mut alice, &bob_jid, LIST).await), ["7", "8"]);
    let second = hears(&mut alice, "2").await;

    // Her laptop comes for the first time: the list of whom she sees, and the archive from its end, by one.
    let mut laptop = bound(&server, "alice", "dino.laptop").await;
    let read = back_to_the_start(&mut laptop).await;
    assert_eq!(read, [second, first], "the same ids as live");
    laptop.send("<presence/>").await;
    laptop.settle().await;
    let again = laptop.take_waiting(|element| said(element, "alice@example.org").is_some());
    assert!(again.is_empty(), "{again:?}");
    assert_eq!(devices(&items(&mut laptop, &bob_jid, LIST).await.unwrap()[0]), ["7", "8"]);

    // A call rings on both, and stops on one when the other takes it.
    let call = |name: &str, to: &str| {
        let call =
            format!("<{name} xmlns='urn:xmpp:jingle-message:0' id='c1'/><store xmlns='urn:xmpp:hints'/>");
        format!("<message to='{to}' type='chat' id='{name}'>{call}</message>")
    };
    bob.send(&call("propose", &format!("alice@{DOMAIN}"))).await;
    for device in [&mut alice, &mut laptop] {
        device.find(|element| element.attr("id") == Some("propose")).await;
    }
    laptop.send(&call("proceed", &bob.jid)).await;
    bob.find(|element| element.attr("id") == Some("proceed")).await;
    let copy = alice.find(|element| element.has_child("sent", "urn:xmpp:carbons:2")).await;
    assert!(String::from(&copy).contains("<proceed"), "{copy:?}");
}

/// On STARTTLS, with what Dino asks before it says that it is there.
async fn bound(server: &Server, name: &str, resource: &str) -> Device {
    server.account(name).await;
    let mut wire = server.connect().await;
    wire.open().await;
    let mut wire = wire.start_tls(server.tls()).await.unwrap();
    wire.open().await;
    let end = Login::run(wire, Mechanism::new("SCRAM-SHA-256", None), name, PASSWORD).await;
    let login = end.unwrap_or_else(|(_, condition)| panic!("{condition}"));
    let mut device = login.bind(resource).await;
    device.enable().await;
    device.get("<query xmlns='jabber:iq:roster'/>").await;
    finds(&mut device, DOMAIN, &["urn:xmpp:carbons:2"]).await;
    let account = device.bare().to_owned();
    finds(&mut device, &account, &["urn:xmpp:mam:2", "http://jabber.org/protocol/pubsub#publish-options"])
        .await;
    device.set("<enable xmlns='urn:xmpp:carbons:2'/>").await;
    device
}

async fn dino(server: &Server, name: &str, resource: &str) -> Device {
    let mut device = bound(server, name, resource).await;
    announce(&mut device, &format!("Dino of {name}"), &NOTIFIED).await;
    device
}

async fn lists(device: &mut Device, ids: &[u32]) {
    let list: Vec<_> = ids.iter().map(|id| format!("<device id='{id}'/>")).collect();
    let list = format!("<list xmlns='{NS_OMEMO}'>{}</list>", list.concat());
    publish(device, (LIST, "current"), &list, &OPEN).await.unwrap();
}

fn devices(item: &minidom::Element) -> Vec<String> {
    let list = item.get_child("list", NS_OMEMO).unwrap();
    list.children().map(|device| device.attr("id").unwrap().to_owned()).collect()
}

fn encrypted(to: &str, id: &str) -> String {
    format!(
        "<message to='{to}@{DOMAIN}' type='chat' id='{id}'><encrypted xmlns='{NS_OMEMO}'><header sid='7'/>\
         <payload>{id}</payload></encrypted><encryption xmlns='urn:xmpp:eme:0' namespace='{NS_OMEMO}'/>\
         <body>{id}</body><store xmlns='urn:xmpp:hints'/></message>"
    )
}

/// The next message, which nothing that a node tells comes before.
async fn hears(device: &mut Device, body: &str) -> Said {
    let account = device.bare().to_owned();
    let next = device.find(|element| element.name() == "message").await;
    assert!(!next.has_child("event", NS_EVENT), "{next:?}");
    let said = said(&next, &account).unwrap();
    assert_eq!(said.body, body);
    said
}

/// All that was ever said, the newest first.
async fn back_to_the_start(device: &mut Device) -> Vec<Said> {
    let mut read = Vec::new();
    let mut before = "<before/>".to_owned();
    loop {
        let page = device.page(&[("start", "1970-01-01T00:00:00Z")], &format!("<max>1</max>{before}")).await;
        read.extend(page.said.into_iter().rev());
        if page.is_complete {
            return read;
        }
        before = format!("<before>{}</before>", page.first.expect("it goes on"));
    }
}
