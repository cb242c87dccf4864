//! Connections: one that writes, and a few that read.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, install_default_drivers};
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use unisono_core::storage::StoreError;

use super::error::read_error;

/// Which database speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

/// Connections that read at the same time. More reads wait.
const READERS: usize = 8;
/// How long a database server may take for one piece of work. SQLite works in this process: how long it takes is up to
/// the disk. A server may be out of reach without a word.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long another owner's lock on the database is waited for: a process that ends needs a moment.
const LOCK_WAIT: Duration = Duration::from_secs(3);
/// The advisory lock of PostgreSQL that the one writer holds: "unisono" in ASCII.
pub(super) const POSTGRES_LOCK: i64 = 0x75_6e_69_73_6f_6e_6f;

/// A database, and its idle connections.
pub(super) struct Database {
    pub(super) kind: Kind,
    options: AnyConnectOptions,
    answer_max: Duration,
    idle: Mutex<Vec<AnyConnection>>,
    readers: Semaphore,
    /// Held until the store is closed, so that no second process writes to the same file.
    lock: Mutex<Option<File>>,
}

impl Database {
    /// Finds the database, creates an SQLite file that is not there, and takes it for this process. A server has
    /// `answer_max` for each piece of work.
    pub(super) async fn find(url: &str, answer_max: Duration) -> Result<Self, StoreError> {
        install_default_drivers();
        let (kind, url, lock) = match url.strip_prefix("sqlite:") {
            Some(path) => {
                let path = absolute(path)?;
                let lock = lock_file(&path).await?;
                create_private(&path)?;
                (Kind::Sqlite, Cow::Owned(sqlite_url(&path)), Some(lock))
            }
            None => (Kind::Postgres, Cow::Borrowed(url), None),
        };
        let options = url.parse::<AnyConnectOptions>().map_err(read_error)?.disable_statement_logging();
        let answer_max = if kind == Kind::Postgres { answer_max } else { Duration::MAX };
        let (idle, readers) = (Mutex::default(), Semaphore::new(READERS));
        Ok(Self { kind, options, answer_max, idle, readers, lock: Mutex::new(lock) })
    }

    /// Gives up on a database that does not answer in time. What it works on is dropped, so it must own its connection.
    pub(super) async fn answered<T, E: From<StoreError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let silent = |_| Err(StoreError::Unavailable("the database does not answer".to_owned()).into());
        timeout(self.answer_max, work).await.unwrap_or_else(silent)
    }

    /// Reads something, on a connection of its own.
    pub(super) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let read = async {
            let mut reader = self.reader().await?;
            let result = work(&mut reader.connection).await;
            reader.finish(result)
        };
        self.answered(read).await
    }

    /// A connection that writes. On PostgreSQL it holds the lock that keeps other servers off.
    pub(super) async fn connect_writer(&self) -> Result<AnyConnection, StoreError> {
        const TRY_LOCK: &str = "SELECT CASE WHEN pg_try_advisory_lock($1) THEN 1::BIGINT ELSE 0::BIGINT END";
        let mut connection = self.connect().await?;
        match self.kind {
            Kind::Sqlite => set(&mut connection, "PRAGMA cache_size = -32768").await?,
            Kind::Postgres => {
                // A server that a connection was lost to without a word finds out, and lets go of the lock.
                let settings = "SET synchronous_commit = on; SET tcp_keepalives_idle = 30; \
                                SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";
                set(&mut connection, settings).await?;
                needs_utf8(&mut connection).await?;
                let until = Instant::now().checked_add(LOCK_WAIT);
                loop {
                    let taken = sqlx::query_scalar::<_, i64>(TRY_LOCK).bind(POSTGRES_LOCK);
                    if taken.fetch_one(&mut connection).await.map_err(read_error)? == 1 {
                        break;
                    }
                    if until.is_none_or(|until| Instant::now() >= until) {
                        return Err(in_use("this database"));
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
        Ok(connection)
    }

    /// A connection that reads, for as long as the guard lives. Who uses it waits as long as it takes: see [`Self::read`].
    pub(super) async fn reader(&self) -> Result<Reader<'_>, StoreError> {
        let permit = self.readers.acquire().await;
        let permit = permit.map_err(|_| StoreError::Unavailable("the store is closed".to_owned()))?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(Reader { database: self, connection, _permit: permit })
    }

    /// Ends all reading, and lets others have the database.
    pub(super) async fn close(&self) {
        self.readers.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in idle {
            if let Err(error) = self.answered(async { connection.close().await.map_err(read_error) }).await {
                tracing::debug!(%error, "cannot close a connection");
            }
        }
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    async fn connect(&self) -> Result<AnyConnection, StoreError> {
        let mut connection = self.options.connect().await.map_err(read_error)?;
        if self.kind == Kind::Sqlite {
            // FULL: a commit survives a loss of power, also in write-ahead mode.
            let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; \
                           PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -4096";
            set(&mut connection, pragmas).await?;
        }
        Ok(connection)
    }
}

/// A connection that reads. It goes back to the idle ones with [`Reader::finish`]; one that failed, or
/// whose reader was dropped half-way, is closed.
pub(super) struct Reader<'a> {
    database: &'a Database,
    pub(super) connection: AnyConnection,
    _permit: tokio::sync::SemaphorePermit<'a>,
}

impl Reader<'_> {
    /// Ends the reading, with its result.
    pub(super) fn finish<T>(self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if !matches!(result, Err(StoreError::Unavailable(_))) {
            self.database.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.connection);
        }
        result
    }
}

async fn set(connection: &mut AnyConnection, statement: &'static str) -> Result<(), StoreError> {
    connection.execute(sqlx::raw_sql(statement)).await.map_err(read_error)?;
    Ok(())
}

/// Lengths and hashes are those of UTF-8 on both sides.
async fn needs_utf8(connection: &mut AnyConnection) -> Result<(), StoreError> {
    const ENCODING: &str =
        "SELECT pg_encoding_to_char(encoding)::TEXT FROM pg_database WHERE datname = current_database()";
    let encoding: String = sqlx::query_scalar(ENCODING).fetch_one(connection).await.map_err(read_error)?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!(
        "the database's encoding is {encoding}; create it with `createdb --encoding=UTF8 --template=template0`"
    )))
}

pub(super) fn absolute(path: &str) -> Result<PathBuf, StoreError> {
    let path = path.strip_prefix("//").unwrap_or(path);
    std::path::absolute(path).map_err(|error| unavailable(Path::new(path), &error))
}

/// One process at a time: two writers would number messages alike.
async fn lock_file(path: &Path) -> Result<File, StoreError> {
    let name = lock_name(path);
    let file = private().open(&name).map_err(|error| unavailable(&name, &error))?;
    let until = Instant::now().checked_add(LOCK_WAIT);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(unavailable(&name, &error)),
            Err(TryLockError::WouldBlock) if until.is_none_or(|until| Instant::now() >= until) => {
                return Err(in_use(&path.display().to_string()));
            }
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The file beside a database whose lock keeps other processes off.
pub(super) fn lock_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// The file holds credentials: nobody but its owner reads it. SQLite gives its other files the same mode.
fn create_private(path: &Path) -> Result<(), StoreError> {
    private().open(path).map(drop).map_err(|error| unavailable(path, &error))
}

fn private() -> fs::OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The driver decodes `%` in the path.
pub(super) fn sqlite_url(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for byte in path.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

pub(super) fn unavailable(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

pub(super) fn in_use(what: &str) -> StoreError {
    StoreError::Unavailable(format!("another process uses {what}"))
}

/// A statement that is put together from our own constants; values are bound, never written into it.
pub(super) fn composed<T>(sql: T) -> AssertSqlSafe<T> {
    AssertSqlSafe(sql)
}
