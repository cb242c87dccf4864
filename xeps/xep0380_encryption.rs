//! # XEP-0380: Explicit Message Encryption
//!
//! Follows 0.4.0 (2021-11-18). What is encrypted is kept, though nobody but the devices can read it.
//!
//! - Read by XEP-0313: a message with this mark, or with the payload of an encryption that the table of §3.2 lists. Such
//!   a payload without a text moves keys between devices, and one that misses it cannot read what follows.
//! - The feature is one of clients (§3.3).

use unisono_core::extension::{Extension, Registry, Spec};
use unisono_core::record::Payload;

use crate::xep0384_omemo;

pub const NS: &str = "urn:xmpp:eme:0";
/// §3.2: the payloads that stand in a message. OTR has none: it is in the body.
pub const PAYLOADS: &[(&str, &str)] = &[
    ("encrypted", xep0384_omemo::NS_OLD),
    ("encrypted", "urn:xmpp:omemo:1"),
    ("encrypted", xep0384_omemo::NS),
    ("openpgp", "urn:xmpp:openpgp:0"),
    ("x", "jabber:x:encrypted"),
];

pub struct Encryption;

impl Extension for Encryption {
    fn spec(&self) -> Spec {
        Spec::xep(380, "0.4.0")
    }

    /// [`is_part`] is read by XEP-0313.
    fn register(&self, _: &mut Registry) {}
}

/// A message with the mark, or with what it marks.
pub(crate) fn is_part(payload: &Payload) -> bool {
    payload.has("encryption", NS) || PAYLOADS.iter().any(|(name, ns)| payload.has(name, ns))
}

#[cfg(test)]
mod tests {
    use unisono_core::extension::Side;
    use unisono_core::record::Keep;

    use crate::testing::{account, message};
    use crate::xep0313_mam::keep;

    #[test]
    fn what_is_encrypted_is_kept() {
        let omemo = "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>";
        for (kind, payload, kept) in [
            ("chat", omemo, Some(Keep::Archive)), // moves keys
            ("chat", "<encrypted xmlns='urn:xmpp:omemo:2'/>", Some(Keep::Archive)),
            ("chat", "<encrypted xmlns='urn:xmpp:omemo:1'/>", Some(Keep::Archive)),
            ("normal", "<openpgp xmlns='urn:xmpp:openpgp:0'/>", Some(Keep::Archive)),
            ("normal", "<x xmlns='jabber:x:encrypted'/>", Some(Keep::Archive)),
            ("chat", "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:example'/>", Some(Keep::Archive)),
            ("groupchat", omemo, None),
            ("headline", omemo, None),
            ("error", omemo, None),
            ("chat", "<encrypted xmlns='urn:example'/>", None),
            ("chat", "<list xmlns='eu.siacs.conversations.axolotl'/>", None),
            ("chat", "<x xmlns='jabber:x:signed'/>", None),
        ] {
            assert_eq!(keep(&message(kind, payload), &account(), Side::Sender), kept, "{kind} {payload}");
        }
    }
}
