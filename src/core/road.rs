//! The road of a message, from a device of one account to the devices of another. The stages stand here in
//! their order; DESIGN.md §3 draws them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sha2::{Digest, Sha256};
use unisono_xml::{Element, XML_NS};

use crate::account::{Account, Cell, lock_pair};
use crate::catch_up::{CatchUp, missed_form};
use crate::error::{Condition, StanzaError};
use crate::extension::{Child, Refusal, Side};
use crate::following::{Following, Then};
use crate::hub::{Hub, SessionRef, Settings};
use crate::ids::{LogPosition, SessionId, Ticket};
use crate::jid::Jid;
use crate::outbox::{Entry, Form, Item};
use crate::receive::error_reply;
use crate::record::{Direction, Keep, MessageRecord, Origin, Payload, Place};
use crate::remote::Route;
use crate::repetition::fingerprint;
use crate::session::Session;
use crate::stanza::{Message, MessageType, NS_CLIENT, NS_DELAY, NS_STANZA_IDS, Stanza};
use crate::storage::{Commit, LogEntry, Write};

/// Where a message goes.
pub(crate) enum Recipient {
    /// An account of this server; the sender's own, too.
    Account(Arc<Cell>),
    /// An address that is not ours, by the way to there.
    Remote(Arc<dyn Route>),
    /// Nobody, with the error that says so.
    Nobody(Condition),
}

/// A copy for one session: which, in which form.
type Copies = Vec<(SessionId, Form)>;

impl Hub {
    /// Takes a message of a device all the way. Returns what must be durable before the sender's acknowledgement.
    pub(crate) fn send_message(
        &self,
        origin: &SessionRef,
        message: Message,
        recipient: &Recipient,
    ) -> Ticket {
        let (message, taken, is_forged) = self.annotate(message);
        let (mut sender, mut other) = match recipient {
            Recipient::Account(cell) => lock_pair(&origin.cell, cell),
            Recipient::Remote(_) | Recipient::Nobody(_) => (origin.cell.lock(), None),
        };
        if !sender.is_live(origin) {
            return Ticket::NONE;
        }
        if is_forged && let Some(session) = sender.session_mut(origin.id) {
            session.note("message", "it says what only the server may say, which is left out");
        }
        let to_self = matches!(recipient, Recipient::Account(cell) if cell.id == origin.cell.id);
        let route = if let Recipient::Remote(route) = recipient { Some(route.clone()) } else { None };
        let mut road = Road { hub: self, origin, message, taken, error: None, route };
        let ticket = match road.admit(&sender, Side::Sender) {
            Err(refusal) => road.refuse(refusal),
            Ok(()) if to_self => road.within_account(&mut sender),
            Ok(()) => {
                if let Recipient::Nobody(condition) = recipient {
                    road.error = Some(StanzaError::new(condition.clone()));
                }
                road.between_accounts(&mut sender, other.as_deref_mut())
            }
        };
        let error = road.error.filter(|_| road.message.kind != MessageType::Error);
        let reply = error.map(|error| error_reply("message", &road.message.header, &error));
        self.settle_in(&mut sender, origin, ticket, reply);
        ticket
    }

    /// Takes a message from another domain in; `bearer` stands for who brings it.
    pub(crate) fn take_in(&self, bearer: &SessionRef, message: Message) -> Result<(), Refusal> {
        let (message, _, _) = self.annotate(message);
        let mut account = bearer.cell.lock();
        let mut road =
            Road { hub: self, origin: bearer, message, taken: Vec::new(), error: None, route: None };
        road.admit(&account, Side::Recipient)?;
        road.arrive(&mut account);
        road.error.map_or(Ok(()), |error| Err(Refusal::Error(Box::new(error))))
    }

    /// Stage `annotate`: nobody but us says what only we may say, and nobody else hears what is for us alone. Returns
    /// that, and whether somebody said more than allowed.
    fn annotate(&self, mut message: Message) -> (Message, Vec<Element>, bool) {
        let from = message.header.from.clone();
        let judge = |child: &Element| {
            let verdicts = self.registry.annotate.iter().map(|judge| judge(child, &from, &self.settings));
            verdicts.into_iter().find(|verdict| *verdict != Child::Keep).unwrap_or(Child::Keep)
        };
        let (mut taken, mut is_forged) = (Vec::new(), false);
        if message.payload.elements().iter().all(|child| judge(child) == Child::Keep) {
            return (message, taken, is_forged);
        }
        let mut kept = Vec::new();
        for child in message.payload.elements() {
            match judge(child) {
                Child::Keep => kept.push(child.clone()),
                Child::Take => taken.push(child.clone()),
                Child::Remove => is_forged = true,
            }
        }
        message.payload = Payload::from_elements(kept);
        (message, taken, is_forged)
    }

    /// Stage `admit`, for any stanza.
    pub(crate) fn admits(&self, stanza: &Stanza, account: &Account, side: Side) -> Result<(), Refusal> {
        self.registry.admit.iter().try_for_each(|judge| judge(stanza, account, side))
    }
}

/// A message under way, the accounts locked.
struct Road<'a> {
    hub: &'a Hub,
    origin: &'a SessionRef,
    message: Message,
    /// What it said to us alone.
    taken: Vec<Element>,
    error: Option<StanzaError>,
    /// Where the way goes on to another domain.
    route: Option<Arc<dyn Route>>,
}

impl Road<'_> {
    fn admit(&self, account: &Account, side: Side) -> Result<(), Refusal> {
        self.hub.admits(&Stanza::Message(self.message.clone()), account, side)
    }

    fn refuse(&mut self, refusal: Refusal) -> Ticket {
        if let Refusal::Error(error) = refusal {
            self.error = Some(*error);
        }
        Ticket::NONE
    }

    /// A message to another account, to an address that does not exist, or to another server.
    fn between_accounts(&mut self, sender: &mut Account, mut other: Option<&mut Account>) -> Ticket {
        let sent_keep = self.keep(sender, Side::Sender);
        let fingerprint = self.fingerprint(sent_keep);
        if self.repeats(sender, fingerprint) {
            return self.repetition(sender);
        }
        if other.as_deref().is_some_and(|account| !self.is_taken_by(account)) {
            other = None;
        }
        let received_keep =
            other.as_deref().map_or(Keep::Nothing, |account| self.keep(account, Side::Recipient));
        if self.route.as_ref().is_some_and(|route| !route.has_room()) {
            // There was room before something was read.
            self.error = Some(StanzaError::new(Condition::ResourceConstraint));
            self.route = None;
        }
        let reflected = self.reflected(sender, sent_keep);
        let delivered =
            other.as_deref().map(|account| self.delivered(account, received_keep)).unwrap_or_default();
        // What came back to its sender may be sent again, and is no repetition then.
        let fingerprint = if self.error.is_none() { fingerprint } else { 0 };
        sender.recent.add(fingerprint, self.origin.id, self.origin.connection);
        let now = self.hub.clock.now_micros();
        let sent = place(sender, sent_keep, &reflected, now);
        let received =
            other.as_deref_mut().and_then(|account| place(account, received_keep, &delivered, now));
        let record = Arc::new(self.record(sender, sent, received, fingerprint));

        let mut writes = self.writes(&record);
        let sent_then = self.follow(&record, sender, Direction::Sent, &mut writes);
        let received_then = other
            .as_deref_mut()
            .map(|other| self.follow(&record, other, Direction::Received, &mut writes))
            .unwrap_or_default();
        let ticket = self.submit(writes, sender, other.as_deref_mut());
        self.queue(sender, &record, &reflected, Direction::Sent, ticket);
        self.hub.go_on(sender, sent_then, ticket);
        if let Some(other) = other {
            self.queue(other, &record, &delivered, Direction::Received, ticket);
            self.hub.go_on(other, received_then, ticket);
        }
        if let Some(route) = &self.route
            && !route.send(&self.element(), ticket)
        {
            self.error = Some(StanzaError::new(Condition::ResourceConstraint));
            sender.recent.take_back(fingerprint);
        }
        if let Some(error) = self.error.as_ref().filter(|_| self.message.kind != MessageType::Error) {
            self.hub.copy_error(sender, &record, self.origin.id, error, ticket);
        }
        ticket
    }

    /// Whether a message is for an account: it is there, takes it, and has somebody for it. Else the sender learns why not.
    fn is_taken_by(&mut self, account: &Account) -> bool {
        let unavailable = StanzaError::new(Condition::ServiceUnavailable);
        if account.is_gone {
            self.error = Some(unavailable);
        } else if let Err(refusal) = self.admit(account, Side::Recipient) {
            self.refuse(refusal);
        } else if is_for_nobody(&self.message, account) {
            self.error = Some(unavailable).filter(|_| self.message.kind != MessageType::Headline);
        } else {
            return true;
        }
        false
    }

    /// A message from another domain: one entry, in the log of who gets it.
    fn arrive(&mut self, account: &mut Account) -> Ticket {
        if account.is_gone || is_for_nobody(&self.message, account) {
            let error = StanzaError::new(Condition::ServiceUnavailable);
            self.error = Some(error).filter(|_| self.message.kind != MessageType::Headline);
            return Ticket::NONE;
        }
        let keep = self.keep(account, Side::Recipient);
        let delivered = self.delivered(account, keep);
        let received = place(account, keep, &delivered, self.hub.clock.now_micros());
        let record = Arc::new(self.record(account, None, received, 0));
        let mut writes = self.writes(&record);
        let then = self.follow(&record, account, Direction::Received, &mut writes);
        let ticket = self.submit(writes, account, None);
        self.queue(account, &record, &delivered, Direction::Received, ticket);
        self.hub.go_on(account, then, ticket);
        ticket
    }

    /// A message to one's own account: one entry, for all devices.
    fn within_account(&mut self, account: &mut Account) -> Ticket {
        if is_for_nobody(&self.message, account) {
            let error = StanzaError::new(Condition::ServiceUnavailable);
            self.error = Some(error).filter(|_| self.message.kind != MessageType::Headline);
            return Ticket::NONE;
        }
        let keep = self.keep(account, Side::Recipient);
        let fingerprint = self.fingerprint(keep);
        if self.repeats(account, fingerprint) {
            return self.repetition(account);
        }
        account.recent.add(fingerprint, self.origin.id, self.origin.connection);
        let delivered = self.delivered(account, keep);
        let received = place(account, keep, &delivered, self.hub.clock.now_micros());
        let record = Arc::new(self.record(account, None, received, fingerprint));
        let mut writes = self.writes(&record);
        let then = self.follow(&record, account, Direction::Received, &mut writes);
        let ticket = self.submit(writes, account, None);
        self.queue(account, &record, &delivered, Direction::Received, ticket);
        self.hub.go_on(account, then, ticket);
        ticket
    }

    /// Whether this was taken before, by a session that is over, or by this one on an earlier connection.
    fn repeats(&self, sender: &Account, fingerprint: i64) -> bool {
        let is_another = |session| session != self.origin.id && sender.session(session).is_some();
        sender.recent.repeats(fingerprint, self.origin.connection, is_another)
    }

    /// A client that never saw its acknowledgement sent again. Its first sending may not be durable yet.
    fn repetition(&mut self, sender: &Account) -> Ticket {
        self.hub.counters.duplicates.fetch_add(1, Ordering::Relaxed);
        self.error = None;
        sender.last_ticket
    }

    /// Stage `record`: what a log keeps.
    fn keep(&self, account: &Account, side: Side) -> Keep {
        self.hub.registry.keep(&self.message, account, side)
    }

    /// What changes with it in an account of this server. It is a change of that account alone, whose lock is held.
    fn follow(
        &self,
        record: &MessageRecord,
        account: &mut Account,
        direction: Direction,
        writes: &mut Vec<Write>,
    ) -> Vec<Then> {
        if record.place(account.id).is_some() {
            for apply in &self.hub.registry.apply {
                apply(record, account, direction, writes);
            }
        }
        let origin = Some(self.origin).filter(|_| self.origin_session(account).is_some());
        let (hub, taken, then) = (self.hub, self.taken.as_slice(), Vec::new());
        Following { hub, account, record, direction, taken, origin, writes, then }.run()
    }

    /// Stage `reflect`: the sender's other devices.
    fn reflected(&self, sender: &Account, keep: Keep) -> Copies {
        // A handler looks at the message as it will be recorded; where it stands in the log is not its matter.
        let record = self.record(sender, None, None, 0);
        let others = sender.sessions.iter();
        let others = others.filter(|session| session.id != self.origin.id && session.closing.is_none());
        let others = others.filter(|session| keep == Keep::Nothing || !sender.owes(session));
        others
            .filter_map(|session| {
                copy(&self.hub.registry.reflect, &record, Direction::Sent, session, &self.hub.settings)
            })
            .collect()
    }

    /// Stage `deliver`: the devices that the message is addressed to (RFC 6121 §8.5), and copies for the rest.
    fn delivered(&mut self, account: &Account, keep: Keep) -> Copies {
        let record = self.record(account, None, None, 0);
        let resource = record.to.resource().filter(|resource| account.reachable(resource).is_some());
        let mut copies = Copies::new();
        for session in account.sessions.iter().filter(|session| session.closing.is_none()) {
            if is_addressed(&record, resource, session) {
                copies.push((session.id, Form::Original));
            } else if session.id != self.origin.id && (keep == Keep::Nothing || !account.owes(session)) {
                let deliver = &self.hub.registry.deliver;
                copies.extend(copy(deliver, &record, Direction::Received, session, &self.hub.settings));
            }
        }
        if keep == Keep::Nothing && !copies.iter().any(|(_, form)| *form == Form::Original) {
            self.error = undeliverable(&record);
        }
        copies
    }

    fn record(
        &self,
        sender: &Account,
        sent: Option<Place>,
        received: Option<Place>,
        fingerprint: i64,
    ) -> MessageRecord {
        let session = self.origin_session(sender);
        let counted = session.and_then(|session| session.management.as_deref());
        let counted = counted.map(|management| (self.origin.id, management.handled.wrapping_add(1)));
        let header = &self.message.header;
        let is_recorded = sent.is_some() || received.is_some();
        let speaks = is_recorded && self.hub.registry.speaks.iter().any(|speaks| speaks(&self.message));
        MessageRecord {
            from: header.from.clone(),
            to: header.to.clone().unwrap_or_else(|| Jid::from(self.origin.cell.jid.clone())),
            id: header.id.clone(),
            kind: self.message.kind,
            lang: header.lang.clone(),
            payload: self.message.payload.clone(),
            sent,
            received,
            origin: session.map(|session| Origin { device: session.device, session: counted }),
            speaks,
            fingerprint,
        }
    }

    fn origin_session<'b>(&self, sender: &'b Account) -> Option<&'b Session> {
        if sender.id == self.origin.cell.id { sender.session(self.origin.id) } else { None }
    }

    fn writes(&self, record: &Arc<MessageRecord>) -> Vec<Write> {
        let recorded = record.sent.is_some() || record.received.is_some();
        if recorded {
            self.hub.counters.recorded.fetch_add(1, Ordering::Relaxed);
            return vec![Write::Message(record.clone())];
        }
        Vec::new()
    }

    /// Hands everything to the journal; both accounts are locked, so both logs have the order of the queue.
    fn submit(&self, writes: Vec<Write>, sender: &mut Account, other: Option<&mut Account>) -> Ticket {
        if writes.is_empty() {
            return Ticket::NONE;
        }
        let mut wake: Vec<_> = sender.wakers().collect();
        wake.extend(other.iter().flat_map(|account| account.wakers()));
        let ticket = self.hub.store.submit(Commit { writes, wake });
        sender.submitted(ticket);
        if let Some(other) = other {
            other.submitted(ticket);
            other.touched = self.hub.clock.elapsed();
        }
        ticket
    }

    /// Stage `queue`: behind the commit, to each device in its form.
    fn queue(
        &self,
        account: &mut Account,
        record: &Arc<MessageRecord>,
        copies: &Copies,
        direction: Direction,
        ticket: Ticket,
    ) {
        let position =
            record.place(account.id).filter(|(_, way)| *way == direction).map(|(place, _)| place.position);
        if let Some(position) = position {
            let entry = LogEntry { position, direction, record: record.clone() };
            self.pass_over(account, &entry, copies);
        }
        let owner = (account.id, account.jid.clone());
        let shared = copies.iter().filter(|(_, form)| *form == Form::Original).count() > 1;
        for (id, form) in copies {
            let Some(session) = account.session_mut(*id) else { continue };
            let entry = match position {
                Some(position) => logged(record, position, *form, ticket, session),
                None if *form == Form::Original => Entry { ticket, shared, ..Entry::stanza(self.element()) },
                None => Entry { ticket, ..Entry::stanza(self.hub.live_copy(record, *form, &owner, session)) },
            };
            session.queue(entry, &self.hub.registry.filter);
        }
        self.hub.wake_if_durable(account, ticket);
    }

    /// Sessions without presence get this entry now, or have no use for it, or get it with their catch-up.
    fn pass_over(&self, account: &mut Account, entry: &LogEntry, copies: &Copies) {
        let is_before = |session: &&Session| matches!(session.catch_up, CatchUp::Before(_));
        // Who does not want copies may be about to ask for them.
        let has_no_use = |session: &Session| {
            let is_own = entry.record.origin.as_ref().is_some_and(|origin| origin.device == session.device);
            (session.wants_carbons() || is_own)
                && missed_form(&self.hub.registry, account, session, entry).is_none()
        };
        let has_it =
            |session: &&Session| copies.iter().any(|(id, _)| *id == session.id) || has_no_use(session);
        let further: Vec<_> =
            account.sessions.iter().filter(is_before).filter(has_it).map(|session| session.id).collect();
        let previous = account.previous;
        for id in further {
            if let Some(CatchUp::Before(before)) =
                account.session_mut(id).map(|session| &mut session.catch_up)
            {
                before.has_next(previous, entry.position);
            }
        }
    }

    /// The message as it came.
    fn element(&self) -> Element {
        let header = &self.message.header;
        let to = header.to.as_ref().map_or(self.origin.cell.jid.as_str(), Jid::as_str);
        let mut element = Element::builder("message", NS_CLIENT)
            .attr("from", header.from.as_str())
            .attr("to", to)
            .attr("type", self.message.kind.as_str())
            .attr_opt("id", header.id.as_deref());
        if let Some(lang) = &header.lang {
            element = element.attr_ns(XML_NS, "lang", lang.as_str());
        }
        element.children(self.message.payload.elements().iter().cloned()).build()
    }

    /// Sender is given by the log; recipient, id and content tell one message from another. A client that sends
    /// again may say so by a delay, so that does not count. What the sender's log does not keep is never the same.
    fn fingerprint(&self, keep: Keep) -> i64 {
        if keep == Keep::Nothing {
            return 0;
        }
        let message = &self.message;
        let origin_id = message.payload.child("origin-id", NS_STANZA_IDS).and_then(|child| child.attr("id"));
        let Some(id) = origin_id.or(message.header.id.as_deref()) else { return 0 };
        let mut hash = Sha256::new();
        for part in [message.header.to.as_ref().map_or("", Jid::as_str), id, message.kind.as_str()] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let is_delay = |child: &Element| child.is("delay", NS_DELAY);
        if message.payload.elements().iter().any(is_delay) {
            let rest = message.payload.elements().iter().filter(|child| !is_delay(child)).cloned().collect();
            hash.update(Payload::from_elements(rest).text().as_bytes());
        } else {
            hash.update(message.payload.text().as_bytes());
        }
        fingerprint(*hash.finalize().first_chunk().unwrap_or(&[1; 8]), origin_id.is_some())
    }
}

/// What the sender of a message learns that reached nobody and is not kept (RFC 6121 §8.5.2.2, §8.5.3.2).
fn undeliverable(record: &MessageRecord) -> Option<StanzaError> {
    let tells = match record.kind {
        MessageType::Groupchat => true,
        // What carries no text, such as a typing state, is nothing that anybody misses.
        MessageType::Chat | MessageType::Normal => record.payload.has("body", NS_CLIENT),
        MessageType::Headline | MessageType::Error => false,
    };
    tells.then(|| StanzaError::new(Condition::ServiceUnavailable))
}

/// The form of a copy, if a handler wants one.
pub(crate) fn copy(
    handlers: &[crate::extension::Deliver],
    record: &MessageRecord,
    direction: Direction,
    session: &Session,
    settings: &Settings,
) -> Option<(SessionId, Form)> {
    let form = handlers.iter().find_map(|handler| handler(record, direction, session, settings));
    form.map(|form| (session.id, form))
}

/// The entry in one log, with the numbers that its copies get in resumable sessions.
fn place(account: &mut Account, keep: Keep, copies: &Copies, now: i64) -> Option<Place> {
    if keep == Keep::Nothing {
        return None;
    }
    let numbered = |(id, _): &(SessionId, Form)| {
        let session = account.session(*id)?;
        // A copy that does not move the cursor tells nothing of what came before it; a catch-up keeps its own numbers.
        (session.is_managed() && session.follows_log(account.head)).then(|| (*id, session.next_number()))
    };
    let deliveries = copies.iter().filter_map(numbered).collect();
    let position = account.advance(now);
    if keep == Keep::UntilDelivered {
        account.waiting = Some(position);
    }
    Some(Place { account: account.id, position, keep, deliveries })
}

/// RFC 6121 §8.5.3.2.1: only chat messages find another resource when theirs is gone.
fn is_for_nobody(message: &Message, account: &Account) -> bool {
    let resource = message.header.to.as_ref().and_then(Jid::resource);
    message.kind != MessageType::Chat
        && resource.is_some_and(|resource| account.reachable(resource).is_none())
}

/// The queue entry for a recorded message.
pub(crate) fn logged(
    record: &Arc<MessageRecord>,
    position: LogPosition,
    form: Form,
    ticket: Ticket,
    session: &Session,
) -> Entry {
    let item = Item::Logged { position, record: Some(record.clone()), form, late: !session.is_connected() };
    Entry { covers: Some(position), ..Entry::new(item, ticket) }
}

/// RFC 6121 §8.5: whether a session is one that the message is meant for. `resource` is the one it names, if
/// somebody has bound it; else it is treated like a message to the account (§8.5.3.2.1).
fn is_addressed(record: &MessageRecord, resource: Option<&str>, session: &Session) -> bool {
    if let Some(resource) = resource {
        return session.jid.resource() == resource;
    }
    let named = record.to.resource().is_some();
    match record.kind {
        MessageType::Chat | MessageType::Normal => session.is_for_all(),
        MessageType::Headline => !named && session.is_for_all(),
        MessageType::Groupchat | MessageType::Error => false,
    }
}
