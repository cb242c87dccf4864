//! §5.7 and §8.9: what people are to nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use unisono_core::account::Account;
use unisono_core::error::StanzaError;
use unisono_core::extension::{Answer, Reply};
use unisono_core::ids::Ticket;
use unisono_core::jid::{BareJid, Jid};
use unisono_xml::Element;

use super::access::Consent;
use super::errors::{malformed, not_acceptable, not_found, too_much};
use super::node::{Affiliation, Meta, Node, State, Subscription, is_service};
use super::notify::tell_states;
use super::{Ask, NS, NS_OWNER, access, change, last_items, manage};

/// Those who may be made owners of one node: all of them are told who subscribes, and asked.
const OWNERS_MAX: usize = 20;

/// §5.7: what who asks is to all nodes, or to one.
pub(super) fn own(ask: &Ask) -> Answer {
    let account = ask.cell.lock();
    if !access::knows_account(&account, &ask.who) {
        return Err(not_found());
    }
    let only = ask.action.attr("node").filter(|node| !node.is_empty());
    if only.is_some_and(|only| account.keyed::<Node>(only).is_none()) {
        return Err(not_found());
    }
    let nodes = account.all_keyed::<Node>().filter(|(name, _)| only.is_none_or(|only| only == *name));
    let found = nodes.filter_map(|(name, node)| {
        let affiliation = access::affiliation(&account, &node.meta, &ask.who);
        (affiliation != Affiliation::None).then(|| {
            let found = Element::builder("affiliation", NS).attr("node", name.as_str());
            found.attr("affiliation", affiliation.as_str()).build()
        })
    });
    let found = Element::builder("affiliations", NS).attr_opt("node", only).children(found).build();
    Ok(Reply::with(Element::builder("pubsub", NS).child(found).build()).after(account.last_ticket()))
}

/// §8.9.1: who has one, for an owner.
pub(super) fn all(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let account = ask.cell.lock();
    let node = manage::owned(ask, &account, name)?;
    let element = |jid: &str, affiliation: Affiliation| {
        let found = Element::builder("affiliation", NS_OWNER).attr("jid", jid);
        found.attr("affiliation", affiliation.as_str()).build()
    };
    let others = node.meta.affiliations.iter().map(|(jid, affiliation)| element(jid.as_str(), *affiliation));
    let found = Element::builder("affiliations", NS_OWNER)
        .attr("node", name)
        .child_opt((!is_service(account.jid())).then(|| element(account.jid().as_str(), Affiliation::Owner)))
        .children(others)
        .build();
    Ok(Reply::with(Element::builder("pubsub", NS_OWNER).child(found).build()).after(account.last_ticket()))
}

/// §8.9.2: an owner changes some, all of them or none.
pub(super) async fn modify(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let (ticket, meta, allowed) = modify_now(ask, name)?;
    let by = ask.request.from();
    last_items::send_on_approval(&ask.request.hub, &ask.cell, (name, &meta), &allowed, by).await?;
    Ok(Reply::empty().after(ticket))
}

/// Returns the node, and whose subscriptions are allowed now.
fn modify_now(ask: &Ask, name: &str) -> Result<(Ticket, Arc<Meta>, Vec<Jid>), StanzaError> {
    let wanted = wanted(&ask.action);
    let hub = &ask.request.hub;
    let _order = ask.cell.publishing();
    let mut account = ask.cell.lock();
    let old = manage::owned(ask, &account, name)?.meta.clone();
    let mut meta = Meta::clone(&old);
    let wanted = wanted?;
    must_keep_an_owner(&account, name, &meta, &wanted)?;
    let mut told = Vec::new();
    for (jid, affiliation) in wanted {
        let Some(affiliation) = affiliation else { continue };
        match affiliation {
            Affiliation::None => _ = meta.affiliations.remove(&jid),
            _ if jid == *account.jid() => {}
            Affiliation::Owner
            | Affiliation::Publisher
            | Affiliation::PublishOnly
            | Affiliation::Member
            | Affiliation::Outcast => _ = meta.affiliations.insert(jid.clone(), affiliation),
        }
        told.extend(follow(&account, &old, &mut meta, &jid));
    }
    if meta.owners().count() > OWNERS_MAX.max(old.owners().count()) {
        return Err(too_much("a node has no room for so many owners"));
    }
    let mut writes = Vec::new();
    let was_private = change::is_private(&account, name);
    let meta = manage::replace(&mut account, name, meta, &mut writes)?;
    let ticket = hub.commit(&mut account, writes);
    let is_shown = change::is_shown(&account, name) && was_private != change::is_private(&account, name);
    drop(account);
    tell_states(hub, (&ask.cell, name), &meta, &told, (ask.request.from(), ticket));
    if is_shown {
        hub.show_again(&ask.cell, ticket);
    }
    Ok((ticket, meta, last_items::allowed(&old, &told)))
}

/// What becomes of the subscriptions of who has another affiliation now: who may not subscribe has none, who needs no consent
/// does not wait for it (§8.7.4, the note), and who needs it again does. Returns what has changed.
fn follow(account: &Account, old: &Meta, meta: &mut Meta, jid: &BareJid) -> Vec<(Jid, Option<State>)> {
    if old.affiliations.get(jid) == meta.affiliations.get(jid) {
        return Vec::new();
    }
    let own: Vec<_> = meta.subscriptions_of(jid).map(|(jid, found)| (jid.clone(), *found)).collect();
    let before = access::may_subscribe(account, old, jid).ok();
    let now = access::may_subscribe(account, meta, jid).ok();
    let mut changed = Vec::new();
    for (jid, found) in own {
        let state = match (before, now) {
            (None, _) | (_, None) => None,
            (Some(Consent::Needed), Some(Consent::Given)) => Some(State::Subscribed),
            (Some(Consent::Given), Some(Consent::Needed)) => Some(State::Pending),
            (Some(_), Some(_)) => Some(found.state),
        };
        match state {
            Some(state) => _ = meta.subscriptions.insert(jid.clone(), Subscription { state, ..found }),
            None => _ = meta.subscriptions.remove(&jid),
        }
        if state != Some(found.state) {
            changed.push((jid, state));
        }
    }
    changed
}

/// §8.9.2.4: an account owns its nodes, and those of a service do not lose their last owner.
fn must_keep_an_owner(
    account: &Account,
    name: &str,
    meta: &Meta,
    wanted: &Wanted,
) -> Result<(), StanzaError> {
    let resigns = |who: &BareJid| {
        let found = wanted.iter().find(|(jid, _)| jid == who);
        found.is_some_and(|(_, affiliation)| affiliation.is_some_and(|is| is != Affiliation::Owner))
    };
    let is_kept = if is_service(account.jid()) {
        let is_given = wanted.iter().any(|(_, affiliation)| *affiliation == Some(Affiliation::Owner));
        is_given || meta.owners().any(|owner| !resigns(owner))
    } else {
        !resigns(account.jid())
    };
    if is_kept {
        return Ok(());
    }
    let of_account = Some(account.jid()).filter(|jid| !is_service(jid));
    let owners = of_account.into_iter().chain(meta.owners()).filter(|owner| resigns(owner));
    let owners = owners.map(|owner| {
        let element = Element::builder("affiliation", NS_OWNER).attr("jid", owner.as_str());
        element.attr("affiliation", Affiliation::Owner.as_str()).build()
    });
    let wrong = Element::builder("affiliations", NS_OWNER).attr("node", name).children(owners).build();
    let wrong = Element::builder("pubsub", NS_OWNER).child(wrong).build();
    Err(not_acceptable("a node has an owner").with_beside(wrong))
}

type Wanted = Vec<(BareJid, Option<Affiliation>)>;

fn wanted(action: &Element) -> Result<Wanted, StanzaError> {
    let mut seen = BTreeSet::new();
    let entries = action.children().filter(|child| child.is("affiliation", NS_OWNER));
    let wanted: Result<Wanted, _> = entries
        .map(|entry| {
            let jid: BareJid = entry
                .attr("jid")
                .and_then(|jid| jid.parse().ok())
                .ok_or_else(|| malformed("an affiliation is that of a bare address"))?; // §4.1
            if !seen.insert(jid.clone()) {
                return Err(malformed("an address comes twice")); // §8.9.2.4
            }
            let affiliation = entry.attr("affiliation").map(|name| {
                Affiliation::parse(name).ok_or_else(|| not_acceptable("there is no such affiliation"))
            });
            Ok((jid, affiliation.transpose()?))
        })
        .collect();
    wanted.and_then(|wanted| if wanted.is_empty() { Err(malformed("nothing changes")) } else { Ok(wanted) })
}
