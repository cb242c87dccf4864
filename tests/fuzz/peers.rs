//! Other parsers: whatever we accept, expat and libxml2 accept, and see the same in it (THREATS: parser disagreement).
//!
//! - What we accepted of a stream, once its root is closed: the same elements, attributes, namespaces and texts.
//! - The same for an element alone, and for what we write of either.
//! - What we refuse, they may accept: we have no document types, no comments and no instructions.
//!
//! Both run inside of `peers.py`, one process that is asked about one document after the other. It needs Python with
//! lxml (Debian: python3-lxml). Where that is not installed nothing is tried, which is said; in CI that is a failure.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _, stderr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use unisono_xml::{Element, Limits, Node, Scope, StreamEvent};

use super::xml::{self, Reading};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/peers.py");
const PARSERS: [&str; 2] = ["expat", "libxml2"];
/// Where our elements are written, and how a document looks around them.
const WRITTEN: [(Scope<'static>, [&str; 2]); 2] = [
    (Scope::EMPTY, ["", ""]),
    (
        Scope { default_ns: "jabber:client", prefixes: &[("stream", "http://etherx.jabber.org/streams")] },
        [
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
            "</stream:stream>",
        ],
    ),
];

/// Whether the others are there. Whoever runs CI wants to know if they are not.
pub(super) fn are_there() -> bool {
    if python().is_some() {
        return true;
    }
    let news = "no Python with lxml is installed (Debian: python3-lxml); expat and libxml2 are not asked";
    assert!(std::env::var_os("CI").is_none(), "{news}");
    let _ = writeln!(stderr(), "{news}");
    false
}

/// The system's own, before one that somebody put in its place for other work.
fn python() -> Option<&'static str> {
    static FOUND: OnceLock<Option<&str>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        ["/usr/bin/python3", "python3"].into_iter().find(|program| {
            let mut command = Command::new(program);
            command.args(["-c", "import lxml.etree, xml.parsers.expat"]);
            let end = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            end.is_ok_and(|status| status.success())
        })
    })
}

pub(crate) fn target(data: &[u8]) -> u64 {
    let reading = xml::read([data], &Limits::default());
    if let Some((document, ours)) = stream(data, &reading) {
        // Nobody looks at the spaces between stanzas.
        agree(&document, |theirs| assert_eq!(without_spaces(theirs), &ours));
    }
    let mut elements: Vec<Element> = reading.events.iter().filter_map(element).cloned().collect();
    if let Ok(text) = std::str::from_utf8(data) {
        let alone = Element::parse(text, &Scope::EMPTY, &Limits::default());
        if let Ok(alone) = alone {
            let text = text.trim_matches([' ', '\t', '\r', '\n']);
            agree(text.as_bytes(), |theirs| assert_eq!(theirs, &seen(&alone)));
            elements.push(alone);
        }
    }
    for element in &elements {
        for (scope, [before, after]) in &WRITTEN {
            let document = format!("{before}{}{after}", element.to_string_in(scope));
            agree(document.as_bytes(), |theirs| {
                let theirs = if before.is_empty() { &*theirs } else { &theirs[3][0] };
                assert_eq!(theirs, &seen(element));
            });
        }
    }
    xml::outcome(&reading)
}

fn element(event: &StreamEvent) -> Option<&Element> {
    if let StreamEvent::Element(element) = event { Some(element) } else { None }
}

/// What was accepted of a stream as a document, and what we saw in it.
fn stream(data: &[u8], reading: &Reading) -> Option<(Vec<u8>, Value)> {
    let Some(StreamEvent::Open(header)) = reading.events.first() else { return None };
    let mut document = data[..reading.consumed].to_vec();
    // An empty root is closed before its end is told.
    let is_closed = reading.events.last() == Some(&StreamEvent::Close)
        || (reading.events.len() == 1 && document.ends_with(b"/>"));
    if !is_closed {
        let prefix = header.prefix().map(|prefix| format!("{prefix}:")).unwrap_or_default();
        document.extend_from_slice(format!("</{prefix}{}>", header.element().name()).as_bytes());
    }
    let mut root = seen(header.element());
    root[3] = reading.events.iter().filter_map(element).map(seen).collect();
    Some((document, root))
}

/// An element in the form of the others.
fn seen(element: &Element) -> Value {
    let mut attributes: Vec<_> =
        element.attrs().iter().map(|attr| [attr.ns(), attr.name(), attr.value()]).collect();
    attributes.sort_unstable();
    let child = |node: &Node| match node {
        Node::Element(child) => seen(child),
        Node::Text(text) => json!(text.as_str()),
    };
    let children: Vec<_> = element.nodes().iter().map(child).collect();
    json!([element.ns(), element.name(), attributes, children])
}

fn without_spaces(root: &mut Value) -> &Value {
    let is_space = |child: &Value| {
        child.as_str().is_some_and(|text| text.trim_matches([' ', '\t', '\r', '\n']).is_empty())
    };
    if let Some(children) = root[3].as_array_mut() {
        children.retain(|child| !is_space(child));
    }
    root
}

/// Both accept this document, and what they see in it holds.
fn agree(document: &[u8], holds: impl Fn(&mut Value)) {
    thread_local! {
        static PEERS: RefCell<Peers> = RefCell::new(Peers::start());
    }
    let mut answer = PEERS.with_borrow_mut(|peers| peers.ask(document));
    for parser in PARSERS {
        let theirs = &mut answer[parser];
        assert!(theirs.is_array(), "{parser} refuses: {theirs}: {}", document.escape_ascii());
        holds(theirs);
    }
}

/// The process that has the other parsers.
struct Peers {
    process: Child,
    documents: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peers {
    fn start() -> Self {
        let mut command = Command::new(python().expect("it was looked for"));
        let mut process = command.arg(SCRIPT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let documents = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, documents, answers }
    }

    fn ask(&mut self, document: &[u8]) -> Value {
        let length = u32::try_from(document.len()).unwrap().to_be_bytes();
        let documents = self.documents.as_mut().unwrap();
        documents.write_all(&[&length, document].concat()).and_then(|()| documents.flush()).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

impl Drop for Peers {
    /// It ends when nothing more can come.
    fn drop(&mut self) {
        drop(self.documents.take());
        let _ended = self.process.wait();
    }
}

/// The answers differ where the parsers do not see the same: an agreement that nothing could break proves nothing.
#[test]
fn another_reading_is_no_agreement() {
    if !are_there() {
        return;
    }
    for (document, ours) in [
        (&b"<a b='1'/>"[..], "<a b='2'/>"),
        (b"<a>1</a>", "<a>1 </a>"),
        (b"<a xmlns='u'/>", "<a/>"),
        (b"<a xmlns:p='u' p:b='1'/>", "<a b='1'/>"),
        (b"<a><b/></a>", "<a><b/><b/></a>"),
        (b"<a><!--c--></a>", "<a/>"),
        (b"<a><?p?></a>", "<a/>"),
        (b"<!DOCTYPE a><a/>", "<a/>"),
        (b"<?p?><a/>", "<a/>"),
        (b"<a><p:b/></a>", "<a><b/></a>"),
        (b"<a>\xc0\xbc</a>", "<a>&lt;</a>"),
        (b"<a>&#0;</a>", "<a/>"),
        (b"<a b='1' b='1'/>", "<a b='1'/>"),
        (b"<a/><a/>", "<a/>"),
    ] {
        let ours = seen(&Element::parse(ours, &Scope::EMPTY, &Limits::default()).unwrap());
        let mut peers = Peers::start();
        let answer = peers.ask(document);
        for parser in PARSERS {
            let is_one = answer[parser].is_array() || answer[parser].is_object();
            assert!(is_one && answer[parser] != ours, "{parser}: {}", document.escape_ascii());
        }
    }
}
