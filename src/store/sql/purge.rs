//! Purging: old entries go, in steps between which commits go on.

use sqlx::{AnyConnection, Connection as _};
use unisono_core::ids::{AccountId, LogPosition};
use unisono_core::storage::StoreError;

use super::database::Kind;
use super::error::{CommitError, read_error};
use super::removal::remove_unreferenced;
use super::{Shared, indexer};

/// Entries that go in one transaction.
const STEP: u64 = 2_000;

/// The newest entry that was ever purged from a log.
pub(super) async fn purged(connection: &mut AnyConnection, account: AccountId) -> sqlx::Result<LogPosition> {
    const PURGED: &str = "SELECT coalesce((SELECT purged FROM mark WHERE account = $1), 0)";
    sqlx::query_scalar(PURGED).bind(account.0).fetch_one(connection).await.map(LogPosition)
}

/// Removes archived entries before `before`.
pub(super) async fn purge(
    shared: &Shared,
    account: Option<AccountId>,
    before: LogPosition,
) -> Result<u64, StoreError> {
    let Some(account) = account else { return purge_all(shared, before).await };
    let mut purged: u64 = 0;
    loop {
        // While nothing is being indexed, a message that no log refers to is nobody's.
        let _settled = indexer::settle(shared).await.map_err(CommitError::into_store)?;
        let work = async |connection: &mut AnyConnection| {
            step(connection, shared.database.kind, account, before).await.map_err(read_error)
        };
        let gone = shared.write(work).await?;
        purged = purged.saturating_add(gone);
        if gone < STEP {
            return Ok(purged);
        }
    }
}

/// Purges account by account; those with nothing to purge cost nothing.
async fn purge_all(shared: &Shared, before: LogPosition) -> Result<u64, StoreError> {
    const DUE: &str = "SELECT id FROM account WHERE id > $1 AND \
        (SELECT position FROM log WHERE log.account = account.id ORDER BY position LIMIT 1) < $2 \
        ORDER BY id LIMIT 100";
    // What is not indexed yet may be due as well.
    drop(indexer::settle(shared).await.map_err(CommitError::into_store)?);
    let (mut purged, mut last): (u64, i64) = (0, 0);
    loop {
        let query = sqlx::query_scalar::<_, i64>(DUE).bind(last).bind(before.0);
        let due =
            async |connection: &mut AnyConnection| query.fetch_all(connection).await.map_err(read_error);
        let due = shared.database.read(due).await?;
        let Some(highest) = due.last() else { return Ok(purged) };
        last = *highest;
        for account in due {
            let gone = Box::pin(purge(shared, Some(AccountId(account)), before)).await?;
            purged = purged.saturating_add(gone);
        }
    }
}

/// Removes the oldest entries of one log, and the messages that no other log has.
async fn step(
    connection: &mut AnyConnection,
    kind: Kind,
    account: AccountId,
    before: LogPosition,
) -> sqlx::Result<u64> {
    const OLDEST: &str =
        "SELECT position, message FROM log WHERE account = $1 AND position < $2 ORDER BY position LIMIT $3";
    const REMOVE: &str = "DELETE FROM log WHERE account = $1 AND position <= $2";
    const CONVERSATIONS: &str = "DELETE FROM conversation WHERE account = $1 AND position <= $2";
    const MARK: &str = "INSERT INTO mark (account, delivered, purged) VALUES ($1, 0, $2) \
        ON CONFLICT (account) DO UPDATE SET purged = excluded.purged WHERE excluded.purged > mark.purged";
    let mut transaction = connection.begin().await?;
    let oldest: Vec<(i64, i64)> = sqlx::query_as(OLDEST)
        .bind(account.0)
        .bind(before.0)
        .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
        .fetch_all(&mut *transaction)
        .await?;
    let Some((last, _)) = oldest.last() else { return Ok(0) };
    sqlx::query(REMOVE).bind(account.0).bind(last).execute(&mut *transaction).await?;
    sqlx::query(CONVERSATIONS).bind(account.0).bind(last).execute(&mut *transaction).await?;
    sqlx::query(MARK).bind(account.0).bind(last).execute(&mut *transaction).await?;
    let messages: Vec<i64> = oldest.iter().map(|(_, message)| *message).collect();
    remove_unreferenced(&mut transaction, kind, &messages).await?;
    transaction.commit().await?;
    Ok(u64::try_from(oldest.len()).unwrap_or(u64::MAX))
}
