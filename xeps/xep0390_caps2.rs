//! # XEP-0390: Entity Capabilities 2.0
//!
//! Follows 0.3.2 (2018-03-05). What XEP-0115 does, with a text below the hash that can be read in one way only.
//!
//! - What devices announce is learned together with XEP-0115 (`xep0115_caps/learning.rs`); this module knows the hashes.
//! - The server announces its own in its stream features (§5.2), with both functions that everybody has (XEP-0300), computed
//!   from what XEP-0030 answers.
//! - Ours: an identity without a language has that of the answer, not that of the stream (§4.1, general remarks), which a
//!   client whose stream has one has to say then. Else its answer tells of itself alone.
//! - Left out: hashes before the first presence (§5.6), taking them out of presence on its way (§6.3), answering for clients
//!   (§6.4): all of them a MAY.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use sha3::Sha3_256;
use unisono_core::extension::{Entity, Extension, Registry, Spec};
use unisono_xml::Element;

use crate::xep0004_forms;
use crate::xep0030_disco::{Info, NS_INFO, info_of};
use crate::xep0115_caps::verification::{Unverifiable, children, fields_of, forms, language, values_of};
use crate::xep0115_caps::{Hash, Scheme};

pub const NS: &str = "urn:xmpp:caps";
/// XEP-0300.
pub const NS_HASHES: &str = "urn:xmpp:hashes:2";

/// The functions, the preferred one first, by the names that XEP-0300 gives them.
const FUNCTIONS: [(&str, Scheme); 2] = [("sha-256", Scheme::Caps2Sha256), ("sha3-256", Scheme::Caps2Sha3)];

pub struct Caps2;

impl Extension for Caps2 {
    fn spec(&self) -> Spec {
        Spec::xep(390, "0.3.2")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS); // §5.1
        // §5.2
        on.stream_feature(|hub| {
            let info = info_of(hub, Entity::Server);
            let hashes = own_hashes(&info).map(|(name, value)| {
                Element::builder("hash", NS_HASHES).attr("algo", name).text(value).build()
            });
            Element::builder("c", NS).children(hashes).build()
        });
    }
}

/// The nodes under which the server's information can be asked (§4.3).
pub(crate) fn nodes(info: &Info) -> impl Iterator<Item = String> {
    own_hashes(info).map(|(name, value)| node(name, &value))
}

/// §4.2: the hashes of what the server is, by the names of their functions.
fn own_hashes(info: &Info) -> impl Iterator<Item = (&'static str, String)> {
    let query = info.to_query(None);
    FUNCTIONS.into_iter().filter_map(move |(name, scheme)| {
        let hash = hash(scheme, &query).ok()?;
        Some((name, STANDARD.encode(hash.value)))
    })
}

/// §4.3. The name of a function may have a full stop, its value has none.
fn node(function: &str, value: &str) -> String {
    format!("{NS}#{function}.{value}")
}

/// The best hash of a set, and the node that stands for it (§5.4).
pub(crate) fn announced(c: &Element) -> Option<(Hash, String)> {
    FUNCTIONS.into_iter().find_map(|(name, scheme)| {
        let named = |child: &&Element| child.is("hash", NS_HASHES) && child.attr("algo") == Some(name);
        let text = c.children().find(named)?.text();
        let hash = Hash::parse(scheme, text.trim())?;
        Some((hash, node(name, text.trim())))
    })
}

/// The hash of an answer (§4.1).
pub(crate) fn hash(scheme: Scheme, query: &Element) -> Result<Hash, Unverifiable> {
    let input = input(query)?;
    Ok(match scheme {
        Scheme::Caps2Sha3 => Hash::new(scheme, &Sha3_256::digest(&input)),
        Scheme::Caps2Sha256 | Scheme::Sha1 => Hash::new(Scheme::Caps2Sha256, &Sha256::digest(&input)),
    })
}

/// The separators (§4.1): of units, records, groups and files. XML has none of them (§8.1).
const UNIT: u8 = 0x1f;
const RECORD: u8 = 0x1e;
const GROUP: u8 = 0x1d;
const FILE: u8 = 0x1c;

/// What is hashed (§4.1).
fn input(query: &Element) -> Result<Vec<u8>, Unverifiable> {
    let is_ours = |child: &Element| {
        child.is("feature", NS_INFO) || child.is("identity", NS_INFO) || child.is("x", xep0004_forms::NS)
    };
    if !query.children().all(is_ours) {
        return Err(Unverifiable::Foreign); // step 1
    }
    forms(query).try_for_each(check_form)?;
    let features = children(query, "feature").map(|feature| unit(feature.attr("var").unwrap_or_default()));
    let identities = children(query, "identity").map(|identity| {
        let attr = |name| identity.attr(name).unwrap_or_default();
        let parts = [attr("category"), attr("type"), language(query, identity), attr("name")];
        ended(parts.into_iter().flat_map(unit).collect(), RECORD)
    });
    let forms = forms(query).map(|form| {
        let fields = fields_of(form).map(|field| {
            let values = sorted(values_of(field).map(|value| unit(&value)));
            ended([unit(field.attr("var").unwrap_or_default()), values].concat(), RECORD)
        });
        ended(sorted(fields), GROUP)
    });
    let parts = [sorted(features), sorted(identities), sorted(forms)];
    Ok(parts.into_iter().flat_map(|part| ended(part, FILE)).collect())
}

/// Steps 2 and 3: no table, and one type, as XEP-0068 has it.
fn check_form(form: &Element) -> Result<(), Unverifiable> {
    let is_table =
        |child: &Element| ["reported", "item"].iter().any(|name| child.is(name, xep0004_forms::NS));
    if form.children().any(is_table) {
        return Err(Unverifiable::Foreign);
    }
    let mut types = fields_of(form).filter(|field| field.attr("var") == Some("FORM_TYPE"));
    let (Some(field), None) = (types.next(), types.next()) else { return Err(Unverifiable::SeveralTypes) };
    let is_type = field.attr("type") == Some("hidden") && values_of(field).count() == 1;
    if is_type { Ok(()) } else { Err(Unverifiable::SeveralTypes) }
}

fn unit(text: &str) -> Vec<u8> {
    ended(text.as_bytes().to_vec(), UNIT)
}

fn ended(mut part: Vec<u8>, separator: u8) -> Vec<u8> {
    part.push(separator);
    part
}

/// All of them, in the order of their octets.
fn sorted(parts: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut parts: Vec<_> = parts.collect();
    parts.sort_unstable();
    parts.concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::element;

    /// The features of §4.5.1.
    const SIMPLE: &[&str] = &[
        "http://jabber.org/protocol/si",
        "http://jabber.org/protocol/bytestreams",
        "http://jabber.org/protocol/chatstates",
        "http://jabber.org/protocol/disco#info",
        "http://jabber.org/protocol/disco#items",
        "urn:xmpp:ping",
        "jabber:iq:time",
        "jabber:iq:privacy",
        "jabber:iq:version",
        "http://jabber.org/protocol/rosterx",
        "urn:xmpp:time",
        "jabber:x:oob",
        "http://jabber.org/protocol/ibb",
        "http://jabber.org/protocol/si/profile/file-transfer",
        "urn:xmpp:receipts",
        "jabber:iq:roster",
        "jabber:iq:last",
    ];
    const BOMBUS: &str = "<identity category='client' name='BombusMod' type='mobile'/>";
    /// The features of §4.5.2.
    const COMPLEX: &[&str] = &[
        "games:board",
        "http://jabber.org/protocol/activity",
        "http://jabber.org/protocol/activity+notify",
        "http://jabber.org/protocol/bytestreams",
        "http://jabber.org/protocol/chatstates",
        "http://jabber.org/protocol/commands",
        "http://jabber.org/protocol/disco#info",
        "http://jabber.org/protocol/disco#items",
        "http://jabber.org/protocol/evil",
        "http://jabber.org/protocol/feature-neg",
        "http://jabber.org/protocol/geoloc",
        "http://jabber.org/protocol/geoloc+notify",
        "http://jabber.org/protocol/ibb",
        "http://jabber.org/protocol/iqibb",
        "http://jabber.org/protocol/mood",
        "http://jabber.org/protocol/mood+notify",
        "http://jabber.org/protocol/rosterx",
        "http://jabber.org/protocol/si",
        "http://jabber.org/protocol/si/profile/file-transfer",
        "http://jabber.org/protocol/tune",
        "http://www.facebook.com/xmpp/messages",
        "http://www.xmpp.org/extensions/xep-0084.html#ns-metadata+notify",
        "jabber:iq:avatar",
        "jabber:iq:browse",
        "jabber:iq:dtcp",
        "jabber:iq:filexfer",
        "jabber:iq:ibb",
        "jabber:iq:inband",
        "jabber:iq:jidlink",
        "jabber:iq:last",
        "jabber:iq:oob",
        "jabber:iq:privacy",
        "jabber:iq:roster",
        "jabber:iq:time",
        "jabber:iq:version",
        "jabber:x:data",
        "jabber:x:event",
        "jabber:x:oob",
        "urn:xmpp:avatar:metadata+notify",
        "urn:xmpp:ping",
        "urn:xmpp:receipts",
        "urn:xmpp:time",
    ];
    const TKABBER: &str = "<identity category='client' name='Tkabber' type='pc' xml:lang='en'/>\
        <identity category='client' name='Ткаббер' type='pc' xml:lang='ru'/>";
    const SOFTWARE: &str = "<x xmlns='jabber:x:data' type='result'>\
        <field type='hidden' var='FORM_TYPE'><value>urn:xmpp:dataforms:softwareinfo</value></field>\
        <field var='software'><value>Tkabber</value></field>\
        <field var='software_version'><value>0.11.1-svn-20111216-mod (Tcl/Tk 8.6b2)</value></field>\
        <field var='os'><value>Windows</value></field><field var='os_version'><value>XP</value></field></x>";

    fn features(names: &[&str]) -> String {
        names.iter().map(|name| format!("<feature var='{name}'/>")).collect::<Vec<_>>().concat()
    }

    fn query(parts: &[&str]) -> Element {
        element(&format!("<query xmlns='{NS_INFO}'>{}</query>", parts.concat()))
    }

    fn hashes(query: &Element) -> [Result<String, Unverifiable>; 2] {
        FUNCTIONS.map(|(_, scheme)| Ok(STANDARD.encode(hash(scheme, query)?.value)))
    }

    #[test]
    fn the_examples_of_the_specification() {
        let simple = query(&[BOMBUS, &features(SIMPLE)]);
        let want =
            ["kzBZbkqJ3ADrj7v08reD1qcWUwNGHaidNUgD7nHpiw8=", "79mdYAfU9rEdTOcWDO7UEAt6E56SUzk/g6TnqUeuD9Q="];
        assert_eq!(hashes(&simple), want.map(|hash| Ok(hash.to_owned())));
        let want =
            ["u79ZroNJbdSWhdSp311mddz44oHHPsEBntQ5b1jqBSY=", "XpUJzLAc93258sMECZ3FJpebkzuyNXDzRNwQog8eycg="];
        for parts in [&[TKABBER, &features(COMPLEX), SOFTWARE], &[SOFTWARE, TKABBER, &features(COMPLEX)]] {
            assert_eq!(hashes(&query(parts)), want.map(|hash| Ok(hash.to_owned())), "in any order");
        }
        // The language of an identity may be that of the answer.
        let inherited = query(&[&TKABBER.replace(" xml:lang='ru'", ""), &features(COMPLEX), SOFTWARE]);
        let inherited = inherited.to_builder().attr_ns(unisono_xml::XML_NS, "lang", "ru").build();
        assert_eq!(hashes(&inherited), want.map(|hash| Ok(hash.to_owned())));
    }

    #[test]
    fn what_has_no_hash() {
        let form = |content: &str| format!("<x xmlns='jabber:x:data' type='result'>{content}</x>");
        let hidden = "<field var='FORM_TYPE' type='hidden'><value>urn:x</value></field>";
        let several = hidden.replace("</field>", "<value>urn:y</value></field>");
        for (wrong, want) in [
            ("<x xmlns='urn:x'/>".to_owned(), Unverifiable::Foreign), // step 1
            ("<item xmlns='http://jabber.org/protocol/disco#items'/>".to_owned(), Unverifiable::Foreign),
            (form(&format!("{hidden}<reported/>")), Unverifiable::Foreign), // step 2
            (form(&format!("{hidden}<item/>")), Unverifiable::Foreign),
            (form(""), Unverifiable::SeveralTypes), // step 3
            (form(&hidden.replace(" type='hidden'", "")), Unverifiable::SeveralTypes),
            (form(&hidden.repeat(2)), Unverifiable::SeveralTypes),
            (form(&several), Unverifiable::SeveralTypes),
        ] {
            assert_eq!(hashes(&query(&[BOMBUS, &wrong])), [Err(want), Err(want)], "{wrong}");
        }
        assert!(hashes(&query(&[])).iter().all(Result::is_ok));
    }

    /// XEP-0115 §9.3: here the text shows what is what.
    #[test]
    fn what_is_said_elsewhere_has_another_hash() {
        let form = |fields: &str| {
            format!(
                "<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>a</value></field>{fields}</x>"
            )
        };
        let all = [
            query(&[&features(&["a", "b", "c"])]),
            query(&[&features(&["b", "c"]), &form("")]),
            query(&[&features(&["c"]), &form("<field var='b'/>")]),
            query(&[&form("<field var='b'><value>c</value></field>")]),
            query(&[&form("<field var='b'/><field var='c'/>")]),
            query(&["<identity category='a' type='b' name='c'/>"]),
            query(&["<identity category='a' type='b' xml:lang='c'/>"]),
        ];
        let different: std::collections::BTreeSet<_> =
            all.iter().map(|query| input(query).unwrap()).collect();
        assert_eq!(different.len(), all.len());
    }
}
