//! A private server: its own folder, free ports, a certificate made for it.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::signal;

use super::Accounts;
use super::clock::OwnClock;
use super::description::{Description, Start};
use crate::client::{Endpoint, Options, Sabotage, Trace};

/// How long a server may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

const DAY: Duration = Duration::from_secs(86_400);

/// A server that answers.
pub(crate) struct Instance {
    pub(crate) endpoint: Endpoint,
    pub(crate) accounts: Accounts,
    process: Option<Process>,
    /// How long it may take until it answers.
    limit: Duration,
}

struct Process {
    child: Child,
    folder: Option<TempDir>,
    launch: Launch,
}

/// How the process is started, each time.
struct Launch {
    words: Vec<String>,
    env: Vec<(String, String)>,
    /// Its own clock, if it has one.
    clock: Option<OwnClock>,
}

impl Instance {
    /// Starts the server, or takes the one that runs, and waits until it opens a stream.
    pub(crate) async fn start(description: &Description, binary: Option<&Path>) -> Result<Self> {
        let mut values = BTreeMap::from([("{domain}".to_owned(), description.domain.clone())]);
        let mut process = match &description.start {
            None => None,
            Some(start) => Some(Process::start(start, &description.domain, binary, &mut values).await?),
        };
        let address = |name: &Option<String>| {
            let name = name.as_ref()?;
            let port = values.get(&format!("{{port.{name}}}"));
            Some(port.map_or_else(|| name.clone(), |port| format!("127.0.0.1:{port}")))
        };
        let endpoint = Endpoint {
            domain: description.domain.clone(),
            starttls: address(&description.starttls),
            direct_tls: address(&description.direct_tls),
        };
        let limit = Duration::from_secs(description.start.as_ref().map_or(5, |start| start.ready_seconds));
        wait_until_up(&endpoint, process.as_mut(), limit).await?;
        let accounts = Accounts::new(&description.accounts, endpoint.clone(), &values);
        Ok(Self { endpoint, accounts, process, limit })
    }

    /// Asks the process to stop and waits until it has. Its files and ports are kept for the next start.
    pub(crate) async fn halt(&mut self) -> Result<()> {
        match &mut self.process {
            Some(process) => process.stop().await,
            None => bail!("this server is not ours to stop"),
        }
    }

    /// Moves the server's clock, for its next start.
    pub(crate) fn step_clock(&self, seconds: i64) -> Result<()> {
        let clock = self.process.as_ref().and_then(|process| process.launch.clock.as_ref());
        clock.context("the server has no clock of its own")?.step(seconds)
    }

    /// Starts it again on the files and ports that it had, once the process that was is gone.
    pub(crate) async fn start_again(&mut self) -> Result<()> {
        let Some(process) = &mut self.process else { bail!("this server is not ours to start") };
        process.child.wait().await.context("cannot wait for the server")?;
        let folder = process.folder.as_ref().context("the server's folder is gone")?;
        process.child = process.launch.spawn(folder.path())?;
        wait_until_up(&self.endpoint, self.process.as_mut(), self.limit).await
    }

    /// The process that was started; what it started itself is below it.
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.process.as_ref().and_then(|process| process.child.id())
    }

    /// Stops the server. `keeps_folder` leaves its files for the reader of a failure.
    pub(crate) async fn stop(mut self, keeps_folder: bool) -> Result<Option<PathBuf>> {
        let Some(mut process) = self.process.take() else { return Ok(None) };
        process.stop().await?;
        Ok(process.folder.take().and_then(|folder| keeps_folder.then(|| folder.keep())))
    }
}

/// Comes when this process is asked to end: who waits for it beside a run can stop the servers that it started.
pub(crate) async fn interrupted() {
    let Ok(mut terminated) = signal::unix::signal(signal::unix::SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

impl Process {
    async fn start(
        start: &Start,
        domain: &str,
        binary: Option<&Path>,
        values: &mut BTreeMap<String, String>,
    ) -> Result<Self> {
        let folder = TempDir::with_prefix("conformance-").context("cannot make a folder")?;
        let dir = folder.path().to_str().context("the temporary folder's name is not UTF-8")?.to_owned();
        values.insert("{target_dir}".to_owned(), target_dir());
        let binary = match (binary, &start.binary) {
            (Some(path), _) => path.display().to_string(),
            (None, Some(path)) => fill(path, values),
            (None, None) => String::new(),
        };
        let (certificate, key) = write_certificate(folder.path(), domain)?;
        values.insert("{dir}".to_owned(), dir);
        values.insert("{binary}".to_owned(), binary);
        values.insert("{certificate}".to_owned(), certificate);
        values.insert("{key}".to_owned(), key);
        for (name, port) in free_ports(&start.ports)? {
            values.insert(format!("{{port.{name}}}"), port.to_string());
        }
        for (name, text) in &start.files {
            let path = folder.path().join(name);
            std::fs::write(&path, fill(text, values)).with_context(|| format!("cannot write {name}"))?;
        }
        let clock = if start.has_own_clock { Some(OwnClock::new(folder.path()).await?) } else { None };
        let env = start.env.iter().map(|(name, value)| (name.clone(), fill(value, values)));
        let env = env.chain(clock.iter().flat_map(OwnClock::env)).collect();
        let words = start.command.iter().map(|word| fill(word, values)).collect();
        let launch = Launch { words, env, clock };
        let child = launch.spawn(folder.path())?;
        Ok(Self { child, folder: Some(folder), launch })
    }

    /// Ends the whole group of processes: first asked, then forced.
    async fn stop(&mut self) -> Result<()> {
        let Some(id) = self.child.id() else { return Ok(()) };
        send_signal(id, "TERM").await?;
        if tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            send_signal(id, "KILL").await?;
            self.child.wait().await.context("cannot wait for the server")?;
        }
        Ok(())
    }

    fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot ask for the state of the server")
    }

    /// The end of what the server printed.
    fn log(&self) -> String {
        let path = self.folder.as_ref().map(|folder| folder.path().join("server.log"));
        let log = path.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }
}

impl Launch {
    /// What the process prints goes to the end of the log in the folder.
    fn spawn(&self, folder: &Path) -> Result<Child> {
        let log = std::fs::File::options().create(true).append(true).open(folder.join("server.log"));
        let log = log.context("cannot make a log")?;
        let mut command = command(&self.words, &BTreeMap::new())?;
        command
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share the log")?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        let program = self.words.first().map_or("", String::as_str);
        command.spawn().with_context(|| format!("cannot start {program}"))
    }
}

/// A command line with its placeholders filled.
pub(super) fn command(words: &[String], values: &BTreeMap<String, String>) -> Result<Command> {
    let mut words = words.iter().map(|word| fill(word, values));
    let mut command = Command::new(words.next().context("an empty command")?);
    command.args(words);
    Ok(command)
}

/// Puts the values in. Other braces stay: a configuration is full of them.
pub(super) fn fill(text: &str, values: &BTreeMap<String, String>) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

async fn send_signal(group: u32, name: &str) -> Result<()> {
    let status = Command::new("kill").args(["-s", name, "--", &format!("-{group}")]).status().await;
    status.context("cannot run kill").map(|_| ())
}

async fn wait_until_up(
    endpoint: &Endpoint,
    mut process: Option<&mut Process>,
    limit: Duration,
) -> Result<()> {
    let start = Instant::now();
    loop {
        let error = match greet(endpoint).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if let Some(process) = process.as_mut()
            && let Some(status) = process.has_ended()?
        {
            bail!("the server ended with {status}:\n{}", process.log());
        }
        if start.elapsed() > limit {
            let log = process.map(|process| process.log()).unwrap_or_default();
            return Err(error.context(format!("the server was not up after {limit:?}\n{log}")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Opens a stream and reads the features.
async fn greet(endpoint: &Endpoint) -> Result<()> {
    let options = Options {
        name: String::new(),
        counters: std::sync::Arc::default(),
        answers_acks: true,
        trace: Trace::new(),
        sabotage: Sabotage::default(),
        timeout: Duration::from_secs(2),
    };
    endpoint.connect(options).await?.negotiate().await
}

/// Where Cargo puts what it builds.
pub(crate) fn target_dir() -> String {
    std::env::var("CARGO_TARGET_DIR")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target").to_owned())
}

/// Ports that nobody listens on now. All are held until the last is found, so none comes twice.
fn free_ports(names: &[String]) -> Result<Vec<(String, u16)>> {
    let mut held = Vec::new();
    for name in names {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
        let port = listener.local_addr().context("no free port")?.port();
        held.push((name.clone(), port, listener));
    }
    Ok(held.into_iter().map(|(name, port, _)| (name, port)).collect())
}

/// Writes a self-signed certificate and its key, and returns their paths.
fn write_certificate(folder: &Path, domain: &str) -> Result<(String, String)> {
    let mut params = CertificateParams::new(vec![domain.to_owned()]).context("the domain is no host name")?;
    let now = SystemTime::now();
    // Some servers set a timer for the end, and none likes one in two thousand years.
    params.not_before = now.checked_sub(DAY).context("the clock is wrong")?.into();
    params.not_after = now.checked_add(DAY.saturating_mul(365)).context("the clock is wrong")?.into();
    let key_pair = KeyPair::generate().context("cannot make a key")?;
    let made = params.self_signed(&key_pair).context("cannot make a certificate")?;
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.pem()).context("cannot write the certificate")?;
    std::fs::write(&key, key_pair.serialize_pem()).context("cannot write the key")?;
    Ok((certificate.display().to_string(), key.display().to_string()))
}
