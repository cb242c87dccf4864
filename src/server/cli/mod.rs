//! The command line: one file for each command, and what they share.
//!
//! - `args.rs` is what can be typed, `exit.rs` what a script gets back.
//! - A command answers with a [`Report`] or a [`Failure`]; `output.rs` alone prints.
//! - Commands that need data go through the trait [`Admin`]: over the socket of a running server
//!   (`client.rs`), or on the store itself, by what [`Backend`] opens.

mod admin;
mod args;
mod backend;
mod check;
mod client;
mod completions;
mod device;
mod exit;
mod failure;
mod init;
mod invite;
mod output;
mod password;
mod report;
mod run;
mod serve;
mod session;
mod sync;
mod table;
#[cfg(test)]
mod tests;
mod user;
mod version;

pub use admin::{Admin, Answer};
pub use args::Cli;
pub use backend::{Backend, Local};
pub use client::{ApiClient, ConnectError};
pub use exit::Exit;
pub use failure::Failure;
pub use output::Report;
pub use run::run;
pub(crate) use run::say;
