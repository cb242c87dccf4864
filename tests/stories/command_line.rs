//! The command line, with a server that runs and with one that does not.

use serde_json::Value;

use crate::harness::{Database, Login, Mechanism, PASSWORD, Resumption, Server, chat, on_each_database};

on_each_database!(
    accounts_are_managed_with_a_server_and_without,
    a_name_that_looks_like_another_is_refused,
    a_disabled_account_is_out_and_keeps_what_it_has,
    a_deleted_account_is_gone,
    a_kicked_session_is_over,
    the_doctor_tells_how_far_each_device_is,
);

/// Runs a command that has to work; its answer as JSON.
async fn json(server: &Server, arguments: &str, input: &str) -> Value {
    let end = server.run(&format!("--json {arguments}"), input).await;
    assert!(end.status.success(), "{arguments}: {end:?}");
    serde_json::from_slice(&end.stdout).unwrap_or(Value::Null)
}

async fn exit(server: &Server, arguments: &str, input: &str) -> Option<i32> {
    server.run(arguments, input).await.status.code()
}

async fn lets_in(server: &Server, name: &str, password: &str) -> bool {
    let mut wire = server.secure().await;
    wire.open().await;
    Login::run(wire, Mechanism::USUAL, name, password).await.is_ok()
}

async fn accounts_are_managed_with_a_server_and_without(database: Database) {
    let mut server = Server::start(database).await;
    for runs in [true, false] {
        if !runs {
            server.stop().await;
        }
        let name = if runs { "alice" } else { "bob" };
        let jid = format!("{name}@example.org");
        let add = format!("user add {jid} --password-stdin");
        assert_eq!(exit(&server, &add, "first\n").await, Some(0), "{name}");
        assert_eq!(exit(&server, &add, "first\n").await, Some(4), "{name} is there already");
        assert_eq!(exit(&server, "user passwd nobody@example.org --password-stdin", "x\n").await, Some(3));
        assert_eq!(exit(&server, &format!("user passwd {jid} --password-stdin"), "second\n").await, Some(0));
        let users = json(&server, "user list", "").await;
        let found = users["users"].as_array().unwrap().iter().find(|user| user["jid"] == jid.as_str());
        assert_eq!(found.unwrap()["state"], "enabled");
    }
    assert_eq!(exit(&server, "session kick alice@example.org", "").await, Some(3)); // no server, no sessions
    assert_eq!(exit(&server, "user add alice", "").await, Some(2));
    server.boot().await;
    for name in ["alice", "bob"] {
        assert!(lets_in(&server, name, "second").await, "{name}");
        assert!(!lets_in(&server, name, "first").await, "{name}");
    }
    assert_eq!(json(&server, "version", "").await["version"], env!("CARGO_PKG_VERSION"));
}

async fn a_name_that_looks_like_another_is_refused(database: Database) {
    let mut server = Server::start(database).await;
    let add = |jid: &str, option: &str| format!("user add {jid} --password-stdin {option}");
    for name in ["paypal", "cope"] {
        assert_eq!(exit(&server, &add(&format!("{name}@example.org"), ""), "first\n").await, Some(0));
    }
    let digit = "paypa1@example.org";
    let mixed = "p\u{430}yp\u{430}l@example.org";
    let cyrillic = "\u{441}\u{43e}\u{440}\u{435}@example.org";
    for runs in [true, false] {
        if !runs {
            server.stop().await;
        }
        for (jid, code, why) in [
            (digit, 4, "paypa1@example.org looks like paypal@example.org, which is there already"),
            (mixed, 2, "mixes letters of several scripts"),
            (cyrillic, 4, "looks like cope@example.org, which is there already"),
        ] {
            let end = server.run(&add(jid, ""), "second\n").await;
            let text = String::from_utf8_lossy(&end.stderr);
            assert_eq!(end.status.code(), Some(code), "{text}");
            assert!(text.contains(why) && text.contains("--allow-confusable"), "{text}");
        }
        for jid in [digit, mixed, cyrillic] {
            assert_eq!(exit(&server, &add(jid, "--allow-confusable"), "third\n").await, Some(0), "{jid}");
            assert_eq!(exit(&server, &format!("user delete {jid} --yes"), "").await, Some(0), "{jid}");
        }
    }
}

async fn a_disabled_account_is_out_and_keeps_what_it_has(database: Database) {
    let server = Server::start(database).await;
    let mut alice = server.online("alice", "phone").await;
    let mut bob = server.device("bob").await;
    assert_eq!(exit(&server, "user disable alice@example.org", "").await, Some(0));
    alice.error().await;
    assert!(!lets_in(&server, "alice", PASSWORD).await);
    bob.send(&chat("alice", "later")).await;
    bob.settle().await;
    assert_eq!(exit(&server, "user enable alice@example.org", "").await, Some(0));
    server.online("alice", "phone").await.hears("later").await;
}

async fn a_deleted_account_is_gone(database: Database) {
    let server = Server::start(database).await;
    let mut alice = server.managed("alice", "phone").await;
    let mut bob = server.device("bob").await;
    assert_eq!(exit(&server, "user delete alice@example.org --yes", "").await, Some(0));
    alice.error().await;
    bob.send(&chat("alice", "hello?")).await;
    assert_eq!(bob.message().await.attr("type"), Some("error"));
    assert_eq!(exit(&server, "user delete alice@example.org --yes", "").await, Some(3));
    assert_eq!(
        exit(&server, "user add alice@example.org --password-stdin", &format!("{PASSWORD}\n")).await,
        Some(0)
    );
    // Somebody else may have the name now, and nothing of what was there.
    let mut phone = server.online("alice", "phone").await;
    assert_eq!(phone.archive_after(None).await, []);
    assert!(matches!(server.resume("alice", alice.lose()).await, Resumption::Failed { handled: None, .. }));
}

async fn a_kicked_session_is_over(database: Database) {
    let server = Server::start(database).await;
    let mut phone = server.managed("alice", "phone").await;
    let mut laptop = server.managed("alice", "laptop").await;
    let sessions = json(&server, "session list alice@example.org", "").await;
    let listed: Vec<_> =
        sessions["sessions"].as_array().unwrap().iter().map(|one| &one["resource"]).collect();
    assert_eq!(listed, ["laptop", "phone"]);
    let kicked = json(&server, "session kick alice@example.org/phone", "").await;
    assert_eq!(kicked["sessions"], 1);
    phone.error().await;
    laptop.settle().await;
    assert!(matches!(server.resume("alice", phone.lose()).await, Resumption::Failed { .. }));
    assert_eq!(exit(&server, "session kick alice@example.org/phone", "").await, Some(3));
}

async fn the_doctor_tells_how_far_each_device_is(database: Database) {
    let mut server = Server::start(database).await;
    let mut phone = server.managed("alice", "phone").await;
    let laptop = server.managed("alice", "laptop").await;
    let mut bob = server.device("bob").await;
    let laptop = laptop.lose();
    for body in ["1", "2"] {
        bob.send(&chat("alice", body)).await;
        phone.hears(body).await;
    }
    phone.acknowledge().await;
    phone.settle().await;
    assert_eq!(server.gaps("alice").await, [("laptop".to_owned(), 2), ("phone".to_owned(), 0)]);
    let mut laptop = server.resumed("alice", laptop).await;
    laptop.hears("1").await;
    laptop.hears("2").await;
    laptop.acknowledge().await;
    laptop.settle().await;
    let agreed = [("laptop".to_owned(), 0), ("phone".to_owned(), 0)];
    assert_eq!(server.gaps("alice").await, agreed);
    server.stop().await;
    assert_eq!(server.gaps("alice").await, agreed); // read from the store
    server.boot().await;
    let _takes_up_what_the_stop_saved = server.resumed("alice", laptop.lose()).await;
    server.stop().await;
    assert_eq!(exit(&server, "sync doctor nobody@example.org", "").await, Some(3));
}
