//! The indexer: fills the index of the logs behind the writer, in bulk and in order.
//!
//! It is SQL from end to end: nothing of what it moves passes through this process.

use sqlx::{AnyConnection, Connection as _};

use super::Shared;
use super::error::CommitError;
use super::removal::{remove_unreferenced, unreferenced};

/// Messages of one transaction. Commits wait for it, so it must stay short.
const CHUNK: i64 = 20_000;

/// The archived entries of messages $1 (excluded) to $2 (included), counted on from the entries before.
const ARCHIVED: &str = "\
    WITH entry AS ( \
        SELECT sender AS account, sent_at AS position, id AS message, sent_to AS peer, stanza, fingerprint \
        FROM message WHERE id > $1 AND id <= $2 AND sender <> 0 AND (flags & 1) = 0 \
        UNION ALL \
        SELECT recipient, received_at, id, received_from, stanza, \
               CASE WHEN (flags & 4) <> 0 THEN fingerprint ELSE 0 END \
        FROM message WHERE id > $1 AND id <= $2 AND recipient <> 0 AND (flags & 2) = 0 \
    ) \
    INSERT INTO log (account, position, message, peer, stanza, fingerprint, ordinal, peer_ordinal) \
    SELECT account, position, message, peer, stanza, fingerprint, \
           row_number() OVER (PARTITION BY account ORDER BY position) + coalesce(( \
               SELECT ordinal FROM log WHERE log.account = entry.account ORDER BY position DESC LIMIT 1), 0), \
           row_number() OVER (PARTITION BY account, peer ORDER BY position) + coalesce(( \
               SELECT peer_ordinal FROM log WHERE log.account = entry.account AND log.peer = entry.peer \
               ORDER BY position DESC LIMIT 1), 0) \
    FROM entry WHERE TRUE ORDER BY account, position \
    ON CONFLICT (account, position) DO NOTHING";

/// The entries of the same messages that wait for delivery, unless they were delivered meanwhile.
const WAITING: &str = "\
    WITH entry AS ( \
        SELECT sender AS account, sent_at AS position, id AS message, sent_to AS peer, stanza, fingerprint \
        FROM message WHERE id > $1 AND id <= $2 AND sender <> 0 AND (flags & 1) <> 0 \
        UNION ALL \
        SELECT recipient, received_at, id, received_from, stanza, \
               CASE WHEN (flags & 4) <> 0 THEN fingerprint ELSE 0 END \
        FROM message WHERE id > $1 AND id <= $2 AND recipient <> 0 AND (flags & 2) <> 0 \
    ) \
    INSERT INTO waiting (account, position, message, peer, stanza, fingerprint) \
    SELECT account, position, message, peer, stanza, fingerprint FROM entry \
    WHERE NOT EXISTS ( \
        SELECT 1 FROM mark WHERE mark.account = entry.account AND mark.delivered >= entry.position) \
    ORDER BY account, position \
    ON CONFLICT (account, position) DO NOTHING";

const FORGOTTEN: &str =
    concat!("DELETE FROM message WHERE id > $1 AND id <= $2 AND (flags & 3) <> 0 AND ", unreferenced!());

const HANDLED: &str = "\
    UPDATE session SET handled = seen.handled FROM ( \
        SELECT session AS id, max(handled) AS handled FROM message \
        WHERE id > $1 AND id <= $2 AND session <> 0 GROUP BY session \
    ) AS seen WHERE session.id = seen.id AND session.handled < seen.handled";

const WATERMARK: &str = "UPDATE watermark SET message = $1";

/// Indexes all that is durable.
pub(super) async fn index(shared: &Shared) -> Result<(), CommitError> {
    remove_delivered(shared).await?;
    loop {
        let (from, upto, expected) = {
            let tail = shared.tail();
            let upto = tail.newest.min(tail.watermark.saturating_add(CHUNK));
            (tail.watermark, upto, tail.archived_upto(upto))
        };
        if from >= upto {
            return Ok(());
        }
        let indexed = {
            let mut writer = shared.writer.lock().await;
            let connection = writer.connection(shared).await?;
            let indexed = index_chunk(connection, from, upto).await;
            if indexed.is_err() {
                writer.recover().await;
            }
            indexed?
        };
        if expected.is_some_and(|expected| expected != indexed) {
            tracing::error!(?expected, indexed, "entries of a log with the same position: one is not shown");
        }
        shared.tail_mut().indexed(upto);
    }
}

/// Returns how many archived entries were added.
async fn index_chunk(connection: &mut AnyConnection, from: i64, upto: i64) -> sqlx::Result<u64> {
    let mut transaction = connection.begin().await?;
    let archived = sqlx::query(ARCHIVED).bind(from).bind(upto).execute(&mut *transaction).await?;
    for statement in [WAITING, FORGOTTEN, HANDLED] {
        sqlx::query(statement).bind(from).bind(upto).execute(&mut *transaction).await?;
    }
    sqlx::query(WATERMARK).bind(upto).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(archived.rows_affected())
}

/// Removes indexed entries that waited and are delivered.
async fn remove_delivered(shared: &Shared) -> Result<(), CommitError> {
    const REMOVE: &str = "DELETE FROM waiting WHERE account = $1 AND position <= $2 RETURNING message";
    let delivered = shared.tail_mut().take_delivered();
    if delivered.is_empty() {
        return Ok(());
    }
    let mut writer = shared.writer.lock().await;
    let connection = writer.connection(shared).await?;
    let mut transaction = connection.begin().await?;
    let mut messages: Vec<i64> = Vec::new();
    for (account, upto) in delivered {
        let remove = sqlx::query_scalar::<_, i64>(REMOVE).bind(account.0).bind(upto.0);
        messages.extend(remove.fetch_all(&mut *transaction).await?);
    }
    remove_unreferenced(&mut transaction, shared.database.kind, &messages).await?;
    transaction.commit().await?;
    Ok(())
}
