//! Two domains on one server: people meet across them, and an account is its whole address.

use minidom::Element;

use crate::harness::{
    Database, Device, Login, Mechanism, PASSWORD, Server, Start, chat, condition, on_each_database,
};

const OTHER: &str = "example.com";
const NS_BLOCKING: &str = "urn:xmpp:blocking";

on_each_database!(
    people_of_two_domains_meet,
    who_is_blocked_on_the_other_domain_is_not_heard,
    the_same_name_on_two_domains_is_two_accounts,
);

async fn two_domains(database: Database) -> Server {
    let set = vec!["server.domains=[\"example.org\",\"example.com\"]"];
    Server::start(Start { database, set }).await
}

/// A device of the second domain, online.
async fn other(server: &Server, name: &str, password: &str) -> Device {
    let add = format!("user add {name}@{OTHER} --password-stdin");
    let end = server.run(&add, &format!("{password}\n")).await;
    assert!(end.status.success(), "{end:?}");
    let mut wire = server.secure().await;
    wire.domain = OTHER;
    wire.open().await;
    let login = Login::run(wire, Mechanism::USUAL, name, password).await;
    let login = login.unwrap_or_else(|(_, condition)| panic!("{name} cannot log in: {condition}"));
    let mut device = login.bind("device").await;
    assert_eq!(device.jid, format!("{name}@{OTHER}/device"));
    device.be_online().await;
    device
}

/// The next presence of a type from an address.
async fn presence(device: &mut Device, kind: Option<&str>, from: &str) -> Element {
    let fits = |element: &Element| {
        element.name() == "presence" && element.attr("type") == kind && element.attr("from") == Some(from)
    };
    device.find(fits).await
}

async fn people_of_two_domains_meet(database: Database) {
    let server = two_domains(database).await;
    let mut alice = server.device("alice").await;
    let mut bob = other(&server, "bob", PASSWORD).await;
    // RFC 6121 §3.1.6: who has the roster is told what becomes of it.
    alice.get("<query xmlns='jabber:iq:roster'/>").await;
    alice.send("<presence to='bob@example.com' type='subscribe'/>").await;
    presence(&mut bob, Some("subscribe"), "alice@example.org").await;
    bob.send("<presence to='alice@example.org' type='subscribed'/>").await;
    presence(&mut alice, Some("subscribed"), "bob@example.com").await;
    presence(&mut alice, None, "bob@example.com/device").await;

    alice.send(&chat("bob@example.com", "hello")).await;
    bob.hears("hello").await;
    bob.send(&chat("alice@example.org", "good day")).await;
    alice.hears("good day").await;
    // Somebody of the same name elsewhere is somebody else.
    server.account("bob").await;
    alice.send(&chat("bob@example.org", "to the other")).await;
    alice.settle().await;
    for (device, with) in [(&mut alice, "bob@example.com"), (&mut bob, "alice@example.org")] {
        let page = device.page(&[("with", with)], "<max>10</max>").await;
        assert_eq!(page.bodies(), ["hello", "good day"], "with {with}");
    }
    let page = alice.page(&[("with", "bob@example.org")], "<max>10</max>").await;
    assert_eq!(page.bodies(), ["to the other"]);

    bob.close().await;
    presence(&mut alice, Some("unavailable"), "bob@example.com/device").await;
}

async fn who_is_blocked_on_the_other_domain_is_not_heard(database: Database) {
    let server = two_domains(database).await;
    let mut alice = server.device("alice").await;
    let mut bob = other(&server, "bob", PASSWORD).await;
    let mut namesake = server.device("bob").await;
    for (item, is_heard) in [("bob@example.com", false), ("example.com", false), ("bob@example.org", true)] {
        alice.set(&format!("<block xmlns='{NS_BLOCKING}'><item jid='{item}'/></block>")).await;
        bob.send(&chat("alice@example.org", item)).await;
        if is_heard {
            alice.hears(item).await;
        } else {
            assert_eq!(condition(&bob.message().await), "service-unavailable", "{item}");
            namesake.send(&chat("alice", &format!("not {item}"))).await;
            alice.hears(&format!("not {item}")).await;
        }
        alice.set(&format!("<unblock xmlns='{NS_BLOCKING}'/>")).await;
    }
}

async fn the_same_name_on_two_domains_is_two_accounts(database: Database) {
    let server = two_domains(database).await;
    let mut here = server.device("alice").await;
    let mut there = other(&server, "alice", "another password").await;
    // The password of one is none of the other.
    let mut wire = server.secure().await;
    wire.domain = OTHER;
    wire.open().await;
    let login = Login::run(wire, Mechanism::USUAL, "alice", PASSWORD).await;
    let Err((_, refused)) = login else { panic!("alice@{OTHER} has another password") };
    assert_eq!(refused, "not-authorized");

    let mut bob = server.device("bob").await;
    bob.send(&chat("alice@example.org", "to org")).await;
    bob.send(&chat("alice@example.com", "to com")).await;
    here.hears("to org").await;
    there.hears("to com").await;
    for (device, body) in [(&mut here, "to org"), (&mut there, "to com")] {
        let archive = device.archive_after(None).await;
        assert_eq!(archive.iter().map(|said| said.body.as_str()).collect::<Vec<_>>(), [body]);
    }
    // They can talk to each other: a message to the namesake is none to oneself.
    here.send(&chat("alice@example.com", "namesake")).await;
    assert_eq!(there.hears("namesake").await.from, "alice@example.org/device");

    here.set("<query xmlns='jabber:iq:roster'><item jid='carol@example.org'/></query>").await;
    let roster = there.get("<query xmlns='jabber:iq:roster'/>").await;
    assert_eq!(roster.children().flat_map(Element::children).count(), 0);
}
