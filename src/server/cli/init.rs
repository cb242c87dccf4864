//! `unisono init`

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::output::Report;
use super::run::Context;
use crate::config::{DEFAULT_FILE, Domain, StoreUrl, defaults_with, sample};

/// Write a configuration that documents every key
///
/// It goes to ./unisono.toml, or to the file named with --config. What is given with --set stands in
/// it; every other key is shown with its default.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The domain of this server, such as example.org
    #[arg(value_parser = domain)]
    domain: Option<Domain>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

fn domain(text: &str) -> Result<Domain, String> {
    Domain::new(text).map_err(|error| error.to_string())
}

impl Init {
    /// Writes the file.
    pub(crate) fn run(&self, context: &Context<'_>) -> Result<Report, Failure> {
        let mut sets = context.global.set.clone();
        sets.extend(self.domain.as_ref().map(|domain| format!("server.domains={domain}")));
        let config = defaults_with(&sets)?;
        let file = context.global.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        // A password may stand in the address of a database.
        let mode = if matches!(config.store.url, StoreUrl::Postgres(_)) { 0o600 } else { 0o644 };
        self.write(&file, &sample(&config), mode).map_err(|error| {
            let shown = file.display();
            if error.kind() == io::ErrorKind::AlreadyExists {
                Failure::already_exists(format!("{shown} is already there; to replace it, add --force"))
            } else {
                Failure::failed(format!("cannot write {shown}: {error}"))
            }
        })?;
        let name = config.server.domains.first().map_or("localhost", Domain::as_str);
        let option = match &context.global.config {
            Some(file) => format!(" --config {}", file.display()),
            None => String::new(),
        };
        let text = format!(
            "{} written. Next:\n  unisono{option} check\n  unisono{option} user add alice@{name}\n  unisono{option} serve",
            file.display()
        );
        Ok(Report::done(json!({ "file": file, "domain": name }), text))
    }

    fn write(&self, file: &Path, text: &str, mode: u32) -> io::Result<()> {
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).mode(mode);
        if self.force {
            options.create(true).truncate(true);
        } else {
            options.create_new(true);
        }
        let mut file = options.open(file)?;
        // One that was there may be open to more people.
        let before = file.metadata()?.permissions().mode();
        file.set_permissions(Permissions::from_mode(before & mode))?;
        file.write_all(text.as_bytes())
    }
}
