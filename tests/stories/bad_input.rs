//! What is wrong gets the error that its specification names, and nobody else notices.

use crate::harness::{
    Arrival, DOMAIN, Database, Device, NS_SASL, NS_STREAM_ERRORS, NS_STREAMS, PASSWORD, Server, Start, Wire,
    chat, condition, on_each_database, plain,
};

on_each_database!(
    what_is_no_stream_ends_before_it_begins,
    what_breaks_a_stream_ends_it_and_no_other,
    a_wrong_stanza_is_answered_and_the_stream_goes_on,
    nobody_speaks_in_the_name_of_an_archive,
    a_restart_cannot_change_the_host,
);

/// What the server says at the end of a stream.
async fn last_word(wire: &mut Wire) -> String {
    loop {
        match wire.next().await {
            Arrival::Element(error) if error.is("error", NS_STREAMS) => {
                let condition = error.children().find(|child| child.has_ns(NS_STREAM_ERRORS)).unwrap();
                let condition = condition.name().to_owned();
                assert_eq!(wire.next().await, Arrival::Close);
                assert_eq!(wire.next().await, Arrival::End);
                return condition;
            }
            Arrival::Open(_) | Arrival::Element(_) => {}
            other => panic!("no error came but {other:?}"),
        }
    }
}

async fn what_is_no_stream_ends_before_it_begins(database: Database) {
    let server = Server::start(database).await;
    let stream = |attributes: &str| format!("<stream:stream {attributes}");
    let xmlns = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'";
    for (bytes, want) in [
        (
            stream(&format!("to='{DOMAIN}' version='1.0' xmlns='jabber:client' xmlns:stream='urn:x'>")),
            "invalid-namespace",
        ),
        (
            stream(&format!(
                "to='{DOMAIN}' version='1.0' xmlns='urn:x' xmlns:stream='http://etherx.jabber.org/streams'>"
            )),
            "invalid-namespace",
        ),
        (stream(&format!("to='example.net' version='1.0' {xmlns}>")), "host-unknown"), // RFC 6120 §4.9.3.6
        (stream(&format!("to='{DOMAIN}' {xmlns}>")), "unsupported-version"),           // §4.9.3.25
        (stream(&format!("to='{DOMAIN}' version='1.0' {xmlns}><message/>")), "not-authorized"), // §4.9.3.12
        (stream(&format!("to='{DOMAIN}' version='1.0' {xmlns}><iq type='get' id='1'/>")), "not-authorized"),
        ("<?xml version='1.0'?><!DOCTYPE x><x/>".to_owned(), "restricted-xml"), // §4.9.3.18
        ("<a></b>".to_owned(), "invalid-namespace"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "not-well-formed"), // §4.9.3.13
    ] {
        for is_secure in [false, true] {
            let mut wire = if is_secure { server.secure().await } else { server.connect().await };
            wire.send(&bytes).await;
            assert_eq!(last_word(&mut wire).await, want, "{bytes}");
        }
    }
}

async fn what_breaks_a_stream_ends_it_and_no_other(database: Database) {
    let mut server = Server::start(database).await;
    let mut witness = server.online("alice", "phone").await;
    let mut bob = server.device("bob").await;
    let deep = "<a>".repeat(2000);
    let large = "x".repeat(300 * 1024);
    // Each child would have to say again what its prefix stands for.
    let repeats = |length: usize, count: usize| {
        let (ns, children) = ("n".repeat(length), "<p:a/>".repeat(count));
        format!("<message to='alice@{DOMAIN}' xmlns:p='urn:{ns}'><body>x</body>{children}</message>")
    };
    for (number, (bytes, want)) in [
        ("<message><body></message>".to_owned(), "not-well-formed"),
        ("<message>&unknown;</message>".to_owned(), "restricted-xml"), /* RFC 6120 §11.1 */
        ("<message><!-- comment --></message>".to_owned(), "restricted-xml"),
        ("<?instruction?>".to_owned(), "restricted-xml"),
        ("<message xmlns='jabber:server'/>".to_owned(), "invalid-namespace"),
        ("<x:message/>".to_owned(), "not-well-formed"),
        ("<nothing xmlns='urn:example:nothing'/>".to_owned(), "unsupported-stanza-type"),
        (format!("<message><body>{large}</body></message>"), "policy-violation"),
        (format!("<message to='alice@{DOMAIN}'>{deep}"), "policy-violation"),
        (repeats(170_000, 8_000), "policy-violation"),
        (repeats(250, 8_000), "policy-violation"),
        (
            format!("<message from='bob@{DOMAIN}' to='alice@{DOMAIN}'><body>x</body></message>"),
            "invalid-from",
        ),
        (format!("<presence from='mallory@{DOMAIN}/other'/>"), "invalid-from"),
        ("<message id='1' id='2'/>".to_owned(), "not-well-formed"),
        ("text between stanzas".to_owned(), "invalid-xml"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut mallory = server.online("mallory", "device").await;
        // The connection may end before everything is written.
        let _ = mallory.wire.try_send(&bytes).await;
        let got = last_word(&mut mallory.wire).await;
        let shown: String = bytes.chars().take(60).collect();
        assert_eq!(got, want, "{shown}");
        bob.send(&chat("alice", &number.to_string())).await;
        witness.hears(&number.to_string()).await;
    }
    // Each is worth one line, and the log does not repeat what was sent.
    let log = server.logged("condition=\"invalid-xml\"").await;
    assert_eq!(log.matches("stream ends by an error").count(), 15, "{log}");
    assert!(!log.contains(&large[..1000]), "the log repeats what was sent");
}

/// Sends a stanza, and returns the condition of its error.
async fn refused(device: &mut Device, stanza: &str) -> String {
    device.send(stanza).await;
    let error = device.find(|element| element.attr("type") == Some("error")).await;
    condition(&error)
}

async fn a_wrong_stanza_is_answered_and_the_stream_goes_on(database: Database) {
    let server = Server::start(database).await;
    let mut alice = server.device("alice").await;
    server.account("bob").await;
    for (stanza, want) in [
        ("<message to='@example.org' id='1'><body>x</body></message>", "jid-malformed"), // RFC 6120 §8.3.3.8
        ("<message to='a@b@c' id='1'><body>x</body></message>", "jid-malformed"),
        ("<presence to='example.org/' id='1'/>", "jid-malformed"),
        ("<iq type='get' id='1' to='bob@example.org'><a xmlns='urn:x'/></iq>", "service-unavailable"), // RFC 6121 §8.5.1
        ("<iq type='get' id='1' to='example.org'><a xmlns='urn:x'/></iq>", "service-unavailable"), // RFC 6120 §8.4
        ("<iq type='get' id='1'><a xmlns='urn:x'/></iq>", "service-unavailable"),
        ("<iq type='get' id='1'/>", "bad-request"), // §8.2.3
        ("<iq type='get' id='1'><a xmlns='urn:x'/><b xmlns='urn:x'/></iq>", "bad-request"),
        ("<iq type='what' id='1'><a xmlns='urn:x'/></iq>", "bad-request"),
        ("<iq type='get'><a xmlns='urn:x'/></iq>", "bad-request"),
        (
            "<message to='nobody@example.org' type='chat' id='1'><body>x</body></message>",
            "service-unavailable",
        ),
        (
            "<message to='bob@example.net' type='chat' id='1'><body>x</body></message>",
            "remote-server-not-found",
        ),
        ("<iq type='get' id='1' to='bob@example.org/none'><a xmlns='urn:x'/></iq>", "service-unavailable"), // RFC 6121 §8.5.3.2.3
    ] {
        assert_eq!(refused(&mut alice, stanza).await, want, "{stanza}");
        alice.settle().await;
    }
}

async fn nobody_speaks_in_the_name_of_an_archive(database: Database) {
    let server = Server::start(database).await;
    let mut alice = server.device("alice").await;
    let mut mallory = server.device("mallory").await;
    mallory
        .send(
            "<message to='alice@example.org' type='chat'><body>forged</body>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='alice@example.org' id='forged'/></message>",
        )
        .await;
    let forged = alice.message().await;
    let ids: Vec<_> = forged.children().filter(|child| child.name() == "stanza-id").collect();
    assert_eq!(ids.len(), 1); // XEP-0359 §4
    assert_ne!(ids[0].attr("id"), Some("forged"));
    // What looks like a copy or a result of the own account does not come from others (XEP-0280 §11, XEP-0313 §6).
    for (wrapper, ns) in
        [("received", "urn:xmpp:carbons:2"), ("sent", "urn:xmpp:carbons:2"), ("result", "urn:xmpp:mam:2")]
    {
        mallory
            .send(&format!(
                "<message to='alice@example.org' type='chat'><{wrapper} xmlns='{ns}'>\
                 <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' \
                 from='bob@example.org/phone' to='alice@example.org/device' type='chat'>\
                 <body>never said</body></message></forwarded></{wrapper}></message>"
            ))
            .await;
    }
    mallory.send(&chat("alice", "end")).await;
    alice.hears("end").await;
}

async fn a_restart_cannot_change_the_host(database: Database) {
    let set = vec!["server.domains=[\"example.org\",\"example.com\"]"];
    let server = Server::start(Start { database, set }).await;
    server.account("alice").await;
    let mut wire = server.secure().await;
    wire.open().await;
    let login = plain("", "alice", PASSWORD);
    wire.send(&format!("<auth xmlns='{NS_SASL}' mechanism='PLAIN'>{login}</auth>")).await;
    assert!(wire.element().await.is("success", NS_SASL));
    let mut clear = server.connect().await;
    clear.open().await;
    let mut secured = clear.start_tls(server.tls()).await.unwrap();
    secured.header("to='example.com' version='1.0'").await;
    assert_eq!(last_word(&mut secured).await, "not-authorized");
    // Who was authenticated for one host is nobody at another.
    wire.header("to='example.com' version='1.0'").await;
    assert_eq!(last_word(&mut wire).await, "not-authorized");
}
