//! How far a conversation was read, on all devices (XEP-0490).

use unisono_xeps::xep0490_displayed::displayed;

use super::nodes::{interest, options};
use super::*;

const NS: &str = "urn:xmpp:mds:displayed:0";
const BOB: &str = "bob@example.org";

/// The body of each message that a stanza-id stands for.
#[derive(Default)]
struct Ids(Vec<(String, String)>);

impl Ids {
    /// Takes what a device has, and remembers the ids; returns what it was told of reading, as `chat: body`.
    async fn told(&mut self, device: &Device) -> Vec<String> {
        let taken = device.take().await;
        self.0.extend(taken.iter().filter_map(told).filter_map(|(body, id)| Some((body, id?))));
        taken.iter().filter_map(|message| self.event(message)).collect()
    }

    fn event(&self, message: &Element) -> Option<String> {
        let items = message.child("event", "http://jabber.org/protocol/pubsub#event")?.first_child()?;
        assert_eq!(items.attr("node"), Some(NS));
        Some(self.item(items.first_child()?))
    }

    fn item(&self, item: &Element) -> String {
        let id = item.child("displayed", NS).unwrap().child("stanza-id", "urn:xmpp:sid:0").unwrap();
        let body = self.0.iter().find(|(_, known)| Some(known.as_str()) == id.attr("id"));
        let body = body.map_or(id.attr("id").unwrap(), |(body, _)| body);
        format!("{}: {body}", item.attr("id").unwrap())
    }

    fn of(&self, body: &str) -> &str {
        &self.0.iter().find(|(known, _)| known == body).unwrap_or_else(|| panic!("{body}: {:?}", self.0)).1
    }

    fn payload(&self, body: &str) -> String {
        format!(
            "<displayed xmlns='{NS}'><stanza-id xmlns='urn:xmpp:sid:0' by='alice@example.org' id='{}'/></displayed>",
            self.of(body)
        )
    }

    /// All items of the node.
    async fn items(&self, device: &Device) -> Vec<String> {
        let ns = "http://jabber.org/protocol/pubsub";
        device
            .send(&format!("<iq type='get' id='n'><pubsub xmlns='{ns}'><items node='{NS}'/></pubsub></iq>"))
            .await;
        let taken = device.take().await;
        let answer = taken.iter().find(|element| element.name() == "iq").unwrap();
        let items = answer.child("pubsub", ns).and_then(|pubsub| pubsub.child("items", ns));
        items.into_iter().flat_map(Element::children).map(|item| self.item(item)).collect()
    }
}

async fn publish(device: &Device, chat: &str, payload: &str) {
    let options = options(&[
        ("persist_items", "true"),
        ("max_items", "max"),
        ("send_last_published_item", "never"),
        ("access_model", "whitelist"),
        ("notify_delete", "true"),
        ("notify_retract", "true"),
    ]);
    let ns = "http://jabber.org/protocol/pubsub";
    device
        .send(&format!(
            "<iq type='set' id='p'><pubsub xmlns='{ns}'><publish node='{NS}'><item id='{chat}'>{payload}</item>\
             </publish>{options}</pubsub></iq>"
        ))
        .await;
}

async fn mark(device: &Device, body: &str) {
    device
        .send(&format!(
            "<message to='{BOB}' type='chat'><displayed xmlns='urn:xmpp:chat-markers:0' id='{body}'/></message>"
        ))
        .await;
}

fn position(device: &Device) -> Option<unisono_core::ids::LogPosition> {
    displayed(&device.session.cell.lock(), BOB)
}

async fn says(bob: &Device, bodies: &[&str]) {
    for body in bodies {
        bob.say("alice@example.org", body).await;
    }
}

/// alice has a device that speaks of what it displays, one that sends markers, and one that does neither.
async fn scene() -> (World, [Device; 4]) {
    let world = World::with(&["alice", "bob"]).await;
    let mds = world.online("alice", "mds").await;
    let markers = world.online("alice", "markers").await;
    let plain = world.online("alice", "plain").await;
    let bob = world.online("bob", "desk").await;
    interest(&mds, &[NS]);
    (world, [mds, markers, plain, bob])
}

#[tokio::test]
async fn what_one_device_read_the_others_have_read() {
    let (_world, [mds, markers, plain, bob]) = scene().await;
    let mut ids = Ids::default();
    says(&bob, &["1", "2"]).await;
    for device in [&mds, &markers, &plain] {
        assert!(ids.told(device).await.is_empty());
    }
    mark(&markers, "1").await;
    assert_eq!(ids.told(&mds).await, ["bob@example.org: 1"]);
    mark(&markers, "2").await;
    assert_eq!(ids.told(&mds).await, ["bob@example.org: 2"]);
    // Who answers has read what it had.
    says(&bob, &["3", "4"]).await;
    ids.told(&mds).await;
    plain.take().await;
    says(&bob, &["5"]).await;
    plain.say(BOB, "answer").await;
    ids.told(&mds).await;
    assert_eq!(ids.items(&mds).await, ["bob@example.org: 4"], "5 was not there yet");
    // What is published moves it for all, and bob learns nothing of it.
    bob.take().await;
    publish(&mds, BOB, &ids.payload("5")).await;
    assert_eq!(ids.told(&mds).await, ["bob@example.org: 5"]);
    assert!(bob.take().await.is_empty());
    assert_eq!(ids.items(&plain).await, ["bob@example.org: 5"]);
    assert!(ids.told(&plain).await.is_empty());
}

#[tokio::test]
async fn a_position_moves_forward_only() {
    let (_world, [mds, markers, plain, bob]) = scene().await;
    let mut ids = Ids::default();
    says(&bob, &["1", "2", "3"]).await;
    ids.told(&mds).await;
    mark(&markers, "3").await;
    assert_eq!(ids.told(&mds).await, ["bob@example.org: 3"]);
    for body in ["1", "2", "3", "none"] {
        mark(&markers, body).await;
    }
    assert!(ids.told(&mds).await.is_empty(), "nobody is told what is old");
    for late in [ids.payload("2"), ids.payload("2").replace(ids.of("2"), "no-id-of-ours")] {
        publish(&mds, BOB, &late).await;
        assert_eq!(ids.told(&mds).await, ["bob@example.org: 3"], "who is late learns how it is");
        assert_eq!(ids.items(&plain).await, ["bob@example.org: 3"]);
    }
    // The order of a room is not known.
    let room = |id: &str| {
        format!(
            "<displayed xmlns='{NS}'><stanza-id xmlns='urn:xmpp:sid:0' by='r@c.example' id='{id}'/></displayed>"
        )
    };
    publish(&mds, "r@c.example", &room("9")).await;
    publish(&mds, "r@c.example", &room("1")).await;
    assert_eq!(ids.told(&mds).await, ["r@c.example: 9", "r@c.example: 1"]);
    for broken in [
        format!("<displayed xmlns='{NS}'/>"),
        "<other xmlns='urn:x'/>".to_owned(),
        ids.payload("3").replace("id='", "nothing='"),
    ] {
        publish(&mds, BOB, &broken).await;
        let taken = mds.take().await;
        assert_eq!(
            taken.iter().filter_map(presence::condition).collect::<Vec<_>>(),
            ["bad-request"],
            "{broken}"
        );
    }
    assert_eq!(ids.items(&mds).await.len(), 2);
}

#[tokio::test]
async fn the_server_assists() {
    let (_world, [mds, markers, _, bob]) = scene().await;
    let mut ids = Ids::default();
    says(&bob, &["1", "2"]).await;
    ids.told(&mds).await;
    markers.take().await;
    bob.take().await;
    let assisted = |body: &str, ids: &Ids| {
        format!(
            "<message to='{BOB}' type='chat' id='a{body}'><displayed xmlns='urn:xmpp:chat-markers:0' id='{body}'/>{}</message>",
            ids.payload(body)
        )
    };
    mds.send(&assisted("2", &ids)).await;
    assert_eq!(ids.told(&mds).await, ["bob@example.org: 2"]);
    mds.send(&assisted("1", &ids)).await;
    assert_eq!(ids.told(&mds).await, ["bob@example.org: 2"]);
    let got = bob.take().await;
    assert_eq!(got.len(), 2);
    for copy in got.iter().chain(&markers.take().await) {
        assert!(!copy.to_string_in(&CLIENT_SCOPE).contains(NS), "§4.5.3");
        assert!(copy.to_string_in(&CLIENT_SCOPE).contains("urn:xmpp:chat-markers:0"));
    }
    // Nothing is kept of it, and the position moves all the same.
    says(&bob, &["3"]).await;
    ids.told(&mds).await;
    let hinted = assisted("3", &ids).replace("</message>", "<no-store xmlns='urn:xmpp:hints'/></message>");
    mds.send(&hinted).await;
    assert_eq!(ids.told(&mds).await, ["bob@example.org: 3"]);
    // A message to a room, and a malformed one.
    let room = ids.payload("3").replace("alice@example.org", "r@c.example");
    mds.send(&format!("<message to='r@c.example' type='groupchat'><body>x</body>{room}</message>")).await;
    assert_eq!(ids.told(&mds).await, ["r@c.example: 3"]);
    mds.send(&format!("<message to='{BOB}' type='chat'><body>x</body><displayed xmlns='{NS}'/></message>"))
        .await;
    assert!(ids.told(&mds).await.is_empty());
}

#[tokio::test]
async fn positions_outlive_a_crash() {
    let (world, [mds, markers, _, bob]) = scene().await;
    let mut ids = Ids::default();
    let all: Vec<String> = (1..=120).map(|n| n.to_string()).collect();
    says(&bob, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    ids.told(&mds).await;
    mark(&markers, "60").await;
    let before = position(&mds);
    assert!(before.is_some());
    let world = world.crash().await;
    let (mds, plain) = (world.online("alice", "mds").await, world.online("alice", "plain").await);
    interest(&mds, &[NS]);
    ids.told(&mds).await;
    assert_eq!(position(&mds), before);
    assert_eq!(ids.items(&mds).await, ["bob@example.org: 60"]);
    // What is not in memory any more is found in the log; what is behind is not even looked for.
    mark(&plain, "30").await;
    mark(&plain, "65").await;
    assert_eq!(ids.told(&mds).await, ["bob@example.org: 65"]);
    plain.take().await;
    plain.say(BOB, "answer").await;
    assert_eq!(ids.told(&mds).await, ["bob@example.org: 120"]);
    assert_eq!(ids.items(&plain).await, ["bob@example.org: 120"]);
}

#[tokio::test]
async fn a_device_that_was_away_answers_for_what_it_had() {
    let (world, [mds, _, plain, bob]) = scene().await;
    let mut ids = Ids::default();
    let (phone, id) = world.managed("alice", "phone").await;
    says(&bob, &["1"]).await;
    assert_eq!(phone.bodies().await, ["1"]);
    phone.acknowledge(1).await;
    phone.lose_connection();
    says(&bob, &["2", "3"]).await;
    ids.told(&mds).await;
    plain.take().await;
    // It comes back with what its user wrote on the way.
    let (_, phone) = world.resume("alice", &id, 1).await;
    let phone = phone.unwrap();
    phone.say(BOB, "from the train").await;
    assert_eq!(ids.told(&mds).await, ["bob@example.org: 1"]);
}

#[tokio::test]
async fn nobody_is_told_of_reading_what_is_not_durable() {
    let (world, [mds, markers, _, bob]) = scene().await;
    let mut ids = Ids::default();
    says(&bob, &["1"]).await;
    ids.told(&mds).await;
    markers.take().await;
    mark(&markers, "1").await;
    ids.told(&mds).await;
    says(&bob, &["2"]).await;
    ids.told(&mds).await;
    world.store.hold();
    mark(&markers, "2").await;
    assert!(ids.told(&mds).await.is_empty());
    world.store.release();
    assert_eq!(ids.told(&mds).await, ["bob@example.org: 2"]);
}

#[tokio::test]
async fn a_node_that_others_read_is_left_alone() {
    let (_world, [mds, markers, _, bob]) = scene().await;
    let mut ids = Ids::default();
    says(&bob, &["1", "2"]).await;
    ids.told(&mds).await;
    let ns = "http://jabber.org/protocol/pubsub";
    let open = options(&[("access_model", "open"), ("max_items", "max")]);
    mds.send(&format!(
        "<iq type='set' id='p'><pubsub xmlns='{ns}'><publish node='{NS}'><item id='{BOB}'>{}</item></publish>{open}\
         </pubsub></iq>",
        ids.payload("1")
    ))
    .await;
    assert_eq!(ids.told(&mds).await, ["bob@example.org: 1"]);
    mark(&markers, "2").await;
    assert!(ids.told(&mds).await.is_empty());
    assert_eq!(position(&mds), mds.hub.position(mds.session.cell.id, ids.of("2")));
}

#[tokio::test]
async fn who_does_not_use_it_has_no_node_for_answers() {
    let world = World::with(&["alice", "bob"]).await;
    let (plain, bob) = (world.online("alice", "plain").await, world.online("bob", "desk").await);
    says(&bob, &["1"]).await;
    plain.take().await;
    plain.say(BOB, "answer").await;
    assert_eq!(position(&plain), None);
    assert!(Ids::default().items(&plain).await.is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_not_looked_for_all_the_time() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    for n in 0..1_000 {
        bob.say("alice@example.org", &format!("{n}")).await;
    }
    alice.take().await;
    let mark = |id: &str| {
        let marker = format!("<displayed xmlns='urn:xmpp:chat-markers:0' id='{id}'/>");
        format!("<message to='{BOB}' type='chat' id='m-{id}'>{marker}</message>")
    };
    let before = world.store.reads();
    alice.send(&mark("x")).await;
    let first = world.store.reads() - before;
    assert!(first >= 20, "{first} reads");
    let before = world.store.reads();
    for _ in 0..20 {
        alice.send(&mark("x")).await;
    }
    assert!(world.store.reads() - before < 20, "it was looked for already");
    let before = world.store.reads();
    for n in 0..30 {
        alice.send(&mark(&format!("y{n}"))).await;
    }
    let reads = world.store.reads() - before;
    assert!(reads < 200, "{reads} reads");
    // What came lately is found all the same, and what is older after a while.
    let position = || displayed(&alice.session.cell.lock(), BOB);
    world.pass(Duration::from_secs(600));
    alice.send(&mark("500")).await;
    let older = position();
    assert!(older.is_some());
    alice.send(&mark("995")).await;
    assert!(position() > older);
}

#[tokio::test]
async fn an_address_that_is_too_long_for_an_item_is_not_assisted() {
    let (_world, [mds, _, _, bob]) = scene().await;
    let mut ids = Ids::default();
    says(&bob, &["1"]).await;
    ids.told(&mds).await;
    for (length, is_moved) in [(1_000, true), (1_001, false)] {
        let to = format!("r@c.example.org.example/{}", "x".repeat(length - 1));
        let payload = ids.payload("1").replace("alice@example.org", "r@c.example");
        mds.send(&format!("<message to='{to}' type='chat'><body>x</body>{payload}</message>")).await;
        let moved = ids.told(&mds).await;
        assert_eq!(moved.len(), usize::from(is_moved), "{}: {moved:?}", to.len());
    }
}

#[tokio::test]
async fn a_malformed_assistance_hides_no_marker() {
    let (_world, [mds, _, _, bob]) = scene().await;
    let mut ids = Ids::default();
    says(&bob, &["1", "2"]).await;
    ids.told(&mds).await;
    let marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='2'/>";
    let twice = ids.payload("1").replace("</displayed>", "<stanza-id xmlns='urn:xmpp:sid:0'/></displayed>");
    mds.send(&format!("<message to='{BOB}' type='chat'>{twice}{marker}</message>")).await;
    assert_eq!(ids.told(&mds).await, ["bob@example.org: 2"]);
}
