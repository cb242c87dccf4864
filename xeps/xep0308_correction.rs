//! # XEP-0308: Last Message Correction
//!
//! Follows 1.2.1 (2022-05-17). A corrected message reaches every device, and the archive has both.
//!
//! - Read by XEP-0313: a correction is kept even if what it replaces had no text.
//! - What it replaces is not changed (§4): a correction is a message of its own, and clients put the two together.
//!   The feature is one of clients (§2).

use unisono_core::extension::{Extension, Registry, Spec};
use unisono_core::record::Payload;

pub const NS: &str = "urn:xmpp:message-correct:0";

pub struct Correction;

impl Extension for Correction {
    fn spec(&self) -> Spec {
        Spec::xep(308, "1.2.1")
    }

    /// [`is_part`] is read by XEP-0313.
    fn register(&self, _: &mut Registry) {}
}

/// §4: a correction has all payloads of the message, so it is kept as that was.
pub(crate) fn is_part(payload: &Payload) -> bool {
    payload.has("replace", NS)
}

#[cfg(test)]
mod tests {
    use unisono_core::extension::Side;
    use unisono_core::record::Keep;

    use crate::testing::{account, message};
    use crate::xep0313_mam::keep;

    #[test]
    fn a_correction_is_kept() {
        let replace = "<replace xmlns='urn:xmpp:message-correct:0' id='bad1'/>";
        let with_body = format!("<body>window</body>{replace}");
        for (kind, payload, kept) in [
            ("chat", with_body.as_str(), Some(Keep::Archive)),
            ("normal", replace, Some(Keep::Archive)),
            ("groupchat", replace, None),
            ("headline", replace, None),
            ("error", replace, None),
            ("chat", "<replace xmlns='urn:example' id='bad1'/>", None),
        ] {
            assert_eq!(keep(&message(kind, payload), &account(), Side::Sender), kept, "{kind} {payload}");
        }
    }
}
