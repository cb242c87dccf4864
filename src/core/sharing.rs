//! One stanza of an account for many devices: its own, and those of others.

use std::sync::Arc;

use crate::account::{Account, Cell, lock_pair};
use crate::extension::Side;
use crate::hub::Hub;
use crate::ids::Ticket;
use crate::jid::Jid;
use crate::outbox::{Entry, Item, Shared};
use crate::record::Payload;
use crate::session::Session;
use crate::stanza::{Header, Message, MessageType, Stanza};
use crate::storage::{Commit, Wake};

/// A stanza on its way to many. Those that it reaches write it when its commit is durable.
pub struct Sharing<'a> {
    hub: &'a Hub,
    stanza: Arc<Shared>,
    ticket: Ticket,
    wake: Vec<Arc<dyn Wake>>,
}

impl<'a> Sharing<'a> {
    /// Begins to share a stanza of an account, behind a commit.
    pub fn new(hub: &'a Hub, stanza: Shared, ticket: Ticket) -> Self {
        Self { hub, stanza: Arc::new(stanza), ticket, wake: Vec::new() }
    }

    /// To devices of the account itself, under the lock under which the commit was submitted.
    pub fn with_own(&self, account: &mut Account, wanted: impl Fn(&Session) -> bool) {
        for session in account.sessions.iter_mut().filter(|session| wanted(session)) {
            session.queue(self.entry(session), &self.hub.registry.filter);
        }
        self.hub.wake_if_durable(account, self.ticket);
    }

    /// To devices of somebody else: those that are wanted, given both accounts, and that neither account keeps it from
    /// (XEP-0191 §3.3). It is asked under both locks, so that it is as things are when the stanza is queued.
    pub fn with_other(
        &mut self,
        owner: &Cell,
        other: &Cell,
        wanted: impl Fn(&Account, &Account, &Session) -> bool,
    ) {
        let (owner, other) = lock_pair(owner, other);
        let Some(mut other) = other else { return };
        let reached = other.sessions.iter().filter(|session| wanted(&owner, &other, session));
        let reached = reached.filter(|session| self.passes(&owner, &other, session));
        let reached: Vec<_> = reached.map(|session| session.id).collect();
        if reached.is_empty() {
            return;
        }
        for id in reached {
            if let Some(session) = other.session_mut(id) {
                session.queue(self.entry(session), &self.hub.registry.filter);
            }
        }
        // Who takes a session up now waits for this as well.
        other.last_ticket = other.last_ticket.max(self.ticket);
        self.wake.extend(other.wakers());
    }

    /// All have it in their queues: they are woken when it is durable.
    pub fn finish(self) {
        if self.wake.is_empty() {
        } else if self.ticket <= self.hub.store.durable() {
            self.wake.iter().for_each(|wake| wake.wake());
        } else {
            self.hub.store.submit(Commit { writes: Vec::new(), wake: self.wake });
        }
    }

    fn entry(&self, session: &Session) -> Entry {
        let item = Item::Shared { stanza: self.stanza.clone(), to: session.jid.clone() };
        Entry { shared: true, ..Entry::new(item, self.ticket) }
    }

    fn passes(&self, owner: &Account, other: &Account, session: &Session) -> bool {
        self.hub.lets_tell(owner, other, session)
    }
}

impl Hub {
    /// Whether neither of two accounts keeps what the first tells from this device of the second.
    pub fn lets_tell(&self, owner: &Account, other: &Account, session: &Session) -> bool {
        let header = Header {
            from: owner.jid.clone().into(),
            to: Some(Jid::from(session.jid.clone())),
            id: None,
            lang: None,
        };
        let payload = Payload::from_elements(Vec::new());
        let message = Stanza::Message(Message { header, kind: MessageType::Headline, payload });
        self.admits(&message, owner, Side::Sender).is_ok()
            && self.admits(&message, other, Side::Recipient).is_ok()
    }
}
