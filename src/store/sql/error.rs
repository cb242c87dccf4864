//! What errors of a database mean.

use sqlx::error::DatabaseError;
use unisono_core::storage::StoreError;

use super::tls;

/// The error that a reader sees. The text is for the log and may quote the database.
pub(super) fn read_error(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::RowNotFound => {
            StoreError::Corrupt(error.to_string())
        }
        error => StoreError::Unavailable(tls::told(&error).unwrap_or_else(|| error.to_string())),
    }
}

/// Why a transaction could not be committed.
#[derive(Debug)]
pub(super) enum CommitError {
    /// The database: full, busy, out of reach. It may pass.
    Passing(String),
    /// What was to be written cannot be written. Trying again changes nothing.
    Inherent(String),
}

impl CommitError {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Passing(text) | Self::Inherent(text) => text,
        }
    }

    /// For those who wait for the outcome themselves.
    pub(super) fn into_store(self) -> StoreError {
        match self {
            Self::Passing(text) | Self::Inherent(text) => StoreError::Unavailable(text),
        }
    }
}

impl From<sqlx::Error> for CommitError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        let is_inherent = match &error {
            sqlx::Error::Database(error) => is_inherent(error.as_ref()),
            sqlx::Error::Encode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
            _ => false,
        };
        if is_inherent { Self::Inherent(text) } else { Self::Passing(text) }
    }
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Passing(error.to_string()),
            StoreError::Corrupt(_)
            | StoreError::Exists
            | StoreError::Alike(_)
            | StoreError::Reserved
            | StoreError::NotFound => Self::Inherent(error.to_string()),
        }
    }
}

/// Results of SQLite that depend on what is asked: error, too big, constraint, mismatch, range.
const SQLITE_INHERENT: [u32; 5] = [1, 18, 19, 20, 25];
/// Classes of SQLSTATE that depend on what is asked: data exception, constraint, syntax or access.
const POSTGRES_INHERENT: [&str; 3] = ["22", "23", "42"];

fn is_inherent(error: &(dyn DatabaseError + 'static)) -> bool {
    let Some(code) = error.code() else { return false };
    match code.len() {
        // SQLSTATE always has five characters. SQLite's codes are numbers, extended ones below 10 000.
        5 => POSTGRES_INHERENT.iter().any(|class| code.starts_with(class)),
        _ => code.parse::<u32>().is_ok_and(|code| SQLITE_INHERENT.contains(&(code & 0xff))),
    }
}
