//! The server inside of this thread: the real core, extensions and streams, on a clock, a network, a disk and chance that
//! the seed decides.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::version::TLS13;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use unisono_conformance::converge::{
    Account, Accounts as People, Cast, DeviceNo, Link, Loss, Network, Random, World,
};
use unisono_core::clock::{Clock, Random as Chance};
use unisono_core::extension::Registry;
use unisono_core::hub::{Hub, Settings};
use unisono_core::jid::BareJid;
use unisono_core::storage::{Accounts as _, Journal as _};
use unisono_net::sasl::{Hash, Password, Policy, ScramKeys};
use unisono_net::tls::{CertStore, TlsIdentity, client_config};
use unisono_net::{C2s, Limits, Security};
use unisono_store::MemoryStore;

use super::disk::Disk;
use super::faults::Fault;
use super::link::{LoggedIn, Plug};

pub(super) const DOMAIN: &str = "example.org";
pub(super) const PASSWORD: &str = "secret";
/// As in the server: how long it waits for connections and for the store when it stops, and how often it cleans up.
const GRACE: Duration = Duration::from_secs(10);
const CURSORS_EVERY: Duration = Duration::from_millis(250);
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Bytes that are on their way between the server and the network.
const BUFFER: usize = 64 * 1024;

/// Time that only passes when everybody waits.
struct PausedClock {
    start: Instant,
    /// Microseconds by which the shown time was moved.
    moved: AtomicI64,
}

impl Clock for PausedClock {
    fn now_micros(&self) -> i64 {
        let passed = i64::try_from(self.start.elapsed().as_micros()).unwrap();
        1_790_000_000_000_000 + passed + self.moved.load(Ordering::Relaxed)
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

struct Dice(Mutex<Random>);

impl Chance for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        let mut random = self.0.lock().unwrap();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&random.bits().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// The certificate of all servers, and who trusts it. One is enough: to make it takes longer than many a run.
struct Trust {
    certs: Arc<CertStore>,
    client: Arc<ClientConfig>,
}

fn trust() -> &'static Trust {
    static TRUST: OnceLock<Trust> = OnceLock::new();
    TRUST.get_or_init(|| {
        // The signatures of this kind are all of one length, so that no byte of a handshake comes at another time.
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new([DOMAIN.to_owned()]).unwrap();
        params.serial_number = Some(1_u64.into());
        let (certificate, key) = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
        let identity = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let mut client = client_config(&certificate, &[&TLS13]).unwrap();
        // No run may depend on the ones before.
        client.resumption = Resumption::disabled();
        Trust { certs: Arc::new(CertStore::of_identity(identity)), client: Arc::new(client) }
    })
}

/// One run of the server.
struct Life {
    hub: Arc<Hub>,
    c2s: Arc<C2s>,
    disk: Arc<Disk>,
    upkeep: Vec<AbortHandle>,
    plugs: Vec<Plug>,
}

impl Life {
    fn end(self) -> MemoryStore {
        let left = self.disk.crash();
        self.upkeep.iter().for_each(AbortHandle::abort);
        self.plugs.iter().for_each(Plug::tear);
        left
    }
}

struct Server {
    random: Random,
    life: Option<Life>,
    /// What is stored, while nobody uses it.
    left: Option<MemoryStore>,
}

/// The world of one run.
pub(super) struct Simulated {
    server: Mutex<Server>,
    network: Network,
    clock: Arc<PausedClock>,
    people: Arc<People>,
    /// By the numbers of the devices: whose they are.
    owners: Vec<usize>,
    fault: Fault,
}

impl Simulated {
    /// A server that runs, with the accounts of the cast.
    pub(super) async fn open(cast: &Cast, seed: u64, fault: Fault) -> Self {
        let store = MemoryStore::new();
        for name in &cast.users {
            create(&store, name).await;
        }
        let account = |name: &String| Account { local: name.clone(), password: PASSWORD.to_owned() };
        let users = cast.users.iter().map(account).collect();
        // People come first, then those who read their archives.
        let auditors = 0..cast.users.len();
        let world = Self {
            server: Mutex::new(Server { random: Random::new(!seed), life: None, left: Some(store) }),
            network: Network::default(),
            clock: Arc::new(PausedClock { start: Instant::now(), moved: AtomicI64::new(0) }),
            people: Arc::new(People { domain: DOMAIN.to_owned(), users }),
            owners: cast.parts.iter().map(|part| part.user.0).chain(auditors).collect(),
            fault,
        };
        world.start().await.unwrap();
        world
    }

    pub(super) fn people(&self) -> Arc<People> {
        self.people.clone()
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    /// The server's end of a new connection, if there is a server.
    fn accept(&self, device: DeviceNo) -> Option<tokio::io::DuplexStream> {
        let mut server = self.server();
        let life = server.life.as_mut()?;
        let (near, far) = tokio::io::duplex(BUFFER);
        let plug = Plug::new(near);
        life.plugs.push(plug.clone());
        let peer: SocketAddr = format!("192.0.2.{}:1", device.0 + 1).parse().unwrap();
        life.c2s.serve(plug, peer, Security::DirectTls);
        Some(far)
    }
}

/// An account with the password of all accounts here. Few rounds: there are many logins.
async fn create(store: &MemoryStore, name: &str) {
    let password = Password::prepare(PASSWORD).unwrap();
    let credentials = Hash::ALL.map(|hash| {
        let keys = ScramKeys::derive(&password, b"0123456789abcdef", NonZeroU32::new(10).unwrap(), hash);
        (hash.family().to_owned(), keys.to_string())
    });
    store.create(&BareJid::new(Some(name), DOMAIN).unwrap(), &credentials, 0).await.unwrap();
}

/// What the server does from time to time.
async fn housekeeping(hub: Arc<Hub>) {
    let mut cursors = tokio::time::interval(CURSORS_EVERY);
    let mut second = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            biased;
            _ = cursors.tick() => {
                hub.store_cursors();
            }
            _ = second.tick() => hub.sweep(),
        }
    }
}

impl World for Simulated {
    async fn connect(&self, device: DeviceNo) -> anyhow::Result<Box<dyn Link>> {
        let far = self.accept(device).ok_or_else(|| anyhow::anyhow!("the server is down"))?;
        let near = self.network.join(device, far);
        let stream = TlsConnector::from(trust().client.clone()).connect(DOMAIN.try_into()?, near).await?;
        let name = &self.people.users[self.owners[device.0]].local;
        Ok(Box::new(LoggedIn::new(stream, name).await?))
    }

    fn lose(&self, device: DeviceNo, how: Loss) {
        self.network.lose(device, how);
    }

    fn delay(&self, device: DeviceNo, time: Duration) {
        self.network.delay(device, time);
    }

    fn kill(&self) {
        let mut server = self.server();
        if let Some(life) = server.life.take() {
            server.left = Some(life.end());
        }
    }

    async fn stop(&self) -> anyhow::Result<()> {
        let Some(life) = self.server().life.take() else { return Ok(()) };
        life.c2s.stop(GRACE).await;
        // What writes to the disk goes on until all is saved.
        life.upkeep[1..].iter().for_each(AbortHandle::abort);
        let saved = timeout(GRACE, life.hub.save()).await;
        life.disk.close().await;
        self.server().left = Some(life.end());
        saved.map_err(|_| anyhow::anyhow!("the store did not take the last changes"))
    }

    async fn start(&self) -> anyhow::Result<()> {
        let (store, dice, luck) = {
            let mut server = self.server();
            let Some(store) = server.left.take() else { anyhow::bail!("the server runs already") };
            let [dice, luck] = [server.random.bits(), server.random.bits()].map(Random::new);
            (store, dice, luck)
        };
        let disk = Arc::new(Disk::new(store, luck, self.fault));
        let mut upkeep = vec![tokio::spawn(disk.clone().work()).abort_handle()];
        let settings = Settings { domains: vec![BareJid::domain_jid(DOMAIN)?], ..Settings::default() };
        let registry = Registry::new(unisono_xeps::ALL);
        let random = Arc::new(Dice(Mutex::new(dice)));
        let hub = Hub::open(disk.clone(), registry, self.clock.clone(), random, settings).await?;
        let c2s = C2s::new(hub.clone(), trust().certs.clone(), Limits::default(), Policy::default()).await?;
        upkeep.push(tokio::spawn(housekeeping(hub.clone())).abort_handle());
        let restored = hub.clone();
        upkeep.push(tokio::spawn(async move { restored.restore().await.unwrap() }).abort_handle());
        self.server().life = Some(Life { hub, c2s, disk, upkeep, plugs: Vec::new() });
        Ok(())
    }

    async fn step_clock(&self, seconds: i64) -> anyhow::Result<()> {
        self.clock.moved.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
        Ok(())
    }
}
