//! A domain that the server serves.

use std::fmt;

use unisono_core::jid::{BareJid, JidError};

/// The name of a domain, prepared as RFC 7622 §3.2 says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(BareJid);

impl Domain {
    /// Prepares and checks a name.
    pub fn new(name: &str) -> Result<Self, JidError> {
        BareJid::domain_jid(name).map(Self)
    }

    /// The name, in lower case, with U-labels.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The domain as an XMPP address.
    pub fn jid(&self) -> &BareJid {
        &self.0
    }
}

impl From<Domain> for BareJid {
    fn from(domain: Domain) -> Self {
        domain.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
