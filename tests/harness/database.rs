//! Where a server under test keeps what it knows.

use std::sync::Arc;

use super::Disk;

/// A database, empty and for one story alone.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    /// A file in the server's own folder.
    Sqlite,
    /// A file on a disk of its own.
    SqliteOn(Arc<Disk>),
    /// A database of a PostgreSQL server.
    Postgres(String),
}

impl Database {
    /// A new database on the PostgreSQL server that there is; without one it is said on the standard error.
    pub(crate) async fn postgres() -> Option<Self> {
        unisono_store::testing::postgres_database().await.map(Self::Postgres)
    }

    /// The URL for the configuration.
    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Sqlite => "sqlite:unisono.db",
            Self::SqliteOn(disk) => &disk.url,
            Self::Postgres(url) => url,
        }
    }

    /// What makes a command run where the database is.
    pub(crate) fn inside(&self) -> Vec<String> {
        match self {
            Self::SqliteOn(disk) => disk.inside(),
            Self::Sqlite | Self::Postgres(_) => Vec::new(),
        }
    }
}
