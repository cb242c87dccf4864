//! Measures servers beside each other: the same load, the same counting, in one run.

mod amount;
mod clock;
mod command;
mod machine;
mod marker;
mod numbers;
mod parallel;
mod part;
mod relay;
mod report;
mod sample;
mod scan;
mod scenario;
mod server;
mod session;
mod token;
mod tracker;
mod traffic;

pub(crate) use amount::Amount;
pub(crate) use command::Arguments;
pub(crate) use machine::Machine;
pub(crate) use part::{measure, scenarios};
pub(crate) use relay::run as relay;
pub(crate) use report::{FAULTS, Report, Subject, show};
pub(crate) use server::FLOOR;
