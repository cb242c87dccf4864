//! What keeps strangers and neighbours out, one story for each row of the list of threats that no other file has.

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{
    Database, Login, Mechanism, NS_SASL, NS_STREAMS, PASSWORD, Server, Start, Wire, chat, on_each_database,
};

on_each_database!(an_unknown_user_has_the_same_salt_for_ever);

async fn with(set: Vec<&'static str>) -> Server {
    Server::start(Start { database: Database::Sqlite, set }).await
}

/// What the server says to the first message of a SCRAM exchange, without its nonce.
async fn challenge(server: &Server, mechanism: &str, name: &str) -> String {
    let mut wire = server.secure().await;
    wire.open().await;
    let first = STANDARD.encode(format!("n,,n={name},r=nonce"));
    wire.send(&format!("<auth xmlns='{NS_SASL}' mechanism='{mechanism}'>{first}</auth>")).await;
    let challenge = wire.element().await;
    assert!(challenge.is("challenge", NS_SASL), "{challenge:?}");
    let text = String::from_utf8(STANDARD.decode(challenge.text()).unwrap()).unwrap();
    let parts: Vec<_> = text.split(',').filter(|part| !part.starts_with("r=")).collect();
    parts.join(",")
}

async fn an_unknown_user_has_the_same_salt_for_ever(database: Database) {
    let mut server = Server::start(database).await;
    server.account("alice").await;
    let ask = async |server: &Server| {
        let mut all = Vec::new();
        for mechanism in ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            for name in ["alice", "nobody", "somebody", "NOBODY"] {
                all.push(challenge(server, mechanism, name).await);
            }
        }
        all
    };
    let before = ask(&server).await;
    assert_eq!(ask(&server).await, before);
    server.restart().await;
    assert_eq!(ask(&server).await, before);
    for four in before.chunks(4) {
        assert_eq!(four[1], four[3], "two spellings of one name");
        assert_ne!(four[1], four[2]);
        // Salts of one length, and one count.
        let shape = |text: &str| {
            let part = |key| text.split(',').find_map(|part| part.strip_prefix(key)).unwrap().to_owned();
            (part("s=").len(), part("i="))
        };
        assert!(four.iter().all(|text| shape(text) == shape(&four[0])), "{four:?}");
    }
}

/// XEP-0138: what is compressed can be a bomb, and tells by its size what else is in it.
#[tokio::test]
async fn nothing_is_compressed() {
    const COMPRESS: &str =
        "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>";
    let server = with(vec![]).await;
    server.account("alice").await;
    let mut clear = server.connect().await;
    let mut offers = vec![clear.open().await];
    let mut secure = server.secure().await;
    offers.push(secure.open().await);
    let Login { wire, features } = server.log_in("alice").await;
    offers.push(features);
    for offer in &offers {
        let text = String::from(offer);
        assert!(!text.contains("compress"), "{text}");
    }
    let mut bound = server.online("alice", "phone").await;
    bound.send(COMPRESS).await;
    assert_eq!(bound.error().await, "unsupported-stanza-type");
    for mut wire in [clear, secure, wire] {
        wire.send(COMPRESS).await;
        let error = wire.element().await;
        assert!(error.is("error", NS_STREAMS), "{error:?}");
    }
}

/// RFC 6121 §2.1.6: only the own server changes the list of contacts.
#[tokio::test]
async fn nobody_else_changes_the_list_of_contacts() {
    let server = with(vec![]).await;
    let mut alice = server.device("alice").await;
    let mut mallory = server.device("mallory").await;
    let query = "<query xmlns='jabber:iq:roster' ver='9'><item jid='mallory@example.org' subscription='both'/></query>";
    alice.get("<query xmlns='jabber:iq:roster'/>").await;
    for to in ["alice@example.org/device", "alice@example.org"] {
        for kind in ["set", "result"] {
            mallory.send(&format!("<iq type='{kind}' id='push' to='{to}'>{query}</iq>")).await;
        }
    }
    mallory.settle().await;
    mallory.send(&chat("alice", "end")).await;
    loop {
        let element = alice.next().await;
        assert!(!element.children().any(|child| child.ns() == "jabber:iq:roster"), "{element:?}");
        if element.get_child("body", "jabber:client").is_some_and(|body| body.text() == "end") {
            break;
        }
    }
    let roster = alice.get("<query xmlns='jabber:iq:roster'/>").await;
    assert!(!String::from(&roster).contains("mallory"), "{roster:?}");
}

#[tokio::test]
async fn the_files_of_the_server_are_its_own() {
    let server = with(vec![]).await;
    let mode = |name: &str| std::fs::metadata(server.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("data"), 0o700);
    assert_eq!(mode("data/unisono.sock"), 0o600);
    // Each connection is a descriptor: the harness starts the server with few, and it takes what it may have.
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid().as_raw_nonzero())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[0], words[1], "{line}");
    assert_ne!(words[0], "256", "{line}");
}

#[tokio::test]
async fn what_is_not_wanted_for_a_login_is_not_offered() {
    let server = with(vec!["login.mechanisms=SCRAM-SHA-256", "limits.auth_attempts=3"]).await;
    server.account("alice").await;
    let mut wire = server.secure().await;
    let features = wire.open().await;
    let offered = features.get_child("mechanisms", NS_SASL).unwrap().children();
    let offered: Vec<_> = offered.map(minidom::Element::text).collect();
    assert_eq!(offered, ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
    for (name, condition) in [("PLAIN", "mechanism-too-weak"), ("SCRAM-SHA-1", "mechanism-too-weak")] {
        let mechanism = Mechanism::new(name, None);
        let Err((again, got)) = Login::run(wire, mechanism, "alice", PASSWORD).await else {
            panic!("{name} is switched off")
        };
        assert_eq!(got, condition, "{name}");
        wire = again;
    }
    // The third failure is the last one here.
    let usual = Mechanism::new("SCRAM-SHA-256", None);
    let Err((mut wire, _)) = Login::run(wire, usual, "alice", "wrong").await else { panic!("let in") };
    let error = wire.element().await;
    assert!(error.has_child("policy-violation", "urn:ietf:params:xml:ns:xmpp-streams"), "{error:?}");
    let mut wire = server.secure().await;
    wire.open().await;
    assert!(Login::run(wire, usual, "alice", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn an_account_has_so_many_sessions() {
    let server = with(vec!["limits.sessions_per_account=2"]).await;
    let [phone, _laptop] = server.devices("alice").await;
    let mut wire = server.log_in("alice").await.wire;
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    wire.send(bind).await;
    let refusal = wire.element().await;
    assert!(String::from(&refusal).contains("<resource-constraint"), "{refusal:?}"); // RFC 6120 §7.6.2.1
    phone.close().await;
    wire.send(bind).await;
    assert_eq!(wire.element().await.attr("type"), Some("result"));
}

#[tokio::test]
async fn strangers_do_not_fill_the_log() {
    let mut server = with(vec![]).await;
    let knock = async |server: &Server| {
        let mut wire: Wire = server.connect().await;
        wire.send("GET / HTTP/1.1\r\n\r\n").await;
        while wire.next().await != crate::harness::Arrival::End {}
    };
    for _ in 0..30 {
        knock(&server).await;
    }
    let log = server.logged("the next ones are counted").await;
    assert_eq!(log.matches("stream ends by an error").count(), 10, "{log}");
    let name = "unisono_client_stream_errors_total{condition=\"not-well-formed\"}";
    assert_eq!(server.metric(name).await.to_bits(), 30.0_f64.to_bits());
    // What somebody else does is told all the same.
    let mut alice = server.device("alice").await;
    alice.send("<nothing xmlns='urn:example:nothing'/>").await;
    assert_eq!(alice.error().await, "unsupported-stanza-type");
    server.logged("condition=\"unsupported-stanza-type\"").await;
}
