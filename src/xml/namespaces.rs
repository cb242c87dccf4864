//! Which prefix is bound to what, while a tree is read (Namespaces in XML 1.0 §3, §5, §6).

use std::collections::BTreeMap;

use compact_str::CompactString;

use crate::{Limits, TooMany, XML_NS, XMLNS_NS, XmlError, names, ns::Ns, outer::Outer, steps};

/// So many declarations are searched one by one; for more there is an index.
const FEW: usize = 16;

/// The declarations in scope: those of the surrounding document, then those of the open elements.
pub(crate) struct Bindings<'a> {
    outer: Outer<'a>,
    outer_default: Ns,
    declared: Vec<Binding>,
    /// The innermost declaration of the default namespace.
    default: Option<usize>,
    /// The innermost declaration of each prefix, once there are more than [`FEW`].
    index: BTreeMap<CompactString, usize>,
    limit: usize,
    name_bytes_max: usize,
}

struct Binding {
    /// Empty for the default namespace.
    prefix: CompactString,
    ns: Ns,
    /// The declaration that this one hides.
    hidden: Option<usize>,
}

impl<'a> Bindings<'a> {
    pub(crate) fn new(outer: Outer<'a>, limits: &Limits) -> Self {
        Self {
            outer,
            outer_default: outer.default_ns(),
            declared: Vec::new(),
            default: None,
            index: BTreeMap::new(),
            limit: limits.namespaces_max,
            name_bytes_max: limits.namespace_bytes_max,
        }
    }

    /// How many are declared now; [`truncate`](Self::truncate) comes back to here.
    pub(crate) fn len(&self) -> usize {
        self.declared.len()
    }

    /// Forgets what was declared since there were `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        while self.declared.len() > len {
            let Some(Binding { prefix, hidden, .. }) = self.declared.pop() else { return };
            if prefix.is_empty() {
                self.default = hidden;
            } else if self.declared.len() <= FEW {
                steps::add(self.index.len());
                self.index.clear();
            } else if let Some(hidden) = hidden {
                self.index.insert(prefix, hidden);
            } else {
                self.index.remove(&prefix);
            }
        }
    }

    /// Binds `prefix`, or the default namespace for an empty one, on an element before which there were `len`
    /// declarations.
    pub(crate) fn declare(&mut self, prefix: &str, ns: Ns, len: usize) -> Result<(), XmlError> {
        let is_reserved = match prefix {
            "xmlns" => true,
            "xml" => ns.as_str() != XML_NS,
            _ => ns.as_str() == XML_NS || ns.as_str() == XMLNS_NS,
        };
        if is_reserved {
            return Err(XmlError::NotWellFormed("a reserved prefix or namespace is bound"));
        }
        if ns.as_str().is_empty() && !prefix.is_empty() {
            return Err(XmlError::NotWellFormed("a prefix is bound to no namespace"));
        }
        if ns.as_str().len() > self.name_bytes_max {
            return Err(XmlError::TooBig { what: "namespace", limit: self.name_bytes_max });
        }
        if !names::is_namespace(ns.as_str()) {
            return Err(XmlError::NotWellFormed("the name of a namespace is no URI"));
        }
        let hidden = self.position(prefix);
        if hidden.is_some_and(|hidden| hidden >= len) {
            return Err(XmlError::NotWellFormed("a prefix is bound twice"));
        }
        let at = self.declared.len();
        if at.saturating_add(self.outer.len()) >= self.limit {
            return Err(XmlError::TooMany { what: TooMany::Namespaces, limit: self.limit });
        }
        self.declared.push(Binding { prefix: prefix.into(), ns, hidden });
        if prefix.is_empty() {
            self.default = Some(at);
        } else if at > FEW {
            self.index.insert(prefix.into(), at);
        }
        if at == FEW {
            let all = self.declared.iter().enumerate().map(|(at, binding)| (binding.prefix.clone(), at));
            steps::add(at);
            self.index = all.collect(); // of two with one prefix the later one stays
        }
        Ok(())
    }

    /// The namespace of an element without prefix.
    pub(crate) fn default_ns(&self) -> Ns {
        self.default
            .and_then(|at| self.declared.get(at))
            .map_or(&self.outer_default, |binding| &binding.ns)
            .clone()
    }

    /// The namespace that `prefix` is bound to.
    pub(crate) fn resolve(&self, prefix: &str) -> Result<Ns, XmlError> {
        match prefix {
            "xml" => Ok(Ns::Own(CompactString::const_new(XML_NS))),
            "xmlns" => Err(XmlError::NotWellFormed("the prefix xmlns on a name")),
            _ => self
                .position(prefix)
                .and_then(|at| self.declared.get(at))
                .map(|binding| binding.ns.clone())
                .or_else(|| self.outer.ns_of(prefix))
                .ok_or_else(|| XmlError::UndeclaredPrefix(prefix.into())),
        }
    }

    fn position(&self, prefix: &str) -> Option<usize> {
        if prefix.is_empty() {
            self.default
        } else if self.declared.len() > FEW {
            steps::add(1);
            self.index.get(prefix).copied()
        } else {
            self.declared.iter().rposition(|binding| {
                steps::add(1);
                binding.prefix == prefix
            })
        }
    }

    /// The prefixes that are declared, and their namespaces.
    pub(crate) fn into_prefixes(self) -> impl Iterator<Item = (CompactString, Ns)> {
        self.declared.into_iter().filter(|binding| !binding.prefix.is_empty()).map(|b| (b.prefix, b.ns))
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
    use crate::Scope;

    const OUTER: Scope<'static> =
        Scope { default_ns: "outer", prefixes: &[("p", "outer-p"), ("q", "outer-q")] };

    fn bindings(limit: usize) -> Bindings<'static> {
        Bindings::new(Outer::Scope(&OUTER), &Limits { namespaces_max: limit, ..Limits::default() })
    }

    #[test]
    fn what_cannot_be_bound_is_refused() {
        for (prefix, ns) in [
            ("xml", "urn:a"),
            ("xml", ""),
            ("xmlns", "urn:a"),
            ("xmlns", XMLNS_NS),
            ("xmlns", XML_NS),
            ("", XML_NS),
            ("", XMLNS_NS),
            ("a", XML_NS),
            ("a", XMLNS_NS),
            ("a", ""),
            ("a", "a b"),
            ("", "{a}b"),
        ] {
            let result = bindings(64).declare(prefix, ns.into(), 0);
            assert!(matches!(result, Err(XmlError::NotWellFormed(_))), "{prefix}={ns} {result:?}");
        }
        for (prefix, ns) in [("xml", XML_NS), ("", ""), ("", "urn:a"), ("a", "urn:a"), ("xmlfoo", "urn:a")] {
            assert_eq!(bindings(64).declare(prefix, ns.into(), 0), Ok(()), "{prefix}={ns}");
        }
    }

    /// With many and with few, so that both ways to search are taken.
    #[test]
    fn an_inner_declaration_hides_an_outer_one_until_its_end() {
        for more in [0, 1, FEW - 4, FEW - 3, FEW - 2, FEW - 1, FEW, 40] {
            let mut all = bindings(1000);
            let ns = |all: &Bindings<'_>, prefix: &str| all.resolve(prefix).map(|ns| ns.as_str().to_owned());
            for n in 0..more {
                all.declare(&format!("n{n}"), "urn:n".into(), 0).unwrap();
            }
            let len = all.len();
            all.declare("p", "inner-p".into(), len).unwrap();
            all.declare("", "inner".into(), len).unwrap();
            all.declare("r", "inner-r".into(), len).unwrap();
            let inmost = all.len();
            all.declare("p", "inmost-p".into(), inmost).unwrap();
            all.declare("", "".into(), inmost).unwrap();
            assert_eq!(ns(&all, "p").unwrap(), "inmost-p");
            assert_eq!(ns(&all, "q").unwrap(), "outer-q");
            assert_eq!(ns(&all, "r").unwrap(), "inner-r");
            assert_eq!(all.default_ns().as_str(), "");
            all.truncate(inmost);
            assert_eq!(ns(&all, "p").unwrap(), "inner-p");
            assert_eq!(all.default_ns().as_str(), "inner");
            all.truncate(len);
            assert_eq!(ns(&all, "p").unwrap(), "outer-p");
            assert_eq!(ns(&all, "r"), Err(XmlError::UndeclaredPrefix("r".into())));
            assert_eq!(all.default_ns().as_str(), "outer");
            for n in 0..more {
                assert_eq!(ns(&all, &format!("n{n}")).unwrap(), "urn:n");
            }
            all.truncate(0);
            assert!(all.index.is_empty() && ns(&all, "n0").is_err());
        }
    }

    #[test]
    fn a_prefix_is_bound_once_by_one_element() {
        for more in [0, FEW - 1, FEW, 40] {
            let mut all = bindings(1000);
            for n in 0..more {
                all.declare(&format!("n{n}"), "urn:n".into(), 0).unwrap();
            }
            for prefix in ["", "a"] {
                let len = all.len();
                all.declare(prefix, "urn:a".into(), len).unwrap();
                let twice = all.declare(prefix, "urn:b".into(), len);
                assert_eq!(
                    twice,
                    Err(XmlError::NotWellFormed("a prefix is bound twice")),
                    "{prefix} after {more}"
                );
            }
        }
    }

    #[test]
    fn a_name_has_a_limit() {
        let limit = Limits::default().namespace_bytes_max;
        for prefix in ["", "a"] {
            let longest = "u".repeat(limit);
            assert_eq!(bindings(64).declare(prefix, longest.as_str().into(), 0), Ok(()));
            let longer = bindings(64).declare(prefix, format!("{longest}u").as_str().into(), 0);
            assert_eq!(longer, Err(XmlError::TooBig { what: "namespace", limit }));
        }
    }

    #[test]
    fn the_limit_counts_what_is_in_scope() {
        let mut all = bindings(5); // of which the scope has three
        all.declare("a", "urn:a".into(), 0).unwrap();
        all.declare("b", "urn:b".into(), 0).unwrap();
        let third = all.declare("c", "urn:c".into(), 0);
        assert_eq!(third, Err(XmlError::TooMany { what: TooMany::Namespaces, limit: 5 }));
        all.truncate(1);
        all.declare("c", "urn:c".into(), 1).unwrap();
    }
}
