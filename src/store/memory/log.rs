//! Logs in memory.

use std::sync::Arc;

use unisono_core::ids::{AccountId, LogPosition, SessionId};
use unisono_core::jid::{BareJid, Jid};
use unisono_core::record::Keep;
use unisono_core::storage::{BoxFuture, Inbox, InboxQuery, LogEntry, LogPage, LogQuery, Logs, StoreError};

use super::MemoryStore;
use super::holdings::{Entry, Holdings};

impl Logs for MemoryStore {
    fn page<'a>(
        &'a self,
        account: AccountId,
        query: &'a LogQuery,
    ) -> BoxFuture<'a, Result<LogPage, StoreError>> {
        self.read(|content| match content.holdings.get(&account) {
            Some(holdings) => holdings.page(query),
            None => Holdings::default().page(query),
        })
    }

    fn inbox<'a>(
        &'a self,
        account: AccountId,
        query: &'a InboxQuery,
    ) -> BoxFuture<'a, Result<Inbox, StoreError>> {
        self.read(|content| {
            Ok(content.holdings.get(&account).map_or_else(
                || Inbox { complete: true, ..Inbox::default() },
                |holdings| holdings.inbox(query),
            ))
        })
    }

    fn displayed<'a>(
        &'a self,
        account: AccountId,
        peer: &'a BareJid,
    ) -> BoxFuture<'a, Result<LogPosition, StoreError>> {
        self.read(|content| {
            let holdings = content.holdings.get(&account);
            Ok(holdings
                .and_then(|holdings| holdings.displayed.get(peer))
                .map_or(LogPosition::START, |at| *at))
        })
    }

    fn bounds(
        &self,
        account: AccountId,
    ) -> BoxFuture<'_, Result<Option<(LogPosition, LogPosition)>, StoreError>> {
        self.read(|content| {
            let mut shown =
                content.holdings.get(&account).into_iter().flat_map(|holdings| holdings.shown(false));
            let first = shown.next().map(|(position, _)| position);
            Ok(first.map(|first| (first, shown.next_back().map_or(first, |(last, _)| last))))
        })
    }

    fn received_by(
        &self,
        account: AccountId,
        session: SessionId,
        handled: u32,
        after: LogPosition,
    ) -> BoxFuture<'_, Result<Option<LogPosition>, StoreError>> {
        self.read(|content| {
            let mut received = None;
            let holdings = content.holdings.get(&account);
            for (position, entry) in
                holdings.into_iter().flat_map(|s| s.shown(true)).filter(|(p, _)| *p > after)
            {
                let Some((place, _)) = entry.record.place(account) else { continue };
                match place.deliveries.iter().find(|(s, _)| *s == session) {
                    Some((_, number)) if *number > handled => break,
                    Some(_) => received = Some(position),
                    None => {}
                }
            }
            Ok(received)
        })
    }

    fn purged(&self, account: AccountId) -> BoxFuture<'_, Result<LogPosition, StoreError>> {
        self.read(|content| {
            let holdings = content.holdings.get(&account);
            Ok(holdings.map_or(LogPosition::START, |holdings| holdings.purged))
        })
    }

    fn purge(
        &self,
        account: Option<AccountId>,
        before: LogPosition,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.change(|content| {
            let mut purged: u64 = 0;
            for (_, holdings) in
                content.holdings.iter_mut().filter(|(id, _)| account.is_none_or(|a| a == **id))
            {
                let newest = &mut holdings.purged;
                holdings.log.retain(|position, entry| {
                    let goes = *position < before && entry.keep == Keep::Archive;
                    if goes {
                        purged = purged.saturating_add(1);
                        *newest = (*newest).max(*position);
                    }
                    !goes
                });
            }
            Ok(purged)
        })
    }
}

impl Holdings {
    /// The entries that a reader sees.
    pub(super) fn shown(&self, unarchived: bool) -> impl DoubleEndedIterator<Item = (LogPosition, &Entry)> {
        self.log
            .iter()
            .map(|(position, entry)| (*position, entry))
            .filter(move |(_, entry)| unarchived || entry.keep == Keep::Archive)
    }

    fn page(&self, query: &LogQuery) -> Result<LogPage, StoreError> {
        let shows = |position: &LogPosition| {
            self.log.get(position).is_some_and(|e| query.include_unarchived || e.keep == Keep::Archive)
        };
        if !query.must_exist.iter().all(shows) {
            return Err(StoreError::NotFound);
        }
        let all = self.shown(query.include_unarchived).filter(|(position, entry)| {
            query.with.as_ref().is_none_or(|with| is_with(entry, &with.to_bare()))
                && query.positions.as_ref().is_none_or(|wanted| wanted.contains(position))
        });
        let all: Vec<_> = all.collect();
        let range = all.iter().enumerate().filter(|(_, (position, _))| {
            query.after.is_none_or(|after| *position > after)
                && query.before.is_none_or(|before| *position < before)
        });
        let mut range: Vec<_> = range.collect();
        let searched_to = search(&mut range, query);
        let beyond = range.len().saturating_sub(query.limit);
        let page =
            if query.from_end { range.get(beyond..) } else { range.get(..query.limit.min(range.len())) };
        let page = page.unwrap_or_default();

        let is_counted = query.counted && !query.include_unarchived && !is_searched(query);
        let as_count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Ok(LogPage {
            entries: page
                .iter()
                .map(|(_, (position, entry))| LogEntry {
                    position: *position,
                    direction: entry.direction,
                    record: Arc::clone(&entry.record),
                })
                .collect(),
            complete: beyond == 0 && searched_to.is_none(),
            count: is_counted.then_some(as_count(all.len())),
            index: page.first().filter(|_| is_counted).map(|(index, _)| as_count(*index)),
            searched_to,
        })
    }
}

/// Whether the entries of a conversation are looked at for a full address.
fn is_searched(query: &LogQuery) -> bool {
    query.with.as_ref().is_some_and(Jid::is_full)
}

/// Leaves the entries with the address that is asked for, up to one more than the page may have. Returns where the
/// search ended before that.
fn search(range: &mut Vec<(usize, &(LogPosition, &Entry))>, query: &LogQuery) -> Option<LogPosition> {
    let with = query.with.as_ref().filter(|_| is_searched(query))?;
    let matches = |entry: &Entry| entry.record.peer(entry.direction) == with;
    if query.positions.is_some() {
        range.retain(|(_, (_, entry))| matches(entry));
        return None;
    }
    let (mut searched, mut found, mut end) = (0_usize, 0_usize, None);
    let search_max = query.search_max.max(1);
    let mut look = |(_, (position, entry)): &(usize, &(LogPosition, &Entry))| {
        if found > query.limit || searched >= search_max {
            return false;
        }
        searched = searched.saturating_add(1);
        end = Some(*position);
        found = found.saturating_add(usize::from(matches(entry)));
        matches(entry)
    };
    if query.from_end {
        range.reverse();
        range.retain(&mut look);
        range.reverse();
    } else {
        range.retain(&mut look);
    }
    end.filter(|_| found <= query.limit && searched >= search_max)
}

fn is_with(entry: &Entry, with: &BareJid) -> bool {
    entry.record.peer(entry.direction).to_bare() == *with
}
