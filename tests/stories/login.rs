//! Who may come in, and how (RFC 6120 §5 and §6, XEP-0440).

use crate::harness::{
    DOMAIN, Database, Device, Login, Mechanism, NS_SASL, NS_SASL2, NS_SM, NS_STREAMS, PASSWORD, Server,
    authenticate, chat, on_each_database,
};

on_each_database!(
    every_mechanism_lets_the_owner_in_and_nobody_else,
    a_login_needs_tls,
    both_ways_to_tls_lead_to_the_same_server,
    who_is_in_is_offered_the_rest,
    somebody_unknown_looks_like_a_wrong_password,
    the_newer_session_wins_a_resource,
    a_login_brings_all_that_was_asked_for,
    a_session_goes_on_with_the_login,
);

const MECHANISMS: [Mechanism; 10] = [
    Mechanism::new("SCRAM-SHA-1", None),
    Mechanism::new("SCRAM-SHA-256", None),
    Mechanism::new("SCRAM-SHA-512", None),
    Mechanism::new("SCRAM-SHA-1-PLUS", Some("tls-exporter")),
    Mechanism::new("SCRAM-SHA-256-PLUS", Some("tls-exporter")),
    Mechanism::new("SCRAM-SHA-512-PLUS", Some("tls-exporter")),
    Mechanism::new("SCRAM-SHA-1-PLUS", Some("tls-server-end-point")),
    Mechanism::new("SCRAM-SHA-256-PLUS", Some("tls-server-end-point")),
    Mechanism::new("SCRAM-SHA-512-PLUS", Some("tls-server-end-point")),
    Mechanism::new("PLAIN", None),
];

async fn every_mechanism_lets_the_owner_in_and_nobody_else(database: Database) {
    let server = Server::start(database).await;
    server.account("alice").await;
    for mechanism in MECHANISMS {
        let mut wire = server.secure().await;
        let features = wire.open().await;
        let offered = features.get_child("mechanisms", NS_SASL).unwrap();
        assert!(offered.children().any(|offer| offer.text() == mechanism.name), "{mechanism:?}");
        // XEP-0440 §3, rule 1; rule 7: there is a stronger one.
        let bindings = features.get_child("sasl-channel-binding", "urn:xmpp:sasl-cb:0").unwrap();
        let types: Vec<_> = bindings.children().filter_map(|binding| binding.attr("type")).collect();
        assert_eq!(types, ["tls-exporter", "tls-server-end-point"]);
        let Err((wire, condition)) = Login::run(wire, mechanism, "alice", "wrong").await else {
            panic!("{mechanism:?} lets anybody in")
        };
        assert_eq!(condition, "not-authorized", "{mechanism:?}");
        // RFC 6120 §6.4.5: the stream goes on, and so does the client.
        let Ok(login) = Login::run(wire, mechanism, "alice", PASSWORD).await else {
            panic!("{mechanism:?} does not let the owner in")
        };
        let mut device = login.bind("phone").await;
        assert_eq!(device.jid, format!("alice@{DOMAIN}/phone"));
        device.settle().await;
    }
}

async fn a_login_needs_tls(database: Database) {
    let server = Server::start(database).await;
    server.account("alice").await;
    let mut wire = server.connect().await;
    let features = wire.open().await;
    let names: Vec<_> = features.children().map(|feature| feature.name().to_owned()).collect();
    assert_eq!(names, ["starttls"]);
    wire.send(&format!("<auth xmlns='{NS_SASL}' mechanism='PLAIN'>AGFsaWNlAHg=</auth>")).await;
    let failure = wire.element().await;
    assert!(failure.has_child("encryption-required", NS_SASL), "{failure:?}");
    assert!(wire.element().await.is("error", NS_STREAMS));
}

async fn both_ways_to_tls_lead_to_the_same_server(database: Database) {
    let server = Server::start(database).await;
    let mut laptop = server.online("alice", "laptop").await;
    for mechanism in MECHANISMS {
        let mut wire = server.connect().await;
        wire.open().await;
        let mut wire = wire.start_tls(server.tls()).await.unwrap();
        wire.open().await;
        let Ok(login) = Login::run(wire, mechanism, "alice", PASSWORD).await else {
            panic!("{mechanism:?} does not let the owner in")
        };
        let mut phone = login.bind("phone").await;
        phone.be_online().await;
        laptop.send(&chat("alice", mechanism.name)).await;
        phone.hears(mechanism.name).await;
        phone.close().await;
    }
}

async fn who_is_in_is_offered_the_rest(database: Database) {
    let server = Server::start(database).await;
    let login = server.log_in("alice").await;
    for (name, ns) in [
        ("bind", "urn:ietf:params:xml:ns:xmpp-bind"),
        ("sm", "urn:xmpp:sm:3"),
        ("csi", "urn:xmpp:csi:0"),
        ("limits", "urn:xmpp:stream-limits:0"),
        ("ver", "urn:xmpp:features:rosterver"),
        ("sub", "urn:xmpp:features:pre-approval"),
    ] {
        assert!(login.features.has_child(name, ns), "{name}: {}", String::from(&login.features));
    }
    assert!(!login.features.has_child("mechanisms", NS_SASL));
}

async fn somebody_unknown_looks_like_a_wrong_password(database: Database) {
    let server = Server::start(database).await;
    let mut wire = server.secure().await;
    wire.open().await;
    let Err((_, condition)) = Login::run(wire, Mechanism::USUAL, "nobody", PASSWORD).await else {
        panic!("nobody is let in")
    };
    assert_eq!(condition, "not-authorized");
}

async fn the_newer_session_wins_a_resource(database: Database) {
    let server = Server::start(database).await;
    let mut old = server.online("alice", "phone").await;
    let mut laptop = server.online("alice", "laptop").await;
    let mut new = server.online("alice", "phone").await;
    assert_eq!(old.error().await, "conflict");
    let gone =
        |kind| move |element: &minidom::Element| element.attr("type") == kind && element.name() == "presence";
    laptop.find(gone(Some("unavailable"))).await;
    laptop.find(gone(None)).await;
    new.settle().await;
    laptop.settle().await;
}

const AGENT: &str = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>";
const BIND: &str = "<bind xmlns='urn:xmpp:bind:0'><tag>A</tag><enable xmlns='urn:xmpp:carbons:2'/>\
                    <enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>";

/// The address that a success names.
fn identity(success: &minidom::Element) -> String {
    success.get_child("authorization-identifier", NS_SASL2).unwrap().text()
}

async fn a_login_brings_all_that_was_asked_for(database: Database) {
    let server = Server::start(database).await;
    let mut laptop = server.online("alice", "laptop").await;
    let mut resource = None;
    for mechanism in MECHANISMS {
        let mut wire = server.secure().await;
        let features = wire.open().await;
        let offer = features.get_child("authentication", NS_SASL2).unwrap();
        assert!(offer.children().any(|offer| offer.text() == mechanism.name), "{mechanism:?}");
        let more = format!("{AGENT}{BIND}");
        let failure = authenticate(&mut wire, mechanism, ("alice", "wrong"), &more).await;
        assert!(
            failure.is("failure", NS_SASL2) && failure.has_child("not-authorized", NS_SASL),
            "{failure:?}"
        );
        let success = authenticate(&mut wire, mechanism, ("alice", PASSWORD), &more).await;
        let jid = identity(&success);
        assert!(success.has_child("bound", "urn:xmpp:bind:0"), "{success:?}");
        assert_eq!(*resource.get_or_insert(jid.clone()), jid, "{mechanism:?}");
        assert!(wire.element().await.is("features", NS_STREAMS));
        let mut phone = Device::new(wire, jid);
        laptop.send(&chat(&format!("alice@{DOMAIN}"), mechanism.name)).await;
        phone.hears(mechanism.name).await;
        phone.close().await;
    }
}

async fn a_session_goes_on_with_the_login(database: Database) {
    let mut server = Server::start(database).await;
    server.account("alice").await;
    let mut wire = server.secure().await;
    wire.open().await;
    let alice = ("alice", PASSWORD);
    let success = authenticate(&mut wire, Mechanism::USUAL, alice, &format!("{AGENT}{BIND}")).await;
    let bound = success.get_child("bound", "urn:xmpp:bind:0").unwrap();
    let enabled = bound.get_child("enabled", NS_SM).unwrap();
    let (jid, id) = (identity(&success), enabled.attr("id").unwrap());
    assert!(wire.element().await.is("features", NS_STREAMS));
    drop(wire);
    server.restart().await;
    let resume = format!("<resume xmlns='{NS_SM}' previd='{id}' h='0'/>");
    let mut wire = server.secure().await;
    wire.open().await;
    let success = authenticate(&mut wire, Mechanism::USUAL, alice, &format!("{AGENT}{resume}{BIND}")).await;
    assert!(success.has_child("resumed", NS_SM) && !success.has_child("bound", "urn:xmpp:bind:0"));
    assert_eq!(identity(&success), jid);
    Device::new(wire, jid).settle().await;
    // What is not there any more is told, and the resource is bound.
    let resume = resume.replace(id, "nothing");
    let mut wire = server.secure().await;
    wire.open().await;
    let success = authenticate(&mut wire, Mechanism::USUAL, alice, &format!("{AGENT}{resume}{BIND}")).await;
    assert!(success.has_child("failed", NS_SM) && success.has_child("bound", "urn:xmpp:bind:0"));
}
