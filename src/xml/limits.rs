//! How much XML is accepted.

/// Bounds on what one stream, or one call of [`Element::parse`](crate::Element::parse), accepts.
///
/// Each holds while the input is scanned, so that reading ends with the byte that passes it; only
/// `namespaces_max` is looked at when the element is whole, while its tree is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one first-level element, or of the root's start tag, as received, from `<` to `>`.
    pub element_bytes_max: usize,
    /// Nested elements below the root; a first-level element without children has depth 1.
    /// Values above [`Limits::DEPTH_CEILING`] count as that.
    pub depth_max: usize,
    /// Attributes of one element, its namespace declarations included.
    pub attributes_max: usize,
    /// Child elements of one element.
    pub children_max: usize,
    /// Bytes of one name of an element or attribute, its prefix included.
    pub name_bytes_max: usize,
    /// Namespace declarations that hold at one place, those of the root included.
    pub namespaces_max: usize,
    /// Elements in one first-level element, itself included. This bounds memory more than bytes do: the four
    /// bytes of an `<a/>` become some 130 in a tree, and an attribute's five become 72.
    pub elements_max: usize,
}

impl Limits {
    /// A tree is dropped, compared and written by recursion, so that its depth has a bound that no
    /// configuration lifts: this many levels take a small part of a thread's stack.
    pub const DEPTH_CEILING: usize = 512;

    pub(crate) fn depth_max(&self) -> usize {
        self.depth_max.min(Self::DEPTH_CEILING)
    }
}

impl Default for Limits {
    /// Room for every stanza that common clients send; 256 KiB for one element.
    fn default() -> Self {
        Self {
            element_bytes_max: 262_144,
            depth_max: 64,
            attributes_max: 64,
            children_max: 8_192,
            name_bytes_max: 256,
            namespaces_max: 64,
            elements_max: 16_384,
        }
    }
}
