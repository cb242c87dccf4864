//! The storage traits of the core on SQLite, PostgreSQL and in memory.

mod access;
mod durability;
mod hash;
mod memory;
mod pack;
mod record;
mod sql;

#[cfg(test)]
mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::sync::Arc;

use unisono_core::storage::{Store, StoreError};

pub use memory::MemoryStore;
pub use sql::{Look, PostgresUrl, SqlStore, SslMode, look};

/// Opens a store: `sqlite:PATH` (created if it is not there), `postgres://…` or `memory:`. The databases need
/// a tokio runtime, on which their writer runs from then on.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    match url.split_once(':') {
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::new())),
        Some(("sqlite" | "postgres" | "postgresql", _)) => Ok(Arc::new(SqlStore::open(url).await?)),
        _ => Err(StoreError::Unavailable(
            "a store is \"sqlite:PATH\", \"postgres://USER:PASSWORD@HOST/NAME\" or \"memory:\"".to_owned(),
        )),
    }
}
