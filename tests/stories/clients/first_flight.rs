//! A phone as Conversations has it: SASL2 with all that is inline, a token, and afterwards one flight that brings it back.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minidom::Element;

use super::asking::{NS_BOOKMARKS, NS_DISPLAYED, PRIVATE, finds, publish};
use crate::harness::{
    Arrival, DOMAIN, Database, Device, Lost, Mechanism, NS_SASL, NS_SASL2, NS_SM, NS_STREAMS, PASSWORD,
    Server, Wire, authenticate, chat, on_each_database,
};

on_each_database!(a_phone_is_back_with_all_that_it_missed_in_its_first_flight);

const AGENT: &str = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>Conversations</software>\
                     <device>A phone</device></user-agent>";
const BIND: &str = "<bind xmlns='urn:xmpp:bind:0'><tag>Conversations</tag><enable xmlns='urn:xmpp:carbons:2'/>\
                    <enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>";
const NS_FAST: &str = "urn:xmpp:fast:0";
const NS_BIND: &str = "urn:xmpp:bind:0";
/// Bound to the connection.
const MECHANISM: &str = "HT-SHA-256-EXPR";

async fn a_phone_is_back_with_all_that_it_missed_in_its_first_flight(database: Database) {
    let mut server = Server::start(database).await;
    let mut bob = server.device("bob").await;
    let (mut phone, token) = first_login(&server).await;
    sets_up(&mut phone).await;
    let mut laptop = server.online("alice", "laptop").await;
    // Nobody looks at it: typing does not wake it, a message does.
    phone.settle().await;
    phone.wire.send("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    phone.settle().await;
    let typing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    bob.send(&format!("<message to='alice@{DOMAIN}' type='chat'>{typing}</message>")).await;
    bob.send(&chat("alice", "1")).await;
    let first = phone.message().await;
    assert!(first.children().any(|child| child.name() == "body"), "{first:?}");
    phone.settle().await;
    let lost = phone.lose();
    bob.send(&chat("alice", "2")).await;
    laptop.send(&chat("bob", "3")).await;
    bob.hears("3").await;

    let mut phone = come_back(&server, &token, lost).await;
    assert_eq!(phone.hears("2").await.from, bob.jid);
    phone.hears("3").await;
    // The session is the same: copies come, and it is in view again.
    laptop.send(&chat("bob", "4")).await;
    phone.hears("4").await;
    laptop.send("<presence><show>away</show></presence>").await;
    phone.find(|element| element.name() == "presence" && element.attr("from") == Some(&laptop.jid)).await;

    // Where the session is gone with the server, the same flight brings a new one, and the archive the rest.
    let newest = phone.archive_after(None).await.pop().unwrap().stanza_id.unwrap();
    server.kill9().await;
    let (_, lost) = phone.outlive().await;
    server.boot().await;
    server.device("bob").await.send(&chat("alice", "5")).await;
    let mut phone = begin_anew(&server, &token, &lost).await;
    laptop = server.online("alice", "laptop").await;
    laptop.send(&chat("bob", "6")).await;
    laptop.settle().await;
    let missed = phone.archive_after(Some(&newest)).await;
    assert_eq!(missed.iter().map(|said| said.body.as_str()).collect::<Vec<_>>(), ["5", "6"]);

    // With another password, the token is worth nothing.
    let end = server.run(&format!("user passwd alice@{DOMAIN} --password-stdin"), "battery staple\n").await;
    assert!(end.status.success(), "{end:?}");
    assert_ne!(phone.error().await, "conflict");
    let (_, failure) = flight(&server, &token, "").await;
    assert!(
        failure.is("failure", NS_SASL2) && failure.has_child("credentials-expired", NS_SASL),
        "{failure:?}"
    );
}

/// By password, with everything asked for at once. The token for the next time comes with it.
async fn first_login(server: &Server) -> (Device, String) {
    server.account("alice").await;
    let mut wire = server.secure().await;
    let features = wire.open().await;
    can_fly(&features);
    let wish = format!("<request-token xmlns='{NS_FAST}' mechanism='{MECHANISM}'/>");
    let mechanism = Mechanism::new("SCRAM-SHA-512-PLUS", Some("tls-exporter"));
    let more = format!("{AGENT}{BIND}{wish}");
    let success = authenticate(&mut wire, mechanism, ("alice", PASSWORD), &more).await;
    assert!(success.is("success", NS_SASL2), "{success:?}");
    let jid = success.get_child("authorization-identifier", NS_SASL2).unwrap().text();
    assert!(jid.starts_with(&format!("alice@{DOMAIN}/Conversations")), "{jid}");
    let bound = success.get_child("bound", NS_BIND).unwrap();
    assert!(bound.has_child("metadata", "urn:xmpp:mam:2"));
    let enabled = bound.get_child("enabled", NS_SM).unwrap();
    let token = success.get_child("token", NS_FAST).unwrap().attr("token").unwrap().to_owned();
    let features = wire.element().await;
    assert!(features.is("features", NS_STREAMS) && features.has_child("c", "urn:xmpp:caps"), "{features:?}");
    let mut phone = Device::new(wire, jid);
    enabled.attr("id").unwrap().clone_into(&mut phone.counts.get_or_insert_default().id);
    (phone, token)
}

/// What Conversations wants to see before it authenticates in its first flight.
fn can_fly(features: &Element) {
    let inline =
        features.get_child("authentication", NS_SASL2).and_then(|all| all.get_child("inline", NS_SASL2));
    let inline = inline.unwrap();
    let fast = inline.get_child("fast", NS_FAST).unwrap();
    assert!(fast.children().any(|mechanism| mechanism.text() == MECHANISM), "{fast:?}");
    assert!(inline.has_child("sm", NS_SM));
    let binds = inline.get_child("bind", NS_BIND).and_then(|bind| bind.get_child("inline", NS_BIND)).unwrap();
    for wanted in ["urn:xmpp:carbons:2", "urn:xmpp:csi:0", NS_SM] {
        assert!(binds.children().any(|feature| feature.attr("var") == Some(wanted)), "{wanted}");
    }
}

/// What it asks once, and what it keeps in nodes if it may.
async fn sets_up(phone: &mut Device) {
    let account = phone.bare().to_owned();
    let private = "http://jabber.org/protocol/pubsub";
    let (options, max) = (format!("{private}#publish-options"), format!("{private}#config-node-max"));
    let of_account = [
        &options,
        &max,
        "urn:xmpp:mam:2",
        "urn:xmpp:mam:2#extended",
        "urn:xmpp:sid:0",
        "urn:xmpp:push:0",
        "urn:xmpp:bookmarks:1#compat",
        "urn:xmpp:mds:server-assist:0",
        "urn:xmpp:pep-vcard-conversion:0",
    ];
    finds(phone, &account, &of_account).await;
    let of_domain = [
        "urn:xmpp:carbons:2",
        "urn:xmpp:blocking",
        "urn:xmpp:reporting:1",
        "urn:xmpp:extdisco:2",
        "http://jabber.org/protocol/commands",
        "http://jabber.org/protocol/offline",
    ];
    finds(phone, DOMAIN, &of_domain).await;
    phone.get("<query xmlns='jabber:iq:roster'/>").await;
    phone.get("<blocklist xmlns='urn:xmpp:blocking'/>").await;
    phone.send("<presence/>").await;
    let room = format!("<conference xmlns='{NS_BOOKMARKS}' autojoin='true'/>");
    publish(phone, (NS_BOOKMARKS, "room@rooms.example.net"), &room, &PRIVATE).await.unwrap();
    let seen = "<stanza-id xmlns='urn:xmpp:sid:0' by='room@rooms.example.net' id='1'/>";
    let seen = format!("<displayed xmlns='{NS_DISPLAYED}'>{seen}</displayed>");
    publish(phone, (NS_DISPLAYED, "room@rooms.example.net"), &seen, &PRIVATE).await.unwrap();
    assert!(phone.page(&[], "<max>10</max>").await.is_complete);
}

/// Header and token go out before anything has come, and the session is taken up.
async fn come_back(server: &Server, token: &str, lost: Lost) -> Device {
    let (id, handled) = (&lost.counts.id, lost.counts.handled);
    let resume = format!("<resume xmlns='{NS_SM}' previd='{id}' h='{handled}'/>{BIND}");
    let (wire, success) = flight(server, token, &resume).await;
    assert!(success.is("success", NS_SASL2), "{success:?}");
    let proof = success.get_child("additional-data", NS_SASL2).unwrap().text();
    assert_eq!(STANDARD.decode(proof).unwrap(), hashed(token, "Responder", &wire.bindings.exporter));
    let resumed = success.get_child("resumed", NS_SM).unwrap_or_else(|| panic!("{success:?}"));
    assert_eq!(resumed.attr("h"), Some(lost.counts.sent().to_string().as_str()), "all had arrived");
    assert!(!success.has_child("bound", NS_BIND));
    let mut phone = Device::new(wire, lost.jid);
    phone.counts = Some(lost.counts);
    phone
}

/// The same where the server does not know the session: a resource is bound instead.
async fn begin_anew(server: &Server, token: &str, lost: &Lost) -> Device {
    let resume =
        format!("<resume xmlns='{NS_SM}' previd='{}' h='{}'/>{BIND}", lost.counts.id, lost.counts.handled);
    let (mut wire, success) = flight(server, token, &resume).await;
    let failed = success.get_child("failed", NS_SM).unwrap_or_else(|| panic!("{success:?}"));
    let arrived: u32 = failed.attr("h").expect("what had arrived is known").parse().unwrap();
    assert!((lost.counts.acked..=lost.counts.sent()).contains(&arrived), "{arrived}");
    let bound = success.get_child("bound", NS_BIND).unwrap();
    let enabled = bound.get_child("enabled", NS_SM).unwrap();
    let jid = success.get_child("authorization-identifier", NS_SASL2).unwrap().text();
    assert_eq!(jid, lost.jid, "the installation is the same");
    assert!(wire.element().await.is("features", NS_STREAMS));
    let mut phone = Device::new(wire, jid);
    enabled.attr("id").unwrap().clone_into(&mut phone.counts.get_or_insert_default().id);
    phone
}

/// What comes of a login by token for which nothing was waited for.
async fn flight(server: &Server, token: &str, more: &str) -> (Wire, Element) {
    let mut wire = server.secure().await;
    let proof = hashed(token, "Initiator", &wire.bindings.exporter);
    let message = STANDARD.encode([b"alice\0".as_slice(), &proof].concat());
    wire.header(&format!("to='{DOMAIN}' version='1.0'")).await;
    wire.send(&format!(
        "<authenticate xmlns='{NS_SASL2}' mechanism='{MECHANISM}'><initial-response>{message}</initial-response>\
         {AGENT}<fast xmlns='{NS_FAST}' count='1'/>{more}</authenticate>"
    ))
    .await;
    assert!(matches!(wire.next().await, Arrival::Open(_)));
    can_fly(&wire.element().await);
    let end = wire.element().await;
    (wire, end)
}

/// draft-schmaus-kitten-sasl-ht
fn hashed(token: &str, role: &str, binding: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
    hmac::sign(&key, &[role.as_bytes(), binding].concat()).as_ref().to_vec()
}
