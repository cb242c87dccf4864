//! One order on all devices (promise P1), however a message comes to them.

use crate::harness::{Database, Device, Library, Said, Server, chat, on_each_database};

on_each_database!(
    a_message_reaches_both_devices_once_with_one_id,
    both_sides_agree_on_the_order_of_a_dialogue,
    pages_from_the_end_have_the_order_of_the_live_stream,
    a_client_library_of_others_hears_the_same,
);

async fn a_message_reaches_both_devices_once_with_one_id(database: Database) {
    let server = Server::start(database).await;
    let [mut phone, mut laptop] = server.devices("alice").await;
    let mut bob = server.device("bob").await;
    bob.send(&chat("alice", "hello")).await;
    bob.send(&chat("alice", "end")).await;
    let hello = phone.hears("hello").await;
    assert!(hello.stanza_id.is_some());
    assert_eq!(hello, laptop.hears("hello").await);
    // Same sender, same road (RFC 6120 §10.1): a second copy would come first.
    phone.hears("end").await;
    laptop.hears("end").await;
}

async fn both_sides_agree_on_the_order_of_a_dialogue(database: Database) {
    let server = Server::start(database).await;
    let [mut phone, mut laptop] = server.devices("alice").await;
    let mut bob = server.device("bob").await;
    for turn in 0..20 {
        phone.send(&chat("bob", &format!("phone {turn}"))).await;
        bob.send(&chat("alice", &format!("bob {turn}"))).await;
        laptop.send(&chat("bob", &format!("laptop {turn}"))).await;
    }
    for device in [&mut phone, &mut laptop] {
        device.settle().await;
    }
    bob.settle().await;
    bob.send(&chat("alice", "end")).await;
    let on_phone = phone.hears_until("end").await;
    let on_laptop = laptop.hears_until("end").await;
    let archive = phone.archive_after(None).await;
    assert_eq!(archive.len(), 61);
    assert_eq!(laptop.archive_after(None).await, archive);
    // A device is shown what it did not say itself, in the order of the archive.
    assert_eq!(on_phone, without(&archive, &phone));
    assert_eq!(on_laptop, without(&archive, &laptop));
}

/// An archive without what a device said itself.
fn without(archive: &[Said], device: &Device) -> Vec<Said> {
    archive.iter().filter(|said| said.from != device.jid).cloned().collect()
}

async fn pages_from_the_end_have_the_order_of_the_live_stream(database: Database) {
    let server = Server::start(database).await;
    let mut phone = server.online("alice", "phone").await;
    let mut bob = server.device("bob").await;
    for number in 0..50 {
        bob.send(&chat("alice", &number.to_string())).await;
    }
    let live = phone.hears_until("49").await;
    phone.close().await;
    // The newest page first, then backwards, as a client does that shows the end of a conversation.
    let mut laptop = server.bind("alice", "laptop").await;
    let mut pages = Vec::new();
    let mut before = "<before/>".to_owned();
    loop {
        let page = laptop.page(&[], &format!("<max>7</max>{before}")).await;
        before = format!("<before>{}</before>", page.first.unwrap());
        pages.push(page.said);
        if page.is_complete {
            break;
        }
    }
    pages.reverse();
    assert_eq!(pages.concat(), live);
}

async fn a_client_library_of_others_hears_the_same(database: Database) {
    let server = Server::start(database).await;
    let mut alice = Library::online(&server, "alice").await;
    let mut phone = server.online("alice", "phone").await;
    let mut bob = Library::online(&server, "bob").await;
    for number in 0..10 {
        alice.say("bob", &format!("a{number}")).await;
    }
    for number in 0..10 {
        assert_eq!(bob.hears().await, format!("a{number}"));
        phone.hears(&format!("a{number}")).await;
    }
    bob.say("alice", "thanks").await;
    assert_eq!(alice.hears().await, "thanks");
    phone.hears("thanks").await;
    alice.close().await;
    bob.close().await;
}
