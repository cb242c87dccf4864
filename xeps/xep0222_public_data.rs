//! # XEP-0222: Persistent Storage of Public Data via PubSub
//!
//! Follows 1.0 (2008-09-08). Clients keep what everybody may read in nodes of their account.
//!
//! - No handlers: it is publishing with options (§2), which [XEP-0060](crate::xep0060_pubsub) does as §4 wants it.

use unisono_core::extension::{Extension, Registry, Spec};

pub struct PublicData;

impl Extension for PublicData {
    fn spec(&self) -> Spec {
        Spec::xep(222, "1.0")
    }

    fn register(&self, _: &mut Registry) {}
}
