//! Looking at a database without changing it: nothing is created, locked for others, or migrated.

use std::fs::{File, TryLockError};
use std::io;

use sqlx::any::{AnyConnectOptions, install_default_drivers};
use sqlx::{AnyConnection, ConnectOptions as _, Connection as _};
use tokio::time::timeout;
use unisono_core::storage::StoreError;

use super::database::{
    ANSWER_MAX, Kind, POSTGRES_LOCK, absolute, in_use, lock_name, sqlite_url, unavailable,
};
use super::error::read_error;
use super::migrations;

/// What a look at a database shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// The version of its schema; 0 if it has none of ours yet.
    pub found: i64,
    /// The version that this program needs. A lower one is migrated when the store is opened, a higher one is an
    /// error then.
    pub needed: i64,
}

/// Looks at `sqlite:PATH`, which must be there, or `postgres://…`. Fails if the database cannot be read, or another
/// process has taken it.
pub async fn look(url: &str) -> Result<Look, StoreError> {
    install_default_drivers();
    let (kind, url) = match url.strip_prefix("sqlite:") {
        Some(path) => {
            let path = absolute(path)?;
            // SQLite would find out later, and say less.
            File::open(&path).map_err(|error| unavailable(&path, &error))?;
            let name = lock_name(&path);
            match File::open(&name) {
                Ok(lock) => match lock.try_lock_shared() {
                    Ok(()) => {}
                    Err(TryLockError::WouldBlock) => return Err(in_use(&path.display().to_string())),
                    Err(TryLockError::Error(error)) => return Err(unavailable(&name, &error)),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unavailable(&name, &error)),
            }
            (Kind::Sqlite, format!("{}?mode=ro", sqlite_url(&path)))
        }
        None => (Kind::Postgres, url.to_owned()),
    };
    let options = url.parse::<AnyConnectOptions>().map_err(read_error)?.disable_statement_logging();
    let look = async {
        let mut connection = options.connect().await.map_err(read_error)?;
        let found = version(&mut connection, kind).await;
        // Whether it closes well does not matter: nothing was written.
        let _closed = connection.close().await;
        Ok(Look { found: found?, needed: migrations::newest() })
    };
    let silent = |_| Err(StoreError::Unavailable("the database does not answer".to_owned()));
    timeout(ANSWER_MAX, look).await.unwrap_or_else(silent)
}

async fn version(connection: &mut AnyConnection, kind: Kind) -> Result<i64, StoreError> {
    const TRY_LOCK: &str =
        "SELECT CASE WHEN pg_try_advisory_lock_shared($1) THEN 1::BIGINT ELSE 0::BIGINT END";
    const SQLITE: &str = "SELECT count(*) FROM sqlite_master WHERE name = 'schema_version'";
    const POSTGRES: &str =
        "SELECT CASE WHEN to_regclass('schema_version') IS NULL THEN 0::BIGINT ELSE 1::BIGINT END";
    let is_there = match kind {
        Kind::Sqlite => SQLITE,
        Kind::Postgres => {
            let taken = sqlx::query_scalar::<_, i64>(TRY_LOCK).bind(POSTGRES_LOCK);
            if taken.fetch_one(&mut *connection).await.map_err(read_error)? == 0 {
                return Err(in_use("this database"));
            }
            POSTGRES
        }
    };
    let is_there: i64 = sqlx::query_scalar(is_there).fetch_one(&mut *connection).await.map_err(read_error)?;
    if is_there == 0 {
        return Ok(0);
    }
    migrations::current(connection).await
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use sqlx::Executor as _;

    use super::super::SqlStore;
    use super::super::database::composed;
    use super::*;

    /// What is in the files of a folder, but for what SQLite keeps there while it reads.
    fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let all = files.map(|path| (name(&path), fs::read(&path).unwrap()));
        all.filter(|(name, _)| !name.ends_with("-shm") && !name.ends_with("-wal")).collect()
    }

    async fn set_version(url: &str, version: i64) {
        let store = SqlStore::open(url).await.unwrap();
        let sql = format!("INSERT INTO schema_version (version) VALUES ({version})");
        let set = async |connection: &mut AnyConnection| {
            connection.execute(sqlx::raw_sql(composed(sql))).await.map_err(read_error)
        };
        store.shared.write(set).await.unwrap();
        store.close().await;
    }

    async fn look_before_and_after(url: &str) {
        let needed = migrations::newest();
        assert_eq!(look(url).await.unwrap(), Look { found: 0, needed });
        let store = SqlStore::open(url).await.unwrap();
        let error = look(url).await.unwrap_err().to_string();
        assert!(error.contains("another process uses"), "{error}");
        store.close().await;
        assert_eq!(look(url).await.unwrap(), Look { found: needed, needed });
        set_version(url, needed + 1).await;
        assert_eq!(look(url).await.unwrap(), Look { found: needed + 1, needed });
    }

    #[tokio::test]
    async fn a_look_at_sqlite_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b%.db");
        let url = format!("sqlite:{}", path.display());
        let error = look(&url).await.unwrap_err().to_string();
        assert!(error.contains("a b%.db: No such file"), "{error}");
        assert!(contents(folder.path()).is_empty());
        fs::write(&path, "").unwrap();
        look_before_and_after(&url).await;
        let before = contents(folder.path());
        look(&url).await.unwrap();
        assert_eq!(contents(folder.path()), before);
        fs::write(&path, "this is no database, and long enough to be none. ".repeat(20)).unwrap();
        let error = look(&url).await.unwrap_err().to_string();
        assert!(error.contains("not a database"), "{error}");
    }

    #[tokio::test]
    async fn a_look_at_postgres_changes_nothing() {
        if let Some(url) = crate::testing::postgres_database().await {
            look_before_and_after(&url).await;
        }
    }
}
