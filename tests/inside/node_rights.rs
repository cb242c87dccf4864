//! Rights to nodes (XEP-0060): who is subscribed to what for how long, and whom that concerns.

use super::nodes::{befriend, options};
use super::presence::condition;
use super::*;

const NS: &str = "http://jabber.org/protocol/pubsub";
const NS_EVENT: &str = "http://jabber.org/protocol/pubsub#event";

/// Asks an account. The condition of the error, if it was refused.
async fn ask(device: &Device, kind: &str, whose: &str, owner: &str, content: &str) -> Option<String> {
    let to = format!("{whose}@example.org");
    device
        .send(&format!(
            "<iq type='{kind}' id='n' to='{to}'><pubsub xmlns='{NS}{owner}'>{content}</pubsub></iq>"
        ))
        .await;
    let taken = device.take().await;
    condition(taken.iter().find(|element| element.name() == "iq").expect("an answer"))
}

async fn publish(device: &Device, whose: &str, more: &[(&str, &str)]) -> Option<String> {
    let item = "<publish node='urn:x'><item id='1'><p xmlns='urn:x'>a</p></item></publish>";
    let options = if more.is_empty() { String::new() } else { options(more) };
    ask(device, "set", whose, "", &format!("{item}{options}")).await
}

async fn subscribe(device: &Device, whose: &str) -> Option<String> {
    let jid = device.session.jid.bare();
    ask(device, "set", whose, "", &format!("<subscribe node='urn:x' jid='{jid}'/>")).await
}

/// What an owner makes of subscriptions.
async fn subscriptions(device: &Device, states: &[(&str, &str)]) -> Option<String> {
    let entries =
        states.iter().map(|(jid, state)| format!("<subscription jid='{jid}' subscription='{state}'/>"));
    let entries: String = entries.collect();
    ask(device, "set", "alice", "#owner", &format!("<subscriptions node='urn:x'>{entries}</subscriptions>"))
        .await
}

/// What a device was told of its subscriptions.
async fn states(device: &Device) -> Vec<String> {
    let taken = device.take().await;
    let found =
        taken.iter().filter_map(|message| message.child("event", NS_EVENT)?.child("subscription", NS_EVENT));
    found.filter_map(|found| Some(found.attr("subscription")?.to_owned())).collect()
}

#[tokio::test]
async fn nobody_is_subscribed_who_did_not_ask() {
    let world = World::with(&["alice", "bob", "eve"]).await;
    let alice = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    let eve = world.online("eve", "desk").await;
    befriend(&alice, &bob).await;
    assert_eq!(publish(&alice, "alice", &[("access_model", "open")]).await, None);
    let refused = Some("not-acceptable".to_owned());
    assert_eq!(subscriptions(&alice, &[("eve@example.org", "subscribed")]).await, refused);
    assert_eq!(subscriptions(&alice, &[("eve@example.org", "pending")]).await, refused, "nor by a detour");
    let member =
        "<affiliations node='urn:x'><affiliation jid='eve@example.org' affiliation='member'/></affiliations>";
    assert_eq!(ask(&alice, "set", "alice", "#owner", member).await, None);
    assert_eq!(subscriptions(&alice, &[("eve@example.org", "subscribed")]).await, refused, "nor by another");
    let both = [("bob@example.org", "subscribed"), ("eve@example.org", "subscribed")];
    assert_eq!(subscriptions(&alice, &both).await, refused, "all or none");
    assert_eq!(states(&bob).await, [""; 0]);
    assert_eq!(states(&eve).await, [""; 0]);
    assert_eq!(subscriptions(&alice, &[("bob@example.org", "subscribed")]).await, None, "a contact");
    assert_eq!(states(&bob).await, ["subscribed"]);
    assert_eq!(subscribe(&eve, "alice").await, None);
    assert_eq!(subscriptions(&alice, &[("eve@example.org", "none")]).await, None);
    assert_eq!(states(&eve).await, ["none"]);
    assert_eq!(subscriptions(&alice, &[("eve@example.org", "subscribed")]).await, refused, "not any more");
}

#[tokio::test]
async fn an_owner_changes_few_subscriptions_at_once() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    befriend(&alice, &bob).await;
    assert_eq!(publish(&alice, "alice", &[("access_model", "open")]).await, None);
    let many = |count: usize| -> Vec<String> { (0..count).map(|n| format!("bob@example.org/{n}")).collect() };
    for (count, want) in [(20, None), (21, Some("policy-violation")), (101, Some("resource-constraint"))] {
        let jids = many(count);
        let wanted: Vec<_> = jids.iter().map(|jid| (jid.as_str(), "subscribed")).collect();
        assert_eq!(subscriptions(&alice, &wanted).await.as_deref(), want, "{count}");
    }
    let twice = [("bob@example.org", "subscribed"), ("bob@example.org", "none")];
    assert_eq!(subscriptions(&alice, &twice).await.as_deref(), Some("bad-request"));
}

async fn read(device: &Device) -> Option<String> {
    ask(device, "get", "alice", "", "<items node='urn:x'/>").await
}

async fn configure(device: &Device, name: &str, value: &str) {
    let form = format!(
        "<configure node='urn:x'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{NS}\
         #node_config</value></field><field var='pubsub#{name}'><value>{value}</value></field></x></configure>"
    );
    assert_eq!(ask(device, "set", "alice", "#owner", &form).await, None, "{name} {value}");
}

async fn affiliate(device: &Device, who: &str, what: &str) {
    let entry = format!("<affiliation jid='{who}@example.org' affiliation='{what}'/>");
    let content = format!("<affiliations node='urn:x'>{entry}</affiliations>");
    assert_eq!(ask(device, "set", "alice", "#owner", &content).await, None, "{who} {what}");
}

#[tokio::test]
async fn a_subscription_that_has_ended_does_not_come_back() {
    let world = World::with(&["alice", "bob", "eve"]).await;
    let alice = world.online("alice", "phone").await;
    let (bob, eve) = (world.online("bob", "desk").await, world.online("eve", "desk").await);
    befriend(&alice, &bob).await;
    assert_eq!(publish(&alice, "alice", &[("publish_model", "subscribers")]).await, None);
    assert_eq!(subscribe(&bob, "alice").await, None);
    assert_eq!(publish(&bob, "alice", &[]).await, None);
    alice.send("<presence type='unsubscribed' to='bob@example.org'/>").await;
    bob.take().await;
    assert_eq!(publish(&bob, "alice", &[]).await.as_deref(), Some("forbidden"), "§7.1.3.1");
    configure(&alice, "access_model", "authorize").await;
    assert_eq!(states(&bob).await, ["none"]);
    assert_ne!(read(&bob).await, None, "what alice never agreed to");
    // Who came in while anybody could waits for consent like everybody.
    configure(&alice, "access_model", "open").await;
    assert_eq!(subscribe(&eve, "alice").await, None);
    configure(&alice, "access_model", "authorize").await;
    assert_eq!(states(&eve).await, ["pending"]);
    assert_ne!(read(&eve).await, None);
    assert_ne!(publish(&eve, "alice", &[]).await, None);
    assert_eq!(subscriptions(&alice, &[("eve@example.org", "subscribed")]).await, None);
    assert_eq!(states(&eve).await, ["subscribed"]);
    configure(&alice, "title", "x").await;
    affiliate(&alice, "eve", "none").await;
    assert_eq!(states(&eve).await, [""; 0], "what was agreed to stays");
    assert_eq!(read(&eve).await, None);
    configure(&alice, "access_model", "whitelist").await;
    assert_eq!(states(&eve).await, ["none"]);
    configure(&alice, "access_model", "authorize").await;
    assert_ne!(read(&eve).await, None);
}

#[tokio::test]
async fn a_subscription_goes_with_the_affiliation_that_allowed_it() {
    for (model, lost, want) in [
        ("whitelist", "none", &["none"][..]),
        ("authorize", "none", &["pending"]),
        ("open", "none", &[]),
        ("open", "publish-only", &["none"]),
        ("open", "outcast", &["none"]),
        ("whitelist", "publisher", &[]),
    ] {
        let world = World::with(&["alice", "bob"]).await;
        let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
        assert_eq!(publish(&alice, "alice", &[("access_model", model)]).await, None);
        affiliate(&alice, "bob", "member").await;
        assert_eq!(subscribe(&bob, "alice").await, None);
        bob.take().await;
        affiliate(&alice, "bob", lost).await;
        assert_eq!(states(&bob).await, want, "{model} {lost}");
    }
}

#[tokio::test]
async fn who_waits_for_consent_knows_of_the_account() {
    let world = World::with(&["alice", "eve"]).await;
    let (alice, eve) = (world.online("alice", "phone").await, world.online("eve", "desk").await);
    assert_eq!(publish(&alice, "alice", &[("access_model", "authorize")]).await, None);
    assert_eq!(read(&eve).await.as_deref(), Some("service-unavailable"));
    assert_eq!(subscribe(&eve, "alice").await, None);
    assert_eq!(read(&eve).await.as_deref(), Some("not-authorized"), "§6.5.9.3");
    assert_eq!(subscribe(&eve, "alice").await.as_deref(), Some("not-authorized"), "§6.1.3.7");
}

/// What was begun before an account is removed leaves nothing of it.
#[tokio::test]
async fn nothing_is_published_for_an_account_that_is_gone() {
    let world = World::with(&["alice"]).await;
    let alice = world.online("alice", "phone").await;
    assert_eq!(publish(&alice, "alice", &[]).await, None);
    let world = world.crash().await;
    let alice = world.online("alice", "phone").await;
    let publication = |node: &str| {
        let item = format!("<publish node='{node}'><item id='2'><p xmlns='urn:x'/></item></publish>");
        format!(
            "<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'>{item}</pubsub></iq>"
        )
    };
    world.store.hold();
    alice.send(&publication("urn:other")).await;
    let publication = publication("urn:x");
    let mut begun = Box::pin(alice.send(&publication));
    let waits = std::future::poll_fn(|cx| std::task::Poll::Ready(begun.as_mut().poll(cx).is_pending()));
    assert!(waits.await, "it is not known which items there are");
    let removal = world.hub.remove_account(&alice.session.cell);
    let (removed, ()) = tokio::join!(removal, async { world.store.release() });
    removed.unwrap();
    begun.await;
    world.hub.settled(&alice.session.cell).await;
    let query = unisono_core::storage::ItemQuery::default();
    assert!(world.hub.store.items(alice.session.cell.id, "urn:x", &query).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn who_has_the_address_of_a_removed_account_has_none_of_its_rights() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    assert_eq!(publish(&alice, "alice", &[("access_model", "authorize")]).await, None);
    assert_eq!(subscribe(&bob, "alice").await, None);
    assert_eq!(subscriptions(&alice, &[("bob@example.org", "subscribed")]).await, None);
    affiliate(&alice, "bob", "owner").await;
    let at_service = |content: &str, owner: &str| {
        let to = "pubsub.example.org";
        format!("<iq type='set' id='n' to='{to}'><pubsub xmlns='{NS}{owner}'>{content}</pubsub></iq>")
    };
    bob.send(&at_service("<create node='bobs'/>", "")).await;
    alice.send(&at_service("<create node='alices'/>", "")).await;
    alice.take().await;
    let publisher = "<affiliations node='alices'><affiliation jid='bob@example.org' affiliation='publisher'/></affiliations>";
    alice.send(&at_service(publisher, "#owner")).await;
    alice.take().await;
    bob.take().await;
    assert_eq!(publish(&bob, "alice", &[]).await, None);
    // alice is not there when it happens.
    drop((alice, bob));
    let world = world.restart().await;
    let bob = world.hub.account(&jid("bob")).await.unwrap().unwrap();
    world.hub.remove_account(&bob).await.unwrap();
    world.store.create(&jid("bob"), &[], 0).await.unwrap();
    let bob = world.online("bob", "desk").await;
    assert_ne!(publish(&bob, "alice", &[]).await, None);
    assert_ne!(read(&bob).await, None);
    for (node, want) in [("alices", "forbidden"), ("bobs", "conflict")] {
        let item = format!("<publish node='{node}'><item id='1'><p xmlns='urn:x'>a</p></item></publish>");
        let request = if want == "conflict" { format!("<create node='{node}'/>") } else { item };
        bob.send(&at_service(&request, "")).await;
        let answer = bob.take().await;
        let found = condition(answer.iter().find(|element| element.name() == "iq").unwrap());
        assert_eq!(
            found.as_deref(),
            (want == "forbidden").then_some("forbidden"),
            "{node}: nobody has it any more"
        );
    }
}

#[tokio::test]
async fn options_of_a_node_do_what_they_say() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    for (there_only, want) in [("1", 0), ("0", 1)] {
        let model = [("access_model", "open"), ("presence_based_delivery", there_only), ("notify_sub", "1")];
        ask(&alice, "set", "alice", "#owner", "<delete node='urn:x'/>").await;
        assert_eq!(publish(&alice, "alice", &model).await, None);
        assert_eq!(states(&alice).await, [""; 0]);
        let jid = bob.session.jid.clone();
        let subscribe = format!("<subscribe node='urn:x' jid='{jid}'/>");
        assert_eq!(ask(&bob, "set", "alice", "", &subscribe).await, None);
        assert_eq!(states(&alice).await, ["subscribed"], "pubsub#notify_sub");
        bob.send("<presence type='unavailable'/>").await;
        bob.take().await;
        assert_eq!(publish(&alice, "alice", &[]).await, None);
        let told =
            bob.take().await.iter().filter(|message| message.child("event", NS_EVENT).is_some()).count();
        assert_eq!(told, want, "pubsub#presence_based_delivery {there_only}");
        bob.send("<presence/>").await;
        bob.take().await;
    }
}

/// §12.10: who is allowed to subscribe is sent the last item, whichever way it is allowed.
#[tokio::test]
async fn who_is_allowed_to_subscribe_is_sent_the_last_item() {
    let world = World::with(&["alice", "bob"]).await;
    let (alice, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    for way in ["answer", "affiliation", "subscription", "refusal"] {
        ask(&alice, "set", "alice", "#owner", "<delete node='urn:x'/>").await;
        assert_eq!(publish(&alice, "alice", &[("access_model", "authorize")]).await, None);
        assert_eq!(subscribe(&bob, "alice").await, None);
        bob.take().await;
        match way {
            "affiliation" => affiliate(&alice, "bob", "member").await,
            "subscription" => _ = subscriptions(&alice, &[("bob@example.org", "subscribed")]).await,
            _ => {
                let field =
                    |name: &str, value: &str| format!("<field var='{name}'><value>{value}</value></field>");
                let form = field("FORM_TYPE", &format!("{NS}#subscribe_authorization"))
                    + &field("pubsub#node", "urn:x")
                    + &field("pubsub#subscriber_jid", "bob@example.org")
                    + &field("pubsub#allow", if way == "answer" { "1" } else { "0" });
                let form = format!("<x xmlns='jabber:x:data' type='submit'>{form}</x>");
                alice.send(&format!("<message to='alice@example.org'>{form}</message>")).await;
            }
        }
        let taken = bob.take().await;
        let events = taken.iter().filter_map(|message| message.child("event", NS_EVENT)?.first_child());
        let told: Vec<_> = events.map(Element::name).collect();
        let want: &[&str] = if way == "refusal" { &["subscription"] } else { &["subscription", "items"] };
        assert_eq!(told, want, "{way}");
    }
}
