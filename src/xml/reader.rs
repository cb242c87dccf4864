//! A stream: the bytes of one direction of a connection, read as they arrive.

use std::sync::Arc;

use bytes::{Buf, BytesMut};

use crate::{
    Element, Limits, XmlError, chars, declaration,
    ns::Ns,
    outer::{Outer, Root},
    scan::{Expect, Scanner, Unit},
    steps, tree,
};

/// What a stream consists of. White space between first-level elements is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// The root's start tag.
    Open(StreamHeader),
    /// A whole first-level element.
    Element(Element),
    /// The root's end tag. Nothing but white space may follow until [`StreamReader::restart`].
    Close,
}

/// The root's start tag, with what it declares for the elements of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamHeader {
    element: Element,
    root: Arc<Root>,
}

impl StreamHeader {
    /// Name, namespace and attributes of the root; it has no content.
    pub fn element(&self) -> &Element {
        &self.element
    }

    /// The prefix that the root was written with.
    pub fn prefix(&self) -> Option<&str> {
        self.root.qname.split_once(':').map(|(prefix, _)| prefix)
    }

    /// The default namespace that the root declares; empty for none.
    pub fn default_ns(&self) -> &str {
        self.root.default_ns.as_str()
    }

    /// The prefixes that the root declares, as pairs of prefix and namespace.
    pub fn prefixes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.root.prefixes()
    }

    /// The namespace that the root binds `prefix` to.
    pub fn ns_of(&self, prefix: &str) -> Option<&str> {
        self.root.ns_of(prefix).map(Ns::as_str)
    }
}

/// Where in the document the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing has been read.
    Start,
    /// Before the root, after the XML declaration or white space.
    Prolog,
    /// In the root.
    Content,
    /// The root was empty, `<stream/>`: its end is still to be told.
    EmptyRoot,
    /// After the root.
    Epilog,
    /// After an error.
    Failed,
}

/// The reader of one stream direction.
///
/// What is half-read stays in the caller's buffer and is not scanned again. Between elements the reader holds
/// its own few fields and what the root declared.
#[derive(Debug)]
pub struct StreamReader {
    limits: Limits,
    scanner: Scanner,
    place: Place,
    root: Option<Arc<Root>>,
}

impl StreamReader {
    /// A reader at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Self { limits, scanner: Scanner::default(), place: Place::Start, root: None }
    }

    /// Sets the limits from the next byte on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Begins a new document: a new stream header follows, as after STARTTLS and SASL (RFC 6120 §4.3.3).
    pub fn restart(&mut self) {
        self.scanner.reset();
        self.place = Place::Start;
        self.root = None;
    }

    /// Consumes from `input` what it can, and returns the next event, or `None` if it needs more bytes.
    ///
    /// A half-read element stays in `input`: call again with the same buffer and more bytes at its end. It never
    /// grows beyond [`Limits::element_bytes_max`] before an event or an error comes. After an error every call
    /// fails until [`restart`](Self::restart).
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<StreamEvent>, XmlError> {
        let result = self.read(input);
        if result.is_err() {
            self.place = Place::Failed;
        }
        result
    }

    /// Whether nothing is half-read.
    pub fn is_idle(&self) -> bool {
        self.scanner.is_idle() && self.place != Place::EmptyRoot
    }

    fn read(&mut self, input: &mut BytesMut) -> Result<Option<StreamEvent>, XmlError> {
        loop {
            match self.place {
                Place::Failed => return Err(XmlError::InvalidXml("it has failed before")),
                Place::EmptyRoot => return Ok(Some(self.close())),
                _ => {}
            }
            if self.scanner.is_idle() && !self.skip_space(input)? {
                return Ok(None);
            }
            let expect = match self.place {
                Place::Start => Expect::Declaration,
                Place::Content => Expect::Content,
                _ => Expect::Root,
            };
            let Some((unit, length)) = self.scanner.scan(input, expect, &self.limits)? else {
                return Ok(None);
            };
            let event = self.unit(unit, input.get(..length).unwrap_or_default())?;
            input.advance(length);
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// Consumes white space. Whether a unit begins after it.
    fn skip_space(&mut self, input: &mut BytesMut) -> Result<bool, XmlError> {
        let length = input.iter().position(|byte| !chars::is_space(*byte)).unwrap_or(input.len());
        steps::add(length);
        input.advance(length);
        if length > 0 && self.place == Place::Start {
            self.place = Place::Prolog; // an XML declaration would come too late (XML 1.0 §2.8)
        }
        match (self.place, input.first()) {
            (_, None) => Ok(false),
            (Place::Start | Place::Prolog | Place::Content, Some(b'<')) => Ok(true),
            (Place::Start, Some(0 | 0xfe | 0xff)) => Err(XmlError::UnsupportedEncoding), // UTF-16 or UTF-32
            (Place::Content, Some(_)) => Err(XmlError::InvalidXml("text between first-level elements")),
            (Place::Start | Place::Prolog, Some(_)) => Err(XmlError::NotWellFormed("text before the root")),
            (_, Some(_)) => Err(XmlError::NotWellFormed("something after the root")),
        }
    }

    fn unit(&mut self, unit: Unit, bytes: &[u8]) -> Result<Option<StreamEvent>, XmlError> {
        match unit {
            Unit::Declaration => {
                declaration::check(tree::utf8(bytes)?)?;
                self.place = Place::Prolog;
                Ok(None)
            }
            Unit::Start | Unit::Empty => {
                let (element, root) = tree::root(bytes, &self.limits)?;
                let root = Arc::new(root);
                self.root = Some(Arc::clone(&root));
                self.place = if unit == Unit::Empty { Place::EmptyRoot } else { Place::Content };
                Ok(Some(StreamEvent::Open(StreamHeader { element, root })))
            }
            Unit::Element => {
                let root = self.root.as_deref().ok_or(XmlError::InvalidXml("an element before the root"))?;
                tree::element(bytes, Outer::Root(root), &self.limits).map(StreamEvent::Element).map(Some)
            }
            Unit::End => {
                let name = tree::utf8(bytes)?.trim_start_matches("</").trim_end_matches('>');
                let name = name.trim_end_matches([' ', '\t', '\n', '\r']);
                if self.root.as_ref().is_none_or(|root| root.qname != name) {
                    return Err(XmlError::NotWellFormed("an end tag does not match its start tag"));
                }
                Ok(Some(self.close()))
            }
        }
    }

    fn close(&mut self) -> StreamEvent {
        self.place = Place::Epilog;
        self.root = None;
        StreamEvent::Close
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

    #[test]
    fn a_stream_is_read() {
        let mut reader = StreamReader::new(Limits::default());
        let mut input = BytesMut::from(
            "<?xml version='1.0'?><stream:stream to='example.org' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'> <message to='a@b'><body>x &lt; y</body></message>\
             <stream:features/></stream:stream>",
        );
        let Some(StreamEvent::Open(header)) = reader.next(&mut input).unwrap() else { panic!("no header") };
        assert_eq!(header.prefix(), Some("stream"));
        assert_eq!(header.ns_of("stream"), Some("http://etherx.jabber.org/streams"));
        assert_eq!(header.default_ns(), "jabber:client");
        let Some(StreamEvent::Element(message)) = reader.next(&mut input).unwrap() else {
            panic!("no message")
        };
        assert_eq!(message.child_text("body", "jabber:client").unwrap(), "x < y");
        let Some(StreamEvent::Element(features)) = reader.next(&mut input).unwrap() else {
            panic!("no element")
        };
        assert!(features.is("features", "http://etherx.jabber.org/streams"));
        assert_eq!(reader.next(&mut input), Ok(Some(StreamEvent::Close)));
        assert_eq!(reader.next(&mut input), Ok(None));
        assert!(input.is_empty() && reader.is_idle());
    }
}
