//! The server: configuration, command line, wiring.

pub mod api {
    //! Administration over HTTP, and the same without a server.
    mod desk;
    pub mod desk_types;
    pub mod guard;
    pub mod local;
    pub mod router;
    pub mod types;
}
pub mod cli;
pub mod config;
mod housekeeping;
mod logging;
mod metrics;
pub mod serve;
mod settings;
mod system;
pub mod tls_default;
pub mod wiring;
