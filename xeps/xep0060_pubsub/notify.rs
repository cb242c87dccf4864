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
use super::fan_out::{self, Batch, Kind, Notice};
use super::node::{Meta, State, is_service};
use super::subscribe::state_event;
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
    kind: Kind,
}

impl Event {
    /// §7.1.2: an item was published. `item` is as others get it.
    pub(super) fn published(node: &str, config: &Config, id: &str, item: Element) -> Self {
        let content = Element::builder("items", NS_EVENT).attr("node", node).child(item).build();
        Self { content, topic: Some(topic(node, config, id)), at: None, kind: Kind::Item }
    }

    /// §4.3: something happened, which has no item.
    pub(super) fn happened(node: &str) -> Self {
        let content = Element::builder("items", NS_EVENT).attr("node", node).build();
        Self { content, topic: Some(node.into()), at: None, kind: Kind::Item }
    }

    /// §7.2.2.1: an item was deleted.
    pub(super) fn retracted(node: &str, config: &Config, id: &str) -> Self {
        let item = Element::builder("retract", NS_EVENT).attr("id", id).build();
        Self { kind: Kind::Deletion, ..Self::published(node, config, id, item) }
    }

    /// Several items at once.
    pub(super) fn all_retracted(node: &str, ids: &[CompactString]) -> Self {
        let retract =
            |id: &CompactString| Element::builder("retract", NS_EVENT).attr("id", id.as_str()).build();
        let items = Element::builder("items", NS_EVENT).attr("node", node).children(ids.iter().map(retract));
        Self { content: items.build(), topic: None, at: None, kind: Kind::Deletion }
    }

    /// §8.2.5.3 and §12.14: it is configured in another way, or somebody is subscribed.
    pub(super) fn configured(content: Element) -> Self {
        Self { content, topic: None, at: None, kind: Kind::Configuration }
    }

    /// §8.4 and §8.5: all items are gone.
    pub(super) fn ended(content: Element) -> Self {
        Self { content, topic: None, at: None, kind: Kind::End }
    }

    /// An item is gone of which nobody is told that, or all are: what still waits to be told of it is not told either.
    pub(super) fn untold(gone: Option<(&str, &Config, &str)>) -> Self {
        let topic = gone.map(|(node, config, id)| topic(node, config, id));
        Self { content: Element::new("items", NS_EVENT), topic, at: None, kind: Kind::Untold }
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
pub(super) fn publisher_of(meta: &Meta, owner: &BareJid, publisher: Option<&Jid>) -> Option<String> {
    let owner = if is_service(owner) { &meta.creator } else { owner };
    match meta.config.itemreply {
        ItemReply::None => None,
        ItemReply::Owner => Some(owner.to_string()),
        ItemReply::Publisher => Some(publisher.map_or_else(|| owner.to_string(), Jid::to_string)),
    }
}

/// Events that those who were not locked with the change have still to be told of.
#[must_use]
pub(super) struct Telling<'a> {
    hub: &'a Hub,
    cell: &'a Arc<Cell>,
    node: &'a str,
    meta: Arc<Meta>,
    notices: Vec<Notice>,
}

/// Tells the devices of the account, which is locked since before the change was decided. The rest is to be told when the
/// lock is gone, but before that of [`Cell::publishing`] is.
pub(super) fn tell<'a>(
    hub: &'a Hub,
    cell: &'a Arc<Cell>,
    account: &mut Account,
    node: &'a str,
    meta: &Arc<Meta>,
    (events, ticket): (Vec<Event>, Ticket),
) -> Telling<'a> {
    let notices = share_with_own(hub, account, node, meta, (events, ticket));
    Telling { hub, cell, node, meta: meta.clone(), notices }
}

/// Tells the devices of the account.
pub(super) fn share_with_own(
    hub: &Hub,
    account: &mut Account,
    node: &str,
    meta: &Meta,
    (events, ticket): (Vec<Event>, Ticket),
) -> Vec<Notice> {
    let events = if meta.config.deliver_notifications { events } else { Vec::new() };
    let share = |event: Event| {
        let kind = event.kind;
        let sharing = Sharing::new(hub, event.message(hub, account.jid(), &meta.config), ticket);
        (kind, sharing)
    };
    let events: Vec<_> = events.into_iter().map(share).collect();
    told::noting(account, node, |account| {
        for (_, event) in events.iter().filter(|(kind, _)| *kind != Kind::Untold) {
            event.with_own(account, |session| {
                has_asked(meta, session).unwrap_or_else(|| is_interested(node, session))
            });
        }
    });
    let notice = |(kind, sharing): (Kind, Sharing<'_>)| {
        let (stanza, ticket) = sharing.parts();
        Notice { stanza, ticket, kind }
    };
    events.into_iter().map(notice).collect()
}

impl Telling<'_> {
    /// Tells the rest, for what somebody did.
    pub(super) fn go_on(self, by: &Jid) {
        let Self { hub, cell, node, meta, notices } = self;
        fan_out::spread(hub, by, Batch { cell, node, meta: &meta, notices });
    }
}

/// What came of telling those who are not of the account.
pub(super) struct Delivered {
    /// Copies that were made, and accounts that were looked at.
    pub(super) copies: u32,
    /// Addresses elsewhere to which there was no room, with what they are still to be told.
    pub(super) late: Vec<(Jid, Vec<Notice>)>,
}

/// Tells those who are not of the account, or only this address elsewhere. Of accounts that are not in memory nobody is
/// there. Who waits for earlier events waits for these.
pub(super) fn deliver(
    hub: &Hub,
    cell: &Cell,
    (node, meta): (&str, &Meta),
    notices: &[Notice],
    only: Option<&Jid>,
    waits: impl Fn(&Jid) -> bool,
) -> Delivered {
    let (locals, remotes) = match only {
        None => watchers(hub, &cell.lock(), meta),
        Some(to) => {
            let is_active = meta.subscriptions.get(to).is_some_and(|found| found.is_active());
            let is_due = is_active && access::may_read(&cell.lock(), meta, &to.to_bare()).is_ok();
            (BTreeSet::new(), is_due.then(|| to.clone()).into_iter().collect())
        }
    };
    let sharing = |notice: &Notice| Sharing::again(hub, notice.stanza.clone(), notice.ticket);
    let mut events: Vec<_> = notices.iter().map(sharing).collect();
    let mut copies = 0_usize;
    for who in &locals {
        let Some(other) = hub.resident(who) else { continue };
        copies = copies.saturating_add(1);
        for event in &mut events {
            let reached =
                event.with_other(cell, &other, |owner, _, session| is_due(owner, meta, node, session));
            copies = copies.saturating_add(reached);
        }
    }
    let mut late = Vec::new();
    for to in remotes {
        let waits = waits(&to);
        let left = events.iter().zip(notices).skip_while(|(event, _)| {
            let is_told = !waits && (event.with_remote(cell, &to) || !is_full(hub, &to));
            copies = copies.saturating_add(usize::from(is_told));
            is_told
        });
        let left: Vec<_> = left.map(|(_, notice)| notice.clone()).collect();
        if !left.is_empty() {
            late.push((to, left));
        }
    }
    events.into_iter().for_each(Sharing::finish);
    Delivered { copies: u32::try_from(copies).unwrap_or(u32::MAX), late }
}

/// Whether there is no room on the way to an address elsewhere.
pub(super) fn is_full(hub: &Hub, to: &Jid) -> bool {
    hub.routes.find(to.domain()).is_some_and(|route| !route.has_room())
}

/// Who may have to be told: accounts of this server, and subscribed addresses elsewhere. All of them may read the node.
fn watchers(hub: &Hub, account: &Account, meta: &Meta) -> (BTreeSet<BareJid>, Vec<Jid>) {
    let may_read = |who: &BareJid| access::may_read(account, meta, who).is_ok();
    let contacts = account.contacts().filter(|contact| contact.state.subscription.has_from());
    let contacts = contacts.map(|contact| &contact.jid).filter(|jid| may_read(jid));
    let mut locals: BTreeSet<_> = contacts.cloned().collect();
    let mut remotes = Vec::new();
    for (jid, subscription) in &meta.subscriptions {
        let bare = jid.to_bare();
        if !subscription.is_active() || !may_read(&bare) {
            continue;
        }
        if hub.serves(jid.domain()) {
            locals.insert(bare);
        } else {
            remotes.push(jid.clone());
        }
    }
    (locals, remotes)
}

/// Whether a device of somebody else is told of a node: it has a subscription, or the right to one and an interest in the
/// node (XEP-0163 §4).
pub(super) fn is_due(owner: &Account, meta: &Meta, node: &str, session: &Session) -> bool {
    let who = session.jid().bare();
    let wants =
        has_asked(meta, session).unwrap_or_else(|| owner.is_seen_by(&who) && is_interested(node, session));
    let is_there = session.is_available() || !meta.config.presence_based_delivery;
    wants && is_there && access::may_read(owner, meta, &who).is_ok()
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

/// Tells subscribers what their subscriptions are now (§12.14), for what somebody did. Who causes too much causes no more of
/// that: they see it when they ask.
pub(super) fn tell_states(
    hub: &Hub,
    (cell, node): (&Cell, &str),
    meta: &Meta,
    changed: &[(Jid, Option<State>)],
    (by, ticket): (&Jid, Ticket),
) {
    if changed.is_empty() || !fan_out::may_cause(hub, by, changed.len()) {
        return;
    }
    for (jid, state) in changed {
        tell_subscriber(hub, cell, meta, jid, (state_event(node, jid, *state), ticket));
    }
}

/// Tells one subscriber something about the own subscription (§12.14).
pub(super) fn tell_subscriber(
    hub: &Hub,
    cell: &Cell,
    meta: &Meta,
    jid: &Jid,
    (event, ticket): (Event, Ticket),
) {
    tell_one(hub, cell, jid, (event.message(hub, &cell.jid, &meta.config), ticket));
}

/// Tells those who own a node something about it that somebody did. An account owns all of its nodes. Who causes too much
/// causes no more of that: they see it when they ask, or come.
pub(super) fn tell_owners(
    hub: &Hub,
    cell: &Cell,
    meta: &Meta,
    message: impl Fn() -> Shared,
    (by, ticket): (&Jid, Ticket),
) {
    let account = cell.jid.local().map(|_| &cell.jid);
    let owners: Vec<_> = account.into_iter().chain(meta.owners()).collect();
    if !fan_out::may_cause(hub, by, owners.len()) {
        return;
    }
    for owner in owners {
        tell_one(hub, cell, &owner.clone().into(), (message(), ticket));
    }
}

/// Sends somebody a message of the account: to one device, or to all that are there.
pub(super) fn tell_one(hub: &Hub, cell: &Cell, jid: &Jid, (message, ticket): (Shared, Ticket)) {
    let mut sharing = Sharing::new(hub, message, ticket);
    if !hub.serves(jid.domain()) {
        sharing.with_remote(cell, jid);
        return;
    }
    let Some(other) = hub.resident(&jid.to_bare()) else { return };
    if other.id == cell.id {
        sharing.with_own(&mut cell.lock(), |session| is_meant(jid, session));
    } else {
        sharing.with_other(cell, &other, |_, _, session| is_meant(jid, session));
    }
    sharing.finish();
}

/// Whether a device is told what is for this address of its account.
pub(super) fn is_meant(jid: &Jid, session: &Session) -> bool {
    match jid.resource() {
        Some(resource) => session.jid().resource() == resource,
        None => session.is_for_all(),
    }
}
