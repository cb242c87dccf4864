//! One stanza of an account for many devices: its own, and those of others.

use std::sync::Arc;

use compact_str::CompactString;
use unisono_xml::{Element, escape_attr_into};

use crate::account::{Account, Cell, lock_pair};
use crate::extension::Side;
use crate::hub::Hub;
use crate::ids::Ticket;
use crate::jid::{BareJid, FullJid, Jid};
use crate::outbox::{Entry, Item};
use crate::record::Payload;
use crate::session::Session;
use crate::stanza::{CLIENT_SCOPE, Header, Message, MessageType, OUR_LIMITS, Stanza, write_head};
use crate::storage::{Commit, Wake};

/// A message of an account to many devices. Only the address differs.
#[derive(Debug)]
pub struct Shared {
    /// Who sends it.
    pub from: BareJid,
    /// What makes a newer one of the same sender take its place while a device does not look; none, if nothing does.
    pub topic: Option<CompactString>,
    /// Up to the attribute that differs.
    before: Box<str>,
    /// From there on.
    after: Box<str>,
}

impl Shared {
    /// A message with this type, id and content.
    pub fn message(
        from: &BareJid,
        kind: MessageType,
        id: &str,
        topic: Option<CompactString>,
        content: &[Element],
    ) -> Self {
        let attributes = [("from", Some(from.as_str())), ("type", Some(kind.as_str())), ("id", Some(id))];
        let (mut before, mut after) = (Vec::new(), b"'>".to_vec());
        write_head(&mut before, "message", &attributes);
        before.extend_from_slice(b" to='");
        for element in content {
            element.write_into(&mut after, &CLIENT_SCOPE);
        }
        after.extend_from_slice(b"</message>");
        let text = |bytes| String::from_utf8(bytes).unwrap_or_default().into_boxed_str();
        Self { from: from.clone(), topic, before: text(before), after: text(after) }
    }

    /// Writes it for one device.
    pub(crate) fn write(&self, to: &FullJid, out: &mut Vec<u8>) {
        self.write_to(to.as_str(), out);
    }

    fn write_to(&self, to: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(self.before.as_bytes());
        escape_attr_into(out, to);
        out.extend_from_slice(self.after.as_bytes());
    }

    /// About what it takes in memory.
    pub fn bytes(&self) -> usize {
        self.before.len().saturating_add(self.after.len())
    }

    /// As it goes to an address that is not ours.
    fn element_to(&self, to: &Jid) -> Option<Element> {
        let mut out = Vec::new();
        self.write_to(to.as_str(), &mut out);
        let text = String::from_utf8(out).ok()?;
        Element::parse(&text, &CLIENT_SCOPE, &OUR_LIMITS).ok()
    }

    pub(crate) fn text(&self, to: &FullJid) -> String {
        let mut out = Vec::new();
        self.write(to, &mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

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
        Self::again(hub, Arc::new(stanza), ticket)
    }

    /// Goes on to share what [`Self::parts`] gave.
    pub fn again(hub: &'a Hub, stanza: Arc<Shared>, ticket: Ticket) -> Self {
        Self { hub, stanza, ticket, wake: Vec::new() }
    }

    /// The stanza, and what it waits for, to be shared with more later.
    pub fn parts(&self) -> (Arc<Shared>, Ticket) {
        (self.stanza.clone(), self.ticket)
    }

    /// To devices of the account itself, under the lock under which the commit was submitted.
    pub fn with_own(&self, account: &mut Account, wanted: impl Fn(&Session) -> bool) {
        for session in account.sessions.iter_mut().filter(|session| wanted(session)) {
            session.queue(self.entry(session), &self.hub.registry.filter);
        }
        self.hub.wake_if_durable(account, self.ticket);
    }

    /// To devices of somebody else: those that are wanted, given both accounts, and that neither account keeps it from
    /// (XEP-0191 §3.3). It is asked under both locks, so that it is as things are when the stanza is queued. Returns how
    /// many they are.
    pub fn with_other(
        &mut self,
        owner: &Cell,
        other: &Cell,
        wanted: impl Fn(&Account, &Account, &Session) -> bool,
    ) -> usize {
        let (owner, other) = lock_pair(owner, other);
        let Some(mut other) = other else { return 0 };
        let reached = other.sessions.iter().filter(|session| wanted(&owner, &other, session));
        let reached = reached.filter(|session| self.passes(&owner, &other, session));
        let reached: Vec<_> = reached.map(|session| session.id).collect();
        if reached.is_empty() {
            return 0;
        }
        for id in &reached {
            if let Some(session) = other.session_mut(*id) {
                session.queue(self.entry(session), &self.hub.registry.filter);
            }
        }
        // Who takes a session up now waits for this as well.
        other.last_ticket = other.last_ticket.max(self.ticket);
        self.wake.extend(other.wakers());
        reached.len()
    }

    /// To an address that is not ours, unless the account keeps it from there. Whether it is on its way.
    pub fn with_remote(&self, owner: &Cell, to: &Jid) -> bool {
        if !self.hub.lets_tell_away(&owner.lock(), to) {
            return false;
        }
        let element = self.stanza.element_to(to);
        element.is_some_and(|element| self.hub.send_away(to, &element, self.ticket))
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
        let message = word(owner, session.jid.clone().into());
        self.admits(&message, owner, Side::Sender).is_ok()
            && self.admits(&message, other, Side::Recipient).is_ok()
    }

    fn lets_tell_away(&self, owner: &Account, to: &Jid) -> bool {
        self.admits(&word(owner, to.clone()), owner, Side::Sender).is_ok()
    }
}

/// Any message of an account to somebody.
fn word(owner: &Account, to: Jid) -> Stanza {
    let header = Header { from: owner.jid.clone().into(), to: Some(to), id: None, lang: None };
    let payload = Payload::from_elements(Vec::new());
    Stanza::Message(Message { header, kind: MessageType::Headline, payload })
}
