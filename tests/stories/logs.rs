//! What the log says, and what it never says.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::harness::{
    Database, Login, Mechanism, PASSWORD, Server, Start, chat, command, output, plain, request_with,
};

#[tokio::test]
async fn no_secret_is_in_a_log_that_says_everything() {
    let set = vec!["log.level=trace", "log.format=json", "admin.listen=127.0.0.1:0"];
    let mut server = Server::start(Start { database: Database::Sqlite, set }).await;
    server.account("alice").await;
    let added = server.run("user add bob@example.org --password-stdin", "wholly other horse\n").await;
    assert!(added.status.success(), "{added:?}");
    let mut wire = server.secure().await;
    wire.open().await;
    let login = Login::run(wire, Mechanism::new("PLAIN", None), "bob", "wholly other horse").await;
    let Ok(login) = login else { panic!("PLAIN does not work") };
    let mut bob = login.bind("desk").await;
    bob.be_online().await;
    let mut wire = server.secure().await;
    wire.open().await;
    assert!(Login::run(wire, Mechanism::USUAL, "bob", "a wrong guess").await.is_err());

    let mut alice = server.managed("alice", "phone").await;
    alice.send(&chat("bob", "for your eyes")).await;
    bob.hears("for your eyes").await;
    let lost = alice.lose();
    let previd = lost.counts.id.clone();
    let mut alice = server.resumed("alice", lost).await;
    alice.settle().await;

    let at: SocketAddr = server.address("admin");
    let token = std::fs::read_to_string(server.path("data/admin.token")).unwrap().trim().to_owned();
    let (host, shown) = (format!("Host: {at}"), format!("Authorization: Bearer {token}"));
    let io = TcpStream::connect(at).await.unwrap();
    assert_eq!(request_with(io, "GET /v1/users", &[&host, &shown], "").await.0, 200);
    for command in ["disable", "enable", "delete --yes"] {
        let (word, options) = command.split_once(' ').unwrap_or((command, ""));
        let end = server.run(&format!("user {word} bob@example.org {options}"), "").await;
        assert!(end.status.success(), "{end:?}");
    }
    server.stop().await;

    let log = server.logged("\"stream is bound\"").await;
    let lines = || log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    for change in ["added", "disabled", "enabled", "deleted"] {
        let is_it = |line: &serde_json::Value| {
            let fields = &line["fields"];
            fields["change"] == change && fields["account"] == "bob@example.org" && fields["by"] == "socket"
        };
        assert_eq!(lines().filter(is_it).count(), 1, "{change}: {log}");
    }
    let cannot = lines().find(|line| line["fields"]["message"] == "a client cannot authenticate").unwrap();
    assert_eq!(cannot["fields"]["account"], "bob@example.org");
    for line in log.lines() {
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
    assert!(log.contains("\"DEBUG\"") && log.contains("\"domains\":\"example.org\""), "{log}");
    let as_sent = plain("", "bob", "wholly other horse");
    let secrets = [PASSWORD, "wholly other", "a wrong guess", &as_sent, "for your eyes", &previd, &token];
    for secret in secrets {
        assert!(secret.len() > 8 && !log.contains(secret), "{secret} is in the log");
    }
}

/// An account in a database that no server will ever open is made by mistake.
#[tokio::test]
async fn a_command_says_that_it_made_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = "[server]\ndomains = [\"example.org\"]\ndata_dir = \"data\"\n";
    std::fs::write(folder.path().join("unisono.toml"), configuration).unwrap();
    for (name, is_new) in [("alice", true), ("bob", false)] {
        let mut add = command(folder.path());
        add.args(["user", "add", &format!("{name}@example.org"), "--password-stdin"]);
        let end = output(add, PASSWORD).await;
        let said = String::from_utf8(end.stderr).unwrap();
        assert!(end.status.success(), "{said}");
        assert_eq!(said.contains("no server runs here; made a new database"), is_new, "{said}");
    }
}

#[tokio::test]
async fn the_log_says_once_that_a_device_sends_what_is_wrong() {
    let mut server = Server::start(Start { database: Database::Sqlite, set: vec![] }).await;
    for name in ["alice", "bob"] {
        server.account(name).await;
        let mut device = server.managed(name, "phone").await;
        for _ in 0..3 {
            device.send("<iq type='get' id='a'><query xmlns='urn:example:unknown'/></iq>").await;
            device.send("<message id='b' to='not a jid'><body>x</body></message>").await;
        }
        device.settle().await;
    }
    let said = |log: &str, name: &str| {
        let is_it = |line: &&str| line.contains("not taken as it is") && line.contains(&format!("{name}@"));
        log.lines().filter(is_it).count()
    };
    let log = server.logged("are not told jid=bob@").await;
    assert_eq!((said(&log, "alice"), said(&log, "bob")), (1, 1), "{log}");
}
