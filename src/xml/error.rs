//! Why bytes are not acceptable XML.

use compact_str::CompactString;

/// An error of the document. It is final: the stream that it came from cannot be read further.
///
/// The kinds are those that a stream's end can name to its peer (RFC 6120 §4.9.3). The texts are for our log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// XML 1.0 or Namespaces in XML 1.0 is violated. RFC 6120 §11.3: `not-well-formed`.
    #[error("xml is not well-formed: {0}")]
    NotWellFormed(&'static str),
    /// A feature of XML that streams exclude. RFC 6120 §11.1: `restricted-xml`.
    #[error("xml with {0}")]
    RestrictedXml(Restricted),
    /// Another encoding than UTF-8 is declared or used. RFC 6120 §11.6: `unsupported-encoding`.
    #[error("xml in another encoding than UTF-8")]
    UnsupportedEncoding,
    /// A prefix that nothing declares; it is held as it was sent. RFC 6120 §11.3: `not-well-formed`.
    #[error("xml with the undeclared prefix {0:?}")]
    UndeclaredPrefix(CompactString),
    /// Well-formed, but nothing that a stream can contain, such as text between first-level elements.
    /// RFC 6120 §4.9.3.8: `invalid-xml`.
    #[error("xml is not a stream: {0}")]
    InvalidXml(&'static str),
    /// A name, a tag or an element of more bytes, as received or as it would be written, than
    /// [`Limits`](crate::Limits) allow. `policy-violation`.
    #[error("xml {what} exceeds the limit of {limit} bytes")]
    TooBig { what: &'static str, limit: usize },
    /// Elements nested deeper than [`Limits::depth_max`](crate::Limits::depth_max). `policy-violation`.
    #[error("xml is nested deeper than the limit of {limit}")]
    TooDeep { limit: usize },
    /// More of a kind than [`Limits`](crate::Limits) allow. `policy-violation`.
    #[error("xml has more {what} than the limit of {limit}")]
    TooMany { what: TooMany, limit: usize },
}

/// The features of XML that RFC 6120 §11.1 forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restricted {
    Comment,
    ProcessingInstruction,
    Doctype,
    Entity,
}

impl std::fmt::Display for Restricted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Comment => "a comment",
            Self::ProcessingInstruction => "a processing instruction",
            Self::Doctype => "a document type declaration",
            Self::Entity => "an entity that is not predefined",
        })
    }
}

/// What there was too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMany {
    Attributes,
    Children,
    Tokens,
    Namespaces,
}

impl std::fmt::Display for TooMany {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Attributes => "attributes on an element",
            Self::Children => "children in an element",
            Self::Tokens => "elements and attributes in a first-level element",
            Self::Namespaces => "namespace declarations in scope",
        })
    }
}
