//! Presence for everybody who may see it (RFC 6121 §4.2, §4.4 and §4.5).

use std::sync::Arc;

use super::pair::{Pair, empty};
use super::subscribe::request_of;
use super::{News, entry_to};
use crate::account::{Account, Cell};
use crate::error::{Condition, StanzaError};
use crate::extension::{Refusal, Side};
use crate::hub::{Hub, SessionRef};
use crate::ids::{SessionId, Ticket};
use crate::jid::{BareJid, Jid};
use crate::outbox::{Entry, Item};
use crate::receive::Receipt;
use crate::session::Session;
use crate::stanza::{NS_CLIENT, Presence, PresenceType};

/// A device that has left, and who has to learn it.
#[must_use]
pub(crate) struct Leave {
    news: News,
    contacts: Vec<BareJid>,
    directed: Vec<Jid>,
    /// What was stored of it.
    ticket: Ticket,
}

impl Hub {
    /// RFC 6121 §4.2 and §4.4: the device is there, or there in another way.
    pub(super) fn available(self: &Arc<Self>, origin: &SessionRef, presence: Presence) -> Receipt {
        let priority =
            presence.payload.child("priority", NS_CLIENT).map(|child| child.text().trim().parse::<i8>());
        let Ok(priority) = priority.transpose() else {
            let error = Refusal::Error(Box::new(StanzaError::new(Condition::BadRequest)));
            return Receipt::Done(self.refuse_presence(origin, &presence, error));
        };
        let mut account = origin.cell.lock();
        if !account.is_live(origin) {
            return Receipt::Done(Ticket::NONE);
        }
        let news = News::of(self, &account, &presence, &origin.jid);
        let shown = account.shown;
        let presence = Arc::new(presence);
        let Some(session) = account.session_mut(origin.id) else { return Receipt::Done(Ticket::NONE) };
        let initial = session.presence.replace(presence.clone()).is_none();
        if initial {
            session.begins_interests();
        }
        session.priority = priority.unwrap_or(0);
        self.to_own_sessions(&mut account, None, &news);
        if initial {
            self.welcome(&mut account, origin.id);
        }
        let contacts = self.subscribers(&account);
        let subscriptions = if initial { subscribed_to(&account) } else { Vec::new() };
        // XEP-0160 §2: a device of negative priority gets nothing that is meant for the account.
        let is_served = priority.unwrap_or(0) >= 0;
        if is_served {
            Self::start_catch_up(&mut account, origin.id);
        } else {
            let head = account.head;
            if let Some(session) = account.session_mut(origin.id) {
                session.stop_following(head, &self.registry.filter);
            }
        }
        drop(account);
        for contact in &contacts {
            self.show(&origin.cell, contact, &news, (&presence, shown));
        }
        for contact in &subscriptions {
            self.see(origin, contact);
        }
        self.registry.present.iter().for_each(|handler| handler(self, origin, &presence));
        let arrivals = if initial { self.arrivals(origin, &presence) } else { Vec::new() };
        if arrivals.is_empty() {
            return Receipt::Done(self.settle(origin, Ticket::NONE, None));
        }
        let (hub, origin) = (self.clone(), origin.clone());
        Receipt::Later(Box::pin(async move {
            for arrival in arrivals {
                arrival.await;
            }
            hub.settle(&origin, Ticket::NONE, None)
        }))
    }

    /// Shows a contact the presence of a device (§4.2.3, §4.4.3), unless the device has left meanwhile or says something
    /// else, or is shown anew, which the contact then learns from who did that. Of accounts that are not in memory nobody
    /// is there.
    fn show(&self, user: &Cell, contact: &BareJid, news: &News, (presence, shown): (&Arc<Presence>, u32)) {
        let is_current = |session: &Session| session.presence().is_some_and(|now| Arc::ptr_eq(now, presence));
        let is_due = |seen: &Account| {
            seen.shown == shown && seen.sessions().any(is_current) && seen.is_seen_by(contact)
        };
        let to = Jid::from(contact.clone());
        if !self.serves(contact.domain()) {
            let seen = user.lock();
            if is_due(&seen) {
                self.send_news_away(news, &to);
            }
            return;
        }
        let Some(cell) = self.resident(contact) else { return };
        let mut pair = Pair::lock(user, &cell);
        if is_due(pair.seen()) {
            self.queue_news(&mut pair, news, &to);
        }
    }

    /// What a new resource learns at once: its siblings, and who waits for an answer (§3.1.3).
    fn welcome(&self, account: &mut Account, new: SessionId) {
        let siblings: Vec<_> = account
            .sessions
            .iter()
            .filter(|session| session.id != new)
            .filter_map(Session::presence)
            .map(|presence| self.shown(account, presence))
            .collect();
        let mut waiting: Vec<_> = account.requests.keys().collect();
        waiting.sort_unstable();
        waiting.retain(|contact| self.hears_from(account, contact));
        let waiting: Vec<_> = waiting.into_iter().map(|contact| request_of(account, contact)).collect();
        if let Some(session) = account.session_mut(new) {
            let to = session.jid.clone();
            for element in siblings.into_iter().chain(waiting) {
                session.queue(entry_to(element, Some(to.clone())), &self.registry.filter);
            }
            session.wake();
        }
    }

    /// RFC 6121 §4.5: the device goes, though its stream may stay.
    /// Returns what must be durable before the next acknowledgement.
    pub(super) fn unavailable(&self, origin: &SessionRef, presence: &Presence) -> Ticket {
        let mut account = origin.cell.lock();
        if !account.is_live(origin) {
            return Ticket::NONE;
        }
        let news = News::of(self, &account, presence, &origin.jid);
        let leave = self.leave(&mut account, origin.id, news);
        if let Some(session) = account.session_mut(origin.id) {
            // §4.5.2: to the one that leaves, too.
            let to = session.jid.clone();
            session.queue(entry_to(leave.news.element.clone(), Some(to)), &self.registry.filter);
            session.wake();
        }
        drop(account);
        self.announce_leave(&origin.cell, &leave);
        leave.ticket
    }

    /// Takes the presence of a session away. [`Hub::announce_leave`] tells those who saw it.
    pub(crate) fn leave(&self, account: &mut Account, id: SessionId, news: News) -> Leave {
        let head = account.head;
        let mut leave = Leave { news, contacts: Vec::new(), directed: Vec::new(), ticket: Ticket::NONE };
        let Some(session) = account.session_mut(id) else { return leave };
        let was_available = session.presence.take().is_some();
        session.forget_interests();
        let directed = std::mem::take(&mut session.directed);
        session.stop_following(head, &self.registry.filter);
        let unseen = |jid: &Jid| !(was_available && account.is_seen_by(&jid.to_bare()));
        leave.directed =
            directed.into_iter().filter(|jid| unseen(jid) && self.shows_to(account, jid)).collect();
        if !was_available {
            return leave;
        }
        self.to_own_sessions(account, Some(id), &leave.news);
        if !account.sessions.iter().any(Session::is_available) {
            let mut writes = Vec::new();
            let now = self.clock.now_micros();
            let element = &leave.news.element;
            self.registry.left.iter().for_each(|handler| handler(account, element, now, &mut writes));
            leave.ticket = self.commit(account, writes);
        }
        leave.contacts = self.subscribers(account);
        leave
    }

    /// Tells those who saw a device that it has left.
    pub(crate) fn announce_leave(&self, user: &Cell, leave: &Leave) {
        let contacts = leave.contacts.iter().cloned().map(Jid::from);
        for to in contacts.chain(leave.directed.iter().cloned()) {
            self.hide(user, &to, &leave.news);
        }
    }

    /// Tells somebody that a device has left, unless another session has its name already and is seen by them.
    fn hide(&self, user: &Cell, to: &Jid, news: &News) {
        if !self.serves(to.domain()) {
            let seen = user.lock();
            if !seen.shows(&news.from, to) {
                self.send_news_away(news, to);
            }
            return;
        }
        let Some(cell) = self.resident(&to.to_bare()) else { return };
        let mut pair = Pair::lock(user, &cell);
        if !pair.seen().shows(&news.from, to) {
            self.queue_news(&mut pair, news, to);
        }
    }

    pub(super) fn to_own_sessions(&self, account: &mut Account, besides: Option<SessionId>, news: &News) {
        let available = account.sessions.iter_mut().filter(|session| session.is_available());
        for session in available.filter(|session| Some(session.id) != besides) {
            let item = Item::Stanza { element: news.element.clone(), to: Some(session.jid.clone()) };
            session.queue(Entry::new(item, news.ticket), &self.registry.filter);
            session.wake();
        }
    }

    /// Who sees the account's presence.
    pub(super) fn subscribers(&self, account: &Account) -> Vec<BareJid> {
        let visible = account.roster.values().filter(|item| item.state.subscription.has_from());
        let visible = visible.filter(|item| self.shows_to(account, &item.jid.clone().into()));
        visible.map(|item| item.jid.clone()).collect()
    }

    /// Whether the account itself lets its presence go there.
    pub(super) fn shows_to(&self, account: &Account, to: &Jid) -> bool {
        let presence = empty(account.jid.clone().into(), to.clone(), PresenceType::Available);
        self.admits(&presence, account, Side::Sender).is_ok()
    }

    /// Whether the account lets presence from there come.
    pub(super) fn hears_from(&self, account: &Account, from: &BareJid) -> bool {
        let presence = empty(from.clone().into(), account.jid.clone(), PresenceType::Available);
        self.admits(&presence, account, Side::Recipient).is_ok()
    }
}

impl Account {
    /// Whether some session of this name shows itself there: by a subscription, or directly.
    pub(super) fn shows(&self, name: &crate::jid::FullJid, to: &Jid) -> bool {
        let subscribed = self.is_seen_by(&to.to_bare());
        let mut sessions = self.sessions.iter().filter(|session| session.jid == *name);
        sessions.any(|session| (subscribed && session.is_available()) || session.directed.contains(to))
    }
}

/// Whose presence the account sees.
fn subscribed_to(account: &Account) -> Vec<BareJid> {
    let visible = account.roster.values().filter(|item| item.state.subscription.has_to());
    visible.map(|item| item.jid.clone()).collect()
}
