//! # XEP-0223: Persistent Storage of Private Data via PubSub
//!
//! Follows 1.1.1 (2023-03-23). Clients keep what nobody else may read in nodes of their account.
//!
//! - No handlers: it is publishing with options, which are preconditions (§2), as [XEP-0060](crate::xep0060_pubsub) has
//!   them. A node that others may read does not take what is private.

use unisono_core::extension::{Extension, Registry, Spec};

pub struct PrivateData;

impl Extension for PrivateData {
    fn spec(&self) -> Spec {
        Spec::xep(223, "1.1.1")
    }

    fn register(&self, _: &mut Registry) {}
}
