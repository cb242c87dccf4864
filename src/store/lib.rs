//! The storage traits of the core on SQLite, PostgreSQL and in memory.
