//! # XEP-0359: Unique and Stable Stanza IDs
//!
//! Follows 0.7.0 (2023-02-20). Every copy of a recorded message says its id in the archive of the account it is for.
//!
//! - Stages: `annotate` (§5, forged ids), `deliver` (the stamp). Rests on the sealed positions of the core.
//! - Ours: ids are the same live, as a copy, and in the archive; one order inside, unguessable outside.

use unisono_core::extension::{Child, Copy, Extension, Registry, Spec};
use unisono_core::hub::Settings;
use unisono_core::jid::Jid;
use unisono_xml::{Element, escape_attr_into};

pub use unisono_core::stanza::NS_STANZA_IDS as NS;

pub struct StanzaIds;

impl Extension for StanzaIds {
    fn spec(&self) -> Spec {
        Spec::xep(359, "0.7.0")
    }

    fn register(&self, on: &mut Registry) {
        on.account_feature(NS);
        on.annotate(refuse_forged);
        on.stamp(stamp);
    }
}

/// §5: nobody says an id in our name; what cannot be read as an address might be read as one of ours by others.
fn refuse_forged(child: &Element, _: &Jid, settings: &Settings) -> Child {
    if !child.is("stanza-id", NS) {
        return Child::Keep;
    }
    let by = child.attr("by").and_then(|by| by.parse::<Jid>().ok());
    if by.is_none_or(|by| settings.serves(by.domain())) { Child::Remove } else { Child::Keep }
}

/// §3: `<stanza-id/>` by the account.
fn stamp(out: &mut Vec<u8>, copy: &Copy<'_>) {
    let Some(id) = copy.id else { return };
    out.extend_from_slice(b"<stanza-id xmlns='urn:xmpp:sid:0' by='");
    escape_attr_into(out, copy.owner.as_str());
    out.extend_from_slice(b"' id='");
    escape_attr_into(out, id);
    out.extend_from_slice(b"'/>");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::testing::{element, settings};

    #[test]
    fn forged_ids_are_taken_out_wherever_they_stand() {
        let from = "eve@other.example/x".parse().unwrap();
        for (child, verdict) in [
            ("<stanza-id xmlns='urn:xmpp:sid:0' by='alice@example.org' id='1'/>", Child::Remove),
            ("<stanza-id xmlns='urn:xmpp:sid:0' by='Alice@EXAMPLE.org' id='1'/>", Child::Remove),
            ("<stanza-id xmlns='urn:xmpp:sid:0' by='example.org' id='1'/>", Child::Remove),
            ("<stanza-id xmlns='urn:xmpp:sid:0' by='@@' id='1'/>", Child::Remove),
            ("<stanza-id xmlns='urn:xmpp:sid:0' id='1'/>", Child::Remove),
            ("<stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.elsewhere.net' id='1'/>", Child::Keep),
            ("<origin-id xmlns='urn:xmpp:sid:0' id='1'/>", Child::Keep),
        ] {
            assert_eq!(refuse_forged(&element(child), &from, &settings()), verdict, "{child}");
        }
    }
}
