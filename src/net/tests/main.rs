//! Client streams from the outside: a real hub, real TLS, connections in memory or on the loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod black_hole;
mod client;
mod closing;
mod enumeration;
mod fast;
mod logged;
mod login;
mod scram;
mod server;
mod traffic;
mod trouble;
mod waiting;
