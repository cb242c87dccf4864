//! Where a unit of the stream ends, found while its bytes arrive.
//!
//! A unit is a first-level element, the root's start tag, its end tag or the XML declaration. The scanner keeps
//! a place and a state, so that no byte is looked at twice, and holds every limit that can be held without
//! understanding what it reads. It knows the grammar of tags; names, characters, references and namespaces are
//! checked when the unit is whole.

use memchr::{memchr, memchr2};

use crate::{Limits, Restricted, TooMany, XmlError, chars};

/// An XML declaration has at most its three attributes; more bytes than this are none.
const DECLARATION_BYTES_MAX: usize = 256;

/// What a whole unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// `<?xml …?>`
    Declaration,
    /// A start tag for which only the tag itself was asked.
    Start,
    /// The same, of an element without content.
    Empty,
    /// An element from its first to its last byte.
    Element,
    /// An end tag outside of any element.
    End,
}

/// What a unit may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// The XML declaration or the root's start tag.
    Declaration,
    /// The root's start tag.
    Root,
    /// A first-level element or the root's end tag.
    Content,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the unit's `<`.
    Before,
    /// In the content of an element.
    Text,
    /// After `<`.
    Markup,
    /// After `<?` and so many bytes of `xml`.
    Target(u8),
    /// In the XML declaration; whether the last byte was `?`.
    Declaration { question: bool },
    /// After `<!`.
    Bang,
    /// After `<![` and so many bytes of `CDATA[`.
    CDataOpen(u8),
    /// In a CDATA section, after so many `]` (at most two).
    CData(u8),
    /// In the name of a start tag.
    Name,
    /// In a start tag after white space.
    Space,
    /// After the `/` of `/>`.
    Slash,
    /// In the name of an attribute.
    AttrName,
    /// Between the name of an attribute and `=`.
    Equals,
    /// Between `=` and the quote.
    Quote,
    /// In a value that this quote ends.
    Value(u8),
    /// Right after a value.
    AfterValue,
    /// After `</`.
    EndOpen,
    /// In the name of an end tag.
    EndName,
    /// After the name of an end tag.
    EndSpace,
}

/// The scanner. `Default` is ready for a unit.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    /// How many bytes of the unit have been scanned.
    at: usize,
    /// Where the name starts that is being scanned.
    name: usize,
    attributes: usize,
    elements: usize,
    /// For each open element, how many child elements it has so far.
    children: Vec<u32>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { state: State::Before, at: 0, name: 0, attributes: 0, elements: 0, children: Vec::new() }
    }
}

const TAG_SYNTAX: XmlError = XmlError::NotWellFormed("a tag is malformed");

#[expect(clippy::arithmetic_side_effects, reason = "counts and offsets of bytes that are held in memory")]
impl Scanner {
    /// Whether no unit has been begun.
    pub(crate) fn is_idle(&self) -> bool {
        self.at == 0
    }

    /// Forgets what was begun.
    pub(crate) fn reset(&mut self) {
        // A small stack is kept: most elements are as shallow as the last one.
        let mut children = std::mem::take(&mut self.children);
        if children.capacity() <= 8 {
            children.clear();
        } else {
            children = Vec::new();
        }
        *self = Self { children, ..Self::default() };
    }

    /// Scans on in `bytes`, which start with the unit. `None` asks for more of them; `Some` is a whole unit and
    /// its length, and the scanner is ready for the next one.
    pub(crate) fn scan(
        &mut self,
        bytes: &[u8],
        expect: Expect,
        limits: &Limits,
    ) -> Result<Option<(Unit, usize)>, XmlError> {
        // What lies beyond the limit is not looked at, so that the same error comes at the same byte however the
        // input is cut.
        let window = bytes.get(..limits.element_bytes_max).unwrap_or(bytes);
        while self.at < window.len() {
            if let Some(unit) = self.step(window, expect, limits)? {
                let length = self.at;
                self.reset();
                return Ok(Some((unit, length)));
            }
        }
        if window.len() < bytes.len() {
            return Err(XmlError::TooBig { what: "element", limit: limits.element_bytes_max });
        }
        Ok(None)
    }

    fn step(&mut self, window: &[u8], expect: Expect, limits: &Limits) -> Result<Option<Unit>, XmlError> {
        // Runs of bytes that change nothing are skipped at once.
        let rest = window.get(self.at..).unwrap_or_default();
        let run = match self.state {
            State::Text => memchr(b'<', rest),
            State::CData(0) => memchr(b']', rest),
            State::Value(quote) => memchr2(quote, b'<', rest),
            State::Name | State::AttrName | State::EndName => rest.iter().position(|b| !chars::is_name(*b)),
            _ => Some(0),
        };
        self.at += run.unwrap_or(rest.len());
        if matches!(self.state, State::Name | State::AttrName | State::EndName)
            && self.at - self.name > limits.name_bytes_max
        {
            return Err(XmlError::TooBig { what: "name", limit: limits.name_bytes_max });
        }
        let Some(byte) = window.get(self.at).copied() else { return Ok(None) };
        self.at += 1;
        self.state = match (self.state, byte) {
            (State::Before, b'<') | (State::Text, _) => State::Markup,
            (State::Before, _) => return Err(XmlError::NotWellFormed("text outside of the root element")),

            (State::Markup, b'/') => State::EndOpen,
            (State::Markup, b'!') => State::Bang,
            (State::Markup, b'?') if expect == Expect::Declaration => State::Target(0),
            // Also an XML declaration that stands too late (RFC 6120 §11.1).
            (State::Markup, b'?') => return Err(XmlError::RestrictedXml(Restricted::ProcessingInstruction)),
            (State::Markup, 0) if expect == Expect::Declaration => return Err(XmlError::UnsupportedEncoding),
            (State::Markup, _) if chars::is_name(byte) => {
                self.begin_element(limits)?;
                self.name = self.at - 1;
                State::Name
            }

            (State::Target(n), _) => match (n, byte) {
                (0, b'x') | (1, b'm') | (2, b'l') => State::Target(n + 1),
                (3, b' ' | b'\t' | b'\n' | b'\r') => State::Declaration { question: false },
                _ => return Err(XmlError::RestrictedXml(Restricted::ProcessingInstruction)),
            },
            (State::Declaration { question: true }, b'>') => return Ok(Some(Unit::Declaration)),
            (State::Declaration { .. }, _) => {
                if self.at > DECLARATION_BYTES_MAX {
                    return Err(XmlError::TooBig { what: "declaration", limit: DECLARATION_BYTES_MAX });
                }
                State::Declaration { question: byte == b'?' }
            }

            (State::Value(quote), _) if byte == quote => State::AfterValue,
            (State::Value(_), _) => return Err(XmlError::NotWellFormed("a < in the value of an attribute")),

            (State::Bang, b'-') => return Err(XmlError::RestrictedXml(Restricted::Comment)),
            (State::Bang, b'D') => return Err(XmlError::RestrictedXml(Restricted::Doctype)),
            (State::Bang, b'[') if !self.children.is_empty() => State::CDataOpen(0),
            (State::CDataOpen(n), _) if b"CDATA[".get(usize::from(n)) == Some(&byte) => {
                if n == 5 {
                    State::CData(0)
                } else {
                    State::CDataOpen(n + 1)
                }
            }
            (State::CData(2), b'>') => State::Text,
            (State::CData(n), b']') => State::CData(n.saturating_add(1).min(2)),
            (State::CData(_), _) => State::CData(0),

            (State::Name | State::Space | State::AfterValue, b'/') => State::Slash,
            (State::Slash, b'>') => return Ok(self.end_element(Unit::Empty, expect)),
            (State::Name | State::Space | State::AfterValue, b'>') => {
                if expect != Expect::Content {
                    return Ok(Some(Unit::Start));
                }
                self.children.push(0);
                State::Text
            }
            (State::Name | State::Space | State::AfterValue, _) if chars::is_space(byte) => State::Space,
            (State::Space, _) if chars::is_name(byte) => {
                self.attributes += 1;
                if self.attributes > limits.attributes_max {
                    let limit = limits.attributes_max;
                    return Err(XmlError::TooMany { what: TooMany::Attributes, limit });
                }
                self.name = self.at - 1;
                State::AttrName
            }
            (State::AttrName | State::Equals, b'=') => State::Quote,
            (State::AttrName | State::Equals, _) if chars::is_space(byte) => State::Equals,
            (State::Quote, b'"' | b'\'') => State::Value(byte),
            (State::Quote, _) if chars::is_space(byte) => State::Quote,

            (State::EndOpen, _) if chars::is_name(byte) => {
                self.name = self.at - 1;
                State::EndName
            }
            (State::EndName | State::EndSpace, b'>') => {
                if self.children.pop().is_none() {
                    return if expect == Expect::Content {
                        Ok(Some(Unit::End))
                    } else {
                        Err(XmlError::NotWellFormed("an end tag without its start tag"))
                    };
                }
                return Ok(self.end_element(Unit::Element, expect));
            }
            (State::EndName | State::EndSpace, _) if chars::is_space(byte) => State::EndSpace,
            _ => return Err(TAG_SYNTAX),
        };
        Ok(None)
    }

    fn begin_element(&mut self, limits: &Limits) -> Result<(), XmlError> {
        if self.children.len() >= limits.depth_max() {
            return Err(XmlError::TooDeep { limit: limits.depth_max() });
        }
        self.elements += 1;
        if self.elements > limits.elements_max {
            return Err(XmlError::TooMany { what: TooMany::Elements, limit: limits.elements_max });
        }
        if let Some(siblings) = self.children.last_mut() {
            *siblings = siblings.saturating_add(1);
            if *siblings as usize > limits.children_max {
                return Err(XmlError::TooMany { what: TooMany::Children, limit: limits.children_max });
            }
        }
        self.attributes = 0;
        Ok(())
    }

    /// After the last byte of an element: the unit that ends with it, if it is the outermost one.
    fn end_element(&mut self, unit: Unit, expect: Expect) -> Option<Unit> {
        self.state = State::Text;
        match (self.children.is_empty(), expect) {
            (true, Expect::Content) => Some(Unit::Element),
            (true, _) => Some(unit),
            (false, _) => None,
        }
    }
}
