//! A server to test.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::DuplexStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use unisono_core::clock::{Clock, Random};
use unisono_core::extension::Registry;
use unisono_core::hub::{Hub, Settings};
use unisono_core::jid::BareJid;
use unisono_core::storage::Accounts;
use unisono_net::sasl::{Hash, Password, Policy, ScramKeys};
use unisono_net::tls::{CertStore, SelfSigned, TlsIdentity, self_signed};
use unisono_net::{C2s, Limits, Security};
use unisono_store::MemoryStore;

use crate::client::Client;

/// A client on a connection in memory, inside of TLS.
pub(crate) type Device = Client<TlsStream<DuplexStream>>;

pub(crate) const DOMAIN: &str = "example.org";
pub(crate) const PASSWORD: &str = "secret";

struct TestClock(Instant);

impl Clock for TestClock {
    fn now_micros(&self) -> i64 {
        1_700_000_000_000_000 + i64::try_from(self.0.elapsed().as_micros()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

pub(crate) struct Server {
    pub(crate) c2s: Arc<C2s>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: Arc<MemoryStore>,
    /// What clients trust.
    pub(crate) roots: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        Self::on(Arc::new(MemoryStore::new()), Registry::new(unisono_xeps::ALL), limits).await
    }

    pub(crate) async fn on(store: Arc<MemoryStore>, registry: Registry, limits: Limits) -> Self {
        let settings = Settings {
            domains: [DOMAIN, "example.net"].map(|domain| domain.parse().unwrap()).into(),
            ..Settings::default()
        };
        let clock = Arc::new(TestClock(Instant::now()));
        let hub = Hub::open(store.clone(), registry, clock, Arc::new(SystemRandom), settings).await.unwrap();
        let SelfSigned { certificate_pem, key_pem, .. } =
            self_signed(&[DOMAIN.to_owned(), "example.net".to_owned()], SystemTime::now()).unwrap();
        let identity = TlsIdentity::from_pem(certificate_pem.as_bytes(), key_pem.as_bytes()).unwrap();
        let certs = Arc::new(CertStore::of_identity(identity));
        let c2s = C2s::new(hub.clone(), certs, limits, Policy::default()).await.unwrap();
        Self { c2s, hub, store, roots: certificate_pem }
    }

    /// The next run, on what is durable.
    pub(crate) async fn restarted(&self) -> Self {
        let store = Arc::new(self.store.reopened());
        let server = Self::on(store, Registry::new(unisono_xeps::ALL), Limits::default()).await;
        server.hub.restore().await.unwrap();
        server
    }

    /// An account with the password of all accounts here. Few rounds: the tests do many logins.
    pub(crate) async fn user(&self, name: &str) {
        let password = Password::prepare(PASSWORD).unwrap();
        let credentials = Hash::ALL.map(|hash| {
            let keys = ScramKeys::derive(&password, b"0123456789abcdef", NonZeroU32::new(10).unwrap(), hash);
            (hash.family().to_owned(), keys.to_string())
        });
        self.store.create(&jid(name), &credentials, 0).await.unwrap();
    }

    /// The other end of a connection that was just accepted.
    pub(crate) fn connect(&self, security: Security) -> DuplexStream {
        self.connect_from("192.0.2.1:1", security)
    }

    pub(crate) fn connect_from(&self, peer: &str, security: Security) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        self.c2s.serve(theirs, peer.parse::<SocketAddr>().unwrap(), security);
        ours
    }

    /// A client after the TLS handshake on the port for direct TLS.
    pub(crate) async fn client(&self) -> Device {
        Client::direct(self.connect(Security::DirectTls), &self.roots).await
    }

    /// A device that is authenticated and bound.
    pub(crate) async fn device(&self, name: &str, resource: &str) -> Device {
        let mut client = self.client().await;
        client.log_in(name).await;
        client.bind(resource).await;
        client
    }
}

pub(crate) fn jid(name: &str) -> BareJid {
    BareJid::new(Some(name), DOMAIN).unwrap()
}
