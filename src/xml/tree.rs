//! From a whole unit to a tree, by quick-xml.
//!
//! The scanner has seen these bytes before and has found one element in them. quick-xml reads them on its own; where
//! the two disagree, the input is malformed.

use compact_str::CompactString;
use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

use crate::{
    Attribute, Element, Limits, Node, Restricted, Scope, TooMany, XmlError, chars, names,
    namespaces::Bindings,
    nodes::Nodes,
    ns::Ns,
    outer::{Outer, Root},
    scan::{Expect, Scanner, Unit},
    steps, text,
    write::{self, Length, Sink},
};

/// The text of a unit: UTF-8 (RFC 6120 §11.6), of characters that XML has.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, XmlError> {
    steps::add(bytes.len());
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::UnsupportedEncoding)?;
    chars::check(text)?;
    Ok(text)
}

/// Reads one element with nothing but white space around it.
pub(crate) fn parse_element(text: &str, outer: Outer<'_>, limits: &Limits) -> Result<Element, XmlError> {
    const NOT_ONE: XmlError = XmlError::NotWellFormed("not exactly one element");
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
    match Scanner::default().scan(trimmed.as_bytes(), Expect::Content, limits)? {
        Some((Unit::Element, length)) if length == trimmed.len() => {
            element(trimmed.as_bytes(), outer, limits)
        }
        _ => Err(NOT_ONE),
    }
}

/// Reads texts and elements side by side.
pub(crate) fn parse_fragment(text: &str, outer: Outer<'_>, limits: &Limits) -> Result<Vec<Node>, XmlError> {
    if text.len() > limits.element_bytes_max {
        return Err(XmlError::TooBig { what: "fragment", limit: limits.element_bytes_max });
    }
    chars::check(text)?;
    let mut rest = text.as_bytes();
    let mut children = 0_usize;
    while let Some(start) = memchr::memchr(b'<', rest) {
        rest = rest.get(start..).unwrap_or_default();
        let length = if rest.starts_with(b"<![") {
            // Outside of an element the scanner knows no CDATA section.
            const END: &[u8] = b"]]>";
            memchr::memmem::find(rest, END).map(|at| at.saturating_add(END.len()))
        } else {
            children = children.saturating_add(1);
            if children > limits.children_max {
                return Err(XmlError::TooMany { what: TooMany::Children, limit: limits.children_max });
            }
            match Scanner::default().scan(rest, Expect::Content, limits)? {
                Some((Unit::Element, length)) => Some(length),
                Some(_) => return Err(XmlError::NotWellFormed("an end tag without its start tag")),
                None => None,
            }
        };
        let length = length.ok_or(XmlError::NotWellFormed("an element without its end"))?;
        rest = rest.get(length..).unwrap_or_default();
    }
    let mut tree = Tree::new(outer, limits);
    // quick-xml would take one of these for a byte order mark, which RFC 6120 §11.6 says it is not.
    let body = text.trim_start_matches('\u{feff}');
    tree.push_text(text.strip_suffix(body).unwrap_or_default());
    tree.read(body)?;
    check_written(&tree.nodes, text.len(), outer, limits)?;
    Ok(tree.nodes)
}

/// Reads a unit that the scanner found to be an element.
pub(crate) fn element(bytes: &[u8], outer: Outer<'_>, limits: &Limits) -> Result<Element, XmlError> {
    let mut tree = Tree::new(outer, limits);
    tree.read(utf8(bytes)?)?;
    check_written(&tree.nodes, bytes.len(), outer, limits)?;
    let mut nodes = tree.nodes.into_iter();
    match (nodes.next(), nodes.next()) {
        (Some(Node::Element(element)), None) => Ok(element),
        _ => Err(XmlError::NotWellFormed("not exactly one element")),
    }
}

/// Refuses what is read as `bytes` and would take too many when it is written. Prefixes of a scope are not counted:
/// there, an element takes a few bytes more.
fn check_written(nodes: &[Node], bytes: usize, outer: Outer<'_>, limits: &Limits) -> Result<(), XmlError> {
    if limits.is_short(bytes) {
        return Ok(());
    }
    let default_ns = outer.default_ns();
    let scope = Scope { default_ns: default_ns.as_str(), prefixes: &[] };
    let mut length = Length { bytes: 0, max: limits.written_bytes_max() };
    for node in nodes {
        write::node(&mut length, node, scope.default_ns, &scope);
    }
    if length.is_full() {
        return Err(XmlError::TooBig { what: "element when written", limit: length.max });
    }
    Ok(())
}

/// Reads a unit that the scanner found to be the root's start tag.
pub(crate) fn root(bytes: &[u8], limits: &Limits) -> Result<(Element, Root), XmlError> {
    let mut tree = Tree::new(Outer::Scope(&Scope::EMPTY), limits);
    let mut reader = Reader::from_str(utf8(bytes)?);
    let Ok(Event::Start(start) | Event::Empty(start)) = reader.read_event() else {
        return Err(XmlError::NotWellFormed("the start tag of the root"));
    };
    let qname = CompactString::from(start.name().as_ref());
    let open = tree.open(&start)?;
    let default_ns = tree.bindings.default_ns();
    let element = Element::from_parts(open.name, open.ns, open.attrs, Nodes::default());
    Ok((element, Root::new(qname, default_ns, tree.bindings.into_prefixes())))
}

/// A tree in the making.
struct Tree<'a> {
    bindings: Bindings<'a>,
    open: Vec<Open>,
    /// The finished nodes of all open elements, outermost first.
    nodes: Vec<Node>,
    /// The attributes of a tag while it is read.
    attrs: Vec<Attribute>,
}

/// An element whose end has not been read.
struct Open {
    name: CompactString,
    ns: Ns,
    attrs: Box<[Attribute]>,
    /// How many declarations held outside of it.
    bindings: usize,
    /// Where its nodes begin.
    nodes: usize,
}

impl<'a> Tree<'a> {
    fn new(outer: Outer<'a>, limits: &Limits) -> Self {
        Self {
            bindings: Bindings::new(outer, limits),
            // Enough for a usual stanza.
            open: Vec::with_capacity(4),
            nodes: Vec::with_capacity(8),
            attrs: Vec::with_capacity(8),
        }
    }

    fn read(&mut self, text: &str) -> Result<(), XmlError> {
        let mut reader = Reader::from_str(text);
        loop {
            match reader.read_event().map_err(|error| malformed(&error))? {
                Event::Start(start) => {
                    let open = self.open(&start)?;
                    self.open.push(open);
                }
                Event::Empty(start) => {
                    let open = self.open(&start)?;
                    self.close(open);
                }
                Event::End(_) => {
                    let open =
                        self.open.pop().ok_or(XmlError::NotWellFormed("an end tag without its start tag"))?;
                    self.close(open);
                }
                Event::Text(text) => {
                    if memchr::memchr(b']', text.as_bytes()).is_some() && text.contains("]]>") {
                        return Err(XmlError::NotWellFormed("]]> in text"));
                    }
                    self.push_text(&text);
                }
                Event::CData(text) => self.push_text(&text),
                Event::GeneralRef(name) => {
                    let c = text::resolve(&name)?;
                    self.text_end().push(c);
                }
                Event::Comment(_) => return Err(XmlError::RestrictedXml(Restricted::Comment)),
                Event::DocType(_) => return Err(XmlError::RestrictedXml(Restricted::Doctype)),
                Event::Decl(_) | Event::PI(_) => {
                    return Err(XmlError::RestrictedXml(Restricted::ProcessingInstruction));
                }
                Event::Eof => break,
            }
        }
        if self.open.is_empty() { Ok(()) } else { Err(XmlError::NotWellFormed("an element without its end")) }
    }

    /// Reads a start tag: first the declarations, which hold for the tag itself, then the names.
    fn open(&mut self, start: &BytesStart<'_>) -> Result<Open, XmlError> {
        let outside = self.bindings.len();
        self.attrs.clear();
        for attr in start.attributes().with_checks(false) {
            let attr = attr.map_err(|_| XmlError::NotWellFormed("an attribute is malformed"))?;
            let (prefix, name) = names::split_qname(attr.key.as_ref())?;
            match (prefix, name) {
                (None, "xmlns") => self.bindings.declare("", namespace(&attr.value)?, outside)?,
                (Some("xmlns"), prefix) => self.bindings.declare(prefix, namespace(&attr.value)?, outside)?,
                // Its prefix stands in the place of its namespace until all declarations are known.
                _ => self.attrs.push(Attribute {
                    name: name.into(),
                    ns: prefix.map_or(Ns::NONE, Into::into),
                    value: text::value(&attr.value)?,
                }),
            }
        }
        for attr in &mut self.attrs {
            if !attr.ns().is_empty() {
                attr.ns = self.bindings.resolve(attr.ns())?;
            }
        }
        if has_duplicate(&self.attrs) {
            return Err(XmlError::NotWellFormed("an attribute twice"));
        }
        let name = start.name();
        let (prefix, name) = names::split_qname(name.as_ref())?;
        let ns = match prefix {
            Some(prefix) => self.bindings.resolve(prefix)?,
            None => self.bindings.default_ns(),
        };
        let attrs = if self.attrs.is_empty() { Box::default() } else { self.attrs.drain(..).collect() };
        Ok(Open { name: name.into(), ns, attrs, bindings: outside, nodes: self.nodes.len() })
    }

    fn close(&mut self, open: Open) {
        let nodes = Nodes::split_off(&mut self.nodes, open.nodes);
        self.bindings.truncate(open.bindings);
        self.nodes.push(Node::Element(Element::from_parts(open.name, open.ns, open.attrs, nodes)));
    }

    fn push_text(&mut self, raw: &str) {
        if !raw.is_empty() {
            text::push(self.text_end(), raw);
        }
    }

    /// The text that the open element's content ends with, so far perhaps empty.
    fn text_end(&mut self) -> &mut CompactString {
        let first = self.open.last().map_or(0, |open| open.nodes);
        if self.nodes.len() == first || !matches!(self.nodes.last(), Some(Node::Text(_))) {
            self.nodes.push(Node::Text(CompactString::const_new("")));
        }
        let Some(Node::Text(text)) = self.nodes.last_mut() else { unreachable!("a text was pushed") };
        text
    }
}

/// The name of a namespace, as the value of a declaration.
fn namespace(raw: &str) -> Result<Ns, XmlError> {
    if text::is_plain(raw) { Ok(raw.into()) } else { text::value(raw).map(|ns| ns.as_str().into()) }
}

/// Whether two attributes have the same expanded name (Namespaces in XML 1.0 §6.3). Compares few with each other,
/// and sorts many.
fn has_duplicate(attrs: &[Attribute]) -> bool {
    const FEW: usize = 8;
    if attrs.len() <= FEW {
        let is_same = |one: &Attribute, other: &Attribute| {
            steps::add(1);
            one.name == other.name && one.ns == other.ns
        };
        let is_before = |n, attr: &Attribute| attrs.iter().take(n).any(|other| is_same(attr, other));
        return attrs.iter().enumerate().any(|(n, attr)| is_before(n, attr));
    }
    let mut names: Vec<_> = attrs.iter().map(|attr| (attr.name(), attr.ns())).collect();
    names.sort_unstable_by(|one, other| {
        steps::add(1);
        one.cmp(other)
    });
    names.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
}

fn malformed(error: &quick_xml::Error) -> XmlError {
    use quick_xml::{Error, errors::IllFormedError};
    XmlError::NotWellFormed(match error {
        Error::IllFormed(IllFormedError::MismatchedEndTag { .. }) => {
            "an end tag does not match its start tag"
        }
        Error::IllFormed(IllFormedError::UnmatchedEndTag(_)) => "an end tag without its start tag",
        Error::IllFormed(IllFormedError::UnclosedReference) => "a reference without its end",
        _ => "the syntax is wrong",
    })
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
    use crate::XML_NS;

    const SCOPE: Scope<'static> = Scope { default_ns: "d", prefixes: &[("p", "urn:p")] };

    fn parse(text: &str) -> Result<Element, XmlError> {
        Element::parse(text, &SCOPE, &Limits::default())
    }

    fn fragment(text: &str) -> Result<Vec<Node>, XmlError> {
        Element::parse_fragment(text, &SCOPE, &Limits::default())
    }

    #[test]
    fn names_are_expanded() {
        for (text, name, ns) in [
            ("<a/>", "a", "d"),
            ("<p:a/>", "a", "urn:p"),
            ("<a xmlns='e'/>", "a", "e"),
            ("<a xmlns=''/>", "a", ""),
            ("<p:a xmlns:p='e'/>", "a", "e"),
            ("<q:a xmlns:q='&#x65;&amp;'></q:a >", "a", "e&"),
            ("<xml:a/>", "a", XML_NS),
            ("<p:a xmlns='e'/>", "a", "urn:p"),
        ] {
            let element = parse(text).unwrap();
            assert!(element.is(name, ns), "{text} is {element:?}");
            assert!(element.attrs().is_empty(), "{text}");
        }
    }

    #[test]
    fn an_inner_declaration_ends_with_its_element() {
        let text = "<a xmlns:p='1'><p:b xmlns:p='2' xmlns='3'><p:c/><d/></p:b><p:c/><d/></a>";
        let found: Vec<_> = parse(text).unwrap().children().map(|child| child.ns().to_owned()).collect();
        assert_eq!(found, ["2", "1", "d"]);
    }

    #[test]
    fn attributes_have_the_namespace_of_their_prefix_only() {
        let element = parse("<a x='1' p:x='2' q:x='3' xml:lang='de' xmlns:q='urn:q' xmlns='e'/>").unwrap();
        assert_eq!(element.attr("x"), Some("1"));
        assert_eq!(element.attr_ns("urn:p", "x"), Some("2"));
        assert_eq!(element.attr_ns("urn:q", "x"), Some("3"));
        assert_eq!(element.attr_ns(XML_NS, "lang"), Some("de"));
        assert_eq!(element.attr("lang"), None);
        assert_eq!(element.attr_ns("e", "x"), None);
    }

    #[test]
    fn texts_join_whatever_they_were_written_as() {
        for (text, want) in [
            ("<a>b</a>", "b"),
            ("<a>b&amp;c<![CDATA[<d>&amp;]]>&#101;</a>", "b&c<d>&amp;e"),
            ("<a>\r\n<![CDATA[\r]]>\n\r&#13;</a>", "\n\n\n\n\r"),
            ("<a><![CDATA[]]]]><![CDATA[>]]></a>", "]]>"),
            ("<a>]]&gt;]] ></a>", "]]>]] >"),
            ("<a>\u{feff}</a>", "\u{feff}"), // RFC 6120 §11.6: no byte order mark
        ] {
            let element = parse(text).unwrap();
            assert_eq!(element.nodes(), [Node::Text(want.into())], "{text}");
        }
        for text in ["<a></a>", "<a><![CDATA[]]></a>", "<a><![CDATA[]]><![CDATA[]]></a>", "<a />", "\n<a/>\t"]
        {
            assert_eq!(parse(text).unwrap().nodes(), [], "{text}");
        }
    }

    #[test]
    fn one_element_is_one_element() {
        for text in [
            "",
            " ",
            "a",
            "<",
            "<a",
            "<a>",
            "</a>",
            "<a></b>",
            "<a><b></a></b>",
            "<a/><b/>",
            "<a/>b",
            "b<a/>",
            "<a/><",
            "<a/></a>",
            "\u{feff}<a/>",
            "<a>&</a>",
            "<a>&lt</a>",
            "<a>]]></a>",
            "<a>\0</a>",
            "<a\u{1}/>",
            "<A></a>",
            "<p:a></a>",
            "<a></p:a>",
            "<p:a xmlns:q='urn:p'></q:a>",
        ] {
            assert!(matches!(parse(text), Err(XmlError::NotWellFormed(_))), "{text:?} is {:?}", parse(text));
        }
        assert_eq!(parse("<q:a/>"), Err(XmlError::UndeclaredPrefix("q".into())));
        assert_eq!(parse("<a q:b=''/>"), Err(XmlError::UndeclaredPrefix("q".into())));
        assert_eq!(parse("<a><b xmlns:q='q'/><q:c/></a>"), Err(XmlError::UndeclaredPrefix("q".into())));
        assert_eq!(
            parse("<?xml version='1.0'?><a/>"),
            Err(XmlError::RestrictedXml(Restricted::ProcessingInstruction))
        );
    }

    #[test]
    fn an_attribute_stands_once() {
        let many = (0..50).fold(String::new(), |many, n| many + &format!(" a{n}=''"));
        for (attrs, is_good) in [
            ("b='' c=''", true),
            ("b='' p:b=''", true),
            ("b='' B=''", true),
            ("b='' b=''", false),
            ("p:b='' p:b=''", false),
            ("p:b='' q:b='' xmlns:q='urn:p'", false), // two prefixes, one namespace
            ("p:b='' q:b='' xmlns:q='urn:q'", true),
            ("xmlns='a' xmlns='a'", false),
            ("xmlns:q='a' xmlns:q='b'", false),
            ("xml:lang='' lang=''", true),
            ("xmlns:x='http://www.w3.org/XML/1998/namespace'", false),
        ] {
            assert_eq!(parse(&format!("<a {attrs}/>")).is_ok(), is_good, "{attrs}");
            let spread = attrs.replacen(' ', &format!("{many} "), 1);
            assert_eq!(parse(&format!("<a {spread}/>")).is_ok(), is_good, "{spread}");
        }
    }

    #[test]
    fn a_fragment_is_texts_and_elements() {
        let nodes = fragment("\u{feff}x &amp;<![CDATA[ y]]><a/>\r\n<p:b>z</p:b>").unwrap();
        let [Node::Text(x), Node::Element(a), Node::Text(line), Node::Element(b)] = nodes.as_slice() else {
            panic!("{nodes:?}")
        };
        assert_eq!((x.as_str(), line.as_str()), ("\u{feff}x & y", "\n"));
        assert!(a.is("a", "d") && b.is("b", "urn:p"));
        assert_eq!(fragment(""), Ok(vec![]));
        assert_eq!(fragment("\u{feff}\u{feff}"), Ok(vec![Node::Text("\u{feff}\u{feff}".into())]));
        for text in [
            "<",
            "&",
            "]]>",
            "<a>",
            "</a>",
            "<a/></a>",
            "<a></b>",
            "x\0",
            "<![CDATA[",
            "<![CDATA[]]",
            "<![x]]>",
            "<![",
            "<!-- -->",
            "<?a?>",
            "<!DOCTYPE a>",
            "&nbsp;",
            "<a/>&",
            "<a/>]]>",
        ] {
            assert!(fragment(text).is_err(), "{text:?}");
        }
        let limits = Limits { children_max: 2, element_bytes_max: 12, ..Limits::default() };
        assert!(Element::parse_fragment("<a/>xxxx<a/>", &SCOPE, &limits).is_ok());
        for text in ["<a/>xxxxx<a/>", "<a/><a/><a/>"] {
            assert!(Element::parse_fragment(text, &SCOPE, &limits).is_err(), "{text}");
        }
    }
}
