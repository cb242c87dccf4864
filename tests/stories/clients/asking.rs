//! What all clients ask: what there is, what a node holds, and what others are interested in.

use minidom::Element;

use crate::harness::{Device, condition};
use crate::stories::discovery::verification;

pub(super) const NS_INFO: &str = "http://jabber.org/protocol/disco#info";
pub(super) const NS_PUBSUB: &str = "http://jabber.org/protocol/pubsub";
pub(super) const NS_EVENT: &str = "http://jabber.org/protocol/pubsub#event";
pub(super) const NS_FORM: &str = "jabber:x:data";
pub(super) const NS_BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
pub(super) const NS_DISPLAYED: &str = "urn:xmpp:mds:displayed:0";

/// The options that Conversations and Gajim send with what is private.
pub(super) const PRIVATE: [(&str, &str); 6] = [
    ("persist_items", "true"),
    ("access_model", "whitelist"),
    ("send_last_published_item", "never"),
    ("max_items", "max"),
    ("notify_delete", "true"),
    ("notify_retract", "true"),
];

/// What somebody says of itself.
pub(super) async fn info(device: &mut Device, whom: &str) -> Element {
    let answer = device.ask("get", Some(whom), &format!("<query xmlns='{NS_INFO}'/>")).await;
    answer.get_child("query", NS_INFO).unwrap_or_else(|| panic!("{answer:?}")).clone()
}

/// Looks for features where a client does, and finds all of them.
pub(super) async fn finds(device: &mut Device, whom: &str, wanted: &[&str]) {
    let query = info(device, whom).await;
    let has = |wanted: &str| query.children().any(|child| child.attr("var") == Some(wanted));
    let missing: Vec<_> = wanted.iter().filter(|wanted| !has(wanted)).collect();
    assert!(missing.is_empty(), "{whom} does not announce {missing:?}");
}

/// The fields of a form that is sent.
pub(super) fn form(of: &str, fields: &[(&str, &str)]) -> String {
    let field =
        |(name, value): &(&str, &str)| format!("<field var='pubsub#{name}'><value>{value}</value></field>");
    let fields = fields.iter().map(field).collect::<Vec<_>>().concat();
    let kind = format!("<field var='FORM_TYPE' type='hidden'><value>{NS_PUBSUB}#{of}</value></field>");
    format!("<x xmlns='{NS_FORM}' type='submit'>{kind}{fields}</x>")
}

/// Publishes in the own account. The error is its condition.
pub(super) async fn publish(
    device: &mut Device,
    (node, id): (&str, &str),
    payload: &str,
    options: &[(&str, &str)],
) -> Result<(), String> {
    let options = form("publish-options", options);
    let answer = device
        .ask(
            "set",
            None,
            &format!(
                "<pubsub xmlns='{NS_PUBSUB}'><publish node='{node}'><item id='{id}'>{payload}</item></publish>\
                 <publish-options>{options}</publish-options></pubsub>"
            ),
        )
        .await;
    if answer.attr("type") == Some("result") { Ok(()) } else { Err(condition(&answer)) }
}

/// The items of a node. The error is its condition.
pub(super) async fn items(device: &mut Device, whom: &str, node: &str) -> Result<Vec<Element>, String> {
    let query = format!("<pubsub xmlns='{NS_PUBSUB}'><items node='{node}'/></pubsub>");
    let answer = device.ask("get", Some(whom), &query).await;
    let pubsub = answer.get_child("pubsub", NS_PUBSUB).filter(|_| answer.attr("type") == Some("result"));
    let items = pubsub.and_then(|pubsub| pubsub.get_child("items", NS_PUBSUB));
    items.map(|items| items.children().cloned().collect()).ok_or_else(|| condition(&answer))
}

/// Says that it is there and what it is interested in (XEP-0115), and answers when the server asks.
pub(super) async fn announce(device: &mut Device, name: &str, nodes: &[&str]) {
    let features = nodes.iter().map(|node| format!("<feature var='{node}+notify'/>")).collect::<Vec<_>>();
    let query = format!(
        "<query xmlns='{NS_INFO}'><identity category='client' type='pc' name='{name}'/>{}</query>",
        features.concat()
    );
    let ver = verification(&query.parse().unwrap());
    let caps = "http://jabber.org/protocol/caps";
    device
        .send(&format!(
            "<presence><c xmlns='{caps}' hash='sha-1' node='urn:example:{name}' ver='{ver}'/></presence>"
        ))
        .await;
    let question = device.question().await;
    assert!(question.has_child("query", NS_INFO), "{question:?}");
    let attr = |name| question.attr(name).unwrap();
    device.send(&format!("<iq type='result' id='{}' to='{}'>{query}</iq>", attr("id"), attr("from"))).await;
    device.settle().await;
}

/// What a node of somebody tells, which must come next of all that it tells.
pub(super) async fn told(device: &mut Device, whom: &str, node: &str) -> Element {
    let event = device.find(|element| element.has_child("event", NS_EVENT)).await;
    let items = event.get_child("event", NS_EVENT).and_then(|event| event.get_child("items", NS_EVENT));
    let items = items.unwrap_or_else(|| panic!("{event:?}"));
    assert_eq!((event.attr("from"), items.attr("node")), (Some(whom), Some(node)));
    items.children().next().unwrap().clone()
}

/// Each sees the presence of the other.
pub(super) async fn befriend(one: &mut Device, other: &mut Device) {
    // RFC 6121 §3.1.6: who has not asked for the roster is not told of an approval.
    for device in [&mut *one, &mut *other] {
        device.get("<query xmlns='jabber:iq:roster'/>").await;
    }
    follows(one, other).await;
    follows(other, one).await;
}

async fn follows(fan: &mut Device, star: &mut Device) {
    let is =
        |kind| move |element: &Element| element.name() == "presence" && element.attr("type") == Some(kind);
    fan.send(&format!("<presence to='{}' type='subscribe'/>", star.bare())).await;
    star.find(is("subscribe")).await;
    star.send(&format!("<presence to='{}' type='subscribed'/>", fan.bare())).await;
    fan.find(is("subscribed")).await;
    star.settle().await;
    fan.settle().await;
}
