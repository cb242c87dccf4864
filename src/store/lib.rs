//! The storage traits of the core on SQLite, PostgreSQL and in memory.

mod durability;
mod memory;

pub use memory::MemoryStore;
