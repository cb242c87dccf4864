//! The log, on the standard error output.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts the log. `RUST_LOG` is for developers and beats the configuration.
pub(crate) fn start(config: &Log) {
    let level = config.level.as_str();
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},sqlx=warn,hyper=warn")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // A second server in one process, as in tests, goes on with the log of the first.
    let _ = match config.format {
        LogFormat::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
