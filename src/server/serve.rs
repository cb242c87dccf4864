//! The server put together: store, hub, streams, administration, metrics; and taken apart again when it stops.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unisono_core::extension::Registry;
use unisono_core::hub::Hub;
use unisono_core::jid::BareJid;
use unisono_core::storage::Store;
use unisono_net::tls::CertStore;
use unisono_net::{C2s, Security};

use crate::api::guard::{Token, guarded};
use crate::api::local::{By, LocalAdmin, Running};
use crate::api::router::router;
use crate::cli::{Admin, Failure};
use crate::config::{Config, Loaded};
use crate::housekeeping::{self, Times};
use crate::settings::{limits, policy, settings};
use crate::system::{SystemClock, SystemRandom};
use crate::{logging, metrics, tls_default};

/// How long connections have to take their leave when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the server until it is told to stop.
pub fn serve(loaded: &Loaded) -> Result<(), Failure> {
    logging::start(&loaded.config.log);
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let end = runtime.block_on(run(&loaded.config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    end
}

/// Opens the hub on the configured store.
pub async fn open_hub(config: &Config) -> Result<Arc<Hub>, Failure> {
    let store = open_store(config).await?;
    let registry = Registry::new(unisono_xeps::ALL);
    let (clock, random) = (Arc::new(SystemClock::start()), Arc::new(SystemRandom));
    let hub = Hub::open(store, registry, clock, random, settings(config)).await;
    hub.map_err(|error| Failure::unreachable(format!("cannot use the store {}: {error}", config.store.url)))
}

async fn open_store(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    let store = unisono_store::open(&config.store.url.expose()).await;
    store
        .map_err(|error| Failure::unreachable(format!("cannot open the store {}: {error}", config.store.url)))
}

async fn run(config: &Config) -> Result<(), Failure> {
    let cannot_start = |error| Failure::failed(format!("cannot start: {error}"));
    let (signals, mut again) =
        (Signals::take().map_err(cannot_start)?, Ending::take().map_err(cannot_start)?);
    let told_again = async {
        again.told().await;
        again.told().await;
    };
    tokio::select! {
        end = run_to_the_end(config, signals) => end,
        // Whoever asks a second time does not want to wait. To the store it is a crash.
        () = told_again => Err(Failure::failed("told to stop a second time: the sessions are not saved")),
    }
}

async fn run_to_the_end(config: &Config, signals: Signals) -> Result<(), Failure> {
    let handle = metrics::install().map_err(|error| Failure::failed(format!("cannot count: {error}")))?;
    let certs = Arc::new(certificates(config)?);
    let hub = open_hub(config).await?;
    // A start that fails leaves the store as it was.
    let end = run_on(config, &hub, certs, handle, signals).await;
    for problem in save(&hub).await {
        tracing::error!("{problem}; nothing was acknowledged that is missing");
    }
    end
}

/// Runs the server on an open hub, until a signal ends it.
async fn run_on(
    config: &Config,
    hub: &Arc<Hub>,
    certs: Arc<CertStore>,
    handle: PrometheusHandle,
    mut signals: Signals,
) -> Result<(), Failure> {
    let c2s = C2s::new(hub.clone(), certs.clone(), limits(config), policy(config)).await;
    let c2s = c2s.map_err(|error| Failure::unreachable(format!("cannot use the store: {error}")))?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let mut others = Vec::new();
    if let Some(address) = config.metrics.listen {
        let listener = metrics::listen(address).await.map_err(|error| cannot_listen(address, &error))?;
        let address = listener.local_addr().unwrap_or(address);
        tracing::info!(%address, "listening for requests for metrics");
        others.push(format!("metrics {address}"));
        spawn_until(&tasks, &stop, metrics::serve(listener, handle, hub.clone()));
    }
    let guarded = admin_port(config).await?;
    others.extend(guarded.as_ref().map(|(_, _, address)| format!("admin {address}")));
    let socket = control_socket(&config.admin.socket)?;
    let mut listening = listen_for_clients(config, &c2s)?;
    listening.extend(others);
    let running = Running { started_at: hub.clock.now_micros(), listen: listening.clone() };
    let admin = |by| Arc::new(LocalAdmin::running(hub.clone(), running.clone(), by)) as Arc<dyn Admin>;
    offer_api(admin, socket, guarded, &tasks, &stop);
    let keeping = housekeeping::keep(hub.clone(), certs, config.clone(), signals.hangup, Times::default());
    spawn_until(&tasks, &stop, keeping);
    // Who comes before its account was taken up again takes it up.
    spawn_until(&tasks, &stop, take_up(hub.clone()));
    let domains: Vec<_> = hub.settings.domains.iter().map(BareJid::as_str).collect();
    tracing::info!(domains = domains.join(" "), "the server runs");
    announce_ready(&listening);

    signals.ending.told().await;
    tracing::info!("stopping");
    let left = c2s.stop(GRACE).await;
    if left > 0 {
        tracing::warn!(left, "connections were not done in time");
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    let _ = remove_socket(&config.admin.socket);
    tracing::info!("stopped");
    Ok(())
}

/// What the operating system tells the server. Taken first, since a signal that nobody waits for ends the process.
struct Signals {
    ending: Ending,
    hangup: Signal,
}

/// What tells the server to stop.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn take() -> io::Result<Self> {
        Ok(Self { ending: Ending::take()?, hangup: signal(SignalKind::hangup())? })
    }
}

impl Ending {
    fn take() -> io::Result<Self> {
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Self { terminate: signal(terminate)?, interrupt: signal(interrupt)? })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Listens where clients are to come.
fn listen_for_clients(config: &Config, c2s: &Arc<C2s>) -> Result<Vec<String>, Failure> {
    let mut listening = Vec::new();
    for (name, addresses, security) in [
        ("starttls", &config.listen.starttls, Security::StartTls),
        ("direct_tls", &config.listen.direct_tls, Security::DirectTls),
    ] {
        for address in addresses {
            let at = c2s.listen(*address, security).map_err(|error| cannot_listen(*address, &error))?;
            listening.push(format!("{name} {at}"));
        }
    }
    let allowed = config.components.allow.iter();
    let secrets = allowed.filter_map(|component| {
        Some((component.name.as_str().to_owned(), component.secret.reveal()?.to_owned()))
    });
    let secrets = Arc::new(secrets.collect());
    for address in &config.components.listen {
        let at = c2s.listen_for_components(*address, Arc::clone(&secrets));
        listening.push(format!("component {}", at.map_err(|error| cannot_listen(*address, &error))?));
    }
    Ok(listening)
}

/// Takes up the sessions that the last stop saved, so that what is sent to them waits there, and then what else the last
/// run left undone.
async fn take_up(hub: Arc<Hub>) {
    match hub.restore().await {
        Ok(0) => {}
        Ok(accounts) => tracing::info!(accounts, "took up the sessions of the last run"),
        Err(error) => tracing::error!(%error, "cannot take up all sessions of the last run"),
    }
    hub.begin().await;
}

/// Sessions are saved; a store that does not take them is not waited for for ever. What could not be done is returned.
pub(crate) async fn save(hub: &Arc<Hub>) -> Vec<String> {
    let mut problems = Vec::new();
    if timeout(GRACE, hub.save()).await.is_err() {
        let reason = hub.store.failing().unwrap_or_else(|| "it is too slow".to_owned());
        problems.push(format!("the store did not take the last changes ({reason})"));
    }
    if timeout(GRACE, hub.store.close()).await.is_err() {
        problems.push("the store did not close in time".to_owned());
    }
    problems
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "; is another server running?",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
        _ => "",
    };
    Failure::failed(format!("cannot listen at {address}: {error}{hint}"))
}

/// One line on the standard output, for whoever started the server and waits for its ports.
fn announce_ready(listening: &[String]) {
    use std::io::Write;
    let mut out = io::stdout().lock();
    // Who does not read it does not need it.
    let _ = writeln!(out, "ready: {}", listening.join(", ")).and_then(|()| out.flush());
}

/// The configured certificates, or the one that the server makes itself.
fn certificates(config: &Config) -> Result<CertStore, Failure> {
    let now = SystemTime::now();
    let (files, made) =
        tls_default::certificates(config, now).map_err(|error| Failure::failed(error.to_string()))?;
    if let Some(reason) = made {
        tracing::info!(%reason, directory = %config.own_tls_dir().display(), "made a self-signed certificate");
    }
    CertStore::load(files, now)
        .map_err(|error| Failure::failed(format!("cannot use the certificate: {error}")))
}

/// A port for the administration API, with its token and its address.
type AdminPort = (TcpListener, Token, SocketAddr);

/// Listens where the administration API is offered besides the socket.
async fn admin_port(config: &Config) -> Result<Option<AdminPort>, Failure> {
    let Some(address) = config.admin.listen else { return Ok(None) };
    let file = &config.admin.token_file;
    let (token, made) = Token::read_or_make(file).map_err(|error| Failure::failed(error.to_string()))?;
    if made {
        tracing::info!(file = %file.display(), "made a token for the administration API");
    }
    let listener = metrics::listen(address).await.map_err(|error| cannot_listen(address, &error))?;
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "listening for administration");
    Ok(Some((listener, token, address)))
}

/// The administration API, on the socket and where it is configured.
fn offer_api(
    admin: impl Fn(By) -> Arc<dyn Admin>,
    socket: UnixListener,
    port: Option<AdminPort>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let on_socket: Router = router(admin(By::Socket));
    spawn_until(tasks, stop, async move { axum::serve(socket, on_socket).await });
    if let Some((listener, token, address)) = port {
        let router = guarded(router(admin(By::Port)), token, address);
        spawn_until(tasks, stop, async move { axum::serve(listener, router).await });
    }
}

fn control_socket(path: &Path) -> Result<UnixListener, Failure> {
    bind_socket(path).map_err(|error| {
        Failure::failed(format!("cannot offer the control socket {}: {error}", path.display()))
    })
}

/// A socket that a server left behind when it was killed makes way; one that is in use does not, nor does a file that
/// is none.
fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "a server answers there already"));
    }
    remove_socket(path)?;
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Removes a socket, and nothing else.
fn remove_socket(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// A task that ends when the server stops.
fn spawn_until<T: 'static>(
    tasks: &TaskTracker,
    stop: &CancellationToken,
    work: impl Future<Output = T> + Send + 'static,
) {
    let stop = stop.clone();
    tasks.spawn(async move {
        let _ = stop.run_until_cancelled(work).await;
    });
}

/// Every connection is a descriptor.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
