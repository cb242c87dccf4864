//! What the document around an element declares.

use compact_str::CompactString;

use crate::Scope;

/// The root's start tag as far as its children need it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Declarations {
    /// The root's name as it was written: its end tag has to repeat it.
    pub(crate) qname: CompactString,
    pub(crate) default_ns: CompactString,
    /// Pairs of prefix and namespace.
    pub(crate) prefixes: Box<[(CompactString, CompactString)]>,
}

/// Where declarations come from that stand outside of what is read.
#[derive(Clone, Copy)]
pub(crate) enum Outer<'a> {
    Scope(&'a Scope<'a>),
    Root(&'a Declarations),
}

impl<'a> Outer<'a> {
    pub(crate) fn default_ns(self) -> &'a str {
        match self {
            Self::Scope(scope) => scope.default_ns,
            Self::Root(root) => &root.default_ns,
        }
    }

    pub(crate) fn ns_of(self, prefix: &str) -> Option<&'a str> {
        match self {
            Self::Scope(scope) => {
                scope.prefixes.iter().find(|(bound, _)| *bound == prefix).map(|(_, ns)| *ns)
            }
            Self::Root(root) => {
                root.prefixes.iter().find(|(bound, _)| bound == prefix).map(|(_, ns)| ns.as_str())
            }
        }
    }

    /// How many declarations there are; the default namespace counts as one.
    pub(crate) fn len(self) -> usize {
        let prefixes = match self {
            Self::Scope(scope) => scope.prefixes.len(),
            Self::Root(root) => root.prefixes.len(),
        };
        prefixes.saturating_add(usize::from(!self.default_ns().is_empty()))
    }
}
