//! `src/xml`: any bytes, in any fragmentation.
//!
//! - However the bytes are cut, the same events come, or the same error at the same place.
//! - No limit is passed, by what waits or by what comes out.
//! - What was read and is written is read as the same, wherever it is written.
//! - Whatever we accept, a parser that shares no code with ours accepts, and reads the same: names, namespaces,
//!   attributes, texts. There is no comment, no processing instruction, no document type (RFC 6120 §11.1).

use bytes::BytesMut;
use unisono_xml::{Attribute, Element, Limits, Node, Scope, StreamEvent, StreamReader, XmlError};

const SCOPES: [Scope<'static>; 3] = [
    Scope::EMPTY,
    Scope { default_ns: "jabber:client", prefixes: &[("stream", "http://etherx.jabber.org/streams")] },
    Scope { default_ns: "u", prefixes: &[("p", "v"), ("ns0", "u")] },
];

/// What a reader made of its input.
#[derive(Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) events: Vec<StreamEvent>,
    error: Option<XmlError>,
    /// Bytes up to the end of the last event.
    pub(super) consumed: usize,
    /// The largest number of bytes that waited for more.
    waited_max: usize,
}

pub(crate) fn target(data: &[u8]) -> u64 {
    // The input decides how it is cut and what is allowed, so that it alone is enough to see the same again.
    let mut dice = data.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut roll = move |sides: u64| {
        dice = dice.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        usize::try_from((dice >> 33) % sides).unwrap()
    };
    let limits = if roll(4) > 0 {
        Limits::default()
    } else {
        Limits {
            element_bytes_max: 20 + roll(400),
            depth_max: roll(6),
            attributes_max: roll(6),
            children_max: roll(12),
            name_bytes_max: 1 + roll(30),
            namespaces_max: roll(6),
            namespace_bytes_max: roll(60),
            tokens_max: 1 + roll(40),
        }
    };
    let whole = read([data], &limits);
    let cut = read(data.chunks(1), &limits);
    assert_eq!((&whole.events, &whole.error), (&cut.events, &cut.error), "byte by byte");
    let mut pieces = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at((roll(24)).min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    let cut = read(pieces, &limits);
    assert_eq!((&whole.events, &whole.error), (&cut.events, &cut.error), "in pieces");
    for event in &whole.events {
        if let StreamEvent::Element(element) = event {
            within(element, &limits);
            written_and_read(element, &limits);
        }
    }
    compare_documents(data, &whole);
    if let Ok(text) = std::str::from_utf8(data) {
        alone(text, &limits);
    }
    outcome(&whole)
}

pub(super) fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Reading {
    let mut reader = StreamReader::new(limits.clone());
    let mut input = BytesMut::new();
    let mut reading = Reading { events: Vec::new(), error: None, consumed: 0, waited_max: 0 };
    let mut fed = 0;
    for chunk in chunks {
        input.extend_from_slice(chunk);
        fed += chunk.len();
        loop {
            match reader.next(&mut input) {
                Ok(Some(event)) => {
                    reading.events.push(event);
                    reading.consumed = fed - input.len();
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(reader.next(&mut input).is_err(), "an error is final");
                    reading.error = Some(error);
                    return reading;
                }
            }
        }
        reading.waited_max = reading.waited_max.max(input.len());
        assert!(input.len() <= limits.element_bytes_max.max(256), "{} bytes wait", input.len());
        assert_eq!(reader.is_idle(), input.is_empty(), "idle is when nothing waits");
    }
    reading
}

/// What comes out keeps what was asked for.
fn within(element: &Element, limits: &Limits) {
    fn look(element: &Element, depth: usize, limits: &Limits) -> usize {
        assert!(depth <= limits.depth_max, "too deep");
        assert!(element.attrs().len() <= limits.attributes_max, "too many attributes");
        assert!(element.children().count() <= limits.children_max, "too many children");
        let names = element.attrs().iter().map(Attribute::name).chain([element.name()]);
        assert!(names.into_iter().all(|name| name.len() <= limits.name_bytes_max), "a long name");
        let namespaces = element.attrs().iter().map(Attribute::ns).chain([element.ns()]);
        let known = [unisono_xml::XML_NS];
        let is_short = |ns: &str| ns.len() <= limits.namespace_bytes_max || known.contains(&ns);
        assert!(namespaces.clone().all(is_short), "a long namespace");
        // RFC 3986: what a parser could take for the end of a namespace and the beginning of a name, or for no URI.
        let is_uri = |ns: &str| {
            ns.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>[\\]^`{|}".contains(&byte))
                && ns.matches('#').count() <= 1
                && !ns.starts_with(':')
        };
        assert!(namespaces.into_iter().all(is_uri), "a namespace that is no URI");
        1 + element.attrs().len()
            + element.children().map(|child| look(child, depth + 1, limits)).sum::<usize>()
    }
    assert!(look(element, 1, limits) <= limits.tokens_max, "too many elements and attributes");
    let written = element.to_string_in(&Scope::EMPTY).len();
    assert!(written <= 2 * limits.element_bytes_max * Limits::WRITTEN_FACTOR, "{written} bytes");
}

fn written_and_read(element: &Element, limits: &Limits) {
    // What is written anew may declare more often and be longer than what was read.
    let limits = Limits {
        namespaces_max: 10_000,
        attributes_max: 10_000,
        ..Limits { depth_max: limits.depth_max, ..Limits::none() }
    };
    for scope in SCOPES {
        let text = element.to_string_in(&scope);
        let again = Element::parse(&text, &scope, &limits);
        assert_eq!(again.as_ref(), Ok(element), "{text}");
        assert_eq!(again.unwrap().to_string_in(&scope), text, "it is written in one way");
    }
}

/// One element, or the content of one, in a text of its own.
fn alone(text: &str, limits: &Limits) {
    if let Ok(element) = Element::parse(text, &Scope::EMPTY, limits) {
        within(&element, limits);
        written_and_read(&element, limits);
        let text = with_line_feeds(text.trim_matches([' ', '\t', '\r', '\n']));
        if let Some(document) = other(&text) {
            same(&element, document.root_element());
        }
    }
    if let Ok(nodes) = Element::parse_fragment(text, &SCOPES[1], limits) {
        let mut out = Vec::new();
        for node in &nodes {
            match node {
                Node::Element(element) => element.write_into(&mut out, &SCOPES[1]),
                Node::Text(text) => unisono_xml::escape_text_into(&mut out, text),
            }
        }
        let out = String::from_utf8(out).unwrap();
        let again = Element::parse_fragment(&out, &SCOPES[1], &Limits::none());
        assert_eq!(again, Ok(nodes), "{out}");
    }
}

/// XML 1.0 §2.11, before anything is read: the other parser keeps a carriage return that stands before a reference.
fn with_line_feeds(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// What was accepted of a stream is a document for others, once its root is closed.
fn compare_documents(data: &[u8], reading: &Reading) {
    let Some(StreamEvent::Open(header)) = reading.events.first() else { return };
    let mut document =
        with_line_feeds(std::str::from_utf8(&data[..reading.consumed]).expect("all of it is UTF-8"));
    if reading.events.last() != Some(&StreamEvent::Close) {
        let prefix = header.prefix().map(|prefix| format!("{prefix}:")).unwrap_or_default();
        document.extend(["</", &prefix, header.element().name(), ">"]);
    }
    // An empty root is closed before its end is told.
    let is_closed = reading.events.len() == 1 && reading.error.is_none();
    if is_closed && roxmltree::Document::parse(&document).is_err() {
        return;
    }
    let Some(parsed) = other(&document) else { return };
    assert!(
        parsed.descendants().all(|node| node.is_root() || node.is_element() || node.is_text()),
        "{document}"
    );
    let root = parsed.root_element();
    same_tag(header.element(), root);
    let elements: Vec<&Element> = reading
        .events
        .iter()
        .filter_map(|event| if let StreamEvent::Element(element) = event { Some(element) } else { None })
        .collect();
    let theirs: Vec<_> = root.children().filter(roxmltree::Node::is_element).collect();
    assert_eq!(elements.len(), theirs.len(), "{document}");
    for (ours, theirs) in elements.into_iter().zip(theirs) {
        same(ours, theirs);
    }
    let is_space = |text: &str| text.chars().all(|c| [' ', '\t', '\n', '\r'].contains(&c));
    assert!(
        root.children().filter_map(|node| node.is_text().then(|| node.text())?).all(is_space),
        "{document}"
    );
}

/// What the other parser made of a document. It knows the prefix `xml` for attributes alone; those of `peers.rs` do.
fn other(document: &str) -> Option<roxmltree::Document<'_>> {
    match roxmltree::Document::parse(document) {
        Err(roxmltree::Error::UnknownNamespace(prefix, _)) if prefix == "xml" => None,
        parsed => Some(parsed.unwrap_or_else(|error| panic!("{error}: {document}"))),
    }
}

fn same_tag(ours: &Element, theirs: roxmltree::Node<'_, '_>) {
    let name = theirs.tag_name();
    assert_eq!((ours.name(), ours.ns()), (name.name(), name.namespace().unwrap_or_default()));
    let ours: Vec<_> = ours.attrs().iter().map(|attr| (attr.ns(), attr.name(), attr.value())).collect();
    let theirs: Vec<_> = theirs
        .attributes()
        .map(|attr| (attr.namespace().unwrap_or_default(), attr.name(), attr.value()))
        .collect();
    assert_eq!(ours, theirs);
}

fn same(ours: &Element, theirs: roxmltree::Node<'_, '_>) {
    same_tag(ours, theirs);
    let mut nodes = ours.nodes().iter();
    let mut text = String::new();
    let at_text = |text: &mut String, nodes: &mut std::slice::Iter<'_, Node>| {
        if !text.is_empty() {
            assert_eq!(nodes.next().and_then(Node::as_text), Some(text.as_str()));
            text.clear();
        }
    };
    for child in theirs.children() {
        if child.is_element() {
            at_text(&mut text, &mut nodes);
            same(nodes.next().and_then(Node::as_element).expect("an element"), child);
        } else {
            // They may have a text in several pieces.
            text.push_str(child.text().unwrap_or_default());
        }
    }
    at_text(&mut text, &mut nodes);
    assert_eq!(nodes.next(), None);
}

/// Which error after how many events, about.
pub(super) fn outcome(reading: &Reading) -> u64 {
    let error = match &reading.error {
        None => String::new(),
        Some(XmlError::UndeclaredPrefix(_)) => "prefix".to_owned(),
        Some(error) => error.to_string().chars().filter(|c| !c.is_ascii_digit()).collect(),
    };
    let sizes = reading.events.iter().map(|event| match event {
        StreamEvent::Open(_) => 1,
        StreamEvent::Element(element) => {
            2 + element.attrs().len().min(3) as u64 + 4 * element.nodes().len().min(4) as u64
        }
        StreamEvent::Close => 40,
    });
    let shape = sizes.fold(reading.events.len().min(6) as u64, |sum, size| (sum * 41 + size) % 1_009);
    error.bytes().fold(shape, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)))
}
