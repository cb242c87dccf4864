//! What can wait does not wake a device that nobody looks at (XEP-0352).

use minidom::Element;

use crate::harness::{Database, Device, Server, Start, chat, on_each_database};

on_each_database!(
    an_inactive_device_is_woken_by_messages_alone,
    an_active_device_gets_what_was_held,
    an_operator_can_have_everything_sent
);

async fn show(device: &mut Device, show: &str) {
    device.send(&format!("<presence><show>{show}</show></presence>")).await;
    device.settle().await;
}

/// The kinds of what arrives, up to a message with a body.
async fn until_message(device: &mut Device) -> Vec<String> {
    let mut arrived = Vec::new();
    loop {
        let element = device.next().await;
        arrived.push(describe(&element));
        if element.children().any(|child| child.name() == "body") {
            return arrived;
        }
    }
}

fn describe(element: &Element) -> String {
    let text = element.children().map(Element::text).collect::<Vec<_>>().concat();
    format!("{} {text}", element.name())
}

async fn an_inactive_device_is_woken_by_messages_alone(database: Database) {
    let server = Server::start(database).await;
    let [mut phone, mut laptop] = server.devices("alice").await;
    let mut bob = server.device("bob").await;
    phone.settle().await;
    phone.take_waiting(|_| true);
    phone.wire.send("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    phone.settle().await;
    show(&mut laptop, "away").await;
    show(&mut laptop, "xa").await;
    let typing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    bob.send(&format!("<message to='alice@example.org' type='chat'>{typing}</message>")).await;
    bob.send(&chat("alice", "wake")).await;
    // Of presence the newest, of typing nothing, and the order is kept.
    assert_eq!(until_message(&mut phone).await, ["presence xa", "message wake"]);
}

async fn an_active_device_gets_what_was_held(database: Database) {
    let server = Server::start(database).await;
    let [mut phone, mut laptop] = server.devices("alice").await;
    phone.settle().await;
    phone.take_waiting(|_| true);
    phone.wire.send("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    phone.settle().await;
    show(&mut laptop, "dnd").await;
    phone.wire.send("<active xmlns='urn:xmpp:csi:0'/>").await;
    assert_eq!(describe(&phone.next().await), "presence dnd");
}

/// §3.2: the administrator decides whether it makes a difference.
async fn an_operator_can_have_everything_sent(database: Database) {
    let set = vec!["clients.when_inactive=everything"];
    let server = Server::start(Start { database, set }).await;
    let [mut phone, mut laptop] = server.devices("alice").await;
    phone.settle().await;
    phone.take_waiting(|_| true);
    phone.wire.send("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    phone.settle().await;
    show(&mut laptop, "away").await;
    assert_eq!(describe(&phone.next().await), "presence away");
}
