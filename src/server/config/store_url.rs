//! Where the data is kept.

use std::fmt;
use std::path::{Path, PathBuf};

/// A database.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A PostgreSQL database, as its driver reads it. It may hold a password.
    Postgres(String),
}

impl StoreUrl {
    /// Reads `sqlite:FILE` or `postgres://…`. The error says more about what is wrong, or nothing.
    pub(crate) fn new(url: &str) -> Result<Self, &'static str> {
        if let Some(rest) = url.strip_prefix("sqlite:") {
            let file = rest.strip_prefix("//").unwrap_or(rest);
            return match file {
                "" => Err(": the file is missing"),
                ":memory:" | "memory:" => Err(": messages in memory would not survive the process"),
                _ if file.contains(['?', '#', '\0']) => Err(": the file takes no parameters"),
                _ => Ok(Self::Sqlite(file.into())),
            };
        }
        let rest = url.strip_prefix("postgres://").or(url.strip_prefix("postgresql://"));
        match rest {
            Some(rest) if !rest.is_empty() && !rest.contains(char::is_whitespace) => {
                Ok(Self::Postgres(url.to_owned()))
            }
            Some(_) => Err(": host and database are missing"),
            None => Err(""),
        }
    }

    /// A file without a directory is in `data_dir`.
    pub(crate) fn settle(&mut self, data_dir: &Path) {
        if let Self::Sqlite(file) = self {
            *file = data_dir.join(&*file);
        }
    }

    /// The whole URL, password included: for the driver alone.
    pub fn expose(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:{}", file.display()),
            Self::Postgres(url) => url.clone(),
        }
    }
}

/// The URL without its password.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.expose();
        let Self::Postgres(_) = self else { return f.write_str(&url) };
        let url = url.split(['?', '#']).next().unwrap_or_default();
        match url.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'))) {
            Some((scheme, Some((login, host)))) => {
                let user = login.split(':').next().unwrap_or_default();
                write!(f, "{scheme}://{user}@{host}")
            }
            _ => f.write_str(url),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("sqlite:a.db", "sqlite:a.db"),
            ("sqlite:///var/a.db", "sqlite:/var/a.db"),
            ("postgres://u:geheim@h/d", "postgres://u@h/d"),
            ("postgresql://u:ge@heim@h:5432/d?sslmode=require", "postgresql://u@h:5432/d"),
            ("postgres:///d?user=u&password=geheim", "postgres:///d"),
        ] {
            let url = StoreUrl::new(url).unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("heim"), "{url:?}");
        }
    }

    #[test]
    fn what_is_no_database_is_refused() {
        for wrong in [
            "",
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "sqlite:a?mode=ro",
            "postgres://",
            "mysql://h",
            "a.db",
        ] {
            assert!(StoreUrl::new(wrong).is_err(), "{wrong}");
        }
    }
}
