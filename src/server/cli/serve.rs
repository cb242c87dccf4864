//! `unisono serve`

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::output::Report;
use super::run::{Context, create_data_dir};

/// Run the server
#[derive(Debug, Args)]
pub(crate) struct Serve {}

impl Serve {
    /// Checks the configuration, makes the data directory and runs the server until it is stopped.
    pub(crate) fn run(&self, context: &Context<'_>) -> Result<Report, Failure> {
        let Self {} = self;
        let loaded = context.load()?;
        loaded.check_files()?;
        create_data_dir(&loaded.config)?;
        context.backend.serve(loaded)?;
        Ok(Report::done(json!({ "stopped": true }), ""))
    }
}
