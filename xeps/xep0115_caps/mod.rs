//! # XEP-0115: Entity Capabilities
//!
//! Follows 1.6.0 (2022-03-08). The server says in its stream features what a client would have to ask.
//!
//! - Ours: the hash is computed from what XEP-0030 answers, so the two cannot disagree.
//! - Left out: keeping what clients announce (§5.4), which is for those who ask clients: here it passes on in their
//!   presence, whole; taking it out of presence on its way (§8.4, a MAY).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use unisono_core::extension::{Entity, Extension, Registry, Spec};
use unisono_xml::Element;

use crate::xep0004_forms;
use crate::xep0030_disco::{Identity, Info, info_of};

pub const NS: &str = "http://jabber.org/protocol/caps";
/// Names the software (§4), wherever it is found.
const NODE: &str = "urn:uuid:9de49a42-b3bf-47d2-9e0c-22a1425164cd";

pub struct Caps;

impl Extension for Caps {
    fn spec(&self) -> Spec {
        Spec::xep(115, "1.6.0")
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

/// §5.1: all is sorted by its octets.
fn verification(info: &Info) -> String {
    let mut text = String::new();
    let mut add = |part: &str| {
        text.push_str(part);
        text.push('<');
    };
    let mut identities = info.identities.clone();
    identities.sort_unstable_by_key(|identity| (identity.category, identity.kind, identity.lang));
    for Identity { category, kind, lang, name } in identities {
        add(&format!("{category}/{kind}/{lang}/{name}"));
    }
    let mut features = info.features.clone();
    features.sort_unstable();
    features.into_iter().for_each(&mut add);
    let mut forms: Vec<_> = info.forms.iter().map(fields).collect();
    forms.sort_unstable();
    for (form_type, fields) in forms {
        add(&form_type);
        for (name, values) in fields {
            add(&name);
            for value in values {
                add(&value);
            }
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

    const FEATURES: [&str; 4] = [
        "http://jabber.org/protocol/muc",
        "http://jabber.org/protocol/disco#items",
        "http://jabber.org/protocol/caps",
        "http://jabber.org/protocol/disco#info",
    ];

    fn identity(lang: &'static str, name: &'static str) -> Identity {
        Identity { category: "client", kind: "pc", lang, name }
    }

    /// The form of §5.3, in another order than the one that counts.
    const SOFTWARE: &str = "<x xmlns='jabber:x:data' type='result'>\
        <field var='software_version'><value>0.11</value></field>\
        <field var='os_version'><value>10.5.1</value></field>\
        <field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field>\
        <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>\
        <field var='os'><value>Mac</value></field>\
        <field var='software'><value>Psi</value></field></x>";

    #[test]
    fn the_examples_of_the_specification() {
        let simple = Info {
            identities: vec![identity("", "Exodus 0.9.1")],
            features: FEATURES.to_vec(),
            forms: Vec::new(),
        };
        assert_eq!(verification(&simple), "QgayPKawpkPSDYmwT/WM94uAlu0="); // §5.2
        let complex = Info {
            identities: vec![identity("en", "Psi 0.11"), identity("el", "Ψ 0.11")],
            features: FEATURES.to_vec(),
            forms: vec![element(SOFTWARE)],
        };
        assert_eq!(verification(&complex), "q07IKJEyjvHSyhy//CH0CxmKi8w="); // §5.3
    }

    #[test]
    fn whatever_changes_changes_the_hash() {
        let info = |identity, features: &[&'static str], forms: &[&str]| {
            let forms = forms.iter().map(|form| element(form)).collect();
            verification(&Info { identities: vec![identity], features: features.to_vec(), forms })
        };
        let other = SOFTWARE.replace("0.11", "0.12");
        let further = SOFTWARE.replace("softwareinfo", "other");
        let hashes = [
            info(identity("", "a"), &FEATURES, &[SOFTWARE]),
            info(identity("", "b"), &FEATURES, &[SOFTWARE]),
            info(identity("en", "a"), &FEATURES, &[SOFTWARE]),
            info(identity("", "a"), &FEATURES[1..], &[SOFTWARE]),
            info(identity("", "a"), &FEATURES, &[]),
            info(identity("", "a"), &FEATURES, &[&other]),
            info(identity("", "a"), &FEATURES, &[SOFTWARE, &further]),
        ];
        let different: std::collections::BTreeSet<_> = hashes.iter().collect();
        assert_eq!(different.len(), hashes.len());
        assert_eq!(info(identity("", "a"), &FEATURES, &[&further, SOFTWARE]), hashes[6], "in any order");
    }
}
