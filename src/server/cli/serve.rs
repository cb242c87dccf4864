//! `unisono serve`

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::output::Report;
use super::run::Context;

/// Run the server
#[derive(Debug, Args)]
pub(crate) struct Serve {}

impl Serve {
    /// Checks the configuration, makes the data directory and runs the server until it is stopped.
    pub(crate) fn run(&self, context: &Context<'_>) -> Result<Report, Failure> {
        let Self {} = self;
        let loaded = context.load()?;
        loaded.check_files()?;
        let data_dir = &loaded.config.server.data_dir;
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(|error| {
            Failure::failed(format!("cannot create the data directory {}: {error}", data_dir.display()))
        })?;
        context.backend.serve(loaded)?;
        Ok(Report::done(json!({ "stopped": true }), ""))
    }
}
