//! Streaming XML: bytes in, stream events out. Knows no XMPP.
//!
//! - [`StreamReader`] is fed bytes in any fragmentation and yields [`StreamEvent`]s. It keeps every limit of
//!   [`Limits`] while it scans, and refuses what RFC 6120 §11.1 forbids: DTDs, comments, processing
//!   instructions, entities other than the five predefined ones.
//! - [`Element`] is an immutable tree that costs a reference count to clone; [`ElementBuilder`] makes one.
//! - [`Element::write_into`] is the only serialiser. It writes from the tree, never from bytes that a peer sent.
//!
//! Two passes read an element. The scanner finds where it ends, byte by byte and without memory of its own, so
//! that a half-sent element costs no more than its bytes. Only a whole element is handed to quick-xml and becomes
//! a tree, whose names, characters and namespaces are then checked against XML 1.0 and Namespaces in XML 1.0.
//! In two points less is accepted than these allow, so that nothing is passed on that ends the stream of someone
//! who reads it with another parser: names are those of XML's fourth edition, and namespaces are URIs.

mod builder;
#[cfg(test)]
mod cases;
mod chars;
mod declaration;
mod element;
mod error;
mod limits;
mod names;
mod namespaces;
mod nodes;
mod ns;
mod outer;
#[cfg(test)]
mod properties;
mod reader;
mod scan;
mod steps;
mod text;
mod tree;
mod write;

pub use builder::ElementBuilder;
pub use element::{Attribute, Element, Node};
pub use error::{Restricted, TooMany, XmlError};
pub use limits::Limits;
pub use reader::{StreamEvent, StreamHeader, StreamReader};
pub use write::{Scope, escape_attr_into, escape_text_into};

/// What the prefix `xml` is bound to, always (Namespaces in XML 1.0 §3): the namespace of `xml:lang`.
pub const XML_NS: &str = "http://www.w3.org/XML/1998/namespace";

/// What the prefix `xmlns` is bound to, always; no element or attribute can be in it.
const XMLNS_NS: &str = "http://www.w3.org/2000/xmlns/";
