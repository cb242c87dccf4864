//! `unisono version`

use clap::Args;
use serde_json::json;

use super::admin::Admin;
use super::client::ApiClient;
use super::failure::Failure;
use super::output::Report;
use super::run::Context;
use crate::api::types::VersionInfo;

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Print the version of this program, and of the running server
#[derive(Debug, Args)]
pub(crate) struct Version {}

impl Version {
    /// Asks the running server, if there is one that can be asked.
    pub(crate) async fn run(&self, context: &Context<'_>) -> Result<Report, Failure> {
        let Self {} = self;
        let server = running(context).await;
        let text = match &server {
            None => format!("unisono {VERSION}"),
            Some(server) => {
                format!("unisono {VERSION}\nserver  {} (since {})", server.version, server.started_at)
            }
        };
        Ok(Report::answer(json!({ "version": VERSION, "server": server }), text))
    }
}

/// The running server. The program can tell its own version whatever is wrong with the rest.
async fn running(context: &Context<'_>) -> Option<VersionInfo> {
    let config = context.load().ok()?.config;
    let client = ApiClient::connect(&config.admin.socket).await.ok()?;
    client.version().await.ok()
}
