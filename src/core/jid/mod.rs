//! Addresses (RFC 7622): `localpart@domainpart/resourcepart`.
//!
//! An address is one shared string and the offsets of its parts. It exists in its canonical form only:
//! to construct one is to parse it, so two addresses of one entity are equal byte for byte, and the
//! parts of an address need no further check. Cloning, and taking the bare address or the domain of an
//! address, counts a reference and allocates nothing.

mod class;
mod domain;
mod error;
mod lookalike;
mod parse;
mod plain;
mod precis;

use std::{borrow::Borrow, cmp::Ordering, fmt, hash::Hash, hash::Hasher, str::FromStr, sync::Arc};

pub use error::{JidError, JidPart};
pub use lookalike::unicode_tables;
pub use precis::opaque_string;

/// Bytes of one part of an address, after all mapping (RFC 7622 §3.1).
pub const PART_BYTES_MAX: usize = 1023;

/// What all three kinds of address are made of. `text` may be longer than the address: it is shared
/// with the address from which this one was taken.
#[derive(Clone)]
struct Address {
    text: Arc<str>,
    /// Where the address begins in `text`.
    start: u16,
    /// Where the domainpart begins: at `start`, or one `@` behind the localpart.
    domain: u16,
    /// Where the bare address ends.
    bare: u16,
    /// Where the address ends: at `bare`, or behind the resourcepart.
    end: u16,
}

impl Address {
    /// The offsets lie on the borders of parts, so the slice always exists.
    fn slice(&self, from: u16, to: u16) -> &str {
        self.text.get(usize::from(from)..usize::from(to)).unwrap_or_default()
    }

    fn as_str(&self) -> &str {
        self.slice(self.start, self.end)
    }

    fn local(&self) -> Option<&str> {
        (self.domain > self.start).then(|| self.slice(self.start, self.domain.saturating_sub(1)))
    }

    fn domain(&self) -> &str {
        self.slice(self.domain, self.bare)
    }

    fn resource(&self) -> Option<&str> {
        (self.end > self.bare).then(|| self.slice(self.bare.saturating_add(1), self.end))
    }

    fn to_bare(&self) -> BareJid {
        BareJid(Self { end: self.bare, ..self.clone() })
    }

    fn to_domain(&self) -> BareJid {
        BareJid(Self { start: self.domain, end: self.bare, ..self.clone() })
    }

    fn with_resource(&self, resource: &str) -> Result<FullJid, JidError> {
        let bare = self.slice(self.start, self.bare);
        parse::with_resource(bare, self.local().map(str::len), resource).map(FullJid)
    }
}

/// Any address: a domain, a bare address or a full one.
#[derive(Clone)]
pub struct Jid(Address);

/// An address without resourcepart: an account, a room, or (without localpart) a domain.
#[derive(Clone)]
pub struct BareJid(Address);

/// An address with resourcepart: one connected resource, or an occupant of a room.
#[derive(Clone)]
pub struct FullJid(Address);

impl Jid {
    /// The localpart; `None` for a domain and its resources.
    pub fn local(&self) -> Option<&str> {
        self.0.local()
    }

    /// The domainpart, which every address has.
    pub fn domain(&self) -> &str {
        self.0.domain()
    }

    /// The resourcepart of a full address.
    pub fn resource(&self) -> Option<&str> {
        self.0.resource()
    }

    /// The address without its resourcepart. Allocates nothing.
    pub fn to_bare(&self) -> BareJid {
        self.0.to_bare()
    }

    /// The domain alone. Allocates nothing.
    pub fn to_domain(&self) -> BareJid {
        self.0.to_domain()
    }

    /// Whether there is no resourcepart.
    pub fn is_bare(&self) -> bool {
        !self.is_full()
    }

    /// Whether there is a resourcepart.
    pub fn is_full(&self) -> bool {
        self.0.end > self.0.bare
    }

    /// Whether this is a domain alone: neither localpart nor resourcepart.
    pub fn is_domain(&self) -> bool {
        self.0.domain == self.0.start && self.is_bare()
    }

    /// This bare address with `resource`, which replaces one that is there.
    pub fn with_resource(&self, resource: &str) -> Result<FullJid, JidError> {
        self.0.with_resource(resource)
    }

    /// The same address as a [`FullJid`], if it has a resourcepart.
    pub fn try_into_full(self) -> Option<FullJid> {
        self.is_full().then_some(FullJid(self.0))
    }

    /// The same address as a [`BareJid`], if it has no resourcepart.
    pub fn try_into_bare(self) -> Option<BareJid> {
        self.is_bare().then_some(BareJid(self.0))
    }
}

impl BareJid {
    /// Builds an address from its parts, each checked and brought into its canonical form.
    pub fn new(local: Option<&str>, domain: &str) -> Result<Self, JidError> {
        parse::compose(local, domain, None).map(Self)
    }

    /// The address of a domain. Unlike the parser it takes no localpart: an `@` in `domain` is an error.
    pub fn domain_jid(domain: &str) -> Result<Self, JidError> {
        Self::new(None, domain)
    }

    /// The localpart; `None` for a domain.
    pub fn local(&self) -> Option<&str> {
        self.0.local()
    }

    /// The domainpart.
    pub fn domain(&self) -> &str {
        self.0.domain()
    }

    /// The domain alone. Allocates nothing.
    pub fn to_domain(&self) -> Self {
        self.0.to_domain()
    }

    /// Whether this is a domain alone.
    pub fn is_domain(&self) -> bool {
        self.0.domain == self.0.start
    }

    /// The full address of `resource` here.
    pub fn with_resource(&self, resource: &str) -> Result<FullJid, JidError> {
        self.0.with_resource(resource)
    }
}

impl FullJid {
    /// Builds an address from its parts, each checked and brought into its canonical form.
    pub fn new(local: Option<&str>, domain: &str, resource: &str) -> Result<Self, JidError> {
        parse::compose(local, domain, Some(resource)).map(Self)
    }

    /// The localpart; `None` for a resource of a domain.
    pub fn local(&self) -> Option<&str> {
        self.0.local()
    }

    /// The domainpart.
    pub fn domain(&self) -> &str {
        self.0.domain()
    }

    /// The resourcepart.
    pub fn resource(&self) -> &str {
        self.0.resource().unwrap_or_default()
    }

    /// The address without its resourcepart. Allocates nothing.
    pub fn bare(&self) -> BareJid {
        self.0.to_bare()
    }

    /// The domain alone. Allocates nothing.
    pub fn to_domain(&self) -> BareJid {
        self.0.to_domain()
    }
}

impl From<BareJid> for Jid {
    fn from(jid: BareJid) -> Self {
        Self(jid.0)
    }
}

impl From<FullJid> for Jid {
    fn from(jid: FullJid) -> Self {
        Self(jid.0)
    }
}

impl FromStr for Jid {
    type Err = JidError;

    fn from_str(text: &str) -> Result<Self, JidError> {
        parse::parse(text).map(Self)
    }
}

impl FromStr for BareJid {
    type Err = JidError;

    /// An address with a resourcepart is an error, not cut.
    fn from_str(text: &str) -> Result<Self, JidError> {
        text.parse::<Jid>()?.try_into_bare().ok_or(JidError::Unexpected(JidPart::Resource))
    }
}

impl FromStr for FullJid {
    type Err = JidError;

    fn from_str(text: &str) -> Result<Self, JidError> {
        text.parse::<Jid>()?.try_into_full().ok_or(JidError::Empty(JidPart::Resource))
    }
}

/// Equality, order and hash are those of the string, so that a map keyed by addresses can be asked with
/// a `&str`.
macro_rules! behave_as_string {
    ($($kind:ident),*) => {$(
        impl $kind {
            /// The whole address in its canonical form.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl PartialEq for $kind {
            fn eq(&self, other: &Self) -> bool {
                self.as_str() == other.as_str()
            }
        }

        impl Eq for $kind {}

        impl PartialOrd for $kind {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $kind {
            fn cmp(&self, other: &Self) -> Ordering {
                self.as_str().cmp(other.as_str())
            }
        }

        impl Hash for $kind {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl Borrow<str> for $kind {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl AsRef<str> for $kind {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($kind)).field(&self.as_str()).finish()
            }
        }
    )*};
}

behave_as_string!(Jid, BareJid, FullJid);

#[cfg(test)]
mod tests;
