//! Guessing passwords takes time, and keeps nobody out.

use futures::future::join_all;

use crate::harness::{Database, Login, Mechanism, PASSWORD, Server, chat};

/// Whether somebody comes in from an address of this machine.
async fn comes_in(server: &Server, from: &str, name: &str, password: &str) -> bool {
    let mut wire = server.secure_from(from).await;
    wire.open().await;
    Login::run(wire, Mechanism::USUAL, name, password).await.is_ok()
}

/// Wrong passwords for an account, all at once.
async fn guess(server: &Server, from: &str, name: &str, times: usize) {
    let came_in = join_all((0..times).map(|_| comes_in(server, from, name, "guessed"))).await;
    assert!(!came_in.contains(&true));
}

/// The owner comes in; whether he had to wait.
async fn waits(server: &Server, from: &str, name: &str) -> bool {
    let before = server.metric("unisono_sasl_delayed_total").await;
    assert!(comes_in(server, from, name, PASSWORD).await, "{name} is locked out");
    server.metric("unisono_sasl_delayed_total").await > before
}

#[tokio::test]
async fn a_guesser_has_to_wait_and_locks_nobody_out() {
    let mut server = Server::start(Database::Sqlite).await;
    for name in ["alice", "bob"] {
        server.account(name).await;
    }
    let mut desk = server.online("alice", "desk").await;
    assert!(!waits(&server, "127.0.0.2", "alice").await);

    // A stranger guesses at one account. Where its owner came in before, she does not notice.
    guess(&server, "127.0.0.3", "alice", 16).await;
    server.logged("many logins to one account failed").await;
    assert!(!waits(&server, "127.0.0.2", "alice").await);
    assert!(waits(&server, "127.0.0.4", "alice").await); // from elsewhere she comes in, a little later
    // Also while more strangers than may wait in one place try at once.
    let strangers = ["127.0.0.10", "127.0.0.11", "127.0.0.12"].map(|from| guess(&server, from, "alice", 5));
    let (came_in, _) = tokio::join!(waits(&server, "127.0.0.6", "alice"), join_all(strangers));
    assert!(came_in, "she does not wait");
    assert!(!waits(&server, "127.0.0.3", "bob").await); // and so does, at once, who shares the address

    // He goes on, at an account that does not exist.
    guess(&server, "127.0.0.3", "nobody", 16).await;
    server.logged("many logins failed from one network").await;
    assert!(waits(&server, "127.0.0.3", "bob").await);
    assert!(!waits(&server, "127.0.0.5", "bob").await);
    // An own account does not help him.
    server.account("mallory").await;
    assert!(waits(&server, "127.0.0.3", "mallory").await);
    assert!(waits(&server, "127.0.0.3", "bob").await);

    desk.send(&chat("alice", "still here")).await;
    desk.settle().await;
    server.stop().await; // all that was said is in the log then
    let log = server.log();
    // Each is told when it begins. How often he could guess at the last account, the machine decides.
    let told =
        |what: &str, of: &str| log.lines().filter(|line| line.contains(what) && line.contains(of)).count();
    assert_eq!(told("many logins to one account failed", "account=alice@example.org"), 1, "{log}");
    assert_eq!(told("many logins failed from one network", "network=127.0.0.3"), 1, "{log}");
}
