//! A push reader of XML: fed bytes in any fragmentation, it gives whole elements.
//!
//! It accepts what RFC 6120 §11 lets an entity send and nothing else, so that a server
//! which sends a comment, an undeclared prefix or a wrong entity is found out here.

use super::{Attribute, Element, NS_CLIENT, NS_STREAM, NS_XML, Node};

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// An XMPP stream: the root is an event of its own, its children are elements.
    Stream,
    /// Elements one after the other, as a script writes them: `jabber:client` is the
    /// default namespace and the prefix `stream` is bound.
    Fragment,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The opening tag of the stream.
    Open(Element),
    /// A whole child of the stream, or of the fragment.
    Element(Element),
    /// `</stream:stream>`.
    Close,
}

pub struct Reader {
    document: Document,
    buffer: Vec<u8>,
    stack: Vec<Level>,
    is_started: bool,
    is_ended: bool,
}

struct Level {
    element: Element,
    tag: String,
    namespaces: Vec<(String, String)>,
}

/// A tag as written, before its prefixes are resolved.
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
    is_empty: bool,
}

impl Reader {
    pub fn new(document: Document) -> Self {
        Self { document, buffer: Vec::new(), stack: Vec::new(), is_started: false, is_ended: false }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that are fed and not read yet.
    pub fn pending(&self) -> &[u8] {
        &self.buffer
    }

    /// The next event, or `None` while it is incomplete. The error is what is wrong with the XML.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot say that more may come later")]
    pub fn next(&mut self) -> Result<Option<Event>, String> {
        while let Some(token) = take_token(&mut self.buffer)? {
            if let Some(event) = self.handle(&token)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn handle(&mut self, token: &str) -> Result<Option<Event>, String> {
        let is_first = !self.is_started;
        self.is_started = true;
        if let Some(data) = token.strip_prefix("<![CDATA[") {
            let data = data.strip_suffix("]]>").unwrap_or(data).to_owned();
            return self.text(data).map(|()| None);
        }
        if token.starts_with("<?") {
            return if is_first && token.starts_with("<?xml ") && self.document == Document::Stream {
                Ok(None)
            } else {
                Err(format!("a processing instruction: {token}"))
            };
        }
        if token.starts_with("<!") {
            return Err(format!("a comment or a document type: {token}"));
        }
        if let Some(name) = token.strip_prefix("</") {
            return self.close(name.trim_end_matches('>').trim_end());
        }
        if let Some(inside) = token.strip_prefix('<') {
            return self.open(inside.strip_suffix('>').unwrap_or(inside));
        }
        let text = unescape(token)?;
        self.text(text).map(|()| None)
    }

    fn open(&mut self, inside: &str) -> Result<Option<Event>, String> {
        if self.is_ended {
            return Err(format!("<{inside}> after the end of the document"));
        }
        let tag = Tag::parse(inside)?;
        let (element, namespaces) = self.resolve(&tag)?;
        let is_root = self.document == Document::Stream && self.stack.is_empty();
        if tag.is_empty && !is_root {
            return Ok(self.finish(element));
        }
        let event = is_root.then(|| Event::Open(element.clone()));
        self.stack.push(Level { element, tag: tag.name, namespaces });
        if is_root && tag.is_empty {
            return Err("the stream is empty".to_owned());
        }
        Ok(event)
    }

    fn close(&mut self, name: &str) -> Result<Option<Event>, String> {
        let level = self.stack.pop().ok_or_else(|| format!("</{name}> closes nothing"))?;
        if level.tag != name {
            return Err(format!("</{name}> closes <{}>", level.tag));
        }
        if self.document == Document::Stream && self.stack.is_empty() {
            self.is_ended = true;
            return Ok(Some(Event::Close));
        }
        Ok(self.finish(level.element))
    }

    /// A complete element: a child of the open one, or an event.
    fn finish(&mut self, element: Element) -> Option<Event> {
        let top = usize::from(self.document == Document::Stream);
        if self.stack.len() <= top {
            return Some(Event::Element(element));
        }
        if let Some(parent) = self.stack.last_mut() {
            parent.element.nodes.push(Node::Element(element));
        }
        None
    }

    fn text(&mut self, text: String) -> Result<(), String> {
        let top = usize::from(self.document == Document::Stream);
        let depth = self.stack.len();
        match self.stack.last_mut() {
            Some(level) if depth > top => {
                if let Some(Node::Text(before)) = level.element.nodes.last_mut() {
                    before.push_str(&text);
                } else {
                    level.element.nodes.push(Node::Text(text));
                }
                Ok(())
            }
            _ if text.trim_ascii().is_empty() => Ok(()),
            _ => Err(format!("text outside an element: {text:?}")),
        }
    }

    fn resolve(&self, tag: &Tag) -> Result<(Element, Vec<(String, String)>), String> {
        let mut namespaces = Vec::new();
        for (name, value) in &tag.attributes {
            if name == "xmlns" {
                namespaces.push((String::new(), value.clone()));
            } else if let Some(prefix) = name.strip_prefix("xmlns:") {
                namespaces.push((prefix.to_owned(), value.clone()));
            }
        }
        let (prefix, local) = split_name(&tag.name);
        let ns = self.namespace(&namespaces, prefix)?;
        let mut attributes: Vec<Attribute> = Vec::new();
        for (name, value) in &tag.attributes {
            if name == "xmlns" || name.starts_with("xmlns:") {
                continue;
            }
            let (prefix, local) = split_name(name);
            let ns = match prefix {
                "" => String::new(),
                prefix => self.namespace(&namespaces, prefix)?,
            };
            if attributes.iter().any(|a| a.ns == ns && a.name == local) {
                return Err(format!("the attribute {name} twice in <{}>", tag.name));
            }
            attributes.push(Attribute { ns, name: local.to_owned(), value: value.clone() });
        }
        Ok((Element { name: local.to_owned(), ns, attributes, nodes: Vec::new() }, namespaces))
    }

    fn namespace(&self, own: &[(String, String)], prefix: &str) -> Result<String, String> {
        let outer = self.stack.iter().rev().map(|level| level.namespaces.as_slice());
        for scope in std::iter::once(own).chain(outer) {
            if let Some((_, uri)) = scope.iter().find(|(name, _)| name == prefix) {
                return Ok(uri.clone());
            }
        }
        match (self.document, prefix) {
            (_, "xml") => Ok(NS_XML.to_owned()),
            (Document::Fragment, "stream") => Ok(NS_STREAM.to_owned()),
            (Document::Fragment, "") => Ok(NS_CLIENT.to_owned()),
            (Document::Stream, "") => Ok(String::new()),
            _ => Err(format!("the prefix {prefix} is not declared")),
        }
    }
}

/// The elements of a complete text.
pub fn fragment(text: &str) -> Result<Vec<Element>, String> {
    let mut reader = Reader::new(Document::Fragment);
    reader.feed(text.as_bytes());
    let mut elements = Vec::new();
    while let Some(event) = reader.next()? {
        if let Event::Element(element) = event {
            elements.push(element);
        }
    }
    if let Some(level) = reader.stack.last() {
        return Err(format!("<{}> is not closed", level.tag));
    }
    match reader.buffer.trim_ascii() {
        [] => Ok(elements),
        rest => Err(format!("unexpected at the end: {}", String::from_utf8_lossy(rest))),
    }
}

/// Cuts one whole token (a tag, a CDATA section, a run of text) off the front.
fn take_token(buffer: &mut Vec<u8>) -> Result<Option<String>, String> {
    let Some(&first) = buffer.first() else { return Ok(None) };
    let end = if first == b'<' {
        if buffer.starts_with(b"<![CDATA[") {
            find(buffer, b"]]>").map(|at| at.saturating_add(3))
        } else if buffer.starts_with(b"<![CDATA[".get(..buffer.len().min(9)).unwrap_or_default())
            && buffer.len() < 9
        {
            None
        } else {
            end_of_tag(buffer)
        }
    } else {
        // White space alone is a keep-alive and need not wait for the next tag.
        let text = buffer.iter().position(|&byte| byte == b'<');
        text.or_else(|| buffer.iter().all(u8::is_ascii_whitespace).then_some(buffer.len()))
    };
    let Some(end) = end else { return Ok(None) };
    let token: Vec<u8> = buffer.drain(..end).collect();
    String::from_utf8(token).map(Some).map_err(|_| "bytes that are not UTF-8".to_owned())
}

fn end_of_tag(buffer: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, &byte) in buffer.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at.saturating_add(1)),
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn split_name(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or(("", name))
}

impl Tag {
    /// `inside` is what stands between `<` and `>`.
    fn parse(inside: &str) -> Result<Self, String> {
        let (inside, is_empty) = match inside.strip_suffix('/') {
            Some(inside) => (inside, true),
            None => (inside, false),
        };
        let end = inside.find(|c: char| c.is_ascii_whitespace()).unwrap_or(inside.len());
        let (name, mut rest) = inside.split_at(end);
        check_name(name)?;
        let mut attributes: Vec<(String, String)> = Vec::new();
        while !rest.trim_ascii().is_empty() {
            if !rest.starts_with(|c: char| c.is_ascii_whitespace()) {
                return Err(format!("no space before an attribute in <{inside}>"));
            }
            let (key, after) =
                rest.split_once('=').ok_or_else(|| format!("an attribute without a value in <{inside}>"))?;
            let (key, after) = (key.trim_ascii(), after.trim_ascii_start());
            check_name(key)?;
            let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'));
            let quote = quote.ok_or_else(|| format!("the value of {key} is not quoted"))?;
            let mut parts = after.splitn(3, quote);
            let (Some(_), Some(value), Some(tail)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(format!("the value of {key} does not end"));
            };
            if value.contains('<') {
                return Err(format!("'<' in the value of {key}"));
            }
            if attributes.iter().any(|(other, _)| other == key) {
                return Err(format!("the attribute {key} twice in <{name}>"));
            }
            attributes.push((key.to_owned(), unescape(value)?));
            rest = tail;
        }
        Ok(Self { name: name.to_owned(), attributes, is_empty })
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_start = |c: char| c.is_alphabetic() || c == '_';
    let is_inner = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_part = |part: &str| part.starts_with(is_start) && part.chars().all(is_inner);
    if name.split(':').all(is_part) && name.matches(':').count() < 2 {
        Ok(())
    } else {
        Err(format!("{name:?} is not a name"))
    }
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (entity, tail) =
            after.split_once(';').ok_or_else(|| format!("'&' without an entity in {text:?}"))?;
        out.push(entity_char(entity).ok_or_else(|| format!("the entity &{entity};"))?);
        rest = tail;
    }
    out.push_str(rest);
    match out.chars().find(|&c| c < ' ' && !matches!(c, '\t' | '\n' | '\r')) {
        None => Ok(out),
        Some(c) => Err(format!("the control character {:#x}", u32::from(c))),
    }
}

fn entity_char(entity: &str) -> Option<char> {
    match entity {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => {
            let digits = entity.strip_prefix('#')?;
            let code = match digits.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)
        }
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

    fn read_all(text: &str, step: usize) -> Result<Vec<Event>, String> {
        let mut reader = Reader::new(Document::Stream);
        let mut events = Vec::new();
        for bytes in text.as_bytes().chunks(step) {
            reader.feed(bytes);
            while let Some(event) = reader.next()? {
                events.push(event);
            }
        }
        Ok(events)
    }

    const OPEN: &str = "<?xml version='1.0'?><s:stream xmlns:s='http://etherx.jabber.org/streams' \
                        xmlns='jabber:client' id='1>0'>";

    #[test]
    fn a_stream_reads_the_same_in_any_fragmentation() {
        let text = format!(
            "{OPEN}\n<message to=\"a\"><body>&lt;&#x20;é<![CDATA[<&]]></body><x xmlns='urn:x'><y/></x>\
             </message> </s:stream>"
        );
        let whole = read_all(&text, text.len()).unwrap();
        for step in 1..40 {
            assert_eq!(read_all(&text, step).unwrap(), whole, "in steps of {step}");
        }
        let [Event::Open(open), Event::Element(message), Event::Close] = whole.as_slice() else {
            panic!("{whole:?}")
        };
        assert!(open.is(NS_STREAM, "stream"));
        assert_eq!(open.attribute("id"), Some("1>0"));
        assert_eq!(message.child(NS_CLIENT, "body").unwrap().text(), "< é<&");
        assert!(message.child("urn:x", "x").unwrap().child("urn:x", "y").is_some());
    }

    #[test]
    fn what_may_not_be_sent_is_an_error() {
        for wrong in [
            "<!-- c -->",
            "<?php?>",
            "<!DOCTYPE a>",
            "<a:b/>",
            "<a b='1' b='2'/>",
            "<a x='<'/>",
            "<a>&nbsp;</a>",
            "<a>&</a>",
            "<a></b>",
            "<a b=c/>",
            "<a b/>",
            "<a b='1'c='2'/>",
            "<1/>",
            "text<a/>",
            "<a>&#1;</a>",
            "</s:stream><a/>",
        ] {
            assert!(read_all(&format!("{OPEN}{wrong}"), 7).is_err(), "{wrong}");
        }
        assert!(read_all("<a>", 1).is_ok_and(|events| events.len() == 1));
    }

    #[test]
    fn a_fragment_is_read_to_its_end() {
        let elements = fragment(" <iq/><stream:error/> ").unwrap();
        assert!(elements[0].is(NS_CLIENT, "iq"));
        assert!(elements[1].is(NS_STREAM, "error"));
        for wrong in ["<iq>", "<iq/", "text", "<iq/>text"] {
            assert!(fragment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let text = "<iq type='get' id='a&apos;b'><query xmlns='urn:q'><x>1 &lt; 2</x></query></iq>";
        let element = fragment(text).unwrap().remove(0);
        assert_eq!(element.to_string(), text);
    }
}
