//! End-to-end tests: one binary, stories by subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

mod fuzz;
mod harness;
mod inside;
mod simulation;
mod stories;
