//! What a connection writes: the outbox of its session, as bytes (stages `queue` and `write`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::account::Account;
use crate::error::StreamCondition;
use crate::hub::{Hub, SessionRef};
use crate::ids::{LogPosition, Ticket};
use crate::outbox::{Item, Next, write_to};
use crate::render::Renderer;
use crate::session::Session;
use crate::storage::{LogQuery, StoreError};

/// A device is not asked for acknowledgements more often than this,
const ASK_EVERY: Duration = Duration::from_millis(250);
/// unless so many stanzas are unacknowledged.
const ASK_AFTER: usize = 16;

/// Most stanzas take no more when they are written.
const STANZA_BYTES: usize = 1000;

/// What a connection does after it took what there was to write.
#[derive(Debug)]
pub enum Drained {
    /// Nothing more at the moment; the wake says when, or this time says it.
    Idle(Option<Duration>),
    /// The buffer is full; there is more.
    More,
    /// The content of these entries has to be read first: [`Hub::refill`].
    Read(Vec<LogPosition>),
    /// The device misses a part of its log that has to be read, or what there is of nodes that interest it:
    /// [`Hub::read_on`].
    CatchUp,
    /// The session does not belong to this connection any more, with the error that its stream ends by.
    Gone(StreamCondition),
}

impl Hub {
    /// Appends what can be written to `out`, until it holds about `bytes_max`.
    pub fn drain(&self, session: &SessionRef, out: &mut Vec<u8>, bytes_max: usize) -> Drained {
        let durable = self.store.durable();
        let mut account = session.cell.lock();
        if let Some(condition) = self.is_gone(&account, session) {
            return Drained::Gone(condition);
        }
        let Some(found) = account.session_mut(session.id) else { return Drained::Idle(None) };
        self.answer_due(found, durable, out);
        let renderer = self.renderer(&session.cell);
        let device = found.device;
        let (drained, covers, count) = write_entries(found, &renderer, durable, out, bytes_max);
        self.counters.written.fetch_add(count, Ordering::Relaxed);
        let ask_in = self.ask_when_due(found, out);
        let tells_in = found.tells_in(self.clock.elapsed());
        let drained = match drained {
            Drained::Idle(_) if found.wants_log(durable) || tells_in == Some(Duration::ZERO) => {
                Drained::CatchUp
            }
            Drained::Idle(_) => Drained::Idle(ask_in.into_iter().chain(tells_in).min()),
            drained => drained,
        };
        self.cursor_moved(&session.cell, &mut account, device, covers);
        drained
    }

    /// Asks for an acknowledgement of what was written (XEP-0198 §4): at once if that is the first for a while, or else
    /// when much is unacknowledged or the time has come, which is returned.
    fn ask_when_due(&self, session: &mut Session, out: &mut Vec<u8>) -> Option<Duration> {
        let unacknowledged = session.outbox.unacknowledged();
        let write = self.registry.request_writer?;
        let management = session.management.as_mut().filter(|management| !management.is_asked)?;
        if unacknowledged == 0 {
            return None;
        }
        let now = self.clock.elapsed();
        let rest = management
            .asked
            .map_or(Duration::ZERO, |asked| ASK_EVERY.saturating_sub(now.saturating_sub(asked)));
        if !rest.is_zero() && unacknowledged < ASK_AFTER {
            return Some(rest);
        }
        (management.asked, management.is_asked) = (Some(now), true);
        write(out);
        None
    }

    /// Whether a connection has lost its session, and the error that its stream ends by.
    pub fn lost(&self, session: &SessionRef) -> Option<StreamCondition> {
        self.is_gone(&session.cell.lock(), session)
    }

    fn is_gone(&self, account: &Account, session: &SessionRef) -> Option<StreamCondition> {
        let otherwise = match account.session(session.id) {
            None => match self.farewells().get(&session.connection) {
                None => StreamCondition::Reset,
                Some(None) => return None,
                Some(Some(farewell)) => return Some(farewell.reason.clone()),
            },
            Some(found) if found.connection_number() != Some(session.connection) => StreamCondition::Conflict,
            Some(found) => return found.closing.clone(),
        };
        Some(self.reason(session.connection).unwrap_or(otherwise))
    }

    /// Asks a device that counts stanzas for an acknowledgement, as a sign of life (XEP-0198 §4).
    /// Whether it has to answer.
    pub fn ask_for_sign_of_life(&self, session: &SessionRef, out: &mut Vec<u8>) -> bool {
        let mut account = session.cell.lock();
        let found = account.session_mut(session.id);
        let Some(management) = found.and_then(|found| found.management.as_mut()) else { return false };
        let Some(write) = self.registry.request_writer else { return false };
        (management.asked, management.is_asked) = (Some(self.clock.elapsed()), true);
        write(out);
        true
    }

    /// `<a/>` for what the device asked about, as far as it is durable (promise P2).
    fn answer_due(&self, session: &mut Session, durable: Ticket, out: &mut Vec<u8>) {
        let Some(management) = &mut session.management else { return };
        let Some(write) = self.registry.ack_writer else { return };
        while management.answers.front().is_some_and(|answer| answer.ticket <= durable) {
            let Some(answer) = management.answers.pop_front() else { break };
            self.counters.ack_to_commit.record(answer.tellable.age());
            write(out, answer.handled); // §4: each request is answered.
        }
    }

    /// Reads entries that the outbox holds as positions only.
    pub async fn refill(
        self: &Arc<Self>,
        session: &SessionRef,
        positions: Vec<LogPosition>,
    ) -> Result<(), StoreError> {
        let query = LogQuery {
            limit: positions.len(),
            positions: Some(positions.clone()),
            include_unarchived: true,
            ..LogQuery::default()
        };
        let page = self.store.page(session.cell.id, &query).await?;
        if page.entries.len() < positions.len() {
            let purged = self.store.purged(session.cell.id).await?;
            let is_there = |position| page.entries.iter().any(|entry| entry.position == position);
            let lost = positions.iter().filter(|position| **position > purged && !is_there(**position));
            self.counters.gaps.fetch_add(lost.count() as u64, Ordering::Relaxed);
        }
        let records: Vec<_> = page.entries.into_iter().map(|entry| (entry.position, entry.record)).collect();
        let mut account: std::sync::MutexGuard<'_, Account> = session.cell.lock();
        if let Some(found) = account.session_mut(session.id) {
            found.outbox.fill(&records, &positions);
            found.wake();
        }
        Ok(())
    }
}

/// Writes entries up to the first that has to wait. Returns how far that settles the log for a device without stream
/// management, and how many they were.
fn write_entries(
    session: &mut Session,
    renderer: &Renderer<'_>,
    durable: Ticket,
    out: &mut Vec<u8>,
    bytes_max: usize,
) -> (Drained, Option<LogPosition>, u64) {
    let mut covers = None;
    let mut count = 0_u64;
    loop {
        if out.len() >= bytes_max {
            return (Drained::More, covers, count);
        }
        let entry = match session.outbox.next(durable) {
            Next::Wait => return (Drained::Idle(None), covers, count),
            Next::Read(positions) => return (Drained::Read(positions), covers, count),
            Next::Write(entry) => entry,
        };
        out.reserve(STANZA_BYTES);
        match &entry.item {
            Item::Logged { record: Some(record), form, late, .. } => {
                renderer.copy(out, record, *form, &session.jid, *late);
            }
            Item::Logged { record: None, .. } => return (Drained::Idle(None), covers, count),
            Item::Stanza { element, to } => write_to(element, to.as_ref(), out),
            Item::Text(text) => out.extend_from_slice(text.as_bytes()),
            Item::Shared { stanza, to } => stanza.write(to, out),
        }
        covers = covers.max(session.outbox.wrote());
        count = count.saturating_add(1);
    }
}
