//! What a device missed: the log behind its cursor (DESIGN.md §3).
//!
//! There is no store of offline messages. When a device sends its first presence, it gets all entries behind its
//! cursor, each in the form that it would have had live, before anything newer. A device that pages the archive
//! (XEP-0313) finds them there and gets only what the archive does not show.

use std::sync::Arc;

use crate::account::Account;
use crate::extension::Registry;
use crate::hub::{Hub, SessionRef};
use crate::ids::{AccountId, LogPosition, SessionId, Ticket};
use crate::outbox::{Entry, Form, Item};
use crate::record::{Direction, Keep};
use crate::session::{Before, CatchUp, Session};
use crate::storage::{LogEntry, LogQuery, StoreError};

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
        for (entry, form) in forms {
            let LogEntry { position, record, .. } = entry;
            let item = Item::Logged { position, record: Some(record), form, late: true };
            session.queue(Entry { item, ticket: Ticket::NONE, covers: Some(position) }, &[]);
        }
        for entry in arrived {
            session.queue(entry, &self.registry.filter);
        }
        session.wake();
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
