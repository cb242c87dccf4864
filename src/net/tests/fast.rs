//! A device comes back with a token (XEP-0484): in one message, once it was let in by a password.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::HandshakeKind;
use rustls::version::TLS13;
use tokio::io::DuplexStream;
use tokio::time::advance;
use tokio_rustls::TlsConnector;
use unisono_core::extension::Registry;
use unisono_core::storage::{AccountState, Accounts};
use unisono_net::tls::client_config;
use unisono_net::{Limits, Security};

use crate::client::Client;
use crate::logged::Log;
use crate::scram::exporter;
use crate::server::{DOMAIN, Device, PASSWORD, Server, jid};

const PHONE: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
const LAPTOP: &str = "a6ba2f36-4a2c-4f0f-9a0e-5f5b1d2f8c11";
const BOUND: &str = "HT-SHA-256-EXPR";
const UNBOUND: &str = "HT-SHA-512-NONE";
const BIND: &str = "<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A token and by which mechanism it is used.
#[derive(Clone)]
struct Token {
    mechanism: &'static str,
    text: String,
}

/// What a client answers to a request to authenticate with.
struct Try<'a> {
    user: &'a str,
    agent: &'a str,
    mechanism: &'a str,
    /// What the token is bound to, instead of what it should be.
    binding: Option<[u8; 32]>,
    more: &'a str,
    fast: &'a str,
}

const ALICE: Try<'_> = Try {
    user: "alice",
    agent: PHONE,
    mechanism: BOUND,
    binding: None,
    more: "",
    fast: "<fast xmlns='urn:xmpp:fast:0' count='1'/>",
};

fn agent(id: &str) -> String {
    format!("<user-agent id='{id}'><software>A client</software><device>A phone</device></user-agent>")
}

fn wish(mechanism: &str) -> String {
    format!("<request-token xmlns='urn:xmpp:fast:0' mechanism='{mechanism}'/>")
}

fn sign(token: &Token, role: &str, binding: &[u8]) -> Vec<u8> {
    let hash = if token.mechanism.contains("512") { hmac::HMAC_SHA512 } else { hmac::HMAC_SHA256 };
    let mut context = hmac::Context::with_key(&hmac::Key::new(hash, token.text.as_bytes()));
    context.update(role.as_bytes());
    context.update(binding);
    context.sign().as_ref().to_vec()
}

/// What stands between two parts of a text.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

fn token_in(said: &str, mechanism: &'static str) -> Option<Token> {
    let token = between(said, "<token xmlns='urn:xmpp:fast:0'", "/>")?;
    assert!(between(token, "expiry='", "'").unwrap().ends_with('Z'), "{token}");
    Some(Token { mechanism, text: between(token, " token='", "'").unwrap().to_owned() })
}

impl Server {
    async fn opened(&self) -> Device {
        let mut client = self.client().await;
        client.open().await;
        client
    }

    /// A device logs in by its password and is given a token.
    async fn given(&self, user: &str, id: &str, mechanism: &'static str) -> Token {
        let (_, said) = self.by_password(user, id, &format!("{BIND}{}", wish(mechanism))).await;
        token_in(&said, mechanism).unwrap()
    }

    async fn by_password(&self, user: &str, id: &str, more: &str) -> (Device, String) {
        let mut client = self.opened().await;
        let said = client.by_password(user, PASSWORD, &format!("{}{more}", agent(id))).await;
        assert!(said.contains("</success>"), "{said}");
        (client, said)
    }

    /// A device comes back.
    async fn by_token(&self, token: &Token, with: Try<'_>) -> (Device, Result<String, String>) {
        let mut client = self.opened().await;
        let said = client.by_token(token, with).await;
        (client, said)
    }

    async fn refused(&self, token: &Token, with: Try<'_>) -> String {
        let failure = self.by_token(token, with).await.1.expect_err("it came in");
        between(&failure, "><", " xmlns").unwrap().to_owned()
    }
}

impl Client<tokio_rustls::client::TlsStream<DuplexStream>> {
    async fn by_password(&mut self, user: &str, password: &str, more: &str) -> String {
        let message = STANDARD.encode(format!("\0{user}\0{password}"));
        self.send(&format!(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>{message}\
             </initial-response>{more}</authenticate>"
        ))
        .await;
        self.outcome().await
    }

    async fn outcome(&mut self) -> String {
        let said = self.until(">").await;
        let end = if said.starts_with("<failure") { "</failure>" } else { "</success>" };
        said + &self.until(end).await
    }

    /// `Err` is the failure.
    async fn by_token(&mut self, token: &Token, with: Try<'_>) -> Result<String, String> {
        let bound = with.binding.unwrap_or_else(|| exporter(self.io.get_ref().1));
        let binding: &[u8] = if with.mechanism.ends_with("EXPR") { &bound } else { &[] };
        let hashed = Token { mechanism: mechanism(with.mechanism), ..token.clone() };
        let mut message = format!("{}\0", with.user).into_bytes();
        message.extend(sign(&hashed, "Initiator", binding));
        self.send(&format!(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{}'><initial-response>{}</initial-response>\
             {}{}{}</authenticate>",
            with.mechanism,
            STANDARD.encode(message),
            agent(with.agent),
            with.fast,
            with.more
        ))
        .await;
        let said = self.outcome().await;
        if said.starts_with("<failure") {
            return Err(said);
        }
        let data = between(&said, "<additional-data>", "</additional-data>").unwrap();
        assert_eq!(STANDARD.decode(data).unwrap(), sign(&hashed, "Responder", binding), "not the server");
        Ok(said)
    }
}

/// The mechanisms live longer than what names them.
fn mechanism(name: &str) -> &'static str {
    ["HT-SHA-256-EXPR", "HT-SHA-512-NONE", "HT-SHA-256-NONE"].into_iter().find(|one| *one == name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn mechanisms_for_tokens_are_announced_as_far_as_the_channel_has_them() {
    let server = Server::start().await;
    let offered = async |mut client: Device| {
        let features = client.open().await;
        let fast = between(&features, "<fast xmlns='urn:xmpp:fast:0'>", "</fast>").unwrap().to_owned();
        let rest = fast.split("<mechanism>").skip(1);
        rest.map(|name| name.split_once('<').unwrap().0.to_owned()).collect::<Vec<_>>().join(" ")
    };
    let bound = "HT-SHA-512-ENDP HT-SHA-256-ENDP HT-SHA-512-NONE HT-SHA-256-NONE";
    let all = offered(server.client().await).await;
    assert_eq!(all, format!("HT-SHA-512-EXPR HT-SHA-256-EXPR {bound}"));
    let older = Client::direct_tls12(server.connect(Security::DirectTls), &server.roots).await;
    assert_eq!(offered(older).await, bound);
}

#[tokio::test(start_paused = true)]
async fn a_device_comes_back_in_one_message() {
    let server = Server::start().await;
    server.user("alice").await;
    for mechanism in [BOUND, UNBOUND, "HT-SHA-256-NONE"] {
        let token = server.given("alice", PHONE, mechanism).await;
        for _ in 0..3 {
            let with = Try { mechanism, more: BIND, ..ALICE };
            let (mut device, said) = server.by_token(&token, with).await;
            let said = said.unwrap();
            assert!(said.contains("<bound xmlns='urn:xmpp:bind:0'>"), "{said}");
            assert!(token_in(&said, mechanism).is_none(), "it needs no other: {said}");
            device.until("</stream:features>").await;
            device.ping().await;
        }
    }
    // All of it was one device.
    let cell = server.hub.resident(&jid("alice")).unwrap();
    assert_eq!(cell.lock().devices().len(), 1);
}

/// A stolen proof, and tokens that are none: each is refused with its condition, and the operator learns why.
#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_refused_and_the_log_says_why() {
    let (log, _guard) = Log::begin();
    let server = Server::start().await;
    for name in ["alice", "bob"] {
        server.user(name).await;
    }
    let phone = server.given("alice", PHONE, BOUND).await;
    let laptop = server.given("alice", LAPTOP, UNBOUND).await;
    let bobs = server.given("bob", PHONE, BOUND).await;
    let nothing = Token { mechanism: BOUND, text: String::new() };
    let other_channel = Try { binding: Some([7; 32]), ..ALICE };
    let unnamed = Try { agent: "not-a-uuid", ..ALICE };
    let new_device = Try { agent: "a6ba2f36-4a2c-4f0f-9a0e-000000000000", ..ALICE };
    for (token, with, want, reason) in [
        (&phone, Try { agent: LAPTOP, ..ALICE }, "not-authorized", "wrong mechanism"),
        (&laptop, Try { mechanism: UNBOUND, ..ALICE }, "not-authorized", "wrong mechanism"),
        (&phone, new_device, "not-authorized", "unknown device"),
        (&phone, unnamed, "not-authorized", "unknown device"),
        (&bobs, ALICE, "not-authorized", "wrong token"),
        (&phone, Try { user: "bob", ..ALICE }, "not-authorized", "wrong token"),
        (&phone, Try { user: "nobody", ..ALICE }, "not-authorized", "unknown user"),
        (&phone, Try { mechanism: "HT-SHA-256-NONE", ..ALICE }, "not-authorized", "wrong mechanism"),
        (&phone, Try { mechanism: UNBOUND, ..ALICE }, "not-authorized", "wrong mechanism"),
        (&phone, other_channel, "not-authorized", "wrong token"),
        (&nothing, ALICE, "not-authorized", "wrong token"),
        (&phone, Try { fast: "", ..ALICE }, "invalid-mechanism", "unknown mechanism"),
    ] {
        log.take("");
        assert_eq!(server.refused(token, with).await, want, "{reason}");
        let lines = log.take("a client cannot authenticate");
        assert!(lines.len() == 1 && lines.iter().all(|line| line.contains(reason)), "{reason}: {lines:?}");
    }
    // None of that took anything from the devices.
    server.by_token(&phone, ALICE).await.1.unwrap();
    let with = Try { agent: LAPTOP, mechanism: UNBOUND, ..ALICE };
    server.by_token(&laptop, with).await.1.unwrap();
}

/// An unknown user, an unknown device and a wrong token are told in the same words, and as late.
#[tokio::test(start_paused = true)]
async fn a_wrong_token_tells_nothing_about_accounts() {
    let server = Server::start().await;
    server.user("alice").await;
    let token = server.given("alice", PHONE, BOUND).await;
    let mut seen = Vec::new();
    let wrong = Token { text: "x".to_owned(), ..token };
    for with in [ALICE, Try { user: "nobody", ..ALICE }, Try { agent: LAPTOP, ..ALICE }] {
        let start = tokio::time::Instant::now();
        let failure = server.by_token(&wrong, with).await.1.unwrap_err();
        seen.push((failure, start.elapsed().as_millis()));
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    assert_eq!(seen[0].1 / 1000, 1, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_message_of_the_mechanism_is_malformed() {
    let server = Server::start().await;
    server.user("alice").await;
    for (message, want) in [
        ("<initial-response/>", "malformed-request"),
        ("", "malformed-request"),
        ("<initial-response>YWxpY2U=</initial-response>", "malformed-request"), // no NUL
        ("<initial-response>YWxpY2UAeA==</initial-response>", "malformed-request"), // too short a hash
    ] {
        let mut client = server.opened().await;
        let fast = "<fast xmlns='urn:xmpp:fast:0'/>";
        let begin = format!("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{BOUND}'>");
        client.send(&format!("{begin}{message}{}{fast}</authenticate>", agent(PHONE))).await;
        let failure = client.until("</failure>").await;
        assert!(failure.contains(want), "{message} {failure}");
    }
    // A token is not a password.
    let mut client = server.opened().await;
    let fast = format!("{}<fast xmlns='urn:xmpp:fast:0'/>", agent(PHONE));
    assert!(client.by_password("alice", PASSWORD, &fast).await.contains("invalid-mechanism"));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_have_a_token_comes_in_without_one() {
    let server = Server::start().await;
    server.user("alice").await;
    for more in [wish(BOUND), agent("x") + &wish(BOUND), agent(PHONE) + &wish("HT-MD5-NONE"), agent(PHONE)] {
        let mut client = server.opened().await;
        let said = client.by_password("alice", PASSWORD, &more).await;
        assert!(said.contains("</success>") && !said.contains("<token"), "{said}");
    }
    let mut client = server.opened().await;
    let said = client.by_password("alice", "wrong", &(agent(PHONE) + &wish(BOUND))).await;
    assert!(said.contains("<not-authorized") && !said.contains("<token"), "{said}");
}

/// §3.5: the new one comes well before the old one ends, which goes on until the new one was used.
#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_in_time() {
    let server = Server::start().await;
    server.user("alice").await;
    let first = server.given("alice", PHONE, BOUND).await;
    advance(8 * DAY).await;
    let come = async |server: &Server, token: &Token| server.by_token(token, ALICE).await.1;
    let second = token_in(&come(&server, &first).await.unwrap(), BOUND).unwrap();
    assert_ne!(first.text, second.text);
    // The client did not hear it: the old one is as good as before, and it is told of the same new one.
    let again = token_in(&come(&server, &first).await.unwrap(), BOUND).unwrap();
    assert_eq!(again.text, second.text);
    // After a crash as well.
    let server = server.restarted().await;
    assert!(token_in(&come(&server, &second).await.unwrap(), BOUND).is_none());
    assert_eq!(server.refused(&first, ALICE).await, "not-authorized");
    let server = server.restarted().await;
    assert_eq!(server.refused(&first, ALICE).await, "not-authorized");
    come(&server, &second).await.unwrap();
}

/// §3.5: of several that are asked for, those that were not used are over.
#[tokio::test(start_paused = true)]
async fn a_device_has_two_tokens_at_most() {
    let server = Server::start().await;
    server.user("alice").await;
    let first = server.given("alice", PHONE, BOUND).await;
    server.by_token(&first, ALICE).await.1.unwrap();
    let second = server.given("alice", PHONE, BOUND).await;
    let third = server.given("alice", PHONE, BOUND).await;
    assert_eq!(server.refused(&second, ALICE).await, "not-authorized");
    server.by_token(&first, ALICE).await.1.unwrap();
    server.by_token(&third, ALICE).await.1.unwrap();
    assert_eq!(server.refused(&first, ALICE).await, "not-authorized");
}

#[tokio::test(start_paused = true)]
async fn a_token_expires() {
    let server = Server::start().await;
    server.user("alice").await;
    let token = server.given("alice", PHONE, BOUND).await;
    advance(61 * DAY).await;
    assert_eq!(server.refused(&token, ALICE).await, "credentials-expired");
    // Only who has it learns that.
    let wrong = Token { text: "x".to_owned(), ..token };
    assert_eq!(server.refused(&wrong, ALICE).await, "not-authorized");
}

/// §3.6
#[tokio::test(start_paused = true)]
async fn a_client_ends_its_token() {
    let server = Server::start().await;
    server.user("alice").await;
    let token = server.given("alice", PHONE, BOUND).await;
    advance(8 * DAY).await;
    let ending = Try { fast: "<fast xmlns='urn:xmpp:fast:0' invalidate='true'/>", ..ALICE };
    let (_, said) = server.by_token(&token, ending).await;
    assert!(token_in(&said.unwrap(), BOUND).is_none());
    assert_eq!(server.refused(&token, ALICE).await, "not-authorized");
    let server = server.restarted().await;
    assert_eq!(server.refused(&token, ALICE).await, "not-authorized");
    // It gets another only where it asks.
    let token = server.given("alice", PHONE, BOUND).await;
    let more = wish(BOUND);
    let ending = Try { fast: "<fast xmlns='urn:xmpp:fast:0' invalidate='1'/>", more: &more, ..ALICE };
    let said = server.by_token(&token, ending).await.1.unwrap();
    server.by_token(&token_in(&said, BOUND).unwrap(), ALICE).await.1.unwrap();
    assert_eq!(server.refused(&token, ALICE).await, "not-authorized");
}

/// THREATS, "Token and session revocation".
#[tokio::test(start_paused = true)]
async fn tokens_end_with_the_password_and_with_the_account() {
    let server = Server::start().await;
    server.user("alice").await;
    let token = server.given("alice", PHONE, BOUND).await;
    let credentials = [("SCRAM-SHA-256".to_owned(), "x".to_owned())];
    let changed = server.store.set_credentials(&jid("alice"), &credentials).await.unwrap();
    // In the store they are over at once, whatever happens to the server now.
    let crashed = server.restarted().await;
    assert_eq!(crashed.refused(&token, ALICE).await, "credentials-expired");
    let cell = server.hub.resident(&jid("alice")).unwrap();
    server.hub.password_changed(&cell, changed);
    assert_eq!(server.refused(&token, ALICE).await, "credentials-expired");

    server.user("bob").await;
    let with = || Try { user: "bob", ..ALICE };
    let token = server.given("bob", PHONE, BOUND).await;
    let cell = server.hub.resident(&jid("bob")).unwrap();
    server.store.set_state(&jid("bob"), AccountState::Disabled).await.unwrap();
    assert_eq!(server.restarted().await.refused(&token, with()).await, "account-disabled");
    server.hub.state_changed(&cell, AccountState::Disabled);
    assert_eq!(server.refused(&token, with()).await, "not-authorized");
    server.store.set_state(&jid("bob"), AccountState::Enabled).await.unwrap();
    server.hub.state_changed(&cell, AccountState::Enabled);
    assert_eq!(server.refused(&token, with()).await, "not-authorized");
    assert_eq!(server.restarted().await.refused(&token, with()).await, "not-authorized");
}

/// The owner comes in, whatever strangers try with his name.
#[tokio::test(start_paused = true)]
async fn strangers_do_not_lock_a_device_out() {
    let server = Server::start().await;
    server.user("alice").await;
    let token = server.given("alice", PHONE, BOUND).await;
    let wrong = Token { text: "x".to_owned(), ..token.clone() };
    for n in 0..60 {
        let from = format!("198.51.100.{n}:1");
        let mut client = Client::direct(server.connect_from(&from, Security::DirectTls), &server.roots).await;
        client.open().await;
        client.by_token(&wrong, ALICE).await.unwrap_err();
    }
    let start = tokio::time::Instant::now();
    server.by_token(&token, ALICE).await.1.unwrap();
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    // And guessing from one place takes time.
    let start = tokio::time::Instant::now();
    for _ in 0..40 {
        let from = server.connect_from("203.0.113.1:1", Security::DirectTls);
        let mut client = Client::direct(from, &server.roots).await;
        client.open().await;
        client.by_token(&wrong, Try { user: "nobody", ..ALICE }).await.unwrap_err();
    }
    assert!(start.elapsed() > Duration::from_secs(50), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_is_nobodys_fault() {
    let server = Server::start().await;
    server.user("alice").await;
    let token = server.given("alice", PHONE, BOUND).await;
    let server = server.restarted().await;
    server.store.fail_reads(true);
    assert_eq!(server.refused(&token, ALICE).await, "temporary-auth-failure");
    server.store.fail_reads(false);
    server.by_token(&token, ALICE).await.1.unwrap();
}

/// A TLS session that goes on has another channel binding than the one before it, which both ends know.
#[tokio::test(start_paused = true)]
async fn a_token_is_bound_to_a_resumed_tls_session_as_well() {
    let server = Server::start().await;
    server.user("alice").await;
    let token = server.given("alice", PHONE, BOUND).await;
    let config = Arc::new(client_config(&server.roots, &[&TLS13]).unwrap());
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let io = server.connect(Security::DirectTls);
        let name = DOMAIN.try_into().unwrap();
        let stream = TlsConnector::from(Arc::clone(&config)).connect(name, io).await.unwrap();
        let mut client = Client::new(stream);
        client.open().await;
        kinds.push(client.io.get_ref().1.handshake_kind());
        client.by_token(&token, ALICE).await.unwrap();
    }
    assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
}

/// The bar for a restart: who comes back costs one read, with all that it asks for. Where somebody has just failed, a login
/// costs a row of the device, and the account only if it is right.
#[tokio::test(start_paused = true)]
async fn a_login_by_token_reads_the_account_at_most() {
    let server = Server::start().await;
    server.user("alice").await;
    let (device, said) = server.by_password("alice", PHONE, &format!("{BIND}{}", wish(BOUND))).await;
    let token = token_in(&said, BOUND).unwrap();
    let enabled = between(&said, "<enabled xmlns='urn:xmpp:sm:3'", "/>").unwrap();
    let id = between(enabled, " id='", "'").unwrap();
    let resume = format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>{BIND}");
    let resuming = || Try { more: &resume, ..ALICE };
    // The account is there: nothing is read.
    drop(device);
    let before = server.store.reads();
    let (device, said) = server.by_token(&token, resuming()).await;
    assert!(said.unwrap().contains("<resumed "));
    assert_eq!(server.store.reads() - before, 0);
    // The server stops and starts, and its accounts are loaded when somebody comes.
    server.c2s.stop(Duration::from_secs(5)).await;
    drop(device);
    server.hub.save().await;
    let store = Arc::new(server.store.reopened());
    let server = Server::on(store, Registry::new(unisono_xeps::ALL), Limits::default()).await;
    let before = server.store.reads();
    let (mut device, said) = server.by_token(&token, resuming()).await;
    assert!(said.unwrap().contains("<resumed "));
    assert_eq!(server.store.reads() - before, 1);
    device.ping().await;
    let server = server.restarted().await;
    let before = server.store.reads();
    let wrong = Token { text: "x".to_owned(), ..token };
    server.refused(&wrong, Try { user: "bob", ..ALICE }).await;
    assert_eq!(server.store.reads() - before, 1);
    let before = server.store.reads();
    server.refused(&wrong, ALICE).await;
    assert_eq!(server.store.reads() - before, 1);
    assert!(server.hub.resident(&jid("alice")).is_none());
}

/// THREATS, "Token and session revocation": sessions, resumption and tokens die with the device.
#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_device_that_is_taken_its_access() {
    let server = Server::start().await;
    server.user("alice").await;
    let (mut phone, said) = server.by_password("alice", PHONE, &format!("{BIND}{}", wish(BOUND))).await;
    let token = token_in(&said, BOUND).unwrap();
    let enabled = between(&said, "<enabled xmlns='urn:xmpp:sm:3'", "/>").unwrap();
    let id = between(enabled, " id='", "'").unwrap();
    let (mut laptop, _) = server.by_password("alice", LAPTOP, BIND).await;
    let cell = server.hub.resident(&jid("alice")).unwrap();
    let devices = server.hub.devices(&cell);
    let seen: Vec<_> = devices.iter().map(|device| (device.has_password, device.has_token)).collect();
    assert_eq!(seen.len(), 2);
    assert!(devices.iter().all(|device| device.name.as_deref() == Some("A phone") && device.has_password));
    let device = devices.iter().find(|device| device.has_token).unwrap().device;
    let reason = unisono_core::error::StreamCondition::NotAuthorized;
    let (ended, ticket) = server.hub.end_device(&cell, device, &reason);
    server.hub.store.wait(ticket).await;
    assert_eq!(ended, 1);
    let last_words = phone.rest().await;
    assert!(last_words.contains("<stream:error><not-authorized "), "{last_words}");
    laptop.ping().await;
    let resume = format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>");
    for server in [&server, &server.restarted().await] {
        assert_eq!(server.refused(&token, ALICE).await, "not-authorized");
        let (_, said) = server.by_password("alice", "d4565fa7-4d72-4749-b3d3-000000000000", &resume).await;
        assert!(said.contains("<failed ") && !said.contains(" h='"), "{said}");
    }
    assert!(server.hub.devices(&cell).iter().all(|known| known.device != device));
}

/// XEP-0494 §3.2, over XMPP: a device that knew an older password is no danger any more, and can be taken off the list.
#[tokio::test(start_paused = true)]
async fn the_owner_takes_back_what_a_password_did_not_give() {
    let server = Server::start().await;
    server.user("alice").await;
    server.given("alice", PHONE, BOUND).await;
    let cell = server.hub.resident(&jid("alice")).unwrap();
    let mut same = Vec::new();
    for family in ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let known = server.store.credential(&jid("alice"), family).await.unwrap().unwrap();
        same.push((family.to_owned(), known.text));
    }
    let changed = server.store.set_credentials(&jid("alice"), &same).await.unwrap();
    server.hub.password_changed(&cell, changed);
    let (mut laptop, _) = server.by_password("alice", LAPTOP, BIND).await;
    laptop.until("</stream:features>").await;
    laptop.send("<iq type='get' id='l'><list xmlns='urn:xmpp:cam:0'/></iq>").await;
    let list = laptop.until("</iq>").await;
    let clients: Vec<_> = list.split("<client ").skip(1).collect();
    assert_eq!(clients.len(), 2, "{list}");
    let mut answers = Vec::new();
    for client in clients.iter().rev() {
        let id = between(client, "id='", "'").unwrap();
        laptop.send(&format!("<iq type='set' id='r'><revoke xmlns='urn:xmpp:cam:0' id='{id}'/></iq>")).await;
        answers.push((client.contains("<password/>"), laptop.until("id='r'").await + &laptop.ping().await));
    }
    for (knows_password, answer) in &answers {
        let is_refused = answer.contains("<password-reset-required ");
        assert_eq!(is_refused, *knows_password, "{answer}");
    }
    assert_eq!(answers.iter().filter(|(knows, _)| *knows).count(), 1, "{list}");
    assert_eq!(server.hub.devices(&cell).len(), 1);
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let mut left = 100_000_u32;
    while !is_so() {
        left = left.checked_sub(1).unwrap_or_else(|| panic!("{what} did not come"));
        tokio::task::yield_now().await;
    }
}

/// A session that its client never heard of is not waited for: nobody could come back to it.
#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_was_told_of_ends_with_its_connection() {
    let server = Server::start().await;
    server.user("alice").await;
    let (mut device, _) = server.by_password("alice", PHONE, BIND).await;
    device.send("</stream:stream>").await;
    device.rest().await;
    drop(device);
    let cell = server.hub.resident(&jid("alice")).unwrap();
    assert_eq!(cell.lock().sessions().count(), 0);
    server.store.hold();
    let mut client = server.opened().await;
    let message = STANDARD.encode(format!("\0alice\0{PASSWORD}"));
    let agent = agent(PHONE);
    let first = format!("<initial-response>{message}</initial-response>{agent}{BIND}");
    let login = format!("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>{first}</authenticate>");
    client.send(&login).await;
    let count = || cell.lock().sessions().count();
    eventually("a session", || count() == 1).await;
    drop(client);
    eventually("its end", || server.c2s.connections() == 0).await;
    assert_eq!(count(), 0);
    server.store.release();
    // One that was told of is.
    let (device, _) = server.by_password("alice", PHONE, BIND).await;
    drop(device);
    eventually("its end", || server.c2s.connections() == 0).await;
    assert_eq!(count(), 1);
}
