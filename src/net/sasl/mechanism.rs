//! The names of mechanisms.

use std::fmt;

use super::{hash::Hash, token::TokenMechanism};

/// A mechanism of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// RFC 5802 without channel binding.
    Scram(Hash),
    /// RFC 5802 with channel binding: the mechanisms whose names end in `-PLUS`.
    ScramPlus(Hash),
    /// With a token (XEP-0484). It is announced apart from the others.
    Token(TokenMechanism),
}

impl Mechanism {
    /// Those for passwords, the strongest first.
    pub const ALL: [Self; 7] = [
        Self::ScramPlus(Hash::Sha512),
        Self::Scram(Hash::Sha512),
        Self::ScramPlus(Hash::Sha256),
        Self::Scram(Hash::Sha256),
        Self::ScramPlus(Hash::Sha1),
        Self::Scram(Hash::Sha1),
        Self::Plain,
    ];

    /// The name as it is announced.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(hash) => hash.family(),
            Self::Token(mechanism) => mechanism.as_str(),
            Self::ScramPlus(Hash::Sha1) => "SCRAM-SHA-1-PLUS",
            Self::ScramPlus(Hash::Sha256) => "SCRAM-SHA-256-PLUS",
            Self::ScramPlus(Hash::Sha512) => "SCRAM-SHA-512-PLUS",
        }
    }

    /// Reads the name of one for passwords. Names are compared as they are: RFC 4422 §3.1 has no lower case in them.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.as_str() == name)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_fit_the_twenty_characters_of_rfc_4422() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::parse(mechanism.as_str()), Some(mechanism));
            assert!(mechanism.as_str().len() <= 20, "{mechanism}"); // RFC 4422 §3.1
        }
        for name in ["", "plain", "SCRAM-SHA-256-plus", "SCRAM-MD5", "DIGEST-MD5", "EXTERNAL", "PLAIN "] {
            assert_eq!(Mechanism::parse(name), None, "{name}");
        }
    }
}
