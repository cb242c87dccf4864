//! Pages of a log: the index, then the tail that is not indexed yet.
//!
//! The tail is looked at first, with the watermark that belongs to it; then of the index only what lies up
//! to that watermark. So it does not matter if the indexer moves entries from one to the other meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::AnyConnection;
use unisono_core::ids::AccountId;
use unisono_core::jid::Jid;
use unisono_core::record::MessageRecord;
use unisono_core::storage::{LogEntry, LogPage, LogQuery, StoreError};

use super::Shared;
use super::index::{self, Index, Range};
use super::tail::View;

/// Entries that are read in one step.
const STEP_MAX: usize = 512;
/// A conversation with a full address is counted by reading that with the bare one, if it is no longer
/// than this. Otherwise the page has no count, as XEP-0059 permits.
const COUNTED_MAX: u64 = 2_000;

/// Reads a page.
pub(super) async fn page(
    shared: &Shared,
    account: AccountId,
    query: &LogQuery,
) -> Result<LogPage, StoreError> {
    let view = shared.tail().view(account, query.include_unarchived);
    let peer = query.with.as_ref().map(|with| shared.hasher.hash(with.to_bare().as_str()));
    let mut reader = shared.database.reader().await?;
    let mut search = Search { account, query, view, peer, connection: &mut reader.connection };
    let page = search.page().await;
    reader.finish(page)
}

/// One query, and the tail as it was when the query began.
struct Search<'a> {
    account: AccountId,
    query: &'a LogQuery,
    view: View,
    peer: Option<i64>,
    connection: &'a mut AnyConnection,
}

impl Search<'_> {
    async fn page(&mut self) -> Result<LogPage, StoreError> {
        self.check_existence().await?;
        let (mut entries, mut counted) = match &self.query.positions {
            Some(positions) => {
                let positions: BTreeSet<i64> = positions.iter().map(|position| position.0).collect();
                let all = self.at(&positions.into_iter().collect::<Vec<_>>()).await?;
                (all.iter().filter(|entry| self.is_in_range(entry)).cloned().collect(), Some(all))
            }
            None => (self.read(self.query.limit.saturating_add(1)).await?, None),
        };
        let beyond = entries.len().saturating_sub(self.query.limit);
        if self.query.from_end {
            entries.drain(..beyond);
        } else {
            entries.truncate(self.query.limit);
        }
        let (mut count, mut index) = (None, None);
        if self.query.counted && !self.query.include_unarchived {
            if counted.is_none() {
                counted = self.all_with_full().await?;
            }
            (count, index) = match counted {
                Some(all) => count_read(&all, entries.first()),
                None => self.count(entries.first()).await?,
            };
        }
        Ok(LogPage { entries, complete: beyond == 0, count, index })
    }

    /// The first entries of the range, or the last ones, oldest first.
    async fn read(&mut self, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        let range = Range {
            after: self.query.after.map_or(i64::MIN, |after| after.0),
            before: self.query.before.map_or(i64::MAX, |before| before.0),
            from_end: self.query.from_end,
        };
        let mut found = Vec::new();
        if range.from_end {
            self.read_tail(range, limit, &mut found).await?;
        }
        if range.after < self.view.start {
            self.read_index(range, limit, &mut found).await?;
        }
        if !range.from_end {
            self.read_tail(range, limit, &mut found).await?;
        }
        if range.from_end {
            found.reverse();
        }
        Ok(found)
    }

    /// Adds what the index has, in the direction of reading, until there are `limit`. Where the filter
    /// leaves some out, more are read.
    async fn read_index(
        &mut self,
        mut range: Range,
        limit: usize,
        found: &mut Vec<LogEntry>,
    ) -> Result<(), StoreError> {
        while found.len() < limit {
            let step = limit.saturating_sub(found.len()).min(STEP_MAX);
            let step = if self.has_full_filter() { STEP_MAX } else { step };
            let records = self.index().range(range, step).await?;
            let is_last = records.len() < step;
            let mut entries = self.entries(records, range.from_end)?;
            match entries.last() {
                Some(last) if range.from_end => range.before = last.position.0,
                Some(last) => range.after = last.position.0,
                None => {}
            }
            entries.retain(|entry| self.is_wanted(entry));
            found.extend(entries.into_iter().take(limit.saturating_sub(found.len())));
            if is_last {
                break;
            }
        }
        Ok(())
    }

    /// Adds what the tail has, like [`Self::read_index`].
    async fn read_tail(
        &mut self,
        range: Range,
        limit: usize,
        found: &mut Vec<LogEntry>,
    ) -> Result<(), StoreError> {
        let rows = self.view.rows.iter();
        let rows = rows.filter(|row| row.position > range.after && row.position < range.before);
        let rows = rows.filter(|row| self.peer.is_none_or(|peer| peer == row.peer));
        let mut ids: Vec<i64> = rows.map(|row| row.message).collect();
        if range.from_end {
            ids.reverse();
        }
        let mut ids = ids.as_slice();
        while found.len() < limit && !ids.is_empty() {
            let step = limit.saturating_sub(found.len()).min(STEP_MAX).min(ids.len());
            let Some((now, later)) = ids.split_at_checked(step) else { break };
            let records = index::messages(self.connection, now).await?;
            let entries = self.entries(records, range.from_end)?;
            found.extend(entries.into_iter().filter(|entry| self.is_wanted(entry)));
            ids = later;
        }
        Ok(())
    }

    /// The entries at these positions that the query may show, oldest first.
    async fn at(&mut self, positions: &[i64]) -> Result<Vec<LogEntry>, StoreError> {
        let mut records = self.index().at(positions).await?;
        let rows = self.view.rows.iter().filter(|row| positions.binary_search(&row.position).is_ok());
        let ids: Vec<i64> = rows.map(|row| row.message).collect();
        records.extend(index::messages(self.connection, &ids).await?);
        let mut entries = self.entries(records, false)?;
        entries.retain(|entry| self.is_wanted(entry));
        Ok(entries)
    }

    /// `StoreError::NotFound` if the log does not have all that it must have.
    async fn check_existence(&mut self) -> Result<(), StoreError> {
        let wanted: BTreeSet<i64> = self.query.must_exist.iter().map(|position| position.0).collect();
        let missing: Vec<i64> = wanted.into_iter().filter(|position| !self.view.has(*position)).collect();
        if missing.is_empty() || self.index().count_at(&missing).await? == missing.len() {
            Ok(())
        } else {
            Err(StoreError::NotFound)
        }
    }

    /// The whole conversation with a full address, if that is what is asked for and short enough.
    async fn all_with_full(&mut self) -> Result<Option<Vec<LogEntry>>, StoreError> {
        if !self.has_full_filter() {
            return Ok(None);
        }
        let size = self.index().ordinals(i64::MAX).await?.count();
        if size > COUNTED_MAX {
            return Ok(None);
        }
        let all = Range { after: i64::MIN, before: i64::MAX, from_end: false };
        let mut found = Vec::new();
        self.read_index(all, usize::MAX, &mut found).await?;
        self.read_tail(all, usize::MAX, &mut found).await?;
        Ok(Some(found))
    }

    /// How many entries there are whatever the range, and how many before the first of the page.
    async fn count(&mut self, first: Option<&LogEntry>) -> Result<(Option<u64>, Option<u64>), StoreError> {
        if self.has_full_filter() {
            return Ok((None, None));
        }
        let position = first.map_or(i64::MAX, |entry| entry.position.0);
        let ordinals = self.index().ordinals(position.saturating_sub(1)).await?;
        let tail = self.view.rows.iter().filter(|row| self.peer.is_none_or(|peer| peer == row.peer));
        let (mut in_tail, mut before) = (0_u64, ordinals.upto());
        for row in tail {
            in_tail = in_tail.saturating_add(1);
            before = before.saturating_add(u64::from(row.position < position));
        }
        Ok((Some(ordinals.count().saturating_add(in_tail)), first.map(|_| before)))
    }

    fn index(&mut self) -> Index<'_> {
        Index {
            connection: self.connection,
            account: self.account,
            watermark: self.view.watermark,
            peer: self.peer,
            unarchived: self.query.include_unarchived,
        }
    }

    /// The entries of messages in this log, in the direction of reading.
    fn entries(&self, records: Vec<Arc<MessageRecord>>, from_end: bool) -> Result<Vec<LogEntry>, StoreError> {
        let mut entries = Vec::with_capacity(records.len());
        for record in records {
            entries.push(entry(self.account, record)?);
        }
        entries.sort_unstable_by_key(|entry| entry.position);
        if from_end {
            entries.reverse();
        }
        Ok(entries)
    }

    fn has_full_filter(&self) -> bool {
        self.query.with.as_ref().is_some_and(Jid::is_full)
    }

    fn is_wanted(&self, entry: &LogEntry) -> bool {
        let peer = entry.record.peer(entry.direction);
        self.query.with.as_ref().is_none_or(|with| {
            if with.is_full() { peer == with } else { peer.to_bare().as_str() == with.as_str() }
        })
    }

    fn is_in_range(&self, entry: &LogEntry) -> bool {
        self.query.after.is_none_or(|after| entry.position > after)
            && self.query.before.is_none_or(|before| entry.position < before)
    }
}

/// The entry of a message in a log that refers to it.
pub(super) fn entry(account: AccountId, record: Arc<MessageRecord>) -> Result<LogEntry, StoreError> {
    let (position, direction) = match record.place(account) {
        Some((place, direction)) => (place.position, direction),
        None => {
            return Err(StoreError::Corrupt(format!(
                "a message that is not in the log of account {account}"
            )));
        }
    };
    Ok(LogEntry { position, direction, record })
}

/// Counts what was read: all of it, and what lies before the first of the page.
fn count_read(all: &[LogEntry], first: Option<&LogEntry>) -> (Option<u64>, Option<u64>) {
    let before = first.map(|first| all.partition_point(|entry| entry.position < first.position));
    (u64::try_from(all.len()).ok(), before.and_then(|before| u64::try_from(before).ok()))
}
