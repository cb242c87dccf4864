//! Pages of a log: the index, then the tail that is not indexed yet.
//!
//! The tail is looked at first, with the watermark that belongs to it; then of the index only what lies up
//! to that watermark. So it does not matter if the indexer moves entries from one to the other meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::AnyConnection;
use unisono_core::ids::{AccountId, LogPosition};
use unisono_core::jid::Jid;
use unisono_core::record::MessageRecord;
use unisono_core::storage::{LogEntry, LogPage, LogQuery, StoreError};

use super::Shared;
use super::index::{self, COUNTED_MAX, Count, Index, Question, Range, Records};
use super::tail::View;

/// Entries that are read in one step.
const STEP_MAX: usize = 512;
/// The same where most of them may be let go again: they can be large.
const SEARCH_STEP_MAX: usize = 64;
/// Bytes of messages that a search looks at, whatever their number.
const SEARCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Reads a page.
pub(super) async fn page(
    shared: &Shared,
    account: AccountId,
    query: &LogQuery,
) -> Result<LogPage, StoreError> {
    let view = shared.tail().view(account, query.include_unarchived);
    let must_exist: BTreeSet<i64> = query.must_exist.iter().map(|position| position.0).collect();
    let unseen = must_exist.into_iter().filter(|position| !view.has(*position)).collect();
    let peer = query.with.as_ref().map(|with| shared.hasher.hash(with.to_bare().as_str()));
    let index = Index { account, watermark: view.watermark, peer, unarchived: query.include_unarchived };
    let left = Left { entries: query.search_max, bytes: SEARCH_BYTES_MAX };
    let read = async move |connection: &mut AnyConnection| {
        let mut search =
            Search { query, view, index, unseen, count: None, left, searched_to: None, connection };
        search.page().await
    };
    shared.database.read(read).await
}

/// One query, and the tail as it was when the query began.
struct Search<'a> {
    query: &'a LogQuery,
    view: View,
    index: Index,
    /// Positions that must exist and are yet to be looked for.
    unseen: Vec<i64>,
    /// What the index has, and how much of it lies before the page.
    count: Option<Count>,
    /// What a search may still look at.
    left: Left,
    /// Where it ended because nothing was left.
    searched_to: Option<LogPosition>,
    connection: &'a mut AnyConnection,
}

struct Left {
    entries: usize,
    bytes: usize,
}

impl Search<'_> {
    async fn page(&mut self) -> Result<LogPage, StoreError> {
        let (mut entries, all) = match &self.query.positions {
            Some(positions) => {
                let positions: BTreeSet<i64> = positions.iter().map(|position| position.0).collect();
                let all = self.at(&positions.into_iter().collect::<Vec<_>>()).await?;
                (all.iter().filter(|entry| self.is_in_range(entry)).cloned().collect(), Some(all))
            }
            None => (self.read().await?, None),
        };
        if !self.unseen.is_empty() || (self.counts_index() && self.count.is_none()) {
            self.ask(None).await?;
        }
        let beyond = entries.len().saturating_sub(self.query.limit);
        if self.query.from_end {
            entries.drain(..beyond);
        } else {
            entries.truncate(self.query.limit);
        }
        let (count, index) = match all {
            _ if !self.is_counted() => (None, None),
            Some(all) => count_read(&all, entries.first()),
            None => self.count_page(&entries),
        };
        let searched_to = self.searched_to.filter(|_| beyond == 0);
        Ok(LogPage { entries, complete: beyond == 0 && searched_to.is_none(), count, index, searched_to })
    }

    /// The first entries of the range, or the last ones, oldest first; one more than the page may have.
    async fn read(&mut self) -> Result<Vec<LogEntry>, StoreError> {
        let limit = self.query.limit.saturating_add(1);
        let range = self.range(limit);
        let mut found = Vec::new();
        if range.from_end {
            self.read_tail(range, &mut found).await?;
        }
        if range.after < self.view.start && self.searched_to.is_none() {
            self.read_index(range, &mut found).await?;
        }
        if !range.from_end && self.searched_to.is_none() {
            self.read_tail(range, &mut found).await?;
        }
        if range.from_end {
            found.reverse();
        }
        Ok(found)
    }

    /// Adds what the index has, in the direction of reading, up to the limit. Where the filter leaves some
    /// out, more are read.
    async fn read_index(&mut self, range: Range, found: &mut Vec<LogEntry>) -> Result<(), StoreError> {
        let mut step = range;
        while found.len() < range.limit && self.searched_to.is_none() {
            step.limit = self.step(range.limit.saturating_sub(found.len()));
            let records = self.ask(Some(step)).await?;
            let is_last = records.len() < step.limit;
            let entries = self.entries(records, range.from_end)?;
            match entries.last() {
                Some(last) if range.from_end => step.before = last.position.0,
                Some(last) => step.after = last.position.0,
                None => {}
            }
            self.select(entries, range.limit, found);
            if is_last {
                break;
            }
        }
        Ok(())
    }

    /// How many entries to read for so many that are wanted.
    fn step(&self, wanted: usize) -> usize {
        if self.has_full_filter() {
            self.left.entries.clamp(1, SEARCH_STEP_MAX)
        } else {
            wanted.min(STEP_MAX)
        }
    }

    /// Adds those that are wanted, up to the limit.
    fn select(&mut self, entries: Vec<LogEntry>, limit: usize, found: &mut Vec<LogEntry>) {
        let is_search = self.has_full_filter();
        for entry in entries {
            if found.len() >= limit {
                return;
            }
            if is_search {
                const BESIDES_PAYLOAD: usize = 256;
                let bytes = entry.record.payload.text().len().saturating_add(BESIDES_PAYLOAD);
                self.left.entries = self.left.entries.saturating_sub(1);
                self.left.bytes = self.left.bytes.saturating_sub(bytes);
                if self.left.entries == 0 || self.left.bytes == 0 {
                    self.searched_to = Some(entry.position);
                }
            }
            if self.is_wanted(&entry) {
                found.push(entry);
            }
            if self.searched_to.is_some() {
                return;
            }
        }
    }

    /// Asks the index, and whatever else is still to be asked with it.
    async fn ask(&mut self, range: Option<Range>) -> Result<Records, StoreError> {
        let count_upto = (self.counts_index() && self.count.is_none()).then(|| {
            let range = self.range(0);
            if range.from_end { range.before.saturating_sub(1) } else { range.after }
        });
        let unseen = std::mem::take(&mut self.unseen);
        let question = Question { range, existing: &unseen, count_upto };
        let answer = self.index.ask(self.connection, question).await?;
        if answer.existing != unseen.len() {
            return Err(StoreError::NotFound);
        }
        if count_upto.is_some() {
            self.count = Some(answer.count);
        }
        Ok(answer.records)
    }

    /// Adds what the tail has, like [`Self::read_index`].
    async fn read_tail(&mut self, range: Range, found: &mut Vec<LogEntry>) -> Result<(), StoreError> {
        let rows = self.view.rows.iter();
        let rows = rows.filter(|row| row.position > range.after && row.position < range.before);
        let rows = rows.filter(|row| self.index.peer.is_none_or(|peer| peer == row.peer));
        let mut ids: Vec<i64> = rows.map(|row| row.message).collect();
        if range.from_end {
            ids.reverse();
        }
        let mut ids = ids.as_slice();
        while found.len() < range.limit && !ids.is_empty() && self.searched_to.is_none() {
            let step = self.step(range.limit.saturating_sub(found.len())).min(ids.len());
            let Some((now, later)) = ids.split_at_checked(step) else { break };
            let records = index::messages(self.connection, now).await?;
            let entries = self.entries(records, range.from_end)?;
            self.select(entries, range.limit, found);
            ids = later;
        }
        Ok(())
    }

    /// The entries at these positions that the query may show, oldest first.
    async fn at(&mut self, positions: &[i64]) -> Result<Vec<LogEntry>, StoreError> {
        let mut records = self.index.at(self.connection, positions).await?;
        let rows = self.view.rows.iter().filter(|row| positions.binary_search(&row.position).is_ok());
        let ids: Vec<i64> = rows.map(|row| row.message).collect();
        records.extend(index::messages(self.connection, &ids).await?);
        let mut entries = self.entries(records, false)?;
        entries.retain(|entry| self.is_wanted(entry));
        Ok(entries)
    }

    /// How many entries there are whatever the range, and how many before the first of the page: the page
    /// begins where its range does, or ends where its range does.
    fn count_page(&self, page: &[LogEntry]) -> (Option<u64>, Option<u64>) {
        let Some(count) = self.count else { return (None, None) };
        if self.index.peer.is_some() && count.all > COUNTED_MAX {
            return (None, None);
        }
        let range = self.range(0);
        let (mut all, mut before) = (count.all, count.upto);
        for row in self.view.rows.iter().filter(|row| self.index.peer.is_none_or(|peer| peer == row.peer)) {
            let is_before =
                if range.from_end { row.position < range.before } else { row.position <= range.after };
            all = all.saturating_add(1);
            before = before.saturating_add(u64::from(is_before));
        }
        if range.from_end {
            before = before.saturating_sub(u64::try_from(page.len()).unwrap_or(u64::MAX));
        }
        (Some(all), page.first().map(|_| before))
    }

    fn range(&self, limit: usize) -> Range {
        Range {
            after: self.query.after.map_or(i64::MIN, |after| after.0),
            before: self.query.before.map_or(i64::MAX, |before| before.0),
            from_end: self.query.from_end,
            limit,
        }
    }

    /// Only the archive is counted, and of conversations only whole ones.
    fn is_counted(&self) -> bool {
        self.query.counted && !self.query.include_unarchived && !self.has_full_filter()
    }

    /// Whether the index counts, rather than that all is read.
    fn counts_index(&self) -> bool {
        self.is_counted() && self.query.positions.is_none()
    }

    /// The entries of messages in this log, in the direction of reading.
    fn entries(&self, records: Vec<Arc<MessageRecord>>, from_end: bool) -> Result<Vec<LogEntry>, StoreError> {
        let mut entries = Vec::with_capacity(records.len());
        for record in records {
            entries.push(entry(self.index.account, record)?);
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
