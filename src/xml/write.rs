//! The serialiser.

use crate::{
    Attribute, Element, Node, XML_NS,
    chars::{self, TEXT_ESCAPE, VALUE_ESCAPE},
    steps,
};

/// What the document around an element already declares: its default namespace and its prefixes.
///
/// An element that is written in a scope uses these and declares what is missing; it is read back in the same
/// scope. `prefixes` holds pairs of prefix and namespace, each prefix once; `xml` is always known.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    pub default_ns: &'a str,
    pub prefixes: &'a [(&'a str, &'a str)],
}

impl Scope<'static> {
    /// Nothing is declared: what is written here can stand anywhere.
    pub const EMPTY: Self = Self { default_ns: "", prefixes: &[] };
}

impl<'a> Scope<'a> {
    fn prefix_of(&self, ns: &str) -> Option<&'a str> {
        if ns == XML_NS {
            return Some("xml");
        }
        self.prefixes.iter().find(|(_, bound)| *bound == ns).map(|(prefix, _)| *prefix)
    }
}

/// What an element is written to.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    /// Whether nothing more is wanted.
    fn is_full(&self) -> bool {
        false
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// How long something is when it is written, as far as `max` and a little beyond.
pub(crate) struct Length {
    pub(crate) bytes: usize,
    pub(crate) max: usize,
}

impl Sink for Length {
    fn put(&mut self, bytes: &[u8]) {
        steps::add(bytes.len());
        self.bytes = self.bytes.saturating_add(bytes.len());
    }

    fn is_full(&self) -> bool {
        self.bytes > self.max
    }
}

/// Writes `element` where `outer_ns` is the default namespace.
///
/// The depth of the recursion is that of the tree: at most `Limits::DEPTH_CEILING` where it was parsed, and what
/// our own code wraps around that.
pub(crate) fn element<S: Sink>(out: &mut S, element: &Element, outer_ns: &str, scope: &Scope<'_>) {
    if out.is_full() {
        return;
    }
    let ns = element.ns();
    let prefix = if ns == outer_ns { None } else { scope.prefix_of(ns) };
    out.put(b"<");
    name(out, prefix, element.name());
    let default_ns = if ns == outer_ns || prefix.is_some() {
        outer_ns
    } else {
        attribute(out, None, "xmlns", ns);
        ns
    };
    attributes(out, element.attrs(), scope);
    if element.nodes().is_empty() {
        out.put(b"/>");
        return;
    }
    out.put(b">");
    for node in element.nodes() {
        self::node(out, node, default_ns, scope);
    }
    out.put(b"</");
    name(out, prefix, element.name());
    out.put(b">");
}

/// Writes an element or a text where `outer_ns` is the default namespace.
pub(crate) fn node<S: Sink>(out: &mut S, node: &Node, outer_ns: &str, scope: &Scope<'_>) {
    match node {
        Node::Element(element) => self::element(out, element, outer_ns, scope),
        Node::Text(text) => escape_into::<TEXT_ESCAPE, S>(out, text),
    }
}

fn name<S: Sink>(out: &mut S, prefix: Option<&str>, name: &str) {
    if let Some(prefix) = prefix {
        out.put(prefix.as_bytes());
        out.put(b":");
    }
    out.put(name.as_bytes());
}

fn attribute<S: Sink>(out: &mut S, prefix: Option<&str>, name: &str, value: &str) {
    out.put(b" ");
    self::name(out, prefix, name);
    out.put(b"='");
    escape_into::<VALUE_ESCAPE, S>(out, value);
    out.put(b"'");
}

/// An attribute's namespace needs a prefix. One that the scope lacks is made up for this element alone.
fn attributes<'a, S: Sink>(out: &mut S, attrs: &'a [Attribute], scope: &'a Scope<'a>) {
    let mut made_up = MadeUp { scope, next: 0, first: Vec::new() };
    for attr in attrs {
        if attr.ns().is_empty() {
            attribute(out, None, &attr.name, &attr.value);
        } else if let Some(prefix) = scope.prefix_of(attr.ns()) {
            attribute(out, Some(prefix), &attr.name, &attr.value);
        } else if let Some(prefix) = made_up.known(attr.ns()) {
            attribute(out, Some(prefix), &attr.name, &attr.value);
        } else {
            let prefix = made_up.prefix();
            attribute(out, Some("xmlns"), &prefix, attr.ns());
            attribute(out, Some(&prefix), &attr.name, &attr.value);
            made_up.remember(attr.ns(), prefix);
        }
    }
}

/// Prefixes that the scope does not use.
struct MadeUp<'a> {
    scope: &'a Scope<'a>,
    next: usize,
    /// The first ones, with their namespaces.
    first: Vec<(&'a str, String)>,
}

impl<'a> MadeUp<'a> {
    /// So many are used again for further attributes. No more, so that no search makes many attributes slow.
    const FEW: usize = 8;

    fn known(&self, ns: &str) -> Option<&str> {
        steps::add(self.first.len());
        self.first.iter().find(|(bound, _)| *bound == ns).map(|(_, prefix)| prefix.as_str())
    }

    fn remember(&mut self, ns: &'a str, prefix: String) {
        if self.first.len() < Self::FEW {
            self.first.push((ns, prefix));
        }
    }

    fn prefix(&mut self) -> String {
        loop {
            let prefix = format!("ns{}", self.next);
            self.next = self.next.saturating_add(1);
            if self.scope.prefixes.iter().all(|(used, _)| *used != prefix) {
                return prefix;
            }
        }
    }
}

/// Appends `text` as character data. What XML 1.0 cannot represent becomes U+FFFD.
pub fn escape_text_into(out: &mut Vec<u8>, text: &str) {
    escape_into::<TEXT_ESCAPE, _>(out, text);
}

/// Appends `value` so that it can stand between quotes of either kind. What XML 1.0 cannot represent becomes
/// U+FFFD.
pub fn escape_attr_into(out: &mut Vec<u8>, value: &str) {
    escape_into::<VALUE_ESCAPE, _>(out, value);
}

/// Copies `text` in runs between the characters of the class.
fn escape_into<const CLASS: u8, S: Sink>(out: &mut S, text: &str) {
    let mut rest = text;
    while let Some(at) = chars::find::<CLASS>(rest.as_bytes()) {
        // What is found begins a character, so that this splits between two.
        let (clean, tail) = rest.split_at(at);
        out.put(clean.as_bytes());
        let mut tail = tail.chars();
        if let Some(found) = tail.next() {
            escape(out, found);
        }
        rest = tail.as_str();
    }
    out.put(rest.as_bytes());
}

fn escape<S: Sink>(out: &mut S, c: char) {
    let escaped: &[u8] = match c {
        '&' => b"&amp;",
        '<' => b"&lt;",
        '>' => b"&gt;", // `]]>` must not stand in text (XML 1.0 §2.4)
        '\'' => b"&apos;",
        '"' => b"&quot;",
        // Bare, these would be read as a line feed (§2.11) or, in an attribute, as a space (§3.3.3).
        '\t' => b"&#9;",
        '\n' => b"&#10;",
        '\r' => b"&#13;",
        c if chars::is_char(c) => return out.put(c.encode_utf8(&mut [0; 4]).as_bytes()),
        _ => "\u{fffd}".as_bytes(),
    };
    out.put(escaped);
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;
    use crate::Limits;

    const STREAM: Scope<'static> =
        Scope { default_ns: "jabber:client", prefixes: &[("stream", "urn:stream")] };

    #[test]
    fn a_namespace_is_declared_where_it_changes() {
        for (scope, text, want) in [
            (STREAM, "<a/>", "<a/>"),
            (STREAM, "<a></a>", "<a/>"),
            (STREAM, "<a xmlns='jabber:client'/>", "<a/>"),
            (STREAM, "<a><b xmlns='u'><c/></b></a>", "<a><b xmlns='u'><c/></b></a>"),
            (
                STREAM,
                "<a xmlns='u'><b xmlns='jabber:client'/></a>",
                "<a xmlns='u'><b xmlns='jabber:client'/></a>",
            ),
            (STREAM, "<a xmlns=''><b/></a>", "<a xmlns=''><b/></a>"),
            (STREAM, "<stream:a b='c'>d</stream:a>", "<stream:a b='c'>d</stream:a>"),
            (
                STREAM,
                "<x xmlns='urn:stream'><y/><z xmlns='u'/></x>",
                "<stream:x><stream:y/><z xmlns='u'/></stream:x>",
            ),
            // The children of a prefixed element are in the default namespace of its surroundings.
            (STREAM, "<stream:a><b/></stream:a>", "<stream:a><b/></stream:a>"),
            (STREAM, "<p:a xmlns:p='u'><p:b/><c/></p:a>", "<a xmlns='u'><b/><c xmlns='jabber:client'/></a>"),
            (STREAM, "<a xml:lang='de'/>", "<a xml:lang='de'/>"),
            (STREAM, "<a stream:b='c'/>", "<a stream:b='c'/>"),
            (STREAM, "<xml:a/>", "<xml:a/>"),
            (STREAM, "<a xmlns:p='u' p:b='c' d='e'/>", "<a xmlns:ns0='u' ns0:b='c' d='e'/>"),
            (
                STREAM,
                "<a xmlns='u' xmlns:p='u' p:b='c'><p:d p:e='f'/></a>",
                "<a xmlns='u' xmlns:ns0='u' ns0:b='c'><d xmlns:ns0='u' ns0:e='f'/></a>",
            ),
            (
                STREAM,
                "<a xmlns:p='u' xmlns:q='v' p:b='1' q:b='2' p:c='3'/>",
                "<a xmlns:ns0='u' ns0:b='1' xmlns:ns1='v' ns1:b='2' ns0:c='3'/>",
            ),
            (
                Scope { default_ns: "", prefixes: &[("ns0", "w"), ("ns2", "v")] },
                "<a xmlns:p='u' p:b='1' p:c='2' ns0:d='3' ns2:e='4'/>",
                "<a xmlns:ns1='u' ns1:b='1' ns1:c='2' ns0:d='3' ns2:e='4'/>",
            ),
            (Scope::EMPTY, "<a/>", "<a/>"),
            (Scope::EMPTY, "<a xmlns='u'/>", "<a xmlns='u'/>"),
            (Scope::EMPTY, "<a><b xmlns='u'><c xmlns=''/></b></a>", "<a><b xmlns='u'><c xmlns=''/></b></a>"),
        ] {
            let element = Element::parse(text, &scope, &Limits::default()).unwrap();
            assert_eq!(element.to_string_in(&scope), want, "{text}");
            assert!(!element.is_longer_than(want.len(), &scope), "{text}");
            assert!(element.is_longer_than(want.len() - 1, &scope), "{text}");
            assert_eq!(Element::parse(want, &scope, &Limits::default()).unwrap(), element, "{text}");
        }
    }

    #[test]
    fn what_means_something_is_escaped() {
        for (plain, text, value) in [
            ("", "", ""),
            ("abc", "abc", "abc"),
            ("<&>'\"", "&lt;&amp;&gt;'\"", "&lt;&amp;&gt;&apos;&quot;"),
            ("]]>", "]]&gt;", "]]&gt;"),
            ("\t\n\r ", "\t\n&#13; ", "&#9;&#10;&#13; "),
            ("&amp;", "&amp;amp;", "&amp;amp;"),
            // What XML cannot say is not said; what looks like it is.
            (
                "a\0b\u{1f}c\u{fffe}d\u{ffff}",
                "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}",
                "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}",
            ),
            (
                "\u{7f}\u{f000}\u{feff}\u{fffd}\u{ff21}é😀",
                "\u{7f}\u{f000}\u{feff}\u{fffd}\u{ff21}é😀",
                "\u{7f}\u{f000}\u{feff}\u{fffd}\u{ff21}é😀",
            ),
            (
                "a long text, and only its last but one is special: <!",
                "a long text, and only its last but one is special: &lt;!",
                "a long text, and only its last but one is special: &lt;!",
            ),
        ] {
            let (mut as_text, mut as_value) = (Vec::new(), Vec::new());
            escape_text_into(&mut as_text, plain);
            escape_attr_into(&mut as_value, plain);
            assert_eq!(as_text, text.as_bytes(), "{plain:?}");
            assert_eq!(as_value, value.as_bytes(), "{plain:?}");
        }
    }
}
