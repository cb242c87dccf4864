//! The server inside of this thread: the real core, extensions and streams, on a clock, a network, a disk and chance that
//! the seed decides.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use unisono_conformance::converge::{
    Account, Accounts as People, Cast, DeviceNo, Event, Link, Loss, Network, Random, Recorder, World,
};
use unisono_core::clock::{Clock, Random as Chance};
use unisono_core::extension::Registry;
use unisono_core::hub::{Hub, Settings};
use unisono_core::jid::BareJid;
use unisono_core::storage::{Accounts as _, Journal as _};
use unisono_net::sasl::{Hash, Password, Policy, ScramKeys};
use unisono_net::tls::{CertStore, TlsIdentity};
use unisono_net::{C2s, Limits, Security};
use unisono_store::MemoryStore;

use super::disk::Disk;
use super::faults::Fault;
use super::link::{LoggedIn, Plug, Trace};

pub(super) const DOMAIN: &str = "example.org";
pub(super) const PASSWORD: &str = "secret";
/// As in the server: how long it waits for connections and for the store when it stops, and how often it cleans up.
const GRACE: Duration = Duration::from_secs(10);
const CURSORS_EVERY: Duration = Duration::from_millis(250);
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long it takes until a server that died by itself is there again.
const RESTART_AFTER: Duration = Duration::from_millis(20);
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
        let certificate = params.self_signed(&key).unwrap();
        let (text, key) = (certificate.pem(), key.serialize_pem());
        let identity = TlsIdentity::from_pem(text.as_bytes(), key.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        // Nobody listens, so one of two key exchanges is enough.
        let provider = CryptoProvider { kx_groups: vec![kx_group::X25519], ..default_provider() };
        let client = ClientConfig::builder_with_provider(Arc::new(provider));
        let client = client.with_protocol_versions(&[&TLS13]).unwrap();
        let mut client = client.with_root_certificates(roots).with_no_client_auth();
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
    /// How many there were.
    lives: u32,
    /// What is stored, while nobody uses it.
    left: Option<MemoryStore>,
    /// It died by itself, and is about to come back.
    restart: Option<AbortHandle>,
    /// It did, and nobody has asked yet.
    has_come_back: bool,
    /// Nothing fails any more.
    is_mended: bool,
}

/// The world of one run.
pub(super) struct Simulated {
    me: Weak<Self>,
    server: Mutex<Server>,
    network: Network,
    clock: Arc<PausedClock>,
    people: Arc<People>,
    /// By the numbers of the devices: whose they are.
    owners: Vec<usize>,
    fault: Fault,
    recorder: Recorder,
    trace: Trace,
}

impl Simulated {
    /// A server that runs, with the accounts of the cast.
    pub(super) async fn open(cast: &Cast, seed: u64, fault: Fault, recorder: &Recorder) -> Arc<Self> {
        let store = MemoryStore::new();
        for name in &cast.users {
            create(&store, name).await;
        }
        let account = |name: &String| Account { local: name.clone(), password: PASSWORD.to_owned() };
        let users = cast.users.iter().map(account).collect();
        // People come first, then those who read their archives.
        let auditors = 0..cast.users.len();
        let server = Server {
            random: Random::new(!seed),
            life: None,
            lives: 0,
            left: Some(store),
            restart: None,
            has_come_back: false,
            is_mended: false,
        };
        let world = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            server: Mutex::new(server),
            network: Network::default(),
            clock: Arc::new(PausedClock { start: Instant::now(), moved: AtomicI64::new(0) }),
            people: Arc::new(People { domain: DOMAIN.to_owned(), users }),
            owners: cast.parts.iter().map(|part| part.user.0).chain(auditors).collect(),
            fault,
            recorder: recorder.clone(),
            trace: Trace::new(),
        });
        world.start().await.unwrap();
        world
    }

    /// What devices said and heard until now.
    pub(super) fn take_trace(&self) -> Vec<u8> {
        self.trace.take()
    }

    pub(super) fn people(&self) -> Arc<People> {
        self.people.clone()
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    /// The server's end of a new connection, if there is a server, and which life of it this is.
    fn accept(&self, device: DeviceNo) -> Option<(tokio::io::DuplexStream, u32)> {
        let mut server = self.server();
        let number = server.lives;
        let life = server.life.as_mut()?;
        let (near, far) = tokio::io::duplex(BUFFER);
        let plug = Plug::new(near);
        life.plugs.push(plug.clone());
        let peer: SocketAddr = format!("192.0.2.{}:1", device.0 + 1).parse().unwrap();
        life.c2s.serve(plug, peer, Security::DirectTls);
        Some((far, number))
    }

    /// The server died by itself, if nobody stops it at the moment: who does has the same news.
    fn crashed(&self) {
        let mut server = self.server();
        let Some(life) = server.life.take() else { return };
        self.recorder.add(Event::ServerKilled);
        server.left = Some(life.end());
        let me = self.me.clone();
        let restart = tokio::spawn(async move {
            tokio::time::sleep(RESTART_AFTER).await;
            let Some(world) = me.upgrade() else { return };
            world.server().restart = None;
            world.come_back().await;
        });
        server.restart = Some(restart.abort_handle());
    }

    /// Starts a server that died by itself.
    async fn come_back(&self) {
        if self.start_life().await {
            self.recorder.add(Event::ServerStarted);
            self.server().has_come_back = true;
        }
    }

    /// Starts the server, if it does not run, and says whether it did not.
    async fn start_life(&self) -> bool {
        let (store, [dice, luck], is_mended) = {
            let mut server = self.server();
            server.restart.take().iter().for_each(AbortHandle::abort);
            let Some(store) = server.left.take() else { return false };
            server.lives += 1;
            (store, [server.random.bits(), server.random.bits()].map(Random::new), server.is_mended)
        };
        let disk = Arc::new(Disk::new(store, luck, self.fault, self.recorder.clone()));
        if is_mended {
            disk.mend();
        }
        let mut upkeep = vec![tokio::spawn(disk.clone().work()).abort_handle()];
        let settings =
            Settings { domains: vec![BareJid::domain_jid(DOMAIN).unwrap()], ..Settings::default() };
        let registry = Registry::new(unisono_xeps::ALL);
        let random = Arc::new(Dice(Mutex::new(dice)));
        let hub = Hub::open(disk.clone(), registry, self.clock.clone(), random, settings).await.unwrap();
        let c2s = C2s::new(hub.clone(), trust().certs.clone(), Limits::default(), Policy::default());
        let c2s = c2s.await.unwrap();
        upkeep.push(tokio::spawn(housekeeping(hub.clone())).abort_handle());
        // What it cannot take up now is taken up when somebody asks for it.
        let restored = hub.clone();
        upkeep.push(
            tokio::spawn(async move {
                drop(restored.restore().await);
                restored.begin().await;
            })
            .abort_handle(),
        );
        let (me, crashed) = (self.me.clone(), disk.crashed.clone());
        upkeep.push(tokio::spawn(watch(me, crashed)).abort_handle());
        self.server().life = Some(Life { hub, c2s, disk, upkeep, plugs: Vec::new() });
        true
    }
}

/// Waits until the server dies by itself.
async fn watch(world: Weak<Simulated>, crashed: CancellationToken) {
    crashed.cancelled().await;
    if let Some(world) = world.upgrade() {
        world.crashed();
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
        let (far, life) = self.accept(device).ok_or_else(|| anyhow::anyhow!("the server is down"))?;
        let near = self.network.join(device, far);
        let stream = TlsConnector::from(trust().client.clone()).connect(DOMAIN.try_into()?, near).await?;
        let name = &self.people.users[self.owners[device.0]].local;
        let link = LoggedIn::new(stream, name, device, self.trace.clone()).await?;
        anyhow::ensure!(self.server().lives == life, "the server has died meanwhile");
        Ok(Box::new(link))
    }

    fn lose(&self, device: DeviceNo, how: Loss) {
        self.network.lose(device, how);
    }

    fn delay(&self, device: DeviceNo, time: Duration) {
        self.network.delay(device, time);
    }

    fn kill(&self) {
        let mut server = self.server();
        server.restart.take().iter().for_each(AbortHandle::abort);
        if let Some(life) = server.life.take() {
            server.left = Some(life.end());
        }
    }

    async fn stop(&self) -> anyhow::Result<()> {
        let life = {
            let mut server = self.server();
            server.restart.take().iter().for_each(AbortHandle::abort);
            let Some(life) = server.life.take() else { return Ok(()) };
            life
        };
        let orderly = async {
            life.c2s.stop(GRACE).await;
            // What writes to the disk goes on until all is saved.
            life.upkeep[1..].iter().for_each(AbortHandle::abort);
            let saved = timeout(GRACE, life.hub.save()).await;
            life.disk.close().await;
            saved.map_err(|_| anyhow::anyhow!("the store did not take the last changes"))
        };
        let stopped = tokio::select! {
            biased;
            () = life.disk.crashed.cancelled() => {
                self.recorder.add(Event::ServerKilled);
                Ok(())
            }
            stopped = orderly => stopped,
        };
        self.server().left = Some(life.end());
        stopped
    }

    async fn start(&self) -> anyhow::Result<()> {
        // It may have come back by itself.
        self.start_life().await;
        Ok(())
    }

    async fn step_clock(&self, seconds: i64) -> anyhow::Result<()> {
        self.clock.moved.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
        Ok(())
    }

    fn has_come_back(&self) -> bool {
        std::mem::take(&mut self.server().has_come_back)
    }

    async fn mend(&self) -> anyhow::Result<()> {
        {
            let mut server = self.server();
            server.is_mended = true;
            server.life.iter().for_each(|life| life.disk.mend());
        }
        self.come_back().await;
        Ok(())
    }
}
