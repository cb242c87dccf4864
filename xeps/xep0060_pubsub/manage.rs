//! §8.1 to §8.5: nodes are created, configured, purged and deleted.

use std::sync::Arc;

use unisono_core::account::Account;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Reply};
use unisono_core::hub::Hub;
use unisono_core::jid::BareJid;
use unisono_core::storage::Write;
use unisono_xml::Element;

use super::change::{Decision, Undecided};
use super::config::{Config, NS_CONFIG};
use super::errors::{forbidden, malformed, not_found, too_much, unsupported};
use super::node::{Affiliation, Meta, Node, is_service, room};
use super::seen::Seen;
use super::step::{Step, What};
use super::{Ask, NS, NS_EVENT, NS_OWNER, access, change, named};
use crate::xep0004_forms::{self as forms, Submitted};

/// Who may create nodes: the owner of the account; of a service, whom the operator lets.
pub(super) fn may_create(hub: &Hub, account: &Account, who: &BareJid) -> bool {
    who == account.jid() || (is_service(account.jid()) && hub.may_make(account.jid(), who))
}

/// A node with this configuration, if there is room for one more.
pub(super) fn new_node(
    account: &Account,
    creator: BareJid,
    now: i64,
    config: Config,
) -> Result<Node, StanzaError> {
    if account.is_gone() {
        return Err(not_found());
    }
    let room = room(account.jid());
    let own = account.all_keyed::<Node>().filter(|(_, node)| node.meta.creator == creator).count();
    if account.all_keyed::<Node>().count() >= room.nodes || own >= room.nodes_of_one {
        return Err(too_much("there are too many nodes"));
    }
    let mut meta = Meta::new(config, creator.clone(), now);
    if creator != *account.jid() {
        meta.affiliations.insert(creator, Affiliation::Owner); // §8.1.2
    }
    let meta = Arc::new(meta);
    has_room(account, None, &meta)?;
    Ok(Node { meta, items: Some(Vec::new()), changed: account.head() })
}

/// Whether what is kept of a node is not too much, alone and with all others; what others make of it, apart from that. `old`
/// is what it takes the place of.
fn has_room(account: &Account, old: Option<&Meta>, new: &Meta) -> Result<(), StanzaError> {
    let room = room(account.jid());
    let fits = |bytes: fn(&Meta) -> usize, of_one: usize, of_all: usize| {
        let (before, now) = (old.map_or(0, bytes), bytes(new));
        let others = account.all_keyed::<Node>().map(|(_, node)| bytes(&node.meta));
        let all = || others.fold(now, usize::saturating_add).saturating_sub(before);
        now <= before || (now <= of_one && all() <= of_all)
    };
    if !fits(Meta::bytes, room.node_bytes, room.all_bytes) {
        return Err(too_much("too much is kept of the nodes"));
    }
    if !fits(Meta::subscription_bytes, room.node_subscription_bytes, room.all_subscription_bytes) {
        return Err(too_much("the nodes have too many subscriptions"));
    }
    Ok(())
}

/// The node, for one of its owners.
pub(super) fn owned<'a>(ask: &Ask, account: &'a Account, name: &str) -> Result<&'a Node, StanzaError> {
    let node = account.keyed::<Node>(name).ok_or_else(not_found)?;
    match access::affiliation(account, &node.meta, &ask.who) {
        Affiliation::Owner => Ok(node),
        Affiliation::Publisher
        | Affiliation::PublishOnly
        | Affiliation::Member
        | Affiliation::None
        | Affiliation::Outcast => Err(forbidden()),
    }
}

/// Replaces what is kept of a node, and adds the write for it.
pub(super) fn replace(
    account: &mut Account,
    name: &str,
    meta: Meta,
    writes: &mut Vec<Write>,
) -> Result<Arc<Meta>, StanzaError> {
    let node = account.keyed::<Node>(name).filter(|_| !account.is_gone()).ok_or_else(not_found)?;
    has_room(account, Some(&node.meta), &meta)?;
    let meta = Arc::new(meta);
    let node = Node { meta: meta.clone(), ..node.clone() };
    account.set_keyed(name, Some(node), writes);
    Ok(meta)
}

/// §8.1
pub(super) fn create(ask: &Ask) -> Answer {
    let hub = &ask.request.hub;
    let name = ask.action.attr("node").filter(|name| !name.is_empty()).map(named).transpose()?;
    let is_instant = name.is_none();
    let name = name.map_or_else(|| hub.random_name(), str::to_owned);
    let form = match ask.beside("configure") {
        Some(configure)
            if configure.attr("node").is_some() || ask.request.payload.first_child() == Some(configure) =>
        {
            return Err(malformed("the configuration comes after the node, which it does not name")); // §8.1.3
        }
        Some(configure) => configure.child("x", forms::NS),
        None => None,
    };
    let form = form
        .map(|form| Submitted::parse(form, NS_CONFIG).ok_or_else(|| malformed("that is no configuration")));
    let form = form.transpose()?;
    let _order = ask.cell.publishing();
    let mut account = ask.cell.lock();
    if !may_create(hub, &account, &ask.who) {
        return Err(forbidden());
    }
    if account.keyed::<Node>(&name).is_some() {
        return Err(StanzaError::new(Condition::Conflict));
    }
    let config = Config::of_owner(account.jid());
    let config = form.map(|form| config.with(&form)).transpose()?.unwrap_or(config).suits(account.jid())?;
    let now = hub.clock.now_micros();
    let node = new_node(&account, ask.who.clone(), now, config)?;
    let mut writes = Vec::new();
    let changed = account.next_position(now);
    account.set_keyed(&name, Some(Node { changed, ..node }), &mut writes);
    let ticket = hub.commit(&mut account, writes);
    let create = Element::builder("create", NS).attr("node", name).build();
    let made = is_instant.then(|| Element::builder("pubsub", NS).child(create).build());
    Ok(Reply { payload: made, ..Reply::empty() }.after(ticket))
}

/// §8.2.1
pub(super) fn configuration(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let account = ask.cell.lock();
    let form = owned(ask, &account, name)?.meta.config.form("form", account.jid());
    let configure = Element::builder("configure", NS_OWNER).attr("node", name).child(form).build();
    let reply = Reply::with(Element::builder("pubsub", NS_OWNER).child(configure).build());
    Ok(reply.after(account.last_ticket()))
}

/// §8.2.4
pub(super) async fn configure(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let form = ask.action.child("x", forms::NS).ok_or_else(|| malformed("there is no form"))?;
    let is_cancelled = form.attr("type") == Some("cancel");
    let form = Submitted::parse(form, NS_CONFIG);
    let ticket = change::make(&ask.request.hub, &ask.cell, ask.request.from(), |account, seen| {
        let node = owned(ask, account, name)?;
        if is_cancelled {
            return Ok(Decision::default());
        }
        let old = &node.meta;
        let config = old.config.with(form.as_ref().ok_or_else(|| malformed("that is no configuration"))?)?;
        let config = config.suits(account.jid())?;
        if config == old.config {
            return Ok(Decision::default());
        }
        let keep = if config.persist_items { config.max_items as usize } else { 0 };
        let may_go = keep < old.config.max_items as usize && old.config.persist_items;
        let gone = match &node.items {
            Some(known) => {
                let over = known.len().saturating_sub(keep);
                known.iter().take(over).map(|entry| entry.id.clone()).collect()
            }
            None if may_go => return Err(Undecided::Unknown(name.into())),
            None => Vec::new(),
        };
        let mut meta = Meta { config, ..Meta::clone(old) };
        let settled = access::settle(account, old, &mut meta);
        has_room(account, Some(old), &meta)?;
        let what = What::Configured { meta: Box::new(meta), gone, settled };
        decide(ask, (account, seen), Step::of(name, what))
    });
    // Where nothing changes, it is as somebody has just made it.
    let ticket = ticket.await?;
    Ok(Reply::empty().after(ticket).after(ask.cell.lock().last_ticket()))
}

/// What somebody does to a node, and all that follows from it.
fn decide(ask: &Ask, (account, seen): (&Account, &Seen), step: Step) -> Result<Decision, Undecided> {
    let steps = change::follow(&ask.request.hub, account, seen, ask.request.session.as_ref(), step)?;
    Ok(Decision { steps, writes: Vec::new() })
}

/// §8.3: how a node is that nobody says more of.
pub(super) fn default(ask: &Ask) -> Answer {
    if !may_create(&ask.request.hub, &ask.cell.lock(), &ask.who) {
        return Err(forbidden());
    }
    let default = Config::of_owner(&ask.cell.jid).form("form", &ask.cell.jid);
    let default = Element::builder("default", NS_OWNER).child(default).build();
    Ok(Reply::with(Element::builder("pubsub", NS_OWNER).child(default).build()))
}

/// §8.4
pub(super) async fn delete(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let redirect = ask.action.child("redirect", NS_OWNER).and_then(|redirect| redirect.attr("uri"));
    let redirect = redirect.map(|uri| Element::builder("redirect", NS_EVENT).attr("uri", uri).build());
    let ticket = change::make(&ask.request.hub, &ask.cell, ask.request.from(), |account, seen| {
        owned(ask, account, name)?;
        let what = What::Deleted { redirect: redirect.clone() };
        decide(ask, (account, seen), Step::of(name, what))
    });
    Ok(Reply::empty().after(ticket.await?))
}

/// §8.5
pub(super) async fn purge(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let ticket = change::make(&ask.request.hub, &ask.cell, ask.request.from(), |account, seen| {
        if !owned(ask, account, name)?.meta.config.persist_items {
            return Err(unsupported("persistent-items").into()); // §8.5.3.3
        }
        decide(ask, (account, seen), Step::of(name, What::Purged))
    });
    Ok(Reply::empty().after(ticket.await?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use unisono_core::jid::Jid;

    use super::super::node::{State, Subscription};
    use super::*;
    use crate::testing::account;

    #[test]
    fn what_others_subscribe_to_takes_none_of_the_owners_room() {
        let mut account = account();
        let alice = account.jid().clone();
        let mut subscribed = Meta::new(Config::default(), alice.clone(), 0);
        let full = room(&alice).node_subscription_bytes;
        let mut n = 0;
        loop {
            let jid: Jid = format!("bob@example.org/{n}{}", "x".repeat(1_000)).parse().unwrap();
            let with = Subscription { state: State::Subscribed, deliver: true };
            let mut more = subscribed.clone();
            more.subscriptions.insert(jid, with);
            if has_room(&account, Some(&subscribed), &more).is_err() {
                break;
            }
            (subscribed, n) = (more, n + 1);
        }
        assert!(subscribed.subscription_bytes() <= full && subscribed.subscription_bytes() + 2_000 > full);
        for n in 0..100 {
            let others: usize =
                account.all_keyed::<Node>().map(|(_, node)| node.meta.subscription_bytes()).sum();
            let node = new_node(&account, alice.clone(), 0, Config::default()).unwrap();
            let fits = has_room(&account, Some(&node.meta), &subscribed).is_ok();
            assert_eq!(fits, others + subscribed.subscription_bytes() <= room(&alice).all_subscription_bytes);
            let meta = if fits { Arc::new(subscribed.clone()) } else { node.meta.clone() };
            account.set_keyed(&n.to_string(), Some(Node { meta, ..node }), &mut Vec::new());
        }
        // What the owner says of a node still fits, however many have come.
        let mut affiliated = subscribed.clone();
        affiliated.affiliations.insert("eve@example.org".parse().unwrap(), Affiliation::Member);
        assert!(has_room(&account, Some(&subscribed), &affiliated).is_ok());
    }
}
