//! The negotiation of a stream: what a stranger sends before he has proven anything, on the port for STARTTLS and inside of
//! TLS, to the real server on connections in memory and on paused time.
//!
//! - He is answered in well-formed XML: by features, challenges and failures of SASL, and at the end by one of the errors
//!   of RFC 6120 §4.9.3, or by nothing. Never by a success, and never by an error of ours.
//! - The connection ends in time, whatever he sends and however slowly, and leaves nothing behind.
//! - Of what is not understood yet, the server takes no more than an element may have.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use unisono_core::clock::{Clock, Random};
use unisono_core::extension::Registry;
use unisono_core::hub::{Hub, Settings};
use unisono_core::jid::BareJid;
use unisono_core::storage::Accounts as _;
use unisono_net::sasl::{Hash, Password, Policy, ScramKeys};
use unisono_net::tls::{CertStore, TlsIdentity, client_config};
use unisono_net::{C2s, Limits, STRANGER_ELEMENT_BYTES_MAX, Security};
use unisono_store::MemoryStore;
use unisono_xml::{Limits as XmlLimits, StreamReader};

const DOMAIN: &str = "example.org";
const NS_STREAMS: &str = "http://etherx.jabber.org/streams";
const NS_CONDITIONS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
const NS_SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const NS_SASL2: &str = "urn:xmpp:sasl:2";
const NS_TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// Bytes that are on their way, in each direction.
const LINK_BYTES: usize = 1024;
/// What the server reads at a time.
const READ_BYTES: usize = 512;

/// RFC 6120 §4.9.3, less what is not for a stranger to see: `internal-server-error` is a fault of ours, and so is
/// `undefined-condition`.
const CONDITIONS: [&str; 23] = [
    "bad-format",
    "bad-namespace-prefix",
    "conflict",
    "connection-timeout",
    "host-gone",
    "host-unknown",
    "improper-addressing",
    "invalid-from",
    "invalid-namespace",
    "invalid-xml",
    "not-authorized",
    "not-well-formed",
    "policy-violation",
    "remote-connection-failed",
    "reset",
    "resource-constraint",
    "restricted-xml",
    "see-other-host",
    "system-shutdown",
    "unsupported-encoding",
    "unsupported-feature",
    "unsupported-stanza-type",
    "unsupported-version",
];

/// What other elements a stranger may be told.
const TOLD: [(&str, &str); 8] = [
    ("features", NS_STREAMS),
    ("challenge", NS_SASL),
    ("failure", NS_SASL),
    ("challenge", NS_SASL2),
    ("failure", NS_SASL2),
    ("proceed", NS_TLS),
    ("failure", NS_TLS),
    ("failed", "urn:xmpp:sm:3"),
];

pub(crate) fn target(data: &[u8]) -> u64 {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clear = meet(data, Security::StartTls).await;
        clear.wrapping_mul(31).wrapping_add(meet(data, Security::DirectTls).await)
    })
}

/// One stranger, and what the server says to him.
async fn meet(data: &[u8], security: Security) -> u64 {
    let server = server().await;
    let limits = Limits::default();
    let (near, far) = tokio::io::duplex(LINK_BYTES);
    let peer: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let start = Instant::now();
    server.serve(far, peer, security);
    let patience = limits.authenticate_within + limits.close_within + Duration::from_secs(1);
    let talk = async {
        match security {
            Security::StartTls => talk(near, data).await,
            Security::DirectTls => {
                let tls = TlsConnector::from(trust().client.clone());
                talk(tls.connect(DOMAIN.try_into().unwrap(), near).await.unwrap(), data).await
            }
        }
    };
    let (told, taken) = timeout(patience, talk).await.expect("the connection ends in time");
    if security == Security::StartTls {
        let bounds = understood(data) + STRANGER_ELEMENT_BYTES_MAX + READ_BYTES + 2 * LINK_BYTES;
        assert!(taken <= bounds, "the server took {taken} bytes, where {bounds} are enough");
    }
    let outcome = judge(&told, data, security);
    assert!(start.elapsed() <= patience);
    assert_eq!(server.stop(Duration::from_secs(1)).await, 0, "the connection is still there");
    outcome
}

/// Sends all of it, in pieces and with pauses that it decides itself, and hears the server out. Returns what the server
/// said, and how much it had taken when it said its last words: from then on it throws away what comes.
async fn talk<IO: AsyncRead + AsyncWrite>(io: IO, data: &[u8]) -> (Vec<u8>, usize) {
    let (mut reader, mut writer) = tokio::io::split(io);
    let mut dice = data.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut roll = move |sides: u64| {
        dice = dice.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (dice >> 33) % sides
    };
    let taken = Mutex::new(0);
    let write = async {
        let is_slow = roll(4) == 0;
        for piece in data.chunks(piece_max(data)) {
            if writer.write_all(piece).await.is_err() || writer.flush().await.is_err() {
                break;
            }
            *taken.lock().unwrap() += piece.len();
            if is_slow && roll(20) == 0 {
                tokio::time::sleep(Duration::from_millis(roll(3_000))).await;
            }
        }
        // The stranger stays, until the server has enough of him.
        std::future::pending::<()>().await;
    };
    let read = async {
        let mut told = Vec::new();
        let mut at_last_words = None;
        // A connection that breaks has ended, too.
        while reader.read_buf(&mut told).await.is_ok_and(|count| count > 0) {
            if told.ends_with(b"</stream:stream>") {
                at_last_words.get_or_insert(*taken.lock().unwrap());
            }
        }
        (told, at_last_words)
    };
    let (told, at_last_words) = tokio::select! {
        biased;
        heard = read => heard,
        () = write => unreachable!("the stranger stays"),
    };
    let taken = at_last_words.unwrap_or(*taken.lock().unwrap());
    (told, taken)
}

/// Into how large pieces an input is cut.
fn piece_max(data: &[u8]) -> usize {
    let sum = data.iter().fold(data.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    [1, 7, 100, 10_000][sum % 4]
}

/// Bytes that are no part of something unfinished.
fn understood(data: &[u8]) -> usize {
    let mut reader = StreamReader::new(XmlLimits::none());
    let mut input = BytesMut::from(data);
    while let Ok(Some(_)) = reader.next(&mut input) {}
    data.len() - input.len()
}

/// Whether the server may say this. The outcome: what it said, in order.
fn judge(told: &[u8], data: &[u8], security: Security) -> u64 {
    let proceed = format!("<proceed xmlns='{NS_TLS}'/>");
    let end = told.windows(proceed.len()).position(|window| window == proceed.as_bytes());
    if let Some(end) = end {
        let request = data.windows(8).rposition(|window| window == b"starttls").expect("it was asked for");
        assert_eq!(security, Security::StartTls);
        // What came in one piece with the request would be read as if it had come inside of TLS.
        let is_alone = !data[request..].contains(&b'<');
        assert!(is_alone || data.len() > piece_max(data).min(READ_BYTES), "something came with it");
        // What follows is TLS, and the stranger's part of it is not.
        return 1 + judge_xml(&told[..end + proceed.len()]);
    }
    judge_xml(told)
}

fn judge_xml(told: &[u8]) -> u64 {
    let text = std::str::from_utf8(told).expect("the server speaks UTF-8");
    if text.is_empty() {
        return 0;
    }
    let is_closed = text.ends_with("</stream:stream>");
    let document = if is_closed { text.to_owned() } else { format!("{text}</stream:stream>") };
    let document = roxmltree::Document::parse(&document).unwrap_or_else(|error| panic!("{error}: {text}"));
    let root = document.root_element();
    assert!(root.has_tag_name((NS_STREAMS, "stream")) && root.attribute("version") == Some("1.0"), "{text}");
    assert!(matches!(root.attribute("from"), Some("example.org" | "example.net")), "{text}");
    assert!(root.children().all(|node| node.is_element()), "{text}");
    let children: Vec<_> = root.children().collect();
    let is_error = |node: &roxmltree::Node<'_, '_>| node.has_tag_name((NS_STREAMS, "error"));
    let before = children.iter().take_while(|node| !is_error(node)).count();
    let failures = children
        .iter()
        .filter(|node| node.has_tag_name((NS_SASL, "failure")) || node.has_tag_name((NS_SASL2, "failure")));
    let failures = failures.count();
    assert!(failures <= 4, "{text}");
    let mut outcome = u64::from(is_closed);
    for child in &children[..before] {
        let place = TOLD.iter().position(|(name, ns)| child.has_tag_name((*ns, *name)));
        let place = place.unwrap_or_else(|| panic!("{:?} is not for a stranger: {text}", child.tag_name()));
        let condition = child.first_element_child().map_or(0, |child| child.tag_name().name().len() as u64);
        outcome = outcome.wrapping_mul(37).wrapping_add(place as u64 + 7 * condition);
    }
    if let Some(error) = children.get(before) {
        assert!(is_closed && children.len() == before + 1, "something comes after an error: {text}");
        let conditions: Vec<_> =
            error.children().filter(|child| child.tag_name().namespace() == Some(NS_CONDITIONS)).collect();
        assert_eq!(conditions.len(), 1, "{text}");
        let name = conditions[0].tag_name().name();
        let place = CONDITIONS.iter().position(|condition| *condition == name);
        let place = place.unwrap_or_else(|| panic!("{text}"));
        outcome = outcome.wrapping_mul(37).wrapping_add(place as u64 + 100);
    }
    outcome
}

struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now_micros(&self) -> i64 {
        1_790_000_000_000_000 + i64::try_from(self.0.elapsed().as_micros()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The same numbers in every run.
struct Weyl(Mutex<u64>);

impl Random for Weyl {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap();
        for byte in bytes {
            *state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            *byte = state.to_be_bytes()[0];
        }
    }
}

/// A server of its own for each stranger, with an account that he may try.
async fn server() -> Arc<C2s> {
    let store = MemoryStore::new();
    let password = Password::prepare("what no corpus has and no chance brings forth").unwrap();
    let credentials = Hash::ALL.map(|hash| {
        let keys = ScramKeys::derive(&password, b"0123456789abcdef", NonZeroU32::new(10).unwrap(), hash);
        (hash.family().to_owned(), keys.to_string())
    });
    store.create(&BareJid::new(Some("alice"), DOMAIN).unwrap(), &credentials, 0).await.unwrap();
    let domains = [DOMAIN, "example.net"].map(|domain| domain.parse().unwrap()).into();
    let settings = Settings { domains, ..Settings::default() };
    let clock = Arc::new(PausedClock(Instant::now()));
    let random = Arc::new(Weyl(Mutex::new(1)));
    let hub =
        Hub::open(Arc::new(store), Registry::new(unisono_xeps::ALL), clock, random, settings).await.unwrap();
    C2s::new(hub, trust().certs.clone(), Limits::default(), Policy::default()).await.unwrap()
}

/// One certificate for all, since it takes longer to make than to use.
struct Trust {
    certs: Arc<CertStore>,
    client: Arc<ClientConfig>,
}

fn trust() -> &'static Trust {
    static TRUST: OnceLock<Trust> = OnceLock::new();
    TRUST.get_or_init(|| {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let certificate =
            CertificateParams::new([DOMAIN.to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        let identity = TlsIdentity::from_pem(certificate.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        let mut client = client_config(&certificate, &[&TLS13]).unwrap();
        client.resumption = Resumption::disabled();
        Trust { certs: Arc::new(CertStore::of_identity(identity)), client: Arc::new(client) }
    })
}

/// Else no rule would be tried where it matters.
#[test]
fn strangers_come_as_far_as_they_can() {
    let header = format!(
        "<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' xmlns:stream='{NS_STREAMS}'>"
    );
    let tell = |data: String, security| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let server = server().await;
            let (near, far) = tokio::io::duplex(LINK_BYTES);
            server.serve(far, "192.0.2.1:1".parse().unwrap(), security);
            let (told, _) = match security {
                Security::StartTls => talk(near, data.as_bytes()).await,
                Security::DirectTls => {
                    let tls = TlsConnector::from(trust().client.clone());
                    talk::<tokio_rustls::client::TlsStream<DuplexStream>>(
                        tls.connect(DOMAIN.try_into().unwrap(), near).await.unwrap(),
                        data.as_bytes(),
                    )
                    .await
                }
            };
            String::from_utf8_lossy(&told).into_owned()
        })
    };
    let auth = format!("<auth xmlns='{NS_SASL}' mechanism='SCRAM-SHA-256'>biwsbj1hbGljZSxyPWFiYw==</auth>");
    let told = tell(format!("{header}{auth}"), Security::DirectTls);
    assert!(told.contains("<challenge") && told.ends_with("</stream:stream>"), "{told}");
    let first = "<initial-response>biwsbj1hbGljZSxyPWFiYw==</initial-response>";
    let authenticate =
        format!("<authenticate xmlns='{NS_SASL2}' mechanism='SCRAM-SHA-256'>{first}</authenticate>");
    let told = tell(format!("{header}{authenticate}"), Security::DirectTls);
    assert!(told.contains("<challenge xmlns='urn:xmpp:sasl:2'>"), "{told}");
    let told = tell(format!("{header}<starttls xmlns='{NS_TLS}'/>"), Security::StartTls);
    assert!(told.contains("<proceed"), "{told}");
}
