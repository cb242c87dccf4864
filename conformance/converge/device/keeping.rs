//! How a device changes what its account keeps, and looks at it.

use std::collections::BTreeMap;

use super::super::history::Fact;
use super::super::keeping::{Change, ChangeNo, Topic};
use super::Device;
use super::negotiation::is_servers_fault;
use crate::xml::{Element, escape};

const NS_ROSTER: &str = "jabber:iq:roster";
const NS_BLOCKING: &str = "urn:xmpp:blocking";
const NS_PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const NS_BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
const NS_DEVICES: &str = "urn:xmpp:omemo:2";
const NODE_DEVICES: &str = "urn:xmpp:omemo:2:devices";
const NS_READ: &str = "urn:xmpp:mds:displayed:0";
const NS_IDS: &str = "urn:xmpp:sid:0";

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// The device has asked for the list that it will put itself on.
    announcing: Option<ChangeNo>,
    /// The archive ids of what came last, by who sent it.
    newest: BTreeMap<String, String>,
}

impl Keeping {
    /// What was under way in a session that is over.
    pub(super) fn forget(&mut self) {
        self.announcing = None;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.announcing.is_none()
    }

    /// A message came from somebody.
    pub(super) fn came(&mut self, from: &str, stanza_id: Option<&str>) {
        let bare = from.split('/').next().unwrap_or(from);
        if let Some(id) = stanza_id {
            self.newest.insert(bare.to_owned(), id.to_owned());
        }
    }
}

impl Device {
    /// Changes something, if there is a stream to do it on.
    pub fn keep(&mut self, number: ChangeNo, change: Change) {
        if !self.is_online() {
            return;
        }
        let name = format!("k{}", number.0);
        let contact = |slot: u8| format!("contact{slot}@contacts.example");
        let blocked = |slot: u8| format!("blocked{slot}@blocked.example");
        let room = |slot: u8| format!("room{slot}@rooms.example");
        match change {
            Change::Contact(slot) => {
                let item = format!("<item jid='{}' name='{name}'/>", contact(slot));
                self.ask_for(number, change, contact(slot), Some(name), &query(NS_ROSTER, &item));
            }
            Change::NoContact(slot) => {
                let item = format!("<item jid='{}' subscription='remove'/>", contact(slot));
                self.ask_for(number, change, contact(slot), None, &query(NS_ROSTER, &item));
            }
            Change::Block(slot) | Change::Unblock(slot) => {
                let (verb, value) = match change {
                    Change::Block(_) => ("block", Some(String::new())),
                    _ => ("unblock", None),
                };
                let xml = format!("<{verb} xmlns='{NS_BLOCKING}'><item jid='{}'/></{verb}>", blocked(slot));
                self.ask_for(number, change, blocked(slot), value, &xml);
            }
            Change::Bookmark(slot) => {
                let payload = format!("<conference xmlns='{NS_BOOKMARKS}' name='{name}'/>");
                let xml = publish(NS_BOOKMARKS, &room(slot), &payload, PRIVATE);
                self.ask_for(number, change, room(slot), Some(name), &xml);
            }
            Change::NoBookmark(slot) => {
                let xml = format!(
                    "<pubsub xmlns='{NS_PUBSUB}'><retract node='{NS_BOOKMARKS}' notify='true'><item id='{}'/></retract></pubsub>",
                    room(slot)
                );
                self.ask_for(number, change, room(slot), None, &xml);
            }
            Change::Announce => {
                if self.keeping.is_idle() {
                    self.keeping.announcing = Some(number);
                    self.fetch(&format!("list-{}", number.0), Topic::Devices);
                }
            }
            Change::Read(user) => {
                let peer = self.accounts.jid(user);
                let Some(id) = self.keeping.newest.get(&peer).cloned() else { return };
                let payload = format!(
                    "<displayed xmlns='{NS_READ}'><stanza-id xmlns='{NS_IDS}' by='{}' id='{}'/></displayed>",
                    escape(&self.own_jid()),
                    escape(&id)
                );
                let xml = publish(NS_READ, &peer, &payload, PRIVATE);
                self.ask_for(number, change, peer, Some(id), &xml);
            }
        }
    }

    /// Looks at all that there is.
    pub fn look_at_all(&mut self) {
        if self.is_online() {
            for (number, topic) in Topic::ALL.into_iter().enumerate() {
                self.fetch(&format!("all-{number}"), topic);
            }
        }
    }

    /// The answer to one of these requests. Whether it was one.
    pub(super) fn kept(&mut self, iq: &Element, id: &str) -> bool {
        let Some((kind, number)) = id.split_once('-') else { return false };
        let Ok(number) = number.parse::<u32>() else { return false };
        let is_error = iq.attribute("type") == Some("error");
        match kind {
            // What a server could not do, it may have done.
            "keep" if is_error && is_servers_fault(iq) => {}
            "keep" if is_error => self.learn(Fact::NotKept { number: ChangeNo(number) }),
            "keep" => self.learn(Fact::Kept { number: ChangeNo(number) }),
            "list" => self.announce(iq, ChangeNo(number), is_error),
            "all" => {
                let topic = usize::try_from(number).ok().and_then(|number| Topic::ALL.get(number).copied());
                let is_none = is_error && condition(iq) == Some("item-not-found");
                if let Some(topic) = topic.filter(|_| !is_error || is_none) {
                    self.learn(Fact::Holds { topic, entries: entries(topic, iq) });
                }
            }
            _ => return false,
        }
        true
    }

    fn announce(&mut self, iq: &Element, number: ChangeNo, is_error: bool) {
        if self.keeping.announcing != Some(number) {
            return;
        }
        self.keeping.announcing = None;
        if is_error && condition(iq) != Some("item-not-found") {
            return;
        }
        let own = device_id(&self.part.resource);
        let mut all = entries(Topic::Devices, iq);
        all.insert(own.clone(), String::new());
        let devices: Vec<_> = all.keys().map(|id| format!("<device id='{}'/>", escape(id))).collect();
        let devices = devices.concat();
        let list = format!("<devices xmlns='{NS_DEVICES}'>{devices}</devices>");
        let xml = publish(NODE_DEVICES, "current", &list, OPEN);
        self.ask_for(number, Change::Announce, own, Some(String::new()), &xml);
    }

    fn fetch(&mut self, id: &str, topic: Topic) {
        let content = match topic {
            Topic::Contacts => query(NS_ROSTER, ""),
            Topic::Blocked => format!("<blocklist xmlns='{NS_BLOCKING}'/>"),
            Topic::Bookmarks => items(NS_BOOKMARKS),
            Topic::Devices => items(NODE_DEVICES),
            Topic::Read => items(NS_READ),
        };
        self.send_stanza(None, format!("<iq type='get' id='{id}'>{content}</iq>"));
    }

    fn ask_for(&mut self, number: ChangeNo, change: Change, key: String, value: Option<String>, xml: &str) {
        self.learn(Fact::Changing { number, topic: change.topic(), key, value });
        self.send_stanza(None, format!("<iq type='set' id='keep-{}'>{xml}</iq>", number.0));
    }
}

const PRIVATE: &[(&str, &str)] = &[
    ("persist_items", "true"),
    ("max_items", "max"),
    ("send_last_published_item", "never"),
    ("access_model", "whitelist"),
];
const OPEN: &[(&str, &str)] = &[("access_model", "open")];

/// A number that stands for a device on the list of devices.
fn device_id(resource: &str) -> String {
    let hash = resource.bytes().fold(1_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    (hash % 2_000_000_000).saturating_add(1).to_string()
}

fn query(ns: &str, content: &str) -> String {
    format!("<query xmlns='{ns}'>{content}</query>")
}

fn items(node: &str) -> String {
    format!("<pubsub xmlns='{NS_PUBSUB}'><items node='{node}'/></pubsub>")
}

fn publish(node: &str, id: &str, payload: &str, options: &[(&str, &str)]) -> String {
    let fields: Vec<_> = options
        .iter()
        .map(|(name, value)| format!("<field var='pubsub#{name}'><value>{value}</value></field>"))
        .collect();
    let fields = fields.concat();
    format!(
        "<pubsub xmlns='{NS_PUBSUB}'><publish node='{node}'><item id='{}'>{payload}</item></publish>\
         <publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
         <value>{NS_PUBSUB}#publish-options</value></field>{fields}</x></publish-options></pubsub>",
        escape(id)
    )
}

fn condition(iq: &Element) -> Option<&str> {
    let error = iq.children().find(|child| child.name == "error")?;
    error.children().next().map(|condition| condition.name.as_str())
}

/// What an answer says that there is.
fn entries(topic: Topic, iq: &Element) -> BTreeMap<String, String> {
    let attribute = |element: &Element, name: &str| element.attribute(name).unwrap_or_default().to_owned();
    let Some(payload) = iq.children().find(|child| child.name != "error") else { return BTreeMap::new() };
    let items = || payload.children().flat_map(Element::children);
    match topic {
        Topic::Contacts => {
            payload.children().map(|item| (attribute(item, "jid"), attribute(item, "name"))).collect()
        }
        Topic::Blocked => payload.children().map(|item| (attribute(item, "jid"), String::new())).collect(),
        Topic::Bookmarks => {
            let named = |item: &Element| item.children().next().map(|room| attribute(room, "name"));
            items().filter_map(|item| Some((attribute(item, "id"), named(item)?))).collect()
        }
        Topic::Devices => {
            let devices = items().flat_map(Element::children).flat_map(Element::children);
            devices.map(|device| (attribute(device, "id"), String::new())).collect()
        }
        Topic::Read => {
            let read = |item: &Element| {
                let id = item.children().next()?.children().next()?;
                Some((attribute(item, "id"), attribute(id, "id")))
            };
            items().filter_map(read).collect()
        }
    }
}
