//! Promise P6: a device is whole when it is bound (XEP-0386), and knows where what it is sent begins.

use std::task::Poll;

use unisono_core::bind2::{self, Settled};
use unisono_core::devices::{Login, UserAgent};
use unisono_core::error::StreamCondition;

use super::*;

const NOTHING: [&str; 0] = [];
const PHONE: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
const LAPTOP: &str = "a6ba2f36-4a2c-4f0f-9a0e-5f5b1d2f8c11";
const CARBONS: &str = "<enable xmlns='urn:xmpp:carbons:2'/>";
const SM: &str = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";

impl World {
    /// A resource that is bound together with the login, and `<bound/>`.
    async fn begin(&self, name: &str, agent: Option<&str>, wishes: &str) -> (Device, Element) {
        let request = format!("<bind xmlns='urn:xmpp:bind:0'>{wishes}</bind>");
        let request = Element::parse(&request, &CLIENT_SCOPE, &Limits::default()).unwrap();
        let login = agent.map_or_else(Login::default, login);
        let bound = self.hub.bind_inline(&login, &jid(name), &request, self.connection()).await;
        let (session, settled) = bound.unwrap();
        (Device { hub: self.hub.clone(), session }, bind2::bound(settled).await)
    }

    fn devices_of(&self, name: &str) -> usize {
        self.hub.resident(&jid(name)).unwrap().lock().devices().len()
    }
}

/// Of an installation.
fn login(agent: &str) -> Login {
    Login::new(Some(UserAgent::parse(agent).unwrap()), "", "")
}

/// The ids of the first and the last message of the archive.
fn ends(bound: &Element) -> Option<(String, String)> {
    let metadata = bound.child("metadata", "urn:xmpp:mam:2").unwrap();
    let end = |name| Some(metadata.child(name, "urn:xmpp:mam:2")?.attr("id")?.to_owned());
    Some((end("start")?, end("end")?))
}

/// What a client fetches: the archive up to the end that it was told.
async fn pages_to(device: &Device, end: &str) -> Vec<String> {
    device.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    let mut bodies = Vec::new();
    for stanza in device.take().await {
        let Some(result) = stanza.child("result", "urn:xmpp:mam:2") else { continue };
        let message = result.child("forwarded", "urn:xmpp:forward:0").unwrap();
        let message = message.child("message", "jabber:client").unwrap();
        bodies.push(message.child_text("body", "jabber:client").unwrap().into_owned());
        if result.attr("id") == Some(end) {
            return bodies;
        }
    }
    panic!("the archive does not have its end: {bodies:?}")
}

#[tokio::test]
async fn an_installation_has_one_resource_for_one_tag() {
    let world = World::with(&["alice", "bob"]).await;
    let resource = async |name, agent, wishes| {
        let (device, _) = world.begin(name, agent, wishes).await;
        device.session.jid.resource().to_owned()
    };
    let first = resource("alice", Some(PHONE), "<tag>A client</tag>").await;
    assert!(first.starts_with("A client/") && !first.contains(PHONE), "{first}");
    assert_eq!(resource("alice", Some(PHONE), "<tag>A client</tag>").await, first);
    let spelled = PHONE.to_uppercase();
    assert_eq!(resource("alice", Some(&spelled), "<tag>A client</tag>").await, first);
    let own = first.strip_prefix("A client/").unwrap();
    assert_eq!(resource("alice", Some(PHONE), "").await, own);
    assert_eq!(resource("alice", Some(PHONE), "<tag/>").await, own);
    // A tag that no resource may have.
    assert_eq!(resource("alice", Some(PHONE), "<tag>\u{2028}</tag>").await, own);
    let long = format!("<tag>{}</tag>", "x".repeat(1020));
    assert_eq!(resource("alice", Some(PHONE), &long).await, own);
    // All of that was one device; what others have tells nothing of it.
    assert_eq!(world.devices_of("alice"), 1);
    assert_ne!(resource("alice", Some(LAPTOP), "").await, own);
    assert_ne!(resource("bob", Some(PHONE), "").await, own);
    let unnamed = resource("alice", None, "<tag>A client</tag>").await;
    assert!(unnamed.starts_with("A client/"), "{unnamed}");
    assert_ne!(resource("alice", None, "<tag>A client</tag>").await, unnamed);
    let world = world.crash().await;
    let (device, _) = world.begin("alice", Some(PHONE), "").await;
    assert_eq!(device.session.jid.resource(), own);
}

#[tokio::test]
async fn a_device_that_begins_anew_gets_no_conflict() {
    let world = World::with(&["alice"]).await;
    let (first, _) = world.begin("alice", Some(PHONE), "<tag>A</tag>").await;
    let (second, _) = world.begin("alice", Some(PHONE), "<tag>B</tag>").await;
    assert_eq!(world.hub.lost(&first.session), Some(StreamCondition::Reset));
    // In the older way of binding, too, and whatever the resource is.
    let agent = login(PHONE);
    let third = world.hub.bind_as(&agent, &jid("alice"), Some("phone"), world.connection()).await.unwrap();
    assert_eq!(world.hub.lost(&second.session), Some(StreamCondition::Reset));
    assert_eq!((third.jid.resource(), world.devices_of("alice")), ("phone", 1));
    let fourth = world.hub.bind_as(&agent, &jid("alice"), Some("phone"), world.connection()).await.unwrap();
    assert_eq!(world.hub.lost(&third), Some(StreamCondition::Reset));
    // Somebody else who takes the resource is another matter (RFC 6120 §7.7.2.2).
    world.bind("alice", "phone").await;
    assert_eq!(world.hub.lost(&fourth), Some(StreamCondition::Conflict));
    assert_eq!(world.devices_of("alice"), 2);
}

#[tokio::test]
async fn a_resumption_is_no_conflict_either() {
    let world = World::with(&["alice"]).await;
    let (phone, bound) = world.begin("alice", Some(PHONE), SM).await;
    let id = bound.child("enabled", "urn:xmpp:sm:3").unwrap().attr("id").unwrap().to_owned();
    let (reply, resumed) = world.resume("alice", &id, 0).await;
    assert!(resumed.is_some(), "{:?}", reply.write);
    assert_eq!(world.hub.lost(&phone.session), Some(StreamCondition::Reset));
}

/// Promise P4: who could not resume, begins anew with the same breath and never hears of it, asks again.
#[tokio::test]
async fn what_arrived_is_told_until_it_was_heard() {
    let world = World::with(&["alice", "bob"]).await;
    let (phone, bound) = world.begin("alice", Some(PHONE), SM).await;
    let previous = bound.child("enabled", "urn:xmpp:sm:3").unwrap().attr("id").unwrap().to_owned();
    phone.say("bob@example.org", "1").await;
    phone.nonza("<r xmlns='urn:xmpp:sm:3'/>").await;
    phone.take().await;
    let world = world.crash().await;
    for _ in 0..2 {
        let (reply, resumed) = world.resume("alice", &previous, 0).await;
        let failed = reply.write.first().unwrap();
        assert_eq!((failed.name(), failed.attr("h"), resumed.is_none()), ("failed", Some("1"), true));
        let (lost, _) = world.begin("alice", Some(PHONE), SM).await;
        lost.lose_connection();
    }
}

#[tokio::test]
async fn what_a_session_begins_with_is_there_at_once() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let laptop = world.online("bob", "laptop").await;
    let (phone, bound) = world.begin("bob", Some(PHONE), &format!("{CARBONS}{SM}")).await;
    let names: Vec<_> = bound.children().map(Element::name).collect();
    assert_eq!(names, ["metadata", "enabled"]);
    assert_eq!(ends(&bound), None); // an empty archive
    alice.say("bob@example.org/laptop", "1").await;
    phone.say("alice@example.org", "2").await;
    assert_eq!(phone.bodies().await, ["1"]);
    assert_eq!(laptop.bodies().await, ["1", ">2"]);
    assert_eq!(phone.handled().await, Some(1));
    phone.acknowledge(1).await;
    // Without a wish, none of it.
    let (plain, bound) = world.begin("bob", Some(LAPTOP), "").await;
    assert!(!bound.has_child("enabled", "urn:xmpp:sm:3"));
    alice.say("bob@example.org/laptop", "3").await;
    assert_eq!(plain.bodies().await, NOTHING);
    assert!(plain.nonza("<r xmlns='urn:xmpp:sm:3'/>").await.write.first().unwrap().name() == "failed");
}

#[tokio::test]
async fn a_session_begins_in_the_state_that_its_client_names() {
    let world = World::with(&["alice"]).await;
    let laptop = world.online("alice", "laptop").await;
    for (wish, waits) in [
        ("<inactive xmlns='urn:xmpp:csi:0'/>", true),
        ("<active xmlns='urn:xmpp:csi:0'/>", false),
        ("", false),
    ] {
        let (phone, _) = world.begin("alice", Some(PHONE), wish).await;
        phone.send("<presence/>").await;
        phone.take().await;
        laptop.send("<presence><show>away</show></presence>").await;
        let has_it = phone.take().await.iter().any(|stanza| stanza.name() == "presence");
        assert_eq!(has_it, !waits, "{wish}");
        phone.nonza("<active xmlns='urn:xmpp:csi:0'/>").await;
        assert_eq!(!phone.take().await.is_empty(), waits, "{wish}");
    }
}

/// What a device pages up to the end that it was told and what it is sent from then on, together, is all there is.
#[tokio::test]
async fn nothing_is_missed_and_nothing_comes_twice() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let unarchived = |body: &str| {
        format!(
            "<message to='bob@example.org' type='chat' id='{body}'><body>{body}</body>\
             <no-permanent-store xmlns='urn:xmpp:hints'/></message>"
        )
    };
    world.begin("bob", Some(PHONE), CARBONS).await.0.lose_connection();
    for with_another in [false, true] {
        let laptop = world.online("bob", "laptop").await;
        alice.say("bob@example.org", "1").await;
        alice.send(&unarchived("2")).await;
        alice.say("bob@example.org", "3").await;
        laptop.take().await;
        laptop.send("<presence type='unavailable'/>").await;
        if with_another {
            laptop.send("<presence/>").await;
        }
        let (phone, bound) = world.begin("bob", Some(PHONE), &format!("{CARBONS}{SM}")).await;
        let (_, end) = ends(&bound).unwrap();
        // Before its first presence.
        alice.say("bob@example.org", "4").await;
        alice.say(phone.session.jid.as_str(), "5").await;
        let mut stanzas = phone.take().await;
        phone.send("<presence/>").await;
        alice.say("bob@example.org", "6").await;
        stanzas.extend(phone.take().await);
        stanzas.retain(|stanza| stanza.ns() == "jabber:client");
        let mut heard: Vec<_> = stanzas.iter().filter_map(told).map(|(body, _)| body).collect();
        let mut fetched = pages_to(&phone, &end).await;
        assert_eq!(fetched.split_off(fetched.len() - 2), ["1", "3"]);
        let mut sorted = heard.clone();
        sorted.sort();
        assert_eq!(sorted, ["2", "4", "5", "6"], "{with_another}: {heard:?}");
        heard.retain(|body| body != "2");
        assert_eq!(heard, ["4", "5", "6"]);
        // It has all, so nothing of that comes again, though it asks for nothing.
        phone.acknowledge(u32::try_from(stanzas.len()).unwrap()).await;
        phone.lose_connection();
        let (phone, bound) = world.begin("bob", Some(PHONE), &format!("{CARBONS}{SM}")).await;
        assert!(ends(&bound).is_some_and(|(_, newer)| newer != end));
        phone.send("<presence/>").await;
        assert_eq!(phone.bodies().await, NOTHING, "{with_another}");
        phone.lose_connection();
    }
}

/// A client whose last id is the end of the archive asks for nothing. What is sent to it counts all the same.
#[tokio::test]
async fn a_device_that_has_nothing_to_page_keeps_its_place() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let note = "<message to='bob@example.org' type='chat' id='n'><body>note</body>\
                <no-permanent-store xmlns='urn:xmpp:hints'/></message>";
    world.begin("bob", Some(PHONE), "").await.0.lose_connection();
    alice.say("bob@example.org", "1").await;
    alice.send(note).await;
    let (phone, _) = world.begin("bob", Some(PHONE), SM).await;
    phone.send("<presence/>").await;
    assert_eq!(phone.bodies().await, ["note"]);
    phone.acknowledge(2).await;
    alice.say("bob@example.org", "2").await;
    assert_eq!(phone.bodies().await, ["2"]);
    phone.acknowledge(3).await;
    phone.lose_connection();
    world.pass(Duration::from_secs(1));
    let world = world.crash().await;
    let (phone, _) = world.begin("bob", Some(PHONE), SM).await;
    phone.send("<presence/>").await;
    assert_eq!(phone.bodies().await, NOTHING);
    let cell = world.hub.resident(&jid("bob")).unwrap();
    let (_, report) = world.hub.doctor(&cell).await.unwrap();
    assert_eq!(report.iter().map(|device| device.gap).collect::<Vec<_>>(), [0]);
}

/// The end is that of the moment in which the resource was bound, whatever comes while it is being looked up.
#[tokio::test]
async fn the_end_that_is_told_is_where_live_traffic_begins() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    let laptop = world.online("bob", "laptop").await;
    alice.say("bob@example.org", "1").await;
    let request = format!("<bind xmlns='urn:xmpp:bind:0'>{CARBONS}</bind>");
    let request = Element::parse(&request, &CLIENT_SCOPE, &Limits::default()).unwrap();
    let agent = login(PHONE);
    let bound = world.hub.bind_inline(&agent, &jid("bob"), &request, world.connection()).await;
    let (session, settled) = bound.unwrap();
    let phone = Device { hub: world.hub.clone(), session };
    alice.say("bob@example.org", "2").await;
    let (start, end) = ends(&bind2::bound(settled).await).unwrap();
    let seen = laptop.conversation().await;
    assert_eq!((Some(start), Some(end.clone())), (seen[0].1.clone(), seen[0].1.clone()));
    assert_eq!(phone.bodies().await, ["2"]);
    assert_eq!(pages_to(&phone, &end).await, ["1"]);
    phone.send("<presence/>").await;
    assert_eq!(phone.bodies().await, NOTHING);
}

/// Two that have one name would take each other's place for ever.
#[tokio::test]
async fn who_shares_the_name_of_an_installation_is_told() {
    let world = World::with(&["alice"]).await;
    let take_over = async |times: usize| {
        let mut reasons = Vec::new();
        let (mut last, _) = world.begin("alice", Some(PHONE), SM).await;
        for _ in 0..times {
            let (next, _) = world.begin("alice", Some(PHONE), SM).await;
            reasons.push(world.hub.lost(&last.session).unwrap());
            last = next;
        }
        last.lose_connection();
        reasons
    };
    let told = take_over(5).await;
    let (last, before) = told.split_last().unwrap();
    assert!(before.iter().all(|reason| *reason == StreamCondition::Reset), "{before:?}");
    assert_eq!(*last, StreamCondition::Conflict);
    // A minute later it is an ordinary replacement again, and in its time.
    for _ in 0..3 {
        world.pass(Duration::from_secs(61));
        assert_eq!(take_over(4).await, [const { StreamCondition::Reset }; 4]);
    }
    // A network that comes and goes leaves nobody to be told.
    for _ in 0..20 {
        world.begin("alice", Some(PHONE), SM).await.0.lose_connection();
    }
    world.pass(Duration::from_secs(61));
    assert_eq!(take_over(1).await, [StreamCondition::Reset]);
}

/// What came while a device was paging, and was paged with the rest, is not sent to it as well, though it does not go on to
/// the end. What it left out is.
#[tokio::test]
async fn what_was_paged_in_several_steps_does_not_come_again() {
    for (skips, want) in [(false, &["7"][..]), (true, &["4", "5", "6", "7"])] {
        let world = World::with(&["alice", "bob"]).await;
        let alice = world.online("alice", "desk").await;
        world.begin("bob", Some(PHONE), "").await.0.lose_connection();
        for body in ["1", "2", "3"] {
            alice.say("bob@example.org", body).await;
        }
        let (phone, _) = world.begin("bob", Some(PHONE), SM).await;
        for body in ["4", "5", "6", "7"] {
            alice.say("bob@example.org", body).await;
        }
        let page = async |rsm: &str| {
            let set = format!("<set xmlns='http://jabber.org/protocol/rsm'><max>2</max>{rsm}</set>");
            phone
                .send(&format!("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'>{set}</query></iq>"))
                .await;
            let stanzas = phone.take().await;
            let results = stanzas.iter().filter_map(|stanza| stanza.child("result", "urn:xmpp:mam:2"));
            results.map(|result| result.attr("id").unwrap().to_owned()).collect::<Vec<_>>()
        };
        let mut after = String::new();
        if skips {
            // The conversation is looked up, which is no catch-up, and paged from the middle of it.
            let query = "<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'>\
                <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>\
                <field var='with'><value>alice@example.org</value></field></x></query>";
            phone.send(&format!("<iq type='set' id='w'>{query}</iq>")).await;
            let stanzas = phone.take().await;
            let ids: Vec<_> = stanzas
                .iter()
                .filter_map(|stanza| stanza.child("result", "urn:xmpp:mam:2")?.attr("id").map(str::to_owned))
                .collect();
            page(&format!("<after>{}</after>", ids[3])).await;
        } else {
            for _ in 0..3 {
                let ids = page(&after).await;
                assert_eq!(ids.len(), 2);
                after = format!("<after>{}</after>", ids[1]);
            }
        }
        phone.send("<presence/>").await;
        assert_eq!(phone.bodies().await, want, "{skips}");
    }
}

/// A device that pages the archive by itself costs no read of it when it comes.
#[tokio::test]
async fn what_a_device_pages_is_not_read_for_it() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "desk").await;
    world.begin("bob", Some(PHONE), "").await.0.lose_connection();
    for body in ["1", "2", "3"] {
        alice.say("bob@example.org", body).await;
    }
    let world = world.crash().await;
    let alice = world.online("alice", "desk").await;
    let (phone, _) = world.begin("bob", Some(PHONE), SM).await;
    let before = world.store.reads();
    phone.send("<presence/>").await;
    assert_eq!(phone.bodies().await, NOTHING);
    assert_eq!(world.store.reads() - before, 0);
    alice.say("bob@example.org", "4").await;
    assert_eq!(phone.bodies().await, ["4"]);
    // What no archive shows is read.
    phone.lose_connection();
    let note = "<message to='bob@example.org' type='chat' id='n'><body>note</body>\
                <no-permanent-store xmlns='urn:xmpp:hints'/></message>";
    alice.send(note).await;
    let (phone, _) = world.begin("bob", Some(PHONE), "").await;
    phone.send("<presence/>").await;
    assert!(phone.bodies().await.contains(&"note".to_owned()));
}

/// XEP-0198 §3: a session that is told to be resumable is one after a crash.
#[tokio::test]
async fn a_session_is_told_when_it_is_durable() {
    let world = World::with(&["alice"]).await;
    world.begin("alice", Some(PHONE), "").await.0.lose_connection();
    world.store.hold();
    let request = format!("<bind xmlns='urn:xmpp:bind:0'>{SM}</bind>");
    let request = Element::parse(&request, &CLIENT_SCOPE, &Limits::default()).unwrap();
    let bound = world.hub.bind_inline(&login(PHONE), &jid("alice"), &request, world.connection()).await;
    let mut told = 0;
    for settled in bound.unwrap().1 {
        match settled {
            Settled::Nothing => {}
            Settled::Now(element) => panic!("{element:?} is told at once"),
            Settled::Later(mut later) => {
                let now = std::future::poll_fn(|cx| Poll::Ready(later.as_mut().poll(cx))).await;
                assert!(now.is_pending(), "{now:?}");
                told += 1;
            }
        }
    }
    assert_eq!(told, 2, "the end of the archive, and the session");
}
