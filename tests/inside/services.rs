//! Nodes of a service (XEP-0060): from afar, after a restart; and what one who publishes may cause, be it there or at the
//! own account.

use std::collections::BTreeMap;

use unisono_core::ids::Ticket;
use unisono_core::jid::Jid;
use unisono_core::remote::Route;
use unisono_core::roster::RosterItem;
use unisono_core::storage::{Commit, Journal, Write};
use unisono_core::subscription::{Subscription, SubscriptionState};

use super::nodes::interest;
use super::presence::condition;
use super::*;

const NS: &str = "http://jabber.org/protocol/pubsub";
const NS_EVENT: &str = "http://jabber.org/protocol/pubsub#event";

fn request(id: &str, kind: &str, to: &str, owner: &str, content: &str) -> String {
    format!("<iq type='{kind}' id='{id}' to='{to}'><pubsub xmlns='{NS}{owner}'>{content}</pubsub></iq>")
}

fn item(node: &str, text: &str) -> String {
    format!("<publish node='{node}'><item id='{text}'><p xmlns='urn:x'>{text}</p></item></publish>")
}

/// What a device was told of nodes: the items, `-` before what is deleted, or what else happened.
fn told(elements: &[Element]) -> Vec<String> {
    let contents = elements.iter().filter_map(|message| message.child("event", NS_EVENT)?.first_child());
    let texts = contents.map(|content| {
        let Some(first) = content.first_child() else { return content.name().to_owned() };
        let mark = if first.name() == "retract" { "-" } else { "" };
        format!("{mark}{}", first.attr("id").unwrap_or(first.name()))
    });
    texts.collect()
}

/// Asks the service, or an account. The condition of the error, if it was refused.
async fn ask(device: &Device, to: &str, owner: &str, content: &str) -> Option<String> {
    device.send(&request("n", "set", to, owner, content)).await;
    let taken = device.take().await;
    condition(taken.iter().find(|element| element.name() == "iq").expect("an answer"))
}

const SERVICE: &str = "pubsub.example.org";

#[tokio::test]
async fn nodes_of_a_service_outlive_a_crash() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    assert_eq!(ask(&alice, SERVICE, "", "<create node='n'/>").await, None);
    assert_eq!(ask(&bob, SERVICE, "", "<subscribe node='n' jid='bob@example.org'/>").await, None);
    assert_eq!(ask(&alice, SERVICE, "", &item("n", "1")).await, None);
    assert_eq!(told(&bob.take().await), ["1"]);
    let names = world.store.list(None, 9).await.unwrap();
    assert_eq!(names.len(), 2, "a service is nobody's account: {names:?}");

    let world = world.crash().await;
    let (alice, bob) = (world.online("alice", "phone").await, world.bind("bob", "desk").await);
    bob.send("<presence/>").await;
    assert_eq!(told(&bob.take().await), ["1"], "the last item for who comes");
    assert_eq!(ask(&alice, SERVICE, "", &item("n", "2")).await, None, "she owns it still");
    assert_eq!(told(&bob.take().await), ["2"]);
    assert_eq!(ask(&bob, SERVICE, "", &item("n", "3")).await.as_deref(), Some("forbidden"));
}

/// The way to a component that keeps what it is sent, unless it is full.
#[derive(Default)]
struct Kept(Mutex<Vec<Element>>, std::sync::atomic::AtomicBool);

impl Route for Kept {
    fn send(&self, stanza: &Element, _: Ticket) -> bool {
        let has_room = self.has_room();
        if has_room {
            self.0.lock().unwrap().push(stanza.clone());
        }
        has_room
    }

    fn has_room(&self) -> bool {
        !self.1.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn is_of_house(&self) -> bool {
        true
    }
}

impl Kept {
    fn be_full(&self, is_full: bool) {
        self.1.store(is_full, std::sync::atomic::Ordering::Relaxed);
    }

    fn take(&self) -> Vec<Element> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn from_afar(world: &World, text: &str) {
    let element = Element::parse(text, &CLIENT_SCOPE, &Limits::default()).unwrap();
    let from: Jid = element.attr("from").unwrap().parse().unwrap();
    world.hub.receive_from_afar(&element, from).await;
}

#[tokio::test]
async fn a_service_serves_other_domains() {
    let world = World::with(&["alice"]).await;
    let afar = Arc::new(Kept::default());
    assert!(world.hub.routes.open("plays.example.org", afar.clone()));
    let alice = world.online("alice", "phone").await;
    let of_bot = |id: &str, content: &str| {
        request(id, "set", SERVICE, "", content).replacen("<iq ", "<iq from='bot@plays.example.org/x' ", 1)
    };
    from_afar(&world, &of_bot("c", "<create node='b'/>")).await;
    assert_eq!(condition(&afar.take()[0]).as_deref(), Some("forbidden"), "only users make nodes");
    assert_eq!(ask(&alice, SERVICE, "", &item("n", "1")).await, None);
    from_afar(&world, &of_bot("s", "<subscribe node='n' jid='bot@plays.example.org'/>")).await;
    let got = afar.take();
    assert_eq!(told(&got), ["1"], "§6.1.7");
    assert_eq!(got.iter().find(|one| one.name() == "iq").and_then(|iq| iq.attr("type")), Some("result"));
    assert_eq!(ask(&alice, SERVICE, "", &item("n", "2")).await, None);
    let got = afar.take();
    assert_eq!(told(&got), ["2"]);
    assert_eq!(got[0].attr("to"), Some("bot@plays.example.org"));
    // Who is kept out is told nothing, and of an account that keeps somebody out neither.
    let ban = "<affiliations node='n'><affiliation jid='bot@plays.example.org' affiliation='outcast'/></affiliations>";
    assert_eq!(ask(&alice, SERVICE, "#owner", ban).await, None);
    afar.take();
    assert_eq!(ask(&alice, SERVICE, "", &item("n", "3")).await, None);
    assert_eq!(afar.take(), [] as [Element; 0]);
    // An owner from afar is asked, and answers.
    let bot = "<affiliations node='q'><affiliation jid='bot@plays.example.org' affiliation='owner'/></affiliations>";
    let model = "<create node='q'/><configure><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
        <value>http://jabber.org/protocol/pubsub#node_config</value></field><field var='pubsub#access_model'>\
        <value>authorize</value></field></x></configure>";
    assert_eq!(ask(&alice, SERVICE, "", model).await, None);
    assert_eq!(ask(&alice, SERVICE, "#owner", bot).await, None);
    let eve = world.online_as_new("eve", "desk").await;
    assert_eq!(ask(&eve, SERVICE, "", "<subscribe node='q' jid='eve@example.org'/>").await, None);
    let asked = afar.take();
    assert_eq!(asked.iter().filter(|one| one.has_child("x", "jabber:x:data")).count(), 1);
    from_afar(
        &world,
        "<message from='bot@plays.example.org/x' to='pubsub.example.org'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#subscribe_authorization</value></field>\
         <field var='pubsub#node'><value>q</value></field><field var='pubsub#subscriber_jid'>\
         <value>eve@example.org</value></field><field var='pubsub#allow'><value>1</value></field></x></message>",
    )
    .await;
    assert_eq!(told(&eve.take().await), ["subscription"]);
    // The component is found below the domain, as the service is.
    alice.send("<iq type='get' id='d' to='example.org'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>").await;
    let taken = alice.take().await;
    let items =
        taken.iter().find_map(|iq| iq.child("query", "http://jabber.org/protocol/disco#items")).unwrap();
    let found: Vec<_> = items.children().filter_map(|item| item.attr("jid")).collect();
    assert_eq!(found, [SERVICE, "plays.example.org"]);
}

/// An account with so many contacts, each of them there once, and interested.
async fn with_watchers(count: usize) -> (World, Device, Vec<Device>) {
    let names: Vec<_> = (0..count).map(|n| format!("w{n}")).collect();
    let mut all: Vec<_> = names.iter().map(String::as_str).collect();
    all.push("alice");
    let world = World::with(&all).await;
    let account = world.store.summary(&jid("alice")).await.unwrap().unwrap().id;
    let writes = names.iter().map(|name| {
        let state = SubscriptionState { subscription: Subscription::From, ..SubscriptionState::default() };
        Write::RosterItem { account, item: RosterItem { state, ..RosterItem::new(jid(name)) } }
    });
    world.store.submit(Commit { writes: writes.collect(), wake: Vec::new() });
    let mut watchers = Vec::new();
    for name in &names {
        let device = world.bind(name, "d").await;
        device.send("<presence/>").await;
        interest(&device, &["urn:x"]);
        device.take().await;
        watchers.push(device);
    }
    let alice = world.online("alice", "phone").await;
    (world, alice, watchers)
}

/// THREATS, amplification: one account, 5,000 contacts, 100 publications in a second.
#[tokio::test]
async fn one_who_publishes_does_not_flood_the_rest() {
    let (world, alice, watchers) = with_watchers(5_000).await;
    interest(&alice, &["urn:x"]);
    alice.take().await;
    let mut own = Vec::new();
    for n in 1..=100 {
        alice.send(&request("p", "set", "alice@example.org", "", &item("urn:x", &n.to_string()))).await;
        let taken = alice.take().await;
        assert!(taken.iter().any(|one| one.attr("type") == Some("result")), "each is accepted and stored");
        own.extend(told(&taken));
    }
    assert_eq!(own.len(), 100, "the own devices have the same state at once");
    let mut copies = 0;
    for watcher in &watchers {
        copies += told(&watcher.take().await).len();
    }
    assert_eq!(copies, 5_000, "of 500,000");
    for _ in 0..10 {
        world.pass(Duration::from_secs(1));
    }
    for watcher in &watchers {
        assert_eq!(told(&watcher.take().await), ["100"], "the last item of the node, once");
    }
}

#[tokio::test]
async fn what_waits_is_told_in_order_and_before_the_server_stops() {
    let (world, alice, watchers) = with_watchers(1_500).await;
    let options = super::nodes::options(&[("max_items", "10"), ("notify_retract", "1")]);
    let publish = |node: &'static str, text: &'static str| item(node, text) + &options;
    assert_eq!(ask(&alice, "alice@example.org", "", &publish("urn:x", "1")).await, None);
    assert_eq!(told(&watchers[0].take().await), ["1"]);
    // Two cost what may be caused in a second and a half; what comes now waits.
    for text in ["2", "3", "4"] {
        assert_eq!(ask(&alice, "alice@example.org", "", &publish("urn:x", text)).await, None);
    }
    let retract = "<retract node='urn:x' notify='1'><item id='3'/></retract>";
    assert_eq!(ask(&alice, "alice@example.org", "", retract).await, None);
    assert_eq!(ask(&alice, "alice@example.org", "", &publish("urn:x", "5")).await, None);
    assert_eq!(told(&watchers[0].take().await), [""; 0]);
    world.pass(Duration::from_secs(5));
    assert_eq!(told(&watchers[0].take().await), ["-3", "5"]);
    // Where the node goes, nothing else matters.
    assert_eq!(ask(&alice, "alice@example.org", "", &publish("urn:x", "6")).await, None);
    assert_eq!(ask(&alice, "alice@example.org", "#owner", "<delete node='urn:x'/>").await, None);
    let mut got = told(&watchers[0].take().await);
    world.hub.save().await;
    got.extend(told(&watchers[0].take().await));
    assert_eq!(got, ["delete"]);
}

/// A node that nobody else reads costs nothing: nobody is even looked at.
#[tokio::test]
async fn what_is_private_takes_nothing_of_the_budget() {
    let (_world, alice, watchers) = with_watchers(1_500).await;
    let private = super::nodes::options(&[("access_model", "whitelist")]);
    for text in ["1", "2", "3", "4"] {
        let published = ask(&alice, "alice@example.org", "", &(item("urn:y", text) + &private)).await;
        assert_eq!(published, None);
    }
    assert_eq!(ask(&alice, "alice@example.org", "", &item("urn:x", "a")).await, None);
    assert_eq!(told(&watchers[0].take().await), ["a"]);
}

/// Each pays for what it causes itself.
#[tokio::test]
async fn a_budget_is_that_of_who_publishes() {
    let (world, alice, watchers) = with_watchers(1_500).await;
    for text in ["1", "2"] {
        assert_eq!(ask(&alice, "alice@example.org", "", &item("urn:x", text)).await, None);
    }
    let (first, second) = (&watchers[0], &watchers[1]);
    assert_eq!(ask(first, SERVICE, "", "<create node='n'/>").await, None);
    assert_eq!(ask(second, SERVICE, "", "<subscribe node='n' jid='w1@example.org'/>").await, None);
    second.take().await;
    assert_eq!(ask(first, SERVICE, "", &item("n", "a")).await, None);
    assert_eq!(told(&second.take().await), ["a"]);
    let mut got = BTreeMap::new();
    world.pass(Duration::from_secs(9));
    for text in told(&second.take().await) {
        *got.entry(text).or_insert(0) += 1;
    }
    assert_eq!(got, BTreeMap::from([("2".to_owned(), 1)]));
}

fn of_node(node: &str, name: &str, value: &str) -> String {
    format!(
        "<create node='{node}'/><configure><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>http://jabber.org/protocol/pubsub#node_config</value></field><field var='pubsub#{name}'>\
         <value>{value}</value></field></x></configure>"
    )
}

fn owner(node: &str, who: &str) -> String {
    let jid = format!("<affiliation jid='{who}@example.org' affiliation='owner'/>");
    format!("<affiliations node='{node}'>{jid}</affiliations>")
}

fn questions(elements: &[Element]) -> usize {
    elements.iter().filter(|one| one.name() == "message" && one.has_child("x", "jabber:x:data")).count()
}

/// Who subscribes pays for what owners are told of it, as who publishes does. Those who are not asked now are when they
/// come.
#[tokio::test]
async fn what_owners_are_told_is_paid_for() {
    let (world, alice, watchers) = with_watchers(1_500).await;
    let first = &watchers[0];
    assert_eq!(ask(first, SERVICE, "", &of_node("n", "notify_sub", "1")).await, None);
    assert_eq!(ask(first, SERVICE, "", &of_node("q", "access_model", "authorize")).await, None);
    let subscribe = |node: &str| format!("<subscribe node='{node}' jid='alice@example.org'/>");
    let unsubscribe = "<unsubscribe node='n' jid='alice@example.org'/>";
    assert_eq!(ask(&alice, SERVICE, "", &subscribe("n")).await, None);
    assert_eq!(told(&first.take().await), ["subscription"]);
    assert_eq!(ask(&alice, "alice@example.org", "", &item("urn:x", "1")).await, None);
    assert_eq!(told(&first.take().await), ["1"]);
    assert_eq!(ask(&alice, SERVICE, "", unsubscribe).await, None);
    assert_eq!(ask(&alice, SERVICE, "", &subscribe("q")).await, None);
    assert_eq!(first.take().await, [] as [Element; 0], "she has caused too much");
    world.pass(Duration::from_secs(9));
    assert_eq!(ask(&alice, SERVICE, "", &subscribe("n")).await, None);
    assert_eq!(told(&first.take().await), ["subscription"]);
    let again = world.bind("w0", "e").await;
    again.send("<presence/>").await;
    assert_eq!(questions(&again.take().await), 1, "who waits is told of to who comes");
}

/// And so is what owners tell subscribers of their subscriptions.
#[tokio::test]
async fn what_subscribers_are_told_is_paid_for() {
    let (world, alice, watchers) = with_watchers(1_500).await;
    let first = &watchers[0];
    assert_eq!(ask(&alice, SERVICE, "", &of_node("n", "max_items", "2")).await, None);
    assert_eq!(ask(&alice, "alice@example.org", "", &item("urn:x", "1")).await, None);
    for (pause, want) in [(0, &[] as &[&str]), (9, &["subscription"])] {
        assert_eq!(ask(first, SERVICE, "", "<subscribe node='n' jid='w0@example.org'/>").await, None);
        world.pass(Duration::from_secs(pause));
        first.take().await;
        let end = "<subscriptions node='n'><subscription jid='w0@example.org' subscription='none'/></subscriptions>";
        assert_eq!(ask(&alice, SERVICE, "#owner", end).await, None);
        assert_eq!(told(&first.take().await), want);
    }
}

#[tokio::test]
async fn a_node_has_few_owners() {
    let world = World::with(&["alice"]).await;
    let alice = world.online("alice", "phone").await;
    assert_eq!(ask(&alice, SERVICE, "", "<create node='n'/>").await, None);
    for n in 1..20 {
        assert_eq!(ask(&alice, SERVICE, "#owner", &owner("n", &format!("o{n}"))).await, None);
    }
    let more = ask(&alice, SERVICE, "#owner", &owner("n", "o20")).await;
    assert_eq!(more.as_deref(), Some("resource-constraint"));
    assert_eq!(ask(&alice, SERVICE, "#owner", &owner("n", "o1")).await, None, "what is so may stay so");
}

/// What is gone is not told of later, be it that nobody is told of its end; and what is told later is told to those who may
/// know it then.
#[tokio::test]
async fn what_waits_ends_with_what_ends_it() {
    let (world, alice, watchers) = with_watchers(1_500).await;
    let first = &watchers[0];
    let account = "alice@example.org";
    let silent = super::nodes::options(&[
        ("notify_retract", "0"),
        ("notify_delete", "0"),
        ("max_items", "5"),
        ("persist_items", "1"),
    ]);
    let publish = |text: &str| item("urn:x", text) + &silent;
    for (owner, end) in [
        ("", "<retract node='urn:x'><item id='b'/></retract>"),
        ("#owner", "<purge node='urn:x'/>"),
        ("#owner", "<delete node='urn:x'/>"),
    ] {
        assert_eq!(ask(&alice, account, "", &publish("a")).await, None);
        assert_eq!(told(&first.take().await), ["a"]);
        assert_eq!(ask(&alice, account, "", &publish("b")).await, None);
        assert_eq!(ask(&alice, account, owner, end).await, None);
        world.pass(Duration::from_secs(9));
        assert_eq!(told(&first.take().await), [""; 0], "{end}");
    }
    assert_eq!(ask(&alice, account, "", &publish("a")).await, None);
    assert_eq!(told(&first.take().await), ["a"]);
    assert_eq!(ask(&alice, account, "", &publish("b")).await, None);
    let closed = "<configure node='urn:x'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
        <value>http://jabber.org/protocol/pubsub#node_config</value></field><field var='pubsub#access_model'>\
        <value>whitelist</value></field></x></configure>";
    assert_eq!(ask(&alice, account, "#owner", closed).await, None);
    world.pass(Duration::from_secs(9));
    assert_eq!(told(&first.take().await), [""; 0], "she does not show it any more");
}

/// What there is no room for on the way to a component waits for that, in order, and others do not wait for it.
#[tokio::test]
async fn what_a_component_has_no_room_for_waits() {
    let world = World::with(&["alice", "bob"]).await;
    let afar = Arc::new(Kept::default());
    assert!(world.hub.routes.open("plays.example.org", afar.clone()));
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    let create = of_node("n", "max_items", "9")
        .replace("</x>", "<field var='pubsub#notify_retract'><value>1</value></field></x>");
    assert_eq!(ask(&alice, SERVICE, "", &create).await, None);
    assert_eq!(ask(&bob, SERVICE, "", "<subscribe node='n' jid='bob@example.org'/>").await, None);
    for name in ["bot", "other"] {
        let subscribe = format!("<subscribe node='n' jid='{name}@plays.example.org'/>");
        let from = format!("<iq from='{name}@plays.example.org/x' ");
        from_afar(&world, &request("s", "set", SERVICE, "", &subscribe).replacen("<iq ", &from, 1)).await;
    }
    afar.take();
    for (is_full, text, want) in [(false, "1", &["1", "1"] as &[&str]), (true, "2", &[]), (false, "3", &[])] {
        afar.be_full(is_full);
        assert_eq!(ask(&alice, SERVICE, "", &item("n", text)).await, None);
        assert_eq!(told(&bob.take().await), [text]);
        assert_eq!(told(&afar.take()), want, "{text}");
    }
    let retract = "<retract node='n' notify='1'><item id='1'/></retract>";
    assert_eq!(ask(&alice, SERVICE, "", retract).await, None);
    world.pass(Duration::from_secs(1));
    assert_eq!(told(&afar.take()), ["3", "-1", "3", "-1"], "the last of it, behind one another");
    assert_eq!(ask(&alice, SERVICE, "", &item("n", "4")).await, None);
    assert_eq!(told(&afar.take()), ["4", "4"]);
}
