//! A PostgreSQL server for tests.
//!
//! `UNISONO_TEST_POSTGRES` names one, as `postgres://USER:PASSWORD@HOST/NAME` of a user who may create
//! databases. Without it, a server that is installed (Debian: `/usr/lib/postgresql/*/bin`) is started once
//! for the process, on a Unix socket in a temporary folder, and ends with the process, however that ends.

#![allow(
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "for tests only; a server of another program tells nobody when it is ready"
)]

use std::fs;
use std::io::Write as _;
#[cfg(test)]
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// The variable that names a server.
pub const VARIABLE: &str = "UNISONO_TEST_POSTGRES";
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// What a server with TLS has in its folder.
const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server.key";

/// A new, empty database, as a URL for [`open`](crate::open). `None`, and a line on the standard error, if
/// there is no server to be had. A database on a server that we were given is left there.
pub async fn postgres_database() -> Option<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = server()?;
    let name = format!("unisono_test_{}_{}", id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(server).await.expect("the server takes connections");
    let create = format!("CREATE DATABASE {name} TEMPLATE template0");
    sqlx::query(AssertSqlSafe(create)).execute(&mut connection).await.expect("the user may create databases");
    connection.close().await.expect("the server closes connections");
    Some(with_database(server, &name))
}

/// A server for one test, which may stop it. It ends when this is dropped.
#[cfg(test)]
pub(crate) struct OwnServer {
    url: String,
    child: Child,
}

#[cfg(test)]
impl OwnServer {
    /// `None`, and a line on the standard error, if there is no server installed.
    pub(crate) fn start() -> Option<Self> {
        Self::start_as("-own", None, &[])
    }

    /// The same with a port of 127.0.0.1. It speaks TLS there if it has a certificate and its key, as PEM. The URL is
    /// `postgres://HOST:PORT/NAME` without any parameter, and its host can be replaced.
    pub(crate) fn with_port(name: &str, certificate: Option<[&str; 2]>) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr());
        let port = port.expect("there is a free port").port();
        let files = certificate.map(|[chain, key]| [(CERTIFICATE, chain), (KEY, key)]);
        let mut server = Self::start_as(name, Some(port), files.as_ref().map_or(&[], |files| files))?;
        server.url = format!("postgres://postgres@localhost:{port}/postgres");
        Some(server)
    }

    fn start_as(name: &str, port: Option<u16>, files: &[(&str, &str)]) -> Option<Self> {
        let Some(binaries) = binaries() else {
            let news = "no PostgreSQL is installed; a test that needs a server of its own does nothing";
            let _ = writeln!(std::io::stderr(), "{news}");
            return None;
        };
        let (url, child) = start(&binaries, name, port, files).expect("the installed PostgreSQL starts");
        Some(Self { url, child })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Stops all its processes as they are, so that it is silent.
    pub(crate) fn stop(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    /// Not the shell: it ends the server even if this process is killed now.
    fn signal(&self, signal: rustix::process::Signal) {
        let shell = i32::try_from(self.child.id()).expect("it is a number of the system");
        let (mut processes, mut signalled) = (children(shell), 0);
        while let Some(process) = processes.pop() {
            let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            if !name.starts_with("postgres") {
                continue;
            }
            let pid = rustix::process::Pid::from_raw(process).expect("it is no group");
            // One may have ended meanwhile.
            signalled += usize::from(rustix::process::kill_process(pid, signal).is_ok());
            // It has the signal, so these are all.
            processes.extend(children(process));
        }
        assert!(signalled > 2, "the server has processes");
    }
}

#[cfg(test)]
fn children(process: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    children.unwrap_or_default().split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

#[cfg(test)]
impl Drop for OwnServer {
    fn drop(&mut self) {
        self.go_on();
        drop(self.child.stdin.take());
        // It removes its folder before it ends.
        let _ended = self.child.wait();
    }
}

/// The URL of the server, up to the whole of its first database.
fn server() -> Option<&'static str> {
    static SERVER: OnceLock<Option<(String, Option<Child>)>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let named = std::env::var(VARIABLE).ok().map(|url| (url, None));
        let server = named.or_else(|| {
            let (url, child) = start(&binaries()?, "", None, &[]).expect("the installed PostgreSQL starts");
            Some((url, Some(child)))
        });
        let news = match &server {
            None => {
                format!("no PostgreSQL: neither {VARIABLE} nor an installed server; its tests do nothing")
            }
            Some((_, None)) => format!("PostgreSQL: the server that {VARIABLE} names"),
            Some((_, Some(_))) => "PostgreSQL: a server of our own, in a temporary folder".to_owned(),
        };
        // The test harness swallows what `eprintln!` writes in a test that passes.
        let _ = writeln!(std::io::stderr(), "{news}");
        server
    });
    server.as_ref().map(|(url, _)| url.as_str())
}

/// The same server, another database.
fn with_database(server: &str, name: &str) -> String {
    let (base, options) = server.split_once('?').map_or((server, None), |(base, o)| (base, Some(o)));
    let scheme_end = base.find("://").map_or(0, |found| found.saturating_add(3));
    let path =
        base.get(scheme_end..).and_then(|rest| rest.find('/')).map_or(base.len(), |at| at + scheme_end);
    let base = base.get(..path).unwrap_or(base);
    options.map_or_else(|| format!("{base}/{name}"), |options| format!("{base}/{name}?{options}"))
}

/// The folder of the newest installed server.
fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let installed = versions.map(|version| version.join("bin")).filter(|bin| bin.join("initdb").exists());
    installed.max_by_key(|bin| {
        let version = bin.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        version.and_then(|version| version.parse::<u32>().ok())
    })
}

/// Starts a server, with a port of 127.0.0.1 if one is given, and with files in its folder: TLS, if those are
/// [`CERTIFICATE`] and [`KEY`]. A shell watches over it: when this process ends, its standard input ends, and it stops
/// the server and removes the folder.
fn start(
    binaries: &Path,
    name: &str,
    port: Option<u16>,
    files: &[(&str, &str)],
) -> std::io::Result<(String, Child)> {
    const WATCH: &str = r#"
        binaries=$1 folder=$2
        shift 2
        "$binaries/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C --no-sync \
            >"$folder/log" 2>&1 || exit 1
        "$binaries/postgres" -D "$folder/data" -k "$folder" -c fsync=off -c full_page_writes=off \
            -c max_connections=300 "$@" >>"$folder/log" 2>&1 </dev/null &
        server=$!
        trap '' INT TERM HUP
        cat >/dev/null
        kill -QUIT $server
        kill -CONT $server
        wait $server
        rm -rf "$folder"
    "#;
    let addresses = if port.is_some() { "127.0.0.1" } else { "" };
    let port = port.unwrap_or(5432).to_string();
    let mut settings = vec![format!("listen_addresses={addresses}"), format!("port={port}")];
    if files.iter().any(|(name, _)| *name == CERTIFICATE) {
        let (certificate, key) =
            (format!("ssl_cert_file=../{CERTIFICATE}"), format!("ssl_key_file=../{KEY}"));
        settings.extend(["ssl=on".to_owned(), certificate, key]);
    }
    let folder = std::env::temp_dir().join(format!("unisono-postgres-{}{name}", id()));
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", WATCH, "sh"]).arg(binaries).arg(&folder).current_dir("/").process_group(0);
    command.args(settings.iter().flat_map(|setting| ["-c", setting]));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut owned = vec![folder.clone()];
    for (name, text) in files {
        let file = folder.join(name);
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        owned.push(file);
    }
    // PostgreSQL refuses to run as root.
    if let Some((user, group)) = other_user() {
        for path in &owned {
            chown(path, Some(user), Some(group))?;
        }
        command.uid(user).gid(group);
    }
    let mut child = command.spawn()?;
    let is_ready =
        || Command::new(binaries.join("pg_isready")).args(["-q", "-p", &port, "-h"]).arg(&folder).status();
    let until = Instant::now() + START_TIMEOUT;
    while !is_ready()?.success() {
        let has_ended = child.try_wait()?.is_some();
        if has_ended || Instant::now() > until {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            return Err(std::io::Error::other(format!("PostgreSQL does not start: {log}")));
        }
        sleep(Duration::from_millis(50));
    }
    Ok((format!("postgres:///postgres?host={}&user=postgres", folder.display()), child))
}

/// Who runs the server if we are root: the user of an installed PostgreSQL, or nobody.
fn other_user() -> Option<(u32, u32)> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let own = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?;
    if own != "0" {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    ["postgres", "nobody"].iter().find_map(|name| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    })
}
