//! What there is of nodes is told in portions, so that it keeps no device out, however much it is.

use super::nodes::{befriend, interest, options};
use super::*;

const NS: &str = "http://jabber.org/protocol/pubsub";
const NS_EVENT: &str = "http://jabber.org/protocol/pubsub#event";
/// What an outbox may hold here.
const ROOM: usize = 4 * 1024 * 1024;

fn publication(node: &str, id: &str, letters: usize, more: &str) -> String {
    let text = "x".repeat(letters);
    let item = format!("<publish node='{node}'><item id='{id}'><p xmlns='urn:x'>{text}</p></item></publish>");
    format!("<pubsub xmlns='{NS}'>{item}{more}</pubsub>")
}

async fn ask(device: &Device, to: &str, payload: &str) {
    device.send(&format!("<iq type='set' id='n' to='{to}'>{payload}</iq>")).await;
    let answer = device.take().await.into_iter().find(|element| element.name() == "iq").expect("an answer");
    assert_eq!(answer.attr("type"), Some("result"), "{answer:?}");
}

fn told(elements: &[Element]) -> Vec<String> {
    let contents = elements.iter().filter_map(|message| message.child("event", NS_EVENT)?.first_child());
    let told = contents.filter_map(|content| {
        Some(format!("{}/{}", content.attr("node")?, content.first_child()?.attr("id")?))
    });
    told.collect()
}

/// How often a connection was woken.
#[derive(Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A device that acknowledges what it gets, and was not there before.
async fn comes(world: &World, name: &str, resource: &str) -> (Device, Arc<Woken>) {
    let woken = Arc::new(Woken::default());
    let connection = Connection { wake: woken.clone(), ..world.connection() };
    let session = world.hub.bind(&jid(name), Some(resource), connection).await.unwrap();
    let device = Device { hub: world.hub.clone(), session };
    device.nonza("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    device.send("<presence/>").await;
    (device, woken)
}

/// What a device is told that acknowledges everything whenever nothing more comes. It never has more waiting than there is
/// room for, and learns that there is more.
async fn portions((device, woken): &(Device, Arc<Woken>)) -> Vec<Vec<String>> {
    let (mut portions, mut handled) = (Vec::new(), 0);
    loop {
        let taken = device.take().await;
        let stanzas: Vec<_> = taken.into_iter().filter(|element| element.ns() == "jabber:client").collect();
        if stanzas.is_empty() {
            return portions;
        }
        let bytes: usize = stanzas.iter().map(|element| element.to_string_in(&CLIENT_SCOPE).len()).sum();
        assert!(bytes < ROOM / 2, "{bytes} at once");
        portions.push(told(&stanzas));
        handled += u32::try_from(stanzas.len()).unwrap();
        woken.0.store(0, Ordering::Relaxed);
        device.acknowledge(handled).await;
        let is_full = bytes >= ROOM / 4;
        assert!(woken.0.load(Ordering::Relaxed) > 0 || !is_full, "it goes on when there is room again");
    }
}

fn nodes(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("urn:x:{n:02}")).collect()
}

fn as_strs(nodes: &[String]) -> Vec<&str> {
    nodes.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn large_items_of_contacts_keep_no_device_out() {
    let world = World::with(&["alice", "carol", "bob"]).await;
    let nodes = nodes(15);
    for name in ["alice", "carol"] {
        let (contact, bob) = (world.online(name, "phone").await, world.online("bob", "phone").await);
        befriend(&contact, &bob).await;
        for node in &nodes {
            ask(&contact, &format!("{name}@example.org"), &publication(node, "1", 190_000, "")).await;
        }
        world.hub.end(&bob.session.cell, bob.session.id);
    }
    let bob = comes(&world, "bob", "desk").await;
    interest(&bob.0, &as_strs(&nodes));
    let portions = portions(&bob).await;
    assert!(portions.len() > 3, "{portions:?}");
    let once: Vec<_> = nodes.iter().map(|node| format!("{node}/1")).collect();
    assert_eq!(portions.concat(), [once.clone(), once].concat(), "of each, in order, once");
}

#[tokio::test]
async fn what_a_device_missed_of_one_node_comes_in_portions() {
    let world = World::with(&["alice"]).await;
    let laptop = world.online("alice", "laptop").await;
    laptop.say("alice@example.org", "hello").await;
    laptop.take().await;
    world.hub.end(&laptop.session.cell, laptop.session.id);
    let phone = world.online("alice", "phone").await;
    let many = options(&[("max_items", "60")]);
    let ids: Vec<_> = (0..60).map(|n| format!("{n}")).collect();
    for id in &ids {
        ask(&phone, "alice@example.org", &publication("urn:x", id, 60_000, &many)).await;
    }
    let laptop = comes(&world, "alice", "laptop").await;
    interest(&laptop.0, &["urn:x"]);
    let mut told = portions(&laptop).await.concat();
    told.retain(|told| told.starts_with("urn:x"));
    let want: Vec<_> = ids[10..].iter().map(|id| format!("urn:x/{id}")).collect();
    assert_eq!(told, want, "the newest fifty");
}

#[tokio::test]
async fn large_items_of_a_service_keep_no_device_out() {
    let world = World::with(&["alice", "bob"]).await;
    let service = "pubsub.example.org";
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "phone").await);
    let nodes = nodes(25);
    for node in &nodes {
        ask(&alice, service, &publication(node, "1", 190_000, "")).await;
        let subscribe = format!("<subscribe node='{node}' jid='bob@example.org'/>");
        ask(&bob, service, &format!("<pubsub xmlns='{NS}'>{subscribe}</pubsub>")).await;
    }
    world.hub.end(&bob.session.cell, bob.session.id);
    let told = portions(&comes(&world, "bob", "desk").await).await.concat();
    assert_eq!(told, nodes.iter().map(|node| format!("{node}/1")).collect::<Vec<_>>());
}
