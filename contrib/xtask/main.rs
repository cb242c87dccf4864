//! `cargo xtask`: what a developer of Unisono runs, and what CI runs.

mod catalogue;
mod ci;
mod crates;
mod doap;
mod generated;
mod header;
mod names;
mod new_xep;
mod root;
mod rust;
mod streams;
mod table;
mod template;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::generated::Mode;
use crate::root::Root;

/// What a developer of Unisono runs.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the module, list entry, script folder and table row of a new extension
    NewXep(new_xep::NewXep),
    /// Write xeps/README.md and contrib/doap.xml from what the extensions say of themselves
    Xeps {
        /// Write nothing; fail where the files differ
        #[arg(long)]
        check: bool,
    },
    /// Test our own text: headers, sizes, namespaces, layers, words
    Tidy,
    /// Look at licences and sources of the crates that come in
    Crates,
    /// Everything that CI runs
    Ci,
}

fn main() -> anyhow::Result<ExitCode> {
    let root = Root::of_this_checkout()?;
    match Cli::parse().command {
        Command::NewXep(new) => new.run(&root, &catalogue::specs()),
        Command::Xeps { check } => {
            generated::run(&root, &catalogue::specs(), if check { Mode::Check } else { Mode::Write })
        }
        Command::Tidy => tidy::run(&root, &catalogue::specs()),
        Command::Crates => crates::run(&root),
        Command::Ci => ci::run(&root),
    }
}
