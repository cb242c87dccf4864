//! # XEP-0402: PEP Native Bookmarks
//!
//! Follows 1.2.0 (2024-08-15). The rooms of a user, each an item of a node of the account.
//!
//! - Stage: none; a rule of the node. The list of [XEP-0048](crate::xep0048_bookmarks), in PEP and in private storage, is
//!   made of the items in the commit that changes them, and they of it (§5.3): at no moment do they differ.
//! - Ours: what a client does not know of a bookmark stays (§3.4 asks that of clients): a list without the extensions of
//!   a room does not remove them. What an older client adds to a room becomes an extension. There are as many rooms as one
//!   list holds, which is one item. An id is the address of its room as addresses are compared.

use std::collections::BTreeMap;

use compact_str::CompactString;
use unisono_core::account::Account;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Extension, Registry, Spec};
use unisono_core::jid::BareJid;
use unisono_core::storage::Write;
use unisono_xml::Element;

use crate::xep0048_bookmarks as list;
use crate::xep0060_pubsub::{Action, Change, Made, Rule, Scene, Seen, invalid_payload};
use crate::xep0492_notification_settings as notifications;

pub const NS: &str = "urn:xmpp:bookmarks:1";

/// How the node is made that nobody has made yet (§3.3, XEP-0223).
const OPTIONS: &[(&str, &str)] = &[
    ("pubsub#persist_items", "true"),
    ("pubsub#max_items", "max"),
    ("pubsub#send_last_published_item", "never"),
    ("pubsub#access_model", "whitelist"),
];

pub struct Bookmarks;

impl Extension for Bookmarks {
    fn spec(&self) -> Spec {
        Spec::xep(402, "1.2.0")
    }

    fn register(&self, on: &mut Registry) {
        // §5.3
        on.account_feature("urn:xmpp:bookmarks:1#compat").account_feature("urn:xmpp:bookmarks:1#compat-pep");
    }
}

/// A room, whichever form it is written in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Conference {
    autojoin: bool,
    name: Option<String>,
    nick: Option<String>,
    password: Option<String>,
    extensions: Vec<Element>,
}

/// Rooms by address.
pub(crate) type Conferences = BTreeMap<BareJid, Conference>;

impl Conference {
    /// Reads a room of this specification (§2), or of XEP-0048, by the namespace of its element.
    pub(crate) fn read(element: &Element) -> Self {
        let ns = element.ns();
        let text = |name: &str| element.child_text(name, ns).map(std::borrow::Cow::into_owned);
        let wrapped = element.child("extensions", NS).into_iter().flat_map(Element::children);
        let foreign = element.children().filter(|child| child.ns() != ns && child.ns() != NS);
        Self {
            autojoin: matches!(element.attr("autojoin"), Some("true" | "1")),
            name: element.attr("name").map(str::to_owned),
            nick: text("nick"),
            password: text("password"),
            extensions: wrapped.chain(foreign).cloned().collect(),
        }
    }

    /// With those extensions of an older form that this one does not speak of.
    fn with_extensions_of(mut self, old: &Self) -> Self {
        let is_new = |extension: &&Element| {
            !self.extensions.iter().any(|own| own.is(extension.name(), extension.ns()))
        };
        let kept: Vec<_> = old.extensions.iter().filter(is_new).cloned().collect();
        self.extensions.extend(kept);
        self
    }

    /// As it stands in an item (§2).
    fn to_item(&self) -> Element {
        let extensions = (!self.extensions.is_empty())
            .then(|| Element::builder("extensions", NS).children(self.extensions.iter().cloned()).build());
        self.write(NS).child_opt(extensions).build()
    }

    /// As it stands in the list (§5.3.1).
    pub(crate) fn to_entry(&self, jid: &BareJid) -> Element {
        self.write(list::NS).attr("jid", jid.as_str()).children(self.extensions.iter().cloned()).build()
    }

    fn write(&self, ns: &'static str) -> unisono_xml::ElementBuilder {
        let text = |name: &'static str, text: &Option<String>| {
            text.as_ref().map(|text| Element::builder(name, ns).text(text.as_str()).build())
        };
        Element::builder("conference", ns)
            .attr_opt("name", self.name.as_deref())
            .attr("autojoin", if self.autojoin { "true" } else { "false" })
            .child_opt(text("nick", &self.nick))
            .child_opt(text("password", &self.password))
    }
}

/// The rooms that the items tell of which stay. Where they are too many to be seen, the list tells of them.
pub(crate) fn conferences(seen: &Seen, stays: impl Fn(&str) -> bool) -> Conferences {
    if !seen.is_whole() {
        let mut rooms = list::rooms(seen);
        rooms.retain(|jid, _| stays(jid.as_str()));
        return rooms;
    }
    let rooms = seen.items(NS).filter(|(id, payload)| stays(id) && payload.is("conference", NS));
    rooms.filter_map(|(id, payload)| Some((id.parse().ok()?, Conference::read(&payload)))).collect()
}

/// What makes the items of one list of rooms those of another (§5.3.2): nothing is said of what stays.
/// Returns what there is then.
pub(crate) fn update(now: &Conferences, wanted: &Conferences) -> (Vec<Change>, Conferences) {
    let mut changes = Vec::new();
    let mut result = Conferences::new();
    for (jid, new) in wanted {
        let old = now.get(jid);
        let new = old.map_or_else(|| new.clone(), |old| new.clone().with_extensions_of(old));
        if old != Some(&new) {
            changes.push(Change {
                node: NS,
                action: Action::Publish { id: jid.as_str().into(), payload: new.to_item() },
                options: OPTIONS,
            });
        }
        result.insert(jid.clone(), new);
    }
    let gone = now.keys().filter(|jid| !wanted.contains_key(*jid));
    changes.extend(gone.map(|jid| {
        let action = Action::Retract { id: CompactString::from(jid.as_str()) };
        Change { node: NS, action, options: OPTIONS }
    }));
    (changes, result)
}

/// The rule of the node: the list follows each change (§5.3.1).
pub(crate) struct OfConferences;

impl Rule for OfConferences {
    fn options(&self) -> &'static [(&'static str, &'static str)] {
        OPTIONS
    }

    fn reads(&self) -> &'static [&'static str] {
        list::READS
    }

    fn follow(&self, action: &mut Action, scene: &Scene<'_>) -> Result<Vec<Change>, StanzaError> {
        let mut rooms = conferences(scene.seen, |id| !scene.is_gone(id) && id != action.id().as_str());
        if let Action::Publish { id, payload } = action {
            // §2: "MUST contain only one conference room", "as item id, the Room JID".
            if !payload.is("conference", NS) {
                return Err(invalid_payload());
            }
            // As it is compared: else two bookmarks could name one room.
            let jid = id.parse().ok().filter(|jid: &BareJid| jid.as_str() == id.as_str());
            let jid = jid.ok_or_else(|| {
                StanzaError::new(Condition::BadRequest).with_text("the id is no address of a room")
            })?;
            rooms.insert(jid, Conference::read(payload));
            list::has_room_for(scene.seen, &rooms)?;
        }
        Ok(list::of_rooms(scene, &rooms).into_iter().collect())
    }

    fn lost(&self, scene: &Scene<'_>) -> Vec<Change> {
        let rooms = conferences(scene.seen, |id| !scene.is_gone(id));
        list::of_rooms(scene, &rooms).into_iter().collect()
    }

    fn keep(&self, made: &Made<'_>, _: &Seen, account: &mut Account, writes: &mut Vec<Write>) -> bool {
        match made {
            Made::Changed(Action::Publish { id, payload }) => {
                notifications::changed(account, id, payload.child("extensions", NS), writes);
            }
            Made::Changed(Action::Retract { id }) => notifications::changed(account, id, None, writes),
            Made::Displaced(id) => notifications::changed(account, id, None, writes),
            Made::Emptied => notifications::emptied(account, writes),
        }
        false
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::element;

    fn rooms(list: &[(&str, &str)]) -> Conferences {
        let read = |(jid, text): &(&str, &str)| (jid.parse().unwrap(), Conference::read(&element(text)));
        list.iter().map(read).collect()
    }

    #[test]
    fn a_room_is_the_same_in_both_forms() {
        for (item, entry) in [
            (
                "<conference xmlns='urn:xmpp:bookmarks:1'/>",
                "<conference xmlns='storage:bookmarks' jid='r@c.example'/>",
            ),
            (
                "<conference xmlns='urn:xmpp:bookmarks:1' name='R' autojoin='1'><nick>J</nick>\
                 <password>p</password><extensions><a xmlns='urn:x'>1</a></extensions></conference>",
                "<conference xmlns='storage:bookmarks' jid='r@c.example' name='R' autojoin='true'><nick>J</nick>\
                 <password>p</password><a xmlns='urn:x'>1</a></conference>",
            ),
        ] {
            let room = Conference::read(&element(item));
            assert_eq!(room, Conference::read(&element(entry)), "{item}");
            let jid = "r@c.example".parse().unwrap();
            assert_eq!(Conference::read(&room.to_entry(&jid)), room);
            assert_eq!(Conference::read(&room.to_item()), room);
        }
    }

    #[test]
    fn only_what_differs_changes() {
        let now = rooms(&[
            ("a@c.example", "<conference xmlns='urn:xmpp:bookmarks:1' name='A'/>"),
            (
                "b@c.example",
                "<conference xmlns='urn:xmpp:bookmarks:1' name='B'><extensions><x xmlns='urn:x'/></extensions></conference>",
            ),
            ("c@c.example", "<conference xmlns='urn:xmpp:bookmarks:1'/>"),
        ]);
        let wanted = rooms(&[
            ("a@c.example", "<conference xmlns='storage:bookmarks' name='A' autojoin='false'/>"),
            ("b@c.example", "<conference xmlns='storage:bookmarks' name='New'/>"),
            ("d@c.example", "<conference xmlns='storage:bookmarks' autojoin='1'/>"),
        ]);
        let (changes, result) = update(&now, &wanted);
        let told: Vec<_> = changes.iter().map(|change| change.action.id().as_str()).collect();
        assert_eq!(told, ["b@c.example", "d@c.example", "c@c.example"]);
        assert!(matches!(changes.last().unwrap().action, Action::Retract { .. }));
        let kept = result.get(&"b@c.example".parse::<BareJid>().unwrap()).unwrap();
        assert_eq!((kept.name.as_deref(), kept.extensions.len()), (Some("New"), 1), "unknown children stay");
        assert_eq!(update(&result, &wanted).0, [], "nothing is left to change");
    }
}
