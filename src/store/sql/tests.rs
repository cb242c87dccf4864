//! What only a database can get wrong: disks, plans, locks, schemas.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
