//! # XEP-0115: Entity Capabilities
//!
//! Follows 1.6.0 (2022-03-08). The server says in its stream features what a client would have to ask.
//!
//! - Ours: the hash is computed from what XEP-0030 answers, so the two cannot disagree.
//! - The capabilities of clients pass through; PEP will read them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use unisono_core::extension::{Entity, Extension, Registry, Spec};
use unisono_xml::Element;

use crate::xep0004_forms;
use crate::xep0030_disco::{Info, info_of};

pub const NS: &str = "http://jabber.org/protocol/caps";
/// Names the software (§4).
const NODE: &str = "https://unisono.example/caps";

pub struct Caps;

impl Extension for Caps {
    fn spec(&self) -> Spec {
        Spec::xep(115, "1.6.0").partial("caching what clients announce: nothing needs it before PEP")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS);
        // §6.3
        on.stream_feature(|hub| {
            let ver = verification(&info_of(hub, Entity::Server));
            Element::builder("c", NS).attr("hash", "sha-1").attr("node", NODE).attr("ver", ver).build()
        });
    }
}

/// The node under which the server's information can be asked (§6.2).
pub(crate) fn node(info: &Info) -> String {
    format!("{NODE}#{}", verification(info))
}

/// §5.1
fn verification(info: &Info) -> String {
    let mut text = String::new();
    let mut identities: Vec<_> =
        info.identities.iter().map(|(category, kind, name)| format!("{category}/{kind}//{name}")).collect();
    identities.sort_unstable();
    let features = info.features.iter().copied();
    for part in identities.iter().map(String::as_str).chain(features) {
        text.push_str(part);
        text.push('<');
    }
    let mut forms: Vec<_> = info.forms.iter().map(fields).collect();
    forms.sort_unstable();
    for (form_type, fields) in forms {
        let fields = fields.iter().flat_map(|(name, values)| std::iter::once(name).chain(values));
        for part in std::iter::once(&form_type).chain(fields) {
            text.push_str(part);
            text.push('<');
        }
    }
    STANDARD.encode(Sha1::digest(text.as_bytes()))
}

type Fields = Vec<(String, Vec<String>)>;

/// A form's type, and its other fields, sorted.
fn fields(form: &Element) -> (String, Fields) {
    let mut form_type = String::new();
    let mut fields = Fields::new();
    for field in form.children().filter(|child| child.is("field", xep0004_forms::NS)) {
        let values = field.children().filter(|child| child.is("value", xep0004_forms::NS));
        let mut values: Vec<_> = values.map(|value| value.text().into_owned()).collect();
        values.sort_unstable();
        match field.attr("var") {
            Some("FORM_TYPE") => form_type = values.into_iter().next().unwrap_or_default(),
            name => fields.push((name.unwrap_or_default().to_owned(), values)),
        }
    }
    fields.sort_unstable();
    (form_type, fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::element;

    #[test]
    fn the_examples_of_the_specification() {
        let simple = Info {
            identities: vec![("client", "pc", "Exodus 0.9.1")],
            features: vec![
                "http://jabber.org/protocol/caps",
                "http://jabber.org/protocol/disco#info",
                "http://jabber.org/protocol/disco#items",
                "http://jabber.org/protocol/muc",
            ],
            forms: Vec::new(),
        };
        assert_eq!(verification(&simple), "QgayPKawpkPSDYmwT/WM94uAlu0="); // §5.2
    }

    #[test]
    fn forms_count_in_their_sorted_order() {
        let form = element(
            "<x xmlns='jabber:x:data' type='result'><field var='os'><value>Mac</value></field>\
             <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>\
             <field var='ip_version'><value>ipv6</value><value>ipv4</value></field></x>",
        );
        let (form_type, fields) = fields(&form);
        assert_eq!(form_type, "urn:xmpp:dataforms:softwareinfo");
        assert_eq!(
            fields,
            [
                ("ip_version".to_owned(), vec!["ipv4".to_owned(), "ipv6".to_owned()]),
                ("os".to_owned(), vec!["Mac".to_owned()])
            ]
        );
    }
}
