//! Sessions that outlive the process.

use unisono_core::ids::{DeviceId, SessionId};
use unisono_core::jid::BareJid;
use unisono_core::storage::{BoxFuture, SessionRecord, Sessions, StoreError};

use super::SqlStore;
use super::accounts::jid;
use super::error::read_error;

impl Sessions for SqlStore {
    fn session(&self, id: SessionId) -> BoxFuture<'_, Result<Option<(BareJid, SessionRecord)>, StoreError>> {
        const SESSION: &str = "\
            SELECT account.jid, session.device, session.resource, session.handled, session.snapshot \
            FROM session JOIN account ON account.id = session.account WHERE session.id = $1";
        Box::pin(async move {
            // The tail first: the indexer takes from it only what it has put into the table.
            let unindexed = self.shared.tail().handled(id);
            let mut reader = self.shared.database.reader().await?;
            let query = sqlx::query_as::<_, (String, i64, String, i64, Option<String>)>(SESSION).bind(id.0);
            let row = query.fetch_optional(&mut reader.connection).await.map_err(read_error);
            let Some((account, device, resource, handled, snapshot)) = reader.finish(row)? else {
                return Ok(None);
            };
            let handled = u32::try_from(handled).unwrap_or(u32::MAX).max(unindexed);
            let (device, resource) = (DeviceId(device), resource.into());
            Ok(Some((jid(&account)?, SessionRecord { id, device, resource, handled, snapshot })))
        })
    }

    fn saved(&self) -> BoxFuture<'_, Result<Vec<BareJid>, StoreError>> {
        const SAVED: &str = "SELECT jid FROM account WHERE id IN \
            (SELECT account FROM session WHERE snapshot IS NOT NULL) ORDER BY jid";
        Box::pin(async move {
            let mut reader = self.shared.database.reader().await?;
            let query = sqlx::query_scalar::<_, String>(SAVED);
            let rows = query.fetch_all(&mut reader.connection).await.map_err(read_error);
            reader.finish(rows)?.iter().map(|text| jid(text)).collect()
        })
    }
}
