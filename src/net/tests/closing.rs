//! How streams end (RFC 6120 §4.4, XEP-0190, XEP-0198 §5).

use std::time::Duration;

use tokio::time::sleep;
use unisono_core::hub::Hub;
use unisono_net::Limits;

use crate::server::{Server, jid};

async fn sessions(hub: &std::sync::Arc<Hub>, name: &str) -> usize {
    hub.account(&jid(name)).await.unwrap().unwrap().lock().sessions().count()
}

#[tokio::test]
async fn a_client_that_closes_gets_what_is_due_and_an_answer() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut alice = server.device("alice", "phone").await;
    alice.enable_management().await;
    alice.send("<iq type='get' id='last'><none xmlns='urn:example:none'/></iq></stream:stream>").await;
    let rest = alice.rest().await;
    assert!(rest.contains("id='last'") && rest.ends_with("</stream:stream>"), "{rest}");
    assert!(!rest.contains("stream:error"), "{rest}");
    // It is told what arrived, so that it does not send that again.
    assert!(rest.contains("<a xmlns='urn:xmpp:sm:3' h='1'/>"), "{rest}");
    // A session that was closed on purpose is not resumed.
    assert_eq!(sessions(&server.hub, "alice").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_device_is_asked_about_the_rest_of_a_burst_in_its_time() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut phone = server.device("alice", "phone").await;
    phone.enable_management().await;
    let ask = "<r xmlns='urn:xmpp:sm:3'/>";
    phone.send("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    phone.until(ask).await;
    phone
        .send("<a xmlns='urn:xmpp:sm:3' h='1'/><iq type='get' id='2'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    let began = tokio::time::Instant::now();
    phone.until(ask).await;
    let waited = began.elapsed();
    assert!(Duration::from_millis(150) < waited && waited < Duration::from_secs(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_leaves_what_can_be_resumed() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut managed = server.device("alice", "managed").await;
    managed.enable_management().await;
    let plain = server.device("alice", "plain").await;
    assert_eq!(sessions(&server.hub, "alice").await, 2);
    drop((managed, plain));
    while server.c2s.connections() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(sessions(&server.hub, "alice").await, 1);
}

#[tokio::test]
async fn the_newer_session_has_the_resource() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut first = server.device("alice", "phone").await;
    let mut second = server.device("alice", "phone").await;
    let end = first.rest().await;
    assert!(end.contains("<conflict ") && end.ends_with("</stream:stream>"), "{end}"); // RFC 6120 §7.7.2.2
    second.ping().await;
    assert_eq!(sessions(&server.hub, "alice").await, 1);
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_keeps_the_sessions() {
    let server = Server::start().await;
    server.user("alice").await;
    server.user("bob").await;
    let mut alice = server.device("alice", "phone").await;
    let mut bob = server.device("bob", "laptop").await;
    bob.be_available().await;
    let id = bob.enable_management().await;
    let mut stranger = crate::client::Client::new(server.connect(unisono_net::Security::StartTls));
    stranger.open().await;

    alice.send("<message to='bob@example.org' type='chat'><body>last</body></message>").await;
    alice.ping().await;
    let stopping = {
        let c2s = server.c2s.clone();
        tokio::spawn(async move { c2s.stop(Duration::from_secs(10)).await })
    };
    let rest = bob.rest().await;
    assert!(rest.contains("<body>last</body>"), "what is due comes first: {rest}");
    // A client that is told of an error gives its session up.
    assert!(!rest.contains("</stream:stream>"), "{rest}");
    bob.try_send("</stream:stream>").await; // does not end the session: the stream is over already
    drop(bob);
    assert!(alice.rest().await.ends_with(
        "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
    ));
    drop(alice);
    assert!(stranger.rest().await.contains("<system-shutdown "));
    drop(stranger);
    assert_eq!(stopping.await.unwrap(), 0);
    assert_eq!((sessions(&server.hub, "alice").await, sessions(&server.hub, "bob").await), (0, 1));

    // Nobody comes in any more.
    let late = server.connect(unisono_net::Security::StartTls);
    assert_eq!(crate::client::Client::new(late).rest().await, "");

    // The next run takes the session up.
    server.hub.save().await;
    let server = server.restarted().await;
    let mut bob = server.client().await;
    bob.log_in("bob").await;
    bob.send(&format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='1'/>")).await;
    let resumed = bob.until("/>").await;
    assert!(resumed.starts_with("<resumed "), "{resumed}");
}

/// RFC 6120 §4.4: who closes first goes on to take what comes until the other side has closed, too.
#[tokio::test(start_paused = true)]
async fn what_is_sent_before_a_client_learns_of_the_stop_is_handled() {
    for has_management in [true, false] {
        let server = Server::start().await;
        server.user("alice").await;
        server.user("bob").await;
        let mut alice = server.device("alice", "phone").await;
        let mut bob = server.device("bob", "laptop").await;
        bob.be_available().await;
        let bob_id = bob.enable_management().await;
        let id = if has_management { alice.enable_management().await } else { String::new() };
        let hello =
            |n| format!("<message to='bob@example.org' type='chat' id='m{n}'><body>{n}</body></message>");
        // Both are in the hands of the server before it looks at the first.
        alice.send(&(hello(1) + &hello(2))).await;
        let c2s = server.c2s.clone();
        let stopping = tokio::spawn(async move { c2s.stop(Duration::from_secs(10)).await });
        let farewell = alice.rest().await;
        assert_eq!(farewell.contains("<system-shutdown "), !has_management, "{farewell}");
        alice.send(&(hello(3) + "</stream:stream>")).await;
        assert_eq!(alice.rest().await, "");
        drop((alice, bob));
        assert_eq!(stopping.await.unwrap(), 0);

        server.hub.save().await;
        let server = server.restarted().await;
        let mut bob = server.client().await;
        bob.log_in("bob").await;
        bob.send(&format!("<resume xmlns='urn:xmpp:sm:3' previd='{bob_id}' h='0'/>")).await;
        for n in 1..=3 {
            let message = bob.until("</message>").await;
            assert!(message.contains(&format!("<body>{n}</body>")), "{message}");
        }
        if has_management {
            let mut alice = server.client().await;
            alice.log_in("alice").await;
            alice.send(&format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>")).await;
            alice.until("<resumed ").await;
            assert!(alice.until("/>").await.contains(" h='3'"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_does_not_keep_the_server() {
    let server = Server::start().await;
    server.user("alice").await;
    let _alice = server.device("alice", "phone").await;
    let began = tokio::time::Instant::now();
    assert_eq!(server.c2s.stop(Duration::from_secs(10)).await, 0);
    assert_eq!(began.elapsed().as_secs(), 2);
}

/// §4.9.1.1: who receives a stream error closes the stream. What comes behind it is not looked at.
#[tokio::test]
async fn an_error_of_the_client_ends_its_stream_and_not_its_session() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut alice = server.device("alice", "phone").await;
    let id = alice.enable_management().await;
    let ping = "<iq type='get' id='last'><none xmlns='urn:example:none'/></iq>";
    let error =
        "<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    alice.send(&format!("{error}{ping}</stream:stream>")).await;
    assert_eq!(alice.rest().await, "</stream:stream>");
    assert_eq!(sessions(&server.hub, "alice").await, 1);
    let mut alice = server.client().await;
    alice.log_in("alice").await;
    alice.send(&format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>")).await;
    alice.until("<resumed ").await;
    assert!(alice.until("/>").await.contains(" h='0'"));
}

fn to_bob(number: usize, filler: &str) -> String {
    format!("<message to='bob@example.org' type='chat'><body>{number} {filler}</body></message>")
}

/// A client that says goodbye and looks away while it is told what is due: its stream has no hole.
#[tokio::test(start_paused = true)]
async fn the_time_for_what_is_due_is_over_in_the_middle_of_a_stanza() {
    let server = Server::start().await;
    server.user("alice").await;
    server.user("bob").await;
    let mut alice = server.device("alice", "phone").await;
    let mut bob = server.device("bob", "laptop").await;
    bob.be_available().await;
    let filler = "x".repeat(2000);
    for number in 0..300 {
        alice.send(&to_bob(number, &filler)).await;
    }
    alice.ping().await;
    bob.send("</stream:stream>").await;
    sleep(Limits::default().close_within + Duration::from_secs(1)).await;
    let rest = bob.rest().await;
    let messages = rest.strip_suffix("</stream:stream>").expect("the stream ends");
    let mut count = 0;
    for message in messages.split_inclusive("</message>") {
        let body = format!("<body>{count} {filler}</body>");
        let is_whole = message.starts_with("<message ") && message.contains(&body);
        assert!(is_whole && message.matches("<body>").count() == 1, "{count}: {message}");
        count += 1;
    }
    assert!((20..300).contains(&count), "{count}");
}

/// Without stream management, what is written counts as received.
#[tokio::test]
async fn who_says_goodbye_is_not_fed_what_it_missed() {
    let server = Server::start().await;
    server.user("alice").await;
    server.user("bob").await;
    let mut alice = server.device("alice", "phone").await;
    server.device("bob", "laptop").await.be_available().await;
    while sessions(&server.hub, "bob").await > 0 {
        tokio::task::yield_now().await;
    }
    for number in 0..120 {
        alice.send(&to_bob(number, "missed")).await;
    }
    alice.ping().await;
    let mut bob = server.device("bob", "laptop").await;
    bob.send("<presence/></stream:stream>").await;
    let rest = bob.rest().await;
    assert!(rest.ends_with("</stream:stream>") && !rest.contains("<body>"), "{rest}");
    let mut bob = server.device("bob", "laptop").await;
    bob.send("<presence/>").await;
    for number in 0..120 {
        let message = bob.until("</message>").await;
        assert!(message.contains(&format!("<body>{number} missed</body>")), "{message}");
    }
}

/// Its goodbye was read, and waited behind what it had sent before, when the server stopped.
#[tokio::test(start_paused = true)]
async fn a_stream_that_the_client_closed_before_a_stop_is_closed() {
    let server = Server::with(Limits { window: 1, ..Limits::default() }).await;
    server.user("alice").await;
    server.user("bob").await;
    let mut alice = server.device("alice", "phone").await;
    alice.enable_management().await;
    server.store.hold();
    alice.send(&(to_bob(1, "last") + "</stream:stream>")).await;
    sleep(Duration::from_millis(10)).await;
    let c2s = server.c2s.clone();
    let stopping = tokio::spawn(async move { c2s.stop(Duration::from_secs(10)).await });
    sleep(Duration::from_millis(10)).await;
    server.store.release();
    assert_eq!(alice.rest().await, "<a xmlns='urn:xmpp:sm:3' h='1'/></stream:stream>");
    drop(alice);
    assert_eq!(stopping.await.unwrap(), 0);
    assert_eq!(sessions(&server.hub, "alice").await, 0);
}
