//! The store on a database: one implementation for SQLite and PostgreSQL, in SQL that both speak.
//!
//! A commit appends messages to one table and does no more for their logs. The writer task
//! ([`writer`]) drains the queue ([`queue`]), brings a batch into the form of one statement for each table
//! ([`plan`]) and commits it. The indexer ([`indexer`]) fills the per-account index behind it; until then the
//! entries are in the tail ([`tail`]), in memory. A reader merges both ([`page`]).

mod accounts;
mod bulk;
mod commit;
mod database;
mod documents;
mod error;
mod inbox;
mod index;
mod indexer;
mod invitations;
mod log;
mod look;
mod message;
mod migrations;
mod names;
mod nodes;
mod page;
mod plan;
mod postgres_url;
mod publish;
mod purge;
mod queue;
mod recovery;
mod removal;
mod reports;
mod retract;
mod sessions;
mod tail;
#[cfg(test)]
mod tests;
mod tls;
mod writer;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use sqlx::AnyConnection;
use tokio::task::JoinHandle;
use unisono_core::ids::Ticket;
use unisono_core::storage::{BoxFuture, Commit, Journal, StoreError};

use crate::durability::Durability;
use crate::hash::Hasher;
use database::{ANSWER_MAX, Database};
use indexer::Job;
use queue::Queue;
use tail::Tail;
use writer::Writer;

pub use look::{Look, look};
pub use postgres_url::{PostgresUrl, SslMode};

/// A store on SQLite or PostgreSQL. Dropped without [`SqlStore::close`] it ends like a crash: what is not
/// durable is gone.
pub struct SqlStore {
    shared: Arc<Shared>,
    writer: std::sync::Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    database: Database,
    hasher: Hasher,
    queue: Queue,
    durability: Durability,
    tail: RwLock<Tail>,
    /// What is being indexed. Taken before `writer`.
    indexing: tokio::sync::Mutex<Option<Job>>,
    /// The one connection that writes. Whoever holds it writes alone.
    writer: tokio::sync::Mutex<Writer>,
}

impl Shared {
    fn tail(&self) -> RwLockReadGuard<'_, Tail> {
        self.tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something alone on the connection that writes.
    async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.alone(async |connection, _| work(connection).await).await
    }

    /// The same for who numbers messages: with the number of the next one. The connection is out of its place
    /// meanwhile, so that work which is given up leaves none behind in the middle of a transaction.
    async fn alone<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut AnyConnection, &mut i64) -> Result<T, E>,
    ) -> Result<T, E> {
        let work = async {
            let mut writer = self.writer.lock().await;
            let mut connection = match writer.connection.take() {
                Some(connection) => connection,
                None => self.database.connect_writer().await?,
            };
            let result = work(&mut connection, &mut writer.next).await;
            if result.is_ok() || writer::is_usable(&mut connection).await {
                writer.connection = Some(connection);
            }
            result
        };
        self.database.answered(work).await
    }

    fn tail_mut(&self) -> RwLockWriteGuard<'_, Tail> {
        self.tail.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SqlStore {
    /// Opens `sqlite:PATH` (created if it is not there) or `postgres://…`, brings its schema up to date,
    /// indexes what a crash left unindexed, and starts the writer on the current tokio runtime.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_answering(url, ANSWER_MAX).await
    }

    /// The same with a database server that has `answer_max` for each piece of work.
    async fn open_answering(url: &str, answer_max: Duration) -> Result<Self, StoreError> {
        let database = Database::find(url, answer_max).await?;
        let mut connection = database.answered(database.connect_writer()).await?;
        migrations::migrate(&mut connection, database.kind).await?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let key = accounts::secret(&mut connection, "store.hash", key).await?;
        let hasher = Hasher::new(&key);
        names::check(&mut connection, hasher).await?;
        let extent = recovery::extent(&mut connection).await?;
        let next = extent.newest.saturating_add(1);
        let shared = Arc::new(Shared {
            database,
            hasher,
            queue: Queue::default(),
            durability: Durability::default(),
            tail: RwLock::new(Tail::indexed_upto(extent.watermark)),
            indexing: tokio::sync::Mutex::default(),
            writer: tokio::sync::Mutex::new(Writer { connection: Some(connection), next }),
        });
        recovery::recover(&shared, extent).await?;
        let writer = tokio::spawn(writer::run(Arc::clone(&shared)));
        Ok(Self { shared, writer: std::sync::Mutex::new(Some(writer)) })
    }

    /// Writes and indexes what waits, and closes all connections. While commits fail it gives up what
    /// waits: none of it was acknowledged.
    pub async fn close(&self) {
        self.shared.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && let Err(error) = writer.await
        {
            tracing::error!(%error, "the writer of the store ended early");
        }
        writer::close(&self.shared).await;
        self.shared.database.close().await;
    }
}

impl Drop for SqlStore {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            writer.abort();
        }
    }
}

impl Journal for SqlStore {
    fn submit(&self, commit: Commit) -> Ticket {
        self.shared.queue.push(commit)
    }

    fn submit_later(&self, commit: Commit) -> Ticket {
        self.shared.queue.push_quietly(commit)
    }

    fn flush(&self) {
        self.shared.queue.flush();
    }

    fn durable(&self) -> Ticket {
        self.shared.durability.durable()
    }

    fn wait(&self, ticket: Ticket) -> BoxFuture<'_, ()> {
        self.shared.durability.wait(ticket)
    }

    fn failing(&self) -> Option<String> {
        self.shared.queue.failing()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(Self::close(self))
    }
}

#[cfg(test)]
pub(crate) use tests::{index_now, index_step, stored_messages};
