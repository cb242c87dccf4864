//! §12.2 and §12.3: who is told of what, and how.

use std::collections::BTreeSet;
use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::account::{Account, Cell};
use unisono_core::datetime::format_utc;
use unisono_core::hub::Hub;
use unisono_core::ids::{LogPosition, Ticket};
use unisono_core::jid::{BareJid, Jid};
use unisono_core::session::Session;
use unisono_core::sharing::{Shared, Sharing};
use unisono_core::stanza::MessageType;
use unisono_xml::Element;

use super::config::{Config, ItemReply, NotificationType};
use super::node::{Meta, State};
use super::{NS_EVENT, access, told};
use crate::xep0203_delay;

/// What happened to a node.
pub(super) struct Event {
    /// The child of `<event/>`.
    content: Element,
    /// What a newer event replaces while a device does not look: no more than the newer one tells as well.
    topic: Option<CompactString>,
    /// When it happened, if that was not just now.
    at: Option<LogPosition>,
}

impl Event {
    /// §7.1.2: an item was published. `item` is as others get it.
    pub(super) fn published(node: &str, config: &Config, id: &str, item: Element) -> Self {
        let content = Element::builder("items", NS_EVENT).attr("node", node).child(item).build();
        Self { content, topic: Some(topic(node, config, id)), at: None }
    }

    /// §4.3: something happened, which has no item.
    pub(super) fn happened(node: &str) -> Self {
        let content = Element::builder("items", NS_EVENT).attr("node", node).build();
        Self { content, topic: Some(node.into()), at: None }
    }

    /// §7.2.2.1: an item was deleted.
    pub(super) fn retracted(node: &str, config: &Config, id: &str) -> Self {
        let item = Element::builder("retract", NS_EVENT).attr("id", id).build();
        Self::published(node, config, id, item)
    }

    /// Anything else about the node.
    pub(super) fn other(content: Element) -> Self {
        Self { content, topic: None, at: None }
    }

    /// It happened earlier (XEP-0203).
    pub(super) fn at(self, position: LogPosition) -> Self {
        Self { at: Some(position), ..self }
    }

    /// The message, serialised once for all.
    pub(super) fn message(self, hub: &Hub, from: &BareJid, config: &Config) -> Shared {
        let kind = match config.notification_type {
            NotificationType::Normal => MessageType::Normal,
            NotificationType::Headline => MessageType::Headline,
        };
        let event = Element::builder("event", NS_EVENT).child(self.content).build();
        let delay = self.at.map(|at| {
            let delay = Element::builder("delay", xep0203_delay::NS).attr("from", from.as_str());
            delay.attr("stamp", format_utc(at.0)).build()
        });
        let content: Vec<_> = [event].into_iter().chain(delay).collect();
        Shared::message(from, kind, &hub.random_name(), self.topic, &content)
    }
}

/// Where a node has one item at a time, each tells all there is; else each tells of one item.
fn topic(node: &str, config: &Config, id: &str) -> CompactString {
    if config.is_singleton() { node.into() } else { format!("{node}\n{id}").into() }
}

/// Whom an item names (§12.17).
pub(super) fn publisher_of<'a>(
    config: &Config,
    owner: &'a BareJid,
    publisher: Option<&'a Jid>,
) -> Option<String> {
    match config.itemreply {
        ItemReply::None => None,
        ItemReply::Owner => Some(owner.to_string()),
        ItemReply::Publisher => Some(publisher.map_or_else(|| owner.to_string(), Jid::to_string)),
    }
}

/// Events that those who were not locked with the change have still to be told of.
#[must_use]
pub(super) struct Telling<'a> {
    hub: &'a Hub,
    cell: &'a Cell,
    node: &'a str,
    meta: Arc<Meta>,
    events: Vec<Sharing<'a>>,
    others: BTreeSet<BareJid>,
}

/// Tells the devices of the account, which is locked since before the change was decided. The rest is to be told when the
/// lock is gone, but before that of [`Cell::publishing`] is.
pub(super) fn tell<'a>(
    hub: &'a Hub,
    cell: &'a Cell,
    account: &mut Account,
    node: &'a str,
    meta: &Arc<Meta>,
    (events, ticket): (Vec<Event>, Ticket),
) -> Telling<'a> {
    let events = if meta.config.deliver_notifications { events } else { Vec::new() };
    let mut others = BTreeSet::new();
    if !events.is_empty() {
        let watchers = account.contacts().filter(|contact| contact.state.subscription.has_from());
        others.extend(watchers.map(|contact| contact.jid.clone()));
        others.extend(meta.subscriptions.keys().map(Jid::to_bare));
    }
    let events = share_with_own(hub, account, node, meta, (events, ticket));
    Telling { hub, cell, node, meta: meta.clone(), events, others }
}

/// Tells the devices of the account.
pub(super) fn share_with_own<'a>(
    hub: &'a Hub,
    account: &mut Account,
    node: &str,
    meta: &Meta,
    (events, ticket): (Vec<Event>, Ticket),
) -> Vec<Sharing<'a>> {
    let events = if meta.config.deliver_notifications { events } else { Vec::new() };
    let share = |event: Event| Sharing::new(hub, event.message(hub, account.jid(), &meta.config), ticket);
    let events: Vec<_> = events.into_iter().map(share).collect();
    told::noting(account, node, |account| {
        for event in &events {
            event.with_own(account, |session| {
                has_asked(meta, session).unwrap_or_else(|| is_interested(node, session))
            });
        }
    });
    events
}

impl Telling<'_> {
    /// Tells the rest. Of accounts that are not in memory nobody is there.
    pub(super) fn go_on(mut self) {
        for who in &self.others {
            let Some(other) = self.hub.resident(who) else { continue };
            for event in &mut self.events {
                event.with_other(self.cell, &other, |owner, _, session| {
                    is_due(owner, &self.meta, self.node, session)
                });
            }
        }
        self.events.into_iter().for_each(Sharing::finish);
    }
}

/// Whether a device of somebody else is told of a node: it has a subscription, or the right to one and an interest in the
/// node (XEP-0163 §4).
pub(super) fn is_due(owner: &Account, meta: &Meta, node: &str, session: &Session) -> bool {
    let who = session.jid().bare();
    let wants =
        has_asked(meta, session).unwrap_or_else(|| owner.is_seen_by(&who) && is_interested(node, session));
    wants && access::may_read(owner, meta, &who).is_ok()
}

fn is_interested(node: &str, session: &Session) -> bool {
    session.is_available() && session.is_interested_in(node)
}

/// What a device's own subscription says, if there is one: that of its full address, or of its bare one. Who said that
/// nothing be delivered is not told (§6.3), interested or not.
fn has_asked(meta: &Meta, session: &Session) -> Option<bool> {
    if meta.subscriptions.is_empty() {
        return None;
    }
    let subscribed = |jid: Jid| {
        let subscription = meta.subscriptions.get(&jid)?;
        (subscription.state == State::Subscribed).then_some(subscription.deliver)
    };
    subscribed(session.jid().clone().into())
        .or_else(|| subscribed(session.jid().bare().into()).map(|deliver| deliver && session.is_for_all()))
}

/// Tells one subscriber something about the own subscription (§12.14).
pub(super) fn tell_subscriber(
    hub: &Hub,
    cell: &Cell,
    meta: &Meta,
    jid: &Jid,
    (event, ticket): (Event, Ticket),
) {
    let Some(other) = hub.resident(&jid.to_bare()) else { return };
    let mut sharing = Sharing::new(hub, event.message(hub, &cell.jid, &meta.config), ticket);
    let is_meant = |session: &Session| match jid.resource() {
        Some(resource) => session.jid().resource() == resource,
        None => session.is_for_all(),
    };
    if other.id == cell.id {
        sharing.with_own(&mut cell.lock(), is_meant);
    } else {
        sharing.with_other(cell, &other, |_, _, session| is_meant(session));
    }
    sharing.finish();
}
