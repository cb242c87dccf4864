//! What a device missed: the log behind its cursor (DESIGN.md §3).
//!
//! There is no store of offline messages. When a device sends its first presence, it gets all entries behind its
//! cursor, each in the form that it would have had live, before anything newer. A device that pages the archive
//! (XEP-0313) finds them there and gets none.

use std::sync::Arc;

use crate::account::Account;
use crate::extension::Registry;
use crate::hub::{Hub, SessionRef};
use crate::ids::{LogPosition, SessionId, Ticket};
use crate::outbox::{Entry, Form, Item};
use crate::record::Direction;
use crate::session::{CatchUp, Session};
use crate::storage::{LogEntry, LogQuery, StoreError};

/// Entries of one page of the log.
const PAGE: usize = 200;
/// Entries that a device gets at once. Behind more, it has been away for so long that the newest matter.
const REPLAY_MAX: usize = 10_000;

/// A catch-up that was begun: which part of the log has to be read.
pub(crate) struct Replay {
    after: LogPosition,
    upto: LogPosition,
    /// All of that part is durable with this.
    ticket: Ticket,
    early: Vec<LogPosition>,
}

impl Hub {
    /// Begins the catch-up of a session: from now on what arrives waits. `None` if there is nothing to catch up with.
    pub(crate) fn start_catch_up(account: &mut Account, id: SessionId) -> Option<Replay> {
        let head = account.head;
        let ticket = account.last_ticket;
        let session = account.session(id)?;
        let device = account.device(session.device)?;
        let (after, pages_archive) = (device.cursor, device.pages_archive);
        let session = account.session_mut(id)?;
        let CatchUp::Before { early } = std::mem::replace(&mut session.catch_up, CatchUp::Done) else {
            return None;
        };
        if after >= head {
            return None;
        }
        if pages_archive {
            session.catch_up = CatchUp::Paging;
            return None;
        }
        session.catch_up = CatchUp::Reading { arrived: Vec::new() };
        Some(Replay { after, upto: head, ticket, early })
    }

    /// Reads what a device missed and queues it, then what arrived meanwhile.
    pub(crate) async fn catch_up(self: &Arc<Self>, origin: &SessionRef, replay: Replay) {
        self.store.wait(replay.ticket).await;
        let missed = self.read_missed(origin, &replay).await;
        let mut account = origin.cell.lock();
        let forms: Vec<_> = {
            let Some(session) = account.session(origin.id) else { return };
            let entries = missed.as_deref().unwrap_or_default().iter();
            let due = entries.filter(|entry| !replay.early.contains(&entry.position));
            due.filter_map(|entry| {
                Some((entry.clone(), missed_form(&self.registry, &account, session, entry)?))
            })
            .collect()
        };
        let Some(session) = account.session_mut(origin.id) else { return };
        let CatchUp::Reading { arrived, .. } = std::mem::replace(&mut session.catch_up, CatchUp::Done) else {
            return;
        };
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

    async fn read_missed(&self, origin: &SessionRef, replay: &Replay) -> Result<Vec<LogEntry>, StoreError> {
        let mut missed = Vec::new();
        let mut query = LogQuery {
            after: Some(replay.after),
            before: Some(LogPosition(replay.upto.0.saturating_add(1))),
            limit: PAGE,
            include_unarchived: true,
            ..LogQuery::default()
        };
        loop {
            let page = self.store.page(origin.cell.id, &query).await?;
            query.after = page.entries.last().map(|entry| entry.position).or(query.after);
            missed.extend(page.entries);
            if page.complete || missed.len() >= REPLAY_MAX {
                return Ok(missed);
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
