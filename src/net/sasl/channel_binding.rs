//! What ties an authentication to the TLS connection that carries it (RFC 5056).

use std::{fmt, sync::Arc};

/// A channel binding of this server, by its name in the IANA registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BindingType {
    /// RFC 9266: key material of this very connection. Stops whoever stole the certificate's key.
    TlsExporter,
    /// RFC 5929 §4: the hash of the server's certificate. A server must have and announce it (XEP-0440 §3, rule 1): a
    /// client that misses it in the list knows that somebody took it out, and gives up (rule 6).
    TlsServerEndPoint,
}

impl BindingType {
    /// All of them, the strongest first.
    pub const ALL: [Self; 2] = [Self::TlsExporter, Self::TlsServerEndPoint];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TlsExporter => "tls-exporter",
            Self::TlsServerEndPoint => "tls-server-end-point",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|binding| binding.as_str() == name)
    }
}

impl fmt::Display for BindingType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A version of TLS that this server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

impl TlsVersion {
    /// As XEP-0515 §4.1 writes it: the number of the version in the protocol, in hexadecimal.
    pub const fn as_hex(self) -> &'static str {
        match self {
            Self::Tls12 => "0303",
            Self::Tls13 => "0304",
        }
    }

    /// For logs and for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

/// The channel bindings of one TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelBindings {
    pub version: TlsVersion,
    /// RFC 9266 §2. `None` where the connection has no unique master secret.
    pub exporter: Option<[u8; 32]>,
    /// RFC 5929 §4.1. Shared by all connections that got the same certificate.
    pub end_point: Arc<[u8]>,
}

impl ChannelBindings {
    /// The data of `binding`, if this connection has it.
    pub fn data(&self, binding: BindingType) -> Option<&[u8]> {
        match binding {
            BindingType::TlsExporter => self.exporter.as_ref().map(<[u8; 32]>::as_slice),
            BindingType::TlsServerEndPoint => Some(&self.end_point),
        }
    }

    /// What this connection has, the strongest first.
    pub fn types(&self) -> impl Iterator<Item = BindingType> {
        BindingType::ALL.into_iter().filter(|binding| self.data(*binding).is_some())
    }
}

/// What carries the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// No encryption: loopback, where the configuration says so.
    Clear,
    Tls(ChannelBindings),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_are_read() {
        for binding in BindingType::ALL {
            assert_eq!(BindingType::parse(binding.as_str()), Some(binding));
        }
        for name in ["", "tls-unique", "tls-server-end-point-telnet", "TLS-EXPORTER", "tls-exporter "] {
            assert_eq!(BindingType::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_connection_has_the_types_whose_data_it_has() {
        let mut bindings = ChannelBindings {
            version: TlsVersion::Tls13,
            exporter: Some([1; 32]),
            end_point: Arc::from([2; 32]),
        };
        assert!(bindings.types().eq(BindingType::ALL));
        bindings.exporter = None;
        assert!(bindings.types().eq([BindingType::TlsServerEndPoint]));
        assert_eq!(bindings.data(BindingType::TlsExporter), None);
    }
}
