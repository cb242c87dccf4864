//! # XEP-0115: Entity Capabilities
//!
//! Follows 1.6.0 (2022-03-08). Clients and the server say with few bytes what one would have to ask them.
//!
//! - The server's own hash stands in its stream features (§6.3), computed from what XEP-0030 answers, so that the two
//!   cannot disagree.
//! - What devices announce in their presence is looked up, or asked once for all that announce the same (§5.4, §8.2): it
//!   says which nodes of others a device is interested in (XEP-0163 §4.3), and nothing else of it is kept. XEP-0390 is
//!   preferred where a presence has both.
//! - Ours: an answer that fits its hash is not enough to be kept for others; see [`verification`]. One that does not fit, or
//!   cannot be checked, tells of its own session, and a device whose hash comes from before there were any (§13) is asked
//!   as well, for itself. Who announces nothing supports nothing (§8.3), so it is not asked.
//! - Left out: taking what is announced out of presence on its way (§8.4, a MAY); the bundles of §13 (`ext`).

mod learning;
mod memory;
pub(crate) mod verification;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use unisono_core::extension::{Entity, Extension, Registry, Spec};
use unisono_core::record::Payload;
use unisono_xml::Element;

use crate::xep0030_disco::{Info, info_of};
use crate::xep0390_caps2;
use verification::Unverifiable;

pub const NS: &str = "http://jabber.org/protocol/caps";
/// Names the software (§4), wherever it is found.
const NODE: &str = "urn:uuid:9de49a42-b3bf-47d2-9e0c-22a1425164cd";
/// Of a longer node the device is asked without it.
const NODE_BYTES_MAX: usize = 1023;

pub struct Caps;

impl Extension for Caps {
    fn spec(&self) -> Spec {
        Spec::xep(115, "1.6.0")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS);
        // §6.3
        on.stream_feature(|hub| {
            let ver = own_hash(&info_of(hub, Entity::Server));
            Element::builder("c", NS).attr("hash", "sha-1").attr("node", NODE).attr("ver", ver).build()
        });
        on.server_state::<memory::Memory>();
        on.presence(learning::present);
    }
}

/// The node under which the server's information can be asked (§6.2).
pub(crate) fn node(info: &Info) -> String {
    format!("{NODE}#{}", own_hash(info))
}

/// §5.1
fn own_hash(info: &Info) -> String {
    let text = verification::text(&info.to_query(None)).unwrap_or_default();
    STANDARD.encode(Sha1::digest(text.as_bytes()))
}

/// How a hash is made. What is known by one is not known by another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Scheme {
    /// §5.1 with SHA-1, the one that must be there (§9.1).
    Sha1,
    /// XEP-0390 §4.1 with these.
    Caps2Sha256,
    Caps2Sha3,
}

/// What stands for a set of capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Hash {
    pub(crate) scheme: Scheme,
    /// A shorter one is followed by zeros.
    pub(crate) value: [u8; 32],
}

impl Hash {
    /// Reads a value in Base64; `None` if it has not the length of such a hash.
    pub(crate) fn parse(scheme: Scheme, text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        let length = match scheme {
            Scheme::Sha1 => 20,
            Scheme::Caps2Sha256 | Scheme::Caps2Sha3 => 32,
        };
        (bytes.len() == length).then(|| Self::new(scheme, &bytes))
    }

    /// The hash of these bytes, which are not longer than it is.
    pub(crate) fn new(scheme: Scheme, bytes: &[u8]) -> Self {
        let mut value = [0; 32];
        value.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Self { scheme, value }
    }

    /// Whether what a device answered is what this stands for, so that it can be believed of everybody who announces it
    /// (§5.4).
    fn verifies(&self, query: &Element) -> Result<(), Unverifiable> {
        let hash = match self.scheme {
            Scheme::Sha1 => {
                let text = verification::text(query)?;
                verification::check(query)?;
                Self::new(self.scheme, &Sha1::digest(text.as_bytes()))
            }
            scheme @ (Scheme::Caps2Sha256 | Scheme::Caps2Sha3) => xep0390_caps2::hash(scheme, query)?,
        };
        if hash == *self { Ok(()) } else { Err(Unverifiable::Different) }
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.scheme, STANDARD.encode(self.value))
    }
}

/// What a presence says of its sender's capabilities.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Announced {
    /// What others may announce as well.
    Hash(Hash),
    /// Something that cannot be checked, and is asked under this node, if it has one.
    Own(Option<String>),
}

/// What a presence announces, and the node under which the device tells what that stands for (§6.2, XEP-0390 §5.5).
fn announced(presence: &Payload) -> Option<(Announced, Option<String>)> {
    if let Some((hash, node)) = presence.child("c", xep0390_caps2::NS).and_then(xep0390_caps2::announced) {
        return Some((Announced::Hash(hash), Some(node)));
    }
    let c = presence.child("c", NS)?;
    let Some(algorithm) = c.attr("hash") else {
        // §13: what the version says cannot be known, so the device is asked for all.
        return Some((Announced::Own(None), None));
    };
    let (node, ver) = (c.attr("node").unwrap_or_default(), c.attr("ver").unwrap_or_default());
    let node = Some(format!("{node}#{ver}")).filter(|node| node.len() <= NODE_BYTES_MAX);
    let hash = if algorithm == "sha-1" { Hash::parse(Scheme::Sha1, ver) } else { None };
    let announced = hash.map_or(Announced::Own(node.clone()), Announced::Hash);
    Some((announced, node))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_presence_announces() {
        const VER: &str = "QgayPKawpkPSDYmwT/WM94uAlu0=";
        const HASH256: &str = "u79ZroNJbdSWhdSp311mddz44oHHPsEBntQ5b1jqBSY=";
        let c = |attributes: &str| format!("<c xmlns='{NS}' node='n' {attributes}/>");
        let c2 = |hashes: &str| format!("<c xmlns='urn:xmpp:caps'>{hashes}</c>");
        let hash = |algo: &str| format!("<hash xmlns='urn:xmpp:hashes:2' algo='{algo}'>{HASH256}</hash>");
        let sha1 = Announced::Hash(Hash::parse(Scheme::Sha1, VER).unwrap());
        let of = |scheme| Announced::Hash(Hash::parse(scheme, HASH256).unwrap());
        let own = |node: &str| (Announced::Own(Some(node.to_owned())), Some(node.to_owned()));
        let right = c(&format!("hash='sha-1' ver='{VER}'"));
        for (presence, want) in [
            (right.clone(), Some((sha1.clone(), Some(format!("n#{VER}"))))),
            // XEP-0390 §4.3, and it is preferred.
            (
                right.clone() + &c2(&hash("sha-256")),
                Some((of(Scheme::Caps2Sha256), Some(format!("urn:xmpp:caps#sha-256.{HASH256}")))),
            ),
            (
                c2(&(hash("md5") + &hash("sha3-256"))),
                Some((of(Scheme::Caps2Sha3), Some(format!("urn:xmpp:caps#sha3-256.{HASH256}")))),
            ),
            (right.clone() + &c2(&hash("md5")), Some((sha1, Some(format!("n#{VER}"))))),
            (c2(&hash("md5")), None),
            (c2(""), None),
            // §5.4, step 2: another function; and what is no hash.
            (c(&format!("hash='sha-512' ver='{VER}'")), Some(own(&format!("n#{VER}")))),
            (c("hash='sha-1' ver='AAAA'"), Some(own("n#AAAA"))),
            (c("hash='sha-1' ver='?'"), Some(own("n#?"))),
            (c("hash='sha-1'"), Some(own("n#"))),
            // §13
            (c("ver='0.9' ext='a b'"), Some((Announced::Own(None), None))),
            (c(&format!("hash='sha-512' ver='{}'", "v".repeat(2000))), Some((Announced::Own(None), None))),
            // §8.3
            (String::new(), None),
            ("<c xmlns='urn:x'/>".to_owned(), None),
        ] {
            assert_eq!(announced(&Payload::from_text(presence.clone())), want, "{presence}");
        }
    }
}
