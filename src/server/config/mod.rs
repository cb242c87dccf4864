//! Configuration: one TOML file with a default for every key, so that no file at all works.
//!
//! - `keys.rs` is the list of all keys: name, type, default and documentation, once.
//! - `schema.rs` turns that list into structs, parser and sample.
//! - `setting.rs` and its neighbours read one value each.
//! - `load.rs` finds the file, applies `--set`, and collects every problem before it gives up.
//! - `check.rs` looks at what keys say together, `files.rs` at what they point to.

mod bind;
mod check;
mod data_file;
mod domain;
mod files;
mod keys;
mod load;
mod problem;
mod read;
mod sample;
mod schema;
mod setting;
mod store_url;
mod suggest;
mod tables;
#[cfg(test)]
mod tests;
mod texts;
mod units;

pub use bind::bind;
pub use data_file::DataFile;
pub use domain::Domain;
pub use keys::{
    Admin, Archive, ArchivePolicy, Calls, Certificate, Clients, Component, Components, Config, Contacts,
    Devices, Invitations, KeepOfDevices, Limits, Listen, Log, LogFormat, LogLevel, Login, LoginMechanism,
    Metrics, NodeMakers, OpenTo, PubSub, Registration, Relay, SelfService, Server, Store, Switch, Tls,
    UsersTo, WhenInactive,
};
pub(crate) use load::defaults_with;
pub use load::{DEFAULT_FILE, Loaded, SYSTEM_FILE, load};
pub use problem::{ConfigError, Problem};
pub use sample::sample;
pub use store_url::StoreUrl;
pub use suggest::nearest;
pub use texts::{AccountJid, ContactUri, PageUri};
pub use units::Size;
pub(crate) use units::parse_duration;
