//! A namespace is written once, in the module that owns it.

use std::collections::BTreeMap;

use super::Problem;
use super::tree::Tree;

/// How the namespaces of XMPP begin.
const BEGINNINGS: &[&str] = &[
    "urn:xmpp:",
    "urn:ietf:params:xml:ns:",
    "jabber:",
    "http://jabber.org/protocol/",
    "http://etherx.jabber.org/",
];

/// A namespace in a text of the code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Whether the text is the namespace and nothing else.
    is_whole: bool,
    is_constant: bool,
    path: String,
    line: usize,
}

pub(super) fn problems(tree: &Tree) -> Vec<Problem> {
    let mut places: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for file in tree.files.iter().filter(|file| !file.is_test) {
        let texts = file.source.iter().flat_map(|source| &source.texts);
        for text in texts.filter(|text| !text.is_test) {
            for namespace in namespaces(&text.value) {
                let is_whole = namespace == text.value;
                let is_constant = is_whole && text.is_constant;
                let place = Place { is_whole, is_constant, path: file.path.clone(), line: text.line };
                places.entry(namespace.to_owned()).or_default().push(place);
            }
        }
    }
    places.into_iter().flat_map(|(namespace, places)| of_namespace(&namespace, places)).collect()
}

/// Its home is the constant that holds it. In the same file, it may be part of a text that goes out as it is; anywhere
/// else, it is a second home.
fn of_namespace(namespace: &str, places: Vec<Place>) -> Vec<Problem> {
    let constant = places.iter().find(|place| place.is_constant);
    let home = constant.or(places.iter().find(|place| place.is_whole)).or(places.first());
    let Some(home) = home.cloned() else { return Vec::new() };
    let is_second = |place: &Place| *place != home && (place.is_whole || place.path != home.path);
    let told = |place: Place| {
        let what = format!("{namespace:?} is written in {} already", home.path);
        Problem::new(&place.path, place.line, what)
    };
    places.into_iter().filter(is_second).map(told).collect()
}

/// All namespaces in a text.
fn namespaces(text: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.:/#+".contains(c);
    let tokens = text.split(|c: char| !is_part(c));
    let has_more =
        |token: &&str| BEGINNINGS.iter().any(|b| token.strip_prefix(b).is_some_and(|rest| !rest.is_empty()));
    // A part of a form such as `urn:xmpp:{name}:0` ends with its last colon.
    tokens.filter(has_more).filter(|token| !token.ends_with(':')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_found_in_texts() {
        for (text, want) in [
            ("urn:xmpp:mam:2", vec!["urn:xmpp:mam:2"]),
            (
                "<a xmlns='urn:xmpp:sm:3' h='1'/><b xmlns=\"jabber:client\"/>",
                vec!["urn:xmpp:sm:3", "jabber:client"],
            ),
            ("http://jabber.org/protocol/muc#user", vec!["http://jabber.org/protocol/muc#user"]),
            ("urn:xmpp:", vec![]),
            ("urn:example:a", vec![]),
            ("cannot find urn", vec![]),
        ] {
            assert_eq!(namespaces(text), want, "{text}");
        }
    }

    #[test]
    fn a_namespace_has_one_home() {
        let own =
            "//! .\npub const NS: &str = \"urn:xmpp:a:0\";\nconst W: &str = \"<a xmlns='urn:xmpp:a:0'>\";\n";
        for (files, want) in [
            (vec![("xeps/a.rs", own)], vec![]),
            (
                vec![("xeps/a.rs", own), ("xeps/b.rs", "//! .\nconst NS: &str = \"urn:xmpp:a:0\";")],
                vec!["xeps/b.rs:2: \"urn:xmpp:a:0\" is written in xeps/a.rs already"],
            ),
            (
                vec![("xeps/a.rs", own), ("src/b.rs", "//! .\nfn f() { g(\"<x xmlns='urn:xmpp:a:0'/>\") }")],
                vec!["src/b.rs:2: \"urn:xmpp:a:0\" is written in xeps/a.rs already"],
            ),
            (
                vec![(
                    "xeps/a.rs",
                    "//! .\nconst A: &str = \"urn:xmpp:a:0\";\nconst B: &str = \"urn:xmpp:a:0\";",
                )],
                vec!["xeps/a.rs:3: \"urn:xmpp:a:0\" is written in xeps/a.rs already"],
            ),
            (
                vec![("src/a.rs", "//! .\nfn f() { g(\"urn:xmpp:a:0\") }"), ("xeps/a.rs", own)],
                vec!["src/a.rs:2: \"urn:xmpp:a:0\" is written in xeps/a.rs already"],
            ),
            (vec![("xeps/a.rs", own), ("tests/b.rs", "//! .\nconst NS: &str = \"urn:xmpp:a:0\";")], vec![]),
            (
                vec![
                    ("xeps/a.rs", own),
                    ("xeps/b.rs", "//! .\n#[cfg(test)]\nmod tests { const N: &str = \"urn:xmpp:a:0\"; }"),
                ],
                vec![],
            ),
        ] {
            let found: Vec<_> = problems(&Tree::of(&files)).iter().map(ToString::to_string).collect();
            assert_eq!(found, want);
        }
    }
}
