//! The logs.

use sqlx::AnyConnection;
use unisono_core::ids::{AccountId, LogPosition, SessionId};
use unisono_core::jid::BareJid;
use unisono_core::storage::{BoxFuture, Inbox, InboxQuery, LogPage, LogQuery, Logs, StoreError};

use super::error::read_error;
use super::tail::View;
use super::{SqlStore, inbox, page, purge};

/// Entries that are read in one step when a session is accounted for.
const STEP: usize = 64;
/// Bytes of messages, with some more for each, in which a session is looked for. An outbox holds so many entries at
/// most that this is far more than it can have left; a session of which nothing is found costs no more than this.
const LOOKED_AT_MAX: usize = 8 * 1024 * 1024;
/// What an entry counts besides its payload.
const BESIDES_PAYLOAD: usize = 256;

impl Logs for SqlStore {
    fn page<'a>(
        &'a self,
        account: AccountId,
        query: &'a LogQuery,
    ) -> BoxFuture<'a, Result<LogPage, StoreError>> {
        Box::pin(page::page(&self.shared, account, query))
    }

    fn inbox<'a>(
        &'a self,
        account: AccountId,
        query: &'a InboxQuery,
    ) -> BoxFuture<'a, Result<Inbox, StoreError>> {
        Box::pin(inbox::inbox(&self.shared, account, query))
    }

    fn displayed<'a>(
        &'a self,
        account: AccountId,
        peer: &'a BareJid,
    ) -> BoxFuture<'a, Result<LogPosition, StoreError>> {
        const DISPLAYED: &str =
            "SELECT coalesce((SELECT position FROM displayed WHERE account = $1 AND peer = $2), 0)";
        let peer = self.shared.hasher.hash(peer.as_str());
        Box::pin(self.shared.database.read(async move |connection| {
            let query = sqlx::query_scalar(DISPLAYED).bind(account.0).bind(peer);
            query.fetch_one(connection).await.map(LogPosition).map_err(read_error)
        }))
    }

    fn bounds(
        &self,
        account: AccountId,
    ) -> BoxFuture<'_, Result<Option<(LogPosition, LogPosition)>, StoreError>> {
        Box::pin(async move {
            let view = self.shared.tail().view(account, false);
            self.shared.database.read(async |connection| bounds(connection, account, &view).await).await
        })
    }

    fn received_by(
        &self,
        account: AccountId,
        session: SessionId,
        handled: u32,
        after: LogPosition,
    ) -> BoxFuture<'_, Result<Option<LogPosition>, StoreError>> {
        Box::pin(async move {
            let mut query =
                LogQuery { after: Some(after), include_unarchived: true, limit: STEP, ..LogQuery::default() };
            let (mut received, mut looked_at) = (None, 0_usize);
            loop {
                let page = page::page(&self.shared, account, &query).await?;
                for entry in &page.entries {
                    let payload = entry.record.payload.text().len();
                    looked_at = looked_at.saturating_add(payload).saturating_add(BESIDES_PAYLOAD);
                    let place = entry.record.place(account).map(|(place, _)| place);
                    let deliveries = place.into_iter().flat_map(|place| &place.deliveries);
                    match deliveries.into_iter().find(|(to, _)| *to == session) {
                        Some((_, number)) if *number > handled => return Ok(received),
                        Some(_) => received = Some(entry.position),
                        None => {}
                    }
                }
                if page.complete || looked_at > LOOKED_AT_MAX {
                    return Ok(received);
                }
                query.after = page.entries.last().map(|entry| entry.position);
            }
        })
    }

    fn purged(&self, account: AccountId) -> BoxFuture<'_, Result<LogPosition, StoreError>> {
        Box::pin(async move {
            let purged = async |connection: &mut AnyConnection| {
                purge::purged(connection, account).await.map_err(read_error)
            };
            self.shared.database.read(purged).await
        })
    }

    fn purge(
        &self,
        account: Option<AccountId>,
        before: LogPosition,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(purge::purge(&self.shared, account, before))
    }
}

async fn bounds(
    connection: &mut AnyConnection,
    account: AccountId,
    view: &View,
) -> Result<Option<(LogPosition, LogPosition)>, StoreError> {
    const BOUNDS: &str = "SELECT \
        coalesce((SELECT position FROM log WHERE account = $1 AND message <= $2 \
                  ORDER BY position LIMIT 1), 0), \
        coalesce((SELECT position FROM log WHERE account = $1 AND message <= $2 \
                  ORDER BY position DESC LIMIT 1), 0)";
    let query = sqlx::query_as::<_, (i64, i64)>(BOUNDS).bind(account.0).bind(view.watermark);
    let (first, last) = query.fetch_one(connection).await.map_err(read_error)?;
    let indexed = (first != 0).then_some([first, last]).into_iter().flatten();
    let mut all = indexed.chain(view.rows.iter().map(|row| row.position));
    let first = all.next();
    Ok(first.map(|first| (LogPosition(first), LogPosition(all.last().unwrap_or(first)))))
}
