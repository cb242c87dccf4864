//! What a device missed: the log behind its cursor (DESIGN.md §3).
//!
//! There is no store of offline messages. When a device sends its first presence, it gets all entries behind its
//! cursor, each in the form that it would have had live, before anything newer. A device that pages the archive
//! (XEP-0313) finds them there and gets only what the archive does not show.

use std::sync::Arc;

use compact_str::CompactString;

use crate::account::Account;
use crate::extension::Registry;
use crate::hub::{Hub, SessionRef};
use crate::ids::{AccountId, LogPosition, SessionId, Ticket};
use crate::outbox::{Entry, Form, Item};
use crate::record::{Direction, Keep};
use crate::session::Session;
use crate::storage::{LogEntry, LogQuery, StoreError, Write};

/// Entries of one stretch of a catch-up.
const STRETCH: usize = 50;
/// The next stretch is read when fewer entries than this wait to be written or acknowledged.
const AHEAD_MAX: usize = 400;
/// Entries that reached a device before its presence, as far as they are remembered.
const EARLY_MAX: usize = 10_000;

/// How far a session is with what its device missed.
#[derive(Debug)]
pub(crate) enum CatchUp {
    /// No presence was sent yet.
    Before(Before),
    /// The device pages the archive. Until it did, nothing tells how far it has its log.
    Paging,
    /// The log is being read. What is recorded meanwhile is read there as well, so that the order is kept.
    Reading(Box<Replay>),
    Done,
}

/// What a device has of its log while it sends no presence.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(crate) struct Before {
    /// Copies of these entries reached it all the same. Ascending.
    pub(crate) early: Vec<LogPosition>,
    /// It was given everything up to here; without it, the device's cursor tells.
    pub(crate) given: Option<LogPosition>,
    /// It was shown the archive up to here.
    pub(crate) paged: Option<LogPosition>,
    /// It was there before: what was recorded after this is due in any case, even if it pages the rest.
    pub(crate) live_after: Option<LogPosition>,
    /// All of the log up to here is there, or on its way. Without one, something was left to the device to fetch.
    pub(crate) whole: Option<LogPosition>,
}

/// A catch-up on its way through the log.
#[derive(Debug)]
pub(crate) struct Replay {
    /// What the archive shows is due after this; `None` where the device pages the archive.
    pub(crate) shown_after: Option<LogPosition>,
    /// What only waits for delivery is due after this.
    pub(crate) waiting_after: LogPosition,
    /// What was recorded after this is due in any case: it would have been sent live.
    pub(crate) live_after: LogPosition,
    /// Copies of these entries were sent already. Ascending.
    pub(crate) early: Vec<LogPosition>,
    /// The log was read up to here.
    pub(crate) read: LogPosition,
    /// When this was durable, there was nothing more to read.
    pub(crate) tried: Option<Ticket>,
    /// The last that was recorded for the device meanwhile, or what there was before.
    pub(crate) newest: LogPosition,
    /// What others sent meanwhile that no log has: it comes after what they sent before (RFC 6120 §10.1), which ends at
    /// this position.
    pub(crate) behind: Vec<(LogPosition, Entry)>,
}

impl Before {
    /// The device is sent the next entry of the log, or has no use for it. If it has all that came before as well, it
    /// is one further.
    pub(crate) fn has_next(&mut self, previous: LogPosition, position: LogPosition) {
        for upto in [&mut self.given, &mut self.paged, &mut self.live_after, &mut self.whole] {
            *upto = upto.map(|upto| if upto == previous { position } else { upto });
        }
    }

    pub(crate) fn has_early(&mut self, position: LogPosition) {
        if self.early.len() >= EARLY_MAX {
            self.forget_early();
        }
        self.early.push(position);
    }

    /// Where nothing is missing, one position says as much as all. Else the oldest may come again.
    fn forget_early(&mut self) {
        if self.whole >= self.early.last().copied() {
            for upto in [&mut self.given, &mut self.paged, &mut self.live_after] {
                *upto = (*upto).max(self.whole);
            }
            self.early.clear();
        } else {
            self.early.drain(..EARLY_MAX / 2);
        }
    }
}

impl Replay {
    fn is_due(&self, entry: &LogEntry, account: AccountId) -> bool {
        let Some((place, _)) = entry.record.place(account) else { return false };
        let after = match place.keep {
            Keep::Archive => self.shown_after,
            Keep::UntilDelivered | Keep::Nothing => Some(self.waiting_after),
        };
        let is_due = entry.position > self.live_after || after.is_some_and(|after| entry.position > after);
        is_due && self.early.binary_search(&entry.position).is_err()
    }
}

impl Session {
    /// Whether the next stretch of a catch-up is to be read.
    pub(crate) fn wants_log(&self, durable: Ticket) -> bool {
        let CatchUp::Reading(replay) = &self.catch_up else { return false };
        self.queued() < AHEAD_MAX && replay.tried.is_none_or(|tried| tried < durable)
    }

    /// Whether there is more of what the device missed, or of nodes, that may wait for room in its queue.
    pub(crate) fn reads_on(&self) -> bool {
        matches!(self.catch_up, CatchUp::Reading(_))
            || !self.telling.is_empty()
            || !self.newly_interested.is_empty()
            || !self.newly_seen.is_empty()
    }
}

impl Hub {
    /// Begins the catch-up of a session, unless there is nothing to catch up with. Its connection goes on with
    /// [`Hub::read_on`].
    pub(crate) fn start_catch_up(account: &mut Account, id: SessionId) {
        let (head, newest_waiting) = (account.head, account.waiting);
        let device = account.session(id).and_then(|session| account.device(session.device));
        let Some((cursor, pages_archive)) = device.map(|device| (device.cursor, device.pages_archive)) else {
            return;
        };
        let Some(session) = account.session_mut(id) else { return };
        let CatchUp::Before(before) = &mut session.catch_up else { return };
        let Before { early, given, paged, live_after, whole } = std::mem::take(before);
        let waiting_after = given.unwrap_or(cursor);
        let shown_after = if pages_archive { paged } else { paged.max(Some(waiting_after)) };
        let live_after = live_after.unwrap_or(head);
        let read = match shown_after {
            None => waiting_after,
            Some(shown) if newest_waiting > Some(waiting_after) => shown.min(waiting_after),
            // Where nothing waits that no archive shows, the log is not read for what the device fetches there.
            Some(shown) => shown.min(live_after),
        };
        let (tried, behind, newest) = (None, Vec::new(), head);
        let replay = Replay { shown_after, waiting_after, live_after, early, read, tried, newest, behind };
        if read < head {
            session.catch_up = CatchUp::Reading(Box::new(replay));
        } else if replay.shown_after.is_none() && whole < Some(head) {
            session.leave_to_page();
        } else {
            session.catch_up = CatchUp::Done;
        }
        session.wake();
    }

    /// Reads the next stretch of what a device missed, as far as it is durable, and queues it. When it has all of that, it
    /// is told what there is of nodes that it became interested in.
    ///
    /// # Errors
    ///
    /// The store cannot be read. The session stays where it is, so that it can go on later.
    pub async fn read_on(self: &Arc<Self>, origin: &SessionRef) -> Result<(), StoreError> {
        let durable = self.store.durable();
        let wants_log = origin.cell.lock().session(origin.id).is_some_and(|found| found.wants_log(durable));
        if !wants_log {
            return self.tell_interests(origin).await;
        }
        let (query, head) = {
            let account = origin.cell.lock();
            let Some(session) = account.session(origin.id) else { return Ok(()) };
            let CatchUp::Reading(replay) = &session.catch_up else { return Ok(()) };
            let query = LogQuery {
                after: Some(replay.read),
                limit: STRETCH,
                include_unarchived: true,
                ..LogQuery::default()
            };
            (query, Some(account.head).filter(|_| account.last_ticket <= durable))
        };
        let page = self.store.page(origin.cell.id, &query).await?;
        let mut account = origin.cell.lock();
        let Some(session) = account.session(origin.id) else { return Ok(()) };
        if session.connection_number() != Some(origin.connection) {
            return Ok(());
        }
        let CatchUp::Reading(replay) = &session.catch_up else { return Ok(()) };
        if Some(replay.read) != query.after {
            return Ok(());
        }
        let covers = |position| replay.shown_after.map(|_| position);
        let entries: Vec<_> = page
            .entries
            .iter()
            .filter(|entry| replay.is_due(entry, origin.cell.id))
            .filter_map(|entry| {
                let form = missed_form(&self.registry, &account, session, entry)?;
                let LogEntry { position, record, .. } = entry.clone();
                let item = Item::Logged { position, record: Some(record), form, late: true };
                Some(Entry { covers: covers(position), ..Entry::new(item, Ticket::NONE) })
            })
            .collect();
        let last = page.entries.last().map(|entry| entry.position);
        let read_to = if page.complete { last.max(head) } else { last };
        let is_over = page.complete && head == Some(account.head);
        self.queue_read(&mut account, origin, entries, read_to);
        if let Some(session) = account.session_mut(origin.id) {
            session.read_up_to(read_to, page.complete.then_some(durable));
            if is_over {
                session.queue_behind(None, &self.registry.filter);
                session.caught_up();
            }
        }
        self.wake_when_settled(&mut account, Ticket::NONE);
        account.session(origin.id).into_iter().for_each(Session::wake);
        Ok(())
    }

    /// Queues what was read up to a position, and in its place what belongs behind parts of it.
    fn queue_read(
        &self,
        account: &mut Account,
        origin: &SessionRef,
        mut entries: Vec<Entry>,
        read_to: Option<LogPosition>,
    ) {
        while let Some(session) = account.session_mut(origin.id)
            && let Some((place, _)) = session.behind().first().filter(|(place, _)| Some(*place) <= read_to)
        {
            let place = *place;
            let later = entries.split_off(entries.partition_point(|entry| entry.position() <= Some(place)));
            self.queue_stretch(account, origin, std::mem::replace(&mut entries, later), Some(place));
            if let Some(session) = account.session_mut(origin.id) {
                session.queue_behind(Some(place), &self.registry.filter);
            }
        }
        self.queue_stretch(account, origin, entries, read_to);
    }

    /// Queues a stretch behind the commit that keeps its numbers.
    fn queue_stretch(
        &self,
        account: &mut Account,
        origin: &SessionRef,
        mut entries: Vec<Entry>,
        read_to: Option<LogPosition>,
    ) {
        let Some(session) = account.session_mut(origin.id) else { return };
        if entries.is_empty() {
            return;
        }
        // The last one settles what was read and not due, too.
        if let Some(covers) = entries.last_mut().and_then(|entry| entry.covers.as_mut()) {
            *covers = read_to.unwrap_or(*covers).max(*covers);
        }
        if let Some(numbers) = session.number_stretch(&entries) {
            let write = numbers_write(origin.cell.id, origin.id, Some(numbers));
            let ticket = self.commit(account, vec![write]);
            for entry in &mut entries {
                entry.ticket = ticket;
            }
        }
        if let Some(session) = account.session_mut(origin.id) {
            session.queue_missed(entries, &self.registry.filter);
        }
    }
}

/// Documents of this kind keep, for a session, the XEP-0198 number of the first entry of its catch-up and the
/// positions of all of them. The log knows the numbers of what was queued as it was recorded; these it cannot know.
/// A line for each stretch that was not acknowledged whole.
const NUMBERS: &str = "catch-up";

impl Session {
    /// The numbers that the entries of a stretch are about to get, as text, with those of earlier stretches that the
    /// client may not have.
    fn number_stretch(&mut self, entries: &[Entry]) -> Option<String> {
        // What is left to page lies before it, so that to have it tells nothing.
        if !self.is_managed() || entries.iter().any(|entry| entry.covers.is_none()) {
            return None;
        }
        self.release();
        let first = self.next_number();
        let acknowledged = self.outbox.acknowledged();
        let stretches = &mut self.management.as_mut()?.stretches;
        stretches.retain(|(first, positions)| !has_whole(acknowledged, *first, positions.len()));
        stretches.push((first, entries.iter().filter_map(|entry| entry.covers).collect()));
        Some(write_stretches(stretches))
    }

    /// The log was read up to a position.
    fn read_up_to(&mut self, position: Option<LogPosition>, tried: Option<Ticket>) {
        let CatchUp::Reading(replay) = &mut self.catch_up else { return };
        replay.read = replay.read.max(position.unwrap_or(replay.read));
        replay.tried = tried.or(replay.tried);
    }

    /// The log was read to its end.
    fn caught_up(&mut self) {
        let CatchUp::Reading(replay) = &self.catch_up else { return };
        if replay.shown_after.is_none() { self.leave_to_page() } else { self.catch_up = CatchUp::Done }
    }
}

/// How many entries of a stretch a client has that counted to `handled`. Numbers wrap: less than half the circle ahead
/// is received.
fn received(handled: u32, first: u32) -> usize {
    let received = handled.wrapping_sub(first).wrapping_add(1);
    if received > u32::MAX / 2 { 0 } else { received as usize }
}

fn has_whole(handled: u32, first: u32, length: usize) -> bool {
    received(handled, first) >= length
}

pub(crate) fn write_stretches(stretches: &[(u32, Vec<LogPosition>)]) -> String {
    let line = |(first, positions): &(u32, Vec<LogPosition>)| {
        let positions = positions.iter().map(|position| format!(" {position}"));
        positions.fold(first.to_string(), |line, position| line + &position)
    };
    stretches.iter().map(line).collect::<Vec<_>>().join("\n")
}

pub(crate) fn read_stretches(text: &str) -> Vec<(u32, Vec<LogPosition>)> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let first = words.next()?.parse().ok()?;
        Some((first, words.filter_map(|word| word.parse().ok()).map(LogPosition).collect()))
    };
    text.lines().filter_map(line).collect()
}

/// Keeps the numbers of a session's catch-up, or forgets them.
pub(crate) fn numbers_write(account: AccountId, session: SessionId, value: Option<String>) -> Write {
    let (kind, key) = (CompactString::const_new(NUMBERS), CompactString::from(session.to_string()));
    Write::Document { account, kind, key, value }
}

/// Reads what [`Session::number_stretch`] wrote, with a client's count: how far it has what its catch-ups brought.
fn caught_up(text: &str, handled: u32) -> Option<LogPosition> {
    let mut upto = None;
    for (first, positions) in read_stretches(text) {
        let received = received(handled, first).min(positions.len());
        let last = received.checked_sub(1).and_then(|last| positions.get(last).copied());
        upto = last.or(upto);
        if received < positions.len() {
            break;
        }
    }
    upto
}

impl Hub {
    /// How far a client of an earlier run has what its catch-ups brought, by its own count. What was queued as it was
    /// recorded has its numbers in the log.
    pub(crate) async fn caught_up(
        &self,
        account: AccountId,
        session: SessionId,
        handled: u32,
    ) -> Result<Option<LogPosition>, StoreError> {
        let numbers = self.store.document(account, NUMBERS, &session.to_string()).await?;
        Ok(numbers.and_then(|text| caught_up(&text, handled)))
    }
}

/// How a missed entry looks on the device that comes back, if it belongs there.
pub(crate) fn missed_form(
    registry: &Registry,
    account: &Account,
    session: &Session,
    entry: &LogEntry,
) -> Option<Form> {
    let record = &entry.record;
    let first = |handlers: &[crate::extension::Deliver]| {
        handlers.iter().find_map(|handler| handler(record, entry.direction, session, account.settings()))
    };
    match entry.direction {
        Direction::Sent if record.origin.as_ref().is_some_and(|origin| origin.device == session.device) => {
            None
        }
        Direction::Sent => first(&registry.reflect),
        Direction::Received => {
            let resource = record.to.resource();
            let is_own = record.origin.as_ref().is_some_and(|origin| origin.device == session.device);
            if is_own && resource.is_some_and(|resource| resource != session.jid().resource()) {
                return None; // to another device of the account
            }
            if resource.is_none_or(|resource| resource == session.jid().resource()) {
                return Some(Form::Original);
            }
            // It was meant for another device. If that one is there or has it, this one gets a copy if it wants
            // copies.
            let is_there = resource.is_some_and(|resource| account.reachable(resource).is_some());
            let others = account.devices().iter().filter(|device| device.id != session.device);
            let is_with_another =
                is_there || others.map(|device| device.cursor).max().is_some_and(|at| at >= entry.position);
            first(&registry.deliver).or((!is_with_another).then_some(Form::Original))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_tells_how_far_a_catch_up_came() {
        let at = |position| Some(LogPosition(position));
        for (text, handled, want) in [
            ("3 10 20 30", 0, None),
            ("3 10 20 30", 2, None),
            ("3 10 20 30", 3, at(10)),
            ("3 10 20 30", 4, at(20)),
            ("3 10 20 30", 5, at(30)),
            ("3 10 20 30", 99, at(30)),
            ("3 10 20\n7 30 40", 3, at(10)),
            ("3 10 20\n7 30 40", 4, at(20)),
            ("3 10 20\n7 30 40", 6, at(20)),
            ("3 10 20\n7 30 40", 7, at(30)),
            ("3 10 20\n7 30 40", 8, at(40)),
            ("4294967295 10 20", 4_294_967_295, at(10)),
            ("4294967295 10 20", 0, at(20)),
            ("", 5, None),
            ("x 10", 5, None),
        ] {
            assert_eq!(caught_up(text, handled), want, "{text} {handled}");
        }
    }

    #[test]
    fn stretches_are_read_as_they_were_written() {
        let stretches = vec![(3, vec![LogPosition(10), LogPosition(20)]), (9, vec![LogPosition(30)])];
        assert_eq!(read_stretches(&write_stretches(&stretches)), stretches);
    }
}
