//! Stanzas on bound streams (RFC 6120 §8), and what keeps a connection alive.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use unisono_net::{Limits, Rate};

use crate::server::Server;

#[tokio::test]
async fn a_message_goes_from_one_device_to_another() {
    let server = Server::start().await;
    server.user("alice").await;
    server.user("bob").await;
    let mut alice = server.device("alice", "phone").await;
    let mut bob = server.device("bob", "laptop").await;
    bob.be_available().await;
    alice
        .send("<message to='bob@example.org' type='chat' id='m1'><body>hello &lt;you&gt;</body></message>")
        .await;
    let message = bob.until("</message>").await;
    assert!(message.contains("from='alice@example.org/phone'"), "{message}");
    assert!(message.contains("<body>hello &lt;you&gt;</body>"), "{message}");
}

#[tokio::test]
async fn the_language_of_a_stream_goes_with_its_messages() {
    let server = Server::start().await;
    server.user("alice").await;
    server.user("bob").await;
    let mut bob = server.device("bob", "laptop").await;
    bob.be_available().await;
    let mut alice = server.client().await;
    alice.log_in("alice").await;
    alice.bind("phone").await;
    alice.send("<message to='bob@example.org' type='chat'><body>1</body></message>").await;
    assert!(!bob.until("</message>").await.contains("xml:lang"));

    let mut alice = server.client().await;
    alice.open().await;
    alice
        .authenticate(&crate::scram::Scram::new("SCRAM-SHA-256", "alice", crate::server::PASSWORD))
        .await
        .unwrap();
    alice.send(&crate::client::header("example.org").replace(" to=", " xml:lang='de' to=")).await;
    alice.until("</stream:features>").await;
    alice.bind("tablet").await;
    alice.send("<message to='bob@example.org' type='chat'><body>2</body></message>").await;
    assert!(bob.until("</message>").await.contains("xml:lang='de'"));
}

/// More than fits into any buffer on the way, to a client that looks away.
#[tokio::test]
async fn a_slow_reader_gets_everything_in_order() {
    let server = Server::start().await;
    server.user("alice").await;
    server.user("bob").await;
    let mut alice = server.device("alice", "phone").await;
    let mut bob = server.device("bob", "laptop").await;
    bob.be_available().await;
    let filler = "x".repeat(2000);
    for number in 0..300 {
        alice
            .send(&format!(
                "<message to='bob@example.org' type='chat'><body>{number} {filler}</body></message>"
            ))
            .await;
    }
    alice.ping().await;
    for number in 0..300 {
        let message = bob.until("</message>").await;
        assert!(message.contains(&format!("<body>{number} x")), "{number}");
    }
}

/// DESIGN.md §3: a connection reads its next stanza only while fewer than its window are unfinished.
#[tokio::test(start_paused = true)]
async fn nothing_is_read_while_too_much_is_not_durable() {
    let server = Server::with(Limits { window: 3, ..Limits::default() }).await;
    server.user("alice").await;
    server.user("bob").await;
    let mut alice = server.device("alice", "phone").await;
    let mut bob = server.device("bob", "laptop").await;
    bob.be_available().await;
    let taken = || server.hub.counters.stanzas.load(Ordering::Relaxed);
    let before = taken();
    server.store.hold();
    for number in 0..10 {
        alice
            .send(&format!("<message to='bob@example.org' type='chat'><body>{number}</body></message>"))
            .await;
    }
    // Time passes here only when nobody has anything to do.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(taken() - before, 3);
    server.store.release();
    for number in 0..10 {
        assert!(bob.until("</message>").await.contains(&format!("<body>{number}</body>")));
    }
}

/// However many streams it comes on, one after the other.
#[tokio::test(start_paused = true)]
async fn a_new_stream_is_no_new_window() {
    let server = Server::with(Limits { window: 3, ..Limits::default() }).await;
    server.user("alice").await;
    let taken = || server.hub.counters.stanzas.load(Ordering::Relaxed);
    let before = taken();
    server.store.hold();
    for _ in 0..5 {
        let mut alice = server.client().await;
        alice.log_in("alice").await;
        let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
        let message = "<message to='alice@example.org' type='chat'><body>1</body></message>";
        alice.send(&(bind.to_owned() + &message.repeat(10))).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert!(taken() - before <= 3, "{}", taken() - before);
    server.store.release();
    server.device("alice", "phone").await.ping().await;
}

/// RFC 6120 §13.12: who sends too fast is read later, and told nothing wrong.
#[tokio::test(start_paused = true)]
async fn nothing_is_read_faster_than_it_may_be_sent() {
    let second = Duration::from_secs(1);
    let stanzas = Limits { stanza_rate: Rate { units: 10, every: second }, ..Limits::default() };
    let bytes = Limits { byte_rate: Rate { units: 6_000, every: second }, ..Limits::default() };
    for (limits, at_most) in [(stanzas, 10), (bytes, 11)] {
        let server = Server::with(limits).await;
        server.user("alice").await;
        let mut alice = server.device("alice", "phone").await;
        let mut other = server.device("alice", "laptop").await;
        sleep(second).await;
        let taken = || server.hub.counters.stanzas.load(Ordering::Relaxed);
        let before = taken();
        let began = Instant::now();
        let filler = "x".repeat(500);
        for _ in 0..50 {
            alice.send(&format!("<iq type='get' id='1'><none xmlns='urn:x'>{filler}</none></iq>")).await;
        }
        sleep(Duration::from_millis(10)).await;
        let at_once = taken() - before;
        assert!((at_most - 5..=at_most + 1).contains(&at_once), "{at_once}");
        // Nobody else waits for that.
        other.ping().await;
        assert!(began.elapsed() < second);
        for _ in 0..50 {
            alice.until("id='1'").await;
        }
        let took = began.elapsed();
        assert!((3 * second..=6 * second).contains(&took), "{took:?}");
        assert_eq!(taken() - before, 51);
        // A pause gives back what one such time allows.
        sleep(60 * second).await;
        let began = Instant::now();
        for _ in 0..8 {
            alice.ping().await;
        }
        assert!(began.elapsed() < second);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_written_a_space() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut alice = server.device("alice", "phone").await;
    let began = Instant::now();
    assert_eq!(alice.until(" ").await, " ");
    assert_eq!(began.elapsed().as_secs(), 300);
    alice.until(" ").await;
    assert_eq!(began.elapsed().as_secs(), 600);
    alice.ping().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_that_counts_is_asked_and_must_answer() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut alice = server.device("alice", "phone").await;
    alice.enable_management().await;
    let began = Instant::now();
    let ask = "<r xmlns='urn:xmpp:sm:3'/>";
    assert_eq!(alice.until("/>").await, ask);
    assert_eq!(began.elapsed().as_secs(), 300);
    alice.send("<a xmlns='urn:xmpp:sm:3' h='0'/>").await;
    assert_eq!(alice.until("/>").await, ask);
    assert_eq!(began.elapsed().as_secs(), 600);
    let end = alice.rest().await;
    assert!(end.contains("<connection-timeout "), "{end}");
    assert_eq!(began.elapsed().as_secs(), 660);
}

/// It said something long ago, and the server did not read it: the store is to blame.
#[tokio::test(start_paused = true)]
async fn who_is_not_listened_to_is_not_silent() {
    let server = Server::with(Limits { window: 1, ..Limits::default() }).await;
    server.user("alice").await;
    let mut alice = server.device("alice", "phone").await;
    alice.enable_management().await;
    alice.ping().await;
    // Before it is asked, and while it is to answer.
    for asked_after in [0, 310] {
        sleep(Duration::from_secs(asked_after)).await;
        server.store.hold();
        alice.send("<message to='alice@example.org' type='chat'><body>1</body></message>").await;
        for _ in 0..100 {
            alice.send("<a xmlns='urn:xmpp:sm:3' h='0'/>").await;
            sleep(Duration::from_secs(10)).await;
        }
        server.store.release();
        alice.ping().await;
    }
    let began = Instant::now();
    assert!(alice.rest().await.contains("<connection-timeout "));
    assert_eq!(began.elapsed().as_secs(), 360);
}

/// Answers that no queue counts are not gathered for a client that does not read them.
#[tokio::test(start_paused = true)]
async fn who_does_not_read_answers_is_not_heard() {
    let rate = Rate { units: 0, every: Duration::from_secs(1) };
    let server = Server::with(Limits { stanza_rate: rate, byte_rate: rate, ..Limits::default() }).await;
    server.user("alice").await;
    let mut alice = server.device("alice", "phone").await;
    let requests = "<r xmlns='urn:xmpp:sm:3'/>".repeat(100);
    let mut asked = 0;
    while asked < 500 {
        let sending = alice.send(&requests);
        if tokio::time::timeout(Duration::from_secs(10), sending).await.is_err() {
            break;
        }
        asked += 1;
    }
    assert!((10..200).contains(&asked), "{asked}");
    for _ in 0..100 * asked {
        alice.until("<failed").await;
    }
}

#[tokio::test]
async fn a_session_goes_on_over_another_connection() {
    let server = Server::start().await;
    server.user("alice").await;
    server.user("bob").await;
    let mut alice = server.device("alice", "phone").await;
    let mut bob = server.device("bob", "laptop").await;
    bob.be_available().await;
    let id = bob.enable_management().await;
    drop(bob);
    alice.send("<message to='bob@example.org' type='chat'><body>while away</body></message>").await;
    alice.ping().await;

    let mut bob = server.client().await;
    bob.log_in("bob").await;
    bob.send(&format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>")).await;
    let resumed = bob.until("/>").await;
    assert!(resumed.starts_with("<resumed "), "{resumed}");
    assert!(bob.until("</message>").await.contains("<body>while away</body>"));
    // The stream is bound, to the address that it had.
    alice.send("<message to='bob@example.org/laptop' type='chat'><body>back</body></message>").await;
    assert!(bob.until("</message>").await.contains("<body>back</body>"));
}

#[tokio::test]
async fn a_session_that_is_unknown_can_be_replaced_by_binding() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut alice = server.client().await;
    alice.log_in("alice").await;
    alice.send("<resume xmlns='urn:xmpp:sm:3' previd='none' h='0'/>").await;
    assert!(alice.until("</failed>").await.contains("<item-not-found "));
    alice.bind("phone").await;
    alice.send("<iq type='set' id='b2'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>").await;
    assert!(alice.until("</iq>").await.contains("<not-allowed ")); // §7.6.2.2
}

/// The same over the loopback, by a real socket.
#[tokio::test]
async fn connections_are_accepted_on_the_addresses_that_were_asked_for() {
    let server = Server::start().await;
    server.user("alice").await;
    for address in ["127.0.0.1:0", "[::]:0"] {
        let real = server.c2s.listen(address.parse().unwrap(), unisono_net::Security::DirectTls).unwrap();
        assert_ne!(real.port(), 0);
        let io = tokio::net::TcpStream::connect(("127.0.0.1", real.port())).await.unwrap();
        let mut client = crate::client::Client::direct(io, &server.roots).await;
        client.log_in("alice").await;
        client.bind("phone").await;
        assert!(server.c2s.listen(real, unisono_net::Security::DirectTls).is_err(), "the port is taken");
    }
    assert_eq!(server.c2s.stop(Duration::from_secs(10)).await, 0);
    assert!(Arc::strong_count(&server.c2s) <= 2);
}
