//! What every store must do: one suite, run against memory, SQLite and PostgreSQL, each test on a database
//! of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod accounts;
mod inbox;
mod invitations;
mod journal;
mod logs;
mod model;
mod nodes;
mod repetition;
mod retract;

use std::sync::Arc;

use tempfile::TempDir;
use unisono_core::ids::{AccountId, DeviceId, LogPosition, SessionId, Ticket};
use unisono_core::jid::BareJid;
use unisono_core::record::{Keep, MessageRecord, Origin, Payload, Place};
use unisono_core::stanza::MessageType;
use unisono_core::storage::{Commit, LogEntry, LogPage, LogQuery, Store, Write};

use crate::{MemoryStore, SqlStore, sql, testing};

/// Runs each of these functions against each store.
macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(crate::contract::Subject::memory()).await; })+
        }
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(crate::contract::Subject::sqlite().await).await; })+
        }
        mod postgres {
            $(#[tokio::test] async fn $name() {
                if let Some(subject) = crate::contract::Subject::postgres().await { super::$name(subject).await; }
            })+
        }
    };
}
use contract;

/// A store under test.
pub(crate) struct Subject {
    kind: Kind,
    place: Option<TempDir>,
    url: String,
}

enum Kind {
    Memory(Arc<MemoryStore>),
    Sql(Arc<SqlStore>),
}

impl Subject {
    pub(crate) fn memory() -> Self {
        Self { kind: Kind::Memory(Arc::default()), place: None, url: "memory:".to_owned() }
    }

    pub(crate) async fn sqlite() -> Self {
        let place = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", place.path().join("store.db").display());
        Self { kind: Kind::Sql(Arc::new(SqlStore::open(&url).await.unwrap())), place: Some(place), url }
    }

    pub(crate) async fn postgres() -> Option<Self> {
        let url = testing::postgres_database().await?;
        Some(Self { kind: Kind::Sql(Arc::new(SqlStore::open(&url).await.unwrap())), place: None, url })
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match &self.kind {
            Kind::Memory(store) => store.clone(),
            Kind::Sql(store) => store.clone(),
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where the files are.
    pub(crate) fn folder(&self) -> Option<&std::path::Path> {
        self.place.as_ref().map(TempDir::path)
    }

    pub(crate) fn sql(&self) -> Option<&Arc<SqlStore>> {
        match &self.kind {
            Kind::Memory(_) => None,
            Kind::Sql(store) => Some(store),
        }
    }

    /// Lets the indexer run, where there is one.
    pub(crate) async fn index(&self) {
        if let Kind::Sql(store) = &self.kind {
            sql::index_now(store).await;
        }
    }

    /// Lets the indexer do a part of its work.
    pub(crate) async fn index_some(&self) {
        if let Kind::Sql(store) = &self.kind {
            sql::index_step(store).await;
        }
    }

    /// Ends the store without a warning and opens it again.
    pub(crate) async fn crash(self) -> Self {
        let Self { kind, place, url } = self;
        let kind = match kind {
            Kind::Memory(store) => Kind::Memory(Arc::new(store.reopened())),
            Kind::Sql(store) => {
                assert_eq!(Arc::strong_count(&store), 1, "somebody still holds the store");
                drop(store);
                Kind::Sql(Arc::new(SqlStore::open(&url).await.unwrap()))
            }
        };
        Self { kind, place, url }
    }

    pub(crate) async fn account(&self, name: &str) -> AccountId {
        self.store().create(&jid(name), &[], 1).await.unwrap()
    }

    pub(crate) fn submit(&self, writes: impl IntoIterator<Item = Write>) -> Ticket {
        self.store().submit(Commit { writes: writes.into_iter().collect(), wake: Vec::new() })
    }

    /// Submits one commit and waits for it.
    pub(crate) async fn write(&self, writes: impl IntoIterator<Item = Write>) {
        let store = self.store();
        store.wait(self.submit(writes)).await;
    }

    pub(crate) async fn page(&self, account: AccountId, query: LogQuery) -> LogPage {
        self.store().page(account, &query).await.unwrap()
    }

    /// The payloads of all entries, waiting ones included, oldest first.
    pub(crate) async fn all(&self, account: AccountId) -> Vec<String> {
        let query = LogQuery { include_unarchived: true, limit: 10_000, ..LogQuery::default() };
        payloads(&self.page(account, query).await.entries)
    }
}

pub(crate) fn jid(name: &str) -> BareJid {
    format!("{name}@example.org").parse().unwrap()
}

pub(crate) fn payloads(entries: &[LogEntry]) -> Vec<String> {
    entries.iter().map(|entry| entry.record.payload.text().to_owned()).collect()
}

pub(crate) fn positions(page: &LogPage) -> Vec<i64> {
    page.entries.iter().map(|entry| entry.position.0).collect()
}

/// A message that is put together in a test.
#[derive(Clone)]
pub(crate) struct Draft(MessageRecord);

/// A message whose id and payload are this text.
pub(crate) fn message(from: &str, to: &str, text: &str) -> Draft {
    Draft(MessageRecord {
        from: format!("{from}@example.org/x").parse().unwrap(),
        to: format!("{to}@example.org").parse().unwrap(),
        id: Some(text.into()),
        kind: MessageType::Chat,
        lang: None,
        payload: Payload::from_text(text),
        sent: None,
        received: None,
        origin: None,
        speaks: false,
        fingerprint: 0,
    })
}

impl Draft {
    pub(crate) fn from(mut self, resource: &str) -> Self {
        self.0.from = self.0.from.with_resource(resource).unwrap().into();
        self
    }

    pub(crate) fn to(mut self, resource: &str) -> Self {
        self.0.to = self.0.to.with_resource(resource).unwrap().into();
        self
    }

    pub(crate) fn id(mut self, id: Option<&str>) -> Self {
        self.0.id = id.map(Into::into);
        self
    }

    pub(crate) fn sent(mut self, account: AccountId, position: i64, keep: Keep) -> Self {
        self.0.sent = Some(place(account, position, keep));
        self
    }

    pub(crate) fn received(mut self, account: AccountId, position: i64, keep: Keep) -> Self {
        self.0.received = Some(place(account, position, keep));
        self
    }

    /// Queued for a session, on the recipient's side.
    pub(crate) fn queued(mut self, session: i64, number: u32) -> Self {
        self.0.received.as_mut().unwrap().deliveries.push((SessionId(session), number));
        self
    }

    pub(crate) fn origin(mut self, session: i64, handled: u32) -> Self {
        self.0.origin = Some(Origin { device: DeviceId(1), session: Some((SessionId(session), handled)) });
        self
    }

    /// Says something that is to be read.
    pub(crate) fn speaks(mut self) -> Self {
        self.0.speaks = true;
        self
    }

    pub(crate) fn fingerprint(mut self, fingerprint: i64) -> Self {
        self.0.fingerprint = fingerprint;
        self
    }

    pub(crate) fn write(self) -> Write {
        Write::Message(Arc::new(self.0))
    }
}

fn place(account: AccountId, position: i64, keep: Keep) -> Place {
    Place { account, position: LogPosition(position), keep, deliveries: Vec::new() }
}
