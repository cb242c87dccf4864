//! §5.6, §6.1, §6.2 and §8.8: subscriptions.

use std::collections::BTreeSet;
use std::sync::Arc;

use unisono_core::account::Account;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Reply};
use unisono_core::ids::Ticket;
use unisono_core::jid::Jid;
use unisono_xml::{Element, ElementBuilder};

use super::access::Consent;
use super::errors::{
    bad, error, forbidden, malformed, not_acceptable, not_found, not_subscribed, too_much, unsupported,
};
use super::node::{Meta, Node, State, Subscription, room};
use super::notify::{Event, tell_owners, tell_states};
use super::{Ask, NS, NS_EVENT, NS_OWNER, access, authorization, last_items, manage, options};

/// Subscriptions of one entity to one node.
const OWN_MAX: usize = 20;
/// Subscriptions that an owner changes at once: whom each concerns is told (§8.8.4).
const CHANGES_MAX: usize = 100;

/// The element of one subscription; `None` where there is none any more.
fn element(ns: &'static str, node: &str, jid: &Jid, state: Option<State>) -> Element {
    let builder = Element::builder("subscription", ns).attr("node", node).attr("jid", jid.as_str());
    builder.attr("subscription", state.map_or("none", State::as_str)).build()
}

/// What a subscriber is told of the own subscription (§12.14), and owners of that of others.
pub(super) fn state_event(node: &str, jid: &Jid, state: Option<State>) -> Event {
    Event::configured(element(NS_EVENT, node, jid, state))
}

fn pubsub(ns: &'static str) -> ElementBuilder {
    Element::builder("pubsub", ns)
}

/// §5.6: those of who asks, to all nodes or to one.
pub(super) fn own_subscriptions(ask: &Ask) -> Answer {
    let account = ask.cell.lock();
    let only = ask.action.attr("node").filter(|node| !node.is_empty());
    if only.is_some_and(|only| account.keyed::<Node>(only).is_none())
        || !access::knows_account(&account, &ask.who)
    {
        return Err(not_found());
    }
    let nodes = account.all_keyed::<Node>().filter(|(name, _)| only.is_none_or(|only| only == *name));
    let found = nodes.flat_map(|(name, node)| {
        let own = node.meta.subscriptions_of(&ask.who);
        own.map(|(jid, subscription)| element(NS, name, jid, Some(subscription.state)))
    });
    let found = Element::builder("subscriptions", NS).attr_opt("node", only).children(found).build();
    Ok(Reply::with(pubsub(NS).child(found).build()).after(account.last_ticket()))
}

/// The address that a subscription is for.
fn subscriber(ask: &Ask) -> Result<Jid, StanzaError> {
    let jid = ask.action.attr("jid").ok_or_else(|| bad("jid-required"))?;
    jid.parse().map_err(|_| bad("invalid-jid"))
}

/// §6.1
pub(super) async fn subscribe(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let jid = subscriber(ask)?;
    if jid.to_bare() != ask.who {
        return Err(bad("invalid-jid")); // §6.1.3.1
    }
    let options = ask.beside("options").map(options::read).transpose()?;
    let (state, ticket, new) = subscribe_now(ask, name, &jid, options)?;
    let hub = &ask.request.hub;
    match (new, state) {
        (Some(meta), State::Pending) => authorization::ask_owners(hub, &ask.cell, name, &meta, &jid, ticket),
        (Some(meta), State::Subscribed) => tell_of(ask, name, &meta, (&jid, Some(state)), ticket),
        (None, _) => {}
    }
    if state == State::Subscribed {
        match &ask.request.session {
            Some(session) => last_items::send_on_sub(hub, session, &ask.cell, name).await?,
            None => last_items::send_on_sub_away(hub, &jid, &ask.cell, name).await?,
        }
    }
    Ok(Reply::with(pubsub(NS).child(element(NS, name, &jid, Some(state))).build()).after(ticket))
}

/// `pubsub#notify_sub`: owners learn who subscribes, and who does not any more.
fn tell_of(ask: &Ask, name: &str, meta: &Meta, (jid, state): (&Jid, Option<State>), ticket: Ticket) {
    if meta.config.notify_sub {
        let (hub, owner) = (&ask.request.hub, &ask.cell.jid);
        let message = || state_event(name, jid, state).message(hub, owner, &meta.config);
        tell_owners(hub, &ask.cell, meta, message, (ask.request.from(), ticket));
    }
}

/// Returns the state of the subscription, and the node if it is a new one.
fn subscribe_now(
    ask: &Ask,
    name: &str,
    jid: &Jid,
    deliver: Option<bool>,
) -> Result<(State, Ticket, Option<Arc<Meta>>), StanzaError> {
    let _order = ask.cell.publishing();
    let mut account = ask.cell.lock();
    let node = account.keyed::<Node>(name).ok_or_else(not_found)?;
    let consent = access::may_subscribe(&account, &node.meta, &ask.who)?;
    if !node.meta.config.subscribe {
        return Err(unsupported("subscribe")); // §6.1.3.10
    }
    let there = node.meta.subscriptions.get(jid).copied();
    let state = match (there, consent) {
        (Some(Subscription { state: State::Pending, .. }), Consent::Needed) => {
            return Err(error(Condition::NotAuthorized, "pending-subscription")); // §6.1.3.7
        }
        (Some(Subscription { state: State::Subscribed, .. }), _) | (_, Consent::Given) => State::Subscribed,
        (None, Consent::Needed) => State::Pending, // §6.1.4
    };
    let is_new = there.is_none();
    let own = node.meta.subscriptions_of(&ask.who).count();
    if is_new && (own >= OWN_MAX || node.meta.subscriptions.len() >= room(account.jid()).subscriptions) {
        return Err(error(Condition::PolicyViolation, "too-many-subscriptions")); // §6.1.3.9
    }
    let deliver = deliver.unwrap_or(there.is_none_or(|there| there.deliver));
    let wanted = Subscription { state, deliver };
    if there == Some(wanted) {
        return Ok((state, account.last_ticket(), None)); // §6.1.6
    }
    let mut meta = Meta::clone(&node.meta);
    meta.subscriptions.insert(jid.clone(), wanted);
    let mut writes = Vec::new();
    let meta = manage::replace(&mut account, name, meta, &mut writes)?;
    Ok((state, ask.request.hub.commit(&mut account, writes), Some(meta).filter(|_| is_new)))
}

/// §6.2
pub(super) fn unsubscribe(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let jid = subscriber(ask)?;
    let _order = ask.cell.publishing();
    let mut account = ask.cell.lock();
    let node = account.keyed::<Node>(name).ok_or_else(not_found)?;
    if jid.to_bare() != ask.who {
        return Err(forbidden()); // §6.2.3.3
    }
    let mut meta = Meta::clone(&node.meta);
    meta.subscriptions.remove(&jid).ok_or_else(not_subscribed)?;
    let mut writes = Vec::new();
    let meta = manage::replace(&mut account, name, meta, &mut writes)?;
    let ticket = ask.request.hub.commit(&mut account, writes);
    drop(account);
    tell_of(ask, name, &meta, (&jid, None), ticket);
    Ok(Reply::with(pubsub(NS).child(element(NS, name, &jid, None)).build()).after(ticket))
}

/// §8.8.1: all that are in force, for an owner.
pub(super) fn all(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let account = ask.cell.lock();
    let meta = &manage::owned(ask, &account, name)?.meta;
    let subscribed = meta.subscriptions.iter().filter(|(_, found)| found.state == State::Subscribed);
    let found = subscribed.map(|(jid, found)| {
        let builder = Element::builder("subscription", NS_OWNER).attr("jid", jid.as_str());
        builder.attr("subscription", found.state.as_str()).build()
    });
    let found = Element::builder("subscriptions", NS_OWNER).attr("node", name).children(found).build();
    Ok(Reply::with(pubsub(NS_OWNER).child(found).build()).after(account.last_ticket()))
}

/// §8.8.2: an owner changes some, all of them or none. Those whom it concerns learn it (§8.8.4).
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
    must_have_agreed(ask, (&account, name), &meta, &wanted)?;
    let mut changed = Vec::new();
    for (jid, state) in wanted {
        let Some(state) = state else { continue };
        let there = meta.subscriptions.get(&jid).copied();
        if there.map(|there| there.state) == state {
            continue;
        }
        match state {
            Some(state) => {
                let deliver = there.is_none_or(|there| there.deliver);
                meta.subscriptions.insert(jid.clone(), Subscription { state, deliver });
            }
            None => _ = meta.subscriptions.remove(&jid),
        }
        changed.push((jid, state));
    }
    let has_many = |(jid, _): &(Jid, Option<State>)| meta.subscriptions_of(&jid.to_bare()).count() > OWN_MAX;
    if meta.subscriptions.len() > room(account.jid()).subscriptions || changed.iter().any(has_many) {
        return Err(error(Condition::PolicyViolation, "too-many-subscriptions"));
    }
    if changed.is_empty() {
        return Ok((account.last_ticket(), old, Vec::new()));
    }
    let mut writes = Vec::new();
    let meta = manage::replace(&mut account, name, meta, &mut writes)?;
    let ticket = hub.commit(&mut account, writes);
    drop(account);
    tell_states(hub, (&ask.cell, name), &meta, &changed, (ask.request.from(), ticket));
    Ok((ticket, meta, last_items::allowed(&old, &changed)))
}

/// Whose subscription an owner changes, and to what, if to anything.
type Change = (Jid, Option<Option<State>>);

fn wanted(action: &Element) -> Result<Vec<Change>, StanzaError> {
    let entries = action.children().filter(|child| child.is("subscription", NS_OWNER));
    let wanted: Vec<_> = entries.take(CHANGES_MAX.saturating_add(1)).map(change).collect::<Result<_, _>>()?;
    if wanted.len() > CHANGES_MAX {
        return Err(too_much("too many subscriptions at once"));
    }
    let mut seen = BTreeSet::new();
    if !wanted.iter().all(|(jid, _)| seen.insert(jid)) {
        return Err(malformed("an address comes twice")); // §8.8.2.4
    }
    Ok(wanted)
}

/// Nobody is subscribed who did not ask for that: that was the subscriber once, or a contact to whom the account shows all
/// of that kind. An affiliation is what an owner gives, so it is no consent.
///
/// # Errors
///
/// `not-acceptable`, with those who did not (§8.8.2.4).
fn must_have_agreed(
    ask: &Ask,
    (account, name): (&Account, &str),
    meta: &Meta,
    wanted: &[Change],
) -> Result<(), StanzaError> {
    let has_agreed = |jid: &Jid| {
        let who = jid.to_bare();
        meta.subscriptions.contains_key(jid) || who == ask.who || account.is_seen_by(&who)
    };
    let strangers = wanted.iter().filter(|(jid, state)| matches!(state, Some(Some(_))) && !has_agreed(jid));
    let strangers: Vec<_> = strangers
        .map(|(jid, _)| {
            let entry = Element::builder("subscription", NS_OWNER).attr("jid", jid.as_str());
            entry.attr("subscription", "none").build()
        })
        .collect();
    if strangers.is_empty() {
        return Ok(());
    }
    let wrong = Element::builder("subscriptions", NS_OWNER).attr("node", name).children(strangers).build();
    Err(not_acceptable("who did not ask is not subscribed")
        .with_beside(pubsub(NS_OWNER).child(wrong).build()))
}

fn change(entry: &Element) -> Result<Change, StanzaError> {
    let jid = entry.attr("jid").and_then(|jid| jid.parse().ok());
    let jid = jid.ok_or_else(|| malformed("a subscription is that of an address"))?;
    let state = match entry.attr("subscription") {
        None => None,
        Some("none") => Some(None),
        Some("subscribed") => Some(Some(State::Subscribed)),
        Some("pending") => Some(Some(State::Pending)),
        Some(_) => return Err(not_acceptable("there is no such subscription")),
    };
    Ok((jid, state))
}
