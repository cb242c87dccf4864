//! # XEP-0048: Bookmarks
//!
//! Follows 1.2 (2020-08-04). The rooms and pages of a user as one list, for clients that know nothing newer.
//!
//! - Stage: none; a rule of the node, and what private storage (XEP-0049) answers for the list, which is that of the node.
//! - The rooms are those of [XEP-0402](crate::xep0402_bookmarks), the pages are here alone.
//! - Ours: where a node is open to others, nothing is copied to it (XEP-0411 §5).

use unisono_core::account::Account;
use unisono_core::error::StanzaError;
use unisono_core::extension::{Extension, Registry, Request, Spec};
use unisono_core::ids::Ticket;
use unisono_core::jid::BareJid;
use unisono_xml::Element;

use crate::xep0060_pubsub::{Action, Change, Rule, Scene, Seen, invalid_payload, is_private, make_for_owner};
use crate::xep0402_bookmarks::{self as rooms, Conference, Conferences};

pub const NS: &str = "storage:bookmarks";
/// The one item of the node (§3.1).
const ITEM: &str = "current";
/// How the node is made that nobody has made yet (§3.1).
const OPTIONS: &[(&str, &str)] =
    &[("pubsub#persist_items", "true"), ("pubsub#max_items", "1"), ("pubsub#access_model", "whitelist")];

pub struct BookmarkList;

impl Extension for BookmarkList {
    fn spec(&self) -> Spec {
        Spec::xep(48, "1.2")
    }

    fn register(&self, _: &mut Registry) {}
}

/// The rooms in a list.
fn read(storage: &Element) -> Conferences {
    let conferences = storage.children().filter(|child| child.is("conference", NS));
    let read = |room: &Element| Some((room.attr("jid")?.parse::<BareJid>().ok()?, Conference::read(room)));
    conferences.filter_map(read).collect()
}

/// A list of these rooms, with what else is in another one.
fn write(rooms: &Conferences, other: Option<&Element>) -> Element {
    let rooms = rooms.iter().map(|(jid, room)| room.to_entry(jid));
    let others = other.into_iter().flat_map(Element::children);
    let others = others.filter(|child| !child.is("conference", NS)).cloned();
    Element::builder("storage", NS).children(rooms).children(others).build()
}

/// The list as it is, of the items that were seen.
fn current(seen: &Seen) -> Option<Element> {
    seen.items(NS).map(|(_, payload)| payload).rfind(|payload| payload.is("storage", NS))
}

/// The change that makes the list tell of these rooms, if it does not.
pub(crate) fn of_rooms(scene: &Scene<'_>, rooms: &Conferences) -> Option<Change> {
    let now = current(scene.seen);
    let list = write(rooms, now.as_ref());
    (is_private(scene.account, NS) && now.as_ref() != Some(&list)).then(|| publish(list))
}

fn publish(list: Element) -> Change {
    Change { node: NS, action: Action::Publish { id: ITEM.into(), payload: list }, options: OPTIONS }
}

/// The rule of the node: the items of XEP-0402 follow the list.
pub(crate) struct OfStorage;

impl Rule for OfStorage {
    fn reads(&self) -> &'static [&'static str] {
        &[rooms::NS, NS]
    }

    fn follow(&self, action: &mut Action, scene: &Scene<'_>) -> Result<Vec<Change>, StanzaError> {
        // Who stops using the list does not mean to lose the rooms.
        let Action::Publish { payload, .. } = action else { return Ok(Vec::new()) };
        if !payload.is("storage", NS) {
            return Err(invalid_payload());
        }
        if !is_private(scene.account, rooms::NS) {
            return Ok(Vec::new());
        }
        let (changes, result) = rooms::update(&rooms::conferences(scene.seen, |_| true), &read(payload));
        *payload = write(&result, Some(payload));
        Ok(changes)
    }
}

/// Stores the list that a client puts into private storage (XEP-0411): in both nodes.
///
/// # Errors
///
/// Those of publishing.
pub(crate) async fn store(request: &Request, storage: &Element) -> Result<Ticket, StanzaError> {
    let Some(cell) = &request.account else { return Ok(Ticket::NONE) };
    make_for_owner(&request.hub, cell, request.from(), &[rooms::NS, NS], |_, seen| {
        let (mut changes, result) = rooms::update(&rooms::conferences(seen, |_| true), &read(storage));
        let list = write(&result, Some(storage));
        if current(seen).as_ref() != Some(&list) {
            changes.push(publish(list));
        }
        Ok((changes, Vec::new()))
    })
    .await
}

/// Whether private storage and the nodes are one: nobody but the owner reads the nodes.
pub(crate) fn is_one(account: &Account) -> bool {
    is_private(account, NS) && is_private(account, rooms::NS)
}

/// The list, for who asks private storage for it; none if nothing is bookmarked.
///
/// # Errors
///
/// The store cannot be read.
pub(crate) async fn stored(request: &Request) -> Result<Option<Element>, StanzaError> {
    let Some(cell) = &request.account else { return Ok(None) };
    let seen = Seen::read(&request.hub, cell, &[rooms::NS, NS]).await?;
    let list = write(&rooms::conferences(&seen, |_| true), current(&seen).as_ref());
    Ok(Some(list).filter(|list| list.first_child().is_some()))
}
