//! What a crash left unindexed is indexed when the store is opened: at most what the tail was, whatever the
//! length of the logs.

use std::collections::HashMap;

use sqlx::AnyConnection;
use unisono_core::ids::{AccountId, LogPosition, SessionId};
use unisono_core::storage::StoreError;

use super::Shared;
use super::database::composed;
use super::error::{CommitError, read_error};
use super::index;
use super::indexer::{self, Job};
use super::message::{Columns, PACKED};
use super::tail::{Row, Unindexed};
use crate::pack::Unpacker;

/// Messages that are read in one statement, and indexed in one job.
const STEP: i64 = 2_048;
const JOB: i64 = 65_536;

/// How far the index is.
pub(super) struct Extent {
    /// All messages up to this one are indexed.
    pub(super) watermark: i64,
    /// Those up to this one were being indexed, and the entries up to this place are done.
    upto: i64,
    done: (AccountId, i64),
    /// The last message. Numbers below the watermark are never given again, even if the messages are gone.
    pub(super) newest: i64,
}

pub(super) async fn extent(connection: &mut AnyConnection) -> Result<Extent, StoreError> {
    const EXTENT: &str = "SELECT message, upto, account, position, \
        coalesce((SELECT max(id) FROM message), 0) FROM watermark";
    let query = sqlx::query_as::<_, (i64, i64, i64, i64, i64)>(EXTENT);
    let (watermark, upto, account, position, last) = query.fetch_one(connection).await.map_err(read_error)?;
    let newest = last.max(watermark).max(upto);
    Ok(Extent { watermark, upto, done: (AccountId(account), position), newest })
}

/// Indexes what is not.
pub(super) async fn recover(shared: &Shared, mut extent: Extent) -> Result<(), StoreError> {
    while extent.watermark < extent.newest {
        let upto = if extent.upto > extent.watermark {
            extent.upto
        } else {
            extent.newest.min(extent.watermark.saturating_add(JOB))
        };
        let todo =
            shared.database.read(async |connection| unindexed(connection, &extent, upto).await).await?;
        *shared.indexing.lock().await = Some(Job::new(shared, todo).await?);
        while indexer::step(shared).await.map_err(CommitError::into_store)? {}
        (extent.watermark, extent.upto) = (upto, 0);
    }
    // The indexer removes them when it comes to it.
    let left = shared.database.read(async |connection| delivered(connection).await).await?;
    shared.tail_mut().left_behind(left);
    Ok(())
}

/// The accounts of which the index still has entries that were delivered. It looks at those that have entries which wait,
/// at one entry of each.
async fn delivered(connection: &mut AnyConnection) -> Result<Vec<(AccountId, LogPosition)>, StoreError> {
    const DELIVERED: &str = "\
        WITH RECURSIVE owner (account) AS ( \
            SELECT (SELECT account FROM waiting ORDER BY account LIMIT 1) UNION ALL \
            SELECT (SELECT account FROM waiting WHERE account > owner.account ORDER BY account LIMIT 1) \
            FROM owner WHERE owner.account IS NOT NULL) \
        SELECT account, delivered FROM (SELECT account, \
            coalesce((SELECT delivered FROM mark WHERE mark.account = owner.account), 0) AS delivered, \
            (SELECT position FROM waiting WHERE waiting.account = owner.account \
                ORDER BY position LIMIT 1) AS first \
            FROM owner WHERE account IS NOT NULL) AS waits WHERE first <= delivered";
    let rows = sqlx::query_as::<_, (i64, i64)>(DELIVERED).fetch_all(connection).await.map_err(read_error)?;
    Ok(rows.into_iter().map(|(account, upto)| (AccountId(account), LogPosition(upto))).collect())
}

async fn unindexed(
    connection: &mut AnyConnection,
    extent: &Extent,
    upto: i64,
) -> Result<Unindexed, StoreError> {
    let mut todo = Unindexed { upto, ..Unindexed::default() };
    let mut handled: HashMap<SessionId, u32> = HashMap::new();
    for message in read(connection, extent.watermark, upto).await? {
        todo.entries.extend(message.entries());
        if let Some((session, number)) = message.session() {
            let known = handled.entry(session).or_default();
            *known = number.max(*known);
        }
    }
    todo.handled.extend(handled);
    todo.entries.sort_unstable_by_key(|(account, row)| (*account, row.position));
    let waiting = todo.entries.iter().filter(|(_, row)| row.waits).map(|(account, _)| account.0);
    let delivered = index::delivered(connection, &waiting.collect::<Vec<_>>()).await?;
    let is_delivered = |(account, row): &mut (AccountId, Row)| {
        row.waits && delivered.get(account).is_some_and(|upto| row.position <= *upto)
    };
    todo.forgotten = todo.entries.extract_if(.., is_delivered).map(|(_, row)| row.message).collect();
    if extent.upto > extent.watermark {
        todo.done = todo.entries.partition_point(|(account, row)| (*account, row.position) <= extent.done);
    }
    Ok(todo)
}

async fn read(connection: &mut AnyConnection, from: i64, upto: i64) -> Result<Vec<Columns>, StoreError> {
    let sql =
        format!("SELECT coalesce(string_agg({PACKED}, ''), '') FROM message WHERE id > $1 AND id <= $2");
    let (mut messages, mut from) = (Vec::new(), from);
    while from < upto {
        let end = upto.min(from.saturating_add(STEP));
        // Bound: the first and the last id; the text is a constant.
        let query = sqlx::query_scalar::<_, String>(composed(sql.clone())).bind(from).bind(end);
        let packed = query.fetch_one(&mut *connection).await.map_err(read_error)?;
        messages.extend(Unpacker::new(&packed).all(Columns::unpack)?);
        from = end;
    }
    Ok(messages)
}
