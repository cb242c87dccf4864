//! Nodes of accounts (XEP-0060, XEP-0163): who is told what, in which order, and what is there afterwards.

use super::presence::condition;
use super::*;

const NS: &str = "http://jabber.org/protocol/pubsub";
const NS_EVENT: &str = "http://jabber.org/protocol/pubsub#event";

/// The answer among what a device has to take, and the events beside it, each as `node: item item`.
async fn ask(device: &Device, kind: &str, to: &str, owner: &str, content: &str) -> (Element, Vec<String>) {
    let ns = format!("{NS}{owner}");
    let to = if to.is_empty() { String::new() } else { format!(" to='{to}@example.org'") };
    device.send(&format!("<iq type='{kind}' id='n'{to}><pubsub xmlns='{ns}'>{content}</pubsub></iq>")).await;
    let taken = device.take().await;
    let answer = taken.iter().find(|element| element.name() == "iq").expect("an answer").clone();
    (answer, taken.iter().filter_map(event).collect())
}

/// An event: the node, and what happened to which items.
fn event(message: &Element) -> Option<String> {
    let content = message.child("event", NS_EVENT)?.first_child()?;
    let items = content.children().map(|item| {
        let payload = item.first_child().map(|payload| format!("={}", payload.text())).unwrap_or_default();
        let mark = if item.name() == "retract" { "-" } else { "" };
        format!(" {mark}{}{payload}", item.attr("id").unwrap_or_default())
    });
    let name = if content.name() == "items" { String::new() } else { format!("{} ", content.name()) };
    Some(format!("{name}{}:{}", content.attr("node").unwrap_or_default(), items.collect::<String>()))
}

async fn events(device: &Device) -> Vec<String> {
    device.take().await.iter().filter_map(event).collect()
}

pub(super) fn options(options: &[(&str, &str)]) -> String {
    let fields = options
        .iter()
        .map(|(name, value)| format!("<field var='pubsub#{name}'><value>{value}</value></field>"));
    format!(
        "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>{NS}#publish-options</value></field>{}</x></publish-options>",
        fields.collect::<String>()
    )
}

fn item(node: &str, id: &str, text: &str) -> String {
    format!("<publish node='{node}'><item id='{id}'><p xmlns='urn:x'>{text}</p></item></publish>")
}

/// Publishes; the condition of the error, if it was refused.
async fn publish(device: &Device, node: &str, id: &str, text: &str, more: &str) -> Option<String> {
    let (answer, _) = ask(device, "set", "", "", &(item(node, id, text) + more)).await;
    condition(&answer)
}

/// The items of somebody's node, as `id=text`, or the condition of the error.
async fn items(device: &Device, whose: &str, node: &str) -> Result<Vec<String>, String> {
    let (answer, _) = ask(device, "get", whose, "", &format!("<items node='{node}'/>")).await;
    if let Some(condition) = condition(&answer) {
        return Err(condition);
    }
    let items = answer.child("pubsub", NS).unwrap().child("items", NS).unwrap();
    let text = |item: &Element| item.first_child().map(|p| p.text().into_owned()).unwrap_or_default();
    Ok(items.children().map(|item| format!("{}={}", item.attr("id").unwrap(), text(item))).collect())
}

/// What the device's capabilities would say.
pub(super) fn interest(device: &Device, nodes: &[&str]) {
    let list = device.hub.interest_list(nodes.iter().map(|node| (*node).into()).collect());
    let mut account = device.session.cell.lock();
    account.session_mut(device.session.id).unwrap().set_interests(list);
}

pub(super) async fn befriend(a: &Device, b: &Device) {
    let (of_a, of_b) = (&a.session.cell.jid, &b.session.cell.jid);
    a.send(&format!("<presence type='subscribe' to='{of_b}'/>")).await;
    b.send(&format!("<presence type='subscribed' to='{of_a}'/>")).await;
    b.send(&format!("<presence type='subscribe' to='{of_a}'/>")).await;
    a.send(&format!("<presence type='subscribed' to='{of_b}'/>")).await;
    a.take().await;
    b.take().await;
}

#[tokio::test]
async fn who_is_interested_is_told_on_all_devices_of_both() {
    let world = World::with(&["alice", "bob", "eve"]).await;
    let phone = world.online("alice", "phone").await;
    let laptop = world.online("alice", "laptop").await;
    let bob = world.online("bob", "desk").await;
    let eve = world.online("eve", "desk").await;
    befriend(&phone, &bob).await;
    laptop.take().await;
    for device in [&phone, &laptop, &bob, &eve] {
        interest(device, &["urn:x"]);
        device.take().await;
    }
    let (_, own) = ask(&phone, "set", "", "", &item("urn:x", "1", "a")).await;
    assert_eq!(own, ["urn:x: 1=a"], "the one that published, too");
    assert_eq!(events(&laptop).await, ["urn:x: 1=a"]);
    let told = bob.take().await;
    assert_eq!(told.iter().filter_map(event).collect::<Vec<_>>(), ["urn:x: 1=a"]);
    let message = told.iter().find(|element| element.name() == "message").unwrap();
    assert_eq!(
        (message.attr("from"), message.attr("to"), message.attr("type")),
        (Some("alice@example.org"), Some("bob@example.org/desk"), Some("headline"))
    );
    assert_eq!(events(&eve).await, [""; 0], "presence is not for everybody");
    // Nobody is told who does not want it.
    interest(&bob, &["urn:y"]);
    publish(&phone, "urn:x", "1", "b", "").await;
    assert_eq!(events(&bob).await, [""; 0]);
}

#[tokio::test]
async fn who_is_blocked_is_told_nothing() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    befriend(&alice, &bob).await;
    interest(&bob, &["urn:x"]);
    let block = |who| {
        format!(
            "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{who}@example.org'/></block></iq>"
        )
    };
    alice.send(&block("bob")).await;
    publish(&alice, "urn:x", "1", "a", "").await;
    assert_eq!(events(&bob).await, [""; 0]);
    alice.send("<iq type='set' id='b'><unblock xmlns='urn:xmpp:blocking'/></iq>").await;
    bob.send(&block("alice")).await;
    publish(&alice, "urn:x", "1", "b", "").await;
    assert_eq!(events(&bob).await, [""; 0]);
}

#[tokio::test]
async fn nobody_is_told_what_is_not_durable() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    befriend(&alice, &bob).await;
    interest(&bob, &["urn:x"]);
    bob.take().await;
    world.store.hold();
    alice
        .send(&format!(
            "<iq type='set' id='n'><pubsub xmlns='{NS}'>{}</pubsub></iq>",
            item("urn:x", "1", "a")
        ))
        .await;
    assert!(alice.take().await.is_empty());
    assert_eq!(events(&bob).await, [""; 0]);
    world.store.release();
    assert_eq!(alice.take().await.len(), 1);
    assert_eq!(events(&bob).await, ["urn:x: 1=a"]);
}

#[tokio::test]
async fn nodes_and_items_outlive_a_crash() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    let all = options(&[("max_items", "3"), ("access_model", "open")]);
    for n in 1..=4 {
        assert_eq!(publish(&alice, "urn:x", &n.to_string(), "a", &all).await, None);
    }
    let subscribe = "<subscribe node='urn:x' jid='bob@example.org'/>";
    let (answer, _) = ask(&bob, "set", "alice", "", subscribe).await;
    assert_eq!(condition(&answer), None);
    assert_eq!(items(&bob, "alice", "urn:x").await.unwrap(), ["2=a", "3=a", "4=a"]);
    let world = world.crash().await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    assert_eq!(items(&bob, "alice", "urn:x").await.unwrap(), ["2=a", "3=a", "4=a"]);
    // What is there is known again, so the oldest goes and the rest stays, and who has subscribed is told.
    assert_eq!(publish(&alice, "urn:x", "3", "b", &all).await, None);
    assert_eq!(publish(&alice, "urn:x", "5", "b", &all).await, None);
    assert_eq!(items(&bob, "alice", "urn:x").await.unwrap(), ["4=a", "3=b", "5=b"]);
    let other = options(&[("access_model", "presence")]);
    assert_eq!(publish(&alice, "urn:x", "6", "c", &other).await.as_deref(), Some("conflict"));
    assert_eq!(items(&alice, "", "urn:x").await.unwrap().len(), 3, "nothing has changed");
    publish(&alice, "urn:x", "5", "c", &all).await;
    assert_eq!(events(&bob).await, ["urn:x: 5=c"]);
}

#[tokio::test]
async fn a_device_that_comes_is_sent_the_last_item_and_what_it_missed() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    befriend(&alice, &bob).await;
    publish(&alice, "urn:x", "1", "a", "").await;
    let many = options(&[("max_items", "10")]);
    publish(&alice, "urn:many", "1", "a", &many).await;
    interest(&bob, &["urn:many", "urn:x"]);
    let came = bob.take().await;
    assert_eq!(came.iter().filter_map(event).collect::<Vec<_>>(), ["urn:many: 1=a", "urn:x: 1=a"]);
    assert!(came.iter().all(|message| message.has_child("delay", "urn:xmpp:delay")));
    // A device of the own account was there, left, and comes back.
    let laptop = world.online("alice", "laptop").await;
    bob.say("alice@example.org", "hello").await;
    laptop.take().await;
    world.hub.end(&laptop.session.cell, laptop.session.id);
    for n in 2..=4 {
        publish(&alice, "urn:many", &n.to_string(), "b", &many).await;
    }
    let laptop = world.online("alice", "laptop").await;
    interest(&laptop, &["urn:many"]);
    assert_eq!(events(&laptop).await, ["urn:many: 2=b", "urn:many: 3=b", "urn:many: 4=b"]);
    // A new one gets the last item only.
    let tablet = world.online("alice", "tablet").await;
    interest(&tablet, &["urn:many"]);
    assert_eq!(events(&tablet).await.last().map(String::as_str), Some("urn:many: 4=b"));
}

#[tokio::test]
async fn items_do_not_make_a_log_look_longer() {
    let world = World::with(&["alice", "bob"]).await;
    let bob = world.online("bob", "desk").await;
    let (phone, id) = world.managed("alice", "phone").await;
    bob.say("alice@example.org", "1").await;
    assert_eq!(phone.bodies().await, ["1"]);
    phone.send("<presence type='unavailable'/>").await;
    publish(&phone, "urn:x", "1", "a", "").await;
    // Who has all of the log goes on getting copies, though it has no presence, and after a restart as well.
    let laptop = world.online("alice", "laptop").await;
    laptop.say("bob@example.org", "2").await;
    assert_eq!(phone.bodies().await, [">2"]);
    publish(&phone, "urn:x", "2", "a", "").await;
    phone.take().await;
    let counted = world.restart().await;
    let (reply, phone) = counted.resume("alice", &id, 0).await;
    let phone = phone.unwrap_or_else(|| panic!("not resumed: {:?}", reply.write));
    phone.take().await;
    let laptop = counted.online("alice", "laptop").await;
    laptop.say("bob@example.org", "3").await;
    assert_eq!(phone.bodies().await, [">3"]);
}

#[tokio::test]
async fn a_resumed_device_gets_what_it_missed_once() {
    let world = World::with(&["alice", "bob"]).await;
    let alice = world.online("alice", "laptop").await;
    let (phone, id) = world.managed("alice", "phone").await;
    interest(&phone, &["urn:x"]);
    phone.take().await;
    phone.lose_connection();
    publish(&alice, "urn:x", "1", "<&'\">".replace('<', "&lt;").replace('&', "&amp;").as_str(), "").await;
    let world = world.restart().await;
    let (_, phone) = world.resume("alice", &id, 0).await;
    let got = events(&phone.unwrap()).await;
    assert_eq!(got.len(), 1, "{got:?}");
}

#[tokio::test]
async fn a_phone_that_sleeps_gets_the_newest_of_each_item_when_it_looks() {
    let world = World::with(&["alice"]).await;
    let alice = world.online("alice", "laptop").await;
    let phone = world.online("alice", "phone").await;
    interest(&phone, &["urn:many", "urn:x"]);
    phone.take().await;
    phone.nonza("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    let many = options(&[("max_items", "10")]);
    for (id, text) in [("1", "a"), ("2", "a"), ("1", "b")] {
        publish(&alice, "urn:many", id, text, &many).await;
        publish(&alice, "urn:x", id, text, "").await;
    }
    assert_eq!(events(&phone).await, [""; 0]);
    phone.nonza("<active xmlns='urn:xmpp:csi:0'/>").await;
    assert_eq!(events(&phone).await, ["urn:many: 2=a", "urn:many: 1=b", "urn:x: 1=b"]);
}

#[tokio::test]
async fn a_stranger_learns_nothing_that_is_not_open() {
    let world = World::with(&["alice", "eve"]).await;
    let (alice, eve) = (world.online("alice", "phone").await, world.online("eve", "desk").await);
    publish(&alice, "urn:closed", "1", "a", "").await;
    publish(&alice, "urn:open", "1", "a", &options(&[("access_model", "open")])).await;
    let requests = [
        ("get", "", "<items node='urn:closed'/>"),
        ("get", "", "<items node='urn:none'/>"),
        ("get", "", "<items/>"),
        ("get", "", "<subscriptions/>"),
        ("get", "", "<affiliations/>"),
        ("get", "", "<default/>"),
        ("get", "", "<options node='urn:open' jid='eve@example.org'/>"),
        ("get", "", "<unheard-of/>"),
        ("get", "", ""),
        ("set", "", "<publish node='urn:open'><item id='1'><p xmlns='urn:x'/></item></publish>"),
        ("set", "", "<publish node='urn:none'><item id='1'><p xmlns='urn:x'/></item></publish>"),
        ("set", "", "<retract node='urn:open'><item id='1'/></retract>"),
        ("set", "", "<subscribe node='urn:closed' jid='eve@example.org'/>"),
        ("set", "", "<subscribe node='urn:open' jid='alice@example.org'/>"),
        ("set", "", "<unsubscribe node='urn:open' jid='eve@example.org'/>"),
        ("set", "", "<create node='urn:new'/>"),
        ("get", "#owner", "<configure node='urn:open'/>"),
        ("get", "#owner", "<default/>"),
        ("set", "#owner", "<delete node='urn:open'/>"),
        ("set", "#owner", "<purge node='urn:open'/>"),
        ("get", "#owner", "<affiliations node='urn:open'/>"),
        ("set", "#owner", "<subscriptions node='urn:open'/>"),
    ];
    for (kind, owner, content) in requests {
        let nobody = ask(&eve, kind, "nobody", owner, content).await.0;
        let somebody = ask(&eve, kind, "alice", owner, content).await.0;
        assert_eq!(
            somebody.child("error", "jabber:client"),
            nobody.child("error", "jabber:client"),
            "{content}"
        );
        assert_eq!(somebody.attr("type"), Some("error"), "{content}");
    }
    for query in ["#info", "#items"] {
        for node in ["", " node='urn:closed'", " node='urn:none'"] {
            let mut answers = Vec::new();
            for to in ["alice", "nobody"] {
                let query = format!("<query xmlns='http://jabber.org/protocol/disco{query}'{node}/>");
                eve.send(&format!("<iq type='get' id='d' to='{to}@example.org'>{query}</iq>")).await;
                let answer = eve.take().await.remove(0);
                answers.push(answer.to_builder().attr("from", "").build());
            }
            if query == "#items" && node.is_empty() {
                assert_eq!(answers[0].first_child().unwrap().children().count(), 1, "what is open");
            } else {
                assert_eq!(answers[0], answers[1], "{query}{node}");
            }
        }
    }
    assert_eq!(items(&eve, "alice", "urn:open").await.unwrap(), ["1=a"]);
}

#[tokio::test]
async fn devices_that_publish_at_once_leave_one_result_that_all_see() {
    let world = World::with(&["alice"]).await;
    let mut devices = Vec::new();
    for n in 0..4 {
        let device = world.online("alice", &format!("d{n}")).await;
        interest(&device, &["urn:x"]);
        device.take().await;
        devices.push(device);
    }
    let own = options(&[("max_items", "2")]);
    let rounds = (0..10).flat_map(|n| devices.iter().enumerate().map(move |(d, device)| (n, d, device)));
    let work = rounds.map(|(n, d, device)| {
        let text = item("urn:x", &format!("{}", (n + d) % 3), &format!("{n}.{d}")) + &own;
        async move {
            device.send(&format!("<iq type='set' id='n'><pubsub xmlns='{NS}'>{text}</pubsub></iq>")).await;
        }
    });
    for work in work {
        work.await;
    }
    let mut seen = Vec::new();
    for device in &devices {
        seen.push(events(device).await);
    }
    assert!(seen.iter().all(|order| *order == seen[0] && order.len() >= 40), "{seen:?}");
    let mut left: Vec<String> = Vec::new();
    for event in &seen[0] {
        let change = event.trim_start_matches("urn:x: ");
        let id = change.trim_start_matches('-').split('=').next().unwrap();
        left.retain(|item| item.split('=').next() != Some(id));
        if !change.starts_with('-') {
            left.push(change.to_owned());
        }
    }
    assert_eq!(items(&devices[0], "", "urn:x").await.unwrap(), left);
}

#[tokio::test]
async fn who_comes_to_see_a_contact_is_told_what_there_is() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    let tablet = world.online("bob", "tablet").await;
    publish(&alice, "urn:x", "1", "a", "").await;
    for device in [&bob, &tablet] {
        interest(device, &["urn:x"]);
        assert_eq!(events(device).await, [""; 0]);
    }
    bob.send("<presence type='subscribe' to='alice@example.org'/>").await;
    assert_eq!(events(&bob).await, [""; 0], "she has not agreed");
    alice.send("<presence type='subscribed' to='bob@example.org'/>").await;
    assert_eq!(events(&bob).await, ["urn:x: 1=a"]);
    assert_eq!(events(&tablet).await, ["urn:x: 1=a"]);
    assert_eq!(events(&alice).await, [""; 0]);
    // What comes while one blocks the other is told when that ends, whoever it is.
    for (who, whom, text) in [(&alice, "bob", "b"), (&bob, "alice", "c")] {
        let change = |name: &str| {
            let item = format!("<item jid='{whom}@example.org'/>");
            format!("<iq type='set' id='b'><{name} xmlns='urn:xmpp:blocking'>{item}</{name}></iq>")
        };
        who.send(&change("block")).await;
        publish(&alice, "urn:x", "1", text, "").await;
        assert_eq!(events(&bob).await, [""; 0]);
        who.send(&change("unblock")).await;
        assert_eq!(events(&bob).await, [format!("urn:x: 1={text}")]);
        assert_eq!(events(&tablet).await, [format!("urn:x: 1={text}")]);
    }
    // Be it that the contact is not there.
    bob.send(
        "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='alice@example.org'/></block></iq>",
    )
    .await;
    publish(&alice, "urn:x", "1", "d", "").await;
    alice.send("<presence type='unavailable'/>").await;
    world.hub.end(&alice.session.cell, alice.session.id);
    world.pass(Duration::from_secs(86_400));
    bob.send("<iq type='set' id='b'><unblock xmlns='urn:xmpp:blocking'/></iq>").await;
    assert_eq!(events(&bob).await, ["urn:x: 1=d"]);
}

#[tokio::test]
async fn what_changes_while_it_is_read_is_read_again() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    befriend(&alice, &bob).await;
    let all = options(&[("max_items", "3")]);
    for n in 1..=2 {
        assert_eq!(publish(&alice, "urn:x", &n.to_string(), "a", &all).await, None);
    }
    let configure = |title: &str| {
        format!(
            "<iq type='set' id='c'><pubsub xmlns='{NS}#owner'><configure node='urn:x'><x xmlns='jabber:x:data' \
             type='submit'><field var='FORM_TYPE'><value>{NS}#node_config</value></field><field var='pubsub#title'>\
             <value>{title}</value></field></x></configure></pubsub></iq>"
        )
    };
    let retract = "<retract node='urn:x'><item id='1'/></retract>";
    let retract = format!("<iq type='set' id='r'><pubsub xmlns='{NS}'>{retract}</pubsub></iq>");
    for (turn, meanwhile) in [configure("b"), retract].iter().enumerate() {
        world.store.hold();
        alice.send(&configure(&format!("t{turn}"))).await;
        interest(&bob, &[]);
        interest(&bob, &["urn:x"]);
        let change = async {
            alice.send(meanwhile).await;
            world.store.release();
        };
        let (told, ()) = tokio::join!(events(&bob), change);
        let told: Vec<_> = told.into_iter().filter(|told| !told.contains('-')).collect();
        assert_eq!(told, ["urn:x: 2=a"], "turn {turn}");
    }
    // What is new is told once.
    world.store.hold();
    alice.send(&configure("again")).await;
    interest(&bob, &[]);
    interest(&bob, &["urn:x"]);
    let change = async {
        publish(&alice, "urn:x", "3", "a", &all).await;
        world.store.release();
    };
    let (mut told, ()) = tokio::join!(events(&bob), change);
    told.extend(events(&bob).await);
    assert_eq!(told, ["urn:x: 3=a"]);
}

#[tokio::test]
async fn what_is_unreadable_of_one_contact_keeps_nobody_from_the_others() {
    let world = World::with(&["alice", "bob", "carol"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    let carol = world.online("carol", "phone").await;
    for contact in [&alice, &carol] {
        befriend(contact, &bob).await;
        publish(contact, "urn:x", "1", "a", "").await;
    }
    world.store.spoil_items(alice.session.cell.id);
    interest(&bob, &["urn:x"]);
    assert_eq!(events(&bob).await, ["urn:x: 1=a"]);
}

#[tokio::test]
async fn who_asks_for_more_items_than_fit_learns_how_many_there_are() {
    let world = World::with(&["alice"]).await;
    let alice = world.online("alice", "phone").await;
    let many = options(&[("max_items", "20")]);
    let text = "x".repeat(190_000);
    for n in 0..8 {
        assert_eq!(publish(&alice, "urn:x", &format!("{n}"), &text, &many).await, None);
    }
    for (count, is_cut) in [(3, false), (8, true)] {
        let ids: String = (0..count).map(|n| format!("<item id='{n}'/>")).collect();
        let (answer, _) = ask(&alice, "get", "", "", &format!("<items node='urn:x'>{ids}</items>")).await;
        let answer = answer.child("pubsub", NS).unwrap();
        let set = answer.child("set", "http://jabber.org/protocol/rsm");
        let found = answer.child("items", NS).unwrap().children().count();
        assert_eq!(found < count, is_cut, "{found} of {count}");
        let says =
            set.map(|set| set.child("count", "http://jabber.org/protocol/rsm").unwrap().text().into_owned());
        assert_eq!(says, is_cut.then(|| count.to_string()), "§6.5.4");
    }
}

#[tokio::test]
async fn the_items_of_an_account_have_a_size() {
    let world = World::with(&["alice"]).await;
    let alice = world.online("alice", "phone").await;
    let many = options(&[("max_items", "max")]);
    let text = "x".repeat(190_000);
    let full = Some("resource-constraint".to_owned());
    for n in 0..22 {
        let node = format!("urn:x:{}", n % 3);
        assert_eq!(publish(&alice, &node, &format!("{n}"), &text, &many).await, None, "{n}");
    }
    assert_eq!(publish(&alice, "urn:y", "1", &text, "").await, full, "not there either");
    assert_eq!(publish(&alice, "urn:y", "1", "a", "").await, None, "what is small fits");
    // What is gone makes room, as soon as it is counted again.
    ask(&alice, "set", "", "", "<retract node='urn:x:0'><item id='0'/></retract>").await;
    assert_eq!(publish(&alice, "urn:y", "2", &text, "").await, full);
    world.pass(Duration::from_secs(10));
    assert_eq!(publish(&alice, "urn:y", "2", &text, "").await, None);
    world.pass(Duration::from_secs(10));
    assert_eq!(publish(&alice, "urn:y", "2", &text, "").await, full, "there would be two for a moment");
    let world = world.crash().await;
    let alice = world.online("alice", "phone").await;
    assert_eq!(publish(&alice, "urn:x:1", "b", &text, "").await, full, "after a restart, too");
    assert_eq!(publish(&alice, "urn:x:1", "b", "b", "").await, None);
}
