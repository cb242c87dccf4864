//! What a `postgres://…` says of the way to its server, read as the driver reads it: what it leaves out, the
//! environment says (`PGHOST` and others).

use std::error::Error;
use std::net::IpAddr;
use std::path::PathBuf;

use sqlx::any::AnyConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// The URL of a PostgreSQL database. It may hold a password.
#[derive(Clone)]
pub struct PostgresUrl {
    written: AnyConnectOptions,
    read: PgConnectOptions,
}

/// How much of TLS is asked for (`sslmode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// None.
    Disable,
    /// None, as far as the driver is concerned.
    Allow,
    /// TLS if the server offers it, the clear if not.
    Prefer,
    /// TLS with whoever answers.
    Require,
    /// TLS with a server whose certificate is by an authority that is trusted, for whatever name.
    VerifyCa,
    /// TLS with the server that is meant: its certificate names the host too.
    VerifyFull,
}

impl PostgresUrl {
    /// Reads a URL. The error says what is wrong with it, and nothing that may be a part of a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let written: AnyConnectOptions = url.parse().map_err(|error| innermost(&error))?;
        let read = PgConnectOptions::try_from(&written).map_err(|error| innermost(&error))?;
        Ok(Self { written, read })
    }

    /// Whether the server is on another machine: behind neither a Unix socket nor a loopback address. A name other
    /// than `localhost` is taken for another machine, whatever it means today.
    pub fn is_remote(&self) -> bool {
        let host = self.read.get_host();
        let is_socket = self.read.get_socket().is_some() || host.starts_with('/');
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let is_loopback = host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.to_canonical().is_loopback());
        !is_socket && !is_loopback
    }

    /// What the URL itself asks for, if it says so.
    pub fn ssl_mode(&self) -> Option<SslMode> {
        let mut names = self.written.database_url.query_pairs();
        names
            .any(|(name, _)| matches!(&*name, "sslmode" | "ssl-mode"))
            .then(|| self.read.get_ssl_mode().into())
    }

    /// The files of certificates and keys that the URL names.
    pub fn files(&self) -> Vec<PathBuf> {
        const NAMES: [&str; 7] =
            ["sslrootcert", "ssl-root-cert", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key"];
        let parameters = self.written.database_url.query_pairs();
        let files = parameters.filter(|(name, _)| NAMES.contains(&&**name));
        files.map(|(_, file)| PathBuf::from(file.into_owned())).collect()
    }

    /// The URL with `mode`, which goes before what it says itself and what the environment says.
    pub fn with_ssl_mode(&self, mode: SslMode) -> String {
        let mut url = self.written.database_url.clone();
        url.query_pairs_mut().append_pair("sslmode", mode.as_str());
        url.into()
    }
}

impl SslMode {
    /// The word as it is written in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// Whether nothing is ever sent in the clear.
    pub const fn is_always_encrypted(self) -> bool {
        matches!(self, Self::Require | Self::VerifyCa | Self::VerifyFull)
    }
}

impl From<PgSslMode> for SslMode {
    fn from(mode: PgSslMode) -> Self {
        match mode {
            PgSslMode::Disable => Self::Disable,
            PgSslMode::Allow => Self::Allow,
            PgSslMode::Prefer => Self::Prefer,
            PgSslMode::Require => Self::Require,
            PgSslMode::VerifyCa => Self::VerifyCa,
            PgSslMode::VerifyFull => Self::VerifyFull,
        }
    }
}

/// The cause of an error, without what the driver wraps it in.
fn innermost(error: &sqlx::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
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

    fn read(url: &str) -> PostgresUrl {
        PostgresUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn another_machine_is_told_from_this_one() {
        for (url, is_remote) in [
            ("postgres://localhost/d", false),
            ("postgres://LocalHost:5433/d", false),
            ("postgresql://u:p@127.0.0.1/d", false),
            ("postgres://127.8.9.1/d", false),
            ("postgres://[::1]/d", false),
            ("postgres://[::ffff:127.0.0.1]/d", false),
            ("postgres://u@%2Frun%2Fpostgresql/d", false),
            ("postgres:///d?host=/run/postgresql", false),
            ("postgres://db/d?host=/run/postgresql", false), // the socket wins
            ("postgres://db/d?hostaddr=127.0.0.1", false),   // and so does what comes later
            ("postgres:///d?host=localhost", false),
            ("postgres://db/d", true),
            ("postgres://localhost.example.org/d", true),
            ("postgres://localhost@db/d", true),
            ("postgres://u:@localhost@db/d", true),
            ("postgres://192.0.2.1/d", true),
            ("postgres://128.0.0.1/d", true),
            ("postgres://0.0.0.0/d", true),
            ("postgres://[2001:db8::1]/d", true),
            ("postgres://[::ffff:192.0.2.1]/d", true),
            ("postgres:///d?host=db", true),
            ("postgres://localhost/d?host=db", true),
            ("postgres://127.0.0.1/d?hostaddr=192.0.2.1", true),
            ("postgres://localhost/d?h%6Fst=db", true),
            ("postgres://db/d?application_name=localhost#localhost", true),
        ] {
            assert_eq!(read(url).is_remote(), is_remote, "{url}");
        }
    }

    #[test]
    fn what_a_url_says_of_tls_is_seen_and_can_be_replaced() {
        for (url, want) in [
            ("postgres://db/d", None),
            ("postgres://db/d?password=sslmode", None),
            ("postgres://db/d#?sslmode=disable", None),
            ("postgres://db/d?sslmode=disable", Some(SslMode::Disable)),
            ("postgres://db/d?sslmode=allow", Some(SslMode::Allow)),
            ("postgres://db/d?sslmode=prefer", Some(SslMode::Prefer)),
            ("postgres://db/d?ssl-mode=REQUIRE", Some(SslMode::Require)),
            ("postgres://db/d?sslmode=verify-ca", Some(SslMode::VerifyCa)),
            ("postgres://db/d?user=u&sslmode=verify-full", Some(SslMode::VerifyFull)),
            ("postgres://db/d?sslmode=verify-full&ssl-mode=disable", Some(SslMode::Disable)),
            ("postgres://db/d?ssl%6Dode=disable", Some(SslMode::Disable)),
        ] {
            assert_eq!(read(url).ssl_mode(), want, "{url}");
            for mode in [SslMode::VerifyFull, SslMode::Require, SslMode::Disable] {
                let replaced = read(&read(url).with_ssl_mode(mode));
                assert_eq!(replaced.ssl_mode(), Some(mode), "{url}");
                assert_eq!(replaced.read.get_host(), read(url).read.get_host());
                assert_eq!(replaced.read.get_database(), read(url).read.get_database());
            }
        }
    }

    #[test]
    fn a_mode_that_may_send_in_the_clear_is_told_from_one_that_never_does() {
        for (mode, is_always) in [
            ("disable", false),
            ("allow", false),
            ("prefer", false),
            ("require", true),
            ("verify-ca", true),
            ("verify-full", true),
        ] {
            let mode = read(&format!("postgres://db/d?sslmode={mode}")).ssl_mode().unwrap();
            assert_eq!(mode.is_always_encrypted(), is_always, "{mode:?}");
        }
    }

    #[test]
    fn the_files_of_certificates_are_seen() {
        let url = "postgres://db/d?sslrootcert=/a%20b/ca.pem&sslcert=/c.pem&ssl-key=k.pem&user=/u";
        let files = ["/a b/ca.pem", "/c.pem", "k.pem"].map(PathBuf::from);
        assert_eq!(read(url).files(), files);
        assert_eq!(read("postgres://db/d").files(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_url_that_cannot_be_read_is_refused_without_its_password() {
        for (url, want) in [
            ("postgres://u:geheim@h:port/d", "invalid port number"),
            ("postgres://u:gehe/im@h/d", "invalid port number"),
            ("postgres://u:geheim@[::1/d", "invalid IPv6 address"),
            ("postgres://u:geheim@h/d?port=x", "invalid digit found in string"),
            ("postgres://u:geheim@h/d?hostaddr=db", "invalid IP address syntax"),
            ("postgres://u:geheim@h/d?sslmode=of", "unknown value \"of\" for `ssl_mode`"),
            ("postgres://u:geheim@h/d?sslmode=", "unknown value \"\" for `ssl_mode`"),
        ] {
            let error = PostgresUrl::parse(url).err().unwrap();
            assert_eq!(error, want, "{url}");
        }
    }
}
