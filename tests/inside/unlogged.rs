//! What no log has, while a device catches up with what one has: it keeps its place (RFC 6120 §10.1).

use super::*;

#[tokio::test]
async fn what_no_log_has_keeps_its_place_among_what_is_caught_up_with() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    world.online("bob", "phone").await.away();
    alice.say("bob@example.org", "0").await;
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    let unlogged = |body: &str| {
        format!(
            "<message to='bob@example.org' type='chat'><body>{body}</body><no-store xmlns='urn:xmpp:hints'/></message>"
        )
    };
    alice.say("bob@example.org", "1").await;
    alice.send(&unlogged("2")).await;
    alice.send(&unlogged("3")).await;
    alice.say("bob@example.org", "4").await;
    alice.send(&unlogged("5")).await;
    assert_eq!(bob.bodies().await, ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn what_another_device_says_that_no_log_has_keeps_its_place_too() {
    let world = World::with(&["alice", "bob"]).await;
    let desk = world.online("alice", "desk").await;
    world.online("alice", "phone").await.away();
    desk.say("alice@example.org", "0").await;
    let phone = world.bind("alice", "phone").await;
    phone.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    phone.send("<presence/>").await;
    desk.say("alice@example.org", "1").await;
    desk.send("<message to='alice@example.org' type='chat'><body>2</body><no-store xmlns='urn:xmpp:hints'/></message>").await;
    desk.say("nobody@example.org", "3").await;
    let taken = phone.take().await;
    let bodies: Vec<_> = taken.iter().filter_map(told).map(|(body, _)| body).collect();
    assert_eq!(bodies[..4], ["0", "1", "2", ">3"]);
}

#[tokio::test]
async fn what_no_log_has_keeps_its_order_however_much_it_is() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    alice.say("bob@example.org", "before").await;
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    let all: Vec<_> = (0..450).map(|number| number.to_string()).collect();
    for body in &all {
        alice.send(&format!("<message to='bob@example.org' type='chat'><body>{body}</body><no-store xmlns='urn:xmpp:hints'/></message>")).await;
    }
    let mut bodies = bob.bodies().await;
    bodies.retain(|body| body != "before");
    assert_eq!(bodies, all);
}

#[tokio::test]
async fn what_no_log_has_comes_after_what_was_sent_before_it_over_a_restart() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    for number in 0..120 {
        alice.say("bob@example.org", &number.to_string()).await;
    }
    let bob = world.bind("bob", "phone").await;
    let enabled = bob.nonza("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    let previous = enabled.write.first().unwrap().attr("id").unwrap().to_owned();
    bob.send("<presence/>").await;
    bob.hub.read_on(&bob.session).await.unwrap();
    alice.send("<message to='bob@example.org' type='chat'><body>gone</body><no-store xmlns='urn:xmpp:hints'/></message>").await;
    bob.lose_connection();
    let world = world.restart().await;
    let (_, bob) = world.resume("bob", &previous, 0).await;
    assert_eq!(bob.unwrap().bodies().await[119..], ["119", "gone"]);
}

#[tokio::test]
async fn what_was_to_come_behind_a_catch_up_comes_back_when_its_session_ends() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    alice.say("bob@example.org", "before").await;
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    alice.send("<message to='bob@example.org' type='chat' id='m'><body>gone</body><no-store xmlns='urn:xmpp:hints'/></message>").await;
    bob.away();
    let taken = alice.take().await;
    let error = taken.iter().find(|element| element.name() == "message").unwrap();
    assert_eq!((error.attr("type"), error.attr("id")), (Some("error"), Some("m")));
}

#[tokio::test]
async fn what_no_log_has_comes_after_what_was_sent_before_it() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    world.online("bob", "phone").await.away();
    for number in 0..120 {
        alice.say("bob@example.org", &number.to_string()).await;
    }
    for leaves in [false, true] {
        let bob = world.bind("bob", "phone").await;
        bob.send("<presence/>").await;
        alice.send("<message to='bob@example.org' type='chat'><body>gone</body><no-store xmlns='urn:xmpp:hints'/></message>").await;
        alice.say("bob@example.org", "later").await;
        if leaves {
            bob.send("<presence type='unavailable'/>").await;
            assert!(bob.bodies().await.contains(&"gone".to_owned()));
            break;
        }
        let bodies = bob.bodies().await;
        let at = |body: &str| bodies.iter().position(|found| found == body).unwrap();
        assert!(at("119") < at("gone"), "{bodies:?}");
        bob.away();
        alice.say("bob@example.org", "more").await;
    }
}
