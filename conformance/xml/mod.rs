//! XML as a strict client sees it: a tree, and a reader that is fed bytes as they come.

mod reader;
mod tree;

pub use reader::{Document, Event, Reader, fragment};
pub use tree::{Attribute, Element, Node, escape};

/// The namespace of `stream:stream`, `stream:features` and `stream:error` (RFC 6120 §4.8.1).
pub const NS_STREAM: &str = "http://etherx.jabber.org/streams";
/// The content namespace of a client's stream (RFC 6120 §4.8.2).
pub const NS_CLIENT: &str = "jabber:client";
/// What the prefix `xml` is bound to, always.
pub const NS_XML: &str = "http://www.w3.org/XML/1998/namespace";
