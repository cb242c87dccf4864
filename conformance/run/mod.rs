//! Runs scripts against a target and tells what came out.

mod barrier;
mod command;
mod devices;
mod perform;
mod probe;
mod report;
mod setup;
mod stage;
mod suite;

pub use command::{main, run};
