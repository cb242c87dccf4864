//! Runs scripts against a target and tells what came out.

mod barrier;
mod command;
mod devices;
mod outcome;
mod perform;
mod probe;
mod report;
mod setup;
mod stage;
mod suite;

pub use command::{main, run};
pub(crate) use command::{measure, version};
pub(crate) use outcome::{Counts, Ending, Outcome, Script, total};
