//! What happens at the edges of a session: it is resumed half-way, refused, replaced, or ends with something in its
//! queue.

use super::*;
use unisono_core::devices::Login;
use unisono_core::error::{Condition, StreamCondition};
use unisono_core::storage::{AccountState, LogQuery, Logs};

const NOTHING: [&str; 0] = [];

#[tokio::test]
async fn a_session_that_breaks_in_its_catch_up_goes_on_with_it() {
    for restarts in [false, true] {
        let world = World::with(&["alice", "bob"]).await;
        let alice = world.online("alice", "desk").await;
        for n in 0..120 {
            alice.say("bob@example.org", &n.to_string()).await;
        }
        let bob = world.bind("bob", "phone").await;
        let enabled = bob.nonza("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        let previous = enabled.write.first().unwrap().attr("id").unwrap().to_owned();
        bob.send("<presence/>").await;
        bob.hub.read_on(&bob.session).await.unwrap(); // the first stretch is queued, nothing is written
        alice.say("bob@example.org", "live").await;
        bob.lose_connection();
        let world = if restarts { world.restart().await } else { world };
        let (reply, bob) = world.resume("bob", &previous, 0).await;
        assert_eq!(reply.write.first().unwrap().name(), "resumed", "restarts: {restarts}");
        let want: Vec<_> = (0..120).map(|n| n.to_string()).chain(["live".to_owned()]).collect();
        assert_eq!(bob.unwrap().bodies().await, want, "restarts: {restarts}");
    }
}

#[tokio::test]
async fn a_long_absence_is_made_up_for_whole_and_as_fast_as_the_device_takes_it() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    for n in 0..1_000 {
        alice.say("bob@example.org", &n.to_string()).await;
    }
    let bob = world.bind("bob", "phone").await;
    bob.nonza("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    bob.send("<presence/>").await;
    let mut got = Vec::new();
    let mut handled = 0;
    loop {
        let taken: Vec<_> = bob.take().await.into_iter().filter(|e| !matches!(e.name(), "a" | "r")).collect();
        if taken.is_empty() {
            break;
        }
        assert!(taken.len() <= 500, "no more than a device should have unacknowledged");
        handled += u32::try_from(taken.len()).unwrap();
        got.extend(taken.iter().filter_map(told).map(|(body, _)| body));
        bob.acknowledge(handled).await;
    }
    let want: Vec<_> = (0..1_000).map(|n| n.to_string()).collect();
    assert_eq!(got, want);
    alice.say("bob@example.org", "live").await;
    assert_eq!(bob.bodies().await, ["live"]);
    let (_, health) = world.hub.doctor(&bob.session.cell).await.unwrap();
    assert_eq!(health[0].gap, 1, "the last one is not acknowledged");
}

#[tokio::test]
async fn who_steps_back_to_a_negative_priority_misses_nothing() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    alice.say("bob@example.org", "1").await;
    assert_eq!(bob.bodies().await, ["1"]);
    bob.send("<presence><priority>-1</priority></presence>").await;
    alice.say("bob@example.org", "2").await;
    assert_eq!(bob.bodies().await, NOTHING);
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, ["2"]);
}

#[tokio::test]
async fn a_restart_keeps_what_a_session_without_presence_has() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.bind("bob", "phone").await;
    let enabled = bob.nonza("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    let previous = enabled.write.first().unwrap().attr("id").unwrap().to_owned();
    alice.say("bob@example.org", "1").await;
    alice.say("bob@example.org/phone", "2").await;
    assert_eq!(bob.bodies().await, ["2"]);
    bob.acknowledge(1).await;
    let world = world.restart().await;
    let (_, bob) = world.resume("bob", &previous, 1).await;
    let bob = bob.unwrap();
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, ["1"]);
}

#[tokio::test]
async fn after_a_crash_an_early_copy_hides_nothing() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.bind("bob", "phone").await;
    let enabled = bob.nonza("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    let previous = enabled.write.first().unwrap().attr("id").unwrap().to_owned();
    alice.say("bob@example.org", "1").await;
    alice.say("bob@example.org/phone", "2").await;
    assert_eq!(bob.bodies().await, ["2"]);
    let world = world.crash().await;
    let (reply, _) = world.resume("bob", &previous, 1).await;
    assert_eq!(reply.write.first().unwrap().name(), "failed");
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert!(bob.bodies().await.contains(&"1".to_owned()));
}

#[tokio::test]
async fn a_page_without_presence_and_then_nothing_loses_nothing() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.online("bob", "phone").await;
    assert!(bob.page(&[], "").await.is_complete());
    bob.away();
    alice.send("<message to='bob@example.org' type='chat'><body>off the record</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>").await;
    let bob = world.bind("bob", "phone").await;
    assert!(bob.page(&[], "").await.is_complete());
    bob.away();
    world.pass(Duration::from_secs(1));
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, ["off the record"]);
}

#[tokio::test]
async fn what_was_purged_before_it_was_acknowledged_is_no_gap_and_no_secret() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let (bob, previous) = world.managed("bob", "phone").await;
    bob.lose_connection();
    for body in ["1", "2", "3"] {
        alice.say("bob@example.org", body).await;
    }
    let world = world.restart().await; // what waits is known by its position alone
    let id = bob.session.cell.id;
    let log = world.store.page(id, &LogQuery::default()).await.unwrap().entries;
    let (second, third) = (log[1].position, log[2].position);
    world.store.purge(Some(id), third).await.unwrap();
    let (_, bob) = world.resume("bob", &previous, 1).await;
    let bob = bob.unwrap();
    assert_eq!(bob.bodies().await, ["3"]);
    let (_, health) = world.hub.doctor(&bob.session.cell).await.unwrap();
    assert_eq!((health[0].gap, health[0].purged), (1, Some(second)));
    assert_eq!(world.hub.counters.gaps.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_page_of_a_time_to_come_tells_nothing() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    alice.say("bob@example.org", "1").await;
    let bob = world.bind("bob", "phone").await;
    let page = bob.page(&[("start", "2099-01-01T00:00:00Z")], "").await;
    assert_eq!(page.bodies(), NOTHING);
    bob.away();
    let (_, health) = world.hub.doctor(&bob.session.cell).await.unwrap();
    assert_eq!(health[0].gap, 1);
}

#[tokio::test]
async fn another_client_of_the_same_resource_is_sent_what_it_misses() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let pages = world.online("bob", "phone").await;
    assert!(pages.page(&[], "").await.is_complete());
    pages.away();
    alice.say("bob@example.org", "1").await;
    let waits = world.bind("bob", "phone").await;
    waits.send("<presence/>").await;
    waits.take().await;
    waits.away();
    let waits = world.bind("bob", "phone").await;
    waits.send("<presence/>").await;
    assert_eq!(waits.bodies().await, ["1"]);
}

#[tokio::test]
async fn a_connection_that_was_replaced_is_not_heard() {
    let world = World::with(&["alice", "bob"]).await;
    let bob = world.online("bob", "phone").await;
    let (old, previous) = world.managed("alice", "desk").await;
    old.say("bob@example.org", "1").await;
    let (reply, new) = world.resume("alice", &previous, 0).await;
    assert_eq!(reply.write.first().unwrap().attr("h"), Some("1"));
    old.say("bob@example.org", "2").await;
    assert_eq!(bob.bodies().await, ["1"]);
    let new = new.unwrap();
    new.say("bob@example.org", "2").await;
    assert_eq!(bob.bodies().await, ["2"]);
    assert_eq!(new.handled().await, Some(2));
}

#[tokio::test]
async fn what_came_back_may_be_sent_again() {
    let world = World::with(&["alice"]).await;
    let alice = world.online("alice", "desk").await;
    alice.say("bob@example.org", "1").await;
    assert!(alice.take().await.iter().any(|element| element.attr("type") == Some("error")));
    alice.lose_connection();
    world.store.create(&jid("bob"), &[], 1).await.unwrap();
    let bob = world.online("bob", "phone").await;
    let alice = world.online("alice", "desk").await;
    alice.say("bob@example.org", "1").await;
    assert_eq!(bob.bodies().await, ["1"]);
}

#[tokio::test]
async fn who_closed_the_stream_may_begin_again_with_the_same_ids() {
    let mut world = World::with(&["alice", "bob"]).await;
    for round in 0..4 {
        let bob = world.online("bob", "phone").await;
        let (mut alice, id) = world.managed("alice", "script").await;
        alice.say("bob@example.org", "1").await;
        if round == 1 {
            alice.lose_connection();
            alice = world.resume("alice", &id, 0).await.1.unwrap();
        }
        assert_eq!(bob.bodies().await, ["1"], "round {round}");
        world.hub.close(&alice.session, true);
        world.hub.close(&bob.session, true);
        if round == 2 {
            world = world.crash().await;
        }
    }
}

#[tokio::test]
async fn who_closed_the_stream_and_was_told_nothing_sends_again() {
    let world = World::with(&["alice", "bob"]).await;
    let bob = world.online("bob", "phone").await;
    for bodies in [vec!["1"], vec![]] {
        let (alice, _) = world.managed("alice", "script").await;
        alice.say("bob@example.org", "1").await;
        world.hub.close(&alice.session, false);
        assert_eq!(bob.bodies().await, bodies);
    }
}

#[tokio::test]
async fn a_session_that_waits_gives_way_to_a_device_that_is_there() {
    let world = World::with(&["alice"]).await;
    for number in 0..world.hub.settings.sessions_max + 2 {
        let (device, _) = world.managed("alice", &format!("script-{number}")).await;
        device.lose_connection();
        world.pass(Duration::from_millis(10));
    }
    world.online("alice", "phone").await;
}

#[tokio::test]
async fn an_origin_id_is_known_again_after_a_closed_stream() {
    let world = World::with(&["alice", "bob"]).await;
    let bob = world.online("bob", "phone").await;
    for bodies in [vec!["1"], vec![]] {
        let alice = world.online("alice", "script").await;
        let once = "<message to='bob@example.org' type='chat' id='1'><body>1</body>\
                    <origin-id xmlns='urn:xmpp:sid:0' id='o1'/></message>";
        alice.send(once).await;
        world.hub.close(&alice.session, true);
        assert_eq!(bob.bodies().await, bodies);
    }
}

#[tokio::test]
async fn what_a_device_had_when_it_closed_its_stream_is_known_after_a_crash() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let (phone, _) = world.managed("bob", "phone").await;
    alice.say("bob@example.org", "1").await;
    assert_eq!(phone.bodies().await, ["1"]);
    phone.acknowledge(1).await;
    let closed = world.hub.close(&phone.session, true);
    world.hub.store.wait(closed).await;
    let world = world.crash().await;
    let phone = world.online("bob", "phone").await;
    assert_eq!(phone.bodies().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_no_log_has_comes_back_when_its_session_ends() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let (bob, _) = world.managed("bob", "phone").await;
    bob.lose_connection();
    alice.send("<message to='bob@example.org/phone' type='chat' id='m'><body>hush</body><no-store xmlns='urn:xmpp:hints'/></message>").await;
    assert!(alice.take().await.iter().all(|element| element.name() != "message"));
    world.pass(Duration::from_secs(601));
    let taken = alice.take().await;
    let error = taken.iter().find(|element| element.name() == "message").unwrap();
    assert_eq!((error.attr("type"), error.attr("id")), (Some("error"), Some("m")));
}

#[tokio::test]
async fn what_somebody_has_does_not_come_back_when_another_session_ends() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let laptop = world.online("bob", "laptop").await;
    let (phone, _) = world.managed("bob", "phone").await;
    phone.lose_connection();
    alice.send("<message to='bob@example.org' type='chat' id='m'><body>hush</body><no-store xmlns='urn:xmpp:hints'/></message>").await;
    assert_eq!(laptop.bodies().await, ["hush"]);
    laptop.away();
    alice.send("<message to='bob@example.org' type='chat' id='n'><body>hush</body><no-store xmlns='urn:xmpp:hints'/></message>").await;
    world.online("bob", "laptop").await;
    world.pass(Duration::from_secs(601));
    let taken = alice.take().await;
    let errors = taken.iter().filter(|element| element.attr("type") == Some("error"));
    let returned: Vec<_> = errors.filter_map(|error| error.attr("id")).collect();
    assert_eq!(returned, ["n"], "the first is on the laptop, the second nowhere");
}

#[tokio::test]
async fn what_two_sessions_were_given_and_none_took_comes_back_once() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    for resource in ["phone", "laptop"] {
        world.managed("bob", resource).await.0.lose_connection();
    }
    alice.send("<message to='bob@example.org' type='chat' id='m'><body>hush</body><no-store xmlns='urn:xmpp:hints'/></message>").await;
    world.pass(Duration::from_secs(601));
    let taken = alice.take().await;
    assert_eq!(taken.iter().filter(|element| element.attr("type") == Some("error")).count(), 1);
}

#[tokio::test]
async fn two_devices_that_count_their_ids_are_both_heard() {
    let world = World::with(&["alice", "bob"]).await;
    let (desk, phone) = (world.online("alice", "desk").await, world.online("alice", "phone").await);
    let bob = world.online("bob", "phone").await;
    desk.say("bob@example.org", "1").await;
    phone.say("bob@example.org", "1").await;
    assert_eq!(bob.bodies().await, ["1", "1"]);
    let (tablet, id) = world.managed("alice", "tablet").await;
    for body in ["2", "3"] {
        tablet.say("bob@example.org", body).await;
    }
    tablet.lose_connection();
    phone.say("bob@example.org", "2").await;
    let (_, tablet) = world.resume("alice", &id, 0).await; // which tells it what arrived
    phone.say("bob@example.org", "3").await;
    assert_eq!(bob.bodies().await, ["2", "3", "2", "3"]);
    tablet.unwrap().away();
    phone.away();
    desk.lose_connection();
    let desk = world.online("alice", "desk").await;
    desk.say("bob@example.org", "1").await;
    assert_eq!(bob.bodies().await, [""; 0]);
}

#[tokio::test]
async fn a_flood_ends_a_session_that_nobody_reads() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let (bob, _) = world.managed("bob", "phone").await;
    bob.lose_connection();
    let filler = "x".repeat(200_000);
    for n in 0..60 {
        alice
            .send(&format!(
                "<message type='headline' id='{n}' to='bob@example.org/phone'><body>{filler}</body></message>"
            ))
            .await;
    }
    assert_eq!(bob.session.cell.lock().sessions().count(), 1);
    // It is about to end, so it is not there any more for what has to reach somebody.
    alice.take().await;
    alice.send("<message to='bob@example.org' type='chat' id='m'><body>hush</body><no-store xmlns='urn:xmpp:hints'/></message>").await;
    assert_eq!(alice.take().await.iter().find_map(|element| element.attr("type")), Some("error"));
    world.pass(Duration::from_secs(1));
    assert_eq!(bob.session.cell.lock().sessions().count(), 0);
}

#[tokio::test]
async fn what_cannot_be_taken_is_not_counted_and_may_be_sent_again() {
    let mut world = World::with(&["alice", "bob"]).await;
    let (alice, _) = world.managed("alice", "phone").await;
    world.hub.close(&alice.session, true);
    world = world.crash().await; // bob is not in memory
    let (alice, id) = world.managed("alice", "phone").await;
    alice.say("alice@example.org", "0").await;
    world.store.fail_reads(true);
    alice.say("bob@example.org", "1").await;
    alice.say("alice@example.org", "2").await;
    let drained = world.hub.drain(&alice.session, &mut Vec::new(), usize::MAX);
    assert!(matches!(drained, Drained::Gone(StreamCondition::InternalServerError)), "{drained:?}");
    world.store.fail_reads(false);
    let (reply, alice) = world.resume("alice", &id, 0).await;
    assert_eq!(reply.write.first().unwrap().attr("h"), Some("1"));
    let alice = alice.unwrap();
    alice.say("bob@example.org", "1").await;
    let bob = world.online("bob", "phone").await;
    alice.say("bob@example.org", "2").await;
    assert_eq!(bob.bodies().await, ["2"]);
    assert_eq!(bob.page(&[], "").await.bodies(), ["1", "2"]);
    assert!(alice.take().await.iter().all(|element| element.attr("type") != Some("error")));
}

#[tokio::test]
async fn who_does_not_count_is_told_that_a_message_cannot_be_taken() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "phone").await;
    world.store.fail_reads(true);
    alice.say("bob@example.org", "1").await;
    let taken = alice.take().await;
    let error = taken.iter().find(|element| element.attr("type") == Some("error")).unwrap();
    assert_eq!(error.first_child().unwrap().first_child().unwrap().name(), "internal-server-error");
}

#[tokio::test]
async fn an_older_connection_takes_no_session_from_a_newer_one() {
    let world = World::with(&["alice"]).await;
    let (old, id) = world.managed("alice", "phone").await;
    old.lose_connection();
    let late = world.connection();
    let (_, new) = world.resume("alice", &id, 0).await;
    assert!(world.hub.resume(&Login::default(), &jid("alice"), &id, 0, late).await.is_err());
    assert!(matches!(world.hub.drain(&new.unwrap().session, &mut Vec::new(), usize::MAX), Drained::Idle(_)));
}

#[tokio::test]
async fn a_login_that_is_under_way_learns_that_the_account_is_closed() {
    let world = World::with(&["bob"]).await;
    let connection = world.connection();
    let cell = world.hub.account(&jid("bob")).await.unwrap().unwrap();
    world.hub.state_changed(&cell, AccountState::Disabled);
    assert!(world.hub.bind(&jid("bob"), Some("x"), connection.clone()).await.is_err());
    world.hub.state_changed(&cell, AccountState::Enabled);
    assert!(
        world.hub.bind(&jid("bob"), Some("x"), connection.clone()).await.is_err(),
        "it has to log in again"
    );
    assert!(world.hub.bind(&jid("bob"), Some("x"), world.connection()).await.is_ok());
}

#[tokio::test]
async fn nobody_inherits_from_an_account_that_was_removed() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.online("bob", "phone").await;
    alice.say("bob@example.org", "1").await;
    let old = bob.session.cell.clone();
    world.hub.remove_account(&old).await.unwrap();
    alice.say("bob@example.org", "2").await;
    assert!(alice.take().await.iter().any(|element| element.attr("type") == Some("error")));
    world.store.create(&jid("bob"), &[], 1).await.unwrap();
    let bob = world.bind("bob", "phone").await;
    assert_ne!(bob.session.cell.id, old.id);
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, NOTHING);
    assert_eq!(bob.page(&[], "").await.bodies(), NOTHING);
    alice.say("bob@example.org", "3").await;
    assert_eq!(bob.bodies().await, ["3"]);
}

#[tokio::test]
async fn an_account_whose_removal_was_given_up_can_be_used_and_removed() {
    let world = World::with(&["alice"]).await;
    let alice = world.online("alice", "desk").await;
    world.store.hold();
    let moment = std::time::Duration::from_millis(20);
    let name = jid("alice");
    let binding = world.hub.bind(&name, Some("phone"), world.connection());
    assert!(tokio::time::timeout(moment, binding).await.is_err());
    let removing = world.hub.remove_account(&alice.session.cell);
    let given_up = tokio::time::timeout(moment, removing).await;
    assert!(given_up.is_err(), "it waits for what the account wrote");
    world.store.release();
    let phone = world.hub.bind(&jid("alice"), Some("phone"), world.connection()).await.unwrap();
    world.hub.remove_account(&phone.cell).await.unwrap();
    assert!(world.hub.bind(&jid("alice"), Some("phone"), world.connection()).await.is_err());
}

#[tokio::test]
async fn what_a_device_had_when_it_resumed_is_known_after_a_crash() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let (phone, id) = world.managed("bob", "phone").await;
    for body in ["1", "2"] {
        alice.say("bob@example.org", body).await;
    }
    assert_eq!(phone.bodies().await, ["1", "2"]);
    phone.lose_connection();
    let world = world.restart().await;
    let (_, phone) = world.resume("bob", &id, 2).await;
    assert_eq!(phone.unwrap().bodies().await, Vec::<String>::new());
    let world = world.crash().await;
    let phone = world.online("bob", "phone").await;
    assert_eq!(phone.bodies().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_session_is_not_resumed_before_the_count_that_was_told_on_its_last_connection_is_stored() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let (phone, id) = world.managed("bob", "phone").await;
    alice.say("bob@example.org", "1").await;
    assert_eq!(phone.bodies().await, ["1"]);
    world.store.hold();
    phone.acknowledge(1).await;
    phone.lose_connection();
    let moment = Duration::from_millis(20);
    assert!(tokio::time::timeout(moment, world.resume("bob", &id, 1)).await.is_err());
    world.store.release();
    assert!(world.resume("bob", &id, 1).await.1.is_some());
}

#[tokio::test]
async fn a_count_that_came_too_late_is_known_after_the_next_crash() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let (phone, id) = world.managed("bob", "phone").await;
    alice.say("bob@example.org", "1").await;
    assert_eq!(phone.bodies().await, ["1"]);
    let world = world.crash().await;
    let (_, phone) = world.resume("bob", &id, 1).await;
    assert!(phone.is_none());
    let world = world.crash().await;
    let phone = world.online("bob", "phone").await;
    assert_eq!(phone.bodies().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_an_older_connection_asked_is_answered_on_the_next_one_alone() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let (bob, previous) = world.managed("bob", "phone").await;
    alice.say("bob@example.org", "one").await;
    let text = "<iq type='set' id='page'><query xmlns='urn:xmpp:mam:2' queryid='page'/></iq>";
    let query = Element::parse(text, &CLIENT_SCOPE, &Limits::default()).unwrap();
    let Receipt::Later(answer) = world.hub.receive(&bob.session, &query) else {
        panic!("a page takes its time")
    };
    let (reply, again) = world.resume("bob", &previous, 0).await;
    let again = again.unwrap();
    let handled = |reply: &NonzaReply| reply.write.first().unwrap().attr("h").map(str::to_owned);
    assert_eq!(handled(&reply).as_deref(), Some("0"), "it is not handled, so the client asks again");
    answer.await;
    again.send(text).await;
    let taken = again.take().await;
    let is_entry = |element: &&Element| element.has_child("result", "urn:xmpp:mam:2");
    assert_eq!(taken.iter().filter(is_entry).count(), 1);
    assert_eq!(taken.iter().filter(|element| element.attr("id") == Some("page")).count(), 1);
    assert_eq!(again.handled().await, Some(1));
}

#[tokio::test]
async fn a_session_that_cannot_be_looked_for_is_not_given_up() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, (bob, previous)) = (world.online("alice", "desk").await, world.managed("bob", "phone").await);
    bob.say("alice@example.org", "1").await;
    assert_eq!(bob.handled().await, Some(1));
    alice.say("bob@example.org", "2").await;
    assert_eq!(bob.bodies().await, ["2"]);
    let world = world.crash().await;
    world.store.fail_reads(true);
    let (reply, _) = world.resume("bob", &previous, 1).await;
    let (condition, _) = reply.error.unwrap();
    assert_eq!((condition, reply.write.len()), (StreamCondition::InternalServerError, 0));
    world.store.fail_reads(false);
    let (reply, _) = world.resume("bob", &previous, 1).await;
    assert_eq!(reply.write.first().unwrap().attr("h"), Some("1"));
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, NOTHING);
}

#[tokio::test]
async fn a_late_wish_of_an_older_connection_takes_nothing_from_the_newer_one() {
    let world = World::with(&["bob"]).await;
    let (older, newer, newest) = (world.connection(), world.connection(), world.connection());
    let bind = async |connection| world.hub.bind(&jid("bob"), Some("phone"), connection).await;
    let session = bind(newer).await.unwrap();
    let Err(error) = bind(older).await else { panic!("it is too late") };
    assert_eq!(error.condition, Condition::Conflict);
    assert!(world.hub.lost(&session).is_none());
    bind(newest).await.unwrap();
    assert_eq!(world.hub.lost(&session), Some(StreamCondition::Conflict)); // RFC 6120 §7.7.2.2
}
