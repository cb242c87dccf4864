//! Invitations, and the names that they keep free.

use sqlx::{AnyConnection, Connection as _};
use unisono_core::ids::AccountId;
use unisono_core::invitations::{GRACE_MICROS, INVITED_BY, Invitation, Invitations};
use unisono_core::jid::BareJid;
use unisono_core::storage::{BoxFuture, StoreError};

use super::error::read_error;
use super::{SqlStore, accounts, names};
use crate::hash::Hasher;

impl Invitations for SqlStore {
    fn invite<'a>(&'a self, invitation: &'a Invitation) -> BoxFuture<'a, Result<(), StoreError>> {
        let hasher = self.shared.hasher;
        Box::pin(self.shared.write(async move |connection| {
            let mut transaction = connection.begin().await.map_err(read_error)?;
            keep(&mut transaction, hasher, invitation).await?;
            transaction.commit().await.map_err(read_error)
        }))
    }

    fn invitation<'a>(
        &'a self,
        token: &'a str,
        now_micros: i64,
    ) -> BoxFuture<'a, Result<Option<Invitation>, StoreError>> {
        const FIND: &str = "SELECT token, domain, account, inviter, maker, created_at, expires_at FROM invitation \
            WHERE token = $1 AND expires_at > $2";
        Box::pin(async move {
            if token.contains('\0') {
                return Ok(None); // PostgreSQL takes no such text.
            }
            let query = sqlx::query_as::<_, Row>(FIND).bind(token).bind(now_micros);
            let row = async |connection: &mut AnyConnection| {
                query.fetch_optional(connection).await.map_err(read_error)
            };
            self.shared.database.read(row).await?.map(read).transpose()
        })
    }

    fn invitations<'a>(
        &'a self,
        maker: Option<&'a BareJid>,
        after: Option<&'a str>,
        limit: usize,
        now_micros: i64,
    ) -> BoxFuture<'a, Result<Vec<Invitation>, StoreError>> {
        const LIST: &str = "SELECT token, domain, account, inviter, maker, created_at, expires_at FROM invitation \
            WHERE ($1 = '' OR maker = $1) AND token > $2 AND expires_at > $3 ORDER BY token LIMIT $4";
        Box::pin(async move {
            let query = sqlx::query_as::<_, Row>(LIST)
                .bind(maker.map_or("", BareJid::as_str))
                .bind(after.unwrap_or(""))
                .bind(now_micros)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX));
            let rows =
                async |connection: &mut AnyConnection| query.fetch_all(connection).await.map_err(read_error);
            self.shared.database.read(rows).await?.into_iter().map(read).collect()
        })
    }

    fn redeem<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.shared.write(async move |connection| Ok(use_up(connection, token).await?.is_some())))
    }

    fn create_invited<'a>(
        &'a self,
        token: &'a str,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
        now_micros: i64,
    ) -> BoxFuture<'a, Result<AccountId, StoreError>> {
        let hasher = self.shared.hasher;
        Box::pin(self.shared.write(async move |connection| {
            let mut transaction = connection.begin().await.map_err(read_error)?;
            let inviter = use_up(&mut transaction, token).await?.ok_or(StoreError::NotFound)?;
            let id =
                accounts::insert_distinct(&mut transaction, hasher, jid, credentials, now_micros).await?;
            if !inviter.is_empty() {
                name_inviter(&mut transaction, hasher, id, &inviter).await?;
            }
            transaction.commit().await.map_err(read_error)?;
            Ok(id)
        }))
    }
}

type Row = (String, String, String, String, String, i64, i64);

fn read(
    (token, domain, account, inviter, maker, created_at, expires_at): Row,
) -> Result<Invitation, StoreError> {
    let jid = |text: String| (!text.is_empty()).then(|| accounts::jid(&text)).transpose();
    let (domain, account, inviter, maker) = (jid(domain)?, jid(account)?, jid(inviter)?, jid(maker)?);
    Ok(Invitation { token, domain, account, inviter, maker, created_at, expires_at })
}

async fn keep(
    connection: &mut AnyConnection,
    hasher: Hasher,
    invitation: &Invitation,
) -> Result<(), StoreError> {
    const EXPIRE: &str = "DELETE FROM invitation WHERE expires_at <= $1";
    const THERE: &str = "SELECT count(*) FROM account WHERE jid = $1";
    const KEEP: &str = "INSERT INTO invitation \
        (token, domain, account, likeness, inviter, maker, created_at, expires_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let Invitation { token, domain, account, inviter, maker, created_at, expires_at } = invitation;
    sqlx::query(EXPIRE)
        .bind(created_at.saturating_sub(GRACE_MICROS))
        .execute(&mut *connection)
        .await
        .map_err(read_error)?;
    let mut likeness = 0;
    if let Some(account) = account {
        likeness = names::likeness(hasher, account);
        if let Some(other) = names::alike(connection, account, likeness).await? {
            return Err(StoreError::Alike(other));
        }
        let there = sqlx::query_scalar::<_, i64>(THERE).bind(account.as_str());
        if there.fetch_one(&mut *connection).await.map_err(read_error)? > 0 {
            return Err(StoreError::Exists);
        }
        names::check_free(connection, account, Some(likeness), *created_at).await?;
    }
    let text = |jid: &Option<BareJid>| jid.as_ref().map_or_else(String::new, ToString::to_string);
    let keep = sqlx::query(KEEP)
        .bind(token.as_str())
        .bind(text(domain))
        .bind(text(account))
        .bind(likeness)
        .bind(text(inviter))
        .bind(text(maker))
        .bind(*created_at)
        .bind(*expires_at);
    keep.execute(connection).await.map_err(read_error)?;
    Ok(())
}

/// Returns the inviter of one that was there, or an empty text.
async fn use_up(connection: &mut AnyConnection, token: &str) -> Result<Option<String>, StoreError> {
    const USE_UP: &str = "DELETE FROM invitation WHERE token = $1 RETURNING inviter";
    if token.contains('\0') {
        return Ok(None);
    }
    sqlx::query_scalar(USE_UP).bind(token).fetch_optional(connection).await.map_err(read_error)
}

async fn name_inviter(
    connection: &mut AnyConnection,
    hasher: Hasher,
    account: AccountId,
    inviter: &str,
) -> Result<(), StoreError> {
    const PUT: &str = "INSERT INTO document (account, kind, name, key, value) VALUES ($1, $2, $3, '', $4)";
    let put = sqlx::query(PUT).bind(account.0).bind(INVITED_BY).bind(hasher.hash("")).bind(inviter);
    put.execute(connection).await.map_err(read_error)?;
    Ok(())
}
