//! The serialiser.

use std::borrow::Cow;

use crate::{Attribute, Element, Node, XML_NS, chars};

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

/// Writes `element` where `outer_ns` is the default namespace.
///
/// The depth of the recursion is that of the tree: at most `Limits::DEPTH_CEILING` where it was parsed, and what
/// our own code wraps around that.
pub(crate) fn element(out: &mut Vec<u8>, element: &Element, outer_ns: &str, scope: &Scope<'_>) {
    let ns = element.ns();
    let prefix = if ns == outer_ns { None } else { scope.prefix_of(ns) };
    out.push(b'<');
    name(out, prefix, element.name());
    let default_ns = if ns == outer_ns || prefix.is_some() {
        outer_ns
    } else {
        attribute(out, "xmlns", ns);
        ns
    };
    attributes(out, element.attrs(), scope);
    if element.nodes().is_empty() {
        out.extend_from_slice(b"/>");
        return;
    }
    out.push(b'>');
    for node in element.nodes() {
        match node {
            Node::Element(child) => self::element(out, child, default_ns, scope),
            Node::Text(text) => escape_text_into(out, text),
        }
    }
    out.extend_from_slice(b"</");
    name(out, prefix, element.name());
    out.push(b'>');
}

fn name(out: &mut Vec<u8>, prefix: Option<&str>, name: &str) {
    if let Some(prefix) = prefix {
        out.extend_from_slice(prefix.as_bytes());
        out.push(b':');
    }
    out.extend_from_slice(name.as_bytes());
}

fn attribute(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"='");
    escape_attr_into(out, value);
    out.push(b'\'');
}

/// An attribute's namespace needs a prefix. One that the scope lacks is made up for this element alone; each
/// such attribute gets its own, so that no search makes many of them slow.
fn attributes(out: &mut Vec<u8>, attrs: &[Attribute], scope: &Scope<'_>) {
    let mut made_up = MadeUp { scope, next: 0 };
    for attr in attrs {
        if attr.ns.is_empty() {
            attribute(out, &attr.name, &attr.value);
            continue;
        }
        let prefix = if let Some(prefix) = scope.prefix_of(&attr.ns) {
            Cow::Borrowed(prefix)
        } else {
            let prefix = made_up.prefix();
            attribute(out, &format!("xmlns:{prefix}"), &attr.ns);
            Cow::Owned(prefix)
        };
        attribute(out, &format!("{prefix}:{}", attr.name), &attr.value);
    }
}

/// Prefixes that the scope does not use.
struct MadeUp<'a> {
    scope: &'a Scope<'a>,
    next: usize,
}

impl MadeUp<'_> {
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
    escape_into(out, text, |byte| match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'>' => Some(b"&gt;"),   // `]]>` must not stand in text (XML 1.0 §2.4)
        b'\r' => Some(b"&#13;"), // a bare one would be read as a line feed (§2.11)
        _ => None,
    });
}

/// Appends `value` so that it can stand between quotes of either kind. What XML 1.0 cannot represent becomes
/// U+FFFD.
pub fn escape_attr_into(out: &mut Vec<u8>, value: &str) {
    escape_into(out, value, |byte| match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'>' => Some(b"&gt;"),
        b'\'' => Some(b"&apos;"),
        b'"' => Some(b"&quot;"),
        b'\t' => Some(b"&#9;"), // bare white space would be read as a space (§3.3.3)
        b'\n' => Some(b"&#10;"),
        b'\r' => Some(b"&#13;"),
        _ => None,
    });
}

fn escape_into(out: &mut Vec<u8>, text: &str, escape: impl Fn(u8) -> Option<&'static [u8]>) {
    let mut rest = text;
    while let Some((at, found)) = rest.char_indices().find_map(|(at, found)| {
        let special = !chars::is_char(found) || (found.is_ascii() && escape(found as u8).is_some());
        special.then_some((at, found))
    }) {
        let (clean, tail) = rest.split_at(at);
        out.extend_from_slice(clean.as_bytes());
        out.extend_from_slice(u8::try_from(found).ok().and_then(&escape).unwrap_or("\u{fffd}".as_bytes()));
        let mut tail = tail.chars();
        tail.next();
        rest = tail.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}
