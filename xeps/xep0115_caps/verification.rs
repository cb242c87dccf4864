//! The verification string (§5.1), and what a client may not answer (§5.4).
//!
//! The string does not tell where features end and forms begin, nor what is a separator and what a `<` that somebody
//! wrote. So an attacker can give other answers with the same hash, in which a feature of the real client has become the
//! name of a field, and be the first to do so (§9.3). That cannot be mended in the string, but it can be for what is kept
//! of an answer, the features that end with `+notify`: where nothing else ends like that and no `<` is written, they can
//! be read off the string itself, so that all answers of one hash have the same.

use std::collections::BTreeSet;

use unisono_xml::{Element, XML_NS};

use crate::xep0004_forms;
use crate::xep0030_disco::NS_INFO;

/// The end of a feature that says that a device is interested in a node (XEP-0060 §9.2).
pub(crate) const NOTIFY: &str = "+notify";

/// Why an answer tells nothing of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unverifiable {
    /// Something is there that must be different from all others, and is not.
    Twice,
    /// A form has not one type.
    SeveralTypes,
    /// It holds what does not belong there.
    Foreign,
    /// Its text can be read in two ways.
    Ambiguous,
    /// It has another hash.
    Different,
}

/// §5.1: all is sorted by its octets. What is ill-formed has no such string (§5.4, step 3).
pub(super) fn text(query: &Element) -> Result<String, Unverifiable> {
    let mut identities: Vec<_> = children(query, "identity")
        .map(|identity| {
            let attr = |name| identity.attr(name).unwrap_or_default();
            (attr("category"), attr("type"), language(query, identity), attr("name"))
        })
        .collect();
    identities.sort_unstable();
    all_different(&identities)?;
    let mut features: Vec<_> =
        children(query, "feature").map(|feature| feature.attr("var").unwrap_or_default()).collect();
    features.sort_unstable();
    all_different(&features)?;
    let forms = forms(query).map(Form::read).collect::<Result<Vec<_>, _>>()?;
    let mut forms: Vec<_> = forms.into_iter().flatten().collect();
    forms.sort_unstable();
    let types: Vec<_> = forms.iter().map(|form| &form.form_type).collect();
    all_different(&types)?;

    let mut text = String::new();
    let mut add = |part: &str| {
        text.push_str(part);
        text.push('<');
    };
    for (category, kind, lang, name) in identities {
        add(&format!("{category}/{kind}/{lang}/{name}"));
    }
    features.into_iter().for_each(&mut add);
    for Form { form_type, fields } in forms {
        add(&form_type);
        for (name, values) in fields {
            add(&name);
            for value in &values {
                add(value);
            }
        }
    }
    Ok(text)
}

/// Whether the string of an answer tells which nodes it names, so that it can be kept for others.
pub(super) fn check(query: &Element) -> Result<(), Unverifiable> {
    let is_open = |part: &str| !part.contains('<');
    let is_other = |part: &str| is_open(part) && !part.ends_with(NOTIFY);
    let features_are =
        children(query, "feature").all(|feature| is_open(feature.attr("var").unwrap_or_default()));
    let identities_are = children(query, "identity").all(|identity| {
        identity.attrs().iter().all(|attr| is_other(attr.value())) && is_other(language(query, identity))
    });
    let forms_are = forms(query).flat_map(fields_of).all(|field| {
        is_other(field.attr("var").unwrap_or_default()) && values_of(field).all(|value| is_other(&value))
    });
    if features_are && identities_are && forms_are { Ok(()) } else { Err(Unverifiable::Ambiguous) }
}

/// The language of an identity: its own, or that of the answer.
pub(crate) fn language<'a>(query: &'a Element, identity: &'a Element) -> &'a str {
    identity.attr_ns(XML_NS, "lang").or_else(|| query.attr_ns(XML_NS, "lang")).unwrap_or_default()
}

/// Identities or features.
pub(crate) fn children<'a>(query: &'a Element, name: &'static str) -> impl Iterator<Item = &'a Element> {
    query.children().filter(move |child| child.is(name, NS_INFO))
}

pub(crate) fn forms(query: &Element) -> impl Iterator<Item = &Element> {
    query.children().filter(|child| child.is("x", xep0004_forms::NS))
}

pub(crate) fn fields_of(form: &Element) -> impl Iterator<Item = &Element> {
    form.children().filter(|child| child.is("field", xep0004_forms::NS))
}

pub(crate) fn values_of(field: &Element) -> impl Iterator<Item = String> {
    let values = field.children().filter(|child| child.is("value", xep0004_forms::NS));
    values.map(|value| value.text().into_owned())
}

/// A form that counts.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Form {
    form_type: String,
    /// The other fields, sorted, each with its values, sorted.
    fields: Vec<(String, Vec<String>)>,
}

impl Form {
    /// `None` if it does not count (§5.4, step 3.6).
    fn read(form: &Element) -> Result<Option<Self>, Unverifiable> {
        let is_type = |field: &&Element| field.attr("var") == Some("FORM_TYPE");
        let types: Vec<_> = fields_of(form).filter(is_type).collect();
        let names: BTreeSet<_> = types.iter().flat_map(|field| values_of(field)).collect();
        if names.len() > 1 {
            return Err(Unverifiable::SeveralTypes); // step 3.5
        }
        let is_hidden = types.iter().all(|field| field.attr("type") == Some("hidden"));
        let Some(form_type) = names.into_iter().next().filter(|_| is_hidden) else { return Ok(None) };
        let others = fields_of(form).filter(|field| !is_type(field));
        let mut fields: Vec<_> = others
            .map(|field| {
                let mut values: Vec<_> = values_of(field).collect();
                values.sort_unstable();
                (field.attr("var").unwrap_or_default().to_owned(), values)
            })
            .collect();
        fields.sort_unstable();
        Ok(Some(Self { form_type, fields }))
    }
}

/// Steps 3.3 to 3.5: in a sorted list, what is there twice stands side by side.
fn all_different<T: PartialEq>(sorted: &[T]) -> Result<(), Unverifiable> {
    let mut pairs = sorted.iter().zip(sorted.iter().skip(1));
    if pairs.any(|(one, next)| one == next) { Err(Unverifiable::Twice) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Hash, Scheme};
    use super::*;
    use crate::testing::element;

    const FEATURES: [&str; 4] = [
        "http://jabber.org/protocol/muc",
        "http://jabber.org/protocol/disco#items",
        "http://jabber.org/protocol/caps",
        "http://jabber.org/protocol/disco#info",
    ];
    const EXODUS: &str = "<identity category='client' name='Exodus 0.9.1' type='pc'/>";
    const PSI: &str = "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>\
        <identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>";
    /// The form of §5.3, in another order than the one that counts.
    const SOFTWARE: &str = "<x xmlns='jabber:x:data' type='result'>\
        <field var='software_version'><value>0.11</value></field>\
        <field var='os_version'><value>10.5.1</value></field>\
        <field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field>\
        <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>\
        <field var='os'><value>Mac</value></field>\
        <field var='software'><value>Psi</value></field></x>";

    fn features(names: &[&str]) -> String {
        names.iter().map(|name| format!("<feature var='{name}'/>")).collect::<Vec<_>>().concat()
    }

    fn query(parts: &[&str]) -> Element {
        element(&format!("<query xmlns='{NS_INFO}'>{}</query>", parts.concat()))
    }

    fn verifies(ver: &str, parts: &[&str]) -> Result<(), Unverifiable> {
        Hash::parse(Scheme::Sha1, ver).unwrap().verifies(&query(parts))
    }

    const SIMPLE: &str = "QgayPKawpkPSDYmwT/WM94uAlu0="; // §5.2
    const COMPLEX: &str = "q07IKJEyjvHSyhy//CH0CxmKi8w="; // §5.3

    #[test]
    fn the_examples_of_the_specification() {
        let all = features(&FEATURES);
        assert_eq!(verifies(SIMPLE, &[EXODUS, &all]), Ok(()));
        assert_eq!(verifies(COMPLEX, &[PSI, &all, SOFTWARE]), Ok(()));
        assert_eq!(verifies(COMPLEX, &[SOFTWARE, &all, PSI]), Ok(()), "in any order");
        // The language of an identity may be that of the answer.
        let greek = PSI.replace(" xml:lang='el'", "");
        let query = query(&[&greek, &all, SOFTWARE]).to_builder().attr_ns(XML_NS, "lang", "el").build();
        assert_eq!(Hash::parse(Scheme::Sha1, COMPLEX).unwrap().verifies(&query), Ok(()));
    }

    #[test]
    fn whatever_changes_changes_the_hash() {
        let all = features(&FEATURES);
        let other = SOFTWARE.replace("0.11", "0.12");
        let further = SOFTWARE.replace("softwareinfo", "other");
        for parts in [
            &[PSI, &all] as &[&str],
            &[PSI, &all, &other],
            &[PSI, &all, SOFTWARE, &further],
            &[EXODUS, &all, SOFTWARE],
            &[PSI, &features(&FEATURES[1..]), SOFTWARE],
            &[],
        ] {
            assert_eq!(verifies(COMPLEX, parts), Err(Unverifiable::Different), "{parts:?}");
        }
    }

    #[test]
    fn what_is_ill_formed_is_not_believed() {
        let all = features(&FEATURES);
        let form = |fields: &str| format!("<x xmlns='jabber:x:data' type='result'>{fields}</x>");
        let hidden = "<field var='FORM_TYPE' type='hidden'><value>urn:x</value></field>";
        let two =
            form("<field var='FORM_TYPE' type='hidden'><value>urn:x</value><value>urn:y</value></field>");
        let more = all.clone() + &features(&FEATURES[..1]);
        for (parts, want) in [
            (&[EXODUS, EXODUS, &all] as &[&str], Unverifiable::Twice), // step 3.3
            (&[EXODUS, &more], Unverifiable::Twice),                   // step 3.4
            (&[EXODUS, &all, SOFTWARE, SOFTWARE], Unverifiable::Twice), // step 3.5
            (&[EXODUS, &all, &form(hidden), &form(&hidden.repeat(2))], Unverifiable::Twice),
            (&[EXODUS, &all, &two], Unverifiable::SeveralTypes),
        ] {
            assert_eq!(verifies(SIMPLE, parts), Err(want), "{parts:?}");
        }
        // Step 3.6: what has no type, or one that is not hidden, is as if it were not there.
        let open = "<field var='FORM_TYPE'><value>urn:x</value></field>";
        for fields in ["", "<field var='a'><value>b</value></field>", open] {
            assert_eq!(verifies(SIMPLE, &[EXODUS, &all, &form(fields)]), Ok(()), "{fields}");
        }
        // Step 3.5 knows different values only.
        let same = "<field var='FORM_TYPE' type='hidden'><value>urn:x</value><value>urn:x</value></field>";
        assert_eq!(text(&query(&[&form(same)])), Ok("urn:x<".to_owned()));
    }

    /// §9.3: other answers with the hash of a client that is interested in two nodes.
    #[test]
    fn nobody_hides_what_a_client_is_interested_in() {
        let honest = features(&["a", "urn:b+notify", "urn:c+notify"]);
        let text_of = |parts: &[&str]| text(&query(parts)).unwrap();
        let string = text_of(&[EXODUS, &honest]);
        let hash = Hash::new(Scheme::Sha1, &<sha1::Sha1 as sha1::Digest>::digest(string.as_bytes()));
        assert_eq!(hash.verifies(&query(&[EXODUS, &honest])), Ok(()));
        let form = |form_type: &str, fields: &str| {
            format!(
                "<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>{form_type}</value></field>{fields}</x>"
            )
        };
        let field = "<field var='urn:c+notify'/>";
        for attack in [
            vec![EXODUS.to_owned(), features(&["a"]), form("urn:b+notify", field)],
            vec![EXODUS.to_owned(), features(&["a", "urn:b+notify"]), form("urn:c+notify", "")],
            vec![
                EXODUS.to_owned(),
                form("a", "<field var='urn:b+notify'><value>urn:c+notify</value></field>"),
            ],
            vec![EXODUS.to_owned(), features(&["a&lt;urn:b+notify&lt;urn:c+notify"])],
            vec![EXODUS.replace("0.9.1", "0.9.1&lt;a&lt;urn:b+notify&lt;urn:c+notify")],
        ] {
            let attack: Vec<_> = attack.iter().map(String::as_str).collect();
            assert_eq!(text_of(&attack), string, "the string does not show it");
            assert_eq!(hash.verifies(&query(&attack)), Err(Unverifiable::Ambiguous), "{attack:?}");
        }
        // §5.1, the note: `&lt;` that is written as such is no separator.
        assert_ne!(text_of(&[&features(&["a&amp;lt;b"])]), text_of(&[&features(&["a", "b"])]));
    }
}
