//! `kill -9` while messages are on their way: nothing that was acknowledged is lost, nothing comes twice, and each device
//! catches up exactly (promises P2, P3 and P4).

use minidom::Element;

use crate::harness::{Database, Device, Lost, NS_SM, Resumption, Said, Server, chat, on_each_database, said};

on_each_database!(
    a_device_that_pages_the_archive_catches_up_exactly,
    a_device_that_waits_for_what_it_missed_catches_up_exactly,
    a_device_that_counts_nothing_gets_everything_after_a_crash,
    a_session_that_never_was_is_no_session,
    what_was_caught_up_with_is_not_sent_again_after_a_crash,
);

const MESSAGES: u32 = 120;

/// What is left of a conversation between two people when the server was killed in the middle of it.
struct Aftermath {
    /// What the listener had heard.
    heard: Vec<Said>,
    listener: Lost,
    speaker: Lost,
}

/// Speaks without pause, and without looking at the answers, as long as there is a server.
async fn speak(mut speaker: Device, to: &'static str, from: u32) -> Lost {
    for number in from..=MESSAGES {
        let message = chat(to, &number.to_string());
        if speaker.try_send(&message).await.is_err() {
            break;
        }
        let _asked = speaker.wire.try_send(&format!("<r xmlns='{NS_SM}'/>")).await;
    }
    speaker.outlive().await.1
}

/// The server dies when the listener has heard this.
async fn killed_at(server: &mut Server, mut listener: Device, speaker: Device, at: u32) -> Aftermath {
    let account = listener.bare().to_owned();
    let speaking = tokio::spawn(speak(speaker, "bob", 1));
    let mut heard = listener.hears_until(&at.to_string()).await;
    server.kill9().await;
    let (rest, listener) = listener.outlive().await;
    heard.extend(rest.iter().filter_map(|element: &Element| said(element, &account)));
    Aftermath { heard, listener, speaker: speaking.await.unwrap() }
}

/// The speaker comes back, learns what the server has, and sends the rest again. Returns the device.
async fn speaks_again(server: &Server, speaker: Lost) -> Device {
    let acknowledged = speaker.counts.acked;
    let Resumption::Failed { login, handled, unacked } = server.resume("alice", speaker).await else {
        panic!("what was in memory alone is gone, and so the session cannot be resumed")
    };
    let handled = handled.expect("the server says what it has");
    assert!(handled >= acknowledged, "{acknowledged} were acknowledged, {handled} are there");
    let mut speaker = login.bind("phone").await;
    for message in unacked.iter().filter(|stanza| stanza.starts_with("<message")) {
        speaker.send(message).await;
    }
    speaker.settle().await;
    speaker
}

fn numbers(said: &[Said]) -> Vec<u32> {
    said.iter().map(|said| said.body.parse().unwrap()).collect()
}

async fn a_device_that_pages_the_archive_catches_up_exactly(database: Database) {
    let mut server = Server::start(database).await;
    let listener = server.managed("bob", "phone").await;
    let speaker = server.managed("alice", "phone").await;
    let aftermath = killed_at(&mut server, listener, speaker, 40).await;
    server.boot().await;
    let _speaker = speaks_again(&server, aftermath.speaker).await;

    let Resumption::Failed { login, handled, .. } = server.resume("bob", aftermath.listener).await else {
        panic!("what was in memory alone is gone, and so the session cannot be resumed")
    };
    assert!(handled.is_some());
    let mut listener = login.bind("phone").await;
    let last = aftermath.heard.last().unwrap().stanza_id.clone();
    let missed = listener.archive_after(last.as_deref()).await;
    listener.be_online().await;
    let heard = [numbers(&aftermath.heard), numbers(&missed)].concat();
    let spoken = *heard.last().unwrap();
    assert_eq!(heard, (1..=spoken).collect::<Vec<_>>());
    end(&server, listener, spoken).await;
}

async fn a_device_that_waits_for_what_it_missed_catches_up_exactly(database: Database) {
    let mut server = Server::start(database).await;
    let listener = server.managed("bob", "phone").await;
    let speaker = server.managed("alice", "phone").await;
    let aftermath = killed_at(&mut server, listener, speaker, 60).await;
    server.boot().await;
    let mut speaker = speaks_again(&server, aftermath.speaker).await;
    speaker.send(&chat("bob", "1000")).await;
    speaker.settle().await;

    let Resumption::Failed { login, .. } = server.resume("bob", aftermath.listener).await else {
        panic!("what was in memory alone is gone, and so the session cannot be resumed")
    };
    let mut listener = login.bind("phone").await;
    listener.be_online().await;
    let missed = listener.hears_until("1000").await;
    let mut heard = [numbers(&aftermath.heard), numbers(&missed)].concat();
    assert_eq!(heard.pop(), Some(1000));
    let spoken = *heard.last().unwrap();
    assert_eq!(heard, (1..=spoken).collect::<Vec<_>>());
    end(&server, listener, spoken + 1).await;
}

/// Nothing else is on its way to the listener, and its archive has each message once.
async fn end(server: &Server, mut listener: Device, messages: u32) {
    let mut carol = server.device("carol").await;
    carol.send(&chat("bob", "2000")).await;
    listener.hears("2000").await;
    let archive = listener.archive_after(None).await;
    assert_eq!(archive.len(), messages as usize + 1);
    assert_eq!(server.gaps("bob").await, [("phone".to_owned(), 0)]);
    assert_eq!(server.metric("unisono_gap_total").await.to_bits(), 0.0_f64.to_bits());
}

async fn a_device_that_counts_nothing_gets_everything_after_a_crash(database: Database) {
    let mut server = Server::start(database).await;
    let mut alice = server.managed("alice", "phone").await;
    // Bob has a device, which is not there.
    server.online("bob", "phone").await.close().await;
    for number in 0..30 {
        alice.send(&chat("bob", &number.to_string())).await;
    }
    assert_eq!(alice.acknowledged().await, alice.counts.as_ref().unwrap().sent());
    server.kill9().await;
    server.boot().await;
    let mut bob = server.online("bob", "phone").await;
    for number in 0..30 {
        bob.hears(&number.to_string()).await;
    }
}

async fn what_was_caught_up_with_is_not_sent_again_after_a_crash(database: Database) {
    let mut server = Server::start(database).await;
    server.online("bob", "phone").await.close().await;
    let mut alice = server.managed("alice", "phone").await;
    for body in ["1", "2", "3"] {
        alice.send(&chat("bob", body)).await;
    }
    alice.recorded().await;
    let mut bob = server.managed("bob", "phone").await;
    for body in ["1", "2", "3"] {
        bob.hears(body).await;
    }
    bob.acknowledge().await;
    bob.settle().await;
    server.kill9().await;
    let (_, bob) = bob.outlive().await;
    server.boot().await;
    let Resumption::Failed { login, .. } = server.resume("bob", bob).await else {
        panic!("what was in memory alone is gone, and so the session cannot be resumed")
    };
    let mut bob = login.bind("phone").await;
    bob.be_online().await;
    server.device("carol").await.send(&chat("bob", "end")).await;
    bob.hears("end").await;
}

async fn a_session_that_never_was_is_no_session(database: Database) {
    let mut server = Server::start(database).await;
    let mut lost = server.managed("alice", "phone").await.lose();
    let theirs = server.managed("bob", "phone").await.lose();
    server.kill9().await;
    server.boot().await;
    "AAAAAAAAAAAAAAAAAAAAAA".clone_into(&mut lost.counts.id);
    for session in [lost, theirs] {
        let Resumption::Failed { handled, .. } = server.resume("alice", session).await else {
            panic!("somebody else's session is resumed")
        };
        assert_eq!(handled, None);
    }
}
