//! Retractions: another payload for messages that are already stored.

use std::sync::{PoisonError, RwLock};

use sqlx::AnyConnection;
use unisono_core::storage::StoreError;

use super::bulk::{Binding, Bulk};
use super::database::{Kind, composed};
use super::error::{CommitError, read_error};
use super::plan::Retraction;
use super::tail::Tail;
use crate::pack::Unpacker;
use crate::record;

/// A sender may use one id again and again. A retraction concerns this many of the messages at most, so
/// that a small stanza cannot cause work without end.
const RETRACTED_MAX: usize = 256;

/// Each part ends at its limit, however many messages have the id.
pub(super) const FIND: &str = "\
    SELECT message FROM (SELECT message FROM log WHERE account = $1 AND stanza = $2 AND peer = $3 \
    ORDER BY message DESC LIMIT $4) AS archived UNION ALL \
    SELECT message FROM (SELECT message FROM waiting WHERE account = $1 AND stanza = $2 AND peer = $3 \
    AND position > coalesce((SELECT delivered FROM mark WHERE account = $1 AND delivered > $5), $5) \
    ORDER BY message DESC LIMIT $4) AS undelivered";

/// Replaces the payload of what a retraction concerns and none has before, except in the batch that it is a part of. Hashes
/// find the messages, the records decide.
pub(super) async fn retract(
    connection: &mut AnyConnection,
    kind: Kind,
    retraction: &Retraction<'_>,
    tail: &RwLock<Tail>,
) -> Result<(), CommitError> {
    static REPLACE: Bulk = Bulk::new(
        "UPDATE message SET record = v.column2 FROM (VALUES ",
        2,
        ") AS v WHERE message.id = v.column1",
    );
    let mut messages = unindexed(tail, retraction);
    let find = sqlx::query_scalar::<_, i64>(FIND)
        .bind(retraction.account.0)
        .bind(retraction.stanza)
        .bind(retraction.peer_hash)
        .bind(i64::try_from(RETRACTED_MAX).unwrap_or(i64::MAX))
        .bind(retraction.delivered.0);
    let mut indexed = find.fetch_all(&mut *connection).await?;
    indexed.sort_unstable_by(|one, other| other.cmp(one));
    messages.extend(indexed);
    messages.truncate(RETRACTED_MAX);

    let mut replaced = Vec::new();
    for (id, packed) in read(connection, &messages).await? {
        // What is retracted stays as it is: nothing is written again and again.
        if record::is_retracted(&packed)? {
            continue;
        }
        let record = record::decode(&mut Unpacker::new(&packed))?;
        if retraction.concerns(&record) {
            replaced.push((id, record::encode(&record, Some(retraction.payload))));
        }
    }
    let bind = |query: Binding, (id, record): &(i64, String)| query.bind(*id).bind(record.clone());
    REPLACE.run(connection, kind, &replaced, bind).await?;
    Ok(())
}

/// The messages that it may concern and that are not indexed yet, newest first.
fn unindexed(tail: &RwLock<Tail>, retraction: &Retraction<'_>) -> Vec<i64> {
    let tail = tail.read().unwrap_or_else(PoisonError::into_inner);
    let rows = tail.rows(retraction.account).iter().rev();
    rows.filter(|row| row.stanza == retraction.stanza && row.peer == retraction.peer_hash)
        .filter(|row| !row.waits || row.position > retraction.delivered.0)
        .map(|row| row.message)
        .collect()
}

async fn read(connection: &mut AnyConnection, messages: &[i64]) -> Result<Vec<(i64, String)>, StoreError> {
    let mut found = Vec::new();
    for some in messages.chunks(32) {
        let numbers: Vec<String> = (1..=some.len()).map(|number| format!("${number}")).collect();
        let sql = format!("SELECT id, record FROM message WHERE id IN ({})", numbers.join(", "));
        // Bound: the ids; the text has their number only.
        let query = some.iter().fold(sqlx::query_as(composed(sql)), |query, id| query.bind(*id));
        found.extend(query.fetch_all(&mut *connection).await.map_err(read_error)?);
    }
    Ok(found)
}
