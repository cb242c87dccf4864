//! The promises P1 to P4 of DESIGN.md, each where it could break.

use std::time::Duration;

use super::*;
use unisono_core::error::{Condition, StreamCondition};

#[tokio::test]
async fn p1_all_devices_have_one_order_with_the_same_ids() {
    let world = World::with(&["alice", "bob"]).await;
    let (phone, laptop) = (world.online("bob", "phone").await, world.online("bob", "laptop").await);
    let alice = world.online("alice", "desk").await;
    phone.take().await;
    alice.say("bob@example.org", "1").await;
    world.step_clock(-3_600_000_000); // the clock steps back by an hour
    alice.say("bob@example.org/laptop", "2").await;
    phone.say("alice@example.org", "3").await;
    alice.say("bob@example.org", "4").await;
    let on_phone = phone.conversation().await;
    let on_laptop = laptop.conversation().await;
    let bodies =
        |told: &[(String, Option<String>)]| told.iter().map(|(body, _)| body.clone()).collect::<Vec<_>>();
    assert_eq!(bodies(&on_phone), ["1", "2", "4"]);
    assert_eq!(bodies(&on_laptop), ["1", "2", ">3", "4"]);
    for (body, id) in on_phone {
        assert!(id.is_some(), "{body} has an archive id");
        assert!(on_laptop.contains(&(body.clone(), id)), "{body} has one id on both devices");
    }
}

#[tokio::test]
async fn p2_nothing_is_delivered_or_acknowledged_before_it_is_durable() {
    let world = World::with(&["alice", "bob"]).await;
    let bob = world.online("bob", "phone").await;
    let (alice, _) = world.managed("alice", "desk").await;
    bob.take().await;
    world.store.hold();
    alice.say("bob@example.org", "1").await;
    assert_eq!(bob.bodies().await, Vec::<String>::new());
    assert_eq!(alice.handled().await, None);
    world.store.release();
    assert_eq!(bob.bodies().await, ["1"]);
    let answers = alice.take().await;
    assert!(answers.iter().any(|a| a.name() == "a" && a.attr("h") == Some("1")), "{answers:?}");
}

#[tokio::test]
async fn p2_a_crash_loses_nothing_that_was_acknowledged_and_nothing_else_was_seen() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, previous) = world.managed("alice", "desk").await;
    let bob = world.online("bob", "phone").await;
    alice.say("bob@example.org", "1").await;
    assert_eq!(alice.handled().await, Some(1));
    world.store.hold();
    alice.say("bob@example.org", "2").await; // never durable
    assert_eq!(bob.bodies().await, ["1"]);
    let world = world.crash().await;
    let (reply, device) = world.resume("alice", &previous, 0).await;
    assert!(device.is_none());
    let failed = reply.write.first().unwrap();
    assert_eq!((failed.name(), failed.attr("h")), ("failed", Some("1"))); // so the client sends 2 again
}

#[tokio::test]
async fn p3_a_repetition_is_recorded_once() {
    let world = World::with(&["alice", "bob"]).await;
    let bob = world.online("bob", "phone").await;
    let alice = world.online("alice", "desk").await;
    let tablet = world.online("alice", "tablet").await;
    bob.take().await;
    tablet.take().await;
    alice.say("bob@example.org", "1").await;
    alice.lose_connection();
    let again = world.online("alice", "desk").await;
    again.say("bob@example.org", "1").await;
    assert_eq!(bob.bodies().await, ["1"]);
    assert_eq!(tablet.bodies().await, [">1"]);
    // Another text under the same id, and the same text under another id, are other messages.
    again.send("<message to='bob@example.org' type='chat' id='1'><body>one</body></message>").await;
    again.send("<message to='bob@example.org' type='chat' id='2'><body>1</body></message>").await;
    assert_eq!(bob.bodies().await, ["one", "1"]);
    let world = world.crash().await;
    let bob = world.online("bob", "laptop").await;
    let after = world.online("alice", "desk").await;
    bob.take().await;
    after.say("bob@example.org", "1").await;
    after.say("bob@example.org", "new").await;
    assert_eq!(bob.bodies().await, ["new"], "a repetition is known after a crash, too");
}

/// A client that counts its ids begins anew after it closed its stream, though its session was older than the server.
#[tokio::test]
async fn p3_what_is_said_after_a_proper_end_is_no_repetition() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, previous) = world.managed("alice", "desk").await;
    alice.say("bob@example.org", "1").await;
    alice.lose_connection();
    let world = world.restart().await;
    let bob = world.online("bob", "phone").await;
    bob.take().await;
    let (_, resumed) = world.resume("alice", &previous, 0).await;
    let resumed = resumed.unwrap();
    resumed.say("bob@example.org", "1").await;
    assert_eq!(bob.bodies().await, [""; 0], "it did not see its acknowledgement");
    world.hub.close(&resumed.session, true);
    let again = world.online("alice", "desk").await;
    again.say("bob@example.org", "1").await;
    assert_eq!(bob.bodies().await, ["1"]);
}

#[tokio::test]
async fn p4_a_session_is_resumed_on_another_connection() {
    let world = World::with(&["alice", "bob"]).await;
    let (bob, previous) = world.managed("bob", "phone").await;
    let alice = world.online("alice", "desk").await;
    bob.take().await;
    alice.say("bob@example.org", "1").await;
    alice.say("bob@example.org", "2").await;
    assert_eq!(bob.bodies().await, ["1", "2"]);
    bob.acknowledge(1).await;
    bob.lose_connection();
    alice.say("bob@example.org", "3").await;
    let (reply, resumed) = world.resume("bob", &previous, 1).await;
    assert_eq!(reply.write.first().unwrap().name(), "resumed");
    assert_eq!(resumed.unwrap().bodies().await, ["2", "3"]);
}

#[tokio::test]
async fn p4_a_session_survives_a_restart_of_the_server() {
    let world = World::with(&["alice", "bob"]).await;
    let (bob, previous) = world.managed("bob", "phone").await;
    let alice = world.online("alice", "desk").await;
    bob.take().await;
    alice.say("bob@example.org", "1").await;
    alice.send("<message to='bob@example.org/phone' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>").await;
    alice.say("bob@example.org", "2").await;
    bob.lose_connection();
    let world = world.restart().await;
    let alice = world.online("alice", "desk").await;
    alice.say("bob@example.org", "3").await; // waits for the session that was saved
    let (reply, resumed) = world.resume("bob", &previous, 1).await;
    assert_eq!(reply.write.first().unwrap().attr("previd"), Some(previous.as_str()));
    let taken = resumed.unwrap().take().await;
    let names: Vec<_> =
        taken.iter().filter(|e| e.name() == "message").map(|e| told(e).map(|(body, _)| body)).collect();
    assert_eq!(names, [None, Some("2".into()), Some("3".into())], "the typing state was saved as well");
}

#[tokio::test]
async fn p4_after_a_crash_a_client_that_waits_for_offline_messages_gets_exactly_the_rest() {
    let world = World::with(&["alice", "bob"]).await;
    let (bob, previous) = world.managed("bob", "phone").await;
    let alice = world.online("alice", "desk").await;
    bob.take().await;
    for body in ["1", "2", "3"] {
        alice.say("bob@example.org", body).await;
    }
    assert_eq!(bob.bodies().await, ["1", "2", "3"]);
    // Bob's client has counted two of them, and could not tell.
    let world = world.crash().await;
    let (reply, _) = world.resume("bob", &previous, 2).await;
    assert_eq!(reply.write.first().unwrap().name(), "failed");
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, ["3"]);
}

#[tokio::test]
async fn a_device_that_was_away_gets_what_it_missed_before_anything_newer() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    alice.say("bob@example.org", "1").await;
    alice.say("bob@example.org", "2").await;
    let bob = world.bind("bob", "phone").await;
    alice.say("bob@example.org", "3").await;
    bob.send("<presence/>").await;
    alice.say("bob@example.org", "4").await;
    assert_eq!(bob.bodies().await, ["1", "2", "3", "4"]);
    let laptop = world.bind("bob", "laptop").await;
    laptop.send("<presence/>").await;
    assert_eq!(laptop.bodies().await, Vec::<String>::new(), "what another device has is not new");
}

#[tokio::test]
async fn a_session_that_nobody_came_back_to_ends_and_its_messages_wait() {
    let world = World::with(&["alice", "bob"]).await;
    let (bob, previous) = world.managed("bob", "phone").await;
    let alice = world.online("alice", "desk").await;
    bob.take().await;
    bob.lose_connection();
    alice.say("bob@example.org", "1").await;
    world.pass(Duration::from_secs(100_000));
    let (reply, _) = world.resume("bob", &previous, 0).await;
    assert_eq!(reply.write.first().unwrap().attr("h"), Some("0"));
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, ["1"]);
}

#[tokio::test]
async fn p4_after_a_crash_in_a_catch_up_the_client_gets_exactly_the_rest_of_it() {
    for had in 0..=4_u32 {
        let world = World::with(&["alice", "bob"]).await;
        let alice = world.online("alice", "desk").await;
        for body in ["1", "2", "3"] {
            alice.say("bob@example.org", body).await;
        }
        let bob = world.bind("bob", "phone").await;
        let enabled = bob.nonza("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        let previous = enabled.write.first().unwrap().attr("id").unwrap().to_owned();
        bob.send("<presence/>").await;
        alice.say("bob@example.org", "4").await;
        let taken = bob.take().await;
        // Bob's client counted so many messages, and the presence before them.
        let counted = taken.iter().filter(|e| e.name() != "r").position(|e| e.name() == "message").unwrap();
        let handled = u32::try_from(counted).unwrap() + had;
        let world = world.crash().await;
        let (reply, _) = world.resume("bob", &previous, handled).await;
        assert_eq!(reply.write.first().unwrap().name(), "failed");
        let bob = world.bind("bob", "phone").await;
        bob.send("<presence/>").await;
        let rest = ["1", "2", "3", "4"].into_iter().skip(had as usize).collect::<Vec<_>>();
        assert_eq!(bob.bodies().await, rest, "after {had}");
    }
}

#[tokio::test]
async fn p4_a_session_that_cannot_be_read_is_not_over() {
    let world = World::with(&["alice", "bob"]).await;
    let (bob, previous) = world.managed("bob", "phone").await;
    let alice = world.online("alice", "desk").await;
    bob.say("alice@example.org", "1").await;
    alice.say("bob@example.org", "2").await;
    let world = world.crash().await;
    world.store.fail_reads(true);
    let (reply, device) = world.resume("bob", &previous, 0).await;
    assert!(reply.write.is_empty() && device.is_none());
    assert_eq!(reply.error.unwrap().0, StreamCondition::InternalServerError);
    // Only what is kept of the session cannot be read.
    world.store.fail_reads(false);
    world.hub.account(&jid("bob")).await.unwrap();
    world.store.fail_reads(true);
    let (reply, _) = world.resume("bob", &previous, 0).await;
    assert_eq!(reply.error.unwrap().0, StreamCondition::InternalServerError);
    world.store.fail_reads(false);
    let (reply, _) = world.resume("bob", &previous, 0).await;
    assert_eq!(reply.write.first().unwrap().attr("h"), Some("1"));
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, ["2"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_read_later() {
    let world = World::with(&["alice", "bob"]).await;
    world.bind("bob", "phone").await.lose_connection();
    let alice = world.online("alice", "desk").await;
    alice.say("bob@example.org", "1").await;
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    world.store.fail_reads(true);
    assert!(world.hub.read_on(&bob.session).await.is_err());
    let answer = alice.ask("<iq type='set' id='mam'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    let error = answer.child("error", "jabber:client").unwrap();
    assert!(error.has_child("internal-server-error", "urn:ietf:params:xml:ns:xmpp-stanzas"), "{answer:?}");
    let refused = world.hub.bind(&jid("carol"), None, world.connection()).await;
    assert_eq!(refused.err().unwrap().condition, Condition::InternalServerError);
    bob.lose_connection();
    world.store.fail_reads(false);
    assert_eq!(world.hub.counters.gaps.load(Ordering::Relaxed), 0);
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, ["1"]);
}

#[tokio::test]
async fn p2_what_reaches_nobody_because_the_store_is_silent_stands_in_no_log() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    world.store.fail_reads(true);
    alice.say("bob@example.org", "1").await;
    world.store.fail_reads(false);
    let told = alice.take().await;
    assert_eq!(
        told.iter().map(|stanza| stanza.attr("type")).collect::<Vec<_>>(),
        [Some("error")],
        "{told:?}"
    );
    alice.send("<iq type='set' id='mam'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    let archive = alice.take().await;
    assert!(archive.iter().all(|stanza| stanza.name() == "iq"), "{archive:?}");
}

#[tokio::test]
async fn a_device_is_known_for_good_before_it_hears_that_it_is_bound() {
    let world = World::with(&["alice", "bob"]).await;
    world.online("bob", "desk").await;
    world.store.hold();
    let (hub, connection) = (world.hub.clone(), world.connection());
    let mut binding = tokio::spawn(async move { hub.bind(&jid("bob"), Some("phone"), connection).await });
    tokio::task::yield_now().await;
    assert!(!binding.is_finished());
    // One that is known already waits for nothing.
    world.bind("bob", "desk").await;
    world.store.release();
    (&mut binding).await.unwrap().unwrap();
    let world = world.crash().await;
    let bob = world.online("bob", "desk").await;
    let alice = world.online("alice", "desk").await;
    alice.say("bob@example.org", "1").await;
    assert_eq!(bob.bodies().await, ["1"]);
    let phone = world.bind("bob", "phone").await;
    phone.send("<presence/>").await;
    assert_eq!(phone.bodies().await, ["1"]);
}
