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
use crate::session::{Before, CatchUp, Session};
use crate::storage::{LogEntry, LogQuery, StoreError, Write};

/// Entries of one page of the log.
const PAGE: usize = 200;
/// Entries that a device gets at once. Behind more, it has been away for so long that the newest matter.
const REPLAY_MAX: usize = 10_000;

/// A catch-up that was begun: which part of the log has to be read.
pub(crate) struct Replay {
    /// What the archive shows is due after this; `None` where the device pages the archive.
    shown_after: Option<LogPosition>,
    /// What only waits for delivery is due after this.
    waiting_after: LogPosition,
    upto: LogPosition,
    /// All of that part is durable with this.
    ticket: Ticket,
    early: Vec<LogPosition>,
}

impl Replay {
    fn is_due(&self, entry: &LogEntry, account: AccountId) -> bool {
        let Some((place, _)) = entry.record.place(account) else { return false };
        let after = match place.keep {
            Keep::Archive => self.shown_after,
            Keep::UntilDelivered | Keep::Nothing => Some(self.waiting_after),
        };
        after.is_some_and(|after| entry.position > after) && !self.early.contains(&entry.position)
    }
}

impl Hub {
    /// Begins the catch-up of a session: from now on what arrives waits. `None` if there is nothing to catch up with.
    pub(crate) fn start_catch_up(account: &mut Account, id: SessionId) -> Option<Replay> {
        let (upto, ticket) = (account.head, account.last_ticket);
        let session = account.session(id)?;
        let device = account.device(session.device)?;
        let (cursor, pages_archive) = (device.cursor, device.pages_archive);
        let session = account.session_mut(id)?;
        let CatchUp::Before(before) = &mut session.catch_up else { return None };
        let Before { early, given, paged } = std::mem::take(before);
        let waiting_after = given.unwrap_or(cursor);
        let shown_after = if pages_archive { paged } else { paged.max(Some(waiting_after)) };
        if waiting_after >= upto && shown_after.is_none_or(|after| after >= upto) {
            session.catch_up = CatchUp::Done;
            return None;
        }
        session.catch_up = CatchUp::Reading { arrived: Vec::new(), paging: shown_after.is_none() };
        Some(Replay { shown_after, waiting_after, upto, ticket, early })
    }

    /// Reads what a device missed and queues it, then what arrived meanwhile.
    pub(crate) async fn catch_up(self: &Arc<Self>, origin: &SessionRef, replay: Replay) {
        self.store.wait(replay.ticket).await;
        let missed = self.read_missed(origin, &replay).await;
        let mut account = origin.cell.lock();
        let forms: Vec<_> = {
            let Some(session) = account.session(origin.id) else { return };
            let entries = missed.as_deref().unwrap_or_default().iter();
            entries
                .filter_map(|entry| {
                    Some((entry.clone(), missed_form(&self.registry, &account, session, entry)?))
                })
                .collect()
        };
        let Some(session) = account.session_mut(origin.id) else { return };
        let CatchUp::Reading { arrived, paging } = std::mem::replace(&mut session.catch_up, CatchUp::Done)
        else {
            return;
        };
        if paging {
            session.catch_up = CatchUp::Paging;
        }
        let missed_entries = forms.into_iter().map(|(entry, form)| {
            let LogEntry { position, record, .. } = entry;
            let item = Item::Logged { position, record: Some(record), form, late: true };
            Entry { item, ticket: Ticket::NONE, covers: Some(position) }
        });
        let entries: Vec<_> = missed_entries.chain(arrived).collect();
        let numbers = numbers_of(session, &entries);
        let writes = numbers.map(|value| numbers_write(origin.cell.id, origin.id, Some(value)));
        let ticket = self.commit(&mut account, writes.into_iter().collect());
        if let Some(session) = account.session_mut(origin.id) {
            for entry in entries {
                session.queue(Entry { ticket: entry.ticket.max(ticket), ..entry }, &self.registry.filter);
            }
        }
        self.wake_when_settled(&account);
        if let Err(error) = missed {
            tracing::error!(%error, account = %origin.cell.jid, "cannot read what a device missed");
        }
    }

    /// What is due, oldest first; of more than [`REPLAY_MAX`] entries, the newest.
    async fn read_missed(&self, origin: &SessionRef, replay: &Replay) -> Result<Vec<LogEntry>, StoreError> {
        let account = origin.cell.id;
        let waiting = replay.waiting_after;
        let mut query = LogQuery {
            after: Some(replay.shown_after.map_or(waiting, |shown| shown.min(waiting))),
            before: Some(LogPosition(replay.upto.0.saturating_add(1))),
            limit: PAGE,
            from_end: true,
            include_unarchived: true,
            ..LogQuery::default()
        };
        let mut pages = Vec::new();
        let mut read = 0_usize;
        loop {
            let page = self.store.page(account, &query).await?;
            query.before = page.entries.first().map(|entry| entry.position).or(query.before);
            read = read.saturating_add(page.entries.len());
            let due = page.entries.into_iter().filter(|entry| replay.is_due(entry, account));
            pages.push(due.collect::<Vec<_>>());
            if page.complete || read >= REPLAY_MAX {
                return Ok(pages.into_iter().rev().flatten().collect());
            }
        }
    }
}

/// Documents of this kind keep, for a session, the XEP-0198 number of the first entry of its catch-up and the
/// positions of all of them. The log knows the numbers of what was queued as it was recorded; these it cannot know.
const NUMBERS: &str = "catch-up";

/// The numbers that entries are about to get, as text.
fn numbers_of(session: &mut Session, entries: &[Entry]) -> Option<String> {
    if !session.is_managed() || entries.is_empty() {
        return None;
    }
    session.release();
    let mut text = session.next_number().to_string();
    for entry in entries {
        if let Item::Logged { position, .. } = entry.item {
            text.push(' ');
            text.push_str(&position.to_string());
        }
    }
    Some(text)
}

/// Keeps the numbers of a session's catch-up, or forgets them.
pub(crate) fn numbers_write(account: AccountId, session: SessionId, value: Option<String>) -> Write {
    let (kind, key) = (CompactString::const_new(NUMBERS), CompactString::from(session.to_string()));
    Write::Document { account, kind, key, value }
}

/// How far a client had its catch-up, by its own count.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CaughtUp {
    /// There was none, or it was received to its end, which is here.
    To(Option<LogPosition>),
    /// Only this much of it was received: what was recorded later does not count.
    Partly(Option<LogPosition>),
}

/// Reads [`numbers_of`] with a client's count.
fn caught_up(text: &str, handled: u32) -> CaughtUp {
    let mut words = text.split(' ');
    let Some(first) = words.next().and_then(|first| first.parse::<u32>().ok()) else {
        return CaughtUp::To(None);
    };
    let positions: Vec<_> = words.filter_map(|word| word.parse().ok()).map(LogPosition).collect();
    // Numbers wrap: less than half the circle ahead is received.
    let received = handled.wrapping_sub(first).wrapping_add(1);
    let received = if received > u32::MAX / 2 { 0 } else { received as usize };
    match received.checked_sub(1) {
        Some(last) if received >= positions.len() => {
            CaughtUp::To(positions.last().or(positions.get(last)).copied())
        }
        Some(last) => CaughtUp::Partly(positions.get(last).copied()),
        None => CaughtUp::Partly(None),
    }
}

impl Hub {
    /// How far a client of an earlier run had its catch-up.
    pub(crate) async fn caught_up(&self, account: AccountId, session: SessionId, handled: u32) -> CaughtUp {
        let numbers = self.store.document(account, NUMBERS, &session.to_string()).await;
        match numbers {
            Ok(Some(text)) => caught_up(&text, handled),
            Ok(None) | Err(_) => CaughtUp::To(None),
        }
    }
}

/// How a missed entry looks on the device that comes back, if it belongs there.
fn missed_form(registry: &Registry, account: &Account, session: &Session, entry: &LogEntry) -> Option<Form> {
    let record = &entry.record;
    let first = |handlers: &[crate::extension::Deliver]| {
        handlers.iter().find_map(|handler| handler(record, entry.direction, session))
    };
    match entry.direction {
        Direction::Sent if record.origin.as_ref().is_some_and(|origin| origin.device == session.device) => {
            None
        }
        Direction::Sent => first(&registry.reflect),
        Direction::Received => {
            let resource = record.to.resource();
            if resource.is_none_or(|resource| resource == session.jid().resource()) {
                return Some(Form::Original);
            }
            // It was meant for another device. If that one has it, this one gets a copy if it wants copies.
            let others = account.devices().iter().filter(|device| device.id != session.device);
            let is_with_another =
                others.map(|device| device.cursor).max().is_some_and(|at| at >= entry.position);
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
            ("3 10 20 30", 0, CaughtUp::Partly(None)),
            ("3 10 20 30", 2, CaughtUp::Partly(None)),
            ("3 10 20 30", 3, CaughtUp::Partly(at(10))),
            ("3 10 20 30", 4, CaughtUp::Partly(at(20))),
            ("3 10 20 30", 5, CaughtUp::To(at(30))),
            ("3 10 20 30", 99, CaughtUp::To(at(30))),
            ("4294967295 10 20", 4_294_967_295, CaughtUp::Partly(at(10))),
            ("4294967295 10 20", 0, CaughtUp::To(at(20))),
            ("", 5, CaughtUp::To(None)),
            ("x 10", 5, CaughtUp::To(None)),
        ] {
            assert_eq!(caught_up(text, handled), want, "{text} {handled}");
        }
    }
}
