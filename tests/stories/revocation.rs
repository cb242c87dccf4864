//! A login that is taken back: nothing of it is left, whether a server runs at that moment or not.

use crate::harness::{Database, Login, Lost, Mechanism, PASSWORD, Resumption, Server, on_each_database};

const NEW_PASSWORD: &str = "battery staple";

on_each_database!(a_changed_password_ends_what_the_old_one_began, a_disabled_account_has_no_sessions);

async fn log_in(server: &Server, name: &str, password: &str) -> Option<Login> {
    let mut wire = server.secure().await;
    wire.open().await;
    Login::run(wire, Mechanism::USUAL, name, password).await.ok()
}

async fn is_resumed(server: &Server, name: &str, password: &str, lost: Lost) -> bool {
    let login = log_in(server, name, password).await.expect("the password is right");
    matches!(login.resume(lost).await, Resumption::Resumed(_))
}

async fn succeeds(server: &Server, arguments: &str, input: &str) {
    let end = server.run(arguments, input).await;
    assert!(end.status.success(), "{arguments}: {end:?}");
}

/// Runs a command that takes a login back, under a phone that is connected and a laptop that just lost its network.
/// What both know of their sessions.
async fn revoke(server: &mut Server, name: &str, runs: bool, arguments: &str, input: &str) -> [Lost; 2] {
    let mut phone = server.managed(name, "phone").await;
    let laptop = server.managed(name, "laptop").await.lose();
    if runs {
        succeeds(server, arguments, input).await;
        phone.error().await;
        [phone.lose(), laptop]
    } else {
        server.stop().await;
        let (_, phone) = phone.outlive().await;
        succeeds(server, arguments, input).await;
        server.boot().await;
        [phone, laptop]
    }
}

/// Without this, the stories would hold on a server that resumes nothing.
async fn a_session_outlives_a_restart(server: &mut Server) {
    let carol = server.managed("carol", "phone").await;
    server.restart().await;
    let (_, lost) = carol.outlive().await;
    assert!(is_resumed(server, "carol", PASSWORD, lost).await);
}

async fn a_changed_password_ends_what_the_old_one_began(database: Database) {
    let mut server = Server::start(database).await;
    for (name, runs) in [("alice", true), ("bob", false)] {
        let passwd = format!("user passwd {name}@example.org --password-stdin");
        let lost = revoke(&mut server, name, runs, &passwd, &format!("{NEW_PASSWORD}\n")).await;
        assert!(log_in(&server, name, PASSWORD).await.is_none(), "{name}");
        for lost in lost {
            assert!(!is_resumed(&server, name, NEW_PASSWORD, lost).await, "{name}");
        }
    }
    a_session_outlives_a_restart(&mut server).await;
}

async fn a_disabled_account_has_no_sessions(database: Database) {
    let mut server = Server::start(database).await;
    for (name, runs) in [("alice", true), ("bob", false)] {
        let lost = revoke(&mut server, name, runs, &format!("user disable {name}@example.org"), "").await;
        assert!(log_in(&server, name, PASSWORD).await.is_none(), "{name}");
        // Who gets the account back does not get the devices back that it was taken from.
        succeeds(&server, &format!("user enable {name}@example.org"), "").await;
        for lost in lost {
            assert!(!is_resumed(&server, name, PASSWORD, lost).await, "{name}");
        }
    }
    a_session_outlives_a_restart(&mut server).await;
}
