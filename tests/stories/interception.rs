//! Somebody in between with a certificate that clients trust (THREATS: channel binding, as at jabber.ru in 2023).
//!
//! The man in the middle ends the client's TLS with a key of his own, opens another connection to the server, and reads and
//! changes what goes through. Whoever binds the login to the connection does not come in through him, whatever he does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use minidom::Element;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use unisono_net::tls::self_signed;

use crate::harness::{
    DOMAIN, Database, Exchange, Mechanism, NS_SASL, PASSWORD, Server, Start, Wire, handshake, trusting,
};

/// The names of the hashes of SCRAM.
const HASHES: [&str; 3] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"];
const BOUND: [Mechanism; 6] = [
    Mechanism::new("SCRAM-SHA-512-PLUS", Some("tls-exporter")),
    Mechanism::new("SCRAM-SHA-256-PLUS", Some("tls-exporter")),
    Mechanism::new("SCRAM-SHA-1-PLUS", Some("tls-exporter")),
    Mechanism::new("SCRAM-SHA-512-PLUS", Some("tls-server-end-point")),
    Mechanism::new("SCRAM-SHA-256-PLUS", Some("tls-server-end-point")),
    Mechanism::new("SCRAM-SHA-1-PLUS", Some("tls-server-end-point")),
];

/// How a connection gets its TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    StartTls,
}

/// What the man in the middle makes of what goes through.
#[derive(Clone, Copy)]
struct Edits {
    /// From the server to the client.
    offers: fn(&str) -> String,
    /// From the client to the server.
    answers: fn(&str) -> String,
}

impl Edits {
    /// He only listens.
    const NONE: Self = Self { offers: str::to_owned, answers: str::to_owned };
}

/// The man in the middle.
struct Between {
    at: SocketAddr,
    way: Way,
    /// What deceived clients trust.
    trusted: Arc<ClientConfig>,
}

impl Between {
    async fn start(server: &Server, way: Way, edits: Edits) -> Self {
        let made = self_signed(&[DOMAIN.to_owned()], SystemTime::now()).unwrap();
        let certificate = CertificateDer::from_pem_slice(made.certificate_pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let to = server.address(if way == Way::Direct { "direct_tls" } else { "starttls" });
        let (trusts, listener) = (server.tls(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(to).await.unwrap();
                // A client that gives up is no failure of this story.
                tokio::spawn(relay(client, server, way, acceptor.clone(), trusts.clone(), edits));
            }
        });
        Self { at, way, trusted: trusting(made.certificate_pem.as_bytes()) }
    }

    /// A client comes, and takes him for the server.
    async fn reach(&self) -> Wire {
        let tcp = TcpStream::connect(self.at).await.unwrap();
        if self.way == Way::Direct {
            return Wire::direct(tcp, self.trusted.clone()).await.unwrap();
        }
        let mut wire = Wire::plain(tcp);
        wire.open().await;
        wire.start_tls(self.trusted.clone()).await.unwrap()
    }
}

async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    way: Way,
    acceptor: TlsAcceptor,
    trusts: Arc<ClientConfig>,
    edits: Edits,
) -> std::io::Result<()> {
    if way == Way::StartTls {
        in_the_clear(&mut client, &mut server).await?;
    }
    let (mut client, (mut server, _)) = (acceptor.accept(client).await?, handshake(server, trusts).await?);
    let (mut said, mut offered) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            read = client.read_buf(&mut said) => {
                if read? == 0 { return server.shutdown().await; }
                if let Some(text) = whole(&mut said) { server.write_all((edits.answers)(&text).as_bytes()).await?; }
            }
            read = server.read_buf(&mut offered) => {
                if read? == 0 { return client.shutdown().await; }
                if let Some(text) = whole(&mut offered) { client.write_all((edits.offers)(&text).as_bytes()).await?; }
            }
        }
    }
}

/// Until both may begin with TLS.
async fn in_the_clear(client: &mut TcpStream, server: &mut TcpStream) -> std::io::Result<()> {
    let (mut said, mut offered) = ([0; 4096], Vec::new());
    while !offered.windows(8).any(|bytes| bytes == b"<proceed") {
        let from = offered.len();
        tokio::select! {
            read = client.read(&mut said) => {
                let read = read?;
                server.write_all(&said[..read]).await?;
            }
            read = server.read_buf(&mut offered) => {
                read?;
                client.write_all(&offered[from..]).await?;
            }
        }
    }
    Ok(())
}

/// What has come, once it is whole: features are not cut.
fn whole(bytes: &mut Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes.clone()).ok()?;
    let is_whole =
        !text.contains("<stream:stream ") || !text.contains(" id=") || text.contains("</stream:features>");
    (text.ends_with('>') && is_whole).then(|| {
        bytes.clear();
        text
    })
}

/// What came of a login.
#[derive(Debug, PartialEq, Eq)]
enum End {
    In,
    /// The server refuses with this condition.
    Refused(String),
    /// The client sees by the hash of XEP-0474 that it was not shown what the server offers.
    Noticed,
}

fn refused() -> End {
    End::Refused("not-authorized".to_owned())
}

/// What a client is and does.
#[derive(Clone, Copy)]
struct Client {
    mechanism: Mechanism,
    /// The header of its messages, where it is not the usual one.
    gs2: Option<&'static str>,
    /// Whether it looks at the hash of XEP-0474.
    looks: bool,
}

impl From<Mechanism> for Client {
    fn from(mechanism: Mechanism) -> Self {
        Self { mechanism, gs2: None, looks: false }
    }
}

impl Client {
    async fn log_in(self, mut wire: Wire) -> End {
        let features = wire.open().await;
        let exchange = Exchange::new(self.mechanism, "alice", PASSWORD);
        let mut exchange = match self.gs2 {
            Some(gs2) => exchange.says(gs2),
            None => exchange,
        };
        let (name, first) = (self.mechanism.name, exchange.first());
        wire.send(&format!("<auth xmlns='{NS_SASL}' mechanism='{name}'>{first}</auth>")).await;
        let mut answer = wire.element().await;
        if answer.is("challenge", NS_SASL) {
            if self.looks && !self.is_what_was_hashed(&features, &answer.text()) {
                return End::Noticed;
            }
            let binding = match self.mechanism.binding {
                Some("tls-exporter") => wire.bindings.exporter.clone(),
                Some(_) => wire.bindings.end_point.clone(),
                None => Vec::new(),
            };
            let last = exchange.last(&answer.text(), &binding);
            wire.send(&format!("<response xmlns='{NS_SASL}'>{last}</response>")).await;
            answer = wire.element().await;
        }
        if answer.is("success", NS_SASL) {
            assert!(exchange.is_proven(&answer.text()), "the server proves nothing");
            return End::In;
        }
        End::Refused(answer.children().next().expect("a condition").name().to_owned())
    }

    /// XEP-0474 §6.1 and §6.2.
    fn is_what_was_hashed(self, features: &Element, challenge: &str) -> bool {
        let challenge = String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
        let said = challenge.split(',').find_map(|part| part.strip_prefix("h=")).unwrap_or_default();
        let text = announced(features);
        STANDARD.encode(self.mechanism.digest(text.as_bytes())) == said
    }
}

/// XEP-0474 §6.1: what is offered, as the text that is hashed.
pub(super) fn announced(features: &Element) -> String {
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names.join("\u{1e}")
    };
    let mechanisms = features.get_child("mechanisms", NS_SASL).unwrap().children();
    let mut text = sorted(mechanisms.map(Element::text).collect());
    if let Some(types) = features.get_child("sasl-channel-binding", "urn:xmpp:sasl-cb:0") {
        let types = types.children().map(|one| one.attr("type").unwrap().to_owned());
        text.push('\u{1f}');
        text.push_str(&sorted(types.collect()));
    }
    text
}

/// Takes the elements that begin and end like this out of a text.
fn without(text: &str, start: &str, end: &str, fits: impl Fn(&str) -> bool) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(start) {
        let stop = at + rest[at..].find(end).unwrap() + end.len();
        let is_out = fits(&rest[at..stop]);
        out.push_str(&rest[..if is_out { at } else { stop }]);
        rest = &rest[stop..];
    }
    out + rest
}

/// The mechanisms that fit are not offered.
fn without_mechanisms(text: &str, fits: impl Fn(&str) -> bool) -> String {
    without(text, "<mechanism>", "</mechanism>", fits)
}

/// Nothing of channel binding is offered.
fn without_plus(text: &str) -> String {
    let text = without_mechanisms(text, |one| one.contains("-PLUS"));
    without(&text, "<sasl-channel-binding", "</sasl-channel-binding>", |_| true)
}

/// Changes what is in base64 inside of an element of SASL.
fn inside(text: &str, name: &str, change: impl Fn(&str) -> String) -> String {
    let Some(at) = text.find(&format!("<{name} ")) else { return text.to_owned() };
    let start = at + text[at..].find('>').unwrap() + 1;
    let end = start + text[start..].find('<').unwrap();
    let data = String::from_utf8(STANDARD.decode(&text[start..end]).unwrap()).unwrap();
    format!("{}{}{}", &text[..start], STANDARD.encode(change(&data)), &text[end..])
}

/// The header of the first message, and where the last one repeats it.
fn with_header(text: &str, old: &str, new: &str) -> String {
    let text = inside(text, "auth", |data| data.replacen(old, new, 1));
    inside(&text, "response", |data| data.replace(&STANDARD.encode(old), &STANDARD.encode(new)))
}

async fn server() -> Server {
    // Nobody waits here because many logins fail.
    let set = vec!["limits.auth_delay_max=0s"];
    let server = Server::start(Start { database: Database::Sqlite, set }).await;
    server.account("alice").await;
    server
}

#[tokio::test]
async fn a_bound_login_does_not_go_through_other_hands() {
    for way in [Way::Direct, Way::StartTls] {
        let mut server = server().await;
        let between = Between::start(&server, way, Edits::NONE).await;
        join_all(BOUND.map(async |mechanism| {
            assert_eq!(Client::from(mechanism).log_in(server.secure().await).await, End::In, "{mechanism:?}");
            let end = Client::from(mechanism).log_in(between.reach().await).await;
            assert_eq!(end, refused(), "{way:?} {mechanism:?}");
        }))
        .await;
        // It is the connection that does not fit, and nothing else.
        server.stop().await;
        let log = server.log();
        assert_eq!(log.matches("channel bindings do not match").count(), BOUND.len(), "{log}");
    }
}

#[tokio::test]
async fn who_is_not_shown_the_bound_mechanisms_is_refused() {
    // He hides the mechanisms, and the types with them or not.
    let hides_both = Edits { offers: without_plus, ..Edits::NONE };
    let hides_mechanisms =
        Edits { offers: |text| without_mechanisms(text, |one| one.contains("-PLUS")), ..Edits::NONE };
    for (way, edits) in [(Way::Direct, hides_both), (Way::StartTls, hides_mechanisms)] {
        let mut server = server().await;
        let between = Between::start(&server, way, edits).await;
        join_all(HASHES.map(async |name| {
            let client = Client { gs2: Some("y,,"), ..Client::from(Mechanism::new(name, None)) };
            // RFC 5802 §6: the client could, and says that it was not offered any.
            assert_eq!(client.log_in(between.reach().await).await, refused(), "{way:?} {name}");
        }))
        .await;
        server.stop().await;
        let log = server.log();
        let downgrade = "downgrade: client did not see the -PLUS mechanisms";
        assert_eq!(log.matches(downgrade).count(), HASHES.len(), "{log}");
    }
}

#[tokio::test]
async fn what_was_said_of_the_binding_cannot_be_changed_on_the_way() {
    let server = server().await;
    let scram = Mechanism::new("SCRAM-SHA-256", None);
    let deceived = Client { gs2: Some("y,,"), ..Client::from(scram) };
    let [_, bound, ..] = BOUND;
    let y_to_n: fn(&str) -> String = |text| inside(text, "auth", |data| data.replacen("y,,", "n,,", 1));
    let y_to_n_throughout: fn(&str) -> String = |text| with_header(text, "y,,", "n,,");
    let other_type: fn(&str) -> String =
        |text| with_header(text, "p=tls-exporter,,", "p=tls-server-end-point,,");
    let unbound: fn(&str) -> String = |text| {
        let text = text.replace("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256");
        inside(&text, "auth", |data| data.replacen("p=tls-exporter,,", "n,,", 1))
    };
    let tries = [
        (deceived, without_plus as fn(&str) -> String, y_to_n),
        (deceived, without_plus, y_to_n_throughout),
        (Client::from(bound), str::to_owned, other_type),
        (Client::from(bound), str::to_owned, unbound),
    ]
    .into_iter()
    .enumerate()
    .map(async |(number, (client, offers, answers))| {
        let between = Between::start(&server, Way::Direct, Edits { offers, answers }).await;
        assert_eq!(client.log_in(between.reach().await).await, refused(), "{number}");
    });
    join_all(tries).await;
}

/// XEP-0474: a client that has no channel binding sees that it was not shown all, too.
#[tokio::test]
async fn a_list_that_was_made_shorter_is_noticed() {
    let server = server().await;
    let only_sha1: fn(&str) -> String =
        |text| without_mechanisms(&without_plus(text), |one| one != "<mechanism>SCRAM-SHA-1</mechanism>");
    let fewer_types: fn(&str) -> String =
        |text| without(text, "<channel-binding ", "/>", |one| one.contains("tls-exporter"));
    let looks = |name| Client { looks: true, ..Client::from(Mechanism::new(name, None)) };
    for name in HASHES {
        assert_eq!(looks(name).log_in(server.secure().await).await, End::In, "{name}");
    }
    for (number, offers) in [only_sha1, without_plus, fewer_types].into_iter().enumerate() {
        let between = Between::start(&server, Way::Direct, Edits { offers, ..Edits::NONE }).await;
        let end = looks("SCRAM-SHA-1").log_in(between.reach().await).await;
        assert_eq!(end, End::Noticed, "{number}");
    }
    // He makes the hash fit what he shows, or takes it out: the proof is of another exchange then.
    let fits: fn(&str) -> String = |text| {
        inside(&without_plus(text), "challenge", |data| {
            let shown = ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"].join("\u{1e}");
            let hash = STANDARD.encode(Mechanism::USUAL.digest(shown.as_bytes()));
            let parts = data.split(',').map(|part| match part.strip_prefix("h=") {
                Some(_) => format!("h={hash}"),
                None => part.to_owned(),
            });
            parts.collect::<Vec<_>>().join(",")
        })
    };
    let between = Between::start(&server, Way::Direct, Edits { offers: fits, ..Edits::NONE }).await;
    assert_eq!(looks("SCRAM-SHA-1").log_in(between.reach().await).await, refused());
}

/// A client that knows no channel binding has no protection but its certificates, and is let in: there are many.
#[tokio::test]
async fn who_knows_no_channel_binding_comes_in() {
    let server = server().await;
    for (way, offers) in [(Way::Direct, str::to_owned as fn(&str) -> String), (Way::StartTls, without_plus)] {
        let between = Between::start(&server, way, Edits { offers, ..Edits::NONE }).await;
        for name in HASHES {
            let client = Client::from(Mechanism::new(name, None));
            assert_eq!(client.log_in(server.secure().await).await, End::In, "{name}");
            assert_eq!(client.log_in(between.reach().await).await, End::In, "{way:?} {name}");
        }
    }
}
