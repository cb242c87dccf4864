//! How inputs change: bytes, words of what a target reads, and for what stands behind the core whole elements.
//!
//! The words stand in `tests/fuzz/words/`, one a line, in the form of the dictionaries of libFuzzer and AFL.

use std::sync::OnceLock;

use unisono_conformance::converge::Random;
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_xml::{Element, ElementBuilder, Limits, Node};

static XML: Words = Words::new(include_str!("words/xml.dict"));
static JID: Words = Words::new(include_str!("words/jid.dict"));
static SASL: Words = Words::new(include_str!("words/sasl.dict"));
static NEGOTIATION: Words = Words::new(include_str!("words/negotiation.dict"));
static ARCHIVE: Words = Words::new(include_str!("words/archive.dict"));
static ACCOUNT: Words = Words::new(include_str!("words/account.dict"));
static SNAPSHOT: Words = Words::new(include_str!("words/snapshot.dict"));

/// Names and namespaces of elements.
type Names = [(&'static str, &'static str)];

/// The words of a dictionary.
struct Words {
    text: &'static str,
    words: OnceLock<Vec<Vec<u8>>>,
}

impl Words {
    const fn new(text: &'static str) -> Self {
        Self { text, words: OnceLock::new() }
    }

    fn all(&self) -> &[Vec<u8>] {
        self.words.get_or_init(|| self.text.lines().filter_map(word).collect())
    }

    fn pick(&self, random: &mut Random) -> &[u8] {
        random.pick(self.all()).unwrap()
    }
}

/// A line of a dictionary: a word in quotes, with bytes as `\xNN`.
fn word(line: &str) -> Option<Vec<u8>> {
    let mut rest = line.strip_prefix('"')?.strip_suffix('"')?;
    let mut word = Vec::new();
    while let Some(c) = rest.chars().next() {
        let (byte, length) = match rest.strip_prefix("\\x") {
            Some(hex) => (u8::from_str_radix(&hex[..2], 16).unwrap(), 4),
            None if c == '\\' => (rest.as_bytes()[1], 2),
            None => (u8::try_from(c).unwrap(), 1),
        };
        word.push(byte);
        rest = &rest[length..];
    }
    Some(word)
}

pub(super) fn xml(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    bytes(random, input, other, &XML)
}

pub(super) fn jid(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    if random.percent(10) {
        // Any character of Unicode, and not only those that somebody thought of.
        let mut text = String::from_utf8_lossy(input).into_owned();
        let codes = if random.percent(50) { 0x3000 } else { 0x11_0000 };
        let code = random.below(codes);
        let mut at = random.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.insert(at, u32::try_from(code).ok().and_then(char::from_u32).unwrap_or('\u{fffd}'));
        return text.into_bytes();
    }
    bytes(random, input, other, &JID)
}

pub(super) fn sasl(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    bytes(random, input, other, &SASL)
}

pub(super) fn negotiation(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let words = if random.percent(20) { &XML } else { &NEGOTIATION };
    bytes(random, input, other, words)
}

/// One change: something is taken out, put in, moved, doubled, or made another.
fn bytes(random: &mut Random, input: &[u8], other: &[u8], words: &Words) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let at = random.below(bytes.len() + 1);
    let length_max = 1 << random.below(8);
    let end = (at + 1 + random.below(length_max)).min(bytes.len());
    let word = words.pick(random);
    match random.below(12) {
        0 => {
            // A word for a word.
            let there = words.all().iter().filter_map(|word| Some((position(input, word)?, word.len())));
            match random.pick(&there.collect::<Vec<_>>()) {
                Some((start, length)) => drop(bytes.splice(*start..start + length, word.iter().copied())),
                None => put(&mut bytes, at, word),
            }
        }
        3 | 4 => drop(bytes.drain(at..end.max(at))),
        5 => {
            let piece = input[at..end.max(at)].to_vec();
            let place = random.below(bytes.len() + 1);
            put(&mut bytes, place, &piece);
        }
        6 => {
            let piece = input[at..end.max(at)].repeat(1 << random.below(9));
            put(&mut bytes, at, &piece);
        }
        7 => {
            let from = random.below(other.len() + 1);
            let to = from + random.below(other.len() - from + 1);
            put(&mut bytes, at, &other[from..to]);
        }
        8 => bytes.truncate(at),
        9 => {
            let noise: Vec<u8> = (0..=random.below(4)).map(|_| random.bits().to_le_bytes()[0]).collect();
            put(&mut bytes, at, &noise);
        }
        10 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        11 if at < bytes.len() => {
            bytes[at] = *random.pick(b"<>&'\"/=: \0\n\r\t-aA0.@,!?#;]\x7f\x80\xc3\xff").unwrap();
        }
        _ => put(&mut bytes, at, word),
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}

fn position(input: &[u8], word: &[u8]) -> Option<usize> {
    input.windows(word.len()).position(|window| window == word)
}

/// Queries are changed as elements, so that most of them remain some: what is no XML is seen by others.
pub(super) fn archive(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    const NAMES: &Names = &[
        ("max", "http://jabber.org/protocol/rsm"),
        ("after", "http://jabber.org/protocol/rsm"),
        ("before", "http://jabber.org/protocol/rsm"),
        ("index", "http://jabber.org/protocol/rsm"),
        ("set", "http://jabber.org/protocol/rsm"),
        ("x", "jabber:x:data"),
        ("field", "jabber:x:data"),
        ("value", "jabber:x:data"),
        ("query", "urn:xmpp:mam:2"),
        ("metadata", "urn:xmpp:mam:2"),
        ("flip-page", "urn:xmpp:mam:2"),
        ("query", "urn:xmpp:mam:1"),
    ];
    elements(random, input, other, &ARCHIVE, NAMES)
}

pub(super) fn account(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    const NAMES: &Names = &[
        ("query", "jabber:iq:roster"),
        ("item", "jabber:iq:roster"),
        ("group", "jabber:iq:roster"),
        ("block", "urn:xmpp:blocking"),
        ("unblock", "urn:xmpp:blocking"),
        ("blocklist", "urn:xmpp:blocking"),
        ("item", "urn:xmpp:blocking"),
        ("query", "jabber:iq:private"),
        ("storage", "storage:bookmarks"),
        ("a", ""),
        ("vCard", "vcard-temp"),
        ("FN", "vcard-temp"),
        ("prefs", "urn:xmpp:mam:2"),
        ("always", "urn:xmpp:mam:2"),
        ("never", "urn:xmpp:mam:2"),
        ("jid", "urn:xmpp:mam:2"),
        ("iq", "jabber:client"),
        ("presence", "jabber:client"),
    ];
    elements(random, input, other, &ACCOUNT, NAMES)
}

/// A session that was saved is changed as what it is, and sometimes as bytes, as by a disk.
pub(super) fn snapshot(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    const NAMES: &Names = &[
        ("entry", "unisono:session:1"),
        ("directed", "unisono:session:1"),
        ("catch-up", "unisono:session:1"),
        ("session", "unisono:session:1"),
        ("message", "jabber:client"),
        ("presence", "jabber:client"),
        ("priority", "jabber:client"),
        ("a", ""),
    ];
    if random.percent(20) {
        return bytes(random, input, other, &SNAPSHOT);
    }
    elements(random, input, other, &SNAPSHOT, NAMES)
}

/// One change of an element somewhere in a tree.
fn elements(random: &mut Random, input: &[u8], other: &[u8], words: &Words, names: &Names) -> Vec<u8> {
    let parse = |input| {
        let text = std::str::from_utf8(input).ok()?;
        Element::parse(text.trim(), &CLIENT_SCOPE, &Limits::default()).ok()
    };
    let (Some(element), Some(other)) = (parse(input), parse(other)) else { return other.to_vec() };
    let mut donors = Vec::new();
    gather(&other, &mut donors);
    gather(&element, &mut donors);
    // Any element of the tree may be the one that changes.
    let mut left = random.below(count(&element));
    let material = Material { donors: &donors, words, names };
    changed(random, &element, &material, &mut left).to_string_in(&CLIENT_SCOPE).into_bytes()
}

/// What may come into a tree.
struct Material<'a> {
    donors: &'a [Element],
    words: &'a Words,
    names: &'a Names,
}

fn gather(element: &Element, all: &mut Vec<Element>) {
    all.push(element.clone());
    element.children().for_each(|child| gather(child, all));
}

fn count(element: &Element) -> usize {
    1 + element.children().map(count).sum::<usize>()
}

/// This element with the change at the one that is so many further on.
fn changed(random: &mut Random, element: &Element, material: &Material<'_>, left: &mut usize) -> Element {
    if *left == 0 {
        *left = usize::MAX;
        return change(random, element, material);
    }
    *left = left.saturating_sub(1);
    let mut builder = emptied(element);
    for node in element.nodes() {
        builder = match node {
            Node::Element(child) => builder.child(changed(random, child, material, left)),
            Node::Text(text) => builder.text(text.clone()),
        };
    }
    builder.build()
}

/// Name and attributes.
fn emptied(element: &Element) -> ElementBuilder {
    with_attributes(Element::builder(element.name(), element.ns()), element)
}

fn with_attributes(builder: ElementBuilder, element: &Element) -> ElementBuilder {
    let attributes = element.attrs().iter();
    attributes.fold(builder, |builder, attr| builder.attr_ns(attr.ns(), attr.name(), attr.value()))
}

fn change(random: &mut Random, element: &Element, material: &Material<'_>) -> Element {
    let builder = element.to_builder();
    let word = std::str::from_utf8(material.words.pick(random)).unwrap();
    let mut nodes = element.nodes().to_vec();
    let place = random.below(nodes.len() + 1);
    let donor = random.pick(material.donors).unwrap().clone();
    match random.below(9) {
        0 | 1 if !element.attrs().is_empty() => {
            let attr = random.pick(element.attrs()).unwrap();
            return builder.attr_ns(attr.ns(), attr.name(), word).build();
        }
        0..=2 if random.percent(10) => nodes.clear(),
        0..=2 => nodes = vec![Node::Text(word.into())],
        3 if !element.attrs().is_empty() => {
            return builder.without_attr(random.pick(element.attrs()).unwrap().name()).build();
        }
        4 if !nodes.is_empty() => drop(nodes.remove(place.min(nodes.len() - 1))),
        5 => nodes.insert(place, Node::Element(donor)),
        6 if !nodes.is_empty() => {
            let again = nodes[place.min(nodes.len() - 1)].clone();
            nodes.splice(place..place, std::iter::repeat_n(again, 1 << random.below(9)));
        }
        7 => {
            let (name, ns) = *random.pick(material.names).unwrap();
            let child = Element::builder(name, ns).text(word).build();
            if random.percent(50) {
                let renamed = with_attributes(Element::builder(name, ns), element);
                return nodes.into_iter().fold(renamed, ElementBuilder::node).build();
            }
            nodes.insert(place, Node::Element(child));
        }
        _ => random.shuffle(&mut nodes),
    }
    nodes.into_iter().fold(emptied(element), ElementBuilder::node).build()
}
