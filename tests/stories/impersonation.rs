//! Somebody who says to be somebody else, one story for each row of the list of threats: of the name that he logs in with,
//! of what a server alone sends, and of what was agreed before.

use futures::future::join_all;
use minidom::Element;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{
    DOMAIN, Database, Device, Login, Mechanism, NS_CLIENT, NS_MAM, NS_SASL, NS_STREAM_ERRORS, NS_STREAMS,
    PASSWORD, Server, Start, Wire, chat, on_each_database, plain, query,
};

const NS_IDS: &str = "urn:xmpp:sid:0";
const NS_ROSTER: &str = "jabber:iq:roster";

on_each_database!(ids_that_others_made_are_taken_out_wherever_they_stand);

async fn with(set: Vec<&'static str>) -> Server {
    Server::start(Start { database: Database::Sqlite, set }).await
}

/// Whom alice may say to act for.
const WHOM: [(&str, bool); 10] = [
    ("", true),
    ("alice@example.org", true),
    ("ALICE@Example.ORG", true), // another spelling
    ("bob@example.org", false),
    ("nobody@example.org", false),
    ("alice@example.com", false), // a domain of this server, too
    ("alice@example.org/phone", false),
    ("alice", false),
    ("example.org", false),
    ("@", false),
];

/// THREATS: "Authorisation id".
#[tokio::test]
async fn nobody_comes_in_for_somebody_else() {
    let server = with(vec![
        "limits.auth_delay_max=0s",
        "limits.connections_per_ip_before_auth=0",
        "server.domains=[\"example.org\",\"example.com\"]",
    ])
    .await;
    for name in ["alice", "bob"] {
        server.account(name).await;
    }
    let bound =
        |name| ["tls-exporter", "tls-server-end-point"].map(|binding| Mechanism::new(name, Some(binding)));
    let plus = ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS"].map(bound);
    let others =
        ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"].map(|name| Mechanism::new(name, None));
    let all = plus.into_iter().flatten().chain(others);
    let tries = all.flat_map(|mechanism| WHOM.map(|(whom, is_right)| (mechanism, whom, is_right)));
    let tries = tries.enumerate().map(async |(number, (mechanism, whom, is_right))| {
        let mut wire = server.secure().await;
        wire.open().await;
        match Login::run_for(wire, mechanism, whom, "alice", PASSWORD).await {
            Ok(login) => {
                assert!(is_right, "{mechanism:?} lets alice act for {whom}");
                let device = login.bind(&number.to_string()).await;
                assert_eq!(device.jid, format!("alice@example.org/{number}"), "{mechanism:?} {whom}");
            }
            Err((_, condition)) => {
                let got = (is_right, condition.as_str());
                assert_eq!(got, (false, "invalid-authzid"), "{mechanism:?} {whom}");
            }
        }
    });
    join_all(tries).await;
}

/// THREATS: "STARTTLS injection".
#[tokio::test]
async fn nothing_that_was_said_before_tls_counts_inside_of_it() {
    let server = with(vec![]).await;
    server.account("alice").await;
    let login = plain("", "alice", PASSWORD);
    let auth = format!("<auth xmlns='{NS_SASL}' mechanism='PLAIN'>{login}</auth>");
    let header = format!(
        "<stream:stream to='{DOMAIN}' version='1.0' xmlns='{NS_CLIENT}' xmlns:stream='{NS_STREAMS}'>"
    );
    for more in [
        auth.clone().into_bytes(),
        format!("<?xml version='1.0'?>{header}{auth}").into_bytes(),
        b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_vec(),
        b"<".to_vec(),
        b"\x16\x03\x01\x02\x00\x01".to_vec(), // the beginning of a handshake
        b"\0".to_vec(),
    ] {
        let mut tcp = server.tcp().await;
        tcp.write_all(header.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"</stream:features>") {
            assert_ne!(tcp.read_buf(&mut said).await.unwrap(), 0);
        }
        let starttls = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
        tcp.write_all(&[starttls, more.as_slice()].concat()).await.unwrap();
        said.clear();
        tcp.read_to_end(&mut said).await.unwrap();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains("<proceed") && !said.contains("<success"), "{}: {said}", more.escape_ascii());
        assert!(said.ends_with("</stream:stream>"), "{}: {said}", more.escape_ascii());
    }
}

/// THREATS: "Stream reset".
#[tokio::test]
async fn a_restart_changes_nothing_that_was_agreed() {
    let server = with(vec!["server.domains=[\"example.org\",\"example.com\"]"]).await;
    server.account("alice").await;
    let authenticated = async || {
        let mut wire = server.secure().await;
        wire.header("to='example.org' version='1.0' xml:lang='de'").await;
        wire.next().await;
        wire.element().await;
        let login = plain("", "alice", PASSWORD);
        wire.send(&format!("<auth xmlns='{NS_SASL}' mechanism='PLAIN'>{login}</auth>")).await;
        assert!(wire.element().await.is("success", NS_SASL));
        wire
    };
    for (attributes, want) in [
        ("to='example.com' version='1.0'", "not-authorized"),
        ("to='example.net' version='1.0'", "host-unknown"),
        ("to='example.org' version='1.0' from='bob@example.org'", "invalid-from"),
        ("to='example.org' version='1.0' from='alice@example.com'", "invalid-from"),
        ("to='example.org' version='1.0' from='example.org'", "invalid-from"),
        ("to='example.org'", "unsupported-version"),
    ] {
        let mut wire = authenticated().await;
        wire.header(attributes).await;
        assert_eq!(error(&mut wire).await, want, "{attributes}");
    }
    for (ns, streams) in [("jabber:server", NS_STREAMS), (NS_CLIENT, "urn:x"), ("urn:x", NS_STREAMS)] {
        let mut wire = authenticated().await;
        wire.restart();
        let header =
            format!("<stream:stream to='{DOMAIN}' version='1.0' xmlns='{ns}' xmlns:stream='{streams}'>");
        wire.send(&header).await;
        assert_eq!(error(&mut wire).await, "invalid-namespace", "{ns} {streams}");
    }
    // Another language, and a form of the own address that is as good, are no other identity.
    let mut wire = authenticated().await;
    wire.header("to='EXAMPLE.org' version='1.0' xml:lang='fr' from='Alice@example.org'").await;
    wire.next().await;
    let features = wire.element().await;
    let mut device = Login { wire, features }.bind("desk").await;
    assert_eq!(device.jid, "alice@example.org/desk");
    // A stream begins where the protocol says so, and nowhere else.
    device.settle().await;
    let header = format!(
        "<stream:stream to='{DOMAIN}' version='1.0' xmlns='{NS_CLIENT}' xmlns:stream='{NS_STREAMS}'/>"
    );
    device.wire.send(&header).await;
    device.error().await;
}

/// What ends a stream.
async fn error(wire: &mut Wire) -> String {
    loop {
        if let crate::harness::Arrival::Element(element) = wire.next().await {
            let condition = element.children().find(|child| child.has_ns(NS_STREAM_ERRORS));
            return condition.unwrap_or_else(|| panic!("{element:?}")).name().to_owned();
        }
    }
}

/// Two who see each other.
async fn befriend(one: &mut Device, other: &mut Device) {
    // RFC 6121 §3.1.6: whoever has the list is told.
    for device in [&mut *one, &mut *other] {
        device.get(&format!("<query xmlns='{NS_ROSTER}'/>")).await;
    }
    let asks = |element: &Element| element.attr("type") == Some("subscribe");
    let agrees = |element: &Element| element.attr("type") == Some("subscribed");
    for _ in 0..2 {
        let to = other.bare().to_owned();
        one.send(&format!("<presence to='{to}' type='subscribe'/>")).await;
        other.find(asks).await;
        let to = one.bare().to_owned();
        other.send(&format!("<presence to='{to}' type='subscribed'/>")).await;
        one.find(agrees).await;
        std::mem::swap(one, other);
    }
}

/// Everything that arrives up to a message.
async fn until(device: &mut Device, body: &str) -> Vec<Element> {
    let mut all = Vec::new();
    loop {
        let element = device.next().await;
        let is_end = String::from(&element).contains(&format!(">{body}</body>"));
        all.push(element);
        if is_end {
            return all;
        }
    }
}

/// THREATS: "Roster push and IQ spoofing". Friends see each other's devices and may ask them, and no more.
#[tokio::test]
async fn a_friend_pushes_nothing_and_answers_what_was_asked_once() {
    let server = with(vec![]).await;
    let mut alice = server.device("alice").await;
    let mut mallory = server.device("mallory").await;
    let mut carol = server.device("carol").await;
    befriend(&mut alice, &mut mallory).await;
    befriend(&mut alice, &mut carol).await;
    mallory.send("<iq type='get' id='may-ask' to='alice@example.org/device'><a xmlns='urn:x'/></iq>").await;
    alice.find(|element| element.attr("id") == Some("may-ask")).await;

    // A push, and what looks like the answer to a request for the list.
    alice.send("<iq type='get' id='guessed' to='carol@example.org/device'><a xmlns='urn:x'/></iq>").await;
    carol.find(|element| element.attr("id") == Some("guessed")).await;
    let item = "<item jid='evil@example.org' subscription='both'/>";
    let roster = format!("<query xmlns='{NS_ROSTER}' ver='9'>{item}</query>");
    let removal =
        format!("<query xmlns='{NS_ROSTER}'><item jid='carol@example.org' subscription='remove'/></query>");
    for to in ["alice@example.org/device", "alice@example.org", "ALICE@example.org/device"] {
        for payload in [roster.as_str(), removal.as_str()] {
            for kind in ["set", "result", "error"] {
                for id in ["push", "may-ask", "request-1", "guessed"] {
                    mallory.send(&format!("<iq type='{kind}' id='{id}' to='{to}'>{payload}</iq>")).await;
                }
            }
        }
    }
    // And of an answer that somebody else is due.
    for kind in ["result", "error"] {
        mallory.send(&format!("<iq type='{kind}' id='guessed' to='alice@example.org/device'/>")).await;
    }
    mallory.settle().await;
    mallory.send(&chat("alice", "end")).await;
    let came = until(&mut alice, "end").await;
    assert!(!came.iter().any(|element| element.name() == "iq"), "{came:?}");

    // Who was asked answers, and not twice.
    for _ in 0..2 {
        carol.send("<iq type='result' id='guessed' to='alice@example.org/device'/>").await;
    }
    carol.send(&chat("alice", "answered")).await;
    let came = until(&mut alice, "answered").await;
    assert_eq!(came.iter().filter(|element| element.name() == "iq").count(), 1, "{came:?}");
    let list = String::from(&alice.get(&format!("<query xmlns='{NS_ROSTER}'/>")).await);
    assert!(list.contains("carol@example.org") && !list.contains("evil"), "{list}");
}

/// THREATS: "Carbons spoofing". A client that forgets to look at who sent a copy is safe all the same.
#[tokio::test]
async fn what_looks_like_a_copy_or_a_result_is_taken_out() {
    let server = with(vec![]).await;
    let [mut phone, mut laptop] = server.devices("alice").await;
    let mut mallory = server.device("mallory").await;
    befriend(&mut phone, &mut mallory).await;
    let forwarded = "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' type='chat' \
         from='alice@example.org/phone' to='bob@example.org'><body>never said</body></message></forwarded>";
    let mut number = 0;
    for (name, ns) in [
        ("sent", "urn:xmpp:carbons:2"),
        ("received", "urn:xmpp:carbons:2"),
        ("sent", "urn:xmpp:carbons:1"),
        ("received", "urn:xmpp:carbons:1"),
        ("result", "urn:xmpp:mam:2"),
        ("result", "urn:xmpp:mam:1"),
        ("fin", "urn:xmpp:mam:2"),
    ] {
        let wrapper = format!("<{name} xmlns='{ns}' id='1' queryid='q'>{forwarded}</{name}>");
        let body = |number: usize| format!("<body>body {number}</body>");
        for to in ["alice@example.org", "alice@example.org/phone"] {
            for kind in ["chat", "normal", "headline", "groupchat", "error"] {
                // Alone, before and after what is shown, and more than one.
                for content in [
                    wrapper.clone(),
                    format!("{wrapper}{}", body(number)),
                    format!("{}{wrapper}", body(number)),
                    format!("{wrapper}{}{wrapper}{wrapper}", body(number)),
                ] {
                    number += 1;
                    mallory
                        .send(&format!("<message to='{to}' type='{kind}' id='m{number}'>{content}</message>"))
                        .await;
                }
            }
        }
    }
    mallory.send(&chat("alice", "end")).await;
    for device in [&mut phone, &mut laptop] {
        let came = until(device, "end").await;
        let shown = came.iter().filter(|element| String::from(*element).contains("<body>body ")).count();
        assert!(shown > 100, "{shown} messages are shown");
        for element in &came {
            assert!(!String::from(element).contains("never said"), "{}", String::from(element));
        }
    }
    for stored in archive(&mut phone).await {
        assert!(!stored.contains("never said"), "{stored}");
    }
}

/// The results of all pages of an archive, as text.
async fn archive(device: &mut Device) -> Vec<String> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let answer = device.set(&query(&[], &format!("<max>50</max>{after}"))).await;
        let results = device.take_waiting(|element| element.has_child("result", NS_MAM));
        all.extend(results.iter().map(String::from));
        let fin = answer.get_child("fin", NS_MAM).unwrap();
        if fin.attr("complete") == Some("true") {
            return all;
        }
        let last = fin.get_child("set", "http://jabber.org/protocol/rsm").unwrap();
        after = format!(
            "<after>{}</after>",
            last.get_child("last", "http://jabber.org/protocol/rsm").unwrap().text()
        );
    }
}

/// THREATS: "Forged stanza-id": none, one, two and more of them, wherever they stand, however the address is spelled.
async fn ids_that_others_made_are_taken_out_wherever_they_stand(database: Database) {
    let server = Server::start(database).await;
    let [mut phone, mut laptop] = server.devices("alice").await;
    let mut mallory = server.device("mallory").await;
    let spellings = [
        "by='alice@example.org'",
        "by='Alice@EXAMPLE.org'",
        "by='alice@example.org/phone'",
        "by='alice@example.org.'",
        "by='\u{ff41}lice@example.org'",
        "by='alice@\u{ff45}xample.org'",
        "by='alice&#64;example.org'",
        "by=' alice@example.org'",
        "by='alice@example.org '",
        "by='mallory@example.org'",
        "by='example.org'",
        "by='@@'",
        "by=''",
        "",
    ];
    let foreign = "<stanza-id xmlns='urn:xmpp:sid:0' by='room@elsewhere.example' id='foreign'/>";
    let mut count = 0;
    for by in spellings {
        for (before, after) in [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (7, 7)] {
            let forged = |n| format!("<stanza-id xmlns='{NS_IDS}' {by} id='forged'/>").repeat(n);
            let (before, after) = (forged(before), forged(after));
            count += 1;
            let body = format!("<body>m {count}</body>");
            let to = if count % 2 == 0 { "alice@example.org" } else { "alice@example.org/phone" };
            mallory
                .send(&format!(
                    "<message to='{to}' type='chat' id='{count}'>{before}{foreign}{body}{after}</message>"
                ))
                .await;
        }
        // What no archive has gets no id, and keeps none.
        let forged = format!("<stanza-id xmlns='{NS_IDS}' {by} id='forged'/>");
        let hint =
            "<no-store xmlns='urn:xmpp:hints'/><active xmlns='http://jabber.org/protocol/chatstates'/>";
        mallory
            .send(&format!("<message to='alice@example.org' type='chat'>{forged}{hint}{forged}</message>"))
            .await;
    }
    mallory.send(&chat("alice", "end")).await;
    let genuine = |text: &str| text.matches("<stanza-id").count() - text.matches("id=\"foreign\"").count();
    for device in [&mut phone, &mut laptop] {
        let mut shown = 0;
        for element in until(device, "end").await {
            let text = String::from(&element).replace('\'', "\"");
            assert!(!text.contains("forged"), "{text}");
            let is_shown = text.contains("<body>m ");
            assert_eq!(genuine(&text), usize::from(is_shown || text.contains(">end<")), "{text}");
            assert!(!is_shown || text.contains("id=\"foreign\""), "{text}");
            shown += usize::from(is_shown);
        }
        assert_eq!(shown, count);
    }
    let stored = archive(&mut laptop).await;
    assert_eq!(stored.len(), count + 1);
    for text in stored {
        assert!(!text.contains("forged"), "{text}");
    }
}
