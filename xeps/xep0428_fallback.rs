//! # XEP-0428: Fallback Indication
//!
//! Follows 0.2.1 (2024-03-20). A text for older clients is a text, and kept like any other.
//!
//! - No handlers: that the body only stands in for something else (§2.2) is for clients to know. What a message is, the
//!   server sees from that something. §4: a server that left out what is so marked could be made to lose real texts.

use unisono_core::extension::{Extension, Registry, Spec};

pub const NS: &str = "urn:xmpp:fallback:0";

pub struct Fallback;

impl Extension for Fallback {
    fn spec(&self) -> Spec {
        Spec::xep(428, "0.2.1")
    }

    fn register(&self, _: &mut Registry) {}
}

#[cfg(test)]
mod tests {
    use unisono_core::extension::Side;
    use unisono_core::record::Keep;

    use crate::testing::{account, message, vote};

    #[test]
    fn a_text_that_only_stands_in_is_kept() {
        let body = "<body>👋</body>";
        let all = "<fallback xmlns='urn:xmpp:fallback:0' for='urn:example'/>";
        let a_part = "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='1'/></fallback>";
        for (payload, kept) in [
            (format!("{body}{all}"), Keep::Archive), // §4
            (format!("{body}{a_part}"), Keep::Archive),
            (format!("<fallback xmlns='urn:xmpp:fallback:0'><body/></fallback>{body}"), Keep::Archive),
            (all.to_owned(), Keep::UntilDelivered), // stands in for nothing that is there
        ] {
            assert_eq!(vote(&message("chat", &payload), &account(), Side::Recipient), kept, "{payload}");
        }
    }
}
