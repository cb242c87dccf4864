//! The end of the logs that is durable and not indexed yet.

use std::collections::HashMap;

use unisono_core::ids::{AccountId, LogPosition, SessionId};

use super::plan::{NewMessage, Plan};

/// Entries that the index does not have yet, and what else the indexer has to do.
#[derive(Default)]
pub(super) struct Tail {
    accounts: HashMap<AccountId, Vec<Row>>,
    handled: HashMap<SessionId, u32>,
    delivered: HashMap<AccountId, LogPosition>,
    /// All messages up to this one are indexed.
    pub(super) watermark: i64,
    /// The last message.
    pub(super) newest: i64,
    /// The last message when the store was opened. What was not indexed up to there is not here.
    opened_at: i64,
}

/// An entry as the index will have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) position: i64,
    pub(super) message: i64,
    pub(super) peer: i64,
    pub(super) stanza: i64,
    pub(super) fingerprint: i64,
    /// Whether the entry only waits for delivery.
    pub(super) waits: bool,
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

impl Tail {
    /// The tail of a store that has just been opened: it knows no entries until the indexer has run.
    pub(super) fn new(watermark: i64, newest: i64) -> Self {
        Self { watermark, newest, opened_at: newest, ..Self::default() }
    }

    /// Takes in what has just become durable.
    pub(super) fn publish(&mut self, plan: &Plan<'_>) {
        for message in &plan.messages {
            for (account, row) in message.rows() {
                let rows = self.accounts.entry(account).or_default();
                // The owner of a log submits its entries in order, so this is the end.
                let place = rows.partition_point(|other| other.position < row.position);
                rows.insert(place, row);
            }
            if let Some((session, handled)) = message.session() {
                let known = self.handled.entry(session).or_default();
                *known = handled.max(*known);
            }
            self.newest = self.newest.max(message.id);
        }
        for session in &plan.sessions_ended {
            self.handled.remove(session);
        }
        for (account, upto) in &plan.delivered {
            if let Some(rows) = self.accounts.get_mut(account) {
                rows.retain(|row| !row.waits || row.position > upto.0);
            }
            self.delivered.insert(*account, *upto);
        }
    }

    /// Forgets what is indexed now.
    pub(super) fn indexed(&mut self, upto: i64) {
        self.watermark = upto;
        self.accounts.retain(|_, rows| {
            rows.retain(|row| row.message > upto);
            !rows.is_empty()
        });
        if upto >= self.newest {
            self.handled.clear();
        }
    }

    /// How many messages the index does not have.
    pub(super) fn unindexed(&self) -> u64 {
        u64::try_from(self.newest.saturating_sub(self.watermark)).unwrap_or(0)
    }

    /// How many archived entries the messages up to this one have, if they are all here.
    pub(super) fn archived_upto(&self, upto: i64) -> Option<u64> {
        let rows = self.accounts.values().flatten().filter(|row| !row.waits && row.message <= upto);
        (self.watermark >= self.opened_at).then(|| u64::try_from(rows.count()).unwrap_or(u64::MAX))
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

    /// The accounts with entries to forget, and up to where; they are the indexer's from now on.
    pub(super) fn take_delivered(&mut self) -> Vec<(AccountId, LogPosition)> {
        self.delivered.drain().collect()
    }

    /// Whether the indexer has anything to do.
    pub(super) fn is_settled(&self) -> bool {
        self.unindexed() == 0 && self.delivered.is_empty()
    }
}

impl NewMessage<'_> {
    /// The entries of the message, with their logs.
    fn rows(&self) -> impl Iterator<Item = (AccountId, Row)> {
        let row = |position, peer, fingerprint, waits| Row {
            position,
            message: self.id,
            peer,
            stanza: self.stanza,
            fingerprint,
            waits,
        };
        let sent = row(self.sent_at, self.sent_to, self.fingerprint, self.sender_waits());
        let own = if self.is_to_oneself() { self.fingerprint } else { 0 };
        let received = row(self.received_at, self.received_from, own, self.recipient_waits());
        [(self.sender, sent), (self.recipient, received)]
            .into_iter()
            .filter(|(account, _)| *account != 0)
            .map(|(account, row)| (AccountId(account), row))
    }
}
