//! `unisono completions`

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};
use serde_json::json;

use super::args::Cli;
use super::output::Report;

/// Print the completions of a shell
///
/// For instance: unisono completions bash > /usr/share/bash-completion/completions/unisono
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// The script.
    pub(crate) fn run(&self) -> Report {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "unisono", &mut script);
        let script = String::from_utf8_lossy(&script).trim_end().to_owned();
        Report::answer(json!({ "shell": self.shell.to_string(), "script": script }), script)
    }
}
