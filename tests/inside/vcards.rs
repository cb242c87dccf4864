//! What users tell about themselves, in both forms: vcard-temp (XEP-0054) and vCard4 (XEP-0292).

use super::avatars::{ask, set_vcard, vcard};
use super::nodes::befriend;
use super::presence::condition;
use super::*;

const NS: &str = "http://jabber.org/protocol/pubsub";
const NODE: &str = "urn:xmpp:vcard4";
const NS_FOUR: &str = "urn:ietf:params:xml:ns:vcard-4.0";

async fn publish(device: &Device, content: &str, more: &str) -> Option<String> {
    let item = format!("<item id='mine'><vcard xmlns='{NS_FOUR}'>{content}</vcard></item>");
    let publish = format!("<publish node='{NODE}'>{item}</publish>{more}");
    let iq = format!("<iq type='set' id='p'><pubsub xmlns='{NS}'>{publish}</pubsub></iq>");
    condition(&ask(device, &iq).await.0)
}

/// The items of somebody's node, as `id: content`, or the condition of the error.
async fn four(device: &Device, whose: &str) -> Result<Vec<String>, String> {
    let items = format!("<pubsub xmlns='{NS}'><items node='{NODE}'/></pubsub>");
    let (answer, _) =
        ask(device, &format!("<iq type='get' id='i' to='{whose}@example.org'>{items}</iq>")).await;
    if let Some(condition) = condition(&answer) {
        return Err(condition);
    }
    let items = answer.child("pubsub", NS).and_then(|pubsub| pubsub.child("items", NS)).unwrap();
    let content = items.children().map(|item| {
        let card = item.child("vcard", NS_FOUR).unwrap();
        let content: String = card.children().map(|child| child.to_string_in(&CLIENT_SCOPE)).collect();
        format!("{}: {}", item.attr("id").unwrap(), content.replace(&format!(" xmlns='{NS_FOUR}'"), ""))
    });
    Ok(content.collect())
}

fn option(name: &str, value: &str) -> String {
    let field = |name: &str, value: &str| format!("<field var='{name}'><value>{value}</value></field>");
    format!(
        "<publish-options><x xmlns='jabber:x:data' type='submit'>{}{}</x></publish-options>",
        field("FORM_TYPE", &format!("{NS}#publish-options")),
        field(&format!("pubsub#{name}"), value)
    )
}

#[tokio::test]
async fn both_forms_are_one() {
    let world = World::with(&["alice", "eve"]).await;
    let (phone, laptop) = (world.online("alice", "phone").await, world.online("alice", "laptop").await);
    let eve = world.online("eve", "desk").await;
    let list = phone.hub.interest_list(vec![NODE.into()]);
    laptop.session.cell.lock().session_mut(laptop.session.id).unwrap().set_interests(list);
    let set =
        "<FN>Alice</FN> and a text <LABEL><LINE>1</LINE></LABEL><TEL><HOME/><MSG/><NUMBER>1</NUMBER></TEL>";
    assert_eq!(set_vcard(&phone, set).await, None);
    let tel = "<tel><parameters><type><text>home</text></type></parameters><uri>tel:1</uri></tel>";
    assert_eq!(four(&eve, "alice").await, Ok(vec![format!("current: <fn><text>Alice</text></fn>{tel}")]));
    assert_eq!(vcard(&eve, "alice").await.as_deref(), Ok(set), "as it was set");
    let told = laptop.take().await;
    let item = told.first().and_then(|message| message.first_child()?.first_child()?.first_child());
    assert_eq!(item.and_then(|item| item.attr("id")), Some("current"), "{told:?}");
    assert!(item.unwrap().first_child().is_none(), "XEP-0292 §4.2.2");
    // What the older form does not know stays with the newer, and the other way round.
    let lang = "<lang><language-tag>en</language-tag></lang>";
    let name = "<fn><text>Alice L</text></fn>";
    assert_eq!(publish(&laptop, &format!("{lang}{name}{tel}"), "").await, None);
    let changed = set.replace("Alice", "Alice L").replace(" and a text ", "");
    assert_eq!(vcard(&eve, "alice").await, Ok(changed.clone()));
    let world = world.crash().await;
    let (phone, eve) = (world.online("alice", "phone").await, world.online("eve", "desk").await);
    assert_eq!(vcard(&eve, "alice").await, Ok(changed));
    assert_eq!(set_vcard(&phone, "<FN>A</FN><URL>u</URL>").await, None);
    let content = format!("{lang}<fn><text>A</text></fn><url><uri>u</uri></url>");
    assert_eq!(four(&phone, "alice").await, Ok(vec![format!("mine: {content}")]), "the item that there is");
    // Nothing is told of what stays as it is.
    let list = phone.hub.interest_list(vec![NODE.into()]);
    phone.session.cell.lock().session_mut(phone.session.id).unwrap().set_interests(list);
    phone.take().await;
    assert_eq!(
        ask(&phone, "<iq type='set' id='v'><vCard xmlns='vcard-temp'><URL>u</URL><FN>A</FN></vCard></iq>")
            .await
            .1,
        []
    );
    assert_eq!(vcard(&eve, "alice").await.as_deref(), Ok("<URL>u</URL><FN>A</FN>"));
    assert_eq!(set_vcard(&phone, "").await, None);
    assert_eq!(four(&phone, "alice").await, Ok(vec![format!("mine: {lang}")]));
    assert_eq!(vcard(&phone, "alice").await.as_deref(), Ok(""));
}

#[tokio::test]
async fn a_closed_node_is_not_opened_by_the_older_form() {
    let world = World::with(&["alice", "bob", "eve"]).await;
    let phone = world.online("alice", "phone").await;
    let (bob, eve) = (world.online("bob", "desk").await, world.online("eve", "desk").await);
    befriend(&phone, &bob).await;
    let unavailable = Err("service-unavailable".to_owned());
    assert_eq!(
        publish(&phone, "<note><text>secret</text></note>", &option("access_model", "presence")).await,
        None
    );
    assert_eq!(vcard(&bob, "alice").await.as_deref(), Ok("<DESC>secret</DESC>"));
    assert_eq!(vcard(&eve, "alice").await, unavailable);
    assert_eq!(set_vcard(&phone, "<DESC>secret</DESC><KEY/>").await, None);
    assert_eq!(vcard(&bob, "alice").await.as_deref(), Ok("<DESC>secret</DESC><KEY/>"));
    assert_eq!(vcard(&eve, "alice").await, unavailable);
    assert!(four(&eve, "alice").await.is_err());
    // Who deletes the node has told nothing any more, and what he told does not come back.
    let delete = format!("<pubsub xmlns='{NS}#owner'><delete node='{NODE}'/></pubsub>");
    assert_eq!(condition(&ask(&phone, &format!("<iq type='set' id='d'>{delete}</iq>")).await.0), None);
    assert_eq!(vcard(&phone, "alice").await.as_deref(), Ok("<KEY/>"));
}

#[tokio::test]
async fn what_is_no_card_is_refused() {
    let world = World::with(&["alice", "eve"]).await;
    let (phone, eve) = (world.online("alice", "phone").await, world.online("eve", "desk").await);
    for (node, payload) in
        [(NODE, "<vCard xmlns='vcard-temp'/>"), ("http://jabber.org/protocol/nick", "<n xmlns='u'/>")]
    {
        let publish = format!("<publish node='{node}'><item>{payload}</item></publish>");
        let iq = format!("<iq type='set' id='p'><pubsub xmlns='{NS}'>{publish}</pubsub></iq>");
        assert_eq!(condition(&ask(&phone, &iq).await.0).as_deref(), Some("bad-request"), "{node}");
    }
    // What would not be there afterwards is not taken.
    assert_eq!(publish(&phone, "<fn><text>A</text></fn>", &option("persist_items", "0")).await, None);
    assert_eq!(set_vcard(&phone, "<FN>A</FN>").await.as_deref(), Some("conflict"));
    assert_eq!(set_vcard(&phone, "<LABEL/>").await, None, "that is not in the node");
    assert_eq!(vcard(&phone, "alice").await.as_deref(), Ok("<LABEL/>"));
    let large = format!("<DESC>{}</DESC>", "x".repeat(57 * 1024));
    assert_eq!(set_vcard(&phone, &large).await.as_deref(), Some("resource-constraint"));
    assert_eq!(vcard(&eve, "alice").await, Err("service-unavailable".to_owned()));
    assert_eq!(vcard(&phone, "alice").await.as_deref(), Ok("<LABEL/>"), "nothing has changed");
}
