//! Why a command failed, and what to do next.

use serde_json::{Value, json};

use super::exit::Exit;
use crate::api::types::{ApiError, ErrorCode};
use crate::config::ConfigError;

/// The end of a command that failed. The message says what to do where there is something to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What the process returns.
    pub exit: Exit,
    /// For programs.
    pub code: &'static str,
    /// For people; one or more lines.
    pub message: String,
}

impl Failure {
    /// Something went wrong.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, code: "failed", message: message.into() }
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, code: "usage", message: message.into() }
    }

    /// Something is missing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { exit: Exit::NotFound, code: "not_found", message: message.into() }
    }

    /// Something is in the way.
    pub fn already_exists(message: impl Into<String>) -> Self {
        Self { exit: Exit::AlreadyExists, code: "already_exists", message: message.into() }
    }

    /// Server or database cannot be reached.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable, code: "unreachable", message: message.into() }
    }

    /// The failure as `--json` shows it.
    pub(crate) fn json(&self) -> Value {
        json!({ "error": { "code": self.code, "message": self.message } })
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { exit: Exit::Usage, code: "configuration", message: error.to_string() }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let exit = match error.code {
            ErrorCode::InvalidRequest => Exit::Usage,
            ErrorCode::NotFound => Exit::NotFound,
            ErrorCode::AlreadyExists => Exit::AlreadyExists,
            ErrorCode::Unavailable | ErrorCode::Unreachable => Exit::Unreachable,
            ErrorCode::Unauthorized | ErrorCode::Forbidden | ErrorCode::Internal => Exit::Failed,
        };
        Self { exit, code: error.code.as_str(), message: error.message }
    }
}
