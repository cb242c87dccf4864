//! The end of the logs that is durable and not indexed yet.

use std::collections::HashMap;

use unisono_core::ids::{AccountId, LogPosition, SessionId};

use super::plan::Plan;

/// Entries that the index does not have yet, and what else the indexer has to do.
#[derive(Default)]
pub(super) struct Tail {
    accounts: HashMap<AccountId, Vec<Row>>,
    handled: HashMap<SessionId, u32>,
    /// Entries up to here were delivered, but may still be in the index.
    delivered: HashMap<AccountId, LogPosition>,
    /// Messages with an entry that was delivered before it was indexed.
    forgotten: Vec<i64>,
    /// All messages up to this one are indexed.
    pub(super) watermark: i64,
    /// The last message.
    newest: i64,
}

/// An entry as the index will have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) position: i64,
    pub(super) message: i64,
    pub(super) peer: i64,
    pub(super) stanza: i64,
    pub(super) fingerprint: i64,
    /// The session that sent it, whosever it is. The index has it with the message.
    pub(super) session: i64,
    /// Whether the entry only waits for delivery.
    pub(super) waits: bool,
    pub(super) voice: Voice,
}

/// Who says something in an entry, as seen from its log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Voice {
    /// Nobody.
    Silent,
    /// Somebody else: it is to be read.
    Heard,
    /// The owner of the log.
    Said,
}

/// The tail of one log at one moment.
pub(super) struct View {
    /// Oldest first.
    pub(super) rows: Vec<Row>,
    /// What the index has at that moment: all messages up to this one.
    pub(super) watermark: i64,
    /// Where the tail begins: the index has nothing at or after this position.
    pub(super) start: i64,
}

impl View {
    pub(super) fn has(&self, position: i64) -> bool {
        self.rows.binary_search_by_key(&position, |row| row.position).is_ok()
    }
}

/// What the indexer has to do to bring the index up to a message.
#[derive(Default)]
pub(super) struct Unindexed {
    pub(super) upto: i64,
    /// In the order of the index.
    pub(super) entries: Vec<(AccountId, Row)>,
    /// So many of the entries are in the index already.
    pub(super) done: usize,
    pub(super) handled: Vec<(SessionId, u32)>,
    pub(super) delivered: Vec<(AccountId, LogPosition)>,
    pub(super) forgotten: Vec<i64>,
}

impl Tail {
    /// The tail of a store whose index has all messages.
    pub(super) fn indexed_upto(newest: i64) -> Self {
        Self { watermark: newest, newest, ..Self::default() }
    }

    /// Takes in what has just become durable.
    pub(super) fn publish(&mut self, plan: &Plan<'_>) {
        for message in &plan.messages {
            for (account, row) in message.columns.entries() {
                let rows = self.accounts.entry(account).or_default();
                // The owner of a log submits its entries in order, so this is the end.
                if rows.last().is_none_or(|last| last.position < row.position) {
                    rows.push(row);
                } else {
                    let place = rows.partition_point(|other| other.position < row.position);
                    rows.insert(place, row);
                }
            }
            if let Some((session, handled)) = message.columns.session() {
                let known = self.handled.entry(session).or_default();
                *known = handled.max(*known);
            }
            self.newest = self.newest.max(message.columns.id);
        }
        for session in &plan.sessions_ended {
            self.handled.remove(session);
        }
        for (account, upto) in &plan.delivered {
            let is_delivered = |row: &mut Row| row.waits && row.position <= upto.0;
            if let Some(rows) = self.accounts.get_mut(account) {
                self.forgotten.extend(rows.extract_if(.., is_delivered).map(|row| row.message));
            }
            self.delivered.insert(*account, *upto);
        }
    }

    /// Takes in what an earlier run left of delivered entries in the index.
    pub(super) fn left_behind(&mut self, delivered: Vec<(AccountId, LogPosition)>) {
        self.delivered.extend(delivered);
    }

    /// All that is to be indexed now.
    pub(super) fn unindexed(&self) -> Unindexed {
        let mut accounts: Vec<_> = self.accounts.iter().collect();
        accounts.sort_unstable_by_key(|(account, _)| **account);
        let entries = accounts.into_iter().flat_map(|(id, rows)| rows.iter().map(|row| (*id, *row)));
        Unindexed {
            upto: self.newest,
            entries: entries.collect(),
            done: 0,
            handled: self.handled.iter().map(|(session, handled)| (*session, *handled)).collect(),
            delivered: self.delivered.iter().map(|(account, upto)| (*account, *upto)).collect(),
            forgotten: self.forgotten.clone(),
        }
    }

    /// Forgets what is done. What came meanwhile stays.
    pub(super) fn indexed(&mut self, done: &Unindexed) {
        self.watermark = self.watermark.max(done.upto);
        // What a crash left is indexed without ever having been published here.
        self.newest = self.newest.max(done.upto);
        self.accounts.retain(|_, rows| {
            rows.retain(|row| row.message > done.upto);
            !rows.is_empty()
        });
        for (session, handled) in &done.handled {
            if self.handled.get(session) == Some(handled) {
                self.handled.remove(session);
            }
        }
        for (account, upto) in &done.delivered {
            if self.delivered.get(account) == Some(upto) {
                self.delivered.remove(account);
            }
        }
        self.forgotten.retain(|message| *message > done.upto);
    }

    /// How many messages the index does not have.
    pub(super) fn length(&self) -> u64 {
        u64::try_from(self.newest.saturating_sub(self.watermark)).unwrap_or(0)
    }

    /// Whether the indexer has nothing to do.
    pub(super) fn is_settled(&self) -> bool {
        self.length() == 0 && self.delivered.is_empty()
    }

    /// The tail of a log, with or without what only waits for delivery.
    pub(super) fn view(&self, account: AccountId, unarchived: bool) -> View {
        let rows = self.rows(account);
        View {
            rows: rows.iter().filter(|row| unarchived || !row.waits).copied().collect(),
            watermark: self.watermark,
            start: rows.first().map_or(i64::MAX, |row| row.position),
        }
    }

    /// The entries of an account, oldest first.
    pub(super) fn rows(&self, account: AccountId) -> &[Row] {
        self.accounts.get(&account).map_or(&[], Vec::as_slice)
    }

    /// How many stanzas of a session were handled, as far as it is known here.
    pub(super) fn handled(&self, session: SessionId) -> u32 {
        self.handled.get(&session).copied().unwrap_or(0)
    }
}
