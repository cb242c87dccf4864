//! Why a string is no address.

use std::fmt;

/// A part of an address (RFC 7622 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JidPart {
    /// Before the `@`.
    Local,
    /// The only part that every address has.
    Domain,
    /// Behind the first `/`.
    Resource,
}

impl fmt::Display for JidPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "localpart",
            Self::Domain => "domainpart",
            Self::Resource => "resourcepart",
        })
    }
}

/// Why a string is no address. A peer learns `jid-malformed` (RFC 6120 §8.3.3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JidError {
    /// A separator stands there, or the part is required, but nothing follows.
    #[error("empty {0}")]
    Empty(JidPart),
    /// The part has more than [`PART_BYTES_MAX`](super::PART_BYTES_MAX) bytes.
    #[error("{0} too long")]
    TooLong(JidPart),
    /// A character that this part cannot hold, or not at this place.
    #[error("{1:?} not allowed in the {0}")]
    Character(JidPart, char),
    /// Left-to-right and right-to-left characters mixed against the rule of RFC 5893 §2.
    #[error("mixed writing directions in the {0}")]
    Direction(JidPart),
    /// The part does not settle on a canonical form (RFC 8264 §7).
    #[error("{0} without canonical form")]
    Unstable(JidPart),
    /// A label of the domain is empty, too long, or no label of the DNS or of IDNA2008.
    #[error("domainpart is no valid domain name")]
    DomainName,
    /// The domain begins like an IP literal (`[`), but is none.
    #[error("domainpart is no valid address literal")]
    AddressLiteral,
    /// The part stands where an address without it was asked for.
    #[error("unexpected {0}")]
    Unexpected(JidPart),
}
