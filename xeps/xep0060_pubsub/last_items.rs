//! The last items that who comes is sent (§6.1.7, XEP-0163 §4.3.4): as many at once as there is room for, so that nobody's
//! items keep a device from the rest.

use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::account::{Account, Cell};
use unisono_core::extension::{Interest, Place};
use unisono_core::hub::{Hub, SessionRef};
use unisono_core::ids::{LogPosition, Ticket};
use unisono_core::jid::{BareJid, Jid};
use unisono_core::session::Session;
use unisono_core::sharing::Sharing;
use unisono_core::storage::{ItemQuery, NodeItem, StoreError};

use super::config::{Config, SendLast};
use super::items::{expired, item_element};
use super::node::{Meta, Node, State, is_service};
use super::notify::{self, Event};
use super::{NS_EVENT, SERVICE, access, fan_out, told};
use crate::xep0312_pubsub_since as since;

/// Items of a node that a device is sent that was away: the newest.
const MISSED_MAX: usize = 50;
/// How often nodes are read for a device that change meanwhile.
const AGAIN_MAX: usize = 5;
/// Items that are in memory for a device at once.
const READ_MAX: usize = 4;

/// A device became interested in nodes: it is sent the last item of each, of its own account and of the contacts whose
/// presence it sees. Of its own nodes, all that came while it was away, as far as that is known. Of contacts that came into
/// its sight, theirs; of a service, those that it is subscribed to. Returns what there is no room for.
pub(crate) async fn send_last_items(
    hub: Arc<Hub>,
    session: SessionRef,
    interest: Interest,
) -> Result<Option<Interest>, StoreError> {
    for owner in owners(&session, &interest) {
        let from = interest.from.as_ref().filter(|place| place.owner == owner);
        match send_of(&hub, &session, &owner, (&interest.nodes, from)).await {
            Ok(None) => {}
            Ok(Some((node, upto))) => {
                return Ok(Some(Interest { from: Some(Place { owner, node, upto }), ..interest }));
            }
            // What is unreadable of one account is no reason to tell nothing of others.
            Err(error @ StoreError::Corrupt(_)) if owner != session.cell.jid => {
                tracing::error!(%owner, %error, "cannot read what a contact publishes");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Of whom a device is still to be told, in order.
fn owners(session: &SessionRef, Interest { of, from, .. }: &Interest) -> Vec<BareJid> {
    let account = session.cell.lock();
    let from = from.as_ref().map(|place| &place.owner).filter(|from| *from != account.jid());
    let own = Some(account.jid().clone()).filter(|_| of.is_none() && from.is_none());
    let is_meant = |contact: &BareJid| of.as_ref().is_none_or(|of| of.binary_search(contact).is_ok());
    let seen = account.contacts().filter(|contact| contact.state.subscription.has_to());
    let seen = seen.map(|contact| &contact.jid).filter(|jid| is_meant(jid) && !is_service(jid));
    let services = of.iter().flatten().filter(|jid| is_service(jid));
    let others = services.chain(seen).filter(|jid| from.is_none_or(|from| *jid >= from));
    own.into_iter().chain(others.cloned()).collect()
}

/// How far a device is with the nodes of one account: in this one, up to there.
type Stopped = Option<(CompactString, LogPosition)>;

async fn send_of(
    hub: &Arc<Hub>,
    session: &SessionRef,
    owner: &BareJid,
    (nodes, from): (&[CompactString], Option<&Place>),
) -> Result<Stopped, StoreError> {
    let cell = if *owner == session.cell.jid {
        Some(session.cell.clone())
    } else if is_service(owner) {
        let is_ours = hub.settings.hosted.iter().any(|hosted| hosted.kind == SERVICE && hosted.jid == *owner);
        if is_ours { Some(hub.service(owner).await?) } else { None }
    } else {
        hub.account(owner).await?
    };
    let Some(owner) = cell else { return Ok(None) };
    let nodes: Vec<_> = {
        let account = session.cell.lock();
        let Some(found) = account.session(session.id) else { return Ok(None) };
        let is_left = |node: &&CompactString| from.is_none_or(|from| **node >= from.node);
        let wants = |node: &&CompactString| is_service(&owner.jid) || found.is_interested_in(node);
        nodes.iter().filter(is_left).filter(wants).cloned().collect()
    };
    let is_sent = if is_service(&owner.jid) { is_sent_to_subscriber } else { is_sent_on_presence };
    let last = Last { hub, session, owner: &owner, is_sent, wanted: notify::is_due, is_asked: false };
    last.send(nodes, from.map_or(LogPosition::START, |from| from.upto)).await
}

fn is_sent_on_presence(owner: &Account, meta: &Meta, who: &BareJid) -> bool {
    sends_on_presence(&meta.config) && access::may_read(owner, meta, who).is_ok()
}

fn is_sent_to_subscriber(_: &Account, meta: &Meta, who: &BareJid) -> bool {
    sends_on_presence(&meta.config)
        && meta.subscriptions_of(who).any(|(_, subscription)| subscription.is_active())
}

fn sends_on_presence(config: &Config) -> bool {
    config.send_last_published_item == SendLast::OnSubAndPresence
        && config.persist_items
        && config.deliver_notifications
}

/// The nodes of a service that a device is told of, as it comes.
pub(super) fn of_service(service: &Account, who: &BareJid) -> Vec<CompactString> {
    let due = service.all_keyed::<Node>().filter(|(_, node)| is_sent_to_subscriber(service, &node.meta, who));
    let mut names: Vec<_> = due.map(|(name, _)| name.clone()).collect();
    names.sort_unstable();
    names
}

/// §6.1.7: the last item of a node, for who has just subscribed from another domain.
pub(super) async fn send_on_sub_away(
    hub: &Arc<Hub>,
    to: &Jid,
    owner: &Arc<Cell>,
    name: &str,
) -> Result<(), StoreError> {
    let (meta, ticket) = {
        let account = owner.lock();
        let node = account.keyed::<Node>(name).filter(|node| sends_on_sub(&node.meta.config));
        let Some(node) = node else { return Ok(()) };
        (node.meta.clone(), account.last_ticket())
    };
    hub.store.wait(ticket).await;
    let last = hub.store.last_items(owner.id, &[name]).await?.pop().flatten();
    let expires = expired(hub, &meta.config);
    let last = last.filter(|last| expires.is_none_or(|expires| last.position >= expires));
    let Some(last) = last else { return Ok(()) };
    let element = item_element(&last, NS_EVENT, &meta, &owner.jid, meta.config.deliver_payloads);
    if let Some(element) = element {
        let event = Event::published(name, &meta.config, &last.id, element).at(last.position);
        Sharing::new(hub, event.message(hub, &owner.jid, &meta.config), Ticket::NONE).with_remote(owner, to);
    }
    Ok(())
}

/// §12.10: the last item of a node, for those whose subscriptions an owner has just allowed: for those of their devices that
/// are there. Who causes too much causes no more of that.
pub(super) async fn send_on_approval(
    hub: &Arc<Hub>,
    owner: &Arc<Cell>,
    (name, meta): (&str, &Meta),
    allowed: &[Jid],
    by: &Jid,
) -> Result<(), StoreError> {
    let is_active = |jid: &&Jid| meta.subscriptions.get(*jid).is_some_and(|found| found.is_active());
    let allowed: Vec<_> = allowed.iter().filter(is_active).collect();
    if allowed.is_empty() || !sends_on_sub(&meta.config) || !fan_out::may_cause(hub, by, allowed.len()) {
        return Ok(());
    }
    for to in allowed {
        if !hub.serves(to.domain()) {
            send_on_sub_away(hub, to, owner, name).await?;
            continue;
        }
        let Some(cell) = hub.resident(&to.to_bare()) else { continue };
        let sessions: Vec<_> = {
            let account = cell.lock();
            let meant = account.sessions().filter(|session| notify::is_meant(to, session));
            meant.filter_map(|session| SessionRef::of(&cell, session)).collect()
        };
        for session in sessions {
            send_on_sub(hub, &session, owner, name).await?;
        }
    }
    Ok(())
}

/// Those whose subscriptions are allowed now.
pub(super) fn allowed(old: &Meta, changed: &[(Jid, Option<State>)]) -> Vec<Jid> {
    let waited = |jid: &Jid| old.subscriptions.get(jid).is_some_and(|old| old.state == State::Pending);
    let allowed = changed.iter().filter(|(jid, state)| *state == Some(State::Subscribed) && waited(jid));
    allowed.map(|(jid, _)| jid.clone()).collect()
}

fn sends_on_sub(config: &Config) -> bool {
    config.send_last_published_item != SendLast::Never && config.persist_items && config.deliver_notifications
}

/// §6.1.7: the last item of a node, for who has just subscribed.
pub(super) async fn send_on_sub(
    hub: &Arc<Hub>,
    session: &SessionRef,
    owner: &Arc<Cell>,
    name: &str,
) -> Result<(), StoreError> {
    let is_sent = |_: &Account, meta: &Meta, _: &BareJid| sends_on_sub(&meta.config);
    let wanted = |owner: &Account, meta: &Meta, _: &str, session: &Session| {
        access::may_read(owner, meta, &session.jid().bare()).is_ok()
    };
    let last = Last { hub, session, owner, is_sent, wanted, is_asked: true };
    last.send(vec![name.into()], LogPosition::START).await.map(|_| ())
}

/// A node of which a device may be sent something.
struct Due {
    name: CompactString,
    meta: Arc<Meta>,
    changed: LogPosition,
}

/// What a device is sent of one account, or of a service.
struct Last<'a> {
    hub: &'a Arc<Hub>,
    session: &'a SessionRef,
    owner: &'a Arc<Cell>,
    is_sent: fn(&Account, &Meta, &BareJid) -> bool,
    wanted: fn(&Account, &Meta, &str, &Session) -> bool,
    /// The device has just asked for it: it is sent the last item, however much waits.
    is_asked: bool,
}

/// What came of items that were to be queued.
enum Queued {
    All,
    /// The node has changed, and they may be old.
    Changed,
    /// There is no room for more than those up to here, if for any.
    Full(Option<LogPosition>),
}

impl Last<'_> {
    /// The last items of those nodes of which they are sent, a few at a time. Of the first, what came up to a position is
    /// there.
    async fn send(&self, nodes: Vec<CompactString>, upto: LogPosition) -> Result<Stopped, StoreError> {
        let mut upto = nodes.first().map(|first| (first.clone(), upto));
        let names: Vec<_> = {
            let account = self.owner.lock();
            nodes.into_iter().filter(|name| self.due(&account, name).is_some()).collect()
        };
        for names in names.chunks(READ_MAX) {
            let stopped = self.send_these(names.to_vec(), upto.as_ref()).await?;
            if stopped.is_some() {
                return Ok(stopped);
            }
            upto = None;
        }
        Ok(None)
    }

    fn due(&self, owner: &Account, name: &CompactString) -> Option<Due> {
        let who = self.session.jid.bare();
        let node = owner.keyed::<Node>(name).filter(|node| (self.is_sent)(owner, &node.meta, &who))?;
        Some(Due { name: name.clone(), meta: node.meta.clone(), changed: node.changed })
    }

    fn has_room(&self) -> bool {
        let account = self.session.cell.lock();
        self.is_asked || account.session(self.session.id).is_some_and(Session::has_room)
    }

    /// Where nodes change meanwhile, they are read again.
    async fn send_these(
        &self,
        mut names: Vec<CompactString>,
        upto: Option<&(CompactString, LogPosition)>,
    ) -> Result<Stopped, StoreError> {
        let mut before = None;
        for _ in 0..AGAIN_MAX {
            let (due, ticket) = {
                let mut account = self.owner.lock();
                let due: Vec<_> = names.iter().filter_map(|name| self.due(&account, name)).collect();
                before.get_or_insert_with(|| account.next_position(self.hub.clock.now_micros()));
                (due, account.last_ticket())
            };
            let Some(first) = due.first() else { return Ok(None) };
            let upto = |name: &CompactString| {
                upto.filter(|(node, _)| node == name).map_or(LogPosition::START, |(_, upto)| *upto)
            };
            if !self.has_room() {
                return Ok(Some((first.name.clone(), upto(&first.name))));
            }
            let before = before.unwrap_or(LogPosition::START);
            self.hub.store.wait(ticket).await;
            let (again, stopped) = self.send_due(&due, before, upto).await?;
            if let Some(stopped) = stopped {
                // What has changed comes first, and then the rest again.
                let changed = again.into_iter().next().map(|name| (name, LogPosition::START));
                return Ok(changed.or(Some(stopped)));
            }
            names = again;
        }
        Ok(None)
    }

    /// Sends what there was before this position: of what came later, the device was told. Returns the nodes that changed
    /// while they were read, and how far it came.
    async fn send_due(
        &self,
        due: &[Due],
        before: LogPosition,
        upto: impl Fn(&CompactString) -> LogPosition,
    ) -> Result<(Vec<CompactString>, Stopped), StoreError> {
        let names: Vec<_> = due.iter().map(|due| due.name.as_str()).collect();
        let last = self.hub.store.last_items(self.owner.id, &names).await?;
        let mut again = Vec::new();
        for (due, last) in due.iter().zip(last) {
            let upto = upto(&due.name);
            let expires = expired(self.hub, &due.meta.config);
            let is_left = |last: &Arc<NodeItem>| {
                last.position > upto && expires.is_none_or(|expires| last.position >= expires)
            };
            let Some(last) = last.filter(is_left) else { continue };
            let queued = match self.knows(due, &last) {
                Some(knows) => self.send_missed(due, before, knows.max(upto)).await?,
                None => self.queue(due, before, &[last]),
            };
            match queued {
                Queued::All => {}
                Queued::Changed => again.push(due.name.clone()),
                Queued::Full(further) => {
                    return Ok((again, Some((due.name.clone(), further.unwrap_or(upto)))));
                }
            }
        }
        Ok((again, None))
    }

    /// Up to where a device has the items of a node from earlier sessions, if there are others behind that: as it says
    /// itself (XEP-0312), and of its own account as is known.
    fn knows(&self, due: &Due, last: &NodeItem) -> Option<LogPosition> {
        if self.is_asked || due.meta.config.is_singleton() {
            return None;
        }
        let is_own = self.owner.id == self.session.cell.id;
        let account = self.session.cell.lock();
        let found = account.session(self.session.id)?;
        let own = Some(found.knows_nodes()).filter(|knows| is_own && *knows > LogPosition::START);
        let knows = own.into_iter().chain(since::since(found)).min();
        knows.filter(|knows| *knows < last.position)
    }

    /// The newest of the items of a node that came after a position.
    async fn send_missed(
        &self,
        due: &Due,
        before: LogPosition,
        knows: LogPosition,
    ) -> Result<Queued, StoreError> {
        let store = &self.hub.store;
        let since = Some(knows).max(expired(self.hub, &due.meta.config));
        let newest = ItemQuery { since, limit: MISSED_MAX, from_end: true, ..ItemQuery::default() };
        let newest = ItemQuery { without_payloads: true, ..newest };
        let missed = store.items(self.owner.id, &due.name, &newest).await?.items;
        let mut further = None;
        for some in missed.chunks(READ_MAX) {
            let ids = some.iter().map(|item| item.id.clone()).collect();
            let query = ItemQuery { ids: Some(ids), limit: some.len(), ..ItemQuery::default() };
            let items = store.items(self.owner.id, &due.name, &query).await?.items;
            match self.queue(due, before, &items) {
                Queued::All => further = items.last().map(|item| item.position).or(further),
                Queued::Changed => return Ok(Queued::Changed),
                Queued::Full(upto) => return Ok(Queued::Full(upto.or(further))),
            }
        }
        Ok(Queued::All)
    }

    /// Queues items that were read, unless the node has changed since.
    fn queue(&self, due: &Due, before: LogPosition, items: &[Arc<NodeItem>]) -> Queued {
        let Self { hub, session, owner, .. } = *self;
        let _order = owner.publishing();
        let is_as_read = |account: &Account| {
            account.keyed::<Node>(&due.name).is_some_and(|node| node.changed == due.changed)
        };
        // Only what the account itself publishes with a message comes in between from now on.
        let mut is_same = is_as_read(&owner.lock());
        let config = &due.meta.config;
        let mut upto = None;
        for item in items.iter().filter(|item| item.position < before) {
            if !is_same {
                break;
            }
            if !self.has_room() {
                return Queued::Full(upto);
            }
            upto = Some(item.position);
            let element = item_element(item, NS_EVENT, &due.meta, &owner.jid, config.deliver_payloads);
            let Some(element) = element else { continue };
            let event = Event::published(&due.name, config, &item.id, element).at(item.position);
            let mut sharing = Sharing::new(hub, event.message(hub, &owner.jid, config), Ticket::NONE);
            if owner.id == session.cell.id {
                // What is published with a message keeps no other order than that of this lock.
                let mut account = owner.lock();
                is_same = is_as_read(&account);
                if is_same {
                    told::noting(&mut account, &due.name, |account| {
                        sharing.with_own(account, |found| found.id() == session.id);
                    });
                }
            } else {
                sharing.with_other(owner, &session.cell, |owner, _, found| {
                    let is_wanted = || (self.wanted)(owner, &due.meta, &due.name, found);
                    is_as_read(owner) && found.id() == session.id && is_wanted()
                });
            }
            sharing.finish();
        }
        if is_same { Queued::All } else { Queued::Changed }
    }
}
