//! Making and changing elements.

use compact_str::CompactString;

use crate::{Attribute, Element, Node};

/// An element in the making.
///
/// Names and namespaces come from our own code: they are written as they are. Values and texts may be anything;
/// what XML cannot represent is written as U+FFFD.
#[derive(Clone, Debug)]
#[must_use]
pub struct ElementBuilder {
    name: CompactString,
    ns: CompactString,
    attrs: Vec<Attribute>,
    nodes: Vec<Node>,
}

impl ElementBuilder {
    pub(crate) fn new(name: CompactString, ns: CompactString) -> Self {
        Self { name, ns, attrs: Vec::new(), nodes: Vec::new() }
    }

    pub(crate) fn from_parts(
        name: CompactString,
        ns: CompactString,
        attrs: Vec<Attribute>,
        nodes: Vec<Node>,
    ) -> Self {
        Self { name, ns, attrs, nodes }
    }

    /// Sets an attribute without namespace. One of the same name is replaced where it stands.
    pub fn attr(self, name: impl Into<CompactString>, value: impl Into<CompactString>) -> Self {
        self.attr_ns(CompactString::const_new(""), name, value)
    }

    /// Sets an attribute without namespace, or leaves all as it is for `None`.
    pub fn attr_opt(self, name: impl Into<CompactString>, value: Option<impl Into<CompactString>>) -> Self {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    /// Sets an attribute of the namespace `ns`. One of the same name is replaced where it stands.
    pub fn attr_ns(
        mut self,
        ns: impl Into<CompactString>,
        name: impl Into<CompactString>,
        value: impl Into<CompactString>,
    ) -> Self {
        let attr = Attribute { name: name.into(), ns: ns.into(), value: value.into() };
        debug_assert!(crate::chars::is_ncname(&attr.name), "attribute name {:?}", attr.name);
        match self.attrs.iter_mut().find(|old| old.name == attr.name && old.ns == attr.ns) {
            Some(old) => *old = attr,
            None => self.attrs.push(attr),
        }
        self
    }

    /// Removes the attribute `name` without namespace, if there is one.
    pub fn without_attr(mut self, name: &str) -> Self {
        self.attrs.retain(|attr| attr.name != name || !attr.ns.is_empty());
        self
    }

    /// Appends a child element.
    pub fn child(mut self, child: Element) -> Self {
        self.nodes.push(Node::Element(child));
        self
    }

    /// Appends a child element, if there is one.
    pub fn child_opt(self, child: Option<Element>) -> Self {
        self.children(child)
    }

    /// Appends child elements.
    pub fn children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.nodes.extend(children.into_iter().map(Node::Element));
        self
    }

    /// Appends text. It joins the text before it, if the content so far ends with one.
    pub fn text(mut self, text: impl Into<CompactString>) -> Self {
        push_text(&mut self.nodes, text.into());
        self
    }

    /// Appends an element or a text.
    pub fn node(self, node: Node) -> Self {
        match node {
            Node::Element(element) => self.child(element),
            Node::Text(text) => self.text(text),
        }
    }

    /// Removes the child elements for which `keep` is false. Texts stay, and join where they now meet.
    pub fn retain_children(mut self, mut keep: impl FnMut(&Element) -> bool) -> Self {
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for node in self.nodes {
            match node {
                Node::Text(text) => push_text(&mut nodes, text),
                Node::Element(element) if keep(&element) => nodes.push(Node::Element(element)),
                Node::Element(_) => {}
            }
        }
        self.nodes = nodes;
        self
    }

    /// The finished element.
    #[must_use]
    pub fn build(self) -> Element {
        debug_assert!(crate::chars::is_ncname(&self.name), "element name {:?}", self.name);
        Element::from_parts(self.name, self.ns, self.attrs.into(), self.nodes.into())
    }
}

/// Appends text so that no two texts are neighbours and none is empty.
fn push_text(nodes: &mut Vec<Node>, text: CompactString) {
    if text.is_empty() {
        return;
    }
    match nodes.last_mut() {
        Some(Node::Text(last)) => last.push_str(&text),
        _ => nodes.push(Node::Text(text)),
    }
}
