//! Where the server can be reached: by what the configuration names and nothing else (THREATS: the admin plane).

use std::collections::BTreeMap;
use std::fs::{self, read_to_string};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tempfile::TempDir;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::timeout;

use crate::harness::{Database, Server, Start, command, handshake, output, request_with};

const PATIENCE: Duration = Duration::from_secs(60);

/// Requests for pages, for what an administrator may do, and for files, in ways that led to them elsewhere.
const REQUESTS: [&str; 11] = [
    "GET / HTTP/1.1",
    "GET /admin HTTP/1.1",
    "GET /v1/users HTTP/1.1",
    "POST /v1/users HTTP/1.1",
    "GET /metrics HTTP/1.1",
    "GET /../../data/admin.token HTTP/1.1",
    "GET /%2e%2e/%2e%2e/data/admin.token HTTP/1.1",
    // CVE-2023-32315
    "GET /setup/setup-s/%u002e%u002e/%u002e%u002e/log.jsp HTTP/1.1",
    "GET //v1/users HTTP/1.0",
    "CONNECT localhost:9523 HTTP/1.1",
    "PRI * HTTP/2.0",
];

/// A server that runs on the configuration that `unisono init` writes, but for the numbers of its ports.
struct Running {
    folder: TempDir,
    process: Child,
    /// What it says to be listening at, by name.
    told: Vec<(String, SocketAddr)>,
}

impl Running {
    async fn start(set: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut init = command(folder.path());
        init.args(["init", "example.org"]);
        assert!(output(init, "").await.status.success());
        let file = folder.path().join("unisono.toml");
        let (text, ports) = with_any_port(&read_to_string(&file).unwrap());
        assert_eq!(ports, 3, "{text}");
        fs::write(&file, text).unwrap();
        let mut serve = command(folder.path());
        serve.arg("serve").args(set.iter().flat_map(|set| ["--set", set]));
        serve.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = serve.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().expect("the server starts");
        let places =
            ready.strip_prefix("ready: ").unwrap().split(", ").map(|place| place.split_once(' ').unwrap());
        let told = places.map(|(name, at)| (name.to_owned(), at.parse().unwrap())).collect();
        Self { folder, process, told }
    }

    fn sockets(&self) -> Sockets {
        Sockets::of(self.process.id().unwrap())
    }
}

/// The addresses that a documented configuration shows as its defaults, with a port that is free. How many they were.
fn with_any_port(text: &str) -> (String, usize) {
    let mut count = 0;
    let lines = text.lines().map(|line| {
        let is_shown =
            ["#starttls = ", "#direct_tls = ", "#listen = \"127."].iter().any(|key| line.starts_with(key));
        let Some((before, after)) = line.rsplit_once(':').filter(|_| is_shown) else {
            return line.to_owned();
        };
        count += 1;
        let end = after.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{}:0{end}", &before[1..])
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    (text, count)
}

/// The sockets of a process, by `/proc`.
#[derive(Debug, Default)]
struct Sockets {
    listening: Vec<SocketAddr>,
    /// Paths of Unix sockets that listen.
    local: Vec<PathBuf>,
    /// Of other kinds, and what cannot be told.
    others: Vec<String>,
}

impl Sockets {
    fn of(pid: u32) -> Self {
        let mut sockets = Self::default();
        let mut left = inodes(pid);
        for (table, own) in
            [("tcp", 9), ("tcp6", 9), ("udp", 9), ("udp6", 9), ("raw", 9), ("raw6", 9), ("unix", 6)]
        {
            let lines = read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
            for line in lines.lines().skip(1) {
                let words: Vec<_> = line.split_whitespace().collect();
                if left.remove(words[own]).is_none() {
                    continue;
                }
                let told = || format!("{table}: {line}");
                match table {
                    // The number of the state, and the flag for sockets that accept (linux/net.h).
                    "tcp" | "tcp6" if words[3] == "0A" => sockets.listening.push(address(words[1])),
                    "unix" if words[3] == "00010000" => {
                        sockets.local.push(words.get(7).unwrap_or(&"").into());
                    }
                    // Two ends that the process has of itself, without a name.
                    "unix" if words[3] == "00000000" && words.len() == 7 => {}
                    _ => sockets.others.push(told()),
                }
            }
        }
        sockets.others.extend(left.into_values());
        sockets.listening.sort();
        sockets
    }
}

/// The sockets among the descriptors of a process.
fn inodes(pid: u32) -> BTreeMap<String, String> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    // Some may be closed meanwhile.
    let links = descriptors.filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok());
    let sockets = links.filter_map(|link| {
        let link = link.to_str()?.to_owned();
        let inode = link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
        Some((inode, link))
    });
    sockets.collect()
}

/// An address as the kernel prints it: words of the machine, and a port.
fn address(text: &str) -> SocketAddr {
    let (ip, port) = text.split_once(':').unwrap();
    let words =
        (0..ip.len()).step_by(8).map(|at| u32::from_str_radix(&ip[at..at + 8], 16).unwrap().to_ne_bytes());
    let bytes = words.flatten().collect::<Vec<_>>();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => IpAddr::from(Ipv4Addr::from(bytes)),
        Err(_) => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap())),
    };
    SocketAddr::new(ip, u16::from_str_radix(port, 16).unwrap())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Nothing listens but these, by name and address, and the socket of the administrator.
fn is_all(running: &Running, want: &[(&str, &str)]) {
    let told: Vec<_> = running.told.iter().map(|(name, at)| (name.as_str(), at.ip().to_string())).collect();
    let want: Vec<_> = want.iter().map(|(name, ip)| (*name, (*ip).to_owned())).collect();
    assert_eq!(told, want);
    let sockets = running.sockets();
    let mut told: Vec<_> = running.told.iter().map(|(_, at)| *at).collect();
    told.sort();
    assert_eq!(sockets.listening, told, "what listens, and what it says");
    assert_eq!(sockets.others, Vec::<String>::new());
    let socket = running.folder.path().join("unisono-data/unisono.sock");
    assert_eq!(sockets.local, [socket.canonicalize().unwrap()]);
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
    for (name, at) in &running.told {
        let is_for_all = ["starttls", "direct_tls"].contains(&name.as_str());
        assert!(is_for_all || at.ip().is_loopback(), "{name} {at}");
    }
}

#[tokio::test]
async fn nothing_listens_but_what_the_configuration_names() {
    let any = if std::net::TcpListener::bind("[::]:0").is_ok() { "::" } else { "0.0.0.0" };
    let default = Running::start(&[]).await;
    is_all(&default, &[("starttls", any), ("direct_tls", any), ("metrics", "127.0.0.1")]);
    let everything = Running::start(&[
        "listen.starttls=[\"127.0.0.1:0\",\"127.0.0.2:0\"]",
        "listen.direct_tls=[\"127.0.0.1:0\",\"127.0.0.3:0\"]",
        "metrics.listen=127.0.0.4:0",
        "admin.listen=127.0.0.1:0",
    ])
    .await;
    let places = [
        ("starttls", "127.0.0.1"),
        ("starttls", "127.0.0.2"),
        ("direct_tls", "127.0.0.1"),
        ("direct_tls", "127.0.0.3"),
        ("metrics", "127.0.0.4"),
        ("admin", "127.0.0.1"),
    ];
    is_all(&everything, &places);
    let little =
        Running::start(&["listen.direct_tls=[]", "metrics.listen=off", "listen.starttls=127.0.0.1:0"]).await;
    is_all(&little, &[("starttls", "127.0.0.1")]);
}

/// All that comes as an answer to these bytes, until the server has had enough.
async fn answer(mut io: impl AsyncRead + AsyncWrite + Unpin, bytes: &str) -> String {
    // It may be gone before all is written.
    let _ = io.write_all(bytes.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, io.read_to_end(&mut answer)).await.expect("the server ends it");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn no_port_of_clients_speaks_http() {
    let set = vec!["admin.listen=127.0.0.1:0"];
    let server = Server::start(Start { database: Database::Sqlite, set }).await;
    let [starttls, direct] = ["starttls", "direct_tls"].map(|name| server.address(name));
    let connect = async |at| TcpStream::connect(at).await.unwrap();
    for line in REQUESTS {
        let request = format!("{line}\r\nHost: localhost\r\n\r\n");
        let clear = answer(connect(starttls).await, &request).await;
        let (tls, _) = handshake(connect(direct).await, server.tls()).await.unwrap();
        let secure = answer(tls, &request).await;
        for answer in [clear, secure] {
            assert!(answer.starts_with("<?xml") && answer.contains("<not-well-formed "), "{line}: {answer}");
            assert!(!answer.contains("HTTP") && !answer.contains("html"), "{line}: {answer}");
        }
        let neither = answer(connect(direct).await, &request).await;
        assert!(!neither.contains("HTTP") && !neither.contains('<'), "{line}: {neither}");
    }
    // A browser says in the handshake what it speaks (ALPACA).
    for protocol in ["h2", "http/1.1", "smtp"] {
        let mut config = ClientConfig::clone(&server.tls());
        config.alpn_protocols = vec![protocol.into()];
        let end = handshake(connect(direct).await, Arc::new(config)).await;
        assert!(end.is_err(), "{protocol} is spoken");
    }
}

/// The ports that do speak HTTP have no files, and one nothing of the other.
#[tokio::test]
async fn no_way_leads_from_one_page_to_another() {
    let set = vec!["admin.listen=127.0.0.1:0"];
    let server = Server::start(Start { database: Database::Sqlite, set }).await;
    let token = read_to_string(server.path("data/admin.token")).unwrap();
    let [metrics, admin] = ["metrics", "admin"].map(|name| server.address(name));
    for path in [
        "/",
        "/admin",
        "/v1/users",
        "/metrics/../v1/users",
        "/metrics/%2e%2e/v1/users",
        "/../data/admin.token",
        "/%2e%2e/data/admin.token",
        "/..%2f..%2fdata/admin.token",
        "/setup/setup-s/%u002e%u002e/%u002e%u002e/log.jsp",
        "//v1/users",
    ] {
        for (at, want) in [(metrics, [404, 400]), (admin, [401, 400])] {
            let io = TcpStream::connect(at).await.unwrap();
            let (status, _, body) =
                request_with(io, &format!("GET {path}"), &[&format!("Host: {at}")], "").await;
            assert!(want.contains(&status), "{at} {path}: {status}");
            assert!(!body.contains(token.trim()) && !body.contains("jid"), "{at} {path}: {body}");
        }
    }
    let shown = format!("Authorization: Bearer {}", token.trim());
    let io = TcpStream::connect(admin).await.unwrap();
    let (status, ..) = request_with(io, "GET /metrics", &[&format!("Host: {admin}"), &shown], "").await;
    assert_eq!(status, 404);
}
