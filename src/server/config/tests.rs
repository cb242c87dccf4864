//! Configurations and the exact messages that they give.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::path::Path;
use std::time::Duration;

use super::load::read_text;
use super::{ArchivePolicy, Config, Domain, LogFormat, LoginMechanism, Size, StoreUrl, load};

/// Loads a text as `/etc/x/unisono.toml`, with `--set` arguments.
fn load_text(text: &str, sets: &[&str]) -> Result<Config, String> {
    read_text(text, "/etc/x", sets).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let mut config = load_text("", &[]).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.server.domains[0].as_str(), "localhost");
    assert_eq!(config.store.url, StoreUrl::Sqlite("unisono-data/unisono.db".into()));
    assert_eq!(&*config.admin.socket, Path::new("unisono-data/unisono.sock"));
    config.server.data_dir = "/elsewhere".into();
    assert_eq!(config.own_tls_dir(), Path::new("/elsewhere/tls"));
}

#[test]
fn every_kind_of_value_is_read() {
    let config = load_text(
        r#"
        server = { domains = ["Example.ORG", "chat.example.org"], data_dir = "data" }
        [store]
        url = "postgres://unisono@db/unisono"
        [listen]
        starttls = ["[::1]:0", "127.0.0.1:0"]
        direct_tls = []
        [limits]
        stanza_bytes = 65536
        auth_timeout = "1m30s"
        unfinished_stanzas = 0x10
        outbox_bytes = "2 MiB"
        [archive]
        policy = "roster"
        [log]
        format = "json"
        [metrics]
        listen = "off"
        [admin]
        socket = "/run/unisono.sock"
        [login]
        mechanisms = ["SCRAM-SHA-256", "PLAIN"]
        [[tls.certificate]]
        domains = ["example.org"]
        cert = "a.pem"
        key = "/keys/a.key"
        [[tls.certificate]]
        domains = ["chat.example.org"]
        cert = "b.pem"
        key = "b.key"
        "#,
        &[],
    )
    .unwrap();
    let domains: Vec<_> = config.server.domains.iter().map(Domain::as_str).collect();
    assert_eq!(domains, ["example.org", "chat.example.org"]);
    assert_eq!(config.server.data_dir, Path::new("/etc/x/data"));
    assert_eq!(config.store.url.expose(), "postgres://unisono@db/unisono?sslmode=verify-full");
    assert_eq!(config.listen.starttls.len(), 2);
    assert_eq!(config.listen.direct_tls, []);
    assert_eq!(config.limits.stanza_bytes, Size::kib(64));
    assert_eq!(config.limits.auth_timeout, Duration::from_secs(90));
    assert_eq!(config.limits.unfinished_stanzas, 16);
    assert_eq!(config.limits.outbox_bytes, Size::kib(2048));
    assert_eq!(config.archive.policy, ArchivePolicy::Roster);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.metrics.listen, None);
    assert_eq!(&*config.admin.socket, Path::new("/run/unisono.sock"));
    assert_eq!(config.login.mechanisms, [LoginMechanism::ScramSha256, LoginMechanism::Plain]);
    assert_eq!(config.tls.certificate[0].cert, Path::new("/etc/x/a.pem"));
    assert_eq!(config.tls.certificate[0].key, Path::new("/keys/a.key"));
    assert!(config.tls.certificate[1].is_for(&config.server.domains[1]));
    assert!(!config.tls.certificate[1].is_for(&config.server.domains[0]));
}

#[test]
fn each_mistake_is_named_with_its_line() {
    for (text, want) in [
        // Unknown names.
        (
            "[server]\ndomian = [\"a.org\"]",
            "unisono.toml:2: unknown key \"domian\" in [server]; did you mean \"domains\"?",
        ),
        ("[sever]\n", "unisono.toml:1: unknown section [sever]; did you mean \"server\"?"),
        ("[elephants]", "unisono.toml:1: unknown section [elephants]"),
        (
            "\n[limits]\n\ndata_dir = \"x\"",
            "unisono.toml:4: unknown key \"data_dir\" in [limits]; it belongs in [server]",
        ),
        (
            "domains = []",
            "unisono.toml:1: key \"domains\" stands outside of any section; it belongs in [server]",
        ),
        (
            "domian = []",
            "unisono.toml:1: unknown key \"domian\" outside of any section; did you mean \"domains\"?",
        ),
        ("log = \"debug\"", "unisono.toml:1: \"log\" is a section, write [log] and its keys below"),
        (
            "[[tls.certificate]]\ncert = \"a\"\nkeys = \"b\"\nkey = \"c\"",
            "unisono.toml:3: unknown key \"keys\" in [tls.certificate]; did you mean \"key\"?",
        ),
        // Wrong types.
        ("[server]\ndomains = 5", "unisono.toml:2: server.domains: expected a list, found a whole number"),
        (
            "[server]\ndomains = [\n  \"a.org\",\n  true,\n]",
            "unisono.toml:4: server.domains: expected a domain name such as \"example.org\", \
             found true or false",
        ),
        (
            "[limits]\nunfinished_stanzas = \"64\"",
            "unisono.toml:2: limits.unfinished_stanzas: expected a whole number, found a string",
        ),
        (
            "[tls]\ncertificate = [1]",
            "unisono.toml:2: tls.certificate: expected a table with cert and key, found a whole number",
        ),
        // Wrong values.
        (
            "[server]\ndomains = [\"exam ple.org\"]",
            "unisono.toml:2: server.domains: \"exam ple.org\" is not a domain name such as \
             \"example.org\": domainpart is no valid domain name",
        ),
        ("[server]\ndata_dir = \"\"", "unisono.toml:2: server.data_dir: \"\" is not a path"),
        (
            "[listen]\nstarttls = [\"localhost:5222\"]",
            "unisono.toml:2: listen.starttls: \"localhost:5222\" is not an address with a port such as \
             \"[::]:5222\" or \"127.0.0.1:5222\"; did you mean \"127.0.0.1:5222\"?",
        ),
        (
            "[listen]\ndirect_tls = [\"5223\"]",
            "unisono.toml:2: listen.direct_tls: \"5223\" is not an address with a port such as \
             \"[::]:5222\" or \"127.0.0.1:5222\"; did you mean \"[::]:5223\"?",
        ),
        (
            "[limits]\nauth_timeout = \"10\"",
            "unisono.toml:2: limits.auth_timeout: \"10\" is not a duration such as \"10s\", \"5m\" or \
             \"1h\"; did you mean \"10s\"?",
        ),
        (
            "[limits]\nauth_timeout = 10",
            "unisono.toml:2: limits.auth_timeout: expected a duration such as \"10s\", \"5m\" or \"1h\", \
             found a whole number",
        ),
        (
            "[limits]\nstanza_bytes = \"1 meg\"",
            "unisono.toml:2: limits.stanza_bytes: \"1 meg\" is not a size such as \"256KiB\" or \"1MiB\"",
        ),
        (
            "[limits]\nunfinished_stanzas = -1",
            "unisono.toml:2: limits.unfinished_stanzas: -1 is not a whole number from 0 to 4294967295",
        ),
        (
            "[log]\nlevel = \"inof\"",
            "unisono.toml:2: log.level: \"inof\" is not one of error warn info debug trace; \
             did you mean \"info\"?",
        ),
        (
            "[store]\nurl = \"mysql://me:geheim@db/x\"",
            "unisono.toml:2: store.url: the value is not \"sqlite:FILE\" or \
             \"postgres://USER@HOST/DATABASE\"",
        ),
        (
            "[store]\nurl = \"postgres://me:geheim@db/x?sslmode=of\"",
            "unisono.toml:2: store.url: the value is not \"sqlite:FILE\" or \
             \"postgres://USER@HOST/DATABASE\": unknown value \"of\" for `ssl_mode`",
        ),
        (
            "[store]\nurl = \"postgres://me:geheim@db/x?sslmode=prefer\"",
            "unisono.toml:2: store.url: sslmode=prefer lets passwords and messages go to another machine in the \
             clear; write sslmode=verify-full, with sslrootcert=/PATH for an authority of your own, or use a Unix \
             socket or localhost",
        ),
        (
            "[login]\nmechanisms = [\"SCRAM-SHA-256-PLUS\"]",
            "unisono.toml:2: login.mechanisms: \"SCRAM-SHA-256-PLUS\" is not one of SCRAM-SHA-512 \
             SCRAM-SHA-256 SCRAM-SHA-1 PLAIN",
        ),
        ("\n[[tls.certificate]]\ncert = \"a\"", "unisono.toml:2: tls.certificate: \"key\" is missing"),
        // Values that do not go together, or are out of range.
        ("[server]\ndomains = []", "unisono.toml:2: server.domains: at least one domain is needed"),
        (
            "[server]\ndomains = [\"a.org\", \"A.org\"]",
            "unisono.toml:2: server.domains: \"a.org\" is listed twice",
        ),
        (
            "[listen]\nstarttls = []\ndirect_tls = []",
            "unisono.toml:2: listen.starttls: with neither starttls nor direct_tls no client can connect",
        ),
        (
            "[listen]\nstarttls = [\"[::]:5223\"]",
            "unisono.toml: listen.direct_tls: \"[::]:5223\" is listed twice",
        ),
        (
            "[metrics]\nlisten = \"0.0.0.0:9522\"",
            "unisono.toml:2: metrics.listen: only a loopback address such as \"127.0.0.1:9522\" is safe \
             here: there is no TLS and no login",
        ),
        (
            "[limits]\nstanza_bytes = 9999",
            "unisono.toml:2: limits.stanza_bytes: \"9999B\" is out of range: from \"10KB\" to \"64MiB\"",
        ),
        (
            "[limits]\noutbox_bytes = \"100KiB\"",
            "unisono.toml:2: limits.outbox_bytes: \"100KiB\" is out of range: from \"256KiB\" to \
             \"4294967295KiB\"",
        ),
        (
            "[limits]\nauth_timeout = \"0s\"",
            "unisono.toml:2: limits.auth_timeout: \"0s\" is out of range: from \"1s\" to \"5m\"",
        ),
        (
            "[login]\nmechanisms = []",
            "unisono.toml:2: login.mechanisms: without a mechanism no client can log in",
        ),
        (
            "[login]\nmechanisms = [\"PLAIN\", \"PLAIN\"]",
            "unisono.toml:2: login.mechanisms: \"PLAIN\" is listed twice",
        ),
        (
            "[limits]\nauth_attempts = 2",
            "unisono.toml:2: limits.auth_attempts: 2 is out of range: from 3 to 6",
        ),
        (
            "[limits]\nbytes_per_second = 9999",
            "unisono.toml:2: limits.bytes_per_second: \"9999B\" is out of range: from \"10KB\", or 0",
        ),
        (
            "[admin]\nsocket = \"unisono.db\"",
            "unisono.toml:2: admin.socket: unisono-data/unisono.db is what store.url names",
        ),
        (
            "[admin]\ntoken_file = \"unisono.sock\"",
            "unisono.toml: admin.socket: unisono-data/unisono.sock is what admin.token_file names",
        ),
        (
            "[admin]\nsocket = \"/etc/x/a.key\"\n[[tls.certificate]]\ncert = \"a.pem\"\nkey = \"a.key\"",
            "unisono.toml:2: admin.socket: /etc/x/a.key is what tls.certificate names",
        ),
        (
            "[[tls.certificate]]\ndomains = [\"x.org\"]\ncert = \"a\"\nkey = \"b\"",
            "unisono.toml:1: tls.certificate: no certificate is for \"localhost\"; add one, or take the \
             domain out of server.domains\n\
             unisono.toml:2: tls.certificate.domains: \"x.org\" is not in server.domains",
        ),
        // Grammar.
        ("[server\n", "unisono.toml:1: unclosed table, expected `]`"),
        ("[log]\nlevel = info", "unisono.toml:2: the value needs quotes: level = \"info\""),
        (
            "[limits]\nauth_timeout = 10s # slow",
            "unisono.toml:2: the value needs quotes: auth_timeout = \"10s\"",
        ),
        ("[server]\ndata_dir = /var/x", "unisono.toml:2: the value needs quotes: data_dir = \"/var/x\""),
        ("[log]\nlevel = \"info\"\nlevel = \"warn\"", "unisono.toml:3: duplicate key"),
    ] {
        assert_eq!(load_text(text, &[]).unwrap_err(), want, "{text}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_their_lines() {
    let text = "[limits]\nwindow = 3\nauth_timeout = \"x\"\n[server]\ndomains = [\"\"]\n";
    let error = load_text(text, &["limits.auth_timeout=y", "nothing"]).unwrap_err();
    let places: Vec<_> = error.lines().map(|line| line.split(": ").next().unwrap()).collect();
    let want =
        ["unisono.toml:2", "unisono.toml:3", "unisono.toml:5", "--set limits.auth_timeout", "--set nothing"];
    assert_eq!(places, want, "{error}");
}

#[test]
fn arguments_go_before_the_file_and_need_no_quotes() {
    let file = "[server]\ndomains = [\"a.org\"]\n[limits]\nauth_timeout = \"20s\"";
    let sets = [
        "server.domains=b.org, c.org",
        "limits.auth_timeout=5s",
        "limits.unfinished_stanzas = 8",
        "limits.stanza_bytes=20000",
        "listen.starttls=[::1]:0",
        "listen.direct_tls=[]",
        "server.data_dir=2026",
        "log.level=\"warn\"",
        "admin.listen=off",
        "tls.certificate=[{ cert = \"a\", key = \"b\" }]",
    ];
    let config = load_text(file, &sets).unwrap();
    let domains: Vec<_> = config.server.domains.iter().map(Domain::as_str).collect();
    assert_eq!(domains, ["b.org", "c.org"]);
    assert_eq!(config.limits.auth_timeout, Duration::from_secs(5));
    assert_eq!(config.limits.unfinished_stanzas, 8);
    assert_eq!(config.limits.stanza_bytes, Size::bytes(20_000));
    assert_eq!(config.listen.starttls, ["[::1]:0".parse().unwrap()]);
    assert_eq!(config.listen.direct_tls, []);
    assert_eq!(config.server.data_dir, Path::new("2026"));
    assert_eq!(config.tls.certificate[0].key, Path::new("b"));
}

#[test]
fn a_wrong_argument_is_named() {
    for (set, want) in [
        ("limits.window=3", "--set limits.window: unknown key \"limits.window\""),
        (
            "server.domain=a.org",
            "--set server.domain: unknown key \"server.domain\"; did you mean \"server.domains\"?",
        ),
        ("data_dir=x", "--set data_dir: unknown key \"data_dir\"; did you mean \"server.data_dir\"?"),
        ("server.data_dir", "--set server.data_dir: write --set section.key=value"),
        ("log.level=loud", "--set log.level: log.level: \"loud\" is not one of error warn info debug trace"),
        (
            "store.url=postgres:geheim",
            "--set store.url: store.url: the value is not \"sqlite:FILE\" or \
             \"postgres://USER@HOST/DATABASE\"",
        ),
    ] {
        assert_eq!(load_text("", &[set]).unwrap_err(), want, "{set}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.toml");
    let error = load(Some(&missing), &[]).unwrap_err().to_string();
    let want = format!("{}: there is no such file; `unisono init` writes one", missing.display());
    assert_eq!(error, want);
    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe]).unwrap();
    let error = load(Some(&binary), &[]).unwrap_err().to_string();
    assert_eq!(error, format!("{}: is not text in UTF-8", binary.display()));
}

#[test]
fn paths_start_at_the_directory_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("unisono.toml");
    std::fs::write(&file, "").unwrap();
    let config = load(Some(&file), &[]).unwrap().config;
    assert_eq!(config.server.data_dir, folder.path().join("unisono-data"));
    assert_eq!(&*config.admin.socket, folder.path().join("unisono-data/unisono.sock"));
    // What lives in data_dir is there, whether the file names it or not.
    std::fs::write(&file, "[admin]\nsocket = \"unisono.sock\"\ntoken_file = \"t\"").unwrap();
    let config = load(Some(&file), &[]).unwrap().config;
    assert_eq!(&*config.admin.socket, folder.path().join("unisono-data/unisono.sock"));
    assert_eq!(&*config.admin.token_file, folder.path().join("unisono-data/t"));
    let config = load(Some(&file), &["server.data_dir=here".to_owned()]).unwrap().config;
    assert_eq!(&*config.admin.socket, Path::new("here/unisono.sock"));
}

#[test]
fn files_that_the_configuration_names_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("unisono.toml");
    std::fs::write(folder.path().join("plain"), "").unwrap();
    let text = "[server]\ndata_dir = \"plain/data\"\n\
                [[tls.certificate]]\ncert = \"plain\"\nkey = \"none\"\n\
                [store]\nurl = \"postgres://db/d?sslrootcert=/none/ca.pem\"\n";
    std::fs::write(&file, text).unwrap();
    let error = load(Some(&file), &[]).unwrap().check_files().unwrap_err().to_string();
    let (file, folder) = (file.display(), folder.path().display());
    let want = format!(
        "{file}:2: server.data_dir: {folder}/plain is not a directory\n\
         {file}:5: tls.certificate.key: there is no file {folder}/none\n\
         {file}:7: store.url: there is no file /none/ca.pem"
    );
    assert_eq!(error, want);
}
