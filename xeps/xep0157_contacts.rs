//! # XEP-0157: Contact Addresses for XMPP Services
//!
//! Follows 1.1.1 (2021-03-04). Whom to write to about this server, as its administrator says in `[contacts]`.
//!
//! - A form beside what the server is (XEP-0128). Without addresses there is none.

use unisono_core::extension::{Entity, Extension, Registry, Spec};
use unisono_xml::Element;

use crate::xep0004_forms::{field, form};

/// §7.1
pub const NS_SERVER_INFO: &str = "http://jabber.org/network/serverinfo";

pub struct ContactAddresses;

impl Extension for ContactAddresses {
    fn spec(&self) -> Spec {
        Spec::xep(157, "1.1.1")
    }

    fn register(&self, on: &mut Registry) {
        on.extended_info(Entity::Server, |hub| info(&hub.settings.contacts));
    }
}

fn info(contacts: &[(&'static str, Vec<String>)]) -> Option<Element> {
    let mut fields = contacts.iter().filter(|(_, addresses)| !addresses.is_empty()).peekable();
    fields.peek()?;
    let fields =
        fields.map(|(name, addresses)| field(name, "list-multi", addresses.iter().map(String::as_str)));
    Some(form("result", NS_SERVER_INFO).children(fields).build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::element;

    #[test]
    fn the_form_has_the_addresses_that_there_are() {
        assert_eq!(info(&[]), None);
        assert_eq!(info(&[("abuse-addresses", Vec::new())]), None);
        let addresses = ["mailto:abuse@example.org", "xmpp:abuse@example.org"].map(str::to_owned).to_vec();
        let want = element(
            "<x xmlns='jabber:x:data' type='result'>\
             <field var='FORM_TYPE' type='hidden'><value>http://jabber.org/network/serverinfo</value></field>\
             <field var='abuse-addresses' type='list-multi'><value>mailto:abuse@example.org</value>\
             <value>xmpp:abuse@example.org</value></field></x>",
        );
        assert_eq!(info(&[("admin-addresses", Vec::new()), ("abuse-addresses", addresses)]), Some(want));
    }
}
