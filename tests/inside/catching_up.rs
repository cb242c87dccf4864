//! What a device gets that was away: by the archive (XEP-0313), or as messages that waited (XEP-0160).

use super::archive::{MAM, query};
use super::*;

#[tokio::test]
async fn a_device_that_catches_up_here_is_not_sent_it_again() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.online("bob", "phone").await;
    assert!(bob.page(&[], "").await.is_complete());
    bob.away();
    alice.say("bob@example.org", "1").await;
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, Vec::<String>::new());
    alice.say("bob@example.org", "2").await;
    assert_eq!(bob.bodies().await, ["2"]);
    let cell = bob.session.cell.clone();
    let gap = |health: Vec<unisono_core::doctor::DeviceHealth>| health[0].gap;
    assert_eq!(gap(world.hub.doctor(&cell).await.unwrap().1), 2, "nothing tells yet that it has the first");
    assert!(bob.page(&[], "").await.is_complete());
    assert_eq!(gap(world.hub.doctor(&cell).await.unwrap().1), 0);
    // A look at a conversation is not catching up, and so a device that waits for messages gets them still.
    let laptop = world.bind("bob", "laptop").await;
    laptop.send("<presence/>").await;
    assert_eq!(laptop.page(&[("with", "alice@example.org")], "").await.bodies(), ["1", "2"]);
    laptop.away();
    alice.say("bob@example.org", "3").await;
    let laptop = world.bind("bob", "laptop").await;
    laptop.send("<presence/>").await;
    assert_eq!(laptop.bodies().await, ["3"]);
}

#[tokio::test]
async fn nothing_is_lost_between_a_page_and_the_first_presence() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    for round in ["1", "2"] {
        let bob = world.bind("bob", "phone").await;
        alice.say("bob@example.org", &format!("before {round}")).await;
        assert_eq!(bob.page(&[], "<before/><max>1</max>").await.bodies(), [format!("before {round}")]);
        assert!(bob.page(&[], "").await.is_complete());
        alice.say("bob@example.org", &format!("between {round}")).await;
        bob.send("<presence/>").await;
        assert_eq!(bob.bodies().await, [format!("between {round}")]);
        // A device that goes and comes back gets what it missed, once.
        alice.say("bob@example.org", &format!("here {round}")).await;
        bob.send("<presence type='unavailable'/>").await;
        alice.say("bob@example.org", &format!("gone {round}")).await;
        bob.send("<presence/>").await;
        assert_eq!(bob.bodies().await, [format!("here {round}"), format!("gone {round}")]);
        bob.away();
    }
}

#[tokio::test]
async fn a_negative_priority_waits() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    alice.say("bob@example.org", "1").await;
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence><priority>-1</priority></presence>").await;
    alice.say("bob@example.org", "2").await;
    assert_eq!(bob.bodies().await, Vec::<String>::new()); // XEP-0160 §2, RFC 6121 §8.5.2.1.1
    alice.say("bob@example.org/phone", "3").await;
    assert_eq!(bob.bodies().await, ["3"]);
    bob.send("<presence><priority>1</priority></presence>").await;
    assert_eq!(bob.bodies().await, ["1", "2"], "what reached it is not repeated");
}

#[tokio::test]
async fn what_is_not_to_be_archived_reaches_every_device_and_is_gone() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let (bob, laptop) = (world.online("bob", "phone").await, world.online("bob", "laptop").await);
    assert!(bob.page(&[], "").await.is_complete()); // this one pages
    let set = format!(
        "<iq type='set' id='1'><prefs xmlns='{MAM}' default='always'><never><jid>alice@example.org</jid></never></prefs></iq>"
    );
    assert_eq!(bob.ask(&set).await.attr("type"), Some("result"));
    bob.away();
    laptop.away();
    alice.say("bob@example.org", "secret").await;
    alice
        .send("<message to='bob@example.org' type='chat'><ringing xmlns='urn:example:call'/></message>")
        .await;
    let waiting = |world: &World, account| {
        let query = unisono_core::storage::LogQuery { include_unarchived: true, ..Default::default() };
        let store = world.store.clone();
        async move {
            let page = unisono_core::storage::Logs::page(&*store, account, &query).await.unwrap();
            page.entries.len()
        }
    };
    let account = bob.session.cell.id;
    assert_eq!(waiting(&world, account).await, 2);
    for resource in ["phone", "laptop"] {
        let device = world.bind("bob", resource).await;
        device.send("<presence/>").await;
        let got: Vec<_> =
            device.take().await.into_iter().filter(|stanza| stanza.name() == "message").collect();
        assert_eq!(got.len(), 2, "{resource}");
        assert!(
            got.iter().all(|message| !message.has_child("stanza-id", "urn:xmpp:sid:0")),
            "no archive has it"
        );
        assert_eq!(device.page(&[], "").await.bodies(), Vec::<&str>::new());
        assert_eq!(waiting(&world, account).await, 2);
        device.away();
    }
    world.pass(Duration::from_secs(1));
    assert_eq!(waiting(&world, account).await, 0, "every device has it");
    assert_eq!(alice.page(&[], "").await.bodies(), ["secret"], "the other side decides for itself");
    let world = world.crash().await;
    let prefs = world
        .online("bob", "phone")
        .await
        .ask(&format!("<iq type='get' id='1'><prefs xmlns='{MAM}'/></iq>"))
        .await;
    assert!(format!("{prefs:?}").contains("alice@example.org"), "preferences are durable");
}

#[tokio::test]
async fn a_page_before_the_first_presence_takes_nothing_away_that_it_does_not_show() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.online("bob", "phone").await;
    assert!(bob.page(&[], "").await.is_complete());
    bob.away();
    alice.send("<message to='bob@example.org' type='chat'><body>off the record</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>").await;
    alice.say("bob@example.org", "1").await;
    let bob = world.bind("bob", "phone").await;
    let page = bob.page(&[], "").await;
    assert_eq!((page.bodies(), page.is_complete()), (vec!["1"], true));
    world.pass(Duration::from_secs(1)); // what every device has would be forgotten now
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, ["off the record"]);
}

#[tokio::test]
async fn what_reaches_a_device_without_presence_does_not_hide_what_it_misses() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.bind("bob", "phone").await;
    alice.say("bob@example.org", "1").await;
    alice.say("bob@example.org/phone", "2").await;
    assert_eq!(bob.bodies().await, ["2"]);
    bob.away();
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await.first().map(String::as_str), Some("1"));
}

#[tokio::test]
async fn a_copy_does_not_overtake_what_a_device_misses() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "desk").await, world.online("bob", "phone").await);
    world.online("alice", "tablet").await.away();
    alice.say("bob@example.org", "1").await;
    bob.say("alice@example.org", "2").await;
    let tablet = world.bind("alice", "tablet").await;
    tablet.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    alice.say("bob@example.org", "3").await;
    bob.say("alice@example.org", "4").await;
    assert_eq!(tablet.bodies().await, [""; 0]);
    tablet.send("<presence/>").await;
    alice.say("bob@example.org", "5").await;
    assert_eq!(tablet.bodies().await, [">1", "2", ">3", "4", ">5"]);
}

#[tokio::test]
async fn what_is_sent_while_a_device_is_about_to_ask_for_copies_reaches_it() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "desk").await, world.online("bob", "phone").await);
    let tablet = world.bind("alice", "tablet").await;
    alice.say("bob@example.org", "1").await;
    bob.say("alice@example.org/desk", "2").await;
    tablet.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    alice.say("bob@example.org", "3").await;
    tablet.send("<presence/>").await;
    assert_eq!(tablet.bodies().await, [">1", "2", ">3"]);
}

#[tokio::test]
async fn a_device_that_misses_nothing_gets_copies_without_presence() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "desk").await, world.online("bob", "phone").await);
    let tablet = world.bind("alice", "tablet").await;
    tablet.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    tablet.take().await;
    alice.say("bob@example.org", "1").await;
    tablet.say("bob@example.org", "2").await;
    bob.say("alice@example.org", "3").await;
    bob.say("alice@example.org/tablet", "4").await;
    alice.say("alice@example.org", "5").await;
    assert_eq!(tablet.bodies().await, [">1", "3", "4", "5"]);
    tablet.send("<presence/>").await;
    assert_eq!(tablet.bodies().await, [""; 0]);
}

#[tokio::test]
async fn late_copies_say_when() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    world.online("alice", "tablet").await.away();
    alice.say("bob@example.org", "1").await;
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    let late = bob.take().await.into_iter().find(|stanza| stanza.name() == "message").unwrap();
    let delay = late.child("delay", "urn:xmpp:delay").unwrap();
    assert_eq!(delay.attr("from"), Some("example.org")); // XEP-0160 §2
    // A copy: the time stands beside the message that it brings (XEP-0297 §3.2).
    let tablet = world.bind("alice", "tablet").await;
    tablet.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    tablet.send("<presence/>").await;
    let copy =
        tablet.take().await.into_iter().find_map(|s| s.child("sent", "urn:xmpp:carbons:2").cloned()).unwrap();
    let forwarded = copy.child("forwarded", "urn:xmpp:forward:0").unwrap();
    assert_eq!(forwarded.child("delay", "urn:xmpp:delay").unwrap().attr("stamp"), delay.attr("stamp"));
    assert!(!forwarded.child("message", "jabber:client").unwrap().has_child("delay", "urn:xmpp:delay"));
}

#[tokio::test]
async fn a_device_waives_what_waits() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    alice.say("bob@example.org", "1").await;
    alice.send("<message to='bob@example.org' type='chat'><body>off the record</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>").await;
    let bob = world.bind("bob", "phone").await;
    let purge =
        "<iq type='set' id='1'><offline xmlns='http://jabber.org/protocol/offline'><purge/></offline></iq>";
    assert_eq!(bob.ask(purge).await.attr("type"), Some("result"));
    alice.say("bob@example.org", "2").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, ["2"]); // XEP-0013 §2.7
    let fetch = purge.replace("set", "get").replace("purge", "fetch");
    assert_eq!(bob.ask(&fetch).await.attr("type"), Some("error"));
    let other = purge.replace("id='1'", "id='1' to='alice@example.org'");
    let error = bob.ask(&other).await;
    assert_eq!(error.first_child().unwrap().first_child().unwrap().name(), "forbidden");
}

#[tokio::test]
async fn a_copy_that_was_acknowledged_before_the_presence_does_not_come_again() {
    for ends_well in [false, true] {
        let world = World::with(&["alice", "bob"]).await;
        let alice = world.online("alice", "desk").await;
        let tablet = world.bind("alice", "tablet").await;
        tablet.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        tablet.take().await;
        tablet.nonza("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        alice.say("bob@example.org", "1").await;
        assert_eq!(tablet.bodies().await, [">1"]);
        tablet.acknowledge(1).await;
        if ends_well {
            world.hub.close(&tablet.session, true);
        }
        alice.say("bob@example.org", "2").await;
        world.hub.store_cursors();
        let world = world.crash().await;
        let tablet = world.bind("alice", "tablet").await;
        tablet.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        tablet.send("<presence/>").await;
        assert_eq!(tablet.bodies().await, [">2"]);
    }
}

#[tokio::test]
async fn a_device_of_negative_priority_gets_copies_whatever_it_missed() {
    let world = World::with(&["alice", "bob"]).await;
    let bob = world.online("bob", "phone").await;
    bob.say("alice@example.org", "1").await;
    let bot = world.bind("alice", "bot").await;
    bot.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    bot.send("<presence><priority>-1</priority></presence>").await;
    bot.take().await;
    let alice = world.online("alice", "phone").await;
    bob.say("alice@example.org/phone", "2").await;
    bob.say("alice@example.org", "3").await;
    alice.say("bob@example.org", "4").await;
    assert_eq!(bot.bodies().await, ["2", "3", ">4"]); // XEP-0280 §7: each resource that asked for them
}

#[tokio::test]
async fn what_is_private_to_another_device_keeps_no_copies_back() {
    let world = World::with(&["alice", "bob"]).await;
    let (_alice, bob) = (world.online("alice", "desk").await, world.online("bob", "phone").await);
    let bot = world.bind("alice", "bot").await;
    bot.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    bot.take().await;
    bob.send("<message to='alice@example.org/desk' type='chat' id='1'><body>1</body><private xmlns='urn:xmpp:carbons:2'/><no-copy xmlns='urn:xmpp:hints'/></message>").await;
    bob.say("alice@example.org/desk", "2").await;
    assert_eq!(bot.bodies().await, ["2"]);
}

#[tokio::test]
async fn a_page_while_the_log_is_read_takes_nothing_away_and_is_not_forgotten() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.online("bob", "phone").await;
    assert!(bob.page(&[], "").await.is_complete());
    bob.away();
    let off = "<message to='bob@example.org' type='chat'><body>off the record</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>";
    alice.send(off).await;
    alice.say("bob@example.org", "1").await;
    // Presence and query come in one packet.
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    bob.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    bob.away();
    world.pass(Duration::from_secs(1));
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    bob.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    let taken = bob.bodies().await;
    assert!(taken.contains(&"off the record".to_owned()), "{taken:?}");
    // It paged all there is, so from now on its cursor moves with what it gets.
    alice.say("bob@example.org", "2").await;
    assert_eq!(bob.bodies().await, ["2"]);
    let (_, health) = world.hub.doctor(&bob.session.cell).await.unwrap();
    assert_eq!(health[0].gap, 0);
}

#[tokio::test]
async fn a_device_that_steps_back_while_its_log_is_read_misses_nothing() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.online("bob", "phone").await;
    assert!(bob.page(&[], "").await.is_complete());
    bob.away();
    alice.say("bob@example.org", "1").await;
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    bob.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    alice.say("bob@example.org", "2").await; // live, but the log is still being read
    bob.send("<presence type='unavailable'/>").await;
    alice.say("bob@example.org", "2a").await; // a copy that has to wait for what came before it
    assert_eq!(bob.bodies().await, [""; 0]);
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, ["2", "2a"], "what came before its presence it pages");
    alice.say("bob@example.org", "3").await;
    bob.send("<presence type='unavailable'/>").await;
    alice.say("bob@example.org", "4").await;
    assert_eq!(bob.bodies().await, ["3", "4"]);
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, [""; 0]);
    bob.away();
    let (_, health) = world.hub.doctor(&bob.session.cell).await.unwrap();
    assert_eq!(health[0].gap, 5, "it did not page what was left to it");
}

#[tokio::test]
async fn what_was_left_to_page_is_not_had_because_nothing_came_since() {
    for aside in ["<presence type='unavailable'/>", "<presence><priority>-1</priority></presence>"] {
        let world = World::with(&["alice", "bob"]).await;
        let alice = world.online("alice", "desk").await;
        let bob = world.online("bob", "phone").await;
        assert!(bob.page(&[], "").await.is_complete());
        bob.away();
        alice.say("bob@example.org", "1").await;
        let bob = world.bind("bob", "phone").await;
        bob.send("<presence/>").await;
        bob.take().await;
        for presence in [aside, "<presence/>"] {
            bob.send(presence).await;
            assert_eq!(bob.bodies().await, [""; 0]);
        }
        bob.away();
        let (_, health) = world.hub.doctor(&bob.session.cell).await.unwrap();
        assert_eq!(health[0].gap, 1, "{aside}");
    }
}

#[tokio::test]
async fn who_pages_while_it_is_not_there_is_not_sent_it_again() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert!(bob.page(&[], "").await.is_complete());
    bob.send("<presence type='unavailable'/>").await;
    alice.say("bob@example.org", "1").await;
    assert_eq!(bob.page(&[], "").await.bodies(), ["1"]);
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, [""; 0]);
}

#[tokio::test]
async fn who_begins_to_page_back_before_its_presence_is_sent_what_comes_then() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    world.online("bob", "phone").await.away();
    for body in ["1", "2", "3"] {
        alice.say("bob@example.org", body).await;
    }
    let bob = world.bind("bob", "phone").await;
    let last = bob.page(&[], "<before/><max>2</max>").await;
    assert_eq!(last.bodies(), ["2", "3"]);
    alice.say("bob@example.org", "4").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, ["4"]);
    let before = format!("<before>{}</before><max>2</max>", last.id("2"));
    assert_eq!(bob.page(&[], &before).await.bodies(), ["1"]);
    bob.away();
    let (_, health) = world.hub.doctor(&bob.session.cell).await.unwrap();
    assert_eq!(health[0].gap, 0);
}

#[tokio::test]
async fn what_waited_and_came_tells_nothing_of_what_was_left_to_page() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.online("bob", "phone").await;
    assert!(bob.page(&[], "").await.is_complete());
    bob.away();
    alice.say("bob@example.org", "1").await;
    alice.send("<message to='bob@example.org' type='chat'><body>off the record</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>").await;
    let bob = world.bind("bob", "phone").await;
    let enabled = bob.nonza("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    let previous = enabled.write.first().unwrap().attr("id").unwrap().to_owned();
    bob.send("<presence/>").await;
    let taken: Vec<_> = bob.take().await;
    let stanzas = taken.iter().filter(|element| !matches!(element.name(), "a" | "r")).count();
    let world = world.crash().await;
    let (_, resumed) = world.resume("bob", &previous, u32::try_from(stanzas).unwrap()).await;
    assert!(resumed.is_none());
    let cell = world.hub.account(&jid("bob")).await.unwrap().unwrap();
    let (_, health) = world.hub.doctor(&cell).await.unwrap();
    let phone = health.iter().find(|device| device.device.key == "phone").unwrap();
    assert!(phone.gap > 0, "the first is not there");
}

#[tokio::test]
async fn a_count_tells_of_all_that_was_sent_before_a_catch_up_and_in_earlier_ones() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    world.online("bob", "phone").await.away();
    alice.say("bob@example.org", "1").await;
    let bob = world.bind("bob", "phone").await;
    let enabled = bob.nonza("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    let previous = enabled.write.first().unwrap().attr("id").unwrap().to_owned();
    bob.send("<presence/>").await;
    let mut handled = 0;
    for body in ["2", "3"] {
        handled += bob.take().await.iter().filter(|element| !matches!(element.name(), "a" | "r")).count();
        bob.send("<presence type='unavailable'/>").await;
        alice.say("bob@example.org", body).await;
        bob.send("<presence/>").await;
    }
    assert_eq!(bob.bodies().await, ["3"]); // of which its count does not tell
    let world = world.crash().await;
    world.resume("bob", &previous, u32::try_from(handled).unwrap()).await;
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, ["3"]);
}

#[tokio::test]
async fn an_early_copy_counts_with_the_catch_up_that_comes_after_it() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    world.online("bob", "phone").await.away();
    let bob = world.bind("bob", "phone").await;
    let enabled = bob.nonza("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    let previous = enabled.write.first().unwrap().attr("id").unwrap().to_owned();
    alice.say("bob@example.org", "1").await;
    alice.say("bob@example.org/phone", "2").await;
    bob.send("<presence/>").await;
    let taken = bob.take().await;
    let handled = taken.iter().filter(|element| !matches!(element.name(), "a" | "r")).count();
    let world = world.crash().await;
    world.resume("bob", &previous, u32::try_from(handled).unwrap()).await;
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, [""; 0]);
}

#[tokio::test]
async fn a_device_is_not_sent_what_it_sent_to_another_of_its_account() {
    let world = World::with(&["alice"]).await;
    let desk = world.online("alice", "desk").await;
    let phone = world.bind("alice", "phone").await;
    phone.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    phone.say("alice@example.org/desk", "1").await;
    assert_eq!(desk.bodies().await, ["1"]);
    phone.send("<presence/>").await;
    assert_eq!(phone.bodies().await, [""; 0]); // XEP-0280 §8
}

#[tokio::test]
async fn a_device_that_began_to_page_has_no_copies_held_back() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let tablet = world.bind("alice", "tablet").await;
    alice.say("bob@example.org", "1").await;
    tablet.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    tablet.take().await;
    assert_eq!(tablet.page(&[], "<max>1</max>").await.bodies(), ["1"]);
    alice.say("bob@example.org", "2").await;
    assert_eq!(tablet.bodies().await, [">2"], "no page brings it");
}

#[tokio::test]
async fn who_asks_here_goes_on_doing_so_though_no_answer_came() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let bob = world.online("bob", "phone").await;
    assert!(bob.page(&[], "").await.is_complete());
    bob.away();
    alice.say("bob@example.org", "1").await;
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, Vec::<String>::new());
    world.store.hold();
    alice.say("bob@example.org", "2").await;
    let everything = query(&[], "");
    tokio::select! {
        biased;
        () = bob.send(&everything) => panic!("it is answered with what is not durable"),
        () = tokio::task::yield_now() => {}
    }
    bob.away();
    world.store.release();
    let bob = world.bind("bob", "phone").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.bodies().await, Vec::<String>::new());
    assert_eq!(bob.page(&[], "").await.bodies(), ["1", "2"]);
}
