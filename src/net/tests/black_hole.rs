//! Networks that swallow everything, without an error: only time tells that nobody is there.
//!
//! Each test has a network of its own, whose one link it takes down. That needs Linux, `unshare` and `ip`, and the
//! right to use them; where that is missing, a test says so and proves nothing.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use unisono_net::{Limits, Security};

use crate::client::Client;
use crate::server::Server;

/// More than any of the limits here, and far less than TCP takes by itself.
const PATIENCE: Duration = Duration::from_secs(60);
const GIVEN_UP_AFTER: Duration = Duration::from_secs(2);
/// What a test does not want to happen.
const LONG: Duration = Duration::from_secs(3600);

/// A process that keeps a network in being.
struct Network(Child);

impl Network {
    fn new() -> Result<Self, String> {
        let mut process = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot run unshare: {error}"))?;
        let mut line = String::new();
        let _read = BufReader::new(process.stdout.take().unwrap()).read_line(&mut line);
        let network = Self(process);
        if line.trim() == "up" { Ok(network) } else { Err("unshare --net does not work here".to_owned()) }
    }

    /// From now on, what this thread does on the network it does on this one.
    fn enter(&self) -> Result<(), String> {
        let file = File::open(format!("/proc/{}/ns/net", self.0.id()));
        let file = file.map_err(|error| error.to_string())?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| format!("cannot enter a network: {error}"))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _gone = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Everything that is on its way, and will be, is swallowed. For a thread that entered a network.
fn break_the_network() {
    assert!(Command::new("ip").args(["link", "set", "lo", "down"]).status().unwrap().success());
}

/// Runs a test on a thread in a network of its own, if there can be one.
fn in_a_network(test: impl AsyncFnOnce() + Send + 'static) {
    let run = move || {
        let entered = Network::new().and_then(|network| network.enter().map(|()| network));
        let _network = match entered {
            Ok(network) => network,
            Err(reason) => return eprintln!("SKIPPED, no network of our own: {reason}"),
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    };
    std::thread::spawn(run).join().unwrap();
}

/// A server, and a device without stream management on a real connection to it.
async fn phone(limits: Limits) -> (Server, Client<TlsStream<TcpStream>>) {
    let server = Server::with(limits).await;
    server.user("alice").await;
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let address = server.c2s.listen(address, Security::DirectTls).unwrap();
    let mut phone = Client::direct(TcpStream::connect(address).await.unwrap(), &server.roots).await;
    phone.log_in("alice").await;
    phone.bind("phone").await;
    phone.be_available().await;
    (server, phone)
}

/// Waits until another device of the account is told that the phone is gone.
async fn sees_it_go(device: &mut crate::server::Device) {
    let gone = "type='unavailable'";
    let presence = timeout(PATIENCE, device.until(gone)).await.expect("the dead connection ends");
    assert!(presence.contains("from='alice@example.org/phone'"), "{presence}");
}

#[test]
fn a_silent_client_in_a_black_hole_is_gone_after_the_stated_time() {
    in_a_network(async || {
        let idle_after = Duration::from_secs(1);
        let limits = Limits { idle_after, unacknowledged_within: GIVEN_UP_AFTER, ..Limits::default() };
        let (server, _phone) = phone(limits).await;
        let mut laptop = server.device("alice", "laptop").await; // in memory: no network can harm it
        laptop.be_available().await;
        break_the_network();
        sees_it_go(&mut laptop).await;
    });
}

#[test]
fn a_client_in_a_black_hole_to_which_something_is_sent_is_gone_after_the_stated_time() {
    in_a_network(async || {
        let limits = Limits { idle_after: LONG, unacknowledged_within: GIVEN_UP_AFTER, ..Limits::default() };
        let (server, _phone) = phone(limits).await;
        let mut laptop = server.device("alice", "laptop").await;
        laptop.be_available().await;
        break_the_network();
        laptop.send("<message to='alice@example.org/phone' type='chat'><body>there?</body></message>").await;
        sees_it_go(&mut laptop).await;
    });
}

#[test]
fn who_answers_stays() {
    in_a_network(async || {
        let second = Duration::from_secs(1);
        let limits = Limits { idle_after: second, unacknowledged_within: second, ..Limits::default() };
        let (_server, mut phone) = phone(limits).await;
        // TCP brings the spaces to a client that says nothing.
        phone.until("   ").await;
        phone.ping().await;
    });
}
