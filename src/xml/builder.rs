//! Making and changing elements.

use compact_str::CompactString;

use crate::{Attribute, Element, Node, names, ns::Ns};

/// An element in the making.
///
/// Names and namespaces come from our own code: they are written as they are. Values and texts may be anything;
/// what XML cannot represent is written as U+FFFD.
#[derive(Clone, Debug)]
#[must_use]
pub struct ElementBuilder {
    name: CompactString,
    ns: Ns,
    attrs: Vec<Attribute>,
    nodes: Vec<Node>,
}

impl ElementBuilder {
    pub(crate) fn new(name: CompactString, ns: Ns) -> Self {
        Self { name, ns, attrs: Vec::new(), nodes: Vec::new() }
    }

    pub(crate) fn from_parts(name: CompactString, ns: Ns, attrs: Vec<Attribute>, nodes: Vec<Node>) -> Self {
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
        let attr = Attribute { name: name.into(), ns: ns.into().into(), value: value.into() };
        debug_assert!(names::is_ncname(&attr.name), "attribute name {:?}", attr.name);
        match self.attrs.iter_mut().find(|old| old.name == attr.name && old.ns == attr.ns) {
            Some(old) => *old = attr,
            None => self.attrs.push(attr),
        }
        self
    }

    /// Removes the attribute `name` without namespace, if there is one.
    pub fn without_attr(mut self, name: &str) -> Self {
        self.attrs.retain(|attr| attr.name != name || !attr.ns().is_empty());
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
        debug_assert!(names::is_ncname(&self.name), "element name {:?}", self.name);
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

    fn show(builder: ElementBuilder) -> String {
        format!("{:?}", builder.build())
    }

    #[test]
    fn what_is_built_is_what_is_written() {
        let a = || Element::builder("a", "");
        let b = || Element::new("b", "u");
        for (builder, want) in [
            (a(), "<a/>"),
            (a().attr("x", "1").attr("y", "2"), "<a x='1' y='2'/>"),
            (a().attr("x", "1").attr("y", "2").attr("x", "3"), "<a x='3' y='2'/>"),
            (a().attr_opt("x", Some("1")).attr_opt("y", None::<&str>), "<a x='1'/>"),
            (a().attr_ns(XML_NS, "lang", "de").attr("lang", "en"), "<a xml:lang='de' lang='en'/>"),
            (a().attr_ns(XML_NS, "lang", "de").attr_ns(XML_NS, "lang", "fr"), "<a xml:lang='fr'/>"),
            (a().attr("x", "1").attr_ns(XML_NS, "x", "2").without_attr("x"), "<a xml:x='2'/>"),
            (a().without_attr("x"), "<a/>"),
            (a().child(b()), "<a><b xmlns='u'/></a>"),
            (a().child_opt(None).child_opt(Some(b())), "<a><b xmlns='u'/></a>"),
            (a().children([b(), b()]), "<a><b xmlns='u'/><b xmlns='u'/></a>"),
            (a().text(""), "<a/>"),
            (a().text("x").text("").text("y"), "<a>xy</a>"),
            (a().text("x").child(b()).text("y"), "<a>x<b xmlns='u'/>y</a>"),
            (a().node(Node::Text("x".into())).node(Node::Element(b())), "<a>x<b xmlns='u'/></a>"),
        ] {
            assert_eq!(show(builder), want);
        }
    }

    #[test]
    fn texts_meet_when_what_was_between_them_goes() {
        let element = Element::builder("a", "")
            .text("x")
            .child(Element::new("b", ""))
            .text("y")
            .child(Element::new("c", ""))
            .child(Element::new("b", ""))
            .text("z")
            .build();
        let kept = element.to_builder().retain_children(|child| !child.is("b", "")).build();
        assert_eq!(
            kept.nodes(),
            [Node::Text("xy".into()), Node::Element(Element::new("c", "")), Node::Text("z".into())]
        );
        assert_eq!(show(kept.to_builder().retain_children(|_| false)), "<a>xyz</a>");
        assert_eq!(show(element.to_builder()), "<a>x<b/>y<c/><b/>z</a>", "the original is as it was");
    }

    #[test]
    fn a_copy_shares_what_it_does_not_change() {
        let child = Element::builder("b", "u").text("x").build();
        let element = Element::builder("a", "u").child(child).build();
        let copy = element.to_builder().attr("to", "someone").build();
        let text = |element: &Element| element.child("b", "u").unwrap().nodes().as_ptr();
        assert_eq!(text(&element), text(&copy));
    }
}
