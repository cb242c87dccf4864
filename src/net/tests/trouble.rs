//! What clients do wrong, by mistake or on purpose.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use unisono_core::extension::{Entity, Registry};
use unisono_core::stanza::IqType;
use unisono_net::{Limits, Rate, Security};
use unisono_store::MemoryStore;

use crate::client::Client;
use crate::server::{Server, jid};

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

#[tokio::test]
async fn each_mistake_ends_its_stream_and_no_other() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut other = server.device("alice", "other").await;
    let deep = "<x xmlns='urn:x'>".repeat(70);
    for (text, condition) in [
        ("<message from='bob@example.org'/>", "invalid-from"), // RFC 6120 §4.9.3.9
        ("<message from='alice@example.org/other'/>", "invalid-from"),
        ("<pubsub/>", "unsupported-stanza-type"), // §4.9.3.24
        ("<x xmlns='urn:example:none'/>", "unsupported-stanza-type"),
        ("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "unsupported-stanza-type"),
        ("<message xmlns='jabber:server'/>", "invalid-namespace"), // §4.9.3.10
        ("<message></iq>", "not-well-formed"),                     // §4.9.3.13
        ("<message a='1' a='2'/>", "not-well-formed"),
        ("<message><!-- x --></message>", "restricted-xml"), // §4.9.3.18
        ("<message>&nbsp;</message>", "restricted-xml"),
        ("<a:message/>", "not-well-formed"), // §11.3, rule 4
        ("<message><foo:body>What is this foo?</foo:body></message>", "not-well-formed"), // §4.9.3.13
        ("text", "invalid-xml"),             // §4.9.3.11
        (&format!("<message><body>{}</body></message>", "x".repeat(300_000)), "policy-violation"),
        (&format!("<message>{deep}"), "policy-violation"), // §13.12
    ] {
        let mut device = server.device("alice", "phone").await;
        device.try_send(text).await;
        let end = device.rest().await;
        let want = format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
        assert!(end.contains(&want), "{condition}: {end}");
        assert!(end.ends_with("</stream:error></stream:stream>"), "{end}");
        other.ping().await;
    }
}

#[tokio::test]
async fn a_stanza_that_is_too_big_is_named_so() {
    let server = Server::with(Limits { stanza_bytes_max: 20_000, ..Limits::default() }).await;
    server.user("alice").await;
    let mut device = server.device("alice", "phone").await;
    let text = |bytes| format!("<message><body>{}</body></message>", "x".repeat(bytes));
    device.send(&text(19_000)).await;
    device.ping().await;
    device.try_send(&text(20_001)).await;
    assert!(device.rest().await.contains("<stanza-too-big xmlns='urn:xmpp:errors'/>")); // XEP-0205 §4

    // Before a resource is bound there is less, and before authentication little.
    for (bytes, is_authenticated, condition) in [
        (3_000, false, "<unsupported-stanza-type "),
        (3_100, false, "<policy-violation "),
        (16_000, true, "<unsupported-stanza-type "),
        (17_000, true, "<policy-violation "),
    ] {
        let mut client = server.client().await;
        if is_authenticated {
            client.log_in("alice").await;
        } else {
            client.open().await;
        }
        client.try_send(&format!("<x xmlns='urn:x'>{}</x>", "x".repeat(bytes))).await;
        let end = client.rest().await;
        assert!(end.contains(condition), "{bytes}: {end}");
    }
}

/// THREATS, "STARTTLS injection": what was sent in the clear is never read as if it had come inside of TLS.
#[tokio::test]
async fn nothing_can_be_sent_along_with_starttls() {
    let server = Server::start().await;
    let mut client = Client::new(server.connect(Security::StartTls));
    client.open().await;
    client
        .send(&format!("{STARTTLS}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>"))
        .await;
    let end = client.rest().await;
    assert_eq!(end, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>");

    // A moment later it is no TLS record.
    let mut client = Client::new(server.connect(Security::StartTls));
    client.open().await;
    client.send(STARTTLS).await;
    client.until("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
    client.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>").await;
    let mut end = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut client.io, &mut end).await.unwrap();
    assert!(!end.contains(&b'<'), "an alert of TLS at most: {end:?}");
}

/// RFC 6120 §13.12, and THREATS, "Memory before auth": ten seconds, whatever is sent.
#[tokio::test(start_paused = true)]
async fn a_stranger_has_ten_seconds() {
    let server = Server::start().await;
    // Silent, or busy with nothing.
    for is_busy in [false, true] {
        let began = Instant::now();
        let mut client = Client::new(server.connect(Security::StartTls));
        client.open().await;
        if is_busy {
            for _ in 0..9 {
                sleep(Duration::from_secs(1)).await;
                client.send(" ").await;
            }
        }
        assert!(client.rest().await.contains("<policy-violation "));
        assert_eq!(began.elapsed().as_secs(), 10);
    }
    // In the middle of the TLS handshake.
    let began = Instant::now();
    let mut client = Client::new(server.connect(Security::DirectTls));
    assert_eq!(client.rest().await, "");
    assert_eq!(began.elapsed().as_secs(), 10);
}

/// THREATS, "Memory before auth": a greeting of TLS that never ends is not gathered.
#[tokio::test(start_paused = true)]
async fn a_handshake_is_of_a_handshakes_size() {
    let server = Server::start().await;
    let began = Instant::now();
    let mut client = Client::new(server.connect(Security::DirectTls));
    // A ClientHello of 60 000 bytes, in records of 16 000.
    let mut text = vec![1, 0, 0xea, 0x60];
    text.resize(48_000, 0);
    for part in text.chunks(16_000) {
        let [high, low] = u16::try_from(part.len()).unwrap().to_be_bytes();
        let record = [&[22, 3, 1, high, low], part].concat();
        let _sent = tokio::io::AsyncWriteExt::write_all(&mut client.io, &record).await;
    }
    let mut end = Vec::new();
    let _read = tokio::io::AsyncReadExt::read_to_end(&mut client.io, &mut end).await;
    assert_eq!(began.elapsed().as_secs(), 0, "it is not the deadline that ends this");
}

/// The same inside of TLS: what a stranger sends is understood soon, or not read.
#[tokio::test(start_paused = true)]
async fn a_stranger_does_not_fill_a_record() {
    let server = Server::start().await;
    server.user("alice").await;
    // The head of a record of 16 000 bytes, and the beginning of it.
    let record = [&[23, 3, 3, 0x3e, 0x80][..], &[0; 5_000]].concat();
    let began = Instant::now();
    let mut client = server.client().await;
    client.open().await;
    let _sent = tokio::io::AsyncWriteExt::write_all(&mut client.io.get_mut().0, &record).await;
    assert_eq!(client.rest().await, "");
    assert_eq!(began.elapsed().as_secs(), 0, "it is not the deadline that ends this");
    // As much in small pieces is no harm, as long as they are understood; and who is known sends what it likes.
    let mut client = server.client().await;
    client.open().await;
    for _ in 0..100 {
        client.send(&" ".repeat(300)).await;
    }
    let login = crate::scram::Scram::new("SCRAM-SHA-256", "alice", crate::server::PASSWORD);
    client.authenticate(&login).await.unwrap();
    client.open().await;
    client
        .send(&format!(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>{}",
            "<a/>".repeat(60)
        ))
        .await;
    let _sent = tokio::io::AsyncWriteExt::write_all(&mut client.io.get_mut().0, &record).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(server.c2s.connections(), 1);
}

#[tokio::test]
async fn strangers_from_one_place_are_counted_until_they_are_known() {
    let limits = Limits { unauthenticated_per_address_max: 3, unauthenticated_max: 5, ..Limits::default() };
    let server = Server::with(limits).await;
    server.user("alice").await;
    let mut known = Vec::new();
    for number in 0..5 {
        // These take no place any more.
        known.push(server.device("alice", &format!("device{number}")).await);
    }
    let mut strangers = Vec::new();
    for _ in 0..3 {
        let mut stranger = Client::new(server.connect(Security::StartTls));
        stranger.open().await;
        strangers.push(stranger);
    }
    assert_eq!(Client::new(server.connect(Security::StartTls)).rest().await, "");
    // Elsewhere there is room, until all places are taken.
    for peer in ["198.51.100.1:1", "198.51.100.2:1"] {
        let mut stranger = Client::new(server.connect_from(peer, Security::StartTls));
        stranger.open().await;
        strangers.push(stranger);
    }
    assert_eq!(Client::new(server.connect_from("198.51.100.3:1", Security::StartTls)).rest().await, "");
    for mut stranger in strangers {
        stranger.send("</stream:stream>").await;
        stranger.rest().await;
    }
    while server.c2s.connections() > 5 {
        tokio::task::yield_now().await;
    }
    Client::new(server.connect(Security::StartTls)).open().await;
}

/// RFC 6120 §13.12: attempts to connect are counted, too.
#[tokio::test(start_paused = true)]
async fn who_connects_too_often_is_turned_away() {
    let rate = Rate { units: 6, every: Duration::from_secs(60) };
    let server = Server::with(Limits { connection_rate: rate, ..Limits::default() }).await;
    let knock = async || {
        let mut stranger = Client::new(server.connect(Security::StartTls));
        stranger.try_send("</stream:stream>").await;
        !stranger.rest().await.is_empty()
    };
    for number in 0..8 {
        assert_eq!(knock().await, number < 6, "{number}");
    }
    Client::new(server.connect_from("198.51.100.1:1", Security::StartTls)).open().await;
    sleep(Duration::from_secs(10)).await;
    assert!(knock().await);
    assert!(!knock().await);
}

/// DESIGN.md §7: a panic in one handler ends one stream.
#[tokio::test]
async fn a_handler_that_fails_ends_one_stream() {
    let mut registry = Registry::new(unisono_xeps::ALL);
    let what = ("urn:example:fail", "now");
    registry.iq(Entity::OwnAccount, IqType::Get, what, |_| panic!("as a test wants it"));
    let later = ("urn:example:fail", "later");
    registry.iq_later(Entity::OwnAccount, IqType::Get, later, |_| {
        Box::pin(async { panic!("as a test wants it, later") })
    });
    let server = Server::on(Arc::new(MemoryStore::new()), registry, Limits::default()).await;
    server.user("alice").await;
    let mut other = server.device("alice", "other").await;
    for name in ["now", "later"] {
        let mut device = server.device("alice", "phone").await;
        device.send(&format!("<iq type='get' id='1'><{name} xmlns='urn:example:fail'/></iq>")).await;
        assert!(device.rest().await.contains("<internal-server-error "), "{name}");
        other.ping().await;
    }
    while server.c2s.connections() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.hub.account(&jid("alice")).await.unwrap().unwrap().lock().sessions().count(), 1);
}

/// RFC 6120 §6.4.6. Who knows the password and says to be somebody else has not guessed.
#[tokio::test(start_paused = true)]
async fn a_right_password_with_a_wrong_sender_is_no_guess() {
    let server = Server::start().await;
    server.user("alice").await;
    let began = Instant::now();
    for _ in 0..15 {
        let mut client = server.client().await;
        client
            .send(&crate::client::header("example.org").replace(" to=", " from='bob@example.org' to="))
            .await;
        client.until("</stream:features>").await;
        let scram = crate::scram::Scram::new("SCRAM-SHA-256", "alice", crate::server::PASSWORD);
        client.send_scram(&scram).await.unwrap();
        assert!(client.rest().await.contains("<invalid-from "));
    }
    let took = began.elapsed();
    server.device("alice", "phone").await;
    assert_eq!(began.elapsed(), took);
}

#[tokio::test(start_paused = true)]
async fn many_connections_do_not_guess_side_by_side() {
    let server = Server::start().await;
    server.user("alice").await;
    // `n,,n=alice,r=nonce`
    let begin = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>biwsbj1hbGljZSxyPW5vbmNl</auth>";
    let attempt = async || {
        let mut client = server.client().await;
        client.open().await;
        client.send(begin).await;
        client
    };
    for _ in 0..15 {
        attempt().await.until("</challenge>").await; // and leaves
    }
    sleep(Duration::from_secs(1)).await;
    let mut waiting = [attempt().await, attempt().await, attempt().await, attempt().await];
    let refusal = attempt().await.until("</failure>").await;
    assert!(refusal.contains("<temporary-auth-failure"), "{refusal}");
    // They are not in the way of the owner, wherever she comes from.
    let elsewhere = server.connect_from("198.51.100.9:1", Security::DirectTls);
    let mut owner = Client::direct(elsewhere, &server.roots).await;
    owner.log_in("alice").await;
    for client in &mut waiting {
        client.until("</challenge>").await;
    }
    server.device("alice", "phone").await;
}
