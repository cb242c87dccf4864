//! Which prefix is bound to what, while a tree is read (Namespaces in XML 1.0 §3, §5, §6).

use compact_str::CompactString;

use crate::{Limits, TooMany, XML_NS, XMLNS_NS, XmlError, declarations::Outer, tree};

/// The declarations in scope: those of the surrounding document, then those of the open elements.
pub(crate) struct Bindings<'a> {
    outer: Outer<'a>,
    declared: Vec<Binding>,
    limit: usize,
}

struct Binding {
    /// Empty for the default namespace.
    prefix: CompactString,
    ns: CompactString,
}

impl<'a> Bindings<'a> {
    pub(crate) fn new(outer: Outer<'a>, limits: &Limits) -> Self {
        Self { outer, declared: Vec::new(), limit: limits.namespaces_max }
    }

    /// How many are declared now; [`truncate`](Self::truncate) comes back to here.
    pub(crate) fn len(&self) -> usize {
        self.declared.len()
    }

    /// Forgets what was declared since there were `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.declared.truncate(len);
    }

    /// Binds `prefix`, or the default namespace for an empty one, until it is truncated.
    pub(crate) fn declare(&mut self, prefix: &str, ns: CompactString) -> Result<(), XmlError> {
        let is_reserved = match prefix {
            "xmlns" => true,
            "xml" => ns != XML_NS,
            _ => ns == XML_NS || ns == XMLNS_NS,
        };
        if is_reserved {
            return Err(XmlError::NotWellFormed("a reserved prefix or namespace is bound"));
        }
        if ns.is_empty() && !prefix.is_empty() {
            return Err(XmlError::NotWellFormed("a prefix is bound to no namespace"));
        }
        if self.declared.len().saturating_add(self.outer.len()) >= self.limit {
            return Err(XmlError::TooMany { what: TooMany::Namespaces, limit: self.limit });
        }
        self.declared.push(Binding { prefix: prefix.into(), ns });
        Ok(())
    }

    /// Fails if a prefix was bound twice since there were `len`, that is, by one element.
    pub(crate) fn check_unique(&self, len: usize) -> Result<(), XmlError> {
        let declared = self.declared.get(len..).unwrap_or_default();
        if tree::has_duplicate(declared, |binding| binding.prefix.as_str()) {
            return Err(XmlError::NotWellFormed("a prefix is bound twice"));
        }
        Ok(())
    }

    /// The namespace of an element without prefix.
    pub(crate) fn default_ns(&self) -> &str {
        self.find("").unwrap_or_else(|| self.outer.default_ns())
    }

    /// The namespace that `prefix` is bound to.
    pub(crate) fn resolve(&self, prefix: &str) -> Result<&str, XmlError> {
        match prefix {
            "xml" => Ok(XML_NS),
            "xmlns" => Err(XmlError::NotWellFormed("the prefix xmlns on a name")),
            _ => self
                .find(prefix)
                .or_else(|| self.outer.ns_of(prefix))
                .ok_or_else(|| XmlError::BadNamespacePrefix(prefix.into())),
        }
    }

    fn find(&self, prefix: &str) -> Option<&str> {
        self.declared.iter().rev().find(|binding| binding.prefix == prefix).map(|binding| binding.ns.as_str())
    }

    /// All declarations since there were `len`, as pairs of prefix and namespace.
    pub(crate) fn since(&self, len: usize) -> impl Iterator<Item = (&str, &str)> {
        self.declared.iter().skip(len).map(|binding| (binding.prefix.as_str(), binding.ns.as_str()))
    }
}
