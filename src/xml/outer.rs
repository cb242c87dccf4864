//! What the document around an element declares.

use compact_str::CompactString;

use crate::{Scope, ns::Ns};

/// The root's start tag as far as its children need it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// The root's name as it was written: its end tag has to repeat it.
    pub(crate) qname: CompactString,
    pub(crate) default_ns: Ns,
    prefixes: Box<[(CompactString, Ns)]>,
}

impl Root {
    pub(crate) fn new(
        qname: CompactString,
        default_ns: Ns,
        prefixes: impl Iterator<Item = (CompactString, Ns)>,
    ) -> Self {
        let mut prefixes: Box<[_]> = prefixes.collect();
        prefixes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Self { qname, default_ns, prefixes }
    }

    /// In alphabetical order.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.prefixes.iter().map(|(prefix, ns)| (prefix.as_str(), ns.as_str()))
    }

    pub(crate) fn ns_of(&self, prefix: &str) -> Option<&Ns> {
        let at = self.prefixes.binary_search_by(|(bound, _)| bound.as_str().cmp(prefix)).ok()?;
        self.prefixes.get(at).map(|(_, ns)| ns)
    }
}

/// Where declarations come from that stand outside of what is read.
#[derive(Clone, Copy)]
pub(crate) enum Outer<'a> {
    Scope(&'a Scope<'a>),
    Root(&'a Root),
}

impl Outer<'_> {
    pub(crate) fn default_ns(self) -> Ns {
        match self {
            Self::Scope(scope) => scope.default_ns.into(),
            Self::Root(root) => root.default_ns.clone(),
        }
    }

    pub(crate) fn ns_of(self, prefix: &str) -> Option<Ns> {
        match self {
            Self::Scope(scope) => {
                scope.prefixes.iter().find(|(bound, _)| *bound == prefix).map(|(_, ns)| (*ns).into())
            }
            Self::Root(root) => root.ns_of(prefix).cloned(),
        }
    }

    /// How many declarations there are; a default namespace counts as one.
    pub(crate) fn len(self) -> usize {
        let (default_ns, prefixes) = match self {
            Self::Scope(scope) => (scope.default_ns, scope.prefixes.len()),
            Self::Root(root) => (root.default_ns.as_str(), root.prefixes.len()),
        };
        prefixes.saturating_add(usize::from(!default_ns.is_empty()))
    }
}
