//! Programs that serve a domain of their own (XEP-0114), by a client that shares no code with the server but SHA-1.

use crate::harness::{Database, NS_ACCEPT as NS, Program, Server, Start, chat};

async fn server() -> Server {
    let set = vec![
        "components.listen=127.0.0.1:0",
        r#"components.allow=[{ name = "echo.example.org", secret = "hush" }]"#,
    ];
    Server::start(Start { database: Database::Sqlite, set }).await
}

#[tokio::test]
async fn people_and_a_component_write_to_each_other() {
    let server = server().await;
    let mut echo = Program::connected(&server, "echo.example.org").await;
    let [mut phone, mut laptop] = server.devices("alice").await;
    phone.send(&chat("bot@echo.example.org", "hello")).await;
    let heard = echo.next("message").await;
    assert_eq!(heard.attr("to"), Some("bot@echo.example.org"));
    assert_eq!(heard.attr("from"), Some(phone.jid.as_str()));
    assert_eq!(heard.get_child("body", NS).unwrap().text(), "hello");
    laptop.hears("hello").await; // as a carbon
    echo.send(
        "<message from='bot@echo.example.org/x' to='alice@example.org' type='chat' id='e1'><body>hello too</body></message>",
    )
    .await;
    let (on_phone, on_laptop) = (phone.hears("hello too").await, laptop.hears("hello too").await);
    assert_eq!(on_phone.stanza_id, on_laptop.stanza_id);
    assert!(on_phone.stanza_id.is_some());
    // Both are in the archive, in this order.
    let archived = phone.archive_after(None).await;
    let bodies: Vec<_> = archived.iter().map(|said| said.body.as_str()).collect();
    assert_eq!(bodies, ["hello", "hello too"]);
    // To nobody there is an error.
    echo.send("<message from='echo.example.org' to='ghost@example.org' id='e2'><body>?</body></message>")
        .await;
    let error = echo.next("message").await;
    assert_eq!((error.attr("type"), error.attr("id")), (Some("error"), Some("e2")));
}

#[tokio::test]
async fn requests_go_both_ways_and_answers_only_where_they_were_asked_for() {
    let server = server().await;
    let mut echo = Program::connected(&server, "echo.example.org").await;
    let mut alice = server.device("alice").await;
    let jid = alice.jid.clone();
    alice.send("<iq type='get' id='v1' to='echo.example.org'><query xmlns='jabber:iq:version'/></iq>").await;
    let asked = echo.next("iq").await;
    assert_eq!((asked.attr("id"), asked.attr("from")), (Some("v1"), Some(jid.as_str())));
    // One that nobody asked for, one of another id, and the right one.
    for id in ["v0", "v2", "v1", "v1"] {
        echo.send(&format!(
            "<iq type='result' id='{id}' from='echo.example.org' to='{jid}'><query xmlns='jabber:iq:version'/></iq>"
        ))
        .await;
    }
    echo.send(&format!("<message from='echo.example.org' to='{jid}' type='chat'><body>end</body></message>"))
        .await;
    let answer = alice.find(|stanza| stanza.name() == "iq").await;
    assert_eq!((answer.attr("id"), answer.attr("from")), (Some("v1"), Some("echo.example.org")));
    alice.hears("end").await;
    let more = alice.take_waiting(|stanza| stanza.name() == "iq");
    assert!(more.is_empty(), "{more:?}");

    // The component asks the server, an account, and a device that it does not see.
    for (to, id) in [("example.org", "d1"), (jid.as_str(), "d2"), ("ghost@example.org/x", "d3")] {
        echo.send(&format!(
            "<iq type='get' id='{id}' from='bot@echo.example.org' to='{to}'><ping xmlns='urn:xmpp:ping'/></iq>"
        ))
        .await;
    }
    echo.until("<iq type='result' id='d1'").await;
    let unseen = echo.next("iq").await;
    let absent = echo.next("iq").await;
    for (error, id) in [(unseen, "d2"), (absent, "d3")] {
        assert_eq!((error.attr("type"), error.attr("id")), (Some("error"), Some(id)));
        let error = error.get_child("error", NS).unwrap();
        assert!(error.has_child("service-unavailable", "urn:ietf:params:xml:ns:xmpp-stanzas"), "{error:?}");
    }
}

#[tokio::test]
async fn a_component_can_be_subscribed_to() {
    let server = server().await;
    let mut echo = Program::connected(&server, "echo.example.org").await;
    let mut alice = server.device("alice").await;
    alice.get("<query xmlns='jabber:iq:roster'/>").await;
    alice.send("<presence to='bot@echo.example.org' type='subscribe'/>").await;
    echo.until("type='subscribe'").await;
    for kind in ["subscribed", "subscribe"] {
        echo.send(&format!("<presence from='bot@echo.example.org' to='alice@example.org' type='{kind}'/>"))
            .await;
    }
    alice.find(|stanza| stanza.attr("type") == Some("subscribe")).await;
    alice.send("<presence to='bot@echo.example.org' type='subscribed'/>").await;
    echo.until("type='subscribed'").await;
    // It sees that she is there, is shown to her, and learns that she goes.
    echo.until(&format!("from='{}'", alice.jid)).await;
    echo.send(
        "<presence from='bot@echo.example.org/x' to='alice@example.org'><status>here</status></presence>",
    )
    .await;
    let shown = alice.find(|stanza| stanza.attr("from") == Some("bot@echo.example.org/x")).await;
    assert_eq!(shown.name(), "presence");
    alice.close().await;
    echo.until("type='unavailable'").await;
}

#[tokio::test]
async fn who_does_not_know_the_secret_is_no_component() {
    let server = server().await;
    let mut wrong = Program::open(&server, "echo.example.org").await;
    wrong.shake_hands("guess").await;
    wrong.until("<not-authorized ").await;
    let mut unknown = Program::open(&server, "other.example.org").await;
    unknown.until("<host-unknown ").await;
    let mut early = Program::open(&server, "echo.example.org").await;
    early.send("<message from='echo.example.org' to='alice@example.org'/>").await;
    early.until("<not-authorized ").await;
    let mut first = Program::connected(&server, "echo.example.org").await;
    let mut second = Program::open(&server, "echo.example.org").await;
    second.shake_hands("hush").await;
    second.until("<conflict ").await;
    first.send("<message from='alice@example.org' to='bob@example.org'/>").await;
    first.until("<invalid-from ").await;
    let mut third = Program::connected(&server, "echo.example.org").await;
    third.send("<message from='echo.example.org'/>").await;
    third.until("<improper-addressing ").await;
    // Nobody is there any more.
    let mut alice = server.device("alice").await;
    let absent = alice.ask("get", Some("echo.example.org"), "<ping xmlns='urn:xmpp:ping'/>").await;
    assert_eq!(crate::harness::condition(&absent), "remote-server-not-found");
}

/// More than may wait of what can be refused.
const AT_ONCE: usize = 1_500;

#[tokio::test]
async fn whatever_a_component_asks_at_once_is_answered() {
    let server = server().await;
    let mut echo = Program::connected(&server, "echo.example.org").await;
    let asked = (0..AT_ONCE).map(|number| {
        format!(
            "<iq type='get' id='q{number}' from='echo.example.org' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>"
        )
    });
    echo.send(&asked.collect::<String>()).await;
    for number in 0..AT_ONCE {
        let answer = echo.until("/>").await;
        let is_it = answer.contains("type='result'") && answer.contains(&format!("id='q{number}'"));
        assert!(is_it, "{number}: {answer}");
    }
}
