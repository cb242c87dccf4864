//! Finds the elements of a stream without building them: the load side must stay cheap.
//!
//! It trusts the server's XML to be well-formed; whether it is, the protocol scripts ask.

use std::ops::Range;

use memchr::{memchr, memchr3, memmem};

/// What stands next in the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The stream header.
    Header,
    /// A complete element directly below the stream: where its bytes are, see [`Scanner::bytes`].
    Element(Range<usize>),
    /// `</stream:stream>`
    Close,
}

#[derive(Debug, Default)]
pub(super) struct Scanner {
    buffer: Vec<u8>,
    /// Where the element that is being read begins; all before it is done with.
    start: usize,
    /// Where the search goes on.
    at: usize,
    /// Open tags around that place, the stream's own included.
    depth: u32,
}

impl Scanner {
    /// For a road without a stream header: elements come at once.
    pub(super) fn without_header() -> Self {
        Self { depth: 1, ..Self::default() }
    }

    /// A new stream header comes next (RFC 6120 §4.3.3).
    pub(super) fn restart(&mut self) {
        self.depth = 0;
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.drain(..self.start);
        }
        self.at = self.at.saturating_sub(self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    pub(super) fn next(&mut self) -> Option<Piece> {
        while let Some(tag) = self.next_tag() {
            let bytes = self.bytes(tag.clone());
            let is_empty = bytes.ends_with(b"/>");
            match bytes.get(1) {
                Some(b'?') => {}
                Some(b'/') => {
                    self.depth = self.depth.saturating_sub(1);
                    match self.depth {
                        0 => return Some(self.end(Piece::Close)),
                        1 => return Some(self.end(Piece::Element(self.start..tag.end))),
                        _ => {}
                    }
                }
                _ => {
                    if self.depth == 1 {
                        self.start = tag.start;
                    }
                    match (self.depth, is_empty) {
                        (0, _) => {
                            self.depth = 1;
                            return Some(self.end(Piece::Header));
                        }
                        (1, true) => return Some(self.end(Piece::Element(tag))),
                        (_, true) => {}
                        (_, false) => self.depth = self.depth.saturating_add(1),
                    }
                }
            }
        }
        if self.depth <= 1 && self.at == self.buffer.len() {
            // White space between stanzas.
            self.start = self.at;
        }
        None
    }

    fn end(&mut self, piece: Piece) -> Piece {
        self.start = self.at;
        piece
    }

    /// The next tag, if all of it is there.
    fn next_tag(&mut self) -> Option<Range<usize>> {
        let rest = self.buffer.get(self.at..)?;
        let Some(offset) = memchr(b'<', rest) else {
            self.at = self.buffer.len();
            return None;
        };
        self.at = self.at.saturating_add(offset);
        let start = self.at;
        let length = tag_length(self.buffer.get(start..)?)?;
        self.at = start.saturating_add(length);
        Some(start..self.at)
    }
}

/// The length of the tag that begins here; a `>` in a quoted value does not end it.
fn tag_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0_usize;
    loop {
        let found = at.saturating_add(memchr3(b'>', b'\'', b'"', bytes.get(at..)?)?);
        let byte = *bytes.get(found)?;
        at = found.saturating_add(1);
        if byte == b'>' {
            return Some(at);
        }
        at = at.saturating_add(memchr(byte, bytes.get(at..)?)?).saturating_add(1);
    }
}

/// The name of an element.
pub(super) fn name(element: &[u8]) -> &[u8] {
    let rest = element.get(1..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b' ' | b'/' | b'>' | b'\n' | b'\t' | b'\r'));
    rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
}

/// The value of an attribute of the element itself, as it stands there.
pub(super) fn attribute<'a>(element: &'a [u8], name: &str) -> Option<&'a str> {
    let tag = element.get(..tag_length(element)?)?;
    let mut at = 0_usize;
    loop {
        at = at.saturating_add(memmem::find(tag.get(at..)?, name.as_bytes())?);
        let is_whole =
            at.checked_sub(1).and_then(|before| tag.get(before)).is_some_and(u8::is_ascii_whitespace);
        at = at.saturating_add(name.len());
        let quote = *tag.get(at.saturating_add(1))?;
        if is_whole && tag.get(at) == Some(&b'=') && matches!(quote, b'\'' | b'"') {
            let value = tag.get(at.saturating_add(2)..)?;
            return std::str::from_utf8(value.get(..memchr(quote, value)?)?).ok();
        }
    }
}

pub(super) fn contains(element: &[u8], needle: &str) -> bool {
    memmem::find(element, needle.as_bytes()).is_some()
}

/// The first child of this name, however deep, with what comes after it; or the element itself.
pub(super) fn child<'a>(element: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut at = 0_usize;
    loop {
        at = at.saturating_add(memmem::find(element.get(at..)?, name.as_bytes())?);
        let is_tag = at.checked_sub(1).and_then(|before| element.get(before)) == Some(&b'<');
        let after = at.saturating_add(name.len());
        if is_tag && matches!(element.get(after)?, b'>' | b' ' | b'/') {
            return element.get(at.checked_sub(1)?..);
        }
        at = after;
    }
}

/// Its text, as it stands there, up to a child.
pub(super) fn text<'a>(element: &'a [u8], name: &str) -> Option<&'a str> {
    let child = child(element, name)?;
    let (tag, inner) = child.split_at_checked(tag_length(child)?)?;
    if tag.ends_with(b"/>") {
        return None;
    }
    std::str::from_utf8(inner.get(..memchr(b'<', inner)?)?).ok()
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

    const STREAM: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='a>b'>\n\
        <message to='a'><body>x &gt; y</body></message> <r xmlns='urn:xmpp:sm:3'/>\
        <iq a=\"it's >\" id='7'><q><q/></q></iq><presence></presence></stream:stream>";

    #[test]
    fn elements_are_found_whatever_the_fragments() {
        let want = [
            "header",
            "<message to='a'><body>x &gt; y</body></message>",
            "<r xmlns='urn:xmpp:sm:3'/>",
            "<iq a=\"it's >\" id='7'><q><q/></q></iq>",
            "<presence></presence>",
            "close",
        ];
        for size in 1..STREAM.len() {
            let mut scanner = Scanner::default();
            let mut got = Vec::new();
            for chunk in STREAM.as_bytes().chunks(size) {
                scanner.feed(chunk);
                while let Some(piece) = scanner.next() {
                    got.push(match piece {
                        Piece::Header => "header".to_owned(),
                        Piece::Close => "close".to_owned(),
                        Piece::Element(range) => String::from_utf8(scanner.bytes(range).to_vec()).unwrap(),
                    });
                }
            }
            assert_eq!(got, want, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_done_with_is_let_go() {
        let mut scanner = Scanner::without_header();
        for _ in 0..100 {
            scanner.feed(b"<a><b/></a>  ");
            assert!(matches!(scanner.next(), Some(Piece::Element(_))));
            assert_eq!(scanner.next(), None);
        }
        assert!(scanner.buffer.len() < 50, "{}", scanner.buffer.len());
    }

    #[test]
    fn a_restart_waits_for_a_header() {
        let mut scanner = Scanner::default();
        scanner.feed(b"<s:s><success/>");
        assert_eq!(scanner.next(), Some(Piece::Header));
        assert!(matches!(scanner.next(), Some(Piece::Element(_))));
        scanner.restart();
        scanner.feed(b"<?xml version='1.0'?><s:s><f/>");
        assert_eq!(scanner.next(), Some(Piece::Header));
        assert!(matches!(scanner.next(), Some(Piece::Element(_))));
    }

    #[test]
    fn names_attributes_and_texts_are_read() {
        let element = b"<iq xid='0' id=\"7\" type='result'><q><version>1.2</version><v/></q></iq>";
        assert_eq!(name(element), b"iq");
        assert_eq!(name(b"<r/>"), b"r");
        assert_eq!(attribute(element, "id"), Some("7"));
        assert_eq!(attribute(element, "type"), Some("result"));
        assert_eq!(attribute(element, "to"), None);
        assert_eq!(text(element, "version"), Some("1.2"));
        assert_eq!(text(element, "v"), None);
        assert!(contains(element, "<v/>"));
    }
}
