//! What a device sends, and where it goes (RFC 6120 §10, RFC 6121 §8).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sha2::{Digest, Sha256};
use unisono_xml::{Element, XML_NS};

use crate::account::{Account, Cell, lock_pair};
use crate::error::{Condition, StanzaError};
use crate::extension::{Answer, Entity, IqHandler, Refusal, Reply, Request, Side};
use crate::hub::{Hub, SessionRef};
use crate::ids::Ticket;
use crate::jid::Jid;
use crate::outbox::Entry;
use crate::remote::unreached;
use crate::road::Recipient;
use crate::stanza::{Iq, IqType, Message, MessageType, NS_CLIENT, Stanza};
use crate::storage::{BoxFuture, StoreError};

/// How the hub took a stanza.
pub enum Receipt {
    /// It is done, and finished when the ticket is durable.
    Done(Ticket),
    /// The store has to be read first. The next stanza waits for this one.
    Later(BoxFuture<'static, Ticket>),
}

impl Hub {
    /// Takes a stanza of a bound stream. The caller has checked its `from` (RFC 6120 §8.1.2.1).
    pub fn receive(self: &Arc<Self>, origin: &SessionRef, element: &Element) -> Receipt {
        self.counters.stanzas.fetch_add(1, Ordering::Relaxed);
        if !origin.cell.lock().is_live(origin) {
            return Receipt::Done(Ticket::NONE);
        }
        let stanza = match Stanza::parse(element, Jid::from(origin.jid.clone())) {
            Ok(stanza) => stanza,
            Err(error) => {
                let reply = may_be_answered(element).then(|| error_reply_to(element, &error));
                return Receipt::Done(self.settle(origin, Ticket::NONE, reply));
            }
        };
        match stanza {
            Stanza::Message(message) => self.receive_message(origin, message),
            Stanza::Presence(presence) => self.receive_presence(origin, presence),
            Stanza::Iq(iq) => self.receive_iq(origin, iq),
        }
    }

    /// Counts a stanza as handled, and tells its sender what went wrong with it.
    pub(crate) fn settle(&self, origin: &SessionRef, ticket: Ticket, reply: Option<Element>) -> Ticket {
        self.settle_in(&mut origin.cell.lock(), origin, ticket, reply);
        ticket
    }

    /// The same, where the sender's account is locked.
    pub(crate) fn settle_in(
        &self,
        account: &mut Account,
        origin: &SessionRef,
        ticket: Ticket,
        reply: Option<Element>,
    ) {
        account.touched = self.clock.elapsed();
        if !account.is_live(origin) {
            return;
        }
        let Some(session) = account.session_mut(origin.id) else { return };
        session.last_ticket = session.last_ticket.max(ticket);
        if let Some(management) = &mut session.management {
            management.handled = management.handled.wrapping_add(1);
        }
        if let Some(reply) = reply {
            if reply.attr("type") == Some("error") {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                session.note(reply.name(), condition(&reply));
            }
            session.queue(Entry::stanza(reply), &self.registry.filter);
            session.wake();
        }
    }

    fn receive_message(self: &Arc<Self>, origin: &SessionRef, message: Message) -> Receipt {
        let known = match &message.header.to {
            None => Some(Recipient::Account(origin.cell.clone())),
            Some(to) if !self.serves(to.domain()) => Some(match self.routes.find(to.domain()) {
                Some(route) if route.has_room() => Recipient::Remote(route),
                route => Recipient::Nobody(unreached(route.as_ref())),
            }),
            Some(to) if to.local().is_none() => Some(Recipient::Nobody(Condition::ServiceUnavailable)),
            Some(to) => self.resident(&to.to_bare()).map(Recipient::Account),
        };
        let reading: Vec<_> =
            self.registry.prepare.iter().filter_map(|prepare| prepare(self, origin, &message)).collect();
        let known = match known {
            Some(recipient) if reading.is_empty() => {
                return Receipt::Done(self.send_message(origin, message, &recipient));
            }
            known => known,
        };
        let (hub, origin) = (self.clone(), origin.clone());
        Receipt::Later(Box::pin(async move {
            for work in reading {
                if let Err(error) = work.await {
                    // Without a session that its client takes up again, what would have followed does not.
                    if let Ok(ticket) = hub.cannot_take(&origin, error) {
                        return ticket;
                    }
                }
            }
            if let Some(recipient) = known {
                return hub.send_message(&origin, message, &recipient);
            }
            let to = message.header.to.as_ref().map_or_else(|| origin.cell.jid.clone(), Jid::to_bare);
            let recipient = match hub.account(&to).await {
                Ok(Some(cell)) => Recipient::Account(cell),
                // RFC 6121 §8.5.1: an account that does not exist looks like one that takes nothing.
                Ok(None) => Recipient::Nobody(Condition::ServiceUnavailable),
                Err(error) => return hub.unread_recipient(&origin, &message, error),
            };
            hub.send_message(&origin, message, &recipient)
        }))
    }

    /// Nobody knows who the recipient is. What was never sent stands in no log, the sender's neither.
    fn unread_recipient(
        self: &Arc<Self>,
        origin: &SessionRef,
        message: &Message,
        error: StoreError,
    ) -> Ticket {
        let Err(error) = self.cannot_take(origin, error) else { return Ticket::NONE };
        let reply = error_reply("message", &message.header, &error);
        self.settle(origin, Ticket::NONE, Some(reply).filter(|_| message.kind != MessageType::Error))
    }

    fn receive_iq(self: &Arc<Self>, origin: &SessionRef, iq: Iq) -> Receipt {
        let own = &origin.cell.jid;
        let to = iq.header.to.clone().unwrap_or_else(|| Jid::from(own.clone()));
        if !self.serves(to.domain()) {
            return Receipt::Done(match self.send_iq_away(origin, &iq, &to) {
                Ok(()) => self.settle(origin, Ticket::NONE, None),
                Err(refusal) => self.refused_iq(origin, &iq, refusal),
            });
        }
        let bare = to.to_bare();
        if to.is_full() {
            return self.to_resource(origin, iq, to);
        }
        if matches!(iq.kind, IqType::Result | IqType::Error) {
            if bare == *own {
                self.take_answer(origin, &iq);
            }
            return Receipt::Done(self.settle(origin, Ticket::NONE, None));
        }
        if to.local().is_none() {
            return self.ask(origin, iq, Entity::Server, None);
        }
        if bare == *own {
            return self.ask(origin, iq, Entity::OwnAccount, Some(origin.cell.clone()));
        }
        if let Some(cell) = self.resident(&bare) {
            return self.ask(origin, iq, Entity::OtherAccount, Some(cell));
        }
        let (hub, origin) = (self.clone(), origin.clone());
        Receipt::Later(Box::pin(async move {
            match hub.account(&bare).await {
                Ok(cell) => {
                    let entity = if cell.is_some() { Entity::OtherAccount } else { Entity::Nobody };
                    match hub.ask(&origin, iq, entity, cell) {
                        Receipt::Done(ticket) => ticket,
                        Receipt::Later(answer) => answer.await,
                    }
                }
                Err(error) => hub.refuse_iq(&origin, &iq, &error.into()),
            }
        }))
    }

    /// Finds the handler of a request and lets it answer.
    fn ask(
        self: &Arc<Self>,
        origin: &SessionRef,
        iq: Iq,
        entity: Entity,
        account: Option<Arc<Cell>>,
    ) -> Receipt {
        let stanza = Stanza::Iq(iq.clone());
        let refusal = {
            let sender = self.admits(&stanza, &origin.cell.lock(), Side::Sender);
            let other = account.as_ref().filter(|_| entity == Entity::OtherAccount);
            sender.and_then(|()| {
                other.map_or(Ok(()), |cell| self.admits(&stanza, &cell.lock(), Side::Recipient))
            })
        };
        if let Err(refusal) = refusal {
            return Receipt::Done(self.refused_iq(origin, &iq, refusal));
        }
        let payload = iq.payload.elements().first().cloned();
        let handler = payload.as_ref().and_then(|payload| self.registry.iq_handler(entity, iq.kind, payload));
        let (Some(handler), Some(payload)) = (handler, payload) else {
            // RFC 6120 §8.4, RFC 6121 §8.5.1: what nobody knows is `service-unavailable`.
            return Receipt::Done(self.refuse_iq(
                origin,
                &iq,
                &StanzaError::new(Condition::ServiceUnavailable),
            ));
        };
        let request = Request {
            hub: self.clone(),
            iq: iq.clone(),
            payload,
            entity,
            session: Some(origin.clone()),
            account,
        };
        match handler {
            IqHandler::Now(handler) => {
                let answer = handler(&request);
                Receipt::Done(self.answer(origin, &iq, answer))
            }
            IqHandler::Later(handler) => {
                let (hub, origin) = (self.clone(), origin.clone());
                let answer = handler(request);
                Receipt::Later(Box::pin(async move {
                    let answer = answer.await;
                    hub.answer(&origin, &iq, answer)
                }))
            }
        }
    }

    fn answer(&self, origin: &SessionRef, iq: &Iq, answer: Answer) -> Ticket {
        let mut account = origin.cell.lock();
        if !account.is_live(origin) {
            // The session was taken up by another connection, on which the client asks again.
            return Ticket::NONE;
        }
        let made = answer.and_then(|mut reply| match reply.locked.take() {
            Some(make) => make(&mut account, origin.id),
            None => Ok(reply),
        });
        let Reply { payload, before, after, ticket, covers, locked: _ } = match made {
            Ok(reply) => reply,
            Err(error) => {
                drop(account);
                return self.refuse_iq(origin, iq, &error);
            }
        };
        let result = Element::builder("iq", NS_CLIENT)
            .attr("type", "result")
            .attr_opt("id", iq.header.id.as_deref())
            .attr_opt("from", iq.header.to.as_ref().map(Jid::as_str))
            .attr("to", origin.jid.as_str())
            .child_opt(payload)
            .build();
        // What no archive shows is still due to a device that has sent no presence.
        let keeps_cursor = account.has_waiting_for(origin.id);
        if let Some(session) = account.session_mut(origin.id) {
            for item in before {
                session.queue(Entry::new(item, ticket), &self.registry.filter);
            }
            if let Some(upto) = covers {
                session.paged_archive(upto, !keeps_cursor);
            }
            let covers = covers.filter(|_| !keeps_cursor);
            session.queue(Entry { ticket, covers, ..Entry::stanza(result) }, &self.registry.filter);
            for item in after {
                session.queue(Entry::new(item, ticket), &self.registry.filter);
            }
        }
        self.wake_when_settled(&mut account, ticket);
        self.settle_in(&mut account, origin, ticket, None);
        ticket
    }

    fn refuse_iq(&self, origin: &SessionRef, iq: &Iq, error: &StanzaError) -> Ticket {
        let asks = matches!(iq.kind, IqType::Get | IqType::Set);
        self.settle(origin, Ticket::NONE, asks.then(|| error_reply("iq", &iq.header, error)))
    }

    fn refused_iq(&self, origin: &SessionRef, iq: &Iq, refusal: Refusal) -> Ticket {
        match refusal {
            Refusal::Error(error) => self.refuse_iq(origin, iq, &error),
            Refusal::Silent => self.settle(origin, Ticket::NONE, None),
        }
    }

    /// RFC 6121 §8.5.3: an iq to a resource. Whether the account is in memory is nobody's business.
    fn to_resource(self: &Arc<Self>, origin: &SessionRef, iq: Iq, to: Jid) -> Receipt {
        let bare = to.to_bare();
        if let Some(cell) = self.resident(&bare) {
            return Receipt::Done(self.pass_iq(origin, &iq, &to, &cell));
        }
        let (hub, origin) = (self.clone(), origin.clone());
        Receipt::Later(Box::pin(async move {
            match hub.account(&bare).await {
                Ok(Some(cell)) => hub.pass_iq(&origin, &iq, &to, &cell),
                Ok(None) => hub.refused_iq(&origin, &iq, hub.absence(&origin, &iq, &to)),
                Err(error) => hub.refuse_iq(&origin, &iq, &error.into()),
            }
        }))
    }

    /// How a request to a resource fails where there is no such account: as where there is one that does not know who
    /// asks.
    fn absence(&self, origin: &SessionRef, iq: &Iq, to: &Jid) -> Refusal {
        let stanza = Stanza::Iq(iq.clone());
        let sender = self.admits(&stanza, &origin.cell.lock(), Side::Sender);
        let is_of_account = to.local().is_some();
        let mut judges = self.registry.admit_absent.iter().filter(|_| is_of_account);
        match sender.and_then(|()| judges.try_for_each(|judge| judge(&stanza))) {
            Err(refusal) => refusal,
            Ok(()) => Refusal::Error(Box::new(StanzaError::new(Condition::ServiceUnavailable))),
        }
    }

    fn pass_iq(&self, origin: &SessionRef, iq: &Iq, to: &Jid, cell: &Cell) -> Ticket {
        let (mut sender, mut other) = lock_pair(&origin.cell, cell);
        let passed = self.pass_between(&mut sender, other.as_deref_mut(), origin, iq, to);
        drop((sender, other));
        match passed {
            Ok(()) => self.settle(origin, Ticket::NONE, None),
            Err(refusal) => self.refused_iq(origin, iq, refusal),
        }
    }

    /// A request passes to those who may see the device (RFC 6121 §8.5.3.1): to others it is not there, whether it is or
    /// not. An answer passes only if it was asked for, so that nobody can push a roster or a result on a client (promise
    /// of DESIGN.md §7).
    fn pass_between(
        &self,
        sender: &mut Account,
        mut other: Option<&mut Account>,
        origin: &SessionRef,
        iq: &Iq,
        to: &Jid,
    ) -> Result<(), Refusal> {
        let stanza = Stanza::Iq(iq.clone());
        self.admits(&stanza, sender, Side::Sender)?;
        let recipient = other.as_deref().unwrap_or(sender);
        if other.is_some() {
            self.admits(&stanza, recipient, Side::Recipient)?;
        }
        let found = to.resource().and_then(|resource| recipient.reachable(resource));
        let unavailable = || Refusal::Error(Box::new(StanzaError::new(Condition::ServiceUnavailable)));
        let session = found.ok_or_else(unavailable)?;
        let asks = matches!(iq.kind, IqType::Get | IqType::Set);
        let is_seen = recipient.is_seen_by(&origin.cell.jid)
            || [Jid::from(origin.jid.clone()), Jid::from(origin.cell.jid.clone())]
                .iter()
                .any(|jid| session.directed.contains(jid));
        // What changes an account is asked of the account. On its devices it looks like a push (RFC 6121 §2.1.6,
        // XEP-0191 §3.3), which nobody but the account sends.
        let is_push = other.is_some()
            && iq.kind == IqType::Set
            && iq
                .payload
                .elements()
                .iter()
                .any(|element| self.registry.iq_handler(Entity::OwnAccount, iq.kind, element).is_some());
        if asks && (!is_seen || is_push) {
            return Err(unavailable());
        }
        let (id, target) = (iq.header.id.as_deref().unwrap_or_default(), session.id);
        if asks && let Some(session) = sender.session_mut(origin.id) {
            session.ask(question(to, id));
        }
        let recipient = match &mut other {
            Some(other) => other,
            None => sender,
        };
        let Some(session) = recipient.session_mut(target) else { return Err(unavailable()) };
        if asks || session.is_answered(question(&iq.header.from, id)) {
            session.queue(Entry::stanza(passed_on(iq, to)), &self.registry.filter);
            session.wake();
        }
        Ok(())
    }
}

/// An iq as it goes from one client to another.
pub(crate) fn passed_on(iq: &Iq, to: &Jid) -> Element {
    let element = Element::builder("iq", NS_CLIENT)
        .attr("from", iq.header.from.as_str())
        .attr("to", to.as_str())
        .attr("type", iq.kind.as_str())
        .attr_opt("id", iq.header.id.as_deref());
    let element = match &iq.header.lang {
        Some(lang) => element.attr_ns(XML_NS, "lang", lang.as_str()),
        None => element,
    };
    element.children(iq.payload.elements().iter().cloned()).build()
}

/// What ties an answer to its request: the one who was asked, and the id. Saved sessions keep it, so it is the same in
/// every build.
pub(crate) fn question(whom: &Jid, id: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(whom.as_str().as_bytes());
    hash.update([0]);
    hash.update(id.as_bytes());
    hash.finalize().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// The error for a stanza, from the address that it was sent to (RFC 6120 §8.3.1).
pub(crate) fn error_reply(name: &str, header: &crate::stanza::Header, error: &StanzaError) -> Element {
    Element::builder(name, NS_CLIENT)
        .attr("type", "error")
        .attr_opt("id", header.id.as_deref())
        .attr_opt("from", header.to.as_ref().map(Jid::as_str))
        .attr("to", header.from.as_str())
        .child(error.to_element())
        .build()
}

/// What an error says is wrong.
fn condition(reply: &Element) -> &str {
    let error = reply.child("error", NS_CLIENT);
    error.and_then(Element::first_child).map_or("", Element::name)
}

/// Whether an error may be told to the sender: of an error never (RFC 6120 §8.3.1), of an answer to an iq neither
/// (§8.2.3, rule 4).
pub(crate) fn may_be_answered(element: &Element) -> bool {
    let kind = element.attr("type");
    kind != Some("error") && !(element.name() == "iq" && kind == Some("result"))
}

/// The error for what could not be read as a stanza.
pub(crate) fn error_reply_to(element: &Element, error: &StanzaError) -> Element {
    // An address that is malformed is not repeated.
    let from = element.attr("to").filter(|to| to.parse::<Jid>().is_ok());
    Element::builder(element.name(), NS_CLIENT)
        .attr("type", "error")
        .attr_opt("id", element.attr("id"))
        .attr_opt("from", from)
        .child(error.to_element())
        .build()
}

impl From<StoreError> for StanzaError {
    /// Peers learn that we failed, the log learns why.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::new(Condition::ItemNotFound),
            StoreError::Exists | StoreError::Alike(_) | StoreError::Reserved => {
                Self::new(Condition::Conflict)
            }
            StoreError::Unavailable(_) | StoreError::Corrupt(_) => {
                tracing::error!(%error, "cannot read the store");
                Self::new(Condition::InternalServerError)
            }
        }
    }
}
