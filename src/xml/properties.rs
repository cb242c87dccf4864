//! What holds for every input.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use proptest::{collection::vec, prelude::*, sample::select};

use crate::{Element, ElementBuilder, Limits, Node, Scope, StreamEvent, XML_NS, XmlError, cases::read};

const SCOPES: [Scope<'static>; 4] = [
    Scope::EMPTY,
    Scope { default_ns: "jabber:client", prefixes: &[("stream", "http://etherx.jabber.org/streams")] },
    Scope { default_ns: "", prefixes: &[("ns0", "urn:a"), ("p", "urn:b"), ("q", "urn:b")] },
    Scope { default_ns: "urn:a", prefixes: &[("ns1", "urn:a"), ("ns0", "a namespace that nothing is in")] },
];

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-c]", 1 => "[a-zA-Z_][a-zA-Z0-9._-]{0,30}", 1 => "[éßα日ا][éα日·\u{301}٣-]{0,4}"]
}

fn ns() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(vec!["", "urn:a", "urn:b", "jabber:client", "http://etherx.jabber.org/streams"]).prop_map(Into::into),
        1 => Just(XML_NS.to_owned()),
        1 => "[a-z]{1,9}:[a-z/&']{0,30}",
    ]
}

/// Any text that XML can represent, dense in what has to be escaped.
fn text() -> impl Strategy<Value = String> {
    let any_char = any::<char>().prop_filter("XML has no such character", |c| crate::chars::is_char(*c));
    let special = select("<>&'\"\t\n\r ;#[]x\u{feff}\u{fffd}\u{f000}".chars().collect::<Vec<_>>());
    vec(prop_oneof![special, any_char, proptest::char::range('a', 'z')], 0..40).prop_map(String::from_iter)
}

fn element() -> impl Strategy<Value = Element> {
    let attrs = || vec((name(), ns(), text()), 0..12);
    let leaf = (name(), ns(), attrs()).prop_map(|(name, ns, attrs)| {
        let builder = Element::builder(name, ns);
        attrs.into_iter().fold(builder, |builder, (name, ns, value)| builder.attr_ns(ns, name, value)).build()
    });
    leaf.prop_recursive(5, 40, 6, move |inner| {
        let node = prop_oneof![
            inner.clone().prop_map(Node::Element),
            text().prop_map(|text| Node::Text(text.into()))
        ];
        (inner, vec(node, 0..6)).prop_map(|(element, nodes)| {
            nodes.into_iter().fold(element.to_builder(), ElementBuilder::node).build()
        })
    })
}

/// Pieces of XML in any order: now and then a document, mostly something that is nearly one.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&str; 44] = [
        "<a",
        "<a>",
        "<a/>",
        "</a>",
        "<b>",
        "</b>",
        "<p:a",
        "<r xmlns='u' xmlns:p='v'>",
        "</r>",
        " ",
        "\n",
        "\r",
        "x",
        ">",
        "/>",
        "/",
        "=",
        "'",
        "\"",
        " b='c'",
        " p:b='c'",
        " xmlns='u'",
        " xmlns:p='u'",
        " xmlns:q=''",
        "&",
        "&lt;",
        "&#x41;",
        "&#0;",
        "&e;",
        ";",
        "]",
        "]]",
        "]]>",
        "<![CDATA[",
        "<!",
        "<!--",
        "<?xml version='1.0'?>",
        "<?",
        "?>",
        "é",
        "\u{fffe}",
        "\0",
        "<!DOCTYPE",
        ":",
    ];
    let piece = prop_oneof![40 => select(PIECES.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()), 1 => vec(any::<u8>(), 1..3)];
    (any::<bool>(), vec(piece, 0..40)).prop_map(|(is_open, pieces)| {
        let start = if is_open { b"<r xmlns='u' xmlns:p='v'>".to_vec() } else { Vec::new() };
        std::iter::once(start).chain(pieces).flatten().collect()
    })
}

/// A document that is short as it is sent and would be long as we write it.
fn dense() -> impl Strategy<Value = String> {
    let ns = || prop_oneof![3 => "[ab'&]{1,12}", 1 => "[ab'&]{1,70}"];
    let leaf = prop_oneof![
        Just("<a/>".to_owned()),
        Just("<p:a/>".to_owned()),
        Just("<b:a q:b=''/>".to_owned()),
        Just("<a b:a='' b:b='' p:c='' b:d='' q:e=''/>".to_owned()),
        "[>x]{1,9}",
        "[<&>x]{1,9}".prop_map(|text| format!("<![CDATA[{}]]>", text.replace("]]>", ""))),
        "['x]{1,9}".prop_map(|value| format!("<a b=\"{value}\"/>")),
    ];
    let content = (leaf, 1_usize..60).prop_map(|(leaf, count)| leaf.repeat(count));
    let content = content.prop_recursive(4, 16, 4, |inner| {
        (select(vec!["a", "p:a", "b:a"]), vec(inner, 0..4))
            .prop_map(|(name, inner)| format!("<{name}>{}</{name}>", inner.concat()))
    });
    (ns(), ns(), ns(), content).prop_map(|(default, p, q, content)| {
        let [default, p, q] = [default, p, q].map(|ns| ns.replace('&', "&amp;").replace('\'', "&apos;"));
        format!("<a xmlns='{default}' xmlns:p='{p}' xmlns:q='{q}' xmlns:b='b'>{content}</a>")
    })
}

/// `bytes` in pieces of lengths that `cuts` says.
fn cut<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, rest) = bytes.split_at((*cut).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

fn limits() -> impl Strategy<Value = Limits> {
    let tight = (1_usize..60, 0_usize..4, 0_usize..4, 0_usize..4, 1_usize..8, 0_usize..4, 0_usize..6);
    let tight = tight.prop_map(|(element, depth, attributes, children, name, namespaces, tokens)| Limits {
        element_bytes_max: element,
        depth_max: depth,
        attributes_max: attributes,
        children_max: children,
        name_bytes_max: name,
        namespaces_max: namespaces,
        namespace_bytes_max: 100,
        tokens_max: tokens,
    });
    prop_oneof![Just(Limits::default()), tight]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(element in element(), scope in select(SCOPES.to_vec())) {
        let limits = Limits { namespaces_max: 1000, ..Limits::default() };
        let text = element.to_string_in(&scope);
        let parsed = Element::parse(&text, &scope, &limits);
        prop_assert_eq!(parsed.as_ref(), Ok(&element), "{}", text);
        prop_assert_eq!(parsed.unwrap().to_string_in(&scope), text.as_str());
        let nodes = Element::parse_fragment(&text, &scope, &limits);
        prop_assert_eq!(nodes, Ok(vec![Node::Element(element)]));
    }

    #[test]
    fn what_is_written_is_an_element_of_a_stream(element in element(), cuts in vec(0_usize..30, 0..20)) {
        let text = format!("<r xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>{}</r>",
            element.to_string_in(&SCOPES[1]));
        let (events, end) = read(cut(text.as_bytes(), &cuts), &Limits { namespaces_max: 1000, ..Limits::default() });
        prop_assert_eq!(end, Ok(true));
        prop_assert_eq!(&events[1..], &[StreamEvent::Element(element), StreamEvent::Close]);
    }

    #[test]
    fn no_cut_changes_what_is_read(bytes in soup(), cuts in vec(0_usize..20, 0..20), limits in limits()) {
        let whole = read([bytes.as_slice()], &limits);
        prop_assert_eq!(&whole, &read(cut(&bytes, &cuts), &limits));
        prop_assert_eq!(&whole, &read(bytes.chunks(1), &limits));
    }

    #[test]
    fn what_is_read_can_be_written_and_read(bytes in soup(), scope in select(SCOPES.to_vec())) {
        let limits = Limits::default();
        for event in read([bytes.as_slice()], &limits).0 {
            let StreamEvent::Element(element) = event else { continue };
            prop_assert_eq!(Element::parse(&element.to_string_in(&scope), &scope, &limits), Ok(element));
        }
        if let Ok(nodes) = Element::parse_fragment(&String::from_utf8_lossy(&bytes), &scope, &limits) {
            let mut out = Vec::new();
            for node in &nodes {
                match node {
                    Node::Element(element) => element.write_into(&mut out, &scope),
                    Node::Text(text) => crate::escape_text_into(&mut out, text),
                }
            }
            prop_assert_eq!(Element::parse_fragment(&String::from_utf8(out).unwrap(), &scope, &limits), Ok(nodes));
        }
    }

    /// However much of it repeats itself where it is written.
    #[test]
    fn nothing_grows_beyond_a_small_multiple(text in dense(), limit in 100_usize..4_000, names in 1_usize..100) {
        let limits = Limits { element_bytes_max: limit, namespace_bytes_max: names, ..Limits::default() };
        let written_max = limit * Limits::WRITTEN_FACTOR;
        let element = Element::parse(&text, &Scope::EMPTY, &limits);
        let whole = Element::parse(&text, &Scope::EMPTY, &Limits::none()).unwrap();
        let written = whole.to_string_in(&Scope::EMPTY);
        match element {
            Ok(element) => {
                prop_assert!(written.len() <= written_max, "{} of {}", written.len(), limit);
                for scope in SCOPES {
                    prop_assert!(element.to_string_in(&scope).len() <= 2 * written_max, "{:?} {}", scope, text);
                }
            }
            Err(XmlError::TooBig { what: "element", .. }) => prop_assert!(text.len() > limit),
            Err(XmlError::TooBig { what: "namespace", .. }) => {}
            Err(error) => {
                prop_assert_eq!(error, XmlError::TooBig { what: "element when written", limit: written_max });
                prop_assert!(written.len() > written_max, "{} of {}", written.len(), limit);
            }
        }
        // What one of them accepts, all of them do.
        let fragment = Element::parse_fragment(&text, &Scope::EMPTY, &limits).is_ok();
        let (_, end) = read([b"<r>", text.as_bytes()], &limits);
        let parsed = Element::parse(&text, &Scope::EMPTY, &limits).is_ok();
        prop_assert_eq!((fragment, end.is_ok()), (parsed, parsed));
    }

    #[test]
    fn what_xml_cannot_say_is_replaced(text in any::<String>()) {
        let element = Element::builder("a", "").attr("b", text.as_str()).text(text.as_str()).build();
        let want: String = text.chars().map(|c| if crate::chars::is_char(c) { c } else { '\u{fffd}' }).collect();
        let read = Element::parse(&element.to_string_in(&Scope::EMPTY), &Scope::EMPTY, &Limits::default()).unwrap();
        prop_assert_eq!(read.attr("b"), Some(want.as_str()));
        prop_assert_eq!(read.text(), want.as_str());
    }

    #[test]
    fn any_bytes_are_refused_in_peace(bytes in vec(any::<u8>(), 0..200)) {
        if let (_, Err(error)) = read([bytes.as_slice()], &Limits::default()) {
            prop_assert!(!matches!(error, XmlError::TooBig { .. }) || bytes.len() > 256, "{}", error);
        }
    }
}
