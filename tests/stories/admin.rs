//! Administration on a port: for whoever has the token, and for no web page (THREATS: the admin plane).

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Database, Server, Start, chat, request_with};

async fn start() -> Server {
    Server::start(Start { database: Database::Sqlite, set: vec!["admin.listen=127.0.0.1:0"] }).await
}

/// One request with these lines in its head.
async fn ask(at: SocketAddr, line: &str, headers: &[&str], body: &str) -> (u16, String, String) {
    request_with(TcpStream::connect(at).await.unwrap(), line, headers, body).await
}

#[tokio::test]
async fn a_port_for_administration_needs_the_token() {
    let mut server = start().await;
    let file = server.path("data/admin.token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(!server.log().contains(&token));
    let at = server.address("admin");
    let (host, shown) = (&format!("Host: {at}"), &format!("Authorization: Bearer {token}"));
    let wrong = format!("Authorization: Bearer {}", token.chars().rev().collect::<String>());

    let user = r#"{"jid":"mallory@example.org","password":"secret"}"#;
    for headers in [&[host.as_str()][..], &[host, &wrong], &[host, "Authorization: Basic YTpi"]] {
        for line in
            ["GET /v1/version", "GET /v1/users", "POST /v1/users", "GET /nothing", "DELETE /v1/sessions"]
        {
            let (status, head, body) = ask(at, line, headers, user).await;
            assert_eq!(status, 401, "{line} {headers:?}");
            assert!(head.contains("www-authenticate: bearer"), "{head}");
            assert!(body.contains("unauthorized") && !body.contains("version"), "{body}");
        }
    }
    let (status, _, body) = ask(at, "GET /v1/users", &[host, shown], "").await;
    assert_eq!((status, body.contains("mallory")), (200, false), "{body}");
    let alice = r#"{"jid":"alice@example.org","password":"secret"}"#;
    assert_eq!(ask(at, "POST /v1/users", &[host, shown], alice).await.0, 201);
    let refusals = server.metric("unisono_admin_refusals_total{code=\"unauthorized\"}").await;
    assert_eq!(refusals.to_bits(), 15.0_f64.to_bits());
    // The token lasts; the socket needs none.
    server.restart().await;
    let at = server.address("admin");
    assert_eq!(ask(at, "GET /v1/version", &[&format!("Host: {at}"), shown], "").await.0, 200);
    assert!(server.run("user list", "").await.status.success());
}

/// The ports that others reach have nothing of it, not even with the token.
#[tokio::test]
async fn no_other_port_administers() {
    let server = start().await;
    server.account("alice").await;
    let token = std::fs::read_to_string(server.path("data/admin.token")).unwrap();
    let shown = format!("Authorization: Bearer {}", token.trim());
    let at = server.address("metrics");
    for line in ["GET /v1/users", "GET /v1/version", "POST /v1/users", "DELETE /v1/sessions"] {
        let (status, _, body) = ask(at, line, &[&format!("Host: {at}"), &shown], "").await;
        assert_eq!((status, body.contains("alice")), (404, false), "{line}: {body}");
        let mut io = server.tcp().await;
        io.write_all(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{shown}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        io.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("<not-well-formed ") && !answer.contains("HTTP"), "{line}: {answer}");
    }
}

#[tokio::test]
async fn a_web_page_cannot_administer() {
    let server = start().await;
    let at = server.address("admin");
    let token = std::fs::read_to_string(server.path("data/admin.token")).unwrap();
    let shown = &format!("Authorization: Bearer {}", token.trim());
    let (host, port) = (&format!("Host: {at}"), at.port());
    // Even with the token: a name of the attacker that leads to this machine, and a page of another origin.
    for headers in [
        [format!("Host: evil.example:{port}"), String::from("X-A: b")],
        [format!("Host: 192.0.2.1:{port}"), String::from("X-A: b")],
        [host.clone(), String::from("Origin: http://evil.example")],
        [host.clone(), String::from("Origin: null")],
    ] {
        let (status, head, _) = ask(at, "GET /v1/users", &[&headers[0], &headers[1], shown], "").await;
        assert_eq!(status, 403, "{headers:?}");
        assert!(!head.contains("access-control"), "{head}");
    }
    // What a browser asks before it lets a page send a token.
    let preflight = [host, "Origin: http://evil.example", "Access-Control-Request-Method: POST"];
    let (status, head, _) = ask(at, "OPTIONS /v1/users", &preflight, "").await;
    assert_eq!((status, head.contains("access-control")), (403, false), "{head}");
    assert_eq!(ask(at, "GET /v1/users", &[&format!("Host: localhost:{port}"), shown], "").await.0, 200);
    // Nobody else noticed.
    let [mut phone, mut laptop] = server.devices("alice").await;
    phone.send(&chat("alice", "still here")).await;
    laptop.hears("still here").await;
}

#[tokio::test]
async fn a_token_that_others_can_read_stops_the_start() {
    let mut server = start().await;
    server.stop().await;
    let file = server.path("data/admin.token");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let end = server.run("serve --set admin.listen=127.0.0.1:0", "").await;
    let error = String::from_utf8(end.stderr).unwrap();
    assert!(!end.status.success(), "{error}");
    assert!(error.lines().any(|line| line.contains("admin.token is open to other users")), "{error}");
    let check = server.run("--json check --set admin.listen=127.0.0.1:0", "").await;
    assert!(!check.status.success());
    assert!(String::from_utf8(check.stdout).unwrap().contains("admin token"));
}

#[tokio::test]
async fn a_page_of_accounts_is_as_long_as_asked() {
    let server = start().await;
    for name in ["alice", "bob", "carol"] {
        server.account(name).await;
    }
    let [_phone, _laptop] = server.devices("bob").await;
    let at = server.address("admin");
    let token = std::fs::read_to_string(server.path("data/admin.token")).unwrap();
    let (host, shown) = (format!("Host: {at}"), format!("Authorization: Bearer {}", token.trim()));
    let page = async |query: &str| {
        let line = format!("GET /v1/users{query}");
        let (status, _, body) = ask(at, &line, &[&host, &shown], "").await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let users: Vec<_> = body["users"].as_array().into_iter().flatten().cloned().collect();
        let names: Vec<_> = users.iter().map(|user| user["jid"].as_str().unwrap().to_owned()).collect();
        let devices: u64 = users.iter().map(|user| user["devices"].as_u64().unwrap()).sum();
        (status, names.join(" "), devices, body["next"].as_str().unwrap_or_default().to_owned())
    };
    let own = str::to_owned;
    let (ab, b) = (own("alice@example.org bob@example.org"), own("bob@example.org"));
    assert_eq!(page("?limit=2").await, (200, ab, 2, b));
    let carol = own("carol@example.org");
    assert_eq!(page("?limit=2&after=bob%40example.org").await, (200, carol.clone(), 0, own("")));
    assert_eq!(page("?limit=1000").await.0, 200);
    assert_eq!(page("").await.1, format!("alice@example.org bob@example.org {carol}"));
    for wrong in ["?limit=0", "?limit=-1", "?limit=x", "?limit="] {
        assert_eq!(page(wrong).await.0, 400, "{wrong}");
    }
}
