//! # XEP-0048: Bookmarks
//!
//! Follows 1.2 (2020-08-04). The rooms and pages of a user as one list, for clients that know nothing newer.
//!
//! - Stage: none; a rule of the node, and what private storage (XEP-0049) answers for the list, which is that of the node.
//! - The rooms are those of [XEP-0402](crate::xep0402_bookmarks), the pages are here alone.
//! - Ours: where a node is open to others, nothing is copied to it (XEP-0411 §5). When it is closed, what is in any of the
//!   forms is in all of them. A list is not longer than an item may be. What cannot be read in it stays in it.

use std::sync::Arc;

use unisono_core::account::{Account, Cell};
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Extension, Registry, Request, Spec};
use unisono_core::hub::Hub;
use unisono_core::ids::Ticket;
use unisono_core::jid::{BareJid, Jid};
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_xml::Element;

use crate::xep0060_pubsub::{
    Action, Change, PAYLOAD_BYTES_MAX, Rule, Scene, Seen, invalid_payload, is_private, make_for_owner,
    room_of as items_max,
};
use crate::xep0402_bookmarks::{self as rooms, Conference, Conferences};

pub const NS: &str = "storage:bookmarks";
/// What has to be seen to change one of the forms; the list comes first, which is one item.
pub(crate) const READS: &[&str] = &[NS, rooms::NS];
/// Rooms of one account.
const ROOMS_MAX: usize = 1_000;
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

/// The room that an entry of a list is for.
fn room_of(entry: &Element) -> Option<BareJid> {
    entry.attr("jid").filter(|_| entry.is("conference", NS))?.parse().ok()
}

/// The rooms in a list.
fn read(storage: &Element) -> Conferences {
    storage.children().filter_map(|room| Some((room_of(room)?, Conference::read(room)))).collect()
}

/// What else is in a list: pages, and what is for clients to understand.
fn others(storage: &Element) -> impl Iterator<Item = &Element> {
    storage.children().filter(|child| room_of(child).is_none())
}

/// A list of these rooms, with what else is in another one.
fn write(rooms: &Conferences, other: Option<&Element>) -> Element {
    let rooms = rooms.iter().map(|(jid, room)| room.to_entry(jid));
    let others = other.into_iter().flat_map(others).cloned();
    Element::builder("storage", NS).children(rooms).children(others).build()
}

/// The list as it is, of the items that were seen.
fn current(seen: &Seen) -> Option<Element> {
    seen.items(NS).map(|(_, payload)| payload).rfind(|payload| payload.is("storage", NS))
}

/// The rooms that the list tells of.
pub(crate) fn rooms(seen: &Seen) -> Conferences {
    current(seen).as_ref().map(read).unwrap_or_default()
}

/// Whether there may be these rooms: what there was may stay or become less.
///
/// # Errors
///
/// `resource-constraint`
pub(crate) fn has_room_for(seen: &Seen, wanted: &Conferences) -> Result<(), StanzaError> {
    let now = current(seen);
    fits(seen, wanted, &write(wanted, now.as_ref()))
}

fn fits(seen: &Seen, wanted: &Conferences, list: &Element) -> Result<(), StanzaError> {
    let full = |text| Err(StanzaError::new(Condition::ResourceConstraint).with_text(text));
    if wanted.len() > ROOMS_MAX && wanted.len() > rooms::conferences(seen, |_| true).len() {
        return full("there are too many bookmarks");
    }
    if list.is_longer_than(PAYLOAD_BYTES_MAX as usize, &CLIENT_SCOPE) {
        let now = write(&rooms::conferences(seen, |_| true), current(seen).as_ref());
        if list.is_longer_than(now.to_string_in(&CLIENT_SCOPE).len(), &CLIENT_SCOPE) {
            return full("the bookmarks take too much");
        }
    }
    Ok(())
}

/// What makes both forms tell of the rooms and pages of a list. Returns the changes of the rooms, and the list.
///
/// # Errors
///
/// `resource-constraint`
fn take_over(
    account: &Account,
    seen: &Seen,
    storage: &Element,
) -> Result<(Vec<Change>, Element), StanzaError> {
    let now = rooms::conferences(seen, |_| true);
    let (changes, result) = rooms::update(&now, &read(storage));
    // A room that takes the place of another in a full node would be gone from one form alone.
    if result.len() > items_max(account, rooms::NS) && result.len() > now.len() {
        return Err(StanzaError::new(Condition::ResourceConstraint).with_text("the node is full"));
    }
    let list = write(&result, Some(storage));
    fits(seen, &result, &list)?;
    Ok((changes, list))
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
    fn options(&self) -> &'static [(&'static str, &'static str)] {
        OPTIONS
    }

    fn reads(&self) -> &'static [&'static str] {
        READS
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
        let (changes, list) = take_over(scene.account, scene.seen, payload)?;
        *payload = list;
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
    make_for_owner(&request.hub, cell, request.from(), READS, |account, seen| {
        let (mut changes, list) = take_over(account, seen, storage)?;
        changes.extend((current(seen).as_ref() != Some(&list)).then(|| publish(list)));
        Ok((changes, Vec::new()))
    })
    .await
}

/// Brings the forms together when they become one: what was in either node, or in these lists, is in both nodes.
///
/// # Errors
///
/// Those of publishing.
pub(crate) async fn join(
    hub: &Hub,
    cell: &Arc<Cell>,
    publisher: &Jid,
    lists: &[Element],
) -> Result<Ticket, StanzaError> {
    make_for_owner(hub, cell, publisher, READS, |account, seen| {
        let now = current(seen);
        let all = joined(seen, lists);
        if now.is_none() && all.first_child().is_none() {
            return Ok((Vec::new(), Vec::new()));
        }
        let (mut changes, list) = take_over(account, seen, &all)?;
        changes.extend((now.as_ref() != Some(&list)).then(|| publish(list)));
        Ok((changes, Vec::new()))
    })
    .await
}

/// All that is in the nodes and in these lists, each room once.
fn joined(seen: &Seen, lists: &[Element]) -> Element {
    let now = current(seen);
    let mut rooms = rooms::conferences(seen, |_| true);
    let mut kept: Vec<Element> = Vec::new();
    for list in now.iter().chain(lists) {
        for (jid, room) in read(list) {
            rooms.entry(jid).or_insert(room);
        }
        for other in others(list) {
            if !kept.contains(other) {
                kept.push(other.clone());
            }
        }
    }
    let kept = Element::builder("storage", NS).children(kept).build();
    write(&rooms, Some(&kept))
}

/// Whether private storage and the nodes are one: nobody but the owner reads the nodes.
pub(crate) fn is_one(account: &Account) -> bool {
    is_private(account, NS) && is_private(account, rooms::NS)
}

/// The list, for who asks private storage for it; none if nothing is bookmarked. The owner reads the nodes even where they
/// are not one with it.
///
/// # Errors
///
/// The store cannot be read.
pub(crate) async fn stored(request: &Request) -> Result<Option<Element>, StanzaError> {
    let Some(cell) = &request.account else { return Ok(None) };
    let seen = Seen::read(&request.hub, cell, READS).await?;
    Ok(Some(joined(&seen, &[])).filter(|list| list.first_child().is_some()))
}
