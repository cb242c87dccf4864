//! Accounts, their credentials, and all that an account has when somebody needs it.

use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::{AnyConnection, Connection as _};
use unisono_core::ids::{AccountId, DeviceId, LogPosition, SessionId};
use unisono_core::jid::BareJid;
use unisono_core::storage::{
    AccountData, AccountState, AccountSummary, Accounts, BoxFuture, Credential, DeviceRecord, Document,
    OwnDevice, RECENT_FINGERPRINTS, SessionRecord, StoreError,
};
use unisono_core::subscription::SubscriptionState;

use super::database::{Kind, composed};
use super::documents::{flag, unpack_item};
use super::error::{CommitError, read_error};
use super::removal::{remove_unreferenced, remove_waiting};
use super::tail::Tail;
use super::{Shared, SqlStore, indexer, names, purge};
use crate::access;
use crate::hash::Hasher;
use crate::pack::{Unpacker, storable};

impl Accounts for SqlStore {
    fn create<'a>(
        &'a self,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
        now_micros: i64,
    ) -> BoxFuture<'a, Result<AccountId, StoreError>> {
        Box::pin(self.shared.write(async move |connection| {
            let likeness = names::likeness(self.shared.hasher, jid);
            names::check_free(connection, jid, None, now_micros).await?;
            insert(connection, jid, likeness, credentials, now_micros).await
        }))
    }

    fn create_distinct<'a>(
        &'a self,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
        now_micros: i64,
    ) -> BoxFuture<'a, Result<AccountId, StoreError>> {
        // Whoever writes here writes alone, in this process and beside others, from the look to the commit.
        Box::pin(self.shared.write(async move |connection| {
            insert_distinct(connection, self.shared.hasher, jid, credentials, now_micros).await
        }))
    }

    fn load<'a>(
        &'a self,
        jid: &'a BareJid,
        kinds: &'a [&'static str],
    ) -> BoxFuture<'a, Result<Option<AccountData>, StoreError>> {
        Box::pin(load(&self.shared, jid, kinds))
    }

    fn summary<'a>(&'a self, jid: &'a BareJid) -> BoxFuture<'a, Result<Option<AccountSummary>, StoreError>> {
        const SUMMARY: &str = "SELECT id, jid, state, created_at, \
            (SELECT count(*) FROM device WHERE device.account = account.id) FROM account WHERE jid = $1";
        Box::pin(async move {
            let query = sqlx::query_as::<_, SummaryRow>(SUMMARY).bind(jid.as_str());
            let row = async |connection: &mut AnyConnection| {
                query.fetch_optional(connection).await.map_err(read_error)
            };
            self.shared.database.read(row).await?.map(summary).transpose()
        })
    }

    fn list<'a>(
        &'a self,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AccountSummary>, StoreError>> {
        const LIST: &str = "SELECT id, jid, state, created_at, \
            (SELECT count(*) FROM device WHERE device.account = account.id) \
            FROM account WHERE jid > $1 AND jid LIKE '%@%' ORDER BY jid LIMIT $2";
        Box::pin(async move {
            let query = sqlx::query_as::<_, SummaryRow>(LIST)
                .bind(after.map_or("", BareJid::as_str))
                .bind(i64::try_from(limit).unwrap_or(i64::MAX));
            let rows =
                async |connection: &mut AnyConnection| query.fetch_all(connection).await.map_err(read_error);
            self.shared.database.read(rows).await?.into_iter().map(summary).collect()
        })
    }

    fn credential<'a>(
        &'a self,
        jid: &'a BareJid,
        family: &'a str,
    ) -> BoxFuture<'a, Result<Option<Credential>, StoreError>> {
        const CREDENTIAL: &str = "SELECT credential.value, account.state, account.passwords FROM account \
            JOIN credential ON credential.account = account.id WHERE jid = $1 AND family = $2";
        Box::pin(async move {
            let query = sqlx::query_as::<_, (String, i64, i64)>(CREDENTIAL).bind(jid.as_str()).bind(family);
            let row = async |connection: &mut AnyConnection| {
                query.fetch_optional(connection).await.map_err(read_error)
            };
            let row = self.shared.database.read(row).await?;
            let read =
                |(text, state, passwords)| Ok(Credential { text, state: account_state(state)?, passwords });
            row.map(read).transpose()
        })
    }

    fn set_credentials<'a>(
        &'a self,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<i64, StoreError>> {
        const COUNT: &str =
            "UPDATE account SET passwords = passwords + 1 WHERE jid = $1 RETURNING id, passwords";
        const FORGET: &str = "DELETE FROM credential WHERE account = $1";
        Box::pin(self.shared.write(async move |connection| {
            let mut transaction = connection.begin().await.map_err(read_error)?;
            let count = sqlx::query_as::<_, (i64, i64)>(COUNT).bind(jid.as_str());
            let row = count.fetch_optional(&mut *transaction).await.map_err(read_error)?;
            let (id, passwords) = row.ok_or(StoreError::NotFound)?;
            sqlx::query(FORGET).bind(id).execute(&mut *transaction).await.map_err(read_error)?;
            put_credentials(&mut transaction, id, credentials).await.map_err(read_error)?;
            transaction.commit().await.map_err(read_error)?;
            Ok(passwords)
        }))
    }

    fn device<'a>(
        &'a self,
        jid: &'a BareJid,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<OwnDevice>, StoreError>> {
        const FIND: &str = "SELECT account.id, coalesce(device.id, 0), coalesce(device.cursor, 0), \
            coalesce(device.pages_archive, 0), coalesce(device.last_seen, 0), coalesce(access.value, '') \
            FROM account LEFT JOIN device ON device.account = account.id AND device.key = $2 \
            LEFT JOIN access ON access.device = device.id WHERE account.jid = $1 LIMIT 1";
        Box::pin(async move {
            let query = sqlx::query_as::<_, (i64, i64, i64, i64, i64, String)>(FIND);
            let query = query.bind(jid.as_str()).bind(storable(key).into_owned());
            let row = async |connection: &mut AnyConnection| {
                query.fetch_optional(connection).await.map_err(read_error)
            };
            let Some(row) = self.shared.database.read(row).await? else { return Ok(None) };
            let (owner, id, cursor, pages_archive, last_seen, access) = row;
            let device = (id != 0).then(|| {
                let access = (!access.is_empty()).then(|| access::unpack(&access)).transpose()?;
                Ok::<_, StoreError>(DeviceRecord {
                    id: DeviceId(id),
                    key: key.into(),
                    cursor: LogPosition(cursor),
                    pages_archive: pages_archive != 0,
                    last_seen,
                    access: access.map(Arc::new),
                })
            });
            Ok(Some((AccountId(owner), device.transpose()?)))
        })
    }

    fn acquainted<'a>(&'a self, contact: &'a BareJid) -> BoxFuture<'a, Result<Vec<BareJid>, StoreError>> {
        const FIND: &str = "SELECT account.jid, roster.item FROM roster \
            JOIN account ON account.id = roster.account WHERE roster.jid = $1";
        Box::pin(async move {
            let query = sqlx::query_as::<_, (String, String)>(FIND).bind(contact.as_str());
            let rows =
                async |connection: &mut AnyConnection| query.fetch_all(connection).await.map_err(read_error);
            let rows = self.shared.database.read(rows).await?;
            // One that cannot be read may say anything.
            let says_more = |item: &str| {
                let item = unpack_item(contact.clone(), &mut Unpacker::new(item));
                item.map_or(true, |item| item.state != SubscriptionState::default())
            };
            rows.into_iter().filter(|(_, item)| says_more(item)).map(|(owner, _)| self::jid(&owner)).collect()
        })
    }

    fn set_state<'a>(
        &'a self,
        jid: &'a BareJid,
        state: AccountState,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        const SET: &str = "UPDATE account SET state = $2 WHERE jid = $1";
        Box::pin(self.shared.write(async move |connection| {
            let set = sqlx::query(SET).bind(jid.as_str()).bind(match state {
                AccountState::Enabled => 0_i64,
                AccountState::Disabled => 1,
            });
            let result = set.execute(connection).await.map_err(read_error)?;
            if result.rows_affected() == 0 { Err(StoreError::NotFound) } else { Ok(()) }
        }))
    }

    fn delete<'a>(&'a self, jid: &'a BareJid) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(delete(&self.shared, jid))
    }

    fn secret<'a>(&'a self, name: &'a str, make: [u8; 32]) -> BoxFuture<'a, Result<[u8; 32], StoreError>> {
        Box::pin(self.shared.write(async move |connection| secret(connection, name, make).await))
    }
}

type SummaryRow = (i64, String, i64, i64, i64);

fn summary((id, name, state, created_at, devices): SummaryRow) -> Result<AccountSummary, StoreError> {
    let (id, jid, state) = (AccountId(id), jid(&name)?, account_state(state)?);
    Ok(AccountSummary { id, jid, state, created_at, devices: u32::try_from(devices).unwrap_or(u32::MAX) })
}

fn account_state(state: i64) -> Result<AccountState, StoreError> {
    match state {
        0 => Ok(AccountState::Enabled),
        1 => Ok(AccountState::Disabled),
        _ => Err(StoreError::Corrupt(format!("an account in state {state}"))),
    }
}

/// An address that was stored.
pub(super) fn jid(text: &str) -> Result<BareJid, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("an account or contact without a valid address".to_owned()))
}

/// Creates an account whose name looks like no other, in the transaction that is open, if one is.
pub(super) async fn insert_distinct(
    connection: &mut AnyConnection,
    hasher: Hasher,
    jid: &BareJid,
    credentials: &[(String, String)],
    now_micros: i64,
) -> Result<AccountId, StoreError> {
    let likeness = names::likeness(hasher, jid);
    if let Some(other) = names::alike(connection, jid, likeness).await? {
        return Err(StoreError::Alike(other));
    }
    names::check_free(connection, jid, Some(likeness), now_micros).await?;
    insert(connection, jid, likeness, credentials, now_micros).await
}

async fn insert(
    connection: &mut AnyConnection,
    jid: &BareJid,
    likeness: i64,
    credentials: &[(String, String)],
    now_micros: i64,
) -> Result<AccountId, StoreError> {
    const CREATE: &str = "INSERT INTO account (jid, state, created_at, likeness) VALUES ($1, 0, $2, $3) \
        ON CONFLICT (jid) DO NOTHING RETURNING id";
    let mut transaction = connection.begin().await.map_err(read_error)?;
    let create = sqlx::query_scalar::<_, i64>(CREATE).bind(jid.as_str()).bind(now_micros).bind(likeness);
    let id = create.fetch_optional(&mut *transaction).await.map_err(read_error)?;
    let id = id.ok_or(StoreError::Exists)?;
    put_credentials(&mut transaction, id, credentials).await.map_err(read_error)?;
    transaction.commit().await.map_err(read_error)?;
    Ok(AccountId(id))
}

async fn number_of(connection: &mut AnyConnection, jid: &BareJid) -> Result<i64, StoreError> {
    const NUMBER: &str = "SELECT id FROM account WHERE jid = $1";
    let query = sqlx::query_scalar(NUMBER).bind(jid.as_str());
    query.fetch_optional(connection).await.map_err(read_error)?.ok_or(StoreError::NotFound)
}

async fn put_credentials(
    connection: &mut AnyConnection,
    account: i64,
    credentials: &[(String, String)],
) -> sqlx::Result<()> {
    const PUT: &str = "INSERT INTO credential (account, family, value) VALUES ($1, $2, $3) \
        ON CONFLICT (account, family) DO UPDATE SET value = excluded.value";
    for (family, value) in credentials {
        let put = sqlx::query(PUT)
            .bind(account)
            .bind(storable(family).into_owned())
            .bind(storable(value).into_owned());
        put.execute(&mut *connection).await?;
    }
    Ok(())
}

/// A secret, stored when it is first asked for.
pub(super) async fn secret(
    connection: &mut AnyConnection,
    name: &str,
    make: [u8; 32],
) -> Result<[u8; 32], StoreError> {
    const SECRET: &str = "SELECT value FROM secret WHERE name = $1";
    const MAKE: &str = "INSERT INTO secret (name, value) VALUES ($1, $2)";
    let query = sqlx::query_scalar::<_, String>(SECRET).bind(name);
    if let Some(digits) = query.fetch_optional(&mut *connection).await.map_err(read_error)? {
        return from_digits(&digits).ok_or_else(|| StoreError::Corrupt(format!("the secret {name}")));
    }
    let make_it = sqlx::query(MAKE).bind(name).bind(to_digits(&make));
    make_it.execute(connection).await.map_err(read_error)?;
    Ok(make)
}

fn to_digits(secret: &[u8; 32]) -> String {
    secret.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

fn from_digits(digits: &str) -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    for (byte, start) in secret.iter_mut().zip((0..64_usize).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(start..start.checked_add(2)?)?, 16).ok()?;
    }
    Some(secret)
}

/// What [`load`] reads in one row: number, state and changes of the password, the highest positions by the index of archived and of
/// waiting entries, by delivery, by purging and by publishing, then packed: roster, devices, sessions, recent
/// fingerprints (with their sessions, which nobody asks for where no session is left), documents.
type LoadRow = (i64, i64, i64, i64, i64, i64, i64, i64, String, String, String, String, String);

/// Among how many entries the recent fingerprints are looked for. A repetition follows its original soon.
const RECENT_SCANNED: usize = 2 * RECENT_FINGERPRINTS;

/// Account $1, watermark $2; the kinds of documents follow.
fn load_sql(kinds: usize) -> String {
    const LOAD: &str = "\
        SELECT a.id, a.state, a.passwords, \
        coalesce((SELECT position FROM log WHERE account = a.id ORDER BY position DESC LIMIT 1), 0), \
        coalesce((SELECT position FROM waiting WHERE account = a.id ORDER BY position DESC LIMIT 1), 0), \
        coalesce((SELECT delivered FROM mark WHERE account = a.id), 0), \
        coalesce((SELECT purged FROM mark WHERE account = a.id), 0), \
        coalesce((SELECT published FROM mark WHERE account = a.id), 0), \
        coalesce((SELECT string_agg(concat(octet_length(jid), ':', jid, item), '') \
            FROM roster WHERE account = a.id), ''), \
        coalesce((SELECT string_agg(concat(id, ';', octet_length(key), ':', key, cursor, ';', \
            pages_archive, ';', last_seen, ';', coalesce(octet_length(access.value), -1), ':', access.value), '') \
            FROM device LEFT JOIN access ON access.device = device.id WHERE account = a.id), ''), \
        coalesce((SELECT string_agg(concat(id, ';', device, ';', octet_length(resource), ':', resource, \
            handled, ';', coalesce(octet_length(snapshot), -1), ':', snapshot), '') \
            FROM session WHERE account = a.id), ''), \
        coalesce((SELECT string_agg(concat(CASE WHEN EXISTS (SELECT 1 FROM session WHERE account = a.id) \
            THEN (SELECT session FROM message WHERE id = last.message) ELSE 0 END, ';', fingerprint, ';'), \
            '' ORDER BY position) FROM ( \
            SELECT position, fingerprint, message FROM log WHERE account = a.id AND message <= $2 UNION ALL \
            SELECT position, fingerprint, message FROM waiting WHERE account = a.id AND message <= $2 \
            AND position > coalesce((SELECT delivered FROM mark WHERE account = a.id), 0) \
            ORDER BY position DESC LIMIT {scanned}) AS last WHERE fingerprint <> 0), ''), ";
    const DOCUMENTS: &str = "\
        coalesce((SELECT string_agg(concat(octet_length(kind), ':', kind, octet_length(key), ':', key, \
            octet_length(value), ':', value), '') FROM document WHERE account = a.id AND kind IN ({kinds})), '')";
    let named: Vec<String> = (3..kinds.saturating_add(3)).map(|number| format!("${number}")).collect();
    let documents =
        if kinds == 0 { "''".to_owned() } else { DOCUMENTS.replace("{kinds}", &named.join(", ")) };
    let load = LOAD.replace("{scanned}", &RECENT_SCANNED.to_string());
    format!("{load}{documents} FROM account AS a WHERE a.jid = $1")
}

async fn load(
    shared: &Shared,
    jid: &BareJid,
    kinds: &[&'static str],
) -> Result<Option<AccountData>, StoreError> {
    loop {
        let watermark = shared.tail().watermark;
        // Bound: the address, the watermark and the kinds of documents; the text has their number only.
        let query = sqlx::query_as(composed(load_sql(kinds.len()))).bind(jid.as_str()).bind(watermark);
        let query = kinds.iter().fold(query, |query, kind| query.bind(*kind));
        let row =
            async |connection: &mut AnyConnection| query.fetch_optional(connection).await.map_err(read_error);
        let row: Option<LoadRow> = shared.database.read(row).await?;
        let Some(row) = row else { return Ok(None) };
        let tail = shared.tail();
        // What the indexer has moved meanwhile is in neither: read again.
        if tail.watermark == watermark {
            return data(jid, row, &tail).map(Some);
        }
    }
}

fn data(jid: &BareJid, row: LoadRow, tail: &Tail) -> Result<AccountData, StoreError> {
    let (
        id,
        state,
        passwords,
        archived,
        waiting,
        delivered,
        purged,
        published,
        roster,
        devices,
        sessions,
        recent,
        documents,
    ) = row;
    let id = AccountId(id);
    let unindexed = tail.rows(id);
    let last = unindexed.last().map_or(0, |row| row.position);
    let unindexed_waiting = unindexed.iter().rev().find(|row| row.waits).map_or(0, |row| row.position);
    let newest_waiting = waiting.max(unindexed_waiting);
    let newest_waiting = if newest_waiting > delivered { newest_waiting } else { 0 };
    let head = [archived, waiting, delivered, purged, published, last].into_iter().max();
    let sessions = Unpacker::new(&sessions).all(|packed| session(packed, tail))?;
    let mut recent =
        Unpacker::new(&recent).all(|packed| Ok((SessionId(packed.number()?), packed.number()?)))?;
    let unindexed_own = unindexed.iter().filter(|row| row.fingerprint != 0);
    recent.extend(unindexed_own.map(|row| (SessionId(row.session), row.fingerprint)));
    recent.drain(..recent.len().saturating_sub(RECENT_FINGERPRINTS));
    for (sender, _) in &mut recent {
        if !sessions.iter().any(|session| session.id == *sender) {
            *sender = SessionId(0);
        }
    }
    Ok(AccountData {
        id,
        jid: jid.clone(),
        state: account_state(state)?,
        passwords,
        head: LogPosition(head.unwrap_or(0)),
        waiting: LogPosition(newest_waiting),
        roster: Unpacker::new(&roster).all(|packed| {
            let contact = self::jid(packed.text()?)?;
            unpack_item(contact, packed)
        })?,
        devices: Unpacker::new(&devices).all(device)?,
        sessions,
        documents: Unpacker::new(&documents).all(document)?,
        recent,
    })
}

fn device(packed: &mut Unpacker<'_>) -> Result<DeviceRecord, StoreError> {
    Ok(DeviceRecord {
        id: DeviceId(packed.number()?),
        key: packed.text()?.into(),
        cursor: LogPosition(packed.number()?),
        pages_archive: flag(packed)?,
        last_seen: packed.number()?,
        access: packed.text_or_none()?.map(access::unpack).transpose()?.map(Arc::new),
    })
}

fn session(packed: &mut Unpacker<'_>, tail: &Tail) -> Result<SessionRecord, StoreError> {
    let id = SessionId(packed.number()?);
    Ok(SessionRecord {
        id,
        device: DeviceId(packed.number()?),
        resource: packed.text()?.into(),
        handled: packed.number::<u32>()?.max(tail.handled(id)),
        snapshot: packed.text_or_none()?.map(ToOwned::to_owned),
    })
}

fn document(packed: &mut Unpacker<'_>) -> Result<Document, StoreError> {
    Ok(Document { kind: packed.text()?.into(), key: packed.text()?.into(), value: packed.text()?.to_owned() })
}

/// Entries of a deleted account that go in one transaction. Tests want many.
const FORGOTTEN_MAX: usize = if cfg!(test) { 4 } else { 2_000 };

/// Removes an account: its log first, in steps, so that a failure half-way leaves an account that can be
/// deleted again.
async fn delete(shared: &Shared, jid: &BareJid) -> Result<(), StoreError> {
    let id = shared.write(async |connection| number_of(connection, jid).await).await?;
    purge::purge(shared, Some(AccountId(id)), LogPosition(i64::MAX)).await?;
    let _settled = indexer::settle(shared).await.map_err(CommitError::into_store)?;
    while shared.write(async |connection| forget_some(connection, shared.database.kind, id).await).await? {}
    let work = async |connection: &mut AnyConnection| {
        let mut transaction = connection.begin().await.map_err(read_error)?;
        remove(&mut transaction, id).await.map_err(read_error)?;
        remove_words(&mut transaction, jid).await.map_err(read_error)?;
        transaction.commit().await.map_err(read_error)
    };
    shared.write(work).await
}

/// Removes some of the entries that wait for delivery. Whether there may be more.
async fn forget_some(connection: &mut AnyConnection, kind: Kind, account: i64) -> Result<bool, StoreError> {
    let (account, upto) = (AccountId(account), LogPosition(i64::MAX));
    let mut transaction = connection.begin().await.map_err(read_error)?;
    let messages =
        remove_waiting(&mut transaction, account, upto, FORGOTTEN_MAX).await.map_err(read_error)?;
    remove_unreferenced(&mut transaction, kind, &messages).await.map_err(read_error)?;
    transaction.commit().await.map_err(read_error)?;
    Ok(messages.len() >= FORGOTTEN_MAX)
}

/// Removes what an account has given to others: invitations, and reports.
async fn remove_words(connection: &mut AnyConnection, jid: &BareJid) -> sqlx::Result<()> {
    const WORDS: [&str; 2] =
        ["DELETE FROM invitation WHERE inviter = $1 OR maker = $1", "DELETE FROM report WHERE reporter = $1"];
    for statement in WORDS {
        sqlx::query(statement).bind(jid.as_str()).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Removes all of an account but its entries.
async fn remove(connection: &mut AnyConnection, account: i64) -> sqlx::Result<()> {
    const REST: [&str; 10] = [
        "DELETE FROM conversation WHERE account = $1",
        "DELETE FROM displayed WHERE account = $1",
        "DELETE FROM item WHERE account = $1",
        "DELETE FROM mark WHERE account = $1",
        "DELETE FROM session WHERE account = $1",
        "DELETE FROM access WHERE device IN (SELECT id FROM device WHERE account = $1)",
        "DELETE FROM device WHERE account = $1",
        "DELETE FROM document WHERE account = $1",
        "DELETE FROM roster WHERE account = $1",
        // And with it its credentials.
        "DELETE FROM account WHERE id = $1",
    ];
    for statement in REST {
        sqlx::query(statement).bind(account).execute(&mut *connection).await?;
    }
    Ok(())
}
