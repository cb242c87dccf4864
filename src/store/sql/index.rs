//! Reading logs by their index. Many rows come as one, packed, which costs a third of reading each.

use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::AnyConnection;
use sqlx::query::QueryScalar;
use unisono_core::ids::AccountId;
use unisono_core::record::MessageRecord;
use unisono_core::storage::StoreError;

use super::database::composed;
use super::error::read_error;
use crate::record;

/// Positions or messages that one statement names.
const NAMED_MAX: usize = 64;

/// What of the index a reader sees.
pub(super) struct Index<'c> {
    pub(super) connection: &'c mut AnyConnection,
    pub(super) account: AccountId,
    /// Only entries of messages up to this one: later ones are the tail's.
    pub(super) watermark: i64,
    /// Only the conversation with this party.
    pub(super) peer: Option<i64>,
    /// Entries that wait for delivery, too.
    pub(super) unarchived: bool,
}

/// A part of a log, and from which end it is read.
#[derive(Clone, Copy)]
pub(super) struct Range {
    /// Excluded, as is `before`.
    pub(super) after: i64,
    pub(super) before: i64,
    pub(super) from_end: bool,
}

/// The dense numbers that count archived entries without reading them. Zero stands for "none".
#[derive(Clone, Copy, Debug)]
pub(super) struct Ordinals {
    first: i64,
    last: i64,
    upto: i64,
}

impl Ordinals {
    /// How many entries there are.
    pub(super) fn count(self) -> u64 {
        if self.last == 0 { 0 } else { distance(self.first.saturating_sub(1), self.last) }
    }

    /// How many of them lie up to the position that was asked for, which is included.
    pub(super) fn upto(self) -> u64 {
        if self.upto == 0 { 0 } else { distance(self.first.saturating_sub(1), self.upto) }
    }
}

fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}

type Records = Vec<Arc<MessageRecord>>;

impl Index<'_> {
    /// The first messages of a range, or the last ones, at most `limit`; in no particular order.
    pub(super) async fn range(&mut self, range: Range, limit: usize) -> Result<Records, StoreError> {
        let sql = range_sql(range.from_end, self.peer.is_some(), self.unarchived, limit);
        let query = sqlx::query_scalar(composed(sql))
            .bind(self.account.0)
            .bind(self.watermark)
            .bind(range.after)
            .bind(range.before);
        let query = match self.peer {
            Some(peer) => query.bind(peer),
            None => query,
        };
        fetch(query, self.connection).await
    }

    /// The messages at these positions, in no particular order.
    pub(super) async fn at(&mut self, positions: &[i64]) -> Result<Records, StoreError> {
        let mut records = Records::new();
        for some in positions.chunks(NAMED_MAX) {
            let condition = format!("position IN ({})", parameters(3, some.len()));
            let sql = gathered(&entries(&condition, self.unarchived), "");
            let query = sqlx::query_scalar(composed(sql)).bind(self.account.0).bind(self.watermark);
            records.extend(fetch(bind_all(query, some), self.connection).await?);
        }
        Ok(records)
    }

    /// How many of these positions, each named once, have an entry.
    pub(super) async fn count_at(&mut self, positions: &[i64]) -> Result<usize, StoreError> {
        let mut count: usize = 0;
        for some in positions.chunks(NAMED_MAX) {
            let condition = format!("position IN ({})", parameters(3, some.len()));
            let sql = format!(
                "SELECT count(DISTINCT position) FROM ({}) AS e",
                entries(&condition, self.unarchived)
            );
            let query = sqlx::query_scalar(composed(sql)).bind(self.account.0).bind(self.watermark);
            let found: i64 =
                bind_all(query, some).fetch_one(&mut *self.connection).await.map_err(read_error)?;
            count = count.saturating_add(usize::try_from(found).unwrap_or(0));
        }
        Ok(count)
    }

    /// The numbers of the first and the last archived entry, and of the last one up to a position.
    pub(super) async fn ordinals(&mut self, upto: i64) -> Result<Ordinals, StoreError> {
        const OF_ACCOUNT: &str = "SELECT \
            coalesce((SELECT ordinal FROM log WHERE account = $1 AND message <= $2 \
                      ORDER BY position LIMIT 1), 0), \
            coalesce((SELECT ordinal FROM log WHERE account = $1 AND message <= $2 \
                      ORDER BY position DESC LIMIT 1), 0), \
            coalesce((SELECT ordinal FROM log WHERE account = $1 AND message <= $2 AND position <= $3 \
                      ORDER BY position DESC LIMIT 1), 0)";
        const OF_PEER: &str = "SELECT \
            coalesce((SELECT peer_ordinal FROM log WHERE account = $1 AND message <= $2 AND peer = $4 \
                      ORDER BY position LIMIT 1), 0), \
            coalesce((SELECT peer_ordinal FROM log WHERE account = $1 AND message <= $2 AND peer = $4 \
                      ORDER BY position DESC LIMIT 1), 0), \
            coalesce((SELECT peer_ordinal FROM log WHERE account = $1 AND message <= $2 AND peer = $4 \
                      AND position <= $3 ORDER BY position DESC LIMIT 1), 0)";
        let query = sqlx::query_as(if self.peer.is_some() { OF_PEER } else { OF_ACCOUNT })
            .bind(self.account.0)
            .bind(self.watermark)
            .bind(upto);
        let query = match self.peer {
            Some(peer) => query.bind(peer),
            None => query,
        };
        let (first, last, upto) = query.fetch_one(&mut *self.connection).await.map_err(read_error)?;
        Ok(Ordinals { first, last, upto })
    }
}

/// The messages with these numbers, in no particular order. One that is gone is left out.
pub(super) async fn messages(connection: &mut AnyConnection, ids: &[i64]) -> Result<Records, StoreError> {
    let mut records = Records::new();
    for some in ids.chunks(NAMED_MAX) {
        let sql = format!(
            "SELECT coalesce(string_agg(record, ''), '') FROM message WHERE id IN ({})",
            parameters(1, some.len())
        );
        records.extend(fetch(bind_all(sqlx::query_scalar(composed(sql)), some), connection).await?);
    }
    Ok(records)
}

type Scalar<T> = QueryScalar<'static, sqlx::Any, T, sqlx::any::AnyArguments>;

async fn fetch(query: Scalar<String>, connection: &mut AnyConnection) -> Result<Records, StoreError> {
    record::decode_all(&query.fetch_one(connection).await.map_err(read_error)?)
}

/// Binds numbers, and the last one once more for each place that is left.
fn bind_all<T>(query: Scalar<T>, numbers: &[i64]) -> Scalar<T> {
    let filling = numbers.last().into_iter().cycle();
    let all = numbers.iter().chain(filling).take(places(numbers.len()));
    all.fold(query, |query, number| query.bind(*number))
}

/// The parameters for `count` numbers, the first of which is `$first`.
fn parameters(first: usize, count: usize) -> String {
    let mut text = String::new();
    for number in first..first.saturating_add(places(count)) {
        let comma = if number == first { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}${number}");
    }
    text
}

/// How many places a list of numbers has: few sizes, so that statements stay prepared.
fn places(count: usize) -> usize {
    count.next_power_of_two()
}

/// Account $1, watermark $2, range $3 to $4, perhaps peer $5. The limit is part of the text, so that
/// PostgreSQL can plan with it; it is a number of ours.
pub(super) fn range_sql(from_end: bool, has_peer: bool, unarchived: bool, limit: usize) -> String {
    let peer = if has_peer { " AND peer = $5" } else { "" };
    let order = if from_end { "DESC" } else { "ASC" };
    let entries = entries(&format!("position > $3 AND position < $4{peer}"), unarchived);
    gathered(&entries, &format!(" ORDER BY position {order} LIMIT {limit}"))
}

/// The entries of account $1, up to watermark $2, for which a condition holds.
fn entries(condition: &str, unarchived: bool) -> String {
    let mut sql =
        format!("SELECT position, message FROM log WHERE account = $1 AND message <= $2 AND {condition}");
    if unarchived {
        let _ = write!(
            sql,
            " UNION ALL SELECT position, message FROM waiting WHERE account = $1 AND message <= $2 AND {condition} \
             AND position > coalesce((SELECT delivered FROM mark WHERE account = $1), 0)"
        );
    }
    sql
}

/// The records of entries, as one text.
fn gathered(entries: &str, end: &str) -> String {
    format!(
        "SELECT coalesce(string_agg((SELECT record FROM message WHERE id = e.message), ''), '') \
         FROM ({entries}{end}) AS e"
    )
}
