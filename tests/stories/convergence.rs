//! Four devices of two people talk while the server is killed again and again. In the end all of them have heard one
//! conversation (promises P1 to P4).

use std::collections::HashSet;

use crate::harness::{
    DOMAIN, Database, Device, Lost, NS_SM, Resumption, Said, Server, chat, on_each_database, said,
};

on_each_database!(four_devices_hear_one_conversation_through_three_kills);

const ROUNDS: usize = 3;
const MESSAGES: usize = 60;

/// What a device does while the server lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Speaks,
    Listens,
}

/// A device and everything that it was shown.
struct Witness {
    name: &'static str,
    resource: &'static str,
    manner: Manner,
    heard: Vec<Said>,
    spoken: Vec<String>,
}

impl Witness {
    fn new(name: &'static str, resource: &'static str, manner: Manner) -> Self {
        Self { name, resource, manner, heard: Vec::new(), spoken: Vec::new() }
    }

    fn account(&self) -> String {
        format!("{}@{DOMAIN}", self.name)
    }

    fn peer(&self) -> &'static str {
        if self.name == "alice" { "bob" } else { "alice" }
    }

    /// Talks until the server is gone, and reads everything that the connection still has.
    async fn outlive(&mut self, mut device: Device, round: usize) -> Lost {
        if self.manner == Manner::Speaks {
            for number in 0..MESSAGES {
                let body = format!("{} {round}.{number}", self.name);
                self.spoken.push(body.clone());
                let sent = device.try_send(&chat(self.peer(), &body)).await;
                if sent.is_err() || device.wire.try_send(&format!("<r xmlns='{NS_SM}'/>")).await.is_err() {
                    break;
                }
            }
        }
        let (arrived, lost) = device.outlive().await;
        let account = self.account();
        self.heard.extend(arrived.iter().filter_map(|element| said(element, &account)));
        lost
    }

    /// Comes back to a server that knows nothing but what is recorded, and pages the archive from the last id it knows.
    async fn come_back(&mut self, server: &Server, lost: Lost) -> Device {
        let acked = lost.counts.acked;
        let Resumption::Failed { login, handled, unacked } = server.resume(self.name, lost).await else {
            panic!("what was in memory alone is gone, and so the session cannot be resumed")
        };
        assert!(handled.expect("the server says what it has") >= acked);
        let mut device = login.bind(self.resource).await;
        let known = self.heard.last().and_then(|said| said.stanza_id.clone());
        let missed = device.archive_after(known.as_deref()).await;
        self.heard.extend(missed.into_iter().filter(|said| said.from != device.jid));
        device.enable().await;
        device.be_online().await;
        for message in unacked.iter().filter(|stanza| stanza.starts_with("<message")) {
            device.send(message).await;
        }
        device
    }
}

async fn four_devices_hear_one_conversation_through_three_kills(database: Database) {
    let mut server = Server::start(database).await;
    let mut witnesses = [
        Witness::new("alice", "phone", Manner::Speaks),
        Witness::new("alice", "laptop", Manner::Listens),
        Witness::new("bob", "phone", Manner::Speaks),
        Witness::new("bob", "laptop", Manner::Listens),
    ];
    let mut devices = Vec::new();
    for witness in &witnesses {
        devices.push(server.managed(witness.name, witness.resource).await);
    }
    for round in 0..ROUNDS {
        // The last one hears enough for the others to be in the middle of it, then the server dies.
        let mut last = devices.pop().unwrap();
        let [alice, alices, bob, bobs] = &mut witnesses;
        let mut connections = devices.drain(..);
        let mut next = || connections.next().unwrap();
        let (one, two, three) = (next(), next(), next());
        let account = bobs.account();
        let killing = async {
            for _ in 0..20 + 10 * round {
                let element = last.find(|element| said(element, &account).is_some()).await;
                bobs.heard.extend(said(&element, &account));
            }
            server.kill9().await;
            bobs.outlive(last, round).await
        };
        let (first, second, third, fourth) = tokio::join!(
            alice.outlive(one, round),
            alices.outlive(two, round),
            bob.outlive(three, round),
            killing
        );
        drop(connections);
        server.boot().await;
        for (witness, lost) in witnesses.iter_mut().zip([first, second, third, fourth]) {
            devices.push(witness.come_back(&server, lost).await);
        }
    }
    for device in &mut devices {
        device.recorded().await;
    }
    let mut carol = server.device("carol").await;
    for (witness, device) in witnesses.iter_mut().zip(&mut devices) {
        let end = format!("end of {} on the {}", witness.name, witness.resource);
        carol.send(&chat(&device.jid, &end)).await;
        witness.heard.extend(device.hears_until(&end).await);
    }
    for witness in &witnesses {
        agrees(&server, witness, &witnesses).await;
    }
}

/// What a device has heard is what the archive of its account holds, once each, in that order.
async fn agrees(server: &Server, witness: &Witness, all: &[Witness]) {
    let mut reader = server.bind(witness.name, "reader").await;
    let archive = reader.archive_after(None).await;
    reader.close().await;
    let is_end = |said: &&Said| said.from.starts_with("carol@");
    let own = format!("{}/{}", witness.account(), witness.resource);
    let shown: Vec<_> = archive.iter().filter(|said| said.from != own && !is_end(said)).collect();
    let heard: Vec<_> = witness.heard.iter().filter(|said| !is_end(said)).collect();
    assert_eq!(heard, shown, "{own}");
    let bodies: HashSet<_> = archive.iter().map(|said| &said.body).collect();
    assert_eq!(bodies.len(), archive.len(), "a message is recorded twice");
    for spoken in all.iter().flat_map(|witness| &witness.spoken) {
        assert!(bodies.contains(spoken), "{spoken} is lost");
    }
}
