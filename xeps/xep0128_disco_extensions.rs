//! # XEP-0128: Service Discovery Extensions
//!
//! Follows 1.0.1 (2019-07-30). Forms that tell more about an entity than its features can.
//!
//! - The forms stand beside what they tell of, in the extensions; XEP-0030 answers with them, and they count in the hash of
//!   XEP-0115. Here is the one of the server itself, with the fields that XEP-0115 §5.3 shows.
//! - Ours: the version is no secret (XEP-0092 tells it as well), the operating system is (XEP-0092 §5).

use unisono_core::extension::{Entity, Extension, Registry, Spec};
use unisono_xml::Element;

use crate::xep0004_forms::{field, form};
use crate::xep0092_version;

/// The form about a piece of software.
pub const NS_SOFTWARE: &str = "urn:xmpp:dataforms:softwareinfo";

pub struct DiscoExtensions;

impl Extension for DiscoExtensions {
    fn spec(&self) -> Spec {
        Spec::xep(128, "1.0.1")
    }

    fn register(&self, on: &mut Registry) {
        on.extended_info(Entity::Server, |_| Some(software()));
    }
}

fn software() -> Element {
    let line = |name, value| field(name, "text-single", [value]);
    form("result", NS_SOFTWARE)
        .child(line("software", xep0092_version::NAME))
        .child(line("software_version", xep0092_version::VERSION))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::element;

    #[test]
    fn the_form_has_its_type_first_and_one_value_for_each_field() {
        let version = env!("CARGO_PKG_VERSION");
        let want = format!(
            "<x xmlns='jabber:x:data' type='result'>\
             <field var='FORM_TYPE' type='hidden'><value>{NS_SOFTWARE}</value></field>\
             <field var='software' type='text-single'><value>Unisono</value></field>\
             <field var='software_version' type='text-single'><value>{version}</value></field></x>"
        );
        assert_eq!(software(), element(&want)); // §2
    }
}
