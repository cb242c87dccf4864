//! An immutable tree of XML.

use std::{borrow::Cow, fmt, sync::Arc};

use compact_str::CompactString;

use crate::{
    ElementBuilder, Limits, Scope, XmlError,
    nodes::Nodes,
    ns::Ns,
    outer::Outer,
    tree,
    write::{self, Length, Sink as _},
};

/// An element with its attributes and its content. It cannot change, and a clone is a reference count.
///
/// Names are expanded: a prefix is a matter of how an element is written, not of what it is. Two elements are
/// equal when their names, attributes (in order) and nodes are.
#[derive(Clone, PartialEq, Eq)]
pub struct Element(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    name: CompactString,
    ns: Ns,
    attrs: Box<[Attribute]>,
    nodes: Nodes,
}

/// What an element contains. No two texts stand next to each other, and none is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Element(Element),
    Text(CompactString),
}

impl Node {
    /// The element, if it is one.
    pub fn as_element(&self) -> Option<&Element> {
        match self {
            Self::Element(element) => Some(element),
            Self::Text(_) => None,
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Element(_) => None,
            Self::Text(text) => Some(text),
        }
    }
}

/// An attribute. Root of namespaces are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    pub(crate) name: CompactString,
    pub(crate) ns: Ns,
    pub(crate) value: CompactString,
}

impl Attribute {
    /// The name without a prefix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace; empty for an attribute without a prefix.
    pub fn ns(&self) -> &str {
        self.ns.as_str()
    }

    /// The value, with its references resolved.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl Element {
    /// An element without attributes and content.
    pub fn new(name: &str, ns: &str) -> Self {
        Self::from_parts(name.into(), ns.into(), Box::default(), Nodes::default())
    }

    /// Starts an element. `name` is a name without prefix, chosen by us: it is written as it is.
    pub fn builder(name: impl Into<CompactString>, ns: impl Into<CompactString>) -> ElementBuilder {
        ElementBuilder::new(name.into(), ns.into().into())
    }

    /// A builder that starts as this element. Subtrees are shared, not copied.
    pub fn to_builder(&self) -> ElementBuilder {
        ElementBuilder::from_parts(
            self.0.name.clone(),
            self.0.ns.clone(),
            self.0.attrs.to_vec(),
            self.0.nodes.to_vec(),
        )
    }

    /// Reads one whole element, with nothing but white space around it, and the prefixes of `scope`.
    pub fn parse(text: &str, scope: &Scope<'_>, limits: &Limits) -> Result<Self, XmlError> {
        tree::parse_element(text, Outer::Scope(scope), limits)
    }

    /// Reads the content of an element: texts and elements side by side, such as a stored payload.
    /// The limits apply to each element in it, the limit of bytes to the whole.
    pub fn parse_fragment(text: &str, scope: &Scope<'_>, limits: &Limits) -> Result<Vec<Node>, XmlError> {
        tree::parse_fragment(text, Outer::Scope(scope), limits)
    }

    pub(crate) fn from_parts(name: CompactString, ns: Ns, attrs: Box<[Attribute]>, nodes: Nodes) -> Self {
        Self(Arc::new(Inner { name, ns, attrs, nodes }))
    }

    /// The name without a prefix.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The namespace; empty for none.
    pub fn ns(&self) -> &str {
        self.0.ns.as_str()
    }

    /// Whether this is the element `name` of the namespace `ns`.
    pub fn is(&self, name: &str, ns: &str) -> bool {
        self.0.name == name && self.0.ns.as_str() == ns
    }

    /// The value of the attribute `name` that has no namespace.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attr_ns("", name)
    }

    /// The value of the attribute `name` of the namespace `ns`, for instance `(XML_NS, "lang")`.
    pub fn attr_ns(&self, ns: &str, name: &str) -> Option<&str> {
        self.0.attrs.iter().find(|attr| attr.name == name && attr.ns.as_str() == ns).map(Attribute::value)
    }

    /// All attributes, in document order.
    pub fn attrs(&self) -> &[Attribute] {
        &self.0.attrs
    }

    /// The whole content, in document order.
    pub fn nodes(&self) -> &[Node] {
        &self.0.nodes
    }

    /// The child elements, in document order.
    pub fn children(&self) -> impl Iterator<Item = &Self> {
        self.0.nodes.iter().filter_map(Node::as_element)
    }

    /// The first child element of this name and namespace.
    pub fn child(&self, name: &str, ns: &str) -> Option<&Self> {
        self.children().find(|child| child.is(name, ns))
    }

    /// The first child element of any name.
    pub fn first_child(&self) -> Option<&Self> {
        self.children().next()
    }

    /// Whether there is a child element of this name and namespace.
    pub fn has_child(&self, name: &str, ns: &str) -> bool {
        self.child(name, ns).is_some()
    }

    /// The texts of this element itself, joined; those of its children are left out.
    pub fn text(&self) -> Cow<'_, str> {
        let mut texts = self.0.nodes.iter().filter_map(Node::as_text);
        let first = texts.next().unwrap_or_default();
        match texts.next() {
            None => Cow::Borrowed(first),
            Some(second) => Cow::Owned([first, second].into_iter().chain(texts).collect()),
        }
    }

    /// The text of the first child element of this name and namespace.
    pub fn child_text(&self, name: &str, ns: &str) -> Option<Cow<'_, str>> {
        self.child(name, ns).map(Self::text)
    }

    /// Appends this element as XML. It declares what `scope` does not, and can only be read where `scope` holds.
    pub fn write_into(&self, out: &mut Vec<u8>, scope: &Scope<'_>) {
        write::element(out, self, scope.default_ns, scope);
    }

    /// Whether this element takes more bytes than that as XML. It is not written for it, and not looked at further.
    pub fn is_longer_than(&self, bytes: usize, scope: &Scope<'_>) -> bool {
        let mut length = Length { bytes: 0, max: bytes };
        write::element(&mut length, self, scope.default_ns, scope);
        length.is_full()
    }

    /// This element as XML, as [`write_into`](Self::write_into) has it.
    pub fn to_string_in(&self, scope: &Scope<'_>) -> String {
        let mut out = Vec::new();
        self.write_into(&mut out, scope);
        // Everything written was a str, cut at ASCII characters only, so nothing is ever replaced here.
        String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_string_in(&Scope::EMPTY))
    }
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

    const TEXT: &str = "<m xmlns='u' to='x'>1<b>y</b>2<b>z</b><b xmlns='v'/><c><b xmlns='w'/></c>3</m>";

    #[test]
    fn what_is_there_is_found() {
        let m = Element::parse(TEXT, &Scope::EMPTY, &Limits::default()).unwrap();
        assert!(m.is("m", "u") && !m.is("m", "v") && !m.is("n", "u"));
        assert_eq!((m.attr("to"), m.attr("from"), m.attr_ns("u", "to")), (Some("x"), None, None));
        assert_eq!(
            m.attrs().iter().map(|a| (a.name(), a.ns(), a.value())).collect::<Vec<_>>(),
            [("to", "", "x")]
        );
        assert_eq!(
            m.children().map(|child| (child.name(), child.ns())).collect::<Vec<_>>(),
            [("b", "u"), ("b", "u"), ("b", "v"), ("c", "u")]
        );
        assert_eq!(m.first_child(), m.child("b", "u"));
        assert!(m.has_child("b", "v") && !m.has_child("b", "w"), "only the own children count");
        assert_eq!(m.text(), "123");
        assert_eq!(m.child_text("b", "u").as_deref(), Some("y"));
        assert_eq!(m.child_text("b", "v").as_deref(), Some(""));
        assert_eq!(m.child_text("b", "w"), None);
        assert!(matches!(m.child_text("b", "u"), Some(Cow::Borrowed(_))));
        assert_eq!(m.nodes().len(), 7);
        assert_eq!(format!("{m:?}"), TEXT);
    }

    #[test]
    fn elements_are_equal_by_what_they_are() {
        let parse = |text| Element::parse(text, &Scope::EMPTY, &Limits::default()).unwrap();
        let element = parse("<a xmlns='u' b='c'>d<e/></a>");
        assert_eq!(element, parse("<p:a xmlns:p='u' b = \"c\" >&#100;<p:e></p:e></p:a>"));
        for other in [
            "<a xmlns='v' b='c'>d<e/></a>",
            "<x xmlns='u' b='c'>d<e/></x>",
            "<a xmlns='u'>d<e/></a>",
            "<a xmlns='u' b='x'>d<e/></a>",
            "<a xmlns='u' xmlns:p='u' p:b='c'>d<e/></a>",
            "<a xmlns='u' b='c'><e/>d</a>",
            "<a xmlns='u' b='c'>d<e xmlns=''/></a>",
            "<a xmlns='u' b='c'>d <e/></a>",
        ] {
            assert_ne!(element, parse(other), "{other}");
        }
    }

    /// What a tree costs in memory is what many of these cost.
    #[test]
    fn an_element_is_small() {
        assert_eq!((size_of::<Element>(), size_of::<Node>(), size_of::<Attribute>()), (8, 24, 72));
        assert!(size_of::<Inner>() <= 88, "{}", size_of::<Inner>());
    }
}
