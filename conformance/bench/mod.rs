//! Measures servers beside each other: the same load, the same counting, in one run.

mod clock;
mod command;
mod machine;
mod marker;
mod numbers;
mod parallel;
mod relay;
mod report;
mod sample;
mod scan;
mod scenario;
mod server;
mod session;
mod tracker;
mod traffic;

pub(crate) use command::Arguments;
pub(crate) use relay::run as relay;
