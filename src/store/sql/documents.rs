//! Documents and rosters.

use sqlx::AnyConnection;
use unisono_core::ids::AccountId;
use unisono_core::jid::BareJid;
use unisono_core::roster::RosterItem;
use unisono_core::storage::{BoxFuture, Document, Documents, StoreError};
use unisono_core::subscription::{Subscription, SubscriptionState};

use super::SqlStore;
use super::accounts::jid;
use super::error::read_error;
use crate::pack::{Packer, Unpacker};

impl Documents for SqlStore {
    fn document<'a>(
        &'a self,
        account: AccountId,
        kind: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        const DOCUMENT: &str = "SELECT value FROM document WHERE account = $1 AND kind = $2 AND name = $3";
        Box::pin(async move {
            let query =
                sqlx::query_scalar(DOCUMENT).bind(account.0).bind(kind).bind(self.shared.hasher.hash(key));
            let document = async |connection: &mut AnyConnection| {
                query.fetch_optional(connection).await.map_err(read_error)
            };
            self.shared.database.read(document).await
        })
    }

    fn documents<'a>(
        &'a self,
        account: AccountId,
        kind: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        const DOCUMENTS: &str = "SELECT key, value FROM document WHERE account = $1 AND kind = $2";
        Box::pin(async move {
            let query = sqlx::query_as::<_, (String, String)>(DOCUMENTS).bind(account.0).bind(kind);
            let rows =
                async |connection: &mut AnyConnection| query.fetch_all(connection).await.map_err(read_error);
            let rows = self.shared.database.read(rows).await?;
            let document =
                |(key, value): (String, String)| Document { kind: kind.into(), key: key.into(), value };
            Ok(rows.into_iter().map(document).collect())
        })
    }

    fn holders<'a>(
        &'a self,
        kind: &'a str,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, StoreError>> {
        const HOLDERS: &str = "SELECT jid FROM account WHERE jid > $1 AND EXISTS \
            (SELECT 1 FROM document WHERE document.account = account.id AND document.kind = $2) \
            ORDER BY jid LIMIT $3";
        Box::pin(async move {
            let query = sqlx::query_scalar::<_, String>(HOLDERS)
                .bind(after.map_or("", BareJid::as_str))
                .bind(kind)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX));
            let rows =
                async |connection: &mut AnyConnection| query.fetch_all(connection).await.map_err(read_error);
            self.shared.database.read(rows).await?.iter().map(|text| jid(text)).collect()
        })
    }

    fn mentioning<'a>(
        &'a self,
        kind: &'a str,
        text: &'a str,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, StoreError>> {
        const MENTIONING: &str = "SELECT jid FROM account WHERE id IN \
            (SELECT account FROM document WHERE kind = $1 AND value LIKE $2 ESCAPE '!')";
        Box::pin(async move {
            let literal = text.replace('!', "!!").replace('%', "!%").replace('_', "!_");
            let query = sqlx::query_scalar::<_, String>(MENTIONING).bind(kind).bind(format!("%{literal}%"));
            let rows =
                async |connection: &mut AnyConnection| query.fetch_all(connection).await.map_err(read_error);
            self.shared.database.read(rows).await?.iter().map(|text| jid(text)).collect()
        })
    }
}

/// A roster item but for its address, as it is stored.
pub(super) fn pack_item(item: &RosterItem) -> String {
    let state = item.state;
    let groups = i64::try_from(item.groups.len()).unwrap_or(i64::MAX);
    let mut packer = Packer::default();
    packer
        .number(item.version)
        .number(i64::from(item.removed))
        .text(state.subscription.as_str())
        .number(i64::from(state.pending_out))
        .number(i64::from(state.pending_in))
        .number(i64::from(state.approved))
        .text_or_none(item.name.as_deref())
        .number(groups);
    for group in &item.groups {
        packer.text(group);
    }
    packer.finish()
}

/// A roster item from its address and the rest.
pub(super) fn unpack_item(jid: BareJid, item: &mut Unpacker<'_>) -> Result<RosterItem, StoreError> {
    let version = item.number()?;
    let removed = flag(item)?;
    let subscription = Subscription::parse(item.text()?);
    let subscription =
        subscription.ok_or_else(|| StoreError::Corrupt("an unknown subscription".to_owned()))?;
    let (pending_out, pending_in, approved) = (flag(item)?, flag(item)?, flag(item)?);
    let name = item.text_or_none()?.map(ToOwned::to_owned);
    let count: usize = item.number()?;
    let groups = (0..count).map(|_| Ok(item.text()?.into())).collect::<Result<_, StoreError>>()?;
    let state = SubscriptionState { subscription, pending_out, pending_in, approved };
    Ok(RosterItem { jid, name, groups, state, version, removed })
}

pub(super) fn flag(packed: &mut Unpacker<'_>) -> Result<bool, StoreError> {
    Ok(packed.number::<i64>()? != 0)
}
