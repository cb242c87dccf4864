//! Numbers for the operator, on a clock that a test owns.

use super::*;

fn wait(world: &World, time: Duration) {
    *world.clock.elapsed.lock().unwrap() += time;
}

#[tokio::test]
async fn an_acknowledgement_is_late_from_the_commit_on_and_not_before() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, _) = world.managed("alice", "desk").await;
    let counted = || {
        let counted = world.hub.counters.ack_to_commit.counted();
        (counted.count, counted.total)
    };
    world.store.hold();
    alice.say("bob@example.org", "1").await;
    alice.nonza("<r xmlns='urn:xmpp:sm:3'/>").await;
    wait(&world, Duration::from_secs(100)); // the store is slow: that is the latency of commits
    alice.take().await;
    assert_eq!(counted(), (0, Duration::ZERO));
    world.store.release();
    wait(&world, Duration::from_secs(3)); // the connection is slow
    alice.take().await;
    assert_eq!(counted(), (1, Duration::from_secs(3)));
    // What is asked about long after it was stored is late from the question on.
    alice.say("bob@example.org", "2").await;
    wait(&world, Duration::from_secs(100));
    alice.nonza("<r xmlns='urn:xmpp:sm:3'/>").await;
    wait(&world, Duration::from_secs(4));
    alice.take().await;
    assert_eq!(counted(), (2, Duration::from_secs(7)));
    // Asked twice about the same commit: both are told at once.
    world.store.hold();
    alice.say("bob@example.org", "3").await;
    alice.nonza("<r xmlns='urn:xmpp:sm:3'/>").await;
    alice.nonza("<r xmlns='urn:xmpp:sm:3'/>").await;
    wait(&world, Duration::from_secs(100));
    world.store.release();
    wait(&world, Duration::from_secs(5));
    alice.take().await;
    assert_eq!(counted(), (4, Duration::from_secs(17)));
}

#[tokio::test]
async fn a_device_lags_by_the_age_of_what_it_has_not_acknowledged() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let (bob, _) = world.managed("bob", "phone").await;
    let second = 1_000_000;
    let lag = || world.hub.overview().lag(1.0);
    assert_eq!(lag(), Duration::ZERO);
    alice.say("bob@example.org", "1").await; // the first that his log has
    world.step_clock(2 * second);
    alice.say("bob@example.org", "2").await;
    world.step_clock(3 * second);
    assert_eq!(lag(), Duration::from_secs(5)); // not since the beginning of time
    assert_eq!(bob.bodies().await, ["1", "2"]);
    assert_eq!(lag(), Duration::from_secs(5)); // written is not acknowledged
    bob.acknowledge(1).await;
    assert_eq!(lag(), Duration::from_secs(3));
    bob.acknowledge(2).await;
    assert_eq!(lag(), Duration::ZERO);
    world.step_clock(86_400 * second);
    alice.say("bob@example.org", "3").await;
    world.step_clock(second);
    assert_eq!(lag(), Duration::from_secs(1)); // a quiet day is no lag
}

#[tokio::test]
async fn a_burst_is_asked_about_once_and_the_rest_in_its_time() {
    let world = World::with(&["alice", "bob"]).await;
    let (phone, _) = world.managed("alice", "phone").await;
    let bob = world.online("bob", "phone").await;
    let asks = async || {
        let mut out = Vec::new();
        let drained = phone.hub.drain(&phone.session, &mut out, usize::MAX);
        let Drained::Idle(again) = drained else { panic!("there is more: {drained:?}") };
        (String::from_utf8(out).unwrap().matches("<r ").count(), again)
    };
    bob.say("alice@example.org", "1").await;
    assert_eq!(asks().await, (1, None), "at once");
    bob.say("alice@example.org", "2").await;
    assert_eq!(asks().await, (0, None), "an answer is awaited");
    phone.acknowledge(1).await;
    assert_eq!(asks().await, (0, Some(Duration::from_millis(250))));
    world.pass(Duration::from_millis(100));
    bob.say("alice@example.org", "3").await;
    assert_eq!(asks().await, (0, Some(Duration::from_millis(150))));
    world.pass(Duration::from_millis(150));
    assert_eq!(asks().await, (1, None), "the time has come");
    phone.acknowledge(3).await;
    assert_eq!(asks().await, (0, None), "nothing is open");
    for number in 4..=18 {
        bob.say("alice@example.org", &number.to_string()).await;
    }
    assert_eq!(asks().await.0, 0);
    bob.say("alice@example.org", "19").await;
    assert_eq!(asks().await, (1, None), "much is open");
}

#[tokio::test]
async fn a_device_that_is_away_is_behind() {
    let world = World::with(&["alice", "bob"]).await;
    let (phone, _) = world.managed("alice", "phone").await;
    let bob = world.online("bob", "phone").await;
    phone.lose_connection();
    bob.say("alice@example.org", "1").await;
    world.step_clock(7_000_000);
    let overview = world.hub.overview();
    assert_eq!((overview.connected, overview.detached), (1, 1));
    let lag = overview.lag(1.0);
    assert!((Duration::from_secs(6)..=Duration::from_secs(8)).contains(&lag), "{lag:?}");
}

#[tokio::test]
async fn what_a_client_counts_when_it_resumes_is_known_for_good() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let (bob, previous) = world.managed("bob", "phone").await;
    alice.say("bob@example.org", "1").await;
    assert_eq!(bob.bodies().await, ["1"]);
    bob.lose_connection();
    world.store.hold();
    {
        let resumption = world.resume("bob", &previous, 1);
        tokio::pin!(resumption);
        tokio::select! {
            biased;
            _ = &mut resumption => panic!("the count is not durable"),
            () = tokio::task::yield_now() => {}
        }
        world.store.release();
        let (_, bob) = resumption.await;
        assert_eq!(bob.unwrap().bodies().await, [""; 0]);
    }
    let world = world.crash().await;
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, [""; 0]);
}
