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
    Attribute, Element, Limits, Node, Restricted, XmlError, chars,
    declarations::{Declarations, Outer},
    namespaces::Bindings,
    scan::{Expect, Scanner, Unit},
};

/// The text of a unit: UTF-8 (RFC 6120 §11.6), of characters that XML has.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, XmlError> {
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
    while let Some(start) = memchr::memchr(b'<', rest) {
        rest = rest.get(start..).unwrap_or_default();
        let length = if rest.starts_with(b"<![") {
            // Outside of an element the scanner knows no CDATA section.
            const END: &[u8] = b"]]>";
            memchr::memmem::find(rest, END).map(|at| at.saturating_add(END.len()))
        } else {
            match Scanner::default().scan(rest, Expect::Content, limits)? {
                Some((Unit::Element, length)) => Some(length),
                _ => None,
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
    Ok(tree.nodes)
}

/// Reads a unit that the scanner found to be an element.
pub(crate) fn element(bytes: &[u8], outer: Outer<'_>, limits: &Limits) -> Result<Element, XmlError> {
    let mut tree = Tree::new(outer, limits);
    tree.read(text(bytes)?)?;
    let mut nodes = tree.nodes.into_iter();
    match (nodes.next(), nodes.next()) {
        (Some(Node::Element(element)), None) => Ok(element),
        _ => Err(XmlError::NotWellFormed("not exactly one element")),
    }
}

/// Reads a unit that the scanner found to be the root's start tag.
pub(crate) fn root(bytes: &[u8], limits: &Limits) -> Result<(Element, Declarations), XmlError> {
    let mut tree = Tree::new(Outer::Scope(&crate::Scope::EMPTY), limits);
    let mut reader = Reader::from_str(text(bytes)?);
    let Ok(Event::Start(start) | Event::Empty(start)) = reader.read_event() else {
        return Err(XmlError::NotWellFormed("the start tag of the root"));
    };
    let qname = CompactString::from(start.name().as_ref());
    let open = tree.open(&start)?;
    let default_ns = tree.bindings.default_ns().into();
    let prefixes = tree.bindings.since(0).filter(|(prefix, _)| !prefix.is_empty());
    let prefixes = prefixes.map(|(prefix, ns)| (prefix.into(), ns.into())).collect();
    let element = Element::from_parts(open.name, open.ns, open.attrs, Box::default());
    Ok((element, Declarations { qname, default_ns, prefixes }))
}

/// A tree in the making.
struct Tree<'a> {
    bindings: Bindings<'a>,
    open: Vec<Open>,
    /// The finished nodes of all open elements, outermost first.
    nodes: Vec<Node>,
}

/// An element whose end has not been read.
struct Open {
    name: CompactString,
    ns: CompactString,
    attrs: Box<[Attribute]>,
    /// How many declarations held outside of it.
    bindings: usize,
    /// Where its nodes begin.
    nodes: usize,
}

impl<'a> Tree<'a> {
    fn new(outer: Outer<'a>, limits: &Limits) -> Self {
        Self { bindings: Bindings::new(outer, limits), open: Vec::new(), nodes: Vec::new() }
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
                        self.open.pop().ok_or(XmlError::NotWellFormed("an end tag without its start"))?;
                    self.close(open);
                }
                Event::Text(text) => {
                    if memchr::memmem::find(text.as_bytes(), b"]]>").is_some() {
                        return Err(XmlError::NotWellFormed("]]> in text"));
                    }
                    self.push_text(&text);
                }
                Event::CData(text) => self.push_text(&text),
                Event::GeneralRef(name) => {
                    let c = chars::resolve(&name)?;
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
        let mut attrs: Vec<(Option<CompactString>, Attribute)> = Vec::new();
        for attr in start.attributes().with_checks(false) {
            let attr = attr.map_err(|_| XmlError::NotWellFormed("an attribute is malformed"))?;
            let (prefix, local) = chars::split_qname(attr.key.as_ref())?;
            let value = chars::attribute_value(&attr.value)?;
            match (prefix, local) {
                (None, "xmlns") => self.bindings.declare("", value)?,
                (Some("xmlns"), prefix) => self.bindings.declare(prefix, value)?,
                _ => attrs.push((
                    prefix.map(Into::into),
                    Attribute { name: local.into(), ns: CompactString::const_new(""), value },
                )),
            }
        }
        self.bindings.check_unique(outside)?;
        let mut resolved = Vec::with_capacity(attrs.len());
        for (prefix, mut attr) in attrs {
            if let Some(prefix) = prefix {
                attr.ns = self.bindings.resolve(&prefix)?.into();
            }
            resolved.push(attr);
        }
        check_unique(&resolved)?;
        let name = start.name();
        let (prefix, name) = chars::split_qname(name.as_ref())?;
        let ns = match prefix {
            Some(prefix) => self.bindings.resolve(prefix)?,
            None => self.bindings.default_ns(),
        };
        Ok(Open {
            name: name.into(),
            ns: ns.into(),
            attrs: resolved.into(),
            bindings: outside,
            nodes: self.nodes.len(),
        })
    }

    fn close(&mut self, open: Open) {
        let nodes = self.nodes.drain(open.nodes..).collect();
        self.bindings.truncate(open.bindings);
        self.nodes.push(Node::Element(Element::from_parts(open.name, open.ns, open.attrs, nodes)));
    }

    fn push_text(&mut self, raw: &str) {
        if !raw.is_empty() {
            chars::push_text(self.text_end(), raw);
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

/// No two attributes of an element have the same expanded name (Namespaces in XML 1.0 §6.3).
fn check_unique(attrs: &[Attribute]) -> Result<(), XmlError> {
    if has_duplicate(attrs, |attr| (attr.name.as_str(), attr.ns.as_str())) {
        return Err(XmlError::NotWellFormed("an attribute twice"));
    }
    Ok(())
}

/// Compares few with each other, and sorts many.
pub(crate) fn has_duplicate<'a, T, K: Ord>(items: &'a [T], key: impl Fn(&'a T) -> K) -> bool {
    const FEW: usize = 8;
    if items.len() <= FEW {
        return items
            .iter()
            .enumerate()
            .any(|(n, item)| items.iter().take(n).any(|other| key(other) == key(item)));
    }
    let mut keys: Vec<K> = items.iter().map(key).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
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
