//! What waits for a device has its bounds, and nothing of its log is lost by them.

use super::*;

/// More than fits into what a device may have waiting.
const LARGE: usize = 240_000;

fn large(number: usize) -> String {
    format!(
        "<message to='bob@example.org' type='chat' id='{number}'><body>{number} {}</body></message>",
        "x".repeat(LARGE)
    )
}

fn numbers(bodies: &[String]) -> Vec<usize> {
    bodies.iter().map(|body| body.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn a_backlog_of_large_messages_is_delivered() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    world.online("bob", "phone").await.away();
    for number in 0..70 {
        alice.send(&large(number)).await;
    }
    for managed in [true, false] {
        let bob = world.bind("bob", "phone").await;
        if managed {
            bob.nonza("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        }
        bob.send("<presence/>").await;
        assert_eq!(numbers(&bob.bodies().await), (0..70).collect::<Vec<_>>());
        if managed {
            bob.lose_connection();
            world.hub.end(&bob.session.cell, bob.session.id); // nothing of it was acknowledged
        }
    }
}

#[tokio::test]
async fn large_messages_wait_for_a_device_that_is_away_for_a_moment() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let (bob, previous) = world.managed("bob", "phone").await;
    bob.take().await;
    bob.lose_connection();
    for number in 0..70 {
        alice.send(&large(number)).await;
    }
    world.pass(Duration::from_secs(1));
    let world = world.restart().await;
    let (reply, bob) = world.resume("bob", &previous, 0).await;
    let bob = bob.unwrap_or_else(|| panic!("{:?}", reply.write));
    world.online("alice", "tablet").await.send(&large(70)).await;
    assert_eq!(numbers(&bob.bodies().await), (0..71).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stanza_of_many_parts_is_no_more_than_its_bytes() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let (bob, previous) = world.managed("bob", "phone").await;
    let ns = "urn:".to_owned() + &"n".repeat(250);
    let parts = format!("<x xmlns='{ns}'>{}</x>", "<a/>".repeat(2000));
    for _ in 0..20 {
        alice.send(&format!("<message to='bob@example.org' type='headline'>{parts}</message>")).await;
    }
    assert_eq!(bob.take().await.iter().filter(|stanza| stanza.name() == "message").count(), 20);
    bob.lose_connection();
    world.pass(Duration::from_secs(1));
    assert!(world.resume("bob", &previous, 0).await.1.is_some());
}

#[tokio::test]
async fn a_session_for_which_too_much_came_is_not_taken_up_with_a_hole() {
    for restarts in [false, true] {
        let world = World::with(&["alice", "bob"]).await;
        let alice = world.online("alice", "desk").await;
        let (bob, previous) = world.managed("bob", "phone").await;
        bob.take().await;
        bob.lose_connection();
        for _ in 0..30 {
            let text = "x".repeat(LARGE);
            alice
                .send(&format!("<message to='bob@example.org' type='headline'><body>{text}</body></message>"))
                .await;
        }
        alice.say("bob@example.org", "after it").await;
        let world = if restarts { world.restart().await } else { world };
        let (reply, _) = world.resume("bob", &previous, 0).await;
        assert_eq!(reply.write.first().unwrap().name(), "failed");
        let bob = world.bind("bob", "phone").await;
        bob.send("<presence/>").await;
        assert_eq!(bob.bodies().await, ["after it"]);
    }
}

#[tokio::test]
async fn what_waits_until_somebody_looks_is_bounded() {
    let world = World::with(&["alice", "bob", "carol"]).await;
    let bob = world.online("bob", "phone").await;
    bob.nonza("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    let status = "x".repeat(15_000); // as much as a presence may say
    for number in 0..120 {
        let name = if number % 2 == 0 { "alice" } else { "carol" };
        let from = world.online(name, &format!("tablet{number}")).await;
        from.send(&format!("<presence to='bob@example.org'><status>{status}</status></presence>")).await;
    }
    let written = bob.take().await.iter().filter(|stanza| stanza.name() == "presence").count();
    assert!(written >= 4, "{written}");
}
