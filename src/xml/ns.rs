//! Names of namespaces.

use std::sync::Arc;

use compact_str::CompactString;

/// The name of a namespace. One that is too long to be held in place is shared by all elements that are in it,
/// so that a deep payload does not repeat it in memory.
#[derive(Clone, Debug)]
pub(crate) enum Ns {
    Own(CompactString),
    Shared(Arc<str>),
}

impl Ns {
    pub(crate) const NONE: Self = Self::Own(CompactString::const_new(""));

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Own(ns) => ns,
            Self::Shared(ns) => ns,
        }
    }
}

impl From<&str> for Ns {
    fn from(ns: &str) -> Self {
        // As many bytes as a CompactString holds in place.
        if ns.len() <= size_of::<CompactString>() { Self::Own(ns.into()) } else { Self::Shared(ns.into()) }
    }
}

impl From<CompactString> for Ns {
    fn from(ns: CompactString) -> Self {
        Self::Own(ns)
    }
}

impl PartialEq for Ns {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Ns {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_namespace_is_shared_and_a_short_one_needs_no_memory() {
        for (name, is_shared) in
            [("", false), ("jabber:client", false), ("http://jabber.org/protocol/muc#user", true)]
        {
            let ns = Ns::from(name);
            let copy = ns.clone();
            assert_eq!((ns.as_str(), &ns), (name, &copy));
            assert_eq!(std::ptr::eq(ns.as_str(), copy.as_str()), is_shared, "{name}");
            assert_eq!(ns, Ns::from(CompactString::from(name)), "however it is held");
        }
    }
}
