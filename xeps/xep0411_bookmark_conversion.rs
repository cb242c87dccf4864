//! # XEP-0411: Bookmarks Conversion
//!
//! Follows 1.1.0 (2021-10-19). The list of bookmarks is the same in PEP and in private storage.
//!
//! - No handlers: private storage (XEP-0049) answers with what [XEP-0048](crate::xep0048_bookmarks) keeps in PEP, and
//!   stores there. A node that others may read is left alone (§5).

use unisono_core::extension::{Extension, Registry, Spec};

pub struct BookmarkConversion;

impl Extension for BookmarkConversion {
    fn spec(&self) -> Spec {
        Spec::xep(411, "1.1.0")
    }

    fn register(&self, on: &mut Registry) {
        on.account_feature("urn:xmpp:bookmarks-conversion:0");
    }
}
