//! # XEP-0191: Blocking Command
//!
//! Follows 1.3 (2015-03-12). Whom a user does not want to hear, on all devices alike.
//!
//! - Stage: `admit`, first of all. State: the list of addresses.
//! - Ours: every device of the account that asked for the list gets the push, the one that changed it too.
//! - Left out: privacy lists (§5), which are deprecated.

use std::collections::BTreeSet;
use std::sync::Arc;

use unisono_core::account::{Account, Cell};
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{
    AccountState, Answer, Entity, Extension, Refusal, Registry, Reply, Request, Side, Spec,
};
use unisono_core::jid::Jid;
use unisono_core::stanza::{IqType, NS_CLIENT, Stanza};
use unisono_xml::Element;

pub const NS: &str = "urn:xmpp:blocking";
/// §3.3, the condition that tells a user's own block from others.
pub const NS_ERRORS: &str = "urn:xmpp:blocking:errors";
/// Addresses in one list.
const ITEMS_MAX: usize = 10_000;

pub struct Blocking;

impl Extension for Blocking {
    fn spec(&self) -> Spec {
        Spec::xep(191, "1.3")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS).feature(Entity::OwnAccount, NS);
        on.account_state::<BlockList>();
        on.iq(Entity::OwnAccount, IqType::Get, (NS, "blocklist"), list);
        on.iq(Entity::OwnAccount, IqType::Set, (NS, "block"), block);
        on.iq(Entity::OwnAccount, IqType::Set, (NS, "unblock"), unblock);
        on.admit(admit);
    }
}

/// The addresses that an account blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockList(BTreeSet<Jid>);

impl BlockList {
    /// §6: a full address, its bare one, its domain with the resource, its domain.
    pub fn holds(&self, jid: &Jid) -> bool {
        let bare = jid.to_bare();
        let domain = jid.to_domain();
        let with_resource =
            jid.resource().and_then(|resource| domain.with_resource(resource).ok()).map(Jid::from);
        self.0.contains(jid)
            || self.0.contains(&Jid::from(bare))
            || with_resource.is_some_and(|jid| self.0.contains(&jid))
            || self.0.contains(&Jid::from(domain))
    }
}

impl AccountState for BlockList {
    const KIND: &'static str = "blocklist";

    fn decode(text: &str) -> Self {
        Self(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    fn encode(&self) -> String {
        self.0.iter().map(Jid::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// §3.2
fn list(_: &Request) -> Answer {
    Ok(Reply::locked(|account, session| {
        if let Some(session) = account.session_mut(session) {
            session.follow(NS);
        }
        let jids = account.state::<BlockList>().map(|list| list.0.clone()).unwrap_or_default();
        Ok(Reply::with(items("blocklist", &jids)).after(account.last_ticket()))
    }))
}

/// §3.3
fn block(request: &Request) -> Answer {
    let jids = named(request)?;
    if jids.is_empty() {
        return Err(StanzaError::new(Condition::BadRequest));
    }
    let cell = request.account.clone().ok_or(StanzaError::new(Condition::ItemNotFound))?;
    if jids.iter().any(|jid| jid.to_bare() == cell.jid) {
        // §5: one's own devices are never blocked from each other.
        return Err(StanzaError::new(Condition::NotAllowed));
    }
    let old = cell.lock().state::<BlockList>().cloned().unwrap_or_default();
    let mut new = old.clone();
    new.0.extend(jids.iter().cloned());
    if new.0.len() > ITEMS_MAX {
        return Err(StanzaError::new(Condition::ResourceConstraint));
    }
    // §3.3: before the block, while presence still passes, they see the user leave.
    show(request, &cell, jids.difference(&old.0), false);
    Ok(store_and_push(request, &cell, new, items("block", &jids)))
}

/// §3.4 and §3.5: without an address, all of them.
fn unblock(request: &Request) -> Answer {
    let jids = named(request)?;
    let cell = request.account.clone().ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let old = cell.lock().state::<BlockList>().cloned().unwrap_or_default();
    let gone: BTreeSet<_> =
        if jids.is_empty() { old.0.clone() } else { old.0.intersection(&jids).cloned().collect() };
    let new = BlockList(old.0.difference(&gone).cloned().collect());
    let reply = store_and_push(request, &cell, new, items("unblock", &jids));
    show(request, &cell, gone.iter(), true);
    Ok(reply)
}

/// The addresses of a request.
fn named(request: &Request) -> Result<BTreeSet<Jid>, StanzaError> {
    let items = request.payload.children().filter(|child| child.is("item", NS));
    items
        .map(|item| {
            let jid = item.attr("jid").ok_or(StanzaError::new(Condition::BadRequest))?;
            jid.parse().map_err(|_| StanzaError::new(Condition::JidMalformed))
        })
        .collect()
}

fn items(name: &str, jids: &BTreeSet<Jid>) -> Element {
    let items = jids.iter().map(|jid| Element::builder("item", NS).attr("jid", jid.as_str()).build());
    Element::builder(name, NS).children(items).build()
}

fn show<'a>(request: &Request, cell: &Arc<Cell>, jids: impl Iterator<Item = &'a Jid>, visible: bool) {
    for jid in jids {
        request.hub.show_presence(cell, &jid.to_bare(), visible);
    }
}

/// Stores the list, and tells all devices that asked for it.
fn store_and_push(request: &Request, cell: &Arc<Cell>, list: BlockList, change: Element) -> Reply {
    let mut account = cell.lock();
    let mut writes = Vec::new();
    account.set_state(list, &mut writes);
    let ticket = request.hub.commit(&mut account, writes);
    let push = Element::builder("iq", NS_CLIENT).attr("type", "set").child(change).build();
    request.hub.push_to_followers(&mut account, NS, &push, ticket);
    Reply::empty().after(ticket)
}

/// §3.3: nothing passes between the two, in either direction.
fn admit(stanza: &Stanza, account: &Account, side: Side) -> Result<(), Refusal> {
    let Some(list) = account.state::<BlockList>().filter(|list| !list.0.is_empty()) else { return Ok(()) };
    let header = match stanza {
        Stanza::Message(message) => &message.header,
        Stanza::Presence(presence) => &presence.header,
        Stanza::Iq(iq) => &iq.header,
    };
    match side {
        Side::Sender if header.to.as_ref().is_some_and(|to| list.holds(to)) => {
            let blocked = Element::new("blocked", NS_ERRORS);
            Err(Refusal::Error(Box::new(
                StanzaError::new(Condition::NotAcceptable).with_application(blocked),
            )))
        }
        Side::Recipient if list.holds(&header.from) => match stanza {
            Stanza::Presence(_) => Err(Refusal::Silent),
            Stanza::Message(_) | Stanza::Iq(_) => {
                Err(Refusal::Error(Box::new(StanzaError::new(Condition::ServiceUnavailable))))
            }
        },
        Side::Sender | Side::Recipient => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_match_in_all_four_ways() {
        for (blocked, jid, holds) in [
            ("a@b/c", "a@b/c", true), // §6
            ("a@b/c", "a@b/d", false),
            ("a@b/c", "a@b", false),
            ("a@b", "a@b/c", true),
            ("a@b", "a@b", true),
            ("a@b", "x@b", false),
            ("b/c", "a@b/c", true),
            ("b/c", "a@b/d", false),
            ("b", "a@b/c", true),
            ("b", "b", true),
            ("b", "a@bb", false),
        ] {
            let list = BlockList(BTreeSet::from([blocked.parse().unwrap()]));
            assert_eq!(list.holds(&jid.parse().unwrap()), holds, "{blocked} {jid}");
        }
    }

    #[test]
    fn the_list_is_read_back() {
        let list = BlockList(["a@b", "c", "d@e/f g"].map(|jid| jid.parse().unwrap()).into());
        assert_eq!(BlockList::decode(&list.encode()), list);
        assert_eq!(BlockList::decode(""), BlockList::default());
    }
}
