//! An element and what it holds.

use std::fmt::{self, Write as _};

/// An element with its namespaces resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub ns: String,
    pub attributes: Vec<Attribute>,
    pub nodes: Vec<Node>,
}

/// An attribute; `ns` is empty for one without a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub ns: String,
    pub name: String,
    pub value: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    /// The value of an attribute without a namespace.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attribute_ns("", name)
    }

    pub fn attribute_ns(&self, ns: &str, name: &str) -> Option<&str> {
        self.attributes.iter().find(|a| a.name == name && a.ns == ns).map(|a| a.value.as_str())
    }

    pub fn children(&self) -> impl Iterator<Item = &Element> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    pub fn child(&self, ns: &str, name: &str) -> Option<&Element> {
        self.children().find(|child| child.is(ns, name))
    }

    pub fn is(&self, ns: &str, name: &str) -> bool {
        self.ns == ns && self.name == name
    }

    /// All text directly in this element.
    pub fn text(&self) -> String {
        let texts = self.nodes.iter().filter_map(|node| match node {
            Node::Text(text) => Some(text.as_str()),
            Node::Element(_) => None,
        });
        texts.collect()
    }

    /// Message, presence or iq: what XEP-0198 counts.
    pub fn is_stanza(&self) -> bool {
        self.ns == super::NS_CLIENT && matches!(self.name.as_str(), "message" | "presence" | "iq")
    }

    fn write(&self, out: &mut String, parent_ns: &str) -> fmt::Result {
        let prefix = if self.ns == super::NS_STREAM { "stream:" } else { "" };
        write!(out, "<{prefix}{}", self.name)?;
        if prefix.is_empty() && self.ns != parent_ns {
            write!(out, " xmlns='{}'", escape(&self.ns))?;
        }
        for attribute in &self.attributes {
            let prefix = if attribute.ns == super::NS_XML {
                "xml:".to_owned()
            } else if attribute.ns.is_empty() {
                String::new()
            } else {
                format!("{{{}}}", attribute.ns)
            };
            write!(out, " {prefix}{}='{}'", attribute.name, escape(&attribute.value))?;
        }
        if self.nodes.is_empty() {
            return write!(out, "/>");
        }
        write!(out, ">")?;
        let inner_ns = if prefix.is_empty() { &self.ns } else { parent_ns };
        for node in &self.nodes {
            match node {
                Node::Element(element) => element.write(out, inner_ns)?,
                Node::Text(text) => write!(out, "{}", escape(text))?,
            }
        }
        write!(out, "</{prefix}{}>", self.name)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out, super::NS_CLIENT)?;
        f.write_str(&out)
    }
}

/// Text made safe for an element's content and for an attribute in either quote.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
