//! Reading logs by their index. Many rows come as one, packed, which costs a third of reading each.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::AnyConnection;
use sqlx::query::{QueryAs, QueryScalar};
use unisono_core::ids::AccountId;
use unisono_core::record::MessageRecord;
use unisono_core::storage::StoreError;

use super::database::composed;
use super::error::read_error;
use crate::pack::Unpacker;
use crate::record;

/// Positions or messages that one statement names.
pub(super) const NAMED_MAX: usize = 64;

/// What of the index a reader sees.
#[derive(Clone, Copy)]
pub(super) struct Index {
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
    /// Entries that are read at most.
    pub(super) limit: usize,
}

/// What is asked in one statement: each costs the way to the thread of the connection and back.
#[derive(Default)]
pub(super) struct Question<'a> {
    /// The messages of this range, in no particular order.
    pub(super) range: Option<Range>,
    /// How many of these positions, each named once, have an entry.
    pub(super) existing: &'a [i64],
    /// The number of archived entries, and of those up to this position.
    pub(super) count_upto: Option<i64>,
}

pub(super) struct Answer {
    pub(super) records: Records,
    pub(super) existing: usize,
    pub(super) count: Count,
}

/// How many archived entries there are, and how many up to a position. A conversation is counted one by one,
/// but no further than [`COUNTED_MAX`].
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Count {
    pub(super) all: u64,
    pub(super) upto: u64,
}

/// Where counting a conversation ends.
pub(super) const COUNTED_MAX: u64 = 5_000;

pub(super) type Records = Vec<Arc<MessageRecord>>;

impl Index {
    pub(super) async fn ask(
        &self,
        connection: &mut AnyConnection,
        question: Question<'_>,
    ) -> Result<Answer, StoreError> {
        let range = question.range.map_or((0, 0), |range| (range.after, range.before));
        // Bound: account, watermark and all that the question asks for; the text has columns and conditions.
        let query = sqlx::query_as::<_, (String, i64, i64, i64, i64)>(composed(self.sql(&question)))
            .bind(self.account.0)
            .bind(self.watermark)
            .bind(range.0)
            .bind(range.1)
            .bind(self.peer.unwrap_or(0))
            .bind(question.count_upto.unwrap_or(0));
        let query = filled(question.existing).fold(query, QueryAs::bind);
        let row = query.fetch_one(connection).await.map_err(read_error)?;
        let (packed, existing, first, last, upto) = row;
        // The numbers of archived entries are dense. Zero is the number of none.
        let before_first = first.saturating_sub(1);
        let distance = |upto: i64| u64::try_from(upto.saturating_sub(before_first)).unwrap_or(0);
        Ok(Answer {
            records: record::decode_all(&packed)?,
            existing: usize::try_from(existing).unwrap_or(0),
            count: Count {
                all: if last == 0 { 0 } else { distance(last) },
                upto: if upto == 0 { 0 } else { distance(upto) },
            },
        })
    }

    /// The messages at these positions, in no particular order.
    pub(super) async fn at(
        &self,
        connection: &mut AnyConnection,
        positions: &[i64],
    ) -> Result<Records, StoreError> {
        let mut records = Records::new();
        for some in positions.chunks(NAMED_MAX) {
            let condition = format!("position IN ({})", parameters(3, some.len()));
            let sql = format!("SELECT {}", gathered(&entries(&condition, self.unarchived)));
            // Bound: account, watermark and positions; the text has their number only.
            let query = sqlx::query_scalar(composed(sql)).bind(self.account.0).bind(self.watermark);
            records.extend(fetch(bind_all(query, some), connection).await?);
        }
        Ok(records)
    }

    /// Account $1, watermark $2, range $3 to $4, peer $5, position to count up to $6, then positions. The
    /// limit is part of the text, so that PostgreSQL can plan with it; it is a number of ours.
    pub(super) fn sql(&self, question: &Question<'_>) -> String {
        let peer = if self.peer.is_some() { " AND peer = $5" } else { "" };
        let records = question.range.map_or("''".to_owned(), |range| {
            let entries = entries(&format!("position > $3 AND position < $4{peer}"), self.unarchived);
            let order = if range.from_end { "DESC" } else { "ASC" };
            gathered(&format!("{entries} ORDER BY position {order} LIMIT {}", range.limit))
        });
        let existing = if question.existing.is_empty() {
            "0".to_owned()
        } else {
            let condition = format!("position IN ({})", parameters(7, question.existing.len()));
            let entries = entries(&condition, self.unarchived);
            format!("(SELECT count(DISTINCT position) FROM ({entries}) AS e)")
        };
        let [first, last, upto] = match (question.count_upto, self.peer) {
            (None, _) => ["0", "0", "0"].map(str::to_owned),
            (Some(_), None) => {
                ["ORDER BY position", "ORDER BY position DESC", "AND position <= $6 ORDER BY position DESC"]
                    .map(|place| ORDINAL.replace("{place}", place))
            }
            (Some(_), Some(_)) => {
                let count = |condition| COUNT_PEER.replace("{condition}", condition);
                ["1".to_owned(), count(""), count("AND position <= $6")]
            }
        };
        format!("SELECT {records}, {existing}, {first}, {last}, {upto}")
    }
}

const ORDINAL: &str =
    "coalesce((SELECT ordinal FROM log WHERE account = $1 AND message <= $2 {place} LIMIT 1), 0)";

const COUNT_PEER: &str = "(SELECT count(*) FROM (SELECT position FROM log \
    WHERE account = $1 AND message <= $2 AND peer = $5 {condition} LIMIT 5001) AS e)";

/// The number of the last archived entry of each of these accounts.
pub(super) async fn last_ordinals(
    connection: &mut AnyConnection,
    accounts: &[i64],
) -> Result<HashMap<AccountId, i64>, StoreError> {
    let last =
        "coalesce((SELECT ordinal FROM log WHERE account = v.column1 ORDER BY position DESC LIMIT 1), 0)";
    of_accounts(connection, accounts, last).await
}

/// Up to where the waiting entries of each of these accounts are delivered.
pub(super) async fn delivered(
    connection: &mut AnyConnection,
    accounts: &[i64],
) -> Result<HashMap<AccountId, i64>, StoreError> {
    let delivered = "coalesce((SELECT delivered FROM mark WHERE account = v.column1), 0)";
    of_accounts(connection, accounts, delivered).await
}

async fn of_accounts(
    connection: &mut AnyConnection,
    accounts: &[i64],
    value: &str,
) -> Result<HashMap<AccountId, i64>, StoreError> {
    let mut found = HashMap::new();
    for some in accounts.chunks(NAMED_MAX) {
        let accounts = parameters(1, some.len()).replace(", ", "), (");
        let sql = format!(
            "SELECT coalesce(string_agg(concat(v.column1, ';', {value}, ';'), ''), '') FROM (VALUES ({accounts})) AS v"
        );
        // Bound: the accounts; the text has their number, and an expression of ours.
        let query = bind_all(sqlx::query_scalar(composed(sql)), some);
        let packed: String = query.fetch_one(&mut *connection).await.map_err(read_error)?;
        let pairs =
            Unpacker::new(&packed).all(|packed| Ok((AccountId(packed.number()?), packed.number()?)))?;
        found.extend(pairs);
    }
    Ok(found)
}

/// The messages with these numbers, in no particular order. One that is gone is left out.
pub(super) async fn messages(connection: &mut AnyConnection, ids: &[i64]) -> Result<Records, StoreError> {
    let mut records = Records::new();
    for some in ids.chunks(NAMED_MAX) {
        let sql = format!(
            "SELECT coalesce(string_agg(record, ''), '') FROM message WHERE id IN ({})",
            parameters(1, some.len())
        );
        // Bound: the ids; the text has their number only.
        records.extend(fetch(bind_all(sqlx::query_scalar(composed(sql)), some), connection).await?);
    }
    Ok(records)
}

/// The same, each with its number.
pub(super) async fn numbered(
    connection: &mut AnyConnection,
    ids: &[i64],
) -> Result<Vec<(i64, MessageRecord)>, StoreError> {
    let mut found = Vec::new();
    for some in ids.chunks(NAMED_MAX) {
        let sql = format!(
            "SELECT coalesce(string_agg(concat(id, ';', record), ''), '') FROM message WHERE id IN ({})",
            parameters(1, some.len())
        );
        // Bound: the ids; the text has their number only.
        let query = bind_all(sqlx::query_scalar(composed(sql)), some);
        let packed = query.fetch_one(&mut *connection).await.map_err(read_error)?;
        found.extend(Unpacker::new(&packed).all(|packed| Ok((packed.number()?, record::decode(packed)?)))?);
    }
    Ok(found)
}

/// How many entries there were to read in each of these conversations, by account and the hash of the other party.
pub(super) async fn heard(
    connection: &mut AnyConnection,
    conversations: &[(i64, i64)],
) -> Result<HashMap<(i64, i64), i64>, StoreError> {
    let mut found = HashMap::new();
    for some in conversations.chunks(NAMED_MAX) {
        let places = places(some.len());
        let number = |row: usize, column| row.saturating_mul(2).saturating_add(column);
        let rows: Vec<_> =
            (0..places).map(|row| format!("(${}, ${})", number(row, 1), number(row, 2))).collect();
        let sql = format!(
            "SELECT coalesce(string_agg(concat(c.account, ';', c.peer, ';', c.heard, ';'), ''), '') \
             FROM conversation AS c WHERE (c.account, c.peer) IN (VALUES {})",
            rows.join(", ")
        );
        let filling = some.last().into_iter().cycle();
        // Bound: the accounts and parties; the text has their number only.
        let query = sqlx::query_scalar::<_, String>(composed(sql));
        let all = some.iter().chain(filling).take(places);
        let query = all.fold(query, |query, (account, peer)| query.bind(*account).bind(*peer));
        let packed = query.fetch_one(&mut *connection).await.map_err(read_error)?;
        let all = Unpacker::new(&packed)
            .all(|packed| Ok(((packed.number()?, packed.number()?), packed.number()?)))?;
        found.extend(all);
    }
    Ok(found)
}

type Scalar<T> = QueryScalar<'static, sqlx::Any, T, sqlx::any::AnyArguments>;

async fn fetch(query: Scalar<String>, connection: &mut AnyConnection) -> Result<Records, StoreError> {
    record::decode_all(&query.fetch_one(connection).await.map_err(read_error)?)
}

fn bind_all(query: Scalar<String>, numbers: &[i64]) -> Scalar<String> {
    filled(numbers).fold(query, QueryScalar::bind)
}

/// The numbers, and the last one once more for each place that is left.
pub(super) fn filled(numbers: &[i64]) -> impl Iterator<Item = i64> {
    let filling = numbers.last().into_iter().cycle();
    numbers.iter().chain(filling).take(places(numbers.len())).copied()
}

/// The parameters for `count` numbers, the first of which is `$first`.
pub(super) fn parameters(first: usize, count: usize) -> String {
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
    if count == 0 { 0 } else { count.next_power_of_two() }
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
fn gathered(entries: &str) -> String {
    format!(
        "(SELECT coalesce(string_agg((SELECT record FROM message WHERE id = e.message), ''), '') \
         FROM ({entries}) AS e)"
    )
}
