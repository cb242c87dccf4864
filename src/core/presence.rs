//! Presence and subscriptions (RFC 6121 §3 and §4).

use std::sync::Arc;

use unisono_xml::{Element, Limits, XML_NS};

use crate::account::{Account, Cell};
use crate::error::{Condition, StanzaError};
use crate::extension::Side;
use crate::hub::{Hub, SessionRef};
use crate::ids::{SessionId, Ticket};
use crate::jid::{BareJid, FullJid, Jid};
use crate::outbox::{Entry, Item};
use crate::receive::{Receipt, error_reply};
use crate::roster::{ITEMS_MAX, RosterItem};
use crate::session::Session;
use crate::stanza::{CLIENT_SCOPE, Header, NS_CLIENT, Presence, PresenceType, Stanza};
use crate::storage::Write;
use crate::subscription::{self, Announce, Outcome, SubscriptionKind};

/// Entities that one session may have sent presence to without a subscription.
const DIRECTED_MAX: usize = 1_000;

impl Hub {
    pub(crate) fn receive_presence(self: &Arc<Self>, origin: &SessionRef, presence: Presence) -> Receipt {
        let stanza = Stanza::Presence(presence.clone());
        let admitted = self.admits(&stanza, &origin.cell.lock(), Side::Sender);
        if let Err(refusal) = admitted {
            return Receipt::Done(self.refuse_presence(origin, &presence, refusal));
        }
        let own = Jid::from(origin.cell.jid.clone());
        let to = presence.header.to.clone().filter(|to| *to != own);
        match (presence.kind, to) {
            (PresenceType::Available, None) => self.available(origin, presence),
            (PresenceType::Unavailable, None) => {
                self.unavailable(origin, &presence);
                Receipt::Done(self.settle(origin, Ticket::NONE, None))
            }
            (PresenceType::Available | PresenceType::Unavailable, Some(to)) => {
                self.directed(origin, &presence, &to);
                Receipt::Done(self.settle(origin, Ticket::NONE, None))
            }
            (PresenceType::Probe, Some(to)) => {
                self.ask_presence(&origin.cell, origin.id, &to.to_bare());
                Receipt::Done(self.settle(origin, Ticket::NONE, None))
            }
            (PresenceType::Error | PresenceType::Probe, _) => {
                Receipt::Done(self.settle(origin, Ticket::NONE, None))
            }
            (kind, Some(to)) => match SubscriptionKind::parse(kind.as_str()) {
                Some(kind) => self.subscribe(origin, kind, &to.to_bare(), presence),
                None => Receipt::Done(self.settle(origin, Ticket::NONE, None)),
            },
            // A subscription to oneself, or to nobody (RFC 6121 §3.1.2): there is nothing to agree on.
            (_, None) => Receipt::Done(self.settle(origin, Ticket::NONE, None)),
        }
    }

    fn refuse_presence(
        &self,
        origin: &SessionRef,
        presence: &Presence,
        refusal: crate::extension::Refusal,
    ) -> Ticket {
        let reply = match refusal {
            crate::extension::Refusal::Error(error) => {
                Some(error_reply("presence", &presence.header, &error))
            }
            crate::extension::Refusal::Silent => None,
        };
        self.settle(origin, Ticket::NONE, reply)
    }

    /// RFC 6121 §4.2 and §4.4: the device is there, or there in another way.
    fn available(self: &Arc<Self>, origin: &SessionRef, presence: Presence) -> Receipt {
        let priority =
            presence.payload.child("priority", NS_CLIENT).map(|child| child.text().trim().parse::<i8>());
        let Ok(priority) = priority.transpose() else {
            let error = StanzaError::new(Condition::BadRequest);
            return Receipt::Done(self.settle(
                origin,
                Ticket::NONE,
                Some(error_reply("presence", &presence.header, &error)),
            ));
        };
        let mut account = origin.cell.lock();
        let element = presence_element(&presence, None);
        let Some(session) = account.session_mut(origin.id) else { return Receipt::Done(Ticket::NONE) };
        let initial = session.presence.replace(Arc::new(presence)).is_none();
        session.priority = priority.unwrap_or(0);
        self.to_own_sessions(&mut account, origin.id, &element, true);
        if initial {
            self.welcome(&mut account, origin.id);
        }
        let contacts = subscribers(self, &account);
        let subscriptions = if initial { subscribed_to(&account) } else { Vec::new() };
        // XEP-0160 §2: a device of negative priority gets nothing that is meant for the account.
        let is_served = priority.unwrap_or(0) >= 0;
        if is_served {
            Self::start_catch_up(&mut account, origin.id);
        } else {
            let head = account.head;
            account.session_mut(origin.id).into_iter().for_each(|session| session.stop_following(head));
        }
        drop(account);
        for contact in contacts {
            self.send_presence(&contact, &element);
        }
        for contact in subscriptions {
            self.ask_presence(&origin.cell, origin.id, &contact);
        }
        Receipt::Done(self.settle(origin, Ticket::NONE, None))
    }

    /// What a new resource learns at once: its siblings, and who waits for an answer (§3.1.3).
    fn welcome(&self, account: &mut Account, new: SessionId) {
        let siblings: Vec<_> = account
            .sessions
            .iter()
            .filter(|session| session.id != new)
            .filter_map(|session| session.presence.clone())
            .map(|presence| presence_element(&presence, None))
            .collect();
        let waiting = account.roster.values().filter(|item| item.state.pending_in);
        let waiting: Vec<_> = waiting.map(|item| request_of(account, &item.jid)).collect();
        if let Some(session) = account.session_mut(new) {
            let to = session.jid.clone();
            for element in siblings.into_iter().chain(waiting) {
                session.queue(entry_to(element, Some(to.clone())), &self.registry.filter);
            }
            session.wake();
        }
    }

    /// RFC 6121 §4.5: the device goes, though its stream may stay.
    pub(crate) fn unavailable(&self, origin: &SessionRef, presence: &Presence) {
        let element = presence_element(presence, None);
        let mut account = origin.cell.lock();
        let (contacts, directed) = self.leave(&mut account, origin.id, &element);
        if let Some(session) = account.session_mut(origin.id) {
            // §4.5.2: to the one that leaves, too.
            let to = session.jid.clone();
            session.queue(entry_to(element.clone(), Some(to)), &self.registry.filter);
            session.wake();
        }
        drop(account);
        self.announce_leave(&contacts, &directed, &element);
    }

    /// Takes the presence of a session away. Returns who has to learn it.
    pub(crate) fn leave(
        &self,
        account: &mut Account,
        id: SessionId,
        element: &Element,
    ) -> (Vec<BareJid>, Vec<Jid>) {
        let head = account.head;
        let Some(session) = account.session_mut(id) else { return Default::default() };
        let was_available = session.presence.take().is_some();
        let directed = std::mem::take(&mut session.directed);
        session.stop_following(head);
        if !was_available {
            return (Vec::new(), directed);
        }
        self.to_own_sessions(account, id, element, false);
        if !account.sessions.iter().any(Session::is_available) {
            let mut writes = Vec::new();
            let now = self.clock.now_micros();
            self.registry.left.iter().for_each(|handler| handler(account, element, now, &mut writes));
            self.commit(account, writes);
        }
        let contacts = subscribers(self, account);
        let directed = directed.into_iter().filter(|jid| !contacts.contains(&jid.to_bare())).collect();
        (contacts, directed)
    }

    pub(crate) fn announce_leave(&self, contacts: &[BareJid], directed: &[Jid], element: &Element) {
        for contact in contacts {
            self.send_presence(contact, element);
        }
        for jid in directed {
            self.send_directed(jid, element);
        }
    }

    /// RFC 6121 §4.6: presence to one entity.
    fn directed(&self, origin: &SessionRef, presence: &Presence, to: &Jid) {
        let element = presence_element(presence, Some(to.as_str()));
        {
            let mut account = origin.cell.lock();
            let subscribed = account.is_seen_by(&to.to_bare());
            if let Some(session) = account.session_mut(origin.id) {
                session.directed.retain(|known| known != to);
                let remember =
                    presence.kind == PresenceType::Available && !(subscribed && session.is_available());
                if remember && session.directed.len() < DIRECTED_MAX {
                    session.directed.push(to.clone());
                }
            }
        }
        self.send_directed(to, &element);
    }

    fn send_directed(&self, to: &Jid, element: &Element) {
        let Some(resource) = to.resource() else { return self.send_presence(&to.to_bare(), element) };
        let Some(cell) = self.resident(&to.to_bare()) else { return };
        let mut account = cell.lock();
        if self.blocked(&account, element) {
            return;
        }
        if let Some(session) = account.sessions.iter_mut().find(|session| session.jid.resource() == resource)
        {
            let to = session.jid.clone();
            session.queue(entry_to(element.clone(), Some(to)), &self.registry.filter);
            session.wake();
        }
    }

    /// Presence of a user for all available resources of a contact (§4.4.3). Of accounts that are not in memory
    /// nobody is there.
    fn send_presence(&self, contact: &BareJid, element: &Element) {
        let Some(cell) = self.resident(contact) else { return };
        let mut account = cell.lock();
        if self.blocked(&account, element) {
            return;
        }
        self.to_available(&mut account, element, Ticket::NONE);
    }

    fn to_available(&self, account: &mut Account, element: &Element, ticket: Ticket) {
        let own = account.jid.clone();
        for session in account.sessions.iter_mut().filter(|session| session.is_available()) {
            let element = element.to_builder().attr("to", own.as_str()).build();
            session.queue(Entry { ticket, ..Entry::stanza(element) }, &self.registry.filter);
        }
        self.wake_if_durable(account, ticket);
    }

    fn to_own_sessions(&self, account: &mut Account, from: SessionId, element: &Element, own_too: bool) {
        for session in account.sessions.iter_mut().filter(|session| session.is_available()) {
            if own_too || session.id != from {
                let to = session.jid.clone();
                session.queue(entry_to(element.clone(), Some(to)), &self.registry.filter);
                session.wake();
            }
        }
    }

    fn blocked(&self, account: &Account, element: &Element) -> bool {
        let Some(Ok(from)) = element.attr("from").map(str::parse::<Jid>) else { return false };
        let header = Header { from, to: None, id: None, lang: None };
        let kind = PresenceType::parse(element.attr("type").unwrap_or("")).unwrap_or(PresenceType::Available);
        let payload = crate::record::Payload::from_elements(Vec::new());
        let stanza = Stanza::Presence(Presence { header, kind, payload });
        self.admits(&stanza, account, Side::Recipient).is_err()
    }

    /// RFC 6121 §4.3: one session asks how a contact is.
    fn ask_presence(&self, asker: &Arc<Cell>, session: SessionId, contact: &BareJid) {
        let mut answers = Vec::new();
        if let Some(cell) = self.resident(contact) {
            let account = cell.lock();
            if !account.is_seen_by(&asker.jid) {
                return;
            }
            answers.extend(
                account.sessions.iter().filter_map(Session::presence).map(|p| presence_element(p, None)),
            );
        } else if !self.serves(contact.domain()) {
            return;
        }
        let mut account = asker.lock();
        let own = account.jid.clone();
        if let Some(session) = account.session_mut(session) {
            if answers.is_empty() {
                answers.push(plain_presence(contact.as_str(), "unavailable"));
            }
            for element in answers {
                let element = element.to_builder().attr("to", own.as_str()).build();
                session.queue(Entry::stanza(element), &self.registry.filter);
            }
            session.wake();
        }
    }

    /// RFC 6121 §3: a subscription stanza, on both sides.
    fn subscribe(
        self: &Arc<Self>,
        origin: &SessionRef,
        kind: SubscriptionKind,
        contact: &BareJid,
        presence: Presence,
    ) -> Receipt {
        if !self.serves(contact.domain()) {
            let error = StanzaError::new(Condition::RemoteServerNotFound);
            return Receipt::Done(self.settle(
                origin,
                Ticket::NONE,
                Some(error_reply("presence", &presence.header, &error)),
            ));
        }
        // Held, so that it stays in memory until it knows.
        if let Some(_contact) = self.resident(contact) {
            let ticket = self.agree(&origin.cell, kind, contact, &presence);
            return Receipt::Done(self.settle(origin, ticket, None));
        }
        let (hub, origin, contact) = (self.clone(), origin.clone(), contact.clone());
        Receipt::Later(Box::pin(async move {
            let _contact = match hub.account(&contact).await {
                Ok(cell) => cell,
                Err(error) => {
                    let reply = error_reply("presence", &presence.header, &error.into());
                    return hub.settle(&origin, Ticket::NONE, Some(reply));
                }
            };
            let ticket = hub.agree(&origin.cell, kind, &contact, &presence);
            hub.settle(&origin, ticket, None)
        }))
    }

    /// Runs the state machines of both sides. Each answer that one side gives is input for the other.
    pub(crate) fn agree(
        &self,
        user: &Arc<Cell>,
        kind: SubscriptionKind,
        contact: &BareJid,
        sent: &Presence,
    ) -> Ticket {
        let (mut ticket, outcome) =
            self.change_subscription(user, contact, |state| subscription::outbound(state, kind), None);
        let Some(outcome) = outcome else { return ticket };
        if outcome.announce == Announce::Unavailable {
            self.announce_to(user, contact, outcome.announce);
        }
        if outcome.route {
            ticket = ticket.max(self.deliver_subscription(&user.jid, kind, contact, Some(sent)));
        }
        if outcome.announce == Announce::Available {
            self.announce_to(user, contact, outcome.announce);
        }
        ticket
    }

    /// Takes a subscription stanza of `from` to the account `to` (RFC 6121 §3, inbound).
    pub(crate) fn deliver_subscription(
        &self,
        from: &BareJid,
        kind: SubscriptionKind,
        to: &BareJid,
        sent: Option<&Presence>,
    ) -> Ticket {
        let Some(cell) = self.resident(to) else {
            // RFC 6121 §3.1.3: nobody of this name; the one who asked is told so.
            if kind == SubscriptionKind::Subscribe && self.serves(to.domain()) {
                return self.deliver_subscription(to, SubscriptionKind::Unsubscribed, from, None);
            }
            return Ticket::NONE;
        };
        let mut element = subscription_element(kind, from.as_str(), to.as_str());
        if let Some(sent) = sent {
            let children = sent.payload.elements().iter().cloned();
            element =
                element.to_builder().attr_opt("id", sent.header.id.as_deref()).children(children).build();
        }
        if self.blocked(&cell.lock(), &element) {
            return Ticket::NONE;
        }
        let change = |state| subscription::inbound(state, kind);
        let (mut ticket, outcome) = self.change_subscription(&cell, from, change, Some(&element));
        let Some(outcome) = outcome else { return ticket };
        if outcome.announce == Announce::Unavailable {
            self.announce_to(&cell, from, outcome.announce);
        }
        if let Some(reply) = outcome.auto_reply {
            ticket = ticket.max(self.deliver_subscription(to, reply, from, None));
        }
        if outcome.announce == Announce::Available {
            self.announce_to(&cell, from, outcome.announce);
        }
        ticket
    }

    /// One side's state machine: the roster item, its push, and what its devices see of the stanza.
    fn change_subscription(
        &self,
        cell: &Cell,
        peer: &BareJid,
        change: impl FnOnce(subscription::SubscriptionState) -> Outcome,
        stanza: Option<&Element>,
    ) -> (Ticket, Option<Outcome>) {
        let mut account = cell.lock();
        let known = account.roster.get(peer);
        if known.is_none() && account.roster.len() >= ITEMS_MAX {
            return (Ticket::NONE, None);
        }
        let mut item =
            known.cloned().unwrap_or_else(|| RosterItem { removed: true, ..RosterItem::new(peer.clone()) });
        let outcome = change(item.state);
        let mut ticket = Ticket::NONE;
        let changed = item.state != outcome.state;
        if item.state.pending_in != outcome.state.pending_in {
            let request =
                stanza.filter(|_| outcome.state.pending_in).map(|stanza| stanza.to_string_in(&CLIENT_SCOPE));
            let write = account.set_request(peer, request);
            ticket = self.commit(&mut account, vec![write]);
        }
        item.state = outcome.state;
        if outcome.push {
            item.removed = false;
        }
        if let Some(stanza) = stanza.filter(|_| outcome.deliver) {
            // §3.1.3: before the push. A request waits for the next device, anything else for nobody.
            self.to_interested(&mut account, stanza);
        }
        if outcome.push {
            ticket = ticket.max(self.store_and_push(&mut account, item));
        } else if changed {
            let write = Write::RosterItem { account: account.id, item: item.clone() };
            account.roster.insert(peer.clone(), item);
            ticket = ticket.max(self.commit(&mut account, vec![write]));
        }
        (ticket, Some(outcome))
    }

    fn to_interested(&self, account: &mut Account, stanza: &Element) {
        // RFC 6121 §3.1.3: all available resources that asked for the roster; more reach nobody else.
        for session in account.sessions.iter_mut().filter(|session| session.is_available()) {
            session.queue(Entry::stanza(stanza.clone()), &self.registry.filter);
            session.wake();
        }
    }

    /// Tells all devices of an account that follow a matter. Each gets its own address and an id.
    pub fn push_to_followers(&self, account: &mut Account, ns: &str, iq: &Element, ticket: Ticket) {
        let iq = iq.to_builder().attr("id", format!("push-{}", self.draw_id())).build();
        for session in account.sessions.iter_mut().filter(|session| session.follows(ns)) {
            let item = Item::Stanza { element: iq.clone(), to: Some(session.jid.clone()) };
            session.queue(Entry { item, ticket, covers: None }, &self.registry.filter);
        }
        self.wake_if_durable(account, ticket);
    }

    /// Whether the account itself lets its presence go to a contact.
    fn may_send_presence(&self, account: &Account, contact: &BareJid) -> bool {
        let header = Header {
            from: Jid::from(account.jid.clone()),
            to: Some(Jid::from(contact.clone())),
            id: None,
            lang: None,
        };
        let payload = crate::record::Payload::from_elements(Vec::new());
        let stanza = Stanza::Presence(Presence { header, kind: PresenceType::Available, payload });
        self.admits(&stanza, account, Side::Sender).is_ok()
    }

    /// Shows a contact who may see it the account's resources, or hides them, without a change of the roster.
    pub fn show_presence(&self, user: &Cell, contact: &BareJid, visible: bool) {
        if user.lock().is_seen_by(contact) {
            self.announce_to(
                user,
                contact,
                if visible { Announce::Available } else { Announce::Unavailable },
            );
        }
    }

    /// A contact gains or loses the sight of a user's resources.
    pub(crate) fn announce_to(&self, user: &Cell, contact: &BareJid, announce: Announce) {
        let stanzas: Vec<_> = {
            let account = user.lock();
            let available =
                account.sessions.iter().filter_map(|session| session.presence.clone().map(|p| (session, p)));
            available
                .map(|(session, presence)| match announce {
                    Announce::Unavailable => plain_presence(session.jid.as_str(), "unavailable"),
                    Announce::Available | Announce::Nothing => presence_element(&presence, None),
                })
                .collect()
        };
        for element in stanzas {
            self.send_presence(contact, &element);
        }
    }
}

fn entry_to(element: Element, to: Option<FullJid>) -> Entry {
    Entry { item: Item::Stanza { element, to }, ticket: Ticket::NONE, covers: None }
}

/// Who sees the account's presence.
fn subscribers(hub: &Hub, account: &Account) -> Vec<BareJid> {
    let visible = account.roster.values().filter(|item| item.state.subscription.has_from());
    let visible = visible.filter(|item| hub.may_send_presence(account, &item.jid));
    visible.map(|item| item.jid.clone()).collect()
}

/// Whose presence the account sees.
fn subscribed_to(account: &Account) -> Vec<BareJid> {
    let visible = account.roster.values().filter(|item| item.state.subscription.has_to());
    visible.map(|item| item.jid.clone()).collect()
}

/// A presence as it goes out, `from` the full JID of its device.
pub(crate) fn presence_element(presence: &Presence, to: Option<&str>) -> Element {
    let mut builder = Element::builder("presence", NS_CLIENT)
        .attr("from", presence.header.from.as_str())
        .attr_opt("to", to)
        .attr_opt("id", presence.header.id.as_deref())
        .attr_opt("type", Some(presence.kind.as_str()).filter(|kind| !kind.is_empty()));
    if let Some(lang) = &presence.header.lang {
        builder = builder.attr_ns(XML_NS, "lang", lang.as_str());
    }
    builder.children(presence.payload.elements().iter().cloned()).build()
}

/// A presence without content.
pub(crate) fn plain_presence(from: &str, kind: &str) -> Element {
    Element::builder("presence", NS_CLIENT).attr("from", from).attr("type", kind).build()
}

/// A request that waits, as it came.
fn request_of(account: &Account, contact: &BareJid) -> Element {
    let kept = account.requests.get(contact);
    let kept = kept.and_then(|text| Element::parse(text, &CLIENT_SCOPE, &Limits::default()).ok());
    let (from, to) = (contact.as_str(), account.jid.as_str());
    kept.unwrap_or_else(|| subscription_element(SubscriptionKind::Subscribe, from, to))
}

fn subscription_element(kind: SubscriptionKind, from: &str, to: &str) -> Element {
    Element::builder("presence", NS_CLIENT)
        .attr("from", from)
        .attr("to", to)
        .attr("type", kind.as_str())
        .build()
}
