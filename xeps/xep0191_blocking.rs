//! # XEP-0191: Blocking Command
//!
//! Follows 1.3 (2015-03-12). Whom a user does not want to hear, on all devices alike.
//!
//! - Stage: `admit`, first of all. State: the list of addresses.
//! - Ours: every device of the account that asked for the list gets the push, the one that changed it too. When a block
//!   ends, the account's devices see the contact again at once, as one does that comes now.
//!   Blocking looks forward: what was recorded before is part of the conversation, and a device that was away gets it
//!   like the others did (promise P1).
//! - Left out: privacy lists (§5), which are deprecated.

use std::collections::BTreeSet;

use unisono_core::account::{Account, Cell};
use unisono_core::error::{Condition, ErrorType, StanzaError};
use unisono_core::extension::{
    AccountState, Answer, Entity, Extension, Refusal, Registry, Reply, Request, Side, Sight, Spec,
};
use unisono_core::ids::Ticket;
use unisono_core::jid::{BareJid, Jid};
use unisono_core::stanza::{IqType, NS_CLIENT, Stanza};
use unisono_core::storage::BoxFuture;
use unisono_xml::Element;

pub const NS: &str = "urn:xmpp:blocking";
/// §3.3, the condition that tells a user's own block from others.
pub const NS_ERRORS: &str = "urn:xmpp:blocking:errors";
/// Bytes of the addresses of one list, which is stored as a whole: more than two thousand usual ones.
const BYTES_MAX: usize = 64 * 1024;

pub struct Blocking;

impl Extension for Blocking {
    fn spec(&self) -> Spec {
        Spec::xep(191, "1.3")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS).feature(Entity::OwnAccount, NS);
        on.account_state::<BlockList>();
        on.iq(Entity::OwnAccount, IqType::Get, (NS, "blocklist"), list);
        on.iq_later(Entity::OwnAccount, IqType::Set, (NS, "block"), |request| {
            Box::pin(async move {
                let reply = block(&request)?;
                tell_listeners(&request).await;
                Ok(reply)
            })
        });
        on.iq(Entity::OwnAccount, IqType::Set, (NS, "unblock"), unblock);
        on.admit(admit);
    }
}

/// Learns of each item of a block, when it has come to pass (handed over by [`Registry::hand`]): who is blocked, and the
/// item. What it makes of it, the one who blocks need not know.
pub struct Listener(pub Listen);

/// The request, who is blocked, and the item.
pub type Listen = fn(&Request, &Jid, &Element) -> Option<BoxFuture<'static, ()>>;

async fn tell_listeners(request: &Request) {
    let listeners: Vec<Listen> =
        request.hub.registry.handed::<Listener>().map(|listener| listener.0).collect();
    for item in request.payload.children().filter(|child| child.is("item", NS)) {
        let Some(jid) = item.attr("jid").and_then(|jid| jid.parse().ok()) else { continue };
        for listen in &listeners {
            if let Some(heard) = listen(request, &jid, item) {
                heard.await;
            }
        }
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

    /// Whether the list keeps an address from its owner. One's own devices are never kept from each other (§5, note), nor
    /// from the server that serves them, whatever the list holds.
    fn keeps_off(&self, owner: &BareJid, jid: &Jid) -> bool {
        let is_own =
            jid.domain() == owner.domain() && (jid.local().is_none() || jid.local() == owner.local());
        !is_own && self.holds(jid)
    }

    /// What the list takes of [`BYTES_MAX`].
    fn bytes(&self) -> usize {
        self.0.iter().map(|jid| jid.as_str().len().saturating_add(1)).fold(0, usize::saturating_add)
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
    let cell = request.account.as_ref().ok_or(StanzaError::new(Condition::ItemNotFound))?;
    if jids.iter().any(|jid| jid.to_bare() == cell.jid) {
        // §5: it would have no effect.
        return Err(StanzaError::new(Condition::NotAllowed));
    }
    let push = items("block", &jids);
    let Change { old, new, sight, ticket } = change(request, cell, &push, |list| list.extend(jids))?;
    let loses = |jid: &Jid| new.keeps_off(&cell.jid, jid) && !old.keeps_off(&cell.jid, jid);
    request.hub.conceal(cell, &sight, loses);
    Ok(Reply::empty().after(ticket))
}

/// §3.4 and §3.5: without an address, all of them.
fn unblock(request: &Request) -> Answer {
    let jids = named(request)?;
    if jids.is_empty() && request.payload.children().next().is_some() {
        return Err(StanzaError::new(Condition::BadRequest));
    }
    let cell = request.account.as_ref().ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let push = items("unblock", &jids);
    let Change { old, new, sight, ticket } = change(request, cell, &push, |list| {
        list.retain(|jid| !jids.is_empty() && !jids.contains(jid));
    })?;
    let gains = |jid: &Jid| old.keeps_off(&cell.jid, jid) && !new.keeps_off(&cell.jid, jid);
    request.hub.reveal(cell, &sight, gains);
    Ok(Reply::empty().after(ticket))
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

/// What a request makes of the list.
struct Change {
    old: BlockList,
    new: BlockList,
    /// Who may see whom, of those that the change concerns.
    sight: Sight,
    /// What the answer waits for.
    ticket: Ticket,
}

/// Changes the list, stores it and tells all devices that asked for it, under one lock: of two requests at once, neither
/// undoes the other.
fn change(
    request: &Request,
    cell: &Cell,
    push: &Element,
    edit: impl FnOnce(&mut BTreeSet<Jid>),
) -> Result<Change, StanzaError> {
    let mut account = cell.lock();
    let old = account.state::<BlockList>().cloned().unwrap_or_default();
    let mut new = old.clone();
    edit(&mut new.0);
    if new.bytes() > BYTES_MAX.max(old.bytes()) {
        return Err(StanzaError::new(Condition::ResourceConstraint).with_text("the block list is full"));
    }
    let changed = old.0.symmetric_difference(&new.0);
    let concerned: BTreeSet<_> = changed.map(Jid::to_bare).collect();
    let sight =
        account.sight(|contact| concerned.contains(contact) || concerned.contains(&contact.to_domain()));
    let mut writes = Vec::new();
    if new != old {
        account.set_state(new.clone(), &mut writes);
        request.hub.commit(&mut account, writes);
    }
    let ticket = account.last_ticket();
    let push = Element::builder("iq", NS_CLIENT).attr("type", "set").child(push.clone()).build();
    request.hub.push_to_followers(&mut account, NS, &push, ticket);
    Ok(Change { old, new, sight, ticket })
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
        Side::Sender if header.to.as_ref().is_some_and(|to| list.keeps_off(account.jid(), to)) => {
            let blocked = Element::new("blocked", NS_ERRORS);
            let error = StanzaError::new(Condition::NotAcceptable).with_type(ErrorType::Cancel); // example 9
            Err(Refusal::Error(Box::new(error.with_application(blocked))))
        }
        Side::Recipient if list.keeps_off(account.jid(), &header.from) => match stanza {
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
    fn what_is_one_s_own_is_never_kept_off() {
        let owner: BareJid = "alice@a".parse().unwrap();
        for (blocked, jid, kept_off) in [
            ("a", "alice@a/phone", false), // §5, note
            ("a/phone", "alice@a/phone", false),
            ("alice@a", "alice@a", false),
            ("alice@a/phone", "alice@a/phone", false),
            ("a", "a", false), // the server
            ("a", "a/x", false),
            ("a", "bob@a", true),
            ("a/phone", "bob@a/phone", true),
            ("b", "alice@b", true),
            ("b", "b", true),
        ] {
            let list = BlockList(BTreeSet::from([blocked.parse().unwrap()]));
            assert_eq!(list.keeps_off(&owner, &jid.parse().unwrap()), kept_off, "{blocked} {jid}");
        }
    }

    #[test]
    fn the_list_is_read_back() {
        let list = BlockList(["a@b", "c", "d@e/f g"].map(|jid| jid.parse().unwrap()).into());
        assert_eq!(BlockList::decode(&list.encode()), list);
        assert_eq!(BlockList::decode(""), BlockList::default());
    }
}
