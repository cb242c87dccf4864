//! Where the data is kept.

use std::fmt;
use std::path::{Path, PathBuf};

use unisono_store::{PostgresUrl, SslMode};

/// A database.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A PostgreSQL database, as it is written. It may hold a password.
    Postgres(String),
}

impl StoreUrl {
    /// Reads `sqlite:FILE` or `postgres://…`. The error says more about what is wrong, or nothing.
    pub(crate) fn new(url: &str) -> Result<Self, String> {
        if let Some(rest) = url.strip_prefix("sqlite:") {
            let file = rest.strip_prefix("//").unwrap_or(rest);
            return match file {
                "" => Err(": the file is missing".to_owned()),
                ":memory:" | "memory:" => {
                    Err(": messages in memory would not survive the process".to_owned())
                }
                _ if file.contains(['?', '#', '\0']) => Err(": the file takes no parameters".to_owned()),
                _ => Ok(Self::Sqlite(file.into())),
            };
        }
        let rest = url.strip_prefix("postgres://").or(url.strip_prefix("postgresql://"));
        match rest {
            Some(rest) if !rest.is_empty() && !rest.contains(char::is_whitespace) => {
                PostgresUrl::parse(url).map_err(|error| format!(": {error}"))?;
                Ok(Self::Postgres(url.to_owned()))
            }
            Some(_) => Err(": host and database are missing".to_owned()),
            None => Err(String::new()),
        }
    }

    /// Why this database cannot be used: what goes to another machine goes there encrypted.
    pub(crate) fn problem(&self) -> Option<String> {
        let url = self.postgres().filter(PostgresUrl::is_remote)?;
        let mode = url.ssl_mode().filter(|mode| !mode.is_always_encrypted())?;
        let (mode, full) = (mode.as_str(), SslMode::VerifyFull.as_str());
        Some(format!(
            "sslmode={mode} lets passwords and messages go to another machine in the clear; write sslmode={full}, with \
             sslrootcert=/PATH for an authority of your own, or use a Unix socket or localhost"
        ))
    }

    /// The files of certificates that are needed to reach it.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.postgres().map(|url| url.files()).unwrap_or_default()
    }

    /// A file without a directory is in `data_dir`.
    pub(crate) fn settle(&mut self, data_dir: &Path) {
        if let Self::Sqlite(file) = self {
            *file = data_dir.join(&*file);
        }
    }

    /// The whole URL, password included: for the driver alone. A server on another machine has to prove who it is,
    /// unless the URL asks for less; the driver by itself would go on in the clear if the server says so.
    pub fn expose(&self) -> String {
        match self.postgres() {
            Some(url) if url.is_remote() && url.ssl_mode().is_none() => {
                url.with_ssl_mode(SslMode::VerifyFull)
            }
            _ => self.written(),
        }
    }

    /// The whole URL as it is written, password included: for the file that it comes from.
    pub(crate) fn written(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:{}", file.display()),
            Self::Postgres(url) => url.clone(),
        }
    }

    /// What the driver makes of it. It takes no URL that cannot be read.
    fn postgres(&self) -> Option<PostgresUrl> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(url) => PostgresUrl::parse(url).ok(),
        }
    }
}

/// The URL without its password.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.written();
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
            "postgres://u:p@h:port/d",
            "postgres://h/d?sslmode=of",
        ] {
            assert!(StoreUrl::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_driver_is_told_to_check_who_a_server_on_another_machine_is() {
        for (url, want) in [
            ("sqlite:a.db", None),
            ("postgres://u:p@localhost/d", None),
            ("postgres://u:p@127.0.0.1/d?sslmode=disable", None),
            ("postgres://%2Frun%2Fpostgresql/d", None),
            ("postgres://db/d?host=/run/postgresql&sslmode=prefer", None),
            ("postgres://u:p@db/d", Some("postgres://u:p@db/d?sslmode=verify-full")),
            ("postgres://db/d?user=u", Some("postgres://db/d?user=u&sslmode=verify-full")),
            ("postgres://db/d#prefer", Some("postgres://db/d?sslmode=verify-full#prefer")),
            ("postgres://localhost/d?host=db", Some("postgres://localhost/d?host=db&sslmode=verify-full")),
            ("postgres://192.0.2.1/d", Some("postgres://192.0.2.1/d?sslmode=verify-full")),
            ("postgres://db/d?sslmode=require", None),
            ("postgres://db/d?sslmode=verify-ca&sslrootcert=/a.pem", None),
            ("postgres://db/d?sslrootcert=/a.pem&ssl-mode=verify-full", None),
        ] {
            let read = StoreUrl::new(url).unwrap();
            assert_eq!(read.expose(), want.unwrap_or(url));
            assert_eq!((read.written().as_str(), read.problem()), (url, None));
        }
    }

    #[test]
    fn nothing_goes_to_another_machine_in_the_clear() {
        for mode in ["disable", "allow", "prefer", "PREFER"] {
            for (url, is_refused) in [
                (format!("postgres://u:geheim@db/d?sslmode={mode}"), true),
                (format!("postgres://u:geheim@db/d?sslmode=require&ssl-mode={mode}"), true),
                (format!("postgres:///d?sslmode={mode}&host=192.0.2.1&password=geheim"), true),
                (format!("postgres://db/d?sslmode={mode}&sslmode=require"), false),
                (format!("postgres://localhost/d?sslmode={mode}"), false),
            ] {
                let problem = StoreUrl::new(&url).unwrap().problem();
                assert_eq!(problem.is_some(), is_refused, "{url}");
                assert!(problem.is_none_or(|problem| !problem.contains("geheim")), "{url}");
            }
        }
    }
}
