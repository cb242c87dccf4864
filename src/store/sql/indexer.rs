//! The indexer: fills the index of the logs behind the writer, sorted and in bulk.
//!
//! It works in slices, between which commits go on. After each slice the database knows how far it is, so
//! that a crash repeats nothing; readers see the index grow only when all of a job is done.

use std::collections::{BTreeSet, HashMap};

use sqlx::{AnyConnection, Connection as _};
use tokio::sync::MutexGuard;
use unisono_core::ids::{AccountId, LogPosition, SessionId};
use unisono_core::storage::StoreError;

use super::Shared;
use super::bulk::{Binding, Bulk};
use super::database::Kind;
use super::error::CommitError;
use super::inbox::{self, Change};
use super::index;
use super::removal::{remove_unreferenced, remove_waiting};
use super::tail::{Row, Unindexed};

/// Entries of one transaction. Commits wait for it, so it must stay short. Tests want many slices.
const SLICE: usize = if cfg!(test) { 16 } else { 4_096 };
/// Conversations of one transaction.
const CHANGES_SLICE: usize = if cfg!(test) { 4 } else { 2_048 };
/// Accounts whose delivered entries are removed in one transaction.
const DELIVERED_SLICE: usize = if cfg!(test) { 2 } else { 256 };
/// Entries of them that are: an account may have any number.
const DELIVERED_ENTRIES: usize = if cfg!(test) { 4 } else { 2_000 };

/// A part of the tail on its way into the index.
pub(super) struct Job {
    todo: Unindexed,
    /// The number of each entry among the archived ones of its account, and how many there were to read before it.
    numbers: Vec<(i64, i64)>,
    /// What it adds to conversations, and how many of these changes are written.
    changes: Vec<Change>,
    changed: usize,
    /// Entries that are in the index, and accounts whose delivered entries are gone.
    done: usize,
    removed: usize,
}

/// Does a slice of the work. Whether there is more to do.
pub(super) async fn step(shared: &Shared) -> Result<bool, CommitError> {
    let mut job = shared.indexing.lock().await;
    advance(shared, &mut job).await
}

/// Does all the work there is. As long as the guard lives, nothing is indexed, and all messages that are in
/// the index have all their entries in it.
pub(super) async fn settle(shared: &Shared) -> Result<MutexGuard<'_, Option<Job>>, CommitError> {
    let mut job = shared.indexing.lock().await;
    // First what is under way, then what was durable when we were called.
    while job.is_some() && advance(shared, &mut job).await? {}
    while advance(shared, &mut job).await? {}
    Ok(job)
}

async fn advance(shared: &Shared, slot: &mut Option<Job>) -> Result<bool, CommitError> {
    let job = match slot.take() {
        Some(job) => job,
        None if shared.tail().is_settled() => return Ok(false),
        None => {
            let todo = shared.tail().unindexed();
            Job::new(shared, todo).await?
        }
    };
    let job = slot.insert(job);
    let slice = async |connection: &mut AnyConnection, _: &mut i64| {
        let is_last = job.slice(connection, shared.database.kind).await?;
        // While nothing is committed: what a commit adds to the tail is not in the index.
        if is_last {
            shared.tail_mut().indexed(&job.todo);
        }
        Ok::<_, CommitError>(is_last)
    };
    let is_last = shared.alone(slice).await?;
    if is_last {
        *slot = None;
    }
    Ok(!is_last)
}

impl Job {
    /// A job of these entries, none of which is in the index.
    pub(super) async fn new(shared: &Shared, todo: Unindexed) -> Result<Self, StoreError> {
        let archived = todo.entries.iter().filter(|(_, row)| !row.waits);
        let accounts: BTreeSet<i64> = archived.map(|(account, _)| account.0).collect();
        let accounts: Vec<i64> = accounts.into_iter().collect();
        let last = shared.database.read(async |connection| index::last_ordinals(connection, &accounts).await);
        let mut last: HashMap<AccountId, i64> = last.await?;
        let archived = todo.entries.iter().filter(|(_, row)| !row.waits);
        let conversations: BTreeSet<_> = archived.map(|(account, row)| (account.0, row.peer)).collect();
        let conversations: Vec<_> = conversations.into_iter().collect();
        let indexed =
            shared.database.read(async |connection| index::heard(connection, &conversations).await).await?;
        let (changes, before) = inbox::changes(&todo.entries, &indexed);
        let number = |(place, ((account, row), before)): (usize, (&(AccountId, Row), i64))| {
            let last = last.entry(*account).or_default();
            // What is in the index is counted there.
            let is_new = place >= todo.done && !row.waits;
            *last = last.saturating_add(i64::from(is_new));
            (*last, before)
        };
        let numbers = todo.entries.iter().zip(before).enumerate().map(number).collect();
        let done = todo.done;
        Ok(Self { todo, numbers, changes, changed: 0, done, removed: 0 })
    }

    /// Does a slice in a transaction. Whether it was the last.
    async fn slice(&mut self, connection: &mut AnyConnection, kind: Kind) -> sqlx::Result<bool> {
        let mut transaction = connection.begin().await?;
        let written = self.changes.len().min(self.changed.saturating_add(CHANGES_SLICE));
        let (done, removed) = (
            self.todo.entries.len().min(self.done.saturating_add(SLICE)),
            self.todo.delivered.len().min(self.removed.saturating_add(DELIVERED_SLICE)),
        );
        let is_last = if self.done < done {
            self.put_entries(&mut transaction, kind, done).await?;
            false
        } else if self.changed < written {
            let changes = self.changes.get(self.changed..written).unwrap_or_default();
            inbox::put_changes(&mut transaction, kind, changes, self.todo.upto).await?;
            transaction.commit().await?;
            self.changed = written;
            return Ok(false);
        } else if self.removed < removed {
            let delivered = self.todo.delivered.get(self.removed..removed).unwrap_or_default();
            let accounts = remove_delivered(&mut transaction, kind, delivered).await?;
            transaction.commit().await?;
            self.removed = self.removed.saturating_add(accounts);
            return Ok(false);
        } else {
            self.finish(&mut transaction, kind).await?;
            true
        };
        transaction.commit().await?;
        self.done = done;
        Ok(is_last)
    }

    /// Puts the entries up to `upto` into the index, and writes down how far it is.
    async fn put_entries(&self, connection: &mut AnyConnection, kind: Kind, upto: usize) -> sqlx::Result<()> {
        static LOG: Bulk = Bulk::new(
            "INSERT INTO log (account, position, message, peer, stanza, fingerprint, ordinal, heard) VALUES ",
            8,
            " ON CONFLICT (account, position) DO NOTHING",
        );
        static WAITING: Bulk = Bulk::new(
            "INSERT INTO waiting (account, position, message, peer, stanza, fingerprint) VALUES ",
            6,
            " ON CONFLICT (account, position) DO NOTHING",
        );
        const PROGRESS: &str = "UPDATE watermark SET upto = $1, account = $2, position = $3";
        let entries = self.todo.entries.get(self.done..upto).unwrap_or_default();
        let numbers = self.numbers.get(self.done..upto).unwrap_or_default();
        let numbered =
            entries.iter().zip(numbers).map(|((account, row), numbers)| (*account, *row, *numbers));
        let (waiting, archived): (Vec<_>, Vec<_>) = numbered.partition(|(_, row, _)| row.waits);
        let put = |query: Binding, (account, row, _): &(AccountId, Row, (i64, i64))| {
            let query = query.bind(account.0).bind(row.position).bind(row.message).bind(row.peer);
            query.bind(row.stanza).bind(row.fingerprint)
        };
        let put_numbered = |query, entry: &(AccountId, Row, (i64, i64))| {
            let (ordinal, heard) = entry.2;
            put(query, entry).bind(ordinal).bind(heard)
        };
        let added = LOG.run(connection, kind, &archived, put_numbered).await?;
        let added = added.saturating_add(WAITING.run(connection, kind, &waiting, put).await?);
        if usize::try_from(added).is_ok_and(|added| added < entries.len()) {
            let expected = entries.len();
            tracing::error!(expected, added, "positions are taken: given twice, or indexed by a lost commit");
        }
        if let Some((account, row)) = entries.last() {
            let progress = sqlx::query(PROGRESS).bind(self.todo.upto).bind(account.0).bind(row.position);
            progress.execute(connection).await?;
        }
        Ok(())
    }

    /// Makes the index count, and does what depends on it being whole.
    async fn finish(&self, connection: &mut AnyConnection, kind: Kind) -> sqlx::Result<()> {
        static HANDLED: Bulk = Bulk::new(
            "UPDATE session SET handled = v.column2 FROM (VALUES ",
            2,
            ") AS v WHERE session.id = v.column1 AND session.handled < v.column2",
        );
        const WATERMARK: &str = "UPDATE watermark SET message = $1, upto = 0, account = 0, position = 0";
        let bind = |query: Binding, (session, handled): &(SessionId, u32)| {
            query.bind(session.0).bind(i64::from(*handled))
        };
        HANDLED.run(connection, kind, &self.todo.handled, bind).await?;
        remove_unreferenced(connection, kind, &self.todo.forgotten).await?;
        sqlx::query(WATERMARK).bind(self.todo.upto).execute(connection).await?;
        Ok(())
    }
}

/// Removes indexed entries that waited and are delivered, and the messages that nobody has any more. Returns how many of
/// the accounts have none left.
async fn remove_delivered(
    connection: &mut AnyConnection,
    kind: Kind,
    delivered: &[(AccountId, LogPosition)],
) -> sqlx::Result<usize> {
    let (mut messages, mut done): (Vec<i64>, usize) = (Vec::new(), 0);
    for (account, upto) in delivered {
        let limit = DELIVERED_ENTRIES.saturating_sub(messages.len());
        let removed = remove_waiting(connection, *account, *upto, limit).await?;
        let has_more = removed.len() >= limit;
        messages.extend(removed);
        if has_more {
            break;
        }
        done = done.saturating_add(1);
    }
    remove_unreferenced(connection, kind, &messages).await?;
    Ok(done)
}
