//! Where a unit of the stream ends, found while its bytes arrive.
//!
//! A unit is a first-level element, the root's start tag, its end tag or the XML declaration. The scanner keeps
//! a place and a state, so that no byte is looked at twice, and holds every limit that can be held without
//! understanding what it reads. It knows the grammar of tags; names, characters, references and namespaces are
//! checked when the unit is whole.

use memchr::{memchr, memchr2};

use crate::{Limits, Restricted, TooMany, XmlError, chars, steps};

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
    /// After `<![` and so many bytes of `CDATA`.
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
    /// After the unit.
    Done(Unit),
}

/// The scanner. `Default` is ready for a unit.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    /// How many bytes of the unit have been scanned.
    at: usize,
    /// Where the name starts that is being scanned.
    name: usize,
    /// How long the name of the end tag is.
    name_length: usize,
    /// Where the name of the last start tag starts, and how long it is.
    started: (usize, usize),
    attributes: usize,
    /// Elements and attributes so far.
    tokens: usize,
    /// The elements that are open.
    open: Vec<Open>,
}

/// An open element.
#[derive(Debug)]
struct Open {
    /// How many child elements it has so far.
    children: u32,
    /// Where its name starts in the unit, and how long it is.
    name: (usize, usize),
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            state: State::Before,
            at: 0,
            name: 0,
            name_length: 0,
            started: (0, 0),
            attributes: 0,
            tokens: 0,
            open: Vec::new(),
        }
    }
}

#[expect(clippy::arithmetic_side_effects, reason = "counts and offsets of bytes that are held in memory")]
impl Scanner {
    /// Whether no unit has been begun.
    pub(crate) fn is_idle(&self) -> bool {
        self.at == 0
    }

    /// Forgets what was begun.
    pub(crate) fn reset(&mut self) {
        // A small stack is kept: most elements are as shallow as the last one.
        let mut open = std::mem::take(&mut self.open);
        if open.capacity() <= 8 {
            open.clear();
        } else {
            open = Vec::new();
        }
        *self = Self { open, ..Self::default() };
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
        while let Some(byte) = self.skip(window, limits)? {
            self.at += 1;
            self.state = match self.state {
                State::Before
                | State::Text
                | State::Markup
                | State::Bang
                | State::CDataOpen(_)
                | State::CData(_) => self.content(byte, expect, limits)?,
                State::Target(_) | State::Declaration { .. } => self.declaration(byte)?,
                State::Name
                | State::Space
                | State::Slash
                | State::AttrName
                | State::Equals
                | State::Quote
                | State::Value(_)
                | State::AfterValue => self.start_tag(byte, expect, limits)?,
                State::EndOpen | State::EndName | State::EndSpace => self.end_tag(byte, window, expect)?,
                State::Done(_) => self.state,
            };
            if let State::Done(unit) = self.state {
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

    /// Skips the bytes that change nothing. The next one that does, if it is there already.
    fn skip(&mut self, window: &[u8], limits: &Limits) -> Result<Option<u8>, XmlError> {
        let Some(rest) = window.get(self.at..) else { return Ok(None) };
        let skipped = |length: Option<usize>| steps::add(length.map_or(rest.len(), |length| length + 1));
        let length = match self.state {
            State::Text => memchr(b'<', rest),
            State::CData(0) => memchr(b']', rest),
            State::Value(quote) => memchr2(quote, b'<', rest),
            State::Name | State::AttrName | State::EndName => {
                let length = rest.iter().position(|byte| !chars::is_name(*byte));
                if self.at - self.name + length.unwrap_or(rest.len()) > limits.name_bytes_max {
                    return Err(XmlError::TooBig { what: "name", limit: limits.name_bytes_max });
                }
                length
            }
            _ => {
                skipped(Some(0));
                return Ok(rest.first().copied());
            }
        };
        skipped(length);
        self.at += length.unwrap_or(rest.len());
        Ok(window.get(self.at).copied())
    }

    /// Text, CDATA sections, and what begins with `<`.
    fn content(&mut self, byte: u8, expect: Expect, limits: &Limits) -> Result<State, XmlError> {
        Ok(match (self.state, byte) {
            (State::Text, _) | (State::Before, b'<') => State::Markup,
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
                self.started.0 = self.name;
                State::Name
            }

            (State::Bang, b'-') => return Err(XmlError::RestrictedXml(Restricted::Comment)),
            (State::Bang, b'D') => return Err(XmlError::RestrictedXml(Restricted::Doctype)),
            (State::Bang, b'[') if !self.open.is_empty() => State::CDataOpen(0),
            (State::CDataOpen(5), b'[') => State::CData(0),
            (State::CDataOpen(n), _) if b"CDATA".get(usize::from(n)) == Some(&byte) => {
                State::CDataOpen(n + 1)
            }

            (State::CData(2), b'>') => State::Text,
            (State::CData(n), b']') => State::CData(n.saturating_add(1).min(2)),
            (State::CData(_), _) => State::CData(0),
            _ => return Err(XmlError::NotWellFormed("what follows a < is no tag")),
        })
    }

    /// `<?xml …?>`, of which only the extent matters here.
    fn declaration(&mut self, byte: u8) -> Result<State, XmlError> {
        Ok(match (self.state, byte) {
            (State::Target(0), b'x') => State::Target(1),
            (State::Target(1), b'm') => State::Target(2),
            (State::Target(2), b'l') => State::Target(3),
            (State::Target(3), _) if chars::is_space(byte) => State::Declaration { question: false },
            (State::Declaration { question: true }, b'>') => State::Done(Unit::Declaration),
            (State::Declaration { .. }, _) if self.at > DECLARATION_BYTES_MAX => {
                return Err(XmlError::TooBig { what: "declaration", limit: DECLARATION_BYTES_MAX });
            }
            (State::Declaration { .. }, _) => State::Declaration { question: byte == b'?' },
            _ => return Err(XmlError::RestrictedXml(Restricted::ProcessingInstruction)),
        })
    }

    fn start_tag(&mut self, byte: u8, expect: Expect, limits: &Limits) -> Result<State, XmlError> {
        if self.state == State::Name {
            self.started.1 = self.at - 1 - self.started.0;
        }
        Ok(match (self.state, byte) {
            (State::Value(quote), _) if byte == quote => State::AfterValue,
            (State::Value(_), _) => return Err(XmlError::NotWellFormed("a < in the value of an attribute")),
            (State::AttrName | State::Equals, b'=') => State::Quote,
            (State::Quote, b'"' | b'\'') => State::Value(byte),
            (State::Name | State::AfterValue | State::Space, _) if chars::is_space(byte) => State::Space,
            (State::Space, _) if chars::is_name(byte) => {
                self.attributes += 1;
                if self.attributes > limits.attributes_max {
                    let limit = limits.attributes_max;
                    return Err(XmlError::TooMany { what: TooMany::Attributes, limit });
                }
                self.count_token(limits)?;
                self.name = self.at - 1;
                State::AttrName
            }
            (State::Name | State::AfterValue | State::Space, b'>') => {
                if expect == Expect::Content {
                    self.open.push(Open { children: 0, name: self.started });
                    State::Text
                } else {
                    State::Done(Unit::Start)
                }
            }
            (State::Name | State::AfterValue | State::Space, b'/') => State::Slash,
            (State::Slash, b'>') if expect != Expect::Content => State::Done(Unit::Empty),
            (State::Slash, b'>') => self.end_element(),
            (State::AttrName | State::Equals, _) if chars::is_space(byte) => State::Equals,
            (State::Quote, _) if chars::is_space(byte) => State::Quote,
            _ => return Err(XmlError::NotWellFormed("a start tag is malformed")),
        })
    }

    fn end_tag(&mut self, byte: u8, unit: &[u8], expect: Expect) -> Result<State, XmlError> {
        if self.state == State::EndName {
            self.name_length = self.at - 1 - self.name;
        }
        Ok(match (self.state, byte) {
            (State::EndOpen, _) if chars::is_name(byte) => {
                self.name = self.at - 1;
                State::EndName
            }
            (State::EndName | State::EndSpace, _) if chars::is_space(byte) => State::EndSpace,
            (State::EndName | State::EndSpace, b'>') if !self.open.is_empty() => {
                let name = |(start, length): (usize, usize)| unit.get(start..start + length);
                let opened = self.open.pop().and_then(|open| name(open.name));
                steps::add(self.name_length);
                if opened.is_none() || opened != name((self.name, self.name_length)) {
                    return Err(XmlError::NotWellFormed("an end tag of another element"));
                }
                self.end_element()
            }
            (State::EndName | State::EndSpace, b'>') if expect == Expect::Content => State::Done(Unit::End),
            (State::EndName | State::EndSpace, b'>') => {
                return Err(XmlError::NotWellFormed("an end tag without its start tag"));
            }
            _ => return Err(XmlError::NotWellFormed("an end tag is malformed")),
        })
    }

    fn begin_element(&mut self, limits: &Limits) -> Result<(), XmlError> {
        if self.open.len() >= limits.depth_max() {
            return Err(XmlError::TooDeep { limit: limits.depth_max() });
        }
        self.count_token(limits)?;
        if let Some(parent) = self.open.last_mut() {
            parent.children = parent.children.saturating_add(1);
            if parent.children as usize > limits.children_max {
                return Err(XmlError::TooMany { what: TooMany::Children, limit: limits.children_max });
            }
        }
        self.attributes = 0;
        Ok(())
    }

    fn count_token(&mut self, limits: &Limits) -> Result<(), XmlError> {
        self.tokens += 1;
        if self.tokens > limits.tokens_max {
            return Err(XmlError::TooMany { what: TooMany::Tokens, limit: limits.tokens_max });
        }
        Ok(())
    }

    /// After the last byte of an element, which may be the outermost one.
    fn end_element(&self) -> State {
        if self.open.is_empty() { State::Done(Unit::Element) } else { State::Text }
    }
}
