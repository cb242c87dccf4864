//! From the arguments to the exit code.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

use clap::Parser;
use clap::error::ErrorKind;

use super::admin::Admin;
use super::args::{Cli, Command, Global};
use super::backend::Backend;
use super::client::{ApiClient, ConnectError};
use super::exit::Exit;
use super::failure::Failure;
use super::output::{Report, Style};
use super::serve::Serve;
use crate::config::{Config, Loaded, StoreUrl, load};

/// Runs one command and prints how it ends. The first argument is the name of the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>, backend: &dyn Backend) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => {
            let style = cli.global.style();
            let end = cli.run(backend);
            style.print(&end, &mut io::stdout().lock(), &mut io::stderr().lock())
        }
        Err(error) => usage(&error, &arguments),
    }
}

/// Help and version were asked for; everything else is a mistake.
fn usage(error: &clap::Error, arguments: &[OsString]) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A reader that went away does not need the rest.
        let _ = error.print();
        return Exit::Ok;
    }
    if arguments.iter().any(|argument| argument == "--json") {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let style = Style { json: true, quiet: false };
        return style.print(&Err(Failure::usage(message)), &mut io::stdout(), &mut io::stderr());
    }
    let _ = error.print();
    Exit::Usage
}

impl Cli {
    /// Runs the command.
    pub(crate) fn run(self, backend: &dyn Backend) -> Result<Report, Failure> {
        let Self { global, command } = self;
        let context = Context { global: &global, backend };
        match command.unwrap_or(Command::Serve(Serve {})) {
            Command::Serve(command) => command.run(&context),
            Command::Init(command) => command.run(&context),
            Command::Completions(command) => Ok(command.run()),
            Command::Check(command) => wait(command.run(&context)),
            Command::User(command) => wait(command.run(&context)),
            Command::Invite(command) => wait(command.run(&context)),
            Command::Report(command) => wait(command.run(&context)),
            Command::Session(command) => wait(command.run(&context)),
            Command::Device(command) => wait(command.run(&context)),
            Command::Sync(command) => wait(command.run(&context)),
            Command::Version(command) => wait(command.run(&context)),
        }
    }
}

/// Runs a command on this thread. A thread that still reads from a terminal is left behind.
fn wait(command: impl Future<Output = Result<Report, Failure>>) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let end = runtime.block_on(command);
    runtime.shutdown_background();
    end
}

/// What every command gets.
pub(crate) struct Context<'a> {
    pub(crate) global: &'a Global,
    pub(crate) backend: &'a dyn Backend,
}

impl Context<'_> {
    /// The configuration.
    pub(crate) fn load(&self) -> Result<Loaded, Failure> {
        Ok(load(self.global.config.as_deref(), &self.global.set)?)
    }

    /// The running server, or the store if none runs. Only a command that puts something there makes a
    /// store where there is none: everywhere else a wrong path would look like an empty server.
    pub(crate) async fn with_admin<T>(
        &self,
        missing: Missing,
        work: impl AsyncFnOnce(&dyn Admin) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let admin = self.admin(missing).await?;
        let result = work(admin.as_ref()).await;
        admin.close().await;
        result
    }

    /// The running server, or nothing where none runs and this user may work on its store.
    pub(crate) async fn reach(&self) -> Result<Option<ApiClient>, Failure> {
        let config = self.load()?.config;
        match ApiClient::connect(&config.admin.socket).await {
            Ok(client) => Ok(Some(client)),
            Err(ConnectError::NoServer) => owner_of_store(&config).map(|()| None),
            Err(error) => Err(Failure::unreachable(error.to_string())),
        }
    }

    async fn admin(&self, missing: Missing) -> Result<Box<dyn Admin>, Failure> {
        if let Some(client) = self.reach().await? {
            return Ok(Box::new(client));
        }
        let config = self.load()?.config;
        let is_new = missing_file(&config);
        match missing {
            Missing::Create => create_data_dir(&config)?,
            Missing::Tell => store_is_there(&config)?,
        }
        let admin = self.backend.open(&config).await?;
        // In the wrong folder it works as well, and the server knows nothing of it.
        if let Some(file) = is_new {
            say(&format!("no server runs here; made a new database {}\n", file.display()));
        }
        Ok(admin)
    }
}

/// What to do where there is no store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Make one.
    Create,
    /// Say so.
    Tell,
}

/// The database, where it would be a file and is not there.
fn missing_file(config: &Config) -> Option<PathBuf> {
    match &config.store.url {
        StoreUrl::Sqlite(file) if !file.exists() => Some(file.clone()),
        _ => None,
    }
}

fn store_is_there(config: &Config) -> Result<(), Failure> {
    match missing_file(config) {
        Some(file) => Err(Failure::not_found(format!(
            "no server runs, and there is no database {}: is this the right configuration? \
             `unisono user add` makes a database, as does the first start",
            file.display()
        ))),
        None => Ok(()),
    }
}

/// Makes the data directory, open to its owner alone, where there is none.
pub(crate) fn create_data_dir(config: &Config) -> Result<(), Failure> {
    let data_dir = &config.server.data_dir;
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(|error| {
        Failure::failed(format!("cannot create the data directory {}: {error}", data_dir.display()))
    })
}

/// The superuser would leave files behind that the server's own user cannot write.
fn owner_of_store(config: &Config) -> Result<(), Failure> {
    match other_owner(config) {
        Some((place, owner)) => Err(Failure::failed(format!(
            "no server runs, and {} belongs to another user; start the server, or run this command \
             as that user: sudo -u '#{owner}' unisono …",
            place.display()
        ))),
        None => Ok(()),
    }
}

/// Where this is the superuser, and the database or the place where it will be is another's: that place, and whose.
pub(crate) fn other_owner(config: &Config) -> Option<(PathBuf, u32)> {
    let StoreUrl::Sqlite(file) = &config.store.url else { return None };
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
    let (place, found) = file.ancestors().find_map(|place| Some((place, std::fs::metadata(place).ok()?)))?;
    (found.uid() != 0).then(|| (place.to_owned(), found.uid()))
}

/// Asks a question on the terminal.
pub(crate) fn say(text: &str) {
    // Nobody to read the question is nobody to answer it: the next read says so.
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}
