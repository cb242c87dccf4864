//! What the command line needs of the rest of the server.

use std::pin::Pin;

use super::admin::Admin;
use super::failure::Failure;
use crate::config::{Config, Loaded};

/// A future that stays on the thread of its command.
pub type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The wiring, as the command line sees it.
pub trait Backend: Sync {
    /// Runs the server until it is told to stop. The configuration was checked, its files too.
    fn serve(&self, loaded: Loaded) -> Result<(), Failure>;

    /// Opens the store of a server that does not run, for administration.
    fn open<'a>(&'a self, config: &'a Config) -> Local<'a, Result<Box<dyn Admin>, Failure>>;

    /// Looks at the store; makes nothing, migrates nothing. Returns what a start will do with it, or why that cannot
    /// work.
    fn look_at_store<'a>(&'a self, config: &'a Config) -> Local<'a, Result<String, String>>;
}
