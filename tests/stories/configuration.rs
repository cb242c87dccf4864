//! A configuration that cannot work stops the start with one clear line.

use std::process::Output;

use crate::harness::{Database, Server, command, output};

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

#[tokio::test]
async fn a_second_server_leaves_the_first_alone() {
    let server = Server::start(Database::Sqlite).await;
    let second = server.run("serve", "").await;
    assert!(!second.status.success());
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.lines().last().unwrap().starts_with("error: "), "{error}");
    server.device("alice").await.settle().await;
}
