//! The servers under test: how one is started, and how it gets accounts.

mod accounts;
mod clock;
mod description;
mod instance;

pub(crate) use accounts::Accounts;
pub(crate) use description::{Description, NotOffered};
pub(crate) use instance::{Instance, interrupted, target_dir};
