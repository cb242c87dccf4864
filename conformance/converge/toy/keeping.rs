//! What the toy keeps besides messages.

use std::collections::BTreeMap;

use super::Fault;
use super::core::Core;
use crate::xml::{Element, escape};

/// By the namespace or node, and the name of each.
pub(super) type Kept = BTreeMap<(String, String), String>;

const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const LIST: &str = "urn:xmpp:omemo:2:devices";

impl Core {
    /// Answers what is asked of it; `None` if it is something else.
    pub(super) fn keep(&mut self, owner: &str, iq: &Element) -> Option<String> {
        let payload = iq.children().next()?;
        let is_set = iq.attribute("type") == Some("set");
        let is_lost = is_set && is_kept(payload) && self.strikes(Fault::ForgetsChanges, 4);
        let mut lost = Kept::new();
        let kept = self.state.kept.entry(owner.to_owned()).or_default();
        let kept = if is_lost { &mut lost } else { kept };
        match (payload.ns.as_str(), payload.name.as_str()) {
            ("jabber:iq:roster" | "urn:xmpp:blocking", _) => Some(simple(kept, payload, is_set)),
            (PUBSUB, _) => Some(nodes(kept, payload.children().next()?)),
            _ => None,
        }
    }
}

fn is_kept(payload: &Element) -> bool {
    ["jabber:iq:roster", "urn:xmpp:blocking", PUBSUB].contains(&payload.ns.as_str())
}

fn text<'a>(element: &'a Element, name: &str) -> &'a str {
    element.attribute(name).unwrap_or_default()
}

fn simple(kept: &mut Kept, payload: &Element, is_set: bool) -> String {
    for item in payload.children().filter(|_| is_set) {
        let key = (payload.ns.clone(), text(item, "jid").to_owned());
        if payload.name == "unblock" || item.attribute("subscription").is_some() {
            kept.remove(&key);
        } else {
            kept.insert(key, text(item, "name").to_owned());
        }
    }
    let all = kept.iter().filter(|((ns, _), _)| *ns == payload.ns);
    let all =
        all.map(|((_, jid), name)| format!("<item jid='{jid}' name='{name}'/>")).collect::<Vec<_>>().concat();
    let content = if is_set { String::new() } else { all };
    format!("<{} xmlns='{}'>{content}</{}>", payload.name, payload.ns, payload.name)
}

fn nodes(kept: &mut Kept, action: &Element) -> String {
    let node = text(action, "node").to_owned();
    let items = action.children().filter(|_| action.name != "items");
    for item in items {
        let key = (node.clone(), text(item, "id").to_owned());
        match item.children().next() {
            // Nobody is taken off the list.
            Some(list) if node == LIST => {
                for device in list.children() {
                    kept.insert((node.clone(), text(device, "id").to_owned()), String::new());
                }
            }
            Some(payload) => _ = kept.insert(key, payload.to_string()),
            None => _ = kept.remove(&key),
        }
    }
    let all: Vec<_> = kept.iter().filter(|((of, _), _)| *of == node).collect();
    let content: String = if node == LIST {
        let devices: Vec<_> = all.iter().map(|((_, id), _)| format!("<device id='{id}'/>")).collect();
        let devices = devices.concat();
        format!("<item id='current'><devices xmlns='urn:xmpp:omemo:2'>{devices}</devices></item>")
    } else {
        let item = |id: &str, payload: &str| format!("<item id='{}'>{payload}</item>", escape(id));
        all.iter().map(|((_, id), payload)| item(id, payload)).collect()
    };
    let content = if action.name == "items" { content } else { String::new() };
    format!("<pubsub xmlns='{PUBSUB}'><items node='{node}'>{content}</items></pubsub>")
}
