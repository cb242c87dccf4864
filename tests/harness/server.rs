//! The server as a process of its own, in a temporary folder, on free ports.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use super::http::request;
use super::wire::trusting;
use super::{DOMAIN, Database, Device, Login, Lost, Mechanism, PASSWORD, Resumption, Wire};

const PATIENCE: Duration = Duration::from_secs(60);

/// How to start a server.
pub(crate) struct Start {
    pub(crate) database: Database,
    /// Keys of the configuration and their values.
    pub(crate) set: Vec<&'static str>,
}

impl From<Database> for Start {
    fn from(database: Database) -> Self {
        Self { database, set: Vec::new() }
    }
}

/// A server, and what is around it.
pub(crate) struct Server {
    folder: TempDir,
    database: Database,
    set: Vec<&'static str>,
    process: Option<Child>,
    log: watch::Receiver<String>,
    starttls: SocketAddr,
    direct_tls: SocketAddr,
    metrics: SocketAddr,
    /// The line that says where it listens.
    listening: String,
    tls: Arc<ClientConfig>,
    accounts: Mutex<HashSet<String>>,
}

impl Server {
    /// A server that is ready.
    pub(crate) async fn start(how: impl Into<Start>) -> Self {
        let Start { database, set } = how.into();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("unisono.toml"), configuration(&database)).unwrap();
        let (process, log, ready) = boot(folder.path(), &database, &set).await;
        let certificate = std::fs::read(folder.path().join("data/tls/self-signed.pem")).unwrap();
        let mut server = Self {
            tls: trusting(&certificate),
            folder,
            database,
            set,
            process: Some(process),
            log,
            starttls: port("starttls", &ready),
            direct_tls: port("direct_tls", &ready),
            metrics: port("metrics", &ready),
            listening: String::new(),
            accounts: Mutex::default(),
        };
        server.ready(&ready);
        server
    }

    /// Starts it again after [`Self::kill9`] or [`Self::stop`].
    pub(crate) async fn boot(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let (process, log, ready) = boot(self.folder.path(), &self.database, &self.set).await;
        (self.process, self.log) = (Some(process), log);
        self.ready(&ready);
    }

    fn ready(&mut self, ready: &str) {
        ready.clone_into(&mut self.listening);
        self.starttls = port("starttls", ready);
        self.direct_tls = port("direct_tls", ready);
        self.metrics = port("metrics", ready);
    }

    /// `kill -9`. The process is gone when this returns.
    pub(crate) async fn kill9(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    /// SIGTERM, and the end of the process.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let mut process = self.process.take().unwrap();
        timeout(PATIENCE, process.wait()).await.expect("the server stops").unwrap()
    }

    /// SIGTERM, without waiting.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        let id = self.process.as_ref().unwrap().id().unwrap();
        Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
    }

    /// A clean stop, and a start.
    pub(crate) async fn restart(&mut self) {
        let status = self.stop().await;
        assert!(status.success(), "{status}");
        self.boot().await;
    }

    /// A file of the server.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The URL of its store.
    pub(crate) fn store(&self) -> String {
        match &self.database {
            Database::Sqlite => format!("sqlite:{}", self.path("data/unisono.db").display()),
            Database::SqliteOn(disk) => disk.url.clone(),
            Database::Postgres(url) => url.clone(),
        }
    }

    /// Waits until the log says this, and returns all of it.
    pub(crate) async fn logged(&mut self, words: &str) -> String {
        let waiting = self.log.wait_for(|log| log.contains(words));
        let log = timeout(PATIENCE, waiting).await;
        let log = log.unwrap_or_else(|_| panic!("the log does not say {words:?}"));
        log.expect("the server runs").clone()
    }

    /// What is in the log now.
    pub(crate) fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// The page of metrics.
    pub(crate) async fn metrics(&self) -> String {
        let io = TcpStream::connect(self.metrics).await.unwrap();
        let (status, body) = request(io, "GET /metrics", "").await;
        assert_eq!(status, 200);
        body
    }

    /// One number of the metrics.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let page = self.metrics().await;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
    }

    /// A connection in the clear.
    pub(crate) async fn connect(&self) -> Wire {
        Wire::plain(self.tcp().await)
    }

    /// A TCP connection to the port of STARTTLS.
    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.starttls).await.unwrap()
    }

    /// A connection with TLS.
    pub(crate) async fn secure(&self) -> Wire {
        let tcp = TcpStream::connect(self.direct_tls).await.unwrap();
        Wire::direct(tcp, self.tls.clone()).await.unwrap()
    }

    /// The same from another address of this machine, such as 127.0.0.2.
    pub(crate) async fn secure_from(&self, source: &str) -> Wire {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
        let tcp = socket.connect(self.direct_tls).await.unwrap();
        Wire::direct(tcp, self.tls.clone()).await.unwrap()
    }

    /// From now on, clients trust the certificate that is in the files of the server, and no other.
    pub(crate) fn trust(&mut self) {
        self.tls = trusting(&std::fs::read(self.path("data/tls/self-signed.pem")).unwrap());
    }

    /// Where it listens for something of this name.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        port(name, &self.listening)
    }

    /// What a client trusts.
    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        self.tls.clone()
    }

    /// The port of direct TLS.
    pub(crate) fn direct_tls(&self) -> SocketAddr {
        self.direct_tls
    }

    /// An account is there already, made in another way.
    pub(crate) fn has_account(&self, name: &str) {
        self.accounts.lock().unwrap().insert(name.to_owned());
    }

    /// Creates an account through the control socket, unless this was done.
    pub(crate) async fn account(&self, name: &str) {
        if !self.accounts.lock().unwrap().insert(name.to_owned()) {
            return;
        }
        let io = UnixStream::connect(self.path("data/unisono.sock")).await.unwrap();
        let user = format!(r#"{{"jid":"{name}@{DOMAIN}","password":"{PASSWORD}"}}"#);
        let (status, body) = request(io, "POST /v1/users", &user).await;
        assert_eq!(status, 201, "{body}");
    }

    /// An authenticated stream of an account, which is created if it is not there.
    pub(crate) async fn log_in(&self, name: &str) -> Login {
        self.account(name).await;
        let mut wire = self.secure().await;
        wire.open().await;
        let end = Login::run(wire, Mechanism::USUAL, name, PASSWORD).await;
        end.unwrap_or_else(|(_, condition)| panic!("{name} cannot log in: {condition}"))
    }

    /// A device with nothing but a resource.
    pub(crate) async fn bind(&self, name: &str, resource: &str) -> Device {
        self.log_in(name).await.bind(resource).await
    }

    /// A device that is online, with carbons.
    pub(crate) async fn online(&self, name: &str, resource: &str) -> Device {
        let mut device = self.bind(name, resource).await;
        device.be_online().await;
        device
    }

    /// A device that counts stanzas and is online, with carbons.
    pub(crate) async fn managed(&self, name: &str, resource: &str) -> Device {
        let mut device = self.bind(name, resource).await;
        device.enable().await;
        device.be_online().await;
        device
    }

    /// The only device of an account.
    pub(crate) async fn device(&self, name: &str) -> Device {
        self.online(name, "device").await
    }

    /// Two devices of an account, both online, that have seen each other come.
    pub(crate) async fn devices(&self, name: &str) -> [Device; 2] {
        [self.online(name, "phone").await, self.online(name, "laptop").await]
    }

    /// Takes up a lost session on a new connection.
    pub(crate) async fn resume(&self, name: &str, lost: Lost) -> Resumption {
        self.log_in(name).await.resume(lost).await
    }

    /// The same, where it has to work.
    pub(crate) async fn resumed(&self, name: &str, lost: Lost) -> Device {
        match self.resume(name, lost).await {
            Resumption::Resumed(device) => device,
            Resumption::Failed { handled, .. } => panic!("the session is not resumed: h={handled:?}"),
        }
    }

    /// What `unisono sync doctor` says of an account: its devices, and how far each is behind the log.
    pub(crate) async fn gaps(&self, name: &str) -> Vec<(String, u64)> {
        let end = self.run(&format!("--json sync doctor {name}@{DOMAIN}"), "").await;
        assert!(end.status.success(), "{end:?}");
        let report: serde_json::Value = serde_json::from_slice(&end.stdout).unwrap();
        let devices = report["devices"].as_array().unwrap().iter();
        let gap = |device: &serde_json::Value| {
            (device["device"].as_str().unwrap().to_owned(), device["gap"].as_u64().unwrap())
        };
        let mut gaps: Vec<_> = devices.map(gap).collect();
        gaps.sort();
        gaps
    }

    /// Runs `unisono` with the configuration of this server and a first line for its standard input.
    pub(crate) async fn run(&self, arguments: &str, input: &str) -> Output {
        let mut command = command(self.folder.path());
        command.args(arguments.split_whitespace());
        output(command, input).await
    }
}

impl Drop for Server {
    /// A story that fails shows what the server thought.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Runs a command to its end.
pub(crate) async fn output(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    // A command that reads nothing may be gone by now.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    timeout(PATIENCE, process.wait_with_output()).await.expect("the command ends").unwrap()
}

/// `unisono` in a folder with a configuration.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unisono"));
    command.current_dir(folder).env_remove("UNISONO_CONFIG").env_remove("RUST_LOG").kill_on_drop(true);
    command.arg("--config").arg(folder.join("unisono.toml"));
    command
}

fn configuration(database: &Database) -> String {
    format!(
        "[server]\ndomains = [\"{DOMAIN}\"]\ndata_dir = \"data\"\n[store]\nurl = \"{}\"\n\
         [login]\nmechanisms = [\"SCRAM-SHA-512\", \"SCRAM-SHA-256\", \"SCRAM-SHA-1\", \"PLAIN\"]\n\
         [listen]\nstarttls = [\"127.0.0.1:0\"]\ndirect_tls = [\"127.0.0.1:0\"]\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n",
        database.url()
    )
}

async fn boot(folder: &Path, database: &Database, set: &[&str]) -> (Child, watch::Receiver<String>, String) {
    let mut words = database.inside();
    words.push("/bin/sh".to_owned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    // A file that grows beyond a limit is an error then, not the end (setrlimit(2)). Of descriptors it is given few, and
    // takes what it may have.
    let script = "trap '' XFSZ; ulimit -S -n 256; exec \"$@\"";
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_unisono")]);
    command.current_dir(folder).env_remove("UNISONO_CONFIG").env_remove("RUST_LOG").kill_on_drop(true);
    command.arg("--config").arg(folder.join("unisono.toml")).arg("serve");
    command.args(set.iter().flat_map(|set| ["--set", set]));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let log = follow(process.stderr.take().unwrap());
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.expect("the server starts").unwrap();
    let Some(line) = line else {
        let _ended = process.wait().await;
        panic!("the server does not start: {}", log.borrow().as_str());
    };
    (process, log, line)
}

/// Reads the log for as long as the server runs.
fn follow(stderr: ChildStderr) -> watch::Receiver<String> {
    let (sender, receiver) = watch::channel(String::new());
    tokio::spawn(async move {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            sender.send_modify(|log| {
                log.push_str(&line);
                log.push('\n');
            });
        }
    });
    receiver
}

/// The address after a name in the line that says where the server listens.
fn port(name: &str, ready: &str) -> SocketAddr {
    let places = ready.strip_prefix("ready: ").unwrap().split(", ");
    let mut places = places.filter_map(|place| place.split_once(' '));
    places.find(|place| place.0 == name).unwrap().1.parse().unwrap()
}
