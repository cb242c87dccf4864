//! Presence for everybody who may see it (RFC 6121 §4.2, §4.4 and §4.5).

use std::sync::Arc;

use unisono_xml::Element;

use super::subscribe::request_of;
use super::{entry_to, plain_presence, presence_element};
use crate::account::{Account, Cell};
use crate::error::{Condition, StanzaError};
use crate::hub::{Hub, SessionRef};
use crate::ids::{SessionId, Ticket};
use crate::jid::{BareJid, Jid};
use crate::receive::{Receipt, error_reply};
use crate::session::Session;
use crate::stanza::{NS_CLIENT, Presence};
use crate::subscription::Announce;

impl Hub {
    /// RFC 6121 §4.2 and §4.4: the device is there, or there in another way.
    pub(super) fn available(self: &Arc<Self>, origin: &SessionRef, presence: Presence) -> Receipt {
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

    /// Presence of a user for all available resources of a contact (§4.4.3). Of accounts that are not in memory
    /// nobody is there.
    pub(super) fn send_presence(&self, contact: &BareJid, element: &Element) {
        let Some(cell) = self.resident(contact) else { return };
        let mut account = cell.lock();
        if self.blocked(&account, element) {
            return;
        }
        self.to_available(&mut account, element, Ticket::NONE);
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
