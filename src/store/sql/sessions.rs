//! Sessions that outlive the process.

use sqlx::AnyConnection;
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
            let query = sqlx::query_as::<_, (String, i64, String, i64, Option<String>)>(SESSION).bind(id.0);
            let row = async |connection: &mut AnyConnection| {
                query.fetch_optional(connection).await.map_err(read_error)
            };
            let row = self.shared.database.read(row).await?;
            let Some((account, device, resource, handled, snapshot)) = row else {
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
            let query = sqlx::query_scalar::<_, String>(SAVED);
            let rows =
                async |connection: &mut AnyConnection| query.fetch_all(connection).await.map_err(read_error);
            self.shared.database.read(rows).await?.iter().map(|text| jid(text)).collect()
        })
    }
}
