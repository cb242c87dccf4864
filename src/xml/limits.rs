//! How much XML is accepted.

/// Bounds on what one stream, or one call of [`Element::parse`](crate::Element::parse), accepts.
///
/// Most hold while the input is scanned, so that reading ends with the byte that passes them. `namespaces_max`,
/// `namespace_bytes_max` and what an element takes when it is written are looked at when it is whole.
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
    /// Bytes of the name of one namespace. It is declared once and used by thousands of elements, and each of
    /// them may have to declare it again where it is written.
    pub namespace_bytes_max: usize,
    /// Elements and attributes in one first-level element, itself included. This bounds memory more than bytes do:
    /// the four bytes of an `<a/>` become some 130 in a tree, and an attribute's five become 72.
    pub tokens_max: usize,
}

impl Limits {
    /// A tree is dropped, compared and written by recursion, so that its depth has a bound that no
    /// configuration lifts: this many levels take a small part of a thread's stack.
    pub const DEPTH_CEILING: usize = 512;

    /// An element that would be longer than this many times `element_bytes_max` when it is written is not
    /// accepted. Prefixes and CDATA sections are short where we declare namespaces and escape characters, so that
    /// a peer could otherwise make us write and store many times what it sends.
    pub const WRITTEN_FACTOR: usize = 2;

    /// For what we have written ourselves from something that was accepted: only its depth is bounded.
    pub const fn none() -> Self {
        Self {
            element_bytes_max: usize::MAX,
            depth_max: Self::DEPTH_CEILING,
            attributes_max: usize::MAX,
            children_max: usize::MAX,
            name_bytes_max: usize::MAX,
            namespaces_max: usize::MAX,
            namespace_bytes_max: usize::MAX,
            tokens_max: usize::MAX,
        }
    }

    /// Bytes of one element when it is written.
    pub(crate) fn written_bytes_max(&self) -> usize {
        self.element_bytes_max.saturating_mul(Self::WRITTEN_FACTOR)
    }

    /// Whether no element of so many bytes can become longer than [`written_bytes_max`](Self::written_bytes_max):
    /// the four bytes of an `<a/>` become some twenty and a namespace, each byte of which may become six.
    pub(crate) fn is_short(&self, bytes: usize) -> bool {
        let growth_max = self.namespace_bytes_max.saturating_mul(2).saturating_add(8);
        bytes.saturating_mul(growth_max) <= self.written_bytes_max()
    }

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
            namespace_bytes_max: 256,
            tokens_max: 16_384,
        }
    }
}
