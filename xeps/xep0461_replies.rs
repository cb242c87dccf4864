//! # XEP-0461: Message Replies
//!
//! Follows 0.2.1 (2026-02-25). An answer says what it answers, on every device and in the archive.
//!
//! - Read by XEP-0313: an answer is kept even if it has no text, such as a file.
//! - The id that it names is the sender's own of the message (§4.1), which no copy and no archive changes. The feature
//!   is one of clients (§2).

use unisono_core::extension::{Extension, Registry, Spec};
use unisono_core::record::Payload;

pub const NS: &str = "urn:xmpp:reply:0";

pub struct Replies;

impl Extension for Replies {
    fn spec(&self) -> Spec {
        Spec::xep(461, "0.2.1")
    }

    /// [`is_part`] is read by XEP-0313.
    fn register(&self, _: &mut Registry) {}
}

/// An answer may have no text, such as a file.
pub(crate) fn is_part(payload: &Payload) -> bool {
    payload.has("reply", NS)
}

#[cfg(test)]
mod tests {
    use unisono_core::extension::Side;
    use unisono_core::record::Keep;

    use crate::testing::{account, message};
    use crate::xep0313_mam::keep;

    #[test]
    fn an_answer_is_kept() {
        let reply = "<reply xmlns='urn:xmpp:reply:0' to='anna@example.com' id='message-id1'/>";
        for (kind, payload, kept) in [
            ("chat", reply, Some(Keep::Archive)),
            ("normal", reply, Some(Keep::Archive)),
            ("groupchat", reply, None),
            ("headline", reply, None),
            ("error", reply, None),
            ("chat", "<reply xmlns='urn:example' id='message-id1'/>", None),
        ] {
            assert_eq!(keep(&message(kind, payload), &account(), Side::Sender), kept, "{kind} {payload}");
        }
    }
}
