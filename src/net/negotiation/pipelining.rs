//! XEP-0509: authentication that does not wait for the features.
//!
//! Follows 0.2.0 (2026-04-03). What is offered has a version, of the scheme `opaque`: a hash of it. A client that sends
//! `<authenticate/>` right behind its header says what version it counts on, and learns where there is another by now.
//!
//! - Ours: so many such attempts of a stream are without prejudice (§2.2); then they count as failed.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_xml::Element;

/// §2.1
const NS: &str = "urn:xmpp:iap:0";
const SCHEME: &str = "opaque";
/// Attempts of one stream that count on another offer, and are not counted.
pub(super) const WITHOUT_PREJUDICE: u32 = 3;
/// Bytes of the hash that tell one offer from another.
const VERSION_BYTES: usize = 12;

/// §2.3.1: the version of what is offered, without itself.
fn version(features: &Element) -> String {
    let hash = digest(&SHA256, features.to_string_in(&CLIENT_SCOPE).as_bytes());
    STANDARD.encode(hash.as_ref().get(..VERSION_BYTES).unwrap_or_default())
}

/// §2.1
pub(super) fn feature(features: &Element) -> Element {
    Element::builder("config-version", NS).attr("scheme", SCHEME).attr("value", version(features)).build()
}

/// §2.2: whether a request to authenticate counts on another offer than this one.
pub(super) fn is_outdated(request: &Element, features: impl FnOnce() -> Element) -> bool {
    let Some(said) = request.child("config-version", NS) else { return false };
    said.attr("value") != Some(&version(&features()))
}

/// §2.2: the reason of the failure.
pub(super) fn mismatch() -> Element {
    Element::new("config-version-mismatch", NS)
}
