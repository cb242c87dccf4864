//! What the names of accounts look like, and whether they still are what they were.
//!
//! A name is mapped by the tables of Unicode before it is looked for. Should a program with other tables map it to
//! another one, its account would be there and nobody would find it. So the version of the tables is kept with the
//! data; where it has changed, all names are read once, and if one of them has changed as well, the store is not opened.

use sqlx::{AnyConnection, Connection as _};
use unisono_core::jid::{BareJid, unicode_tables};
use unisono_core::storage::StoreError;

use super::error::read_error;
use crate::hash::Hasher;

/// Names that are read at a time.
const STEP: i64 = 1_000;
/// Names that are told of at most.
const TOLD_MAX: usize = 5;

/// The hash of what `jid` looks like.
pub(super) fn likeness(hasher: Hasher, jid: &BareJid) -> i64 {
    hasher.hash(&jid.skeleton())
}

/// An account of another name that looks like `jid`, whose likeness is given.
pub(super) async fn alike(
    connection: &mut AnyConnection,
    jid: &BareJid,
    likeness: i64,
) -> Result<Option<BareJid>, StoreError> {
    const ALIKE: &str = "SELECT jid FROM account WHERE likeness = $1 AND jid <> $2 ORDER BY id";
    let query = sqlx::query_scalar::<_, String>(ALIKE).bind(likeness).bind(jid.as_str());
    let found = query.fetch_all(connection).await.map_err(read_error)?;
    let skeleton = jid.skeleton();
    Ok(found.iter().filter_map(|name| name.parse().ok()).find(|other: &BareJid| other.skeleton() == skeleton))
}

/// Whether no invitation keeps this name free for somebody else; with its likeness, nor one that looks like it.
pub(super) async fn check_free(
    connection: &mut AnyConnection,
    jid: &BareJid,
    likeness: Option<i64>,
    now_micros: i64,
) -> Result<(), StoreError> {
    const KEPT: &str = "SELECT account FROM invitation WHERE (account = $1 OR likeness = $2) AND account <> '' AND expires_at > $3";
    let query = sqlx::query_scalar::<_, String>(KEPT);
    // Where only the name matters, it alone is looked for: no other has its likeness and its skeleton.
    let query = query.bind(jid.as_str()).bind(likeness.unwrap_or(0)).bind(now_micros);
    let found = query.fetch_all(connection).await.map_err(read_error)?;
    let skeleton = jid.skeleton();
    let is_kept = |name: &String| {
        name == jid.as_str()
            || (likeness.is_some() && name.parse().is_ok_and(|other: BareJid| other.skeleton() == skeleton))
    };
    if found.iter().any(is_kept) { Err(StoreError::Reserved) } else { Ok(()) }
}

/// Looks at all names where the tables of Unicode are not those that they were read with last.
pub(super) async fn check(connection: &mut AnyConnection, hasher: Hasher) -> Result<(), StoreError> {
    const LAST: &str = "SELECT tables FROM unicode";
    const FORGET: &str = "DELETE FROM unicode";
    const REMEMBER: &str = "INSERT INTO unicode (tables) VALUES ($1)";
    let tables = unicode_tables();
    let last: Option<String> =
        sqlx::query_scalar(LAST).fetch_optional(&mut *connection).await.map_err(read_error)?;
    if last.as_ref() == Some(&tables) {
        return Ok(());
    }
    let mut transaction = connection.begin().await.map_err(read_error)?;
    let mut changes = Changes::default();
    let count = read_all(&mut transaction, hasher, &mut changes).await?;
    if changes.count > 0 {
        let before = last.map_or_else(String::new, |last| format!(", those were {last}"));
        let text = format!(
            "the tables of Unicode in this program are {tables}{before}, and they change the names of accounts: {}; \
             use the program that the store was opened with last, and delete these accounts with it or keep it",
            changes.told()
        );
        return Err(StoreError::Unavailable(text));
    }
    sqlx::query(FORGET).execute(&mut *transaction).await.map_err(read_error)?;
    sqlx::query(REMEMBER).bind(&tables).execute(&mut *transaction).await.map_err(read_error)?;
    transaction.commit().await.map_err(read_error)?;
    if count > 0 {
        tracing::info!(
            tables,
            accounts = count,
            "read the names of all accounts with other tables of Unicode"
        );
    }
    Ok(())
}

/// Names that are not what they were.
#[derive(Default)]
struct Changes {
    count: usize,
    first: Vec<String>,
}

impl Changes {
    fn add(&mut self, name: &str, now: Option<&BareJid>) {
        self.count = self.count.saturating_add(1);
        if self.first.len() < TOLD_MAX {
            self.first.push(match now {
                Some(now) => format!("{name} would be {now}"),
                None => format!("{name} would be no address"),
            });
        }
    }

    fn told(&self) -> String {
        let told = self.first.join(", ");
        match self.count.saturating_sub(self.first.len()) {
            0 => told,
            more => format!("{told}, and {more} more"),
        }
    }
}

/// Reads all names and stores what they look like. How many there are.
async fn read_all(
    connection: &mut AnyConnection,
    hasher: Hasher,
    changes: &mut Changes,
) -> Result<usize, StoreError> {
    const NAMES: &str = "SELECT id, jid FROM account WHERE id > $1 ORDER BY id LIMIT $2";
    const LIKENESS: &str = "UPDATE account SET likeness = $2 WHERE id = $1 AND likeness <> $2";
    let mut count: usize = 0;
    let mut after = 0;
    loop {
        let page = sqlx::query_as::<_, (i64, String)>(NAMES).bind(after).bind(STEP);
        let page = page.fetch_all(&mut *connection).await.map_err(read_error)?;
        let Some((last, _)) = page.last() else { return Ok(count) };
        after = *last;
        count = count.saturating_add(page.len());
        for (id, name) in &page {
            match name.parse::<BareJid>() {
                Ok(jid) if jid.as_str() == name => {
                    let update = sqlx::query(LIKENESS).bind(id).bind(likeness(hasher, &jid));
                    update.execute(&mut *connection).await.map_err(read_error)?;
                }
                other => changes.add(name, other.ok().as_ref()),
            }
        }
    }
}
