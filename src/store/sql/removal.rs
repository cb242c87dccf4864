//! Taking messages out of the store: purging, deleted accounts, what was delivered.

use sqlx::AnyConnection;
use unisono_core::ids::{AccountId, LogPosition};

use super::bulk::{Binding, Bulk};
use super::database::Kind;

/// Removes those of the messages that no log refers to. All their entries must be in the index, if they are
/// anywhere.
pub(super) async fn remove_unreferenced(
    connection: &mut AnyConnection,
    kind: Kind,
    messages: &[i64],
) -> sqlx::Result<u64> {
    static REMOVE: Bulk = Bulk::new(
        "DELETE FROM message WHERE id IN (VALUES ",
        1,
        ") AND NOT EXISTS (SELECT 1 FROM log WHERE account = message.sender AND position = message.sent_at) \
         AND NOT EXISTS (SELECT 1 FROM log WHERE account = message.recipient AND position = message.received_at) \
         AND NOT EXISTS (SELECT 1 FROM waiting WHERE account = message.sender AND position = message.sent_at) \
         AND NOT EXISTS (SELECT 1 FROM waiting WHERE account = message.recipient \
                         AND position = message.received_at)",
    );
    REMOVE.run(connection, kind, messages, |query: Binding, id| query.bind(*id)).await
}

/// Removes the oldest entries of an account that wait for delivery, up to a position and at most `limit`. Returns their
/// messages.
pub(super) async fn remove_waiting(
    connection: &mut AnyConnection,
    account: AccountId,
    upto: LogPosition,
    limit: usize,
) -> sqlx::Result<Vec<i64>> {
    const OLDEST: &str = "SELECT position, message FROM waiting WHERE account = $1 AND position <= $2 ORDER BY position LIMIT $3";
    const REMOVE: &str = "DELETE FROM waiting WHERE account = $1 AND position <= $2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let oldest = sqlx::query_as::<_, (i64, i64)>(OLDEST).bind(account.0).bind(upto.0).bind(limit);
    let oldest = oldest.fetch_all(&mut *connection).await?;
    if let Some((last, _)) = oldest.last() {
        sqlx::query(REMOVE).bind(account.0).bind(*last).execute(connection).await?;
    }
    Ok(oldest.into_iter().map(|(_, message)| message).collect())
}
