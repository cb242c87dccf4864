//! # XEP-0297: Stanza Forwarding
//!
//! Follows 1.0 (2013-10-02). A stanza inside of another, with the time at which it was first received.
//!
//! - No handlers: what users forward to each other (§7.1) passes like any other content, and other extensions write
//!   their results with what is here. The feature is one of clients (§4).

use unisono_core::extension::{Extension, Registry, Spec};

use crate::xep0203_delay;

pub const NS: &str = "urn:xmpp:forward:0";

pub struct Forwarding;

impl Extension for Forwarding {
    fn spec(&self) -> Spec {
        Spec::xep(297, "1.0")
    }

    fn register(&self, _: &mut Registry) {}
}

/// Appends `<forwarded/>` around what `stanza` appends, which declares its own namespace (§3.2, rule 3). `received` is
/// in microseconds since 1970 (rule 2).
pub fn write(out: &mut Vec<u8>, received: i64, stanza: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"<forwarded xmlns='");
    out.extend_from_slice(NS.as_bytes());
    out.extend_from_slice(b"'>");
    xep0203_delay::write(out, None, received);
    stanza(out);
    out.extend_from_slice(b"</forwarded>");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::element;

    #[test]
    fn the_stanza_stands_beside_its_time_in_its_own_namespace() {
        let mut out = Vec::new();
        write(&mut out, 1_278_803_305_000_000, |out| {
            out.extend_from_slice(b"<message xmlns='jabber:client'><body>hi</body></message>");
        });
        let forwarded = element(std::str::from_utf8(&out).unwrap());
        assert!(forwarded.is("forwarded", NS));
        let delay = forwarded.first_child().unwrap();
        assert!(delay.is("delay", xep0203_delay::NS));
        assert_eq!(delay.attr("stamp"), Some("2010-07-10T23:08:25.000000Z"));
        assert!(forwarded.child("message", "jabber:client").unwrap().has_child("body", "jabber:client"));
    }
}
