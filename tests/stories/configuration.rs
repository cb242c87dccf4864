//! A configuration that cannot work stops the start with one clear line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::harness::{Database, Server, command, output};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the server with a configuration that is wrong.
async fn start(text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("unisono.toml"), text).unwrap();
    let mut command = command(folder.path());
    command.arg("serve");
    output(command, "").await
}

#[tokio::test]
async fn a_wrong_configuration_is_told_with_its_line() {
    for (text, want) in [
        ("[server]\ndomain = [\"example.org\"]\n", vec!["unisono.toml:2", "domain", "domains"]),
        ("[limits]\nstanza_bytes = \"1KB\"\n", vec!["unisono.toml:2", "limits.stanza_bytes"]),
        ("[log]\nlevel = \"loud\"\n", vec!["unisono.toml:2", "log.level", "info"]),
        ("[server\n", vec!["unisono.toml:1"]),
        ("[listen]\nstarttls = [\"here\"]\n", vec!["unisono.toml:2", "listen.starttls"]),
        ("[metrics]\nlisten = \"192.0.2.1:9\"\n", vec!["unisono.toml:2", "metrics.listen"]),
        (
            "[store]\nurl = \"postgres://192.0.2.1/unisono?sslmode=disable\"\n",
            vec!["unisono.toml:2", "store.url", "sslmode=disable", "sslmode=verify-full"],
        ),
    ] {
        let end = start(text).await;
        let error = String::from_utf8(end.stderr).unwrap();
        assert_eq!(end.status.code(), Some(2), "{text}: {error}");
        assert_eq!(error.lines().count(), 1, "{text}: {error}");
        for word in want {
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}

#[tokio::test]
async fn a_configuration_that_does_not_fit_the_machine_stops_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = |starttls: &str| {
        format!("[listen]\nstarttls = [\"{starttls}\"]\ndirect_tls = []\n[metrics]\nlisten = \"off\"\n")
    };
    let here = ports("127.0.0.1:0");
    for (text, want) in [
        (ports(&taken.local_addr().unwrap().to_string()), "another server"),
        (format!("{here}[store]\nurl = \"sqlite:/nowhere/at/all.db\"\n"), "/nowhere/at/all.db"),
        (format!("{here}[[tls.certificate]]\ncert = \"none.pem\"\nkey = \"none.key\"\n"), "none.pem"),
    ] {
        let end = start(&text).await;
        let error = String::from_utf8(end.stderr).unwrap();
        assert!(!end.status.success(), "{text}");
        let line = error.lines().find(|line| line.starts_with("error: "));
        assert!(line.is_some_and(|line| line.contains(want)), "{text}: {error}");
    }
}

/// A name of this machine that is not `localhost` is taken for another machine.
#[tokio::test]
async fn a_database_server_on_another_machine_that_offers_no_tls_is_told_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://me:geheim@127.1:{}/unisono", listener.local_addr().unwrap().port());
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[store]\nurl = \"{url}\"\n[metrics]\nlisten = \"off\"\n\
         [listen]\nstarttls = [\"127.0.0.1:0\"]\ndirect_tls = []\n"
    );
    std::fs::write(folder.path().join("unisono.toml"), text).unwrap();
    for words in [&["serve"][..], &["check"], &["user", "list"]] {
        let mut command = command(folder.path());
        command.args(words);
        let database = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(b"N").await.unwrap(); // no TLS here: go on as you are
            let more = stream.read(&mut [0; 64]).await.unwrap();
            (request, more)
        };
        let both = async { tokio::join!(output(command, ""), database) };
        let (end, (request, more)) = timeout(PATIENCE, both).await.expect("the database is asked");
        let said = [end.stdout, end.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
        assert!(!end.status.success(), "{words:?}: {said}");
        assert!(said.contains("the database server offers no TLS"), "{words:?}: {said}");
        // SSLRequest of PostgreSQL's protocol, and not a byte behind the answer.
        assert_eq!((request, more), ([0, 0, 0, 8, 4, 210, 22, 47], 0), "{words:?}");
    }
}

#[tokio::test]
async fn a_second_server_leaves_the_first_alone() {
    let server = Server::start(Database::Sqlite).await;
    let second = server.run("serve", "").await;
    assert!(!second.status.success());
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.lines().last().unwrap().starts_with("error: "), "{error}");
    server.device("alice").await.settle().await;
}

/// What there is in a folder and the folders in it, with its content.
fn everything(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(everything(&path));
        }
        let content = std::fs::read(&path).ok();
        all.insert(path, content);
    }
    all
}

#[tokio::test]
async fn a_check_looks_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ports = "[listen]\nstarttls = [\"127.0.0.1:0\"]\ndirect_tls = []\n[metrics]\nlisten = \"off\"\n";
    let text = format!("[server]\ndata_dir = \"data\"\n{ports}[admin]\nlisten = \"127.0.0.1:0\"\n");
    std::fs::write(folder.path().join("unisono.toml"), text).unwrap();
    let check = async || {
        let mut command = command(folder.path());
        command.args(["--json", "check"]);
        let end = output(command, "").await;
        let report: serde_json::Value = serde_json::from_slice(&end.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap().clone();
        let database = checks.iter().find(|check| check["check"] == "database").unwrap();
        (database["status"].as_str().unwrap().to_owned(), database["detail"].as_str().unwrap().to_owned())
    };
    let before = everything(folder.path());
    let (status, detail) = check().await;
    assert!(status == "ok" && detail.ends_with("will be made at the first start"), "{detail}");
    assert_eq!(everything(folder.path()), before);

    std::fs::create_dir(folder.path().join("data")).unwrap();
    let database = folder.path().join("data/unisono.db");
    std::fs::write(&database, "").unwrap();
    let before = everything(folder.path());
    let (status, detail) = check().await;
    assert!(status == "ok" && detail.contains("is empty; the next start sets it up"), "{detail}");
    assert_eq!(everything(folder.path()), before);

    let mut add = command(folder.path());
    add.args(["user", "add", "alice@localhost", "--password-stdin"]);
    assert!(output(add, "secret\n").await.status.success());
    let before = std::fs::read(&database).unwrap();
    let (status, detail) = check().await;
    assert!(status == "ok" && detail.contains("can be used, schema "), "{detail}");
    assert_eq!(std::fs::read(&database).unwrap(), before);

    for beside in ["unisono.db-wal", "unisono.db-shm"] {
        let _ = std::fs::remove_file(database.with_file_name(beside));
    }
    std::fs::write(&database, "no database ".repeat(100)).unwrap();
    let (status, detail) = check().await;
    assert!(status == "problem" && detail.contains("it cannot be opened"), "{detail}");
    assert_eq!(std::fs::read_to_string(&database).unwrap(), "no database ".repeat(100));
}
