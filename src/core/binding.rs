//! How sessions begin, break and end (RFC 6120 §7, XEP-0198).

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use compact_str::CompactString;
use unisono_xml::Element;

use crate::account::{Account, Cell};
use crate::catch_up::{CatchUp, numbers_write};
use crate::delays::Moment;
use crate::devices::{Login, MADE_UP, Place, UserAgent};
use crate::error::{Condition, StanzaError, StreamCondition};
use crate::extension::{Entity, Registry, Reply};
use crate::hub::{Connection, Hub, SessionRef};
use crate::ids::{DeviceId, LogPosition, SessionId, Ticket};
use crate::jid::{BareJid, FullJid, Jid};
use crate::outbox::HandledTooHigh;
use crate::presence::News;
use crate::record::MessageRecord;
use crate::session::{AnswerDue, ArchiveUse, Link, Management, Session};
use crate::stanza::{IqType, NS_CLIENT, Stanza};
use crate::storage::{SessionRecord, StoreError, Write};

/// Resource binding (RFC 6120 §7). The network layer answers it; what comes after that comes here.
pub const NS_BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// Sessions as RFC 3921 §3 had them. Older clients ask for one after binding.
pub const NS_SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";

/// Sessions of a device that are over and still tell what arrived, where the device begins another with its login.
const FORMER_SESSIONS: usize = 2;

/// Answers that one session may be owed. Of more, the last tells what all of them would.
const ANSWERS_MAX: usize = 256;

/// Hangs up what is answered on a bound stream.
pub(crate) fn register(on: &mut Registry) {
    for entity in [Entity::Server, Entity::OwnAccount] {
        on.iq(entity, IqType::Set, (NS_BIND, "bind"), |_| Err(StanzaError::new(Condition::NotAllowed)));
        on.iq(entity, IqType::Set, (NS_SESSION, "session"), |_| Ok(Reply::empty()));
    }
}

impl Hub {
    /// Binds a resource (RFC 6120 §7). Without a wish the server makes one up. A session that had it before gives
    /// way (§7.7.2.2).
    pub async fn bind(
        self: &Arc<Self>,
        account: &BareJid,
        resource: Option<&str>,
        connection: Connection,
    ) -> Result<SessionRef, StanzaError> {
        self.bind_as(&Login::default(), account, resource, connection).await
    }

    /// The same for a client that says which installation it is. The device is known by that, and its earlier session
    /// gives way as well.
    pub async fn bind_as(
        self: &Arc<Self>,
        login: &Login,
        account: &BareJid,
        resource: Option<&str>,
        connection: Connection,
    ) -> Result<SessionRef, StanzaError> {
        let resource = match resource.filter(|resource| !resource.is_empty()) {
            Some(resource) => account.with_resource(resource),
            None => {
                account.with_resource(&format!("{MADE_UP}{}", self.made_up_resource(account, login.agent)))
            }
        };
        let jid = resource.map_err(|_| StanzaError::new(Condition::BadRequest))?;
        self.bind_and(login, &jid, connection, |_, _| ()).await.map(|(session, ())| session)
    }

    /// Binds a resource, and does more before anything else can happen to the account.
    pub(crate) async fn bind_and<T>(
        self: &Arc<Self>,
        login: &Login,
        jid: &FullJid,
        connection: Connection,
        more: impl FnOnce(&mut Account, SessionId) -> T,
    ) -> Result<(SessionRef, T), StanzaError> {
        let cell = self.account(&jid.bare()).await?.ok_or(StanzaError::new(Condition::NotAllowed))?;
        let key = login.agent.map_or_else(|| CompactString::from(jid.resource()), UserAgent::key);
        let (number, proof) = (connection.number, login.proof);
        let place = Place { resource: jid.resource(), key: &key, connection: number, proof };
        if let Some(ticket) = self.introduce(&cell, place, login)? {
            self.store.wait(ticket).await;
        }
        let mut account = self.lock_for(&cell, place)?;
        let id = SessionId(self.random_id());
        let device = self.device_for(&mut account, &key, login);
        let mut session =
            Session::new(id, device, jid.clone(), link(connection), self.settings.outbox_bytes_max);
        session.knows_nodes = account.device(device).map_or(LogPosition::START, |device| device.cursor);
        if let CatchUp::Before(before) = &mut session.catch_up {
            before.given = account.device(device).map(|device| device.cursor);
            before.whole = before.given;
        }
        // Most accounts have few: room for those that may never come would cost more than the session itself.
        account.sessions.reserve_exact(1);
        account.sessions.push(session);
        let done = more(&mut account, id);
        account.woken = Ticket::NONE;
        self.wake_when_settled(&mut account, Ticket::NONE);
        account.touched = self.clock.elapsed();
        drop(account);
        Ok((SessionRef { cell, id, jid: jid.clone(), connection: number }, done))
    }

    /// The device asks what it missed in its archive. If it did so before, it goes on doing so, whatever comes of it.
    pub fn asks_archive(&self, session: &SessionRef) {
        if let Some(found) = session.cell.lock().session_mut(session.id) {
            found.archive_use = ArchiveUse::Asked;
        }
    }

    /// The device is shown the archive from `first` on, up to `before` or to its end. Where that joins what it was shown
    /// before, or reaches the end by itself, returns the end of all of it.
    pub fn shown_back(
        &self,
        session: &SessionRef,
        first: LogPosition,
        before: Option<LogPosition>,
        end: LogPosition,
    ) -> Option<LogPosition> {
        let mut account = session.cell.lock();
        let found = account.session_mut(session.id)?;
        let end = match before {
            None => end,
            Some(before) => found.shown_back.filter(|(first, _)| *first == before)?.1,
        };
        found.shown_back = Some((first, end));
        found.pages_back(end);
        Some(end)
    }

    /// The device is shown the archive from behind `from` up to `upto`, with nothing left out.
    pub fn shown_on(&self, session: &SessionRef, from: LogPosition, upto: LogPosition) {
        if let Some(found) = session.cell.lock().session_mut(session.id) {
            found.pages_on(from, upto);
        }
    }

    /// The device pages the archive, so it is not sent what it finds there (XEP-0313 and XEP-0160). From when the ticket
    /// is durable, a crash does not change that.
    pub fn pages_archive(&self, session: &SessionRef) -> Ticket {
        self.pages_archive_of(&mut session.cell.lock(), session.id)
    }

    fn pages_archive_of(&self, account: &mut Account, session: SessionId) -> Ticket {
        let Some(found) = account.session_mut(session) else { return Ticket::NONE };
        found.archive_use = ArchiveUse::Asked;
        let device = found.device;
        let Some(record) = account.devices.iter_mut().find(|record| record.id == device) else {
            return Ticket::NONE;
        };
        if std::mem::replace(&mut record.pages_archive, true) {
            return Ticket::NONE;
        }
        let write = Write::Device { account: account.id, device: record.clone() };
        self.commit(account, vec![write])
    }

    /// A device that begins is told where the log ends. It knows itself what it lacks of the archive up to there, and is
    /// sent what no archive shows, and all that comes after: so it can neither miss nor double anything (promise P6).
    pub fn begins_at_head(&self, account: &mut Account, session: SessionId) -> LogPosition {
        let head = account.head;
        if let Some(found) = account.session_mut(session) {
            found.begins_at(head);
        }
        self.pages_archive_of(account, session);
        head
    }

    /// Makes the session count stanzas, and survive its connection for `resume_for` if that is not zero
    /// (XEP-0198 §3). Returns the id to resume it by.
    pub fn enable_management(&self, session: &SessionRef, resume_for: Duration) -> Option<CompactString> {
        // The client has heard what an older session of its device would tell, and has no more use for that.
        self.enable(&mut session.cell.lock(), session.id, resume_for, 0)
    }

    /// The same together with the login, with the account locked. Whether the client ever hears the answer is not known:
    /// what became of its last sessions is kept, so that it can ask again (promise P4).
    pub fn enable_management_at_bind(
        &self,
        account: &mut Account,
        session: SessionId,
        resume_for: Duration,
    ) -> Option<CompactString> {
        self.enable(account, session, resume_for, FORMER_SESSIONS)
    }

    /// `former`: so many sessions of the device that are over are not forgotten.
    fn enable(
        &self,
        account: &mut Account,
        session: SessionId,
        resume_for: Duration,
        former: usize,
    ) -> Option<CompactString> {
        let found = account.session_mut(session)?;
        if found.management.is_some() {
            return None;
        }
        found.management = Some(Box::new(Management { resume_for, ..Management::default() }));
        found.outbox.start_counting();
        let record = SessionRecord {
            id: found.id,
            device: found.device,
            resource: found.jid.resource().into(),
            handled: 0,
            snapshot: None,
        };
        let device = record.device;
        let mut writes = vec![Write::Session { account: account.id, session: record }];
        let of_device = account.over.iter().filter(|(of, _)| *of == device).count();
        let mut too_many = of_device.saturating_sub(former);
        account.over.retain(|(of, earlier)| {
            // The oldest stand first.
            let is_forgotten = *of == device && too_many > 0;
            if is_forgotten {
                too_many = too_many.saturating_sub(1);
                writes.push(numbers_write(account.id, *earlier, None));
                writes.push(Write::SessionEnded { session: *earlier });
            }
            !is_forgotten
        });
        self.commit(account, writes);
        Some(self.session_ids.seal(session.0, account.id.0))
    }

    /// Whether somebody looks at the device (XEP-0352). When it is looked at, all that was held goes out.
    pub fn set_inactive(&self, session: &SessionRef, inactive: bool) {
        let mut account = session.cell.lock();
        if let Some(found) = account.session_mut(session.id) {
            found.set_inactive(inactive);
            if !inactive {
                found.release();
                found.wake();
            }
        }
    }

    /// The device asks what was handled (XEP-0198 §4). The answer goes out when that is durable. Returns what it waits
    /// for.
    pub fn acknowledgement_due(&self, session: &SessionRef) -> Ticket {
        let mut account = session.cell.lock();
        let id = session.id;
        let Some(management) = account.session_mut(id).and_then(|session| session.management.as_mut()) else {
            return Ticket::NONE;
        };
        let handled = management.handled;
        let last = management.answers.back().map(|answer| (answer.ticket, answer.tellable.clone()));
        let mut stored = None;
        if std::mem::replace(&mut management.journaled, handled) != handled {
            let moment = Arc::new(Moment::awaited(self.clock.clone()));
            let writes = vec![Write::SessionHandled { session: id, handled }];
            stored = Some((self.commit_and_tell(&mut account, writes, Some(moment.clone())), moment));
        }
        let Some(session) = account.session_mut(id) else { return Ticket::NONE };
        if let Some((ticket, _)) = &stored {
            session.last_ticket = session.last_ticket.max(*ticket);
        }
        let ticket = session.last_ticket;
        // Asked again before anything else was stored, it waits for the same; or for nothing.
        let awaited = stored.or(last).filter(|(awaited, _)| *awaited == ticket).map(|(_, moment)| moment);
        let tellable = awaited.unwrap_or_else(|| Arc::new(Moment::now(self.clock.clone())));
        if let Some(management) = &mut session.management {
            let is_crowded = management.answers.len() >= ANSWERS_MAX;
            match management.answers.back_mut().filter(|_| is_crowded) {
                Some(last) => *last = AnswerDue { handled, ticket, tellable },
                None => management.answers.push_back(AnswerDue { handled, ticket, tellable }),
            }
        }
        session.wake();
        ticket
    }

    /// The client closes its stream: if it sent something since it last asked, it is told what was handled.
    pub fn last_acknowledgement(&self, session: &SessionRef) -> Ticket {
        let untold = session
            .cell
            .lock()
            .session(session.id)
            .and_then(|session| session.management.as_ref())
            .is_some_and(|management| management.handled != management.journaled);
        if untold { self.acknowledgement_due(session) } else { Ticket::NONE }
    }

    /// `<a h='handled'/>` (XEP-0198 §4).
    pub fn acknowledged(&self, session: &SessionRef, handled: u32) -> Result<(), HandledTooHigh> {
        let mut account = session.cell.lock();
        if !account.is_live(session) {
            return Ok(());
        }
        let Some(found) = account.session_mut(session.id) else { return Ok(()) };
        if let Some(management) = &mut found.management {
            management.is_asked = false;
        }
        let covers = found.outbox.acknowledge(handled)?;
        // It is asked about the rest in its time, and what waits for room goes on.
        if found.outbox.unacknowledged() > 0 || found.reads_on() {
            found.wake();
        }
        let device = found.device;
        self.move_cursor(&mut account, device, covers);
        // After a crash it may come back without its count, so this does not wait for the next round.
        account.store_moved(|commit| self.store.submit_later(commit));
        Ok(())
    }

    /// A device was there a moment ago, which is stored in the next round.
    fn was_seen(&self, cell: &Arc<Cell>, account: &mut Account, device: DeviceId) {
        let first = account.moved.is_empty();
        account.seen(device, self.clock.now_micros());
        if first && !account.moved.is_empty() {
            self.moved.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(cell.clone());
        }
    }

    /// A device has its log up to here, which is stored in the next round ([`store_cursors`](Self::store_cursors)).
    pub(crate) fn cursor_moved(
        &self,
        cell: &Arc<Cell>,
        account: &mut Account,
        device: DeviceId,
        covers: Option<LogPosition>,
    ) {
        let first = account.moved.is_empty();
        self.move_cursor(account, device, covers);
        if first && !account.moved.is_empty() {
            self.moved.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(cell.clone());
        }
    }

    pub(crate) fn move_cursor(&self, account: &mut Account, device: DeviceId, covers: Option<LogPosition>) {
        account.move_cursor(device, covers);
        // Who has everything has it up to the head: what lies behind the cursor was its own.
        let settled = account.last_ticket <= self.store.durable();
        if settled && account.sessions.iter().any(|session| session.device == device && session.has_all()) {
            account.move_cursor(device, Some(account.head));
        }
    }

    /// What a device sent cannot be taken, for the store cannot be read. If the device counts stanzas and time may help,
    /// this one is not counted, so that it comes again; and as nothing that comes after it may be counted either, the
    /// connection ends. Else the sender is told.
    pub(crate) fn cannot_take(
        self: &Arc<Self>,
        session: &SessionRef,
        error: StoreError,
    ) -> Result<Ticket, StanzaError> {
        let waker = {
            let account = session.cell.lock();
            if !account.is_live(session) {
                return Ok(Ticket::NONE);
            }
            account.session(session.id).filter(|found| found.is_managed()).and_then(Session::waker)
        };
        let waker = waker.filter(|_| matches!(error, StoreError::Unavailable(_)));
        let Some(waker) = waker else { return Err(error.into()) };
        tracing::error!(jid = %session.jid, %error, "cannot take what a device sends, its connection ends");
        self.give_reason(session.connection, StreamCondition::InternalServerError);
        self.let_go(session);
        waker.wake();
        Ok(Ticket::NONE)
    }

    /// The connection broke. A resumable session waits for another one.
    pub fn detach(self: &Arc<Self>, session: &SessionRef) {
        self.let_go(session);
        self.reason(session.connection); // Nobody is going to ask, nor to be told.
        self.farewells().remove(&session.connection);
    }

    fn let_go(self: &Arc<Self>, session: &SessionRef) {
        let mut account = session.cell.lock();
        let Some(found) = account.session_mut(session.id) else { return };
        if found.connection_number() != Some(session.connection) {
            return;
        }
        let device = found.device;
        let wait = found.management.as_ref().map_or(Duration::ZERO, |management| management.resume_for);
        if wait.is_zero() || found.closing.is_some() {
            drop(account);
            return self.end(&session.cell, session.id);
        }
        self.was_seen(&session.cell, &mut account, device);
        self.cursor_moved(&session.cell, &mut account, device, None);
        let Some(found) = account.session_mut(session.id) else { return };
        let until = self.clock.elapsed().saturating_add(wait);
        found.link = Link::Detached { until };
        found.release();
        drop(account);
        self.detached_list().push((until, session.cell.clone(), session.id));
    }

    /// The client closed its stream: the session is over (XEP-0198 §5). What its device has is known after a crash,
    /// too, once the ticket is durable.
    /// `told`: it was told before what was handled of its stanzas, if it counts them.
    pub fn close(&self, session: &SessionRef, told: bool) -> Ticket {
        let current = session.cell.lock().session(session.id).and_then(Session::connection_number);
        if current != Some(session.connection) {
            return Ticket::NONE;
        }
        self.end(&session.cell, session.id);
        let mut account = session.cell.lock();
        account.over.retain(|(_, id)| *id != session.id);
        let mut writes = account.moved_cursors();
        if told {
            let owner = account.id;
            writes.extend(account.recent.closed(owner, session.id));
        }
        writes.push(numbers_write(account.id, session.id, None));
        writes.push(Write::SessionEnded { session: session.id });
        self.commit(&mut account, writes)
    }

    /// Locks an account that has room for one more session in this place: those that had the resource or are of the same
    /// device end, or else the one that has waited longest for its client, for the log has what it still had to say.
    /// Whoever may not log in any more takes nothing from those who may.
    pub(crate) fn lock_for<'a>(
        &self,
        cell: &'a Arc<Cell>,
        place: Place<'_>,
    ) -> Result<MutexGuard<'a, Account>, StanzaError> {
        let waiting = |session: &Session| match session.link {
            Link::Detached { until } => Some((until, session.id)),
            Link::Connected { .. } => None,
        };
        loop {
            let mut account = cell.lock();
            if !account.admits_login(place.connection, place.proof) {
                return Err(StanzaError::new(Condition::NotAllowed));
            }
            let (id, reason) = match account.predecessor(place) {
                // What an older connection asked for comes late: its client has given it up for the newer one.
                Some(newer) if newer.connection_number() > Some(place.connection) => {
                    return Err(StanzaError::new(Condition::Conflict));
                }
                Some(old) => {
                    let id = old.id;
                    (id, Some(account.reason_to_give_way(id, place.key, self.clock.elapsed())))
                }
                None if account.sessions.len() < self.settings.sessions_max => return Ok(account),
                None => {
                    let oldest = account.sessions.iter().filter_map(waiting).min();
                    (oldest.ok_or(StanzaError::new(Condition::ResourceConstraint))?.1, None)
                }
            };
            drop(account);
            self.end_with(cell, id, reason);
        }
    }

    /// Ends a session for good.
    pub fn end(&self, cell: &Arc<Cell>, id: SessionId) {
        self.end_with(cell, id, None);
    }

    /// Ends a session, and its connection with an error. What it had not acknowledged stays behind the device's cursor.
    pub fn end_with(&self, cell: &Arc<Cell>, id: SessionId, reason: Option<StreamCondition>) {
        let mut account = cell.lock();
        let Some(session) = account.session(id) else { return };
        let gone = News::gone(&session.jid);
        let handled = session.management.as_ref().map(|management| management.handled);
        let (device, was_connected) = (session.device, session.is_connected());
        if was_connected {
            self.was_seen(cell, &mut account, device);
        }
        self.cursor_moved(cell, &mut account, device, None);
        let leave = self.leave(&mut account, id, gone);
        let Some(index) = account.sessions.iter().position(|session| session.id == id) else { return };
        let mut session = account.sessions.swap_remove(index);
        self.give_up(cell, &mut session);
        account.touched = self.clock.elapsed();
        self.waits_for_offline(&mut account, &session);
        if let Some(handled) = handled {
            account.over.push((session.device, id));
            self.commit(&mut account, vec![Write::SessionHandled { session: id, handled }]);
        }
        let has_others = account.sessions().any(Session::is_for_all);
        // Before the lock is given back, so that a connection that finds no session finds the reason.
        if let (Some(condition), Some(number)) = (reason, session.connection_number()) {
            self.give_reason(number, condition);
        }
        drop(account);
        session.wake();
        self.announce_leave(cell, &leave);
        self.bounce(&session, has_others);
    }

    /// A device that was served and never asked for its archive does not page it any more: another client has its
    /// resource, and from now on it is sent what it misses.
    fn waits_for_offline(&self, account: &mut Account, session: &Session) {
        if session.archive_use != ArchiveUse::Expected {
            return;
        }
        let Some(device) = account.devices.iter_mut().find(|device| device.id == session.device) else {
            return;
        };
        device.pages_archive = false;
        let write = Write::Device { account: account.id, device: device.clone() };
        self.commit(account, vec![write]);
    }

    /// What reached nobody and no log has is answered, so that who sent it does not wait for ever (XEP-0198 §4).
    /// `has_others`: what was given to several sessions may still reach one.
    fn bounce(&self, session: &Session, has_others: bool) {
        for entry in session.unlogged().filter(|entry| !(entry.shared && has_others)) {
            let Some(element) = entry.element() else { continue };
            let kind = element.attr("type").unwrap_or_default();
            let condition = match element.name() {
                "iq" if matches!(kind, "get" | "set") => Condition::RecipientUnavailable,
                "message"
                    if matches!(kind, "" | "normal" | "chat") && element.has_child("body", NS_CLIENT) =>
                {
                    Condition::ServiceUnavailable
                }
                _ => continue,
            };
            let Some(sender) = element.attr("from").and_then(|from| from.parse::<Jid>().ok()) else {
                continue;
            };
            if !self.serves(sender.domain()) {
                let reply = bounced(&element, sender.as_str(), &StanzaError::new(condition));
                self.send_away(&sender, &reply, Ticket::NONE);
            } else if let Some(sender) = sender.try_into_full() {
                self.bounce_to(&sender, &element, condition);
            }
        }
    }

    fn bounce_to(&self, sender: &FullJid, stanza: &Element, condition: Condition) {
        let Some(cell) = self.resident(&sender.bare()) else { return };
        let error = StanzaError::new(condition);
        let reply = bounced(stanza, sender.as_str(), &error);
        let mut account = cell.lock();
        let session = account.sessions.iter_mut().find(|session| session.jid == *sender);
        let Some(session) = session else { return };
        session.queue(crate::outbox::Entry::stanza(reply), &self.registry.filter);
        session.wake();
        let origin = session.id;
        if let Ok(Stanza::Message(message)) = Stanza::parse(stanza, Jid::from(sender.clone())) {
            let sent = MessageRecord::unrecorded(message, &cell.jid);
            self.copy_error(&mut account, &sent, origin, &error, Ticket::NONE);
        }
    }
}

/// A stanza that nobody took, as its sender gets it back.
fn bounced(stanza: &Element, sender: &str, error: &StanzaError) -> Element {
    Element::builder(stanza.name(), NS_CLIENT)
        .attr("type", "error")
        .attr_opt("id", stanza.attr("id"))
        .attr_opt("from", stanza.attr("to"))
        .attr("to", sender)
        .child(error.to_element())
        .build()
}

pub(crate) fn link(connection: Connection) -> Link {
    let Connection { number, wake, info } = connection;
    Link::Connected { number, wake, info: Box::new(info) }
}
