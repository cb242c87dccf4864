//! The way to a bound stream (RFC 6120 §4 to §7).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use unisono_core::storage::{AccountState, Accounts};
use unisono_net::Security;
use unisono_net::sasl::{Password, fresh_keys};

use crate::client::Client;
use crate::scram::Scram;
use crate::server::{DOMAIN, Device, PASSWORD, Server, jid};

#[tokio::test]
async fn a_client_logs_in_by_starttls() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut client = Client::new(server.connect(Security::StartTls));
    let offered = client.open().await;
    assert!(offered.ends_with(
        "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
         </stream:features>"
    ));
    client.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
    client.until("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
    let mut client = Client::direct(client.io, &server.roots).await;
    let features = client.log_in("alice").await;
    for part in [
        "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>",
        "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>",
        "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes><idle-seconds>300</idle-seconds></limits>",
        "<sm xmlns='urn:xmpp:sm:3'/>",
    ] {
        assert!(features.contains(part), "{part} in {features}");
    }
    assert_eq!(client.bind("phone").await, "alice@example.org/phone");
    client.send("<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>").await;
    assert!(client.until("/>").await.contains("type='result'"));
}

#[tokio::test]
async fn a_client_logs_in_by_direct_tls_bound_to_the_channel() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut client = server.client().await;
    let features = client.open().await;
    assert!(!features.contains("starttls"), "{features}");
    assert!(
        features.contains(
            "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>\
             <channel-binding type='tls-server-end-point'/></sasl-channel-binding>"
        ),
        "{features}"
    );
    client.authenticate(&Scram::new("SCRAM-SHA-256-PLUS", "alice", PASSWORD)).await.unwrap();
    client.open().await;
    let full = client.bind("").await;
    assert!(full.starts_with("alice@example.org/unisono-"), "{full}");
}

#[tokio::test]
async fn a_client_with_an_older_protocol_is_offered_what_it_has() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut client = Client::direct_tls12(server.connect(Security::DirectTls), &server.roots).await;
    let features = client.open().await;
    assert!(
        features.contains("'tls-server-end-point'") && !features.contains("'tls-exporter'"),
        "{features}"
    );
    client.authenticate(&Scram::new("SCRAM-SHA-256", "alice", PASSWORD)).await.unwrap();
    client.open().await;
    client.bind("phone").await;
}

#[tokio::test]
async fn a_client_logs_in_by_plain() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut client = server.client().await;
    client.open().await;
    let message = STANDARD.encode(format!("\0alice\0{PASSWORD}"));
    client
        .send(&format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{message}</auth>"))
        .await;
    client.until("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
    client.open().await;
    client.bind("phone").await;
}

/// Everything that the stream will say, sent without waiting for the answers.
#[tokio::test]
async fn what_is_sent_ahead_is_understood() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut client = server.client().await;
    let message = STANDARD.encode(format!("\0alice\0{PASSWORD}"));
    let header = crate::client::header(DOMAIN);
    client
        .send(&format!(
            "{header}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{message}</auth>{header}\
             <iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>\
             <iq type='get' id='next'><none xmlns='urn:example:none'/></iq>"
        ))
        .await;
    client.until("id='next'").await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let server = Server::start().await;
    server.user("alice").await;
    let mut client = server.client().await;
    client.open().await;
    let wanted = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";
    for (user, password) in [("alice", "wrong"), ("nobody", PASSWORD), ("nobody", "wrong")] {
        let refused = client.authenticate(&Scram::new("SCRAM-SHA-256", user, password)).await.unwrap_err();
        assert_eq!(refused, wanted, "{user}");
    }
    // The fourth is the last (RFC 6120 §6.4.5).
    client.authenticate(&Scram::new("SCRAM-SHA-256", "alice", "wrong")).await.unwrap_err();
    assert!(client.rest().await.contains("<policy-violation"));
}

/// All that the server says to an attempt, but for the numbers that are drawn: of them, how long they are.
async fn said(client: &mut Device, mechanism: &str, user: &str) -> String {
    let sasl = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
    if mechanism == "PLAIN" {
        let message = STANDARD.encode(format!("\0{user}\0wrong"));
        client.send(&format!("<auth {sasl} mechanism='PLAIN'>{message}</auth>")).await;
        return client.until("</failure>").await;
    }
    let scram = Scram::new(mechanism, user, "wrong");
    let exporter = crate::scram::exporter(client.io.get_ref().1);
    let first = STANDARD.encode(scram.first());
    client.send(&format!("<auth {sasl} mechanism='{mechanism}'>{first}</auth>")).await;
    let element = client.until("</challenge>").await;
    let data = element.split_once('>').unwrap().1.strip_suffix("</challenge>").unwrap();
    let challenge = String::from_utf8(STANDARD.decode(data).unwrap()).unwrap();
    let shown = |part: &str| match &part[..2] {
        "r=" | "s=" => format!("{}{}", &part[..2], part.len()),
        _ => part.to_owned(),
    };
    let shown: Vec<_> = challenge.split(',').map(shown).collect();
    let last = STANDARD.encode(scram.last(&challenge, &exporter).0);
    client.send(&format!("<response {sasl}>{last}</response>")).await;
    let rest = client.until("</failure>").await;
    element.replace(data, &shown.join(",")) + &rest
}

/// THREATS, "User enumeration": byte for byte, with keys as they are made for a new account.
#[tokio::test(start_paused = true)]
async fn an_unknown_user_is_told_the_bytes_of_a_wrong_password() {
    let server = Server::start().await;
    let keys = fresh_keys(&Password::prepare(PASSWORD).unwrap()).unwrap();
    let credentials: Vec<_> =
        keys.iter().map(|keys| (keys.hash().family().to_owned(), keys.to_string())).collect();
    server.store.create(&jid("alice"), &credentials, 0).await.unwrap();
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "PLAIN"] {
        let mut client = server.client().await;
        client.open().await;
        let known = said(&mut client, mechanism, "alice").await;
        let unknown = said(&mut client, mechanism, "aloce").await;
        assert_eq!(known, unknown, "{mechanism}");
        assert!(known.ends_with("<not-authorized/></failure>"), "{known}");
        assert!(mechanism == "PLAIN" || known.contains(",i=10000,"), "{known}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disabled_account_is_told_to_who_knows_the_password() {
    let server = Server::start().await;
    server.user("alice").await;
    server.store.set_state(&jid("alice"), AccountState::Disabled).await.unwrap();
    let mut client = server.client().await;
    client.open().await;
    let scram = |password| Scram::new("SCRAM-SHA-256", "alice", password);
    assert!(client.authenticate(&scram("wrong")).await.unwrap_err().contains("<not-authorized/>"));
    assert!(client.authenticate(&scram(PASSWORD)).await.unwrap_err().contains("<account-disabled/>"));
}

#[tokio::test(start_paused = true)]
async fn sasl_in_disorder_is_refused_by_its_condition() {
    let server = Server::start().await;
    let sasl = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
    for (text, condition) in [
        (format!("<auth {sasl} mechanism='EXTERNAL'>=</auth>"), "invalid-mechanism"), // §6.5.7
        (format!("<auth {sasl}/>"), "invalid-mechanism"),
        (format!("<auth {sasl} mechanism='PLAIN'>no base64</auth>"), "incorrect-encoding"), // §6.5.5
        (format!("<auth {sasl} mechanism='PLAIN'>AAA</auth>"), "incorrect-encoding"),       // no padding
        (format!("<auth {sasl} mechanism='PLAIN'>=</auth>"), "malformed-request"),          // §6.5.8
        (format!("<auth {sasl} mechanism='PLAIN'>\n</auth>"), "incorrect-encoding"),        // §6.3.5
        (format!("<response {sasl}>AAAA</response>"), "malformed-request"),
        (format!("<abort {sasl}/>"), "aborted"), // §6.5.1
    ] {
        let mut client = server.client().await;
        client.open().await;
        client.send(&text).await;
        let answer = client.until("</failure>").await;
        assert!(answer.contains(&format!("<{condition}/>")), "{text}: {answer}");
    }
}
