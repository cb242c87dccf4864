//! # XEP-0455: Service Outage Status
//!
//! Follows 0.4.0 (2025-08-15). Where one learns what is wrong while the server cannot be reached, as its administrator says.
//!
//! - A form beside what the server is (XEP-0128). Without addresses there is none.
//! - The file at these addresses (§2.2) is on another machine, and written by whoever knows of the outage.

use unisono_core::extension::{Entity, Extension, Registry, Spec};
use unisono_xml::Element;

use crate::xep0004_forms::{field, form};

/// §2.1, the type of the form.
pub const NS: &str = "urn:xmpp:sos:0";

pub struct Outages;

impl Extension for Outages {
    fn spec(&self) -> Spec {
        Spec::xep(455, "0.4.0")
    }

    fn register(&self, on: &mut Registry) {
        on.extended_info(Entity::Server, |hub| info(&hub.settings.status_addresses));
    }
}

fn info(addresses: &[String]) -> Option<Element> {
    let addresses = addresses.iter().map(String::as_str);
    (addresses.len() > 0).then(|| {
        form("result", NS).child(field("external-status-addresses", "list-multi", addresses)).build()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::element;

    #[test]
    fn the_form_has_the_addresses_that_there_are() {
        assert_eq!(info(&[]), None);
        let want = element(
            "<x xmlns='jabber:x:data' type='result'>\
             <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:sos:0</value></field>\
             <field var='external-status-addresses' type='list-multi'><value>https://status.example.net/x.json</value>\
             </field></x>",
        );
        assert_eq!(info(&["https://status.example.net/x.json".to_owned()]), Some(want));
    }
}
