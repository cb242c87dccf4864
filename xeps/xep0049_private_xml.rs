//! # XEP-0049: Private XML Storage
//!
//! Follows 1.2 (2004-03-01). Elements that the clients of one account keep on the server.
//!
//! - State: one document for each name and namespace, and how much each takes.
//! - Ours: an element without content or attributes is not kept, since it is the answer anyway. To somebody else's storage
//!   the answer is the same whether there is such an account or not (§2.3 allows it).
//! - The list of bookmarks is that of [XEP-0048](crate::xep0048_bookmarks), which keeps it in PEP (XEP-0411). While others
//!   may read a node of it, what is stored is kept here; it goes into the nodes when nobody else reads them any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use unisono_core::account::{Account, Cell};
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{AccountState, Answer, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::hub::Hub;
use unisono_core::ids::Ticket;
use unisono_core::jid::Jid;
use unisono_core::stanza::{CLIENT_SCOPE, IqType, NS_CLIENT, OUR_LIMITS};
use unisono_core::storage::{StoreError, Write};
use unisono_xml::{Element, Node};

use crate::xep0048_bookmarks;

pub const NS: &str = "jabber:iq:private";
/// Documents of this kind, under the name and namespace of their element.
const KIND: &str = "private";
/// The name of the list of bookmarks.
const BOOKMARKS: &str = "{storage:bookmarks}storage";
/// Bytes of what is stored under one name.
const BYTES_MAX: usize = 128 * 1024;
/// Names of one account; the limits of a stream bound each.
const NAMES_MAX: usize = 100;
/// Bytes of all that one account stores.
const ACCOUNT_BYTES_MAX: usize = 1024 * 1024;

pub struct PrivateXml;

impl Extension for PrivateXml {
    fn spec(&self) -> Spec {
        Spec::xep(49, "1.2")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS).feature(Entity::OwnAccount, NS);
        on.account_state::<Sizes>();
        on.iq_later(Entity::OwnAccount, IqType::Set, (NS, "query"), |request| Box::pin(set(request)));
        on.iq_later(Entity::OwnAccount, IqType::Get, (NS, "query"), |request| Box::pin(get(request)));
    }
}

/// How many bytes are stored under each name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sizes(BTreeMap<String, usize>);

impl Sizes {
    /// Whether all of it is more than one account may store.
    fn is_too_much(&self) -> bool {
        let bytes = self.0.iter().map(|(name, bytes)| name.len().saturating_add(*bytes));
        self.0.len() > NAMES_MAX || bytes.fold(0, usize::saturating_add) > ACCOUNT_BYTES_MAX
    }
}

impl AccountState for Sizes {
    const KIND: &'static str = "private-sizes";

    fn decode(text: &str) -> Self {
        let sizes = text.lines().filter_map(|line| line.split_once(' '));
        Self(sizes.filter_map(|(bytes, name)| Some((name.to_owned(), bytes.parse().ok()?))).collect())
    }

    fn encode(&self) -> String {
        self.0.iter().map(|(name, bytes)| format!("{bytes} {name}")).collect::<Vec<_>>().join("\n")
    }
}

fn name(element: &Element) -> String {
    format!("{{{}}}{}", element.ns(), element.name())
}

/// What a request stores, by name; `None` where nothing is left of it.
fn to_store(query: &Element) -> Result<BTreeMap<String, Option<String>>, StanzaError> {
    let mut elements: BTreeMap<String, Vec<&Element>> = BTreeMap::new();
    for element in query.children() {
        elements.entry(name(element)).or_default().push(element);
        // §2.3: "a proper namespace", which those of the protocol itself are not.
        let is_proper = !["", NS_CLIENT, NS].contains(&element.ns());
        if !is_proper {
            return Err(StanzaError::new(Condition::NotAcceptable));
        }
    }
    if elements.is_empty() {
        return Err(StanzaError::new(Condition::NotAcceptable)); // §2.3
    }
    let is_blank = |element: &Element| element.attrs().is_empty() && element.nodes().is_empty();
    let stored = elements.into_iter().map(|(name, elements)| {
        let text: String = elements.iter().map(|element| element.to_string_in(&CLIENT_SCOPE)).collect();
        if text.len() > BYTES_MAX {
            return Err(full("too much for one element"));
        }
        let nothing = matches!(elements.as_slice(), [one] if is_blank(one));
        Ok((name, Some(text).filter(|_| !nothing)))
    });
    stored.collect()
}

fn full(text: &'static str) -> StanzaError {
    StanzaError::new(Condition::ResourceConstraint).with_text(text)
}

/// §2.1: one element or more, each in a namespace of its own; several of one name are kept together.
async fn set(request: Request) -> Answer {
    let mut stored = to_store(&request.payload)?;
    let mut lists = request.payload.children().filter(|child| child.is("storage", xep0048_bookmarks::NS));
    let mut ticket = Ticket::NONE;
    if let (Some(list), None) = (lists.next(), lists.next())
        && let Some(cell) = &request.account
    {
        let (is_one, has_own) = bookmarks(&cell.lock());
        if !is_one {
            // That there are none is worth remembering: else the nodes answer.
            stored
                .entry(name(list))
                .and_modify(|text| _ = text.get_or_insert_with(|| list.to_string_in(&CLIENT_SCOPE)));
        } else if has_own {
            // Who says this has not seen what is in the nodes.
            stored.remove(&name(list));
            ticket = unite(&request.hub, cell, request.from(), Some(list)).await?;
        } else {
            stored.remove(&name(list));
            ticket = xep0048_bookmarks::store(&request, list).await?;
        }
    }
    let stored = store(&request.hub, &mut *request.account()?, stored)?;
    Ok(Reply::empty().after(ticket.max(stored)))
}

/// Whether the list is that of the nodes, and whether there is one here.
fn bookmarks(account: &Account) -> (bool, bool) {
    let has_own = account.state::<Sizes>().is_some_and(|sizes| sizes.0.contains_key(BOOKMARKS));
    (xep0048_bookmarks::is_one(account), has_own)
}

/// The nodes of the bookmarks may have become private: then they take what was kept here while they were not.
///
/// # Errors
///
/// There is no room for it in the nodes: then it stays here.
pub(crate) async fn reunite(hub: &Hub, cell: &Arc<Cell>, publisher: &Jid) -> Result<Ticket, StanzaError> {
    let (is_one, _) = bookmarks(&cell.lock());
    if is_one { unite(hub, cell, publisher, None).await } else { Ok(Ticket::NONE) }
}

/// Brings together what the nodes have, what is kept here, and a newer list if there is one.
async fn unite(
    hub: &Hub,
    cell: &Arc<Cell>,
    publisher: &Jid,
    newer: Option<&Element>,
) -> Result<Ticket, StanzaError> {
    let lists: Vec<_> = newer.cloned().into_iter().chain(read(hub, cell, BOOKMARKS).await?).collect();
    let ticket = xep0048_bookmarks::join(hub, cell, publisher, &lists).await?;
    if !bookmarks(&cell.lock()).1 {
        return Ok(ticket);
    }
    let nothing = BTreeMap::from([(BOOKMARKS.to_owned(), None)]);
    Ok(ticket.max(store(hub, &mut cell.lock(), nothing)?))
}

/// What is stored under a name.
async fn read(hub: &Hub, cell: &Arc<Cell>, name: &str) -> Result<Vec<Element>, StoreError> {
    let ticket = cell.lock().last_ticket();
    hub.store.wait(ticket).await;
    let stored = hub.store.document(cell.id, KIND, name).await?;
    let stored = stored.and_then(|text| Element::parse_fragment(&text, &CLIENT_SCOPE, &OUR_LIMITS).ok());
    let elements = stored.unwrap_or_default().into_iter().filter_map(|node| match node {
        Node::Element(element) => Some(element),
        Node::Text(_) => None,
    });
    Ok(elements.collect())
}

fn store(
    hub: &Hub,
    account: &mut Account,
    stored: BTreeMap<String, Option<String>>,
) -> Result<Ticket, StanzaError> {
    let old = account.state::<Sizes>().cloned().unwrap_or_default();
    let mut sizes = old.clone();
    let mut writes = Vec::new();
    for (name, value) in stored {
        match &value {
            Some(value) => _ = sizes.0.insert(name.clone(), value.len()),
            None => _ = sizes.0.remove(&name),
        }
        let (kind, key) = (KIND.into(), name.into());
        writes.push(Write::Document { account: account.id(), kind, key, value });
    }
    if sizes.is_too_much() {
        return Err(full("the private storage is full"));
    }
    if sizes != old {
        account.set_state(sizes, &mut writes);
    }
    Ok(hub.commit(account, writes))
}

/// §2.2: what was stored, or the empty element that was asked for.
async fn get(request: Request) -> Answer {
    let mut children = request.payload.children();
    // §2.3: "bad format" where nothing is asked for; and not more than one thing at a time.
    let (Some(wanted), None) = (children.next(), children.next()) else {
        return Err(StanzaError::new(Condition::BadRequest));
    };
    let cell = request.account.as_ref().ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let (is_one, has_own) = bookmarks(&cell.lock());
    if name(wanted) == BOOKMARKS && (is_one || !has_own) {
        if is_one && has_own {
            // Where there is no room in the nodes, it waits here.
            _ = unite(&request.hub, cell, request.from(), None).await;
        }
        let list = xep0048_bookmarks::stored(&request).await?;
        let list = list.unwrap_or_else(|| Element::new(wanted.name(), wanted.ns()));
        return Ok(Reply::with(Element::builder("query", NS).child(list).build()));
    }
    let mut elements = read(&request.hub, cell, &name(wanted)).await?;
    if elements.is_empty() {
        elements.push(Element::new(wanted.name(), wanted.ns()));
    }
    Ok(Reply::with(Element::builder("query", NS).children(elements).build()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::element;

    fn stored(query: &str) -> Result<Vec<(String, Option<String>)>, Condition> {
        let query = element(&format!("<query xmlns='{NS}'>{query}</query>"));
        to_store(&query).map(|stored| stored.into_iter().collect()).map_err(|error| error.condition)
    }

    #[test]
    fn what_is_stored() {
        let own = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        for (query, want) in [
            ("<a xmlns='urn:x'>1</a>", vec![own("{urn:x}a", Some("<a xmlns='urn:x'>1</a>"))]),
            ("<a xmlns='urn:x'/>", vec![own("{urn:x}a", None)]),
            ("<a xmlns='urn:x' b='1'/>", vec![own("{urn:x}a", Some("<a xmlns='urn:x' b='1'/>"))]),
            (
                "<a xmlns='urn:x'/><a xmlns='urn:x'/>",
                vec![own("{urn:x}a", Some("<a xmlns='urn:x'/><a xmlns='urn:x'/>"))],
            ), // §2.3: several elements of one namespace
            (
                "<b xmlns='urn:x'/><a xmlns='urn:y'>1</a>",
                vec![own("{urn:x}b", None), own("{urn:y}a", Some("<a xmlns='urn:y'>1</a>"))],
            ),
        ] {
            assert_eq!(stored(query), Ok(want), "{query}");
        }
        let long = "x".repeat(BYTES_MAX);
        for (query, want) in [
            ("", Condition::NotAcceptable), // §2.3
            ("text", Condition::NotAcceptable),
            ("<a/>", Condition::NotAcceptable),
            ("<a xmlns=''/>", Condition::NotAcceptable),
            ("<a xmlns='jabber:client'/>", Condition::NotAcceptable),
            ("<a xmlns='urn:x'>1</a><b/>", Condition::NotAcceptable),
            (&format!("<a xmlns='urn:x'>{long}</a>"), Condition::ResourceConstraint),
        ] {
            assert_eq!(stored(query), Err(want), "{query:.60}");
        }
    }

    #[test]
    fn an_account_stores_so_much_and_no_more() {
        let sizes = |names: usize, bytes: usize| {
            Sizes((0..names).map(|n| (format!("{{urn:x}}{n:03}"), bytes)).collect())
        };
        for (sizes, too_much) in [
            (sizes(0, 0), false),
            (sizes(NAMES_MAX, 0), false),
            (sizes(NAMES_MAX + 1, 0), true),
            (sizes(8, BYTES_MAX), true), // the names count
            (sizes(8, BYTES_MAX - 10), false),
            (sizes(1, usize::MAX), true),
        ] {
            assert_eq!(sizes.is_too_much(), too_much, "{}", sizes.0.len());
            assert_eq!(Sizes::decode(&sizes.encode()), sizes);
        }
        for broken in ["", "x", "x y", "-1 {urn:x}a"] {
            assert_eq!(Sizes::decode(broken), Sizes::default(), "{broken}");
        }
    }
}
