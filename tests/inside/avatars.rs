//! The picture of a user, in all its forms: nodes (XEP-0084), vCard (XEP-0398), presence (XEP-0153).

use super::nodes::befriend;
use super::presence::condition;
use super::*;

const NS: &str = "http://jabber.org/protocol/pubsub";
const DATA: &str = "urn:xmpp:avatar:data";
const METADATA: &str = "urn:xmpp:avatar:metadata";
/// Two images, as Base64, and their hashes.
const HELLO: (&str, &str) = ("aGVsbG8=", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d");
const OTHER: (&str, &str) = ("b3RoZXI=", "d0941e68da8f38151ff86a61fc59f7c5cf9fcaa2");

/// The answer among what comes, and the rest.
pub(super) async fn ask(device: &Device, iq: &str) -> (Element, Vec<Element>) {
    device.send(iq).await;
    let (mut answers, rest): (Vec<_>, Vec<_>) =
        device.take().await.into_iter().partition(|element| element.name() == "iq");
    (answers.remove(0), rest)
}

async fn publish(device: &Device, node: &str, id: &str, payload: &str, more: &str) -> Option<String> {
    let id = if id.is_empty() { String::new() } else { format!(" id='{id}'") };
    let publish = format!("<publish node='{node}'><item{id}>{payload}</item></publish>{more}");
    let iq = format!("<iq type='set' id='p'><pubsub xmlns='{NS}'>{publish}</pubsub></iq>");
    condition(&ask(device, &iq).await.0)
}

async fn publish_data(device: &Device, (text, hash): (&str, &str)) -> Option<String> {
    publish(device, DATA, hash, &format!("<data xmlns='{DATA}'>{text}</data>"), "").await
}

async fn publish_metadata(device: &Device, hash: &str) -> Option<String> {
    let info = format!("<info bytes='5' id='{hash}' type='image/x'/>");
    publish(device, METADATA, hash, &format!("<metadata xmlns='{METADATA}'>{info}</metadata>"), "").await
}

pub(super) async fn set_vcard(device: &Device, content: &str) -> Option<String> {
    let iq = format!("<iq type='set' id='v'><vCard xmlns='vcard-temp'>{content}</vCard></iq>");
    condition(&ask(device, &iq).await.0)
}

fn photo((text, _): (&str, &str)) -> String {
    format!("<PHOTO><TYPE>image/x</TYPE><BINVAL>{text}</BINVAL></PHOTO>")
}

/// The content of somebody's vCard, or the condition of the error.
pub(super) async fn vcard(device: &Device, whose: &str) -> Result<String, String> {
    let iq = format!("<iq type='get' id='g' to='{whose}@example.org'><vCard xmlns='vcard-temp'/></iq>");
    let (answer, _) = ask(device, &iq).await;
    if let Some(condition) = condition(&answer) {
        return Err(condition);
    }
    let card = answer.first_child().unwrap().to_string_in(&CLIENT_SCOPE);
    let content = card.strip_prefix("<vCard xmlns='vcard-temp'>");
    Ok(content.map_or("", |content| content.trim_end_matches("</vCard>")).to_owned())
}

/// The ids of the items of somebody's node.
async fn ids(device: &Device, whose: &str, node: &str) -> Vec<String> {
    let items = format!("<pubsub xmlns='{NS}'><items node='{node}'/></pubsub>");
    let (answer, _) =
        ask(device, &format!("<iq type='get' id='i' to='{whose}@example.org'>{items}</iq>")).await;
    let items = answer.child("pubsub", NS).and_then(|pubsub| pubsub.child("items", NS).cloned());
    let items = items.map(|items| items.children().map(|item| item.attr("id").unwrap().to_owned()).collect());
    items.unwrap_or_default()
}

/// What presences say of an avatar: from whom, and the hash.
fn told(taken: &[Element]) -> Vec<String> {
    let presences = taken.iter().filter(|element| element.name() == "presence");
    let told = presences.map(|presence| {
        let from = presence.attr("from").unwrap().split(['@', '/']).step_by(2).collect::<Vec<_>>().join("/");
        match presence.child("x", "vcard-temp:x:update") {
            Some(x) => format!("{from}={}", x.child_text("photo", "vcard-temp:x:update").unwrap()),
            None => from,
        }
    });
    told.collect()
}

async fn hears(device: &Device) -> Vec<String> {
    told(&device.take().await)
}

#[tokio::test]
async fn a_picture_in_the_nodes_is_in_the_vcard_and_in_presence() {
    let world = World::with(&["alice", "bob"]).await;
    let (phone, laptop) = (world.online("alice", "phone").await, world.online("alice", "laptop").await);
    let bob = world.online("bob", "desk").await;
    befriend(&phone, &bob).await;
    laptop.take().await;
    assert_eq!(set_vcard(&phone, "<FN>Alice</FN>").await, None);
    assert_eq!(hears(&bob).await, [""; 0], "nothing has changed");
    assert_eq!(publish_data(&phone, HELLO).await, None);
    assert_eq!(hears(&bob).await, [""; 0], "what is not told of is not shown");
    assert_eq!(vcard(&phone, "alice").await.as_deref(), Ok("<FN>Alice</FN>"));
    assert_eq!(publish_metadata(&phone, HELLO.1).await, None);
    let all = [format!("alice/phone={}", HELLO.1), format!("alice/laptop={}", HELLO.1)];
    assert_eq!(hears(&bob).await, all);
    assert_eq!(hears(&laptop).await, all);
    let card = format!("<FN>Alice</FN>{}", photo(HELLO));
    assert_eq!(vcard(&bob, "alice").await, Ok(card.clone()));
    assert_eq!(vcard(&phone, "alice").await, Ok(card.clone()));
    // The same again is nothing new.
    assert_eq!(publish_metadata(&phone, HELLO.1).await, None);
    assert_eq!(hears(&bob).await, [""; 0]);
    // Half of a change shows nothing that is not so.
    assert_eq!(publish_data(&phone, OTHER).await, None);
    assert_eq!(publish_metadata(&phone, OTHER.1).await, None);
    assert_eq!(hears(&bob).await, all.map(|told| told.replace(HELLO.1, OTHER.1)));
    let world = world.crash().await;
    let bob = world.online("bob", "desk").await;
    assert_eq!(vcard(&bob, "alice").await, Ok(card.replace(HELLO.0, OTHER.0)));
    let phone = world.bind("alice", "phone").await;
    phone.send("<presence/>").await;
    assert_eq!(
        hears(&phone).await.first(),
        Some(&format!("alice/phone={}", OTHER.1)),
        "nothing is forgotten"
    );
    assert_eq!(hears(&bob).await, [format!("alice/phone={}", OTHER.1)]);
    // Which data there are is known of an earlier run as well.
    assert_eq!(publish(&phone, METADATA, "", &format!("<metadata xmlns='{METADATA}'/>"), "").await, None);
    assert_eq!(hears(&bob).await, ["alice/phone="]);
    assert_eq!(publish_metadata(&phone, OTHER.1).await, None);
    assert_eq!(hears(&bob).await, [format!("alice/phone={}", OTHER.1)]);
}

#[tokio::test]
async fn a_picture_in_the_vcard_is_in_the_nodes_and_in_presence() {
    let world = World::with(&["alice", "bob", "eve"]).await;
    let phone = world.online("alice", "phone").await;
    let (bob, eve) = (world.online("bob", "desk").await, world.online("eve", "desk").await);
    befriend(&phone, &bob).await;
    assert_eq!(set_vcard(&phone, &photo(HELLO)).await, None);
    assert_eq!(hears(&bob).await, [format!("alice/phone={}", HELLO.1)]);
    for device in [&phone, &bob, &eve] {
        assert_eq!(ids(device, "alice", DATA).await, [HELLO.1]);
        assert_eq!(ids(device, "alice", METADATA).await, [HELLO.1]);
        assert_eq!(vcard(device, "alice").await, Ok(photo(HELLO)), "vCards are open to everybody");
    }
    let fresh = world.online("alice", "tablet").await;
    assert_eq!(hears(&bob).await, [format!("alice/tablet={}", HELLO.1)]);
    // What is there is not published again.
    fresh.take().await;
    assert_eq!(set_vcard(&phone, &format!("<FN>A</FN>{}", photo(HELLO))).await, None);
    assert_eq!(hears(&fresh).await, [""; 0]);
    // One without a picture takes it away.
    assert_eq!(set_vcard(&phone, "<FN>A</FN><PHOTO/>").await, None);
    assert_eq!(hears(&bob).await, ["alice/phone=", "alice/tablet="]);
    assert_eq!(vcard(&bob, "alice").await.as_deref(), Ok("<FN>A</FN>"));
    let world = world.restart().await;
    let (phone, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    phone.send("<presence/>").await;
    assert_eq!(hears(&bob).await, ["alice/phone="], "who has it in memory learns that it is gone");
    // What is wrong changes nothing.
    let wrong = "<FN>B</FN><PHOTO><BINVAL>no image!</BINVAL></PHOTO>";
    assert_eq!(set_vcard(&phone, wrong).await.as_deref(), Some("bad-request"));
    let large = photo((&"A".repeat(200_000), ""));
    assert_eq!(set_vcard(&phone, &large).await.as_deref(), Some("resource-constraint"));
    assert_eq!(vcard(&bob, "alice").await.as_deref(), Ok("<FN>A</FN>"));
}

#[tokio::test]
async fn who_may_not_read_the_nodes_sees_no_picture() {
    let world = World::with(&["alice", "bob", "eve"]).await;
    let phone = world.online("alice", "phone").await;
    let (bob, eve) = (world.online("bob", "desk").await, world.online("eve", "desk").await);
    befriend(&phone, &bob).await;
    assert_eq!(set_vcard(&phone, "<FN>A</FN>").await, None);
    // The nodes are made as PEP makes them: for who sees the presence.
    publish_data(&phone, HELLO).await;
    publish_metadata(&phone, HELLO.1).await;
    assert_eq!(vcard(&bob, "alice").await, Ok(format!("<FN>A</FN>{}", photo(HELLO))));
    assert_eq!(vcard(&eve, "alice").await.as_deref(), Ok("<FN>A</FN>")); // XEP-0398 §7
    // A vCard does not open them.
    assert_eq!(set_vcard(&phone, &photo(OTHER)).await, None);
    assert_eq!(vcard(&bob, "alice").await, Ok(photo(OTHER)));
    assert_eq!(vcard(&eve, "alice").await.as_deref(), Ok(""));
    // Who closes a node to everybody shows nothing any more, until it is open again.
    bob.take().await;
    for (model, told) in [("whitelist", String::new()), ("open", OTHER.1.to_owned())] {
        let field = |name: &str, value: &str| format!("<field var='{name}'><value>{value}</value></field>");
        let form = format!(
            "<x xmlns='jabber:x:data' type='submit'>{}{}</x>",
            field("FORM_TYPE", &format!("{NS}#node_config")),
            field("pubsub#access_model", model)
        );
        let configure = format!("<configure node='{METADATA}'>{form}</configure>");
        let iq = format!("<iq type='set' id='c'><pubsub xmlns='{NS}#owner'>{configure}</pubsub></iq>");
        assert_eq!(condition(&ask(&phone, &iq).await.0), None);
        assert_eq!(hears(&bob).await, [format!("alice/phone={told}")], "{model}");
        assert_eq!(vcard(&bob, "alice").await.is_ok_and(|card| card.contains("PHOTO")), model == "open");
    }
}

#[tokio::test]
async fn what_is_no_avatar_is_refused_and_what_goes_is_gone() {
    let world = World::with(&["alice", "bob"]).await;
    let phone = world.online("alice", "phone").await;
    let bob = world.online("bob", "desk").await;
    befriend(&phone, &bob).await;
    let bad = Some("bad-request".to_owned());
    assert_eq!(publish_data(&phone, (HELLO.0, OTHER.1)).await, bad, "XEP-0084 §3.1");
    assert_eq!(publish_data(&phone, (HELLO.0, "current")).await, bad);
    assert_eq!(publish_data(&phone, ("no image!", HELLO.1)).await, bad, "§4.1");
    assert_eq!(publish(&phone, DATA, HELLO.1, "<p xmlns='urn:x'/>", "").await, bad);
    assert_eq!(publish(&phone, METADATA, HELLO.1, "<p xmlns='urn:x'/>", "").await, bad);
    let owner = format!("{NS}#owner");
    let retract =
        format!("<pubsub xmlns='{NS}'><retract node='{{}}'><item id='{}'/></retract></pubsub>", HELLO.1);
    let purge = format!("<pubsub xmlns='{owner}'><purge node='{{}}'/></pubsub>");
    let delete = format!("<pubsub xmlns='{owner}'><delete node='{{}}'/></pubsub>");
    for request in [&retract, &purge, &delete] {
        for node in [DATA, METADATA] {
            assert_eq!(set_vcard(&phone, &photo(HELLO)).await, None);
            assert_eq!(hears(&bob).await, [format!("alice/phone={}", HELLO.1)], "{request} {node}");
            let iq = format!("<iq type='set' id='d'>{}</iq>", request.replace("{}", node));
            assert_eq!(condition(&ask(&phone, &iq).await.0), None, "{iq}");
            assert_eq!(hears(&bob).await, ["alice/phone="], "{request} {node}");
            assert_eq!(vcard(&bob, "alice").await.as_deref(), Ok(""));
        }
    }
    // §3.5
    assert_eq!(set_vcard(&phone, &photo(HELLO)).await, None);
    assert_eq!(publish(&phone, METADATA, "", &format!("<metadata xmlns='{METADATA}'/>"), "").await, None);
    assert_eq!(hears(&bob).await.last().map(String::as_str), Some("alice/phone="));
    assert_eq!(publish_metadata(&phone, HELLO.1).await, None);
    assert_eq!(vcard(&bob, "alice").await, Ok(photo(HELLO)), "and back, as the data are still there");
}

#[tokio::test]
async fn what_devices_say_of_pictures() {
    let world = World::with(&["alice", "bob", "eve"]).await;
    let phone = world.online("alice", "phone").await;
    let (bob, eve) = (world.online("bob", "desk").await, world.online("eve", "desk").await);
    befriend(&phone, &bob).await;
    let x = |photo: &str| format!("<x xmlns='vcard-temp:x:update'>{photo}</x>");
    let says = async |content: &str, to: &str| {
        phone.send(&format!("<presence{to}>{content}</presence>")).await;
        phone.take().await;
    };
    let stale = x("<photo>0000000000000000000000000000000000000000</photo>");
    says("", "").await;
    says(&stale, "").await;
    assert_eq!(hears(&bob).await, ["alice/phone", "alice/phone="], "who has none advertises none");
    set_vcard(&phone, &photo(HELLO)).await;
    let (own, none) = (format!("alice/phone={}", HELLO.1), "alice/phone=".to_owned());
    assert_eq!(hears(&bob).await, [own.as_str()], "what was wrong is right now");
    for (said, want) in
        [("", &own), (x("").as_str(), &own), (stale.as_str(), &own), (x("<photo/>").as_str(), &none)]
    {
        says(said, "").await;
        assert_eq!(hears(&bob).await, [want.as_str()], "{said}"); // XEP-0398 §4
        says(said, " to='eve@example.org/desk'").await;
        assert_eq!(hears(&eve).await, [want.as_str()], "directly: {said}");
    }
    // Who wants to advertise nothing is left in peace.
    set_vcard(&phone, &photo(OTHER)).await;
    assert_eq!(hears(&bob).await, [none.as_str()]);
    says("", "").await;
    bob.take().await;
    bob.send("<presence type='probe' to='alice@example.org'/>").await;
    assert_eq!(hears(&bob).await, [format!("alice/phone={}", OTHER.1)], "who asks learns it as well");
    phone.send("<presence type='unavailable'/>").await;
    assert_eq!(hears(&bob).await, ["alice/phone"], "who leaves shows nothing");
}

#[tokio::test]
async fn nodes_with_very_much_in_them_are_changed_together() {
    use unisono_core::ids::LogPosition;
    use unisono_core::storage::{Commit, Journal, NodeItem, Write};

    let world = World::with(&["alice"]).await;
    let phone = world.online("alice", "phone").await;
    let account = phone.session.cell.id;
    for node in [DATA, METADATA, "urn:xmpp:vcard4"] {
        let form = super::nodes::options(&[("access_model", "open"), ("max_items", "max")]);
        let form = form.replace("publish-options>", "configure>");
        let form = form.replace("pubsub#publish-options", "pubsub#node_config");
        let create = format!("<pubsub xmlns='{NS}'><create node='{node}'/>{form}</pubsub>");
        let (answer, _) = ask(&phone, &format!("<iq type='set' id='c'>{create}</iq>")).await;
        assert_eq!(condition(&answer), None);
        let item = |n: i64| NodeItem {
            id: n.to_string().into(),
            position: LogPosition(n),
            publisher: None,
            payload: "<x xmlns='urn:x'/>".to_owned(),
        };
        let writes = (1..=6_800).map(|n| Write::Item {
            account,
            node: node.into(),
            item: Arc::new(item(n)),
            keep: u32::MAX,
        });
        world.store.submit(Commit { writes: writes.collect(), wake: Vec::new() });
    }
    let world = world.crash().await;
    let phone = world.online("alice", "phone").await;
    assert_eq!(set_vcard(&phone, &format!("<FN>Alice</FN>{}", photo(HELLO))).await, None);
    assert_eq!(vcard(&phone, "alice").await, Ok(format!("<FN>Alice</FN>{}", photo(HELLO))));
}

#[tokio::test]
async fn a_picture_for_which_there_is_no_room_any_more_is_shown_nowhere() {
    let world = World::with(&["alice", "bob"]).await;
    let (phone, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    befriend(&phone, &bob).await;
    let configure = |node: &str, field: &str, value: &str| {
        let form = super::nodes::options(&[(field, value)]).replace("publish-options>", "configure>");
        let form = form.replace("pubsub#publish-options", "pubsub#node_config");
        let form = form.replace("<configure>", &format!("<configure node='{node}'>"));
        format!("<iq type='set' id='c'><pubsub xmlns='{NS}#owner'>{form}</pubsub></iq>")
    };
    for (node, field, value, back) in [
        (DATA, "max_items", "1", "2"),
        (DATA, "persist_items", "0", "1"),
        (METADATA, "persist_items", "0", "1"),
    ] {
        assert_eq!(publish_data(&phone, OTHER).await, None);
        ask(&phone, &configure(DATA, "max_items", "2")).await;
        assert_eq!(publish_data(&phone, HELLO).await, None);
        assert_eq!(publish_data(&phone, OTHER).await, None);
        assert_eq!(publish_metadata(&phone, HELLO.1).await, None);
        assert_eq!(hears(&bob).await, [format!("alice/phone={}", HELLO.1)]);
        let (answer, _) = ask(&phone, &configure(node, field, value)).await;
        assert_eq!(condition(&answer), None);
        assert_eq!(hears(&bob).await, ["alice/phone="], "{node} {field}");
        assert!(vcard(&bob, "alice").await.is_err(), "there is no vCard");
        ask(&phone, &configure(node, field, back)).await;
    }
}

#[tokio::test]
async fn who_is_let_see_a_picture_that_nobody_saw_is_shown_it() {
    let world = World::with(&["alice", "bob"]).await;
    let (phone, bob) = (world.online("alice", "phone").await, world.online("bob", "desk").await);
    befriend(&phone, &bob).await;
    let closed = super::nodes::options(&[("access_model", "whitelist")]);
    let data = format!("<data xmlns='{DATA}'>{}</data>", HELLO.0);
    assert_eq!(publish(&phone, DATA, HELLO.1, &data, &closed).await, None);
    assert_eq!(publish_metadata(&phone, HELLO.1).await, None);
    assert_eq!(hears(&bob).await, ["alice/phone="]);
    for (is, want) in [("member", HELLO.1), ("none", "")] {
        let affiliation = format!("<affiliation jid='bob@example.org' affiliation='{is}'/>");
        let modify = format!("<affiliations node='{DATA}'>{affiliation}</affiliations>");
        ask(&phone, &format!("<iq type='set' id='a'><pubsub xmlns='{NS}#owner'>{modify}</pubsub></iq>"))
            .await;
        assert_eq!(hears(&bob).await, [format!("alice/phone={want}")], "{is}");
    }
}
