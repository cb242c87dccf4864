//! The server: configuration, command line, wiring.

pub mod api {
    pub mod types;
}
pub mod cli;
pub mod config;
pub mod tls_default;
