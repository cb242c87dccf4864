//! The schema, and how it came to be. Migrations go forward only, each in a transaction of its own.

use sqlx::{AnyConnection, Connection as _, Executor as _};
use unisono_core::storage::StoreError;

use super::database::Kind;
use super::error::read_error;

/// A step of the schema: its version, and its text for each database.
struct Migration {
    version: i64,
    sqlite: &'static str,
    postgres: &'static str,
}

/// All steps, oldest first. What is released stays as it is.
const MIGRATIONS: [Migration; 8] = [
    Migration {
        version: 1,
        sqlite: include_str!("../migrations/sqlite/0001_start.sql"),
        postgres: include_str!("../migrations/postgres/0001_start.sql"),
    },
    Migration {
        version: 2,
        sqlite: include_str!("../migrations/sqlite/0002_names.sql"),
        postgres: include_str!("../migrations/postgres/0002_names.sql"),
    },
    Migration {
        version: 3,
        sqlite: include_str!("../migrations/sqlite/0003_stanzas.sql"),
        postgres: include_str!("../migrations/postgres/0003_stanzas.sql"),
    },
    Migration {
        version: 4,
        sqlite: include_str!("../migrations/sqlite/0004_nodes.sql"),
        postgres: include_str!("../migrations/postgres/0004_nodes.sql"),
    },
    Migration {
        version: 5,
        sqlite: include_str!("../migrations/sqlite/0005_access.sql"),
        postgres: include_str!("../migrations/postgres/0005_access.sql"),
    },
    Migration {
        version: 6,
        sqlite: include_str!("../migrations/sqlite/0006_invitations.sql"),
        postgres: include_str!("../migrations/postgres/0006_invitations.sql"),
    },
    Migration {
        version: 7,
        sqlite: include_str!("../migrations/sqlite/0007_inbox.sql"),
        postgres: include_str!("../migrations/postgres/0007_inbox.sql"),
    },
    Migration {
        version: 8,
        sqlite: include_str!("../migrations/sqlite/0008_acquaintances.sql"),
        postgres: include_str!("../migrations/postgres/0008_acquaintances.sql"),
    },
];

const CREATE: &str = "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)";
const CURRENT: &str = "SELECT coalesce(max(version), 0) FROM schema_version";
const REACHED: &str = "INSERT INTO schema_version (version) VALUES ($1)";

/// Brings the schema up to date. A schema that is newer than this program is an error: an older program
/// must not write into what it does not understand.
pub(super) async fn migrate(connection: &mut AnyConnection, kind: Kind) -> Result<(), StoreError> {
    connection.execute(CREATE).await.map_err(read_error)?;
    let current = current(connection).await?;
    let newest = newest();
    if current > newest {
        let text = format!(
            "its schema has version {current}, this program knows versions up to {newest}: use a newer program"
        );
        return Err(StoreError::Unavailable(text));
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > current) {
        apply(connection, kind, migration).await.map_err(read_error)?;
        tracing::info!(version = migration.version, "migrated the store");
    }
    Ok(())
}

/// The version that a database has, which must have one.
pub(super) async fn current(connection: &mut AnyConnection) -> Result<i64, StoreError> {
    sqlx::query_scalar(CURRENT).fetch_one(connection).await.map_err(read_error)
}

/// The version that this program needs.
pub(super) fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

async fn apply(connection: &mut AnyConnection, kind: Kind, migration: &Migration) -> sqlx::Result<()> {
    let sql = match kind {
        Kind::Sqlite => migration.sqlite,
        Kind::Postgres => migration.postgres,
    };
    let mut transaction = connection.begin().await?;
    transaction.execute(sqlx::raw_sql(sql)).await?;
    sqlx::query(REACHED).bind(migration.version).execute(&mut *transaction).await?;
    transaction.commit().await
}
