//! Reading costs memory in proportion to the limit, whatever is sent: what waits, what is read of it, and the tree.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use allocation_counter::AllocationInfo;
use bytes::BytesMut;
use unisono_xml::{Limits, StreamReader};

/// Peak of live bytes, at most, as a multiple of the limit of bytes. Measured are 10.0, for tiny children with a text
/// behind each; the buffer, which is the caller's and grows by doubling, is a part of it.
const FACTOR: usize = 11;

/// The same with one token in 64 bytes. Measured are 4.5, for a text of line ends.
const EARLY_FACTOR: usize = 5;

/// For somebody unknown; `net` has such limits before authentication.
fn stranger() -> Limits {
    Limits {
        element_bytes_max: 3 * 1024,
        depth_max: 8,
        attributes_max: 32,
        children_max: 64,
        namespaces_max: 32,
        tokens_max: 48,
        ..Limits::default()
    }
}

/// What is allocated from the first byte of `input` to the error or the end, read in pieces of `cut` bytes.
fn cost(input: &[u8], cut: usize, limits: &Limits) -> AllocationInfo {
    let cost = allocation_counter::measure(|| {
        let mut reader = StreamReader::new(limits.clone());
        let mut buffer = BytesMut::new();
        for piece in input.chunks(cut) {
            buffer.extend_from_slice(piece);
            loop {
                // An element lives until the next one is read.
                match reader.next(&mut buffer) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
        }
    });
    assert_eq!(cost.bytes_current, 0, "something was kept");
    cost
}

/// `count` names of one byte, then of two, and so on: what is shortest for an attacker.
fn names(count: usize) -> impl Iterator<Item = String> {
    let letters = || ('a'..='z').chain('A'..='Z').chain(['_']).map(String::from);
    let two = letters().flat_map(move |a| letters().map(move |b| format!("{a}{b}")));
    letters().chain(two.clone()).chain(two.map(|name| format!("{name}x"))).take(count)
}

/// What `piece` makes of each of so many names.
fn times(count: usize, piece: impl Fn(&str) -> String) -> String {
    names(count).fold(String::new(), |all, name| all + &piece(&name))
}

fn attributes(count: usize) -> String {
    times(count, |name| format!(" {name}=''"))
}

/// Elements which are as much as the limits accept, and such which are far beyond them.
fn hostile(limits: &Limits) -> Vec<(String, String)> {
    let far = 2 * limits.element_bytes_max;
    // The longest repetition that is accepted, one as long as the limit of bytes accepts, and one far beyond.
    let fill = |before: &str, piece: &str, tokens: usize, after: &str| {
        let room = limits.element_bytes_max.saturating_sub(before.len() + after.len()) / piece.len();
        let tokens = limits.tokens_max.saturating_sub(4).checked_div(tokens).unwrap_or(usize::MAX);
        let counts = [room.min(tokens), room, far / piece.len()];
        counts.map(|count| format!("{before}{}{after}", piece.repeat(count))).to_vec()
    };
    let many = |piece: &str, tokens: usize| {
        let each = 30.min(limits.tokens_max / 4 / tokens).max(1);
        fill("<a>", &format!("<a>{}</a>", piece.repeat(each)), tokens * each + 1, "</a>")
    };
    let long = |before: &str, piece: &str, after: &str| fill(before, piece, 0, after);
    let deep = |open: &str, close: &str| {
        vec![open.repeat(limits.depth_max) + &close.repeat(limits.depth_max), open.repeat(far / open.len())]
    };
    let wide = |tag: &dyn Fn(usize) -> String| vec![tag(limits.attributes_max), tag(far / 6)];
    let all = limits.attributes_max;
    let name = "n".repeat(limits.name_bytes_max);
    let value = "v".repeat(25);
    [
        ("tiny children", fill("<a>", "<a/>", 1, "</a>")),
        ("tiny grandchildren", many("<a/>", 1)),
        ("tiny children with text", many("<a/>x", 1)),
        ("tiny children with an attribute", many("<a b=''/>", 2)),
        ("tiny children with attributes", many("<a b='' c='' d='' e=''/>x", 5)),
        ("children with all attributes", many(&format!("<a{}/>", attributes(all)), all + 1)),
        ("children with a value on the heap", many(&format!("<a b='{value}'/>"), 2)),
        ("children with a namespace", many(&format!("<a xmlns='{value}'/>"), 2)),
        ("children with declarations", many("<a xmlns:a='a' xmlns:b='b' a:c='' b:c=''/>", 5)),
        ("children with long names", many(&format!("<{name}></{name}>"), 1)),
        ("deep", deep("<a>", "</a>")),
        ("deep with long names", deep(&format!("<{name}>"), &format!("</{name}>"))),
        ("deep with prefixes", deep("<p:a xmlns:p='u'>", "</p:a>")),
        ("attributes", wide(&|n| format!("<a{}/>", attributes(n)))),
        ("declarations", wide(&|n| format!("<a{}/>", times(n, |name| format!(" xmlns:{name}='u'"))))),
        ("a long name", vec![format!("<{name}/>"), "<".to_owned() + &"n".repeat(far)]),
        ("a long name of an attribute", vec![format!("<a {name}=''/>"), "<a ".to_owned() + &"n".repeat(far)]),
        ("text", long("<a>", "x", "</a>")),
        ("references", long("<a>", "&lt;", "</a>")),
        ("numbers", long("<a>", "&#x10FFFF;", "</a>")),
        ("unfinished reference", long("<a>&", "x", "</a>")),
        ("line ends", long("<a>", "\r", "</a>")),
        ("cdata", long("<a>", "<![CDATA[]]]]>", "</a>")),
        ("brackets", long("<a><![CDATA[", "]", "]]></a>")),
        ("a value", long("<a b='", "x", "'/>")),
        ("a value of references", long("<a b='", "&amp;", "'/>")),
        ("a namespace", long("<a xmlns='", "x", "'/>")),
        ("an unfinished tag", long("<a", " ", "/>")),
        ("an unfinished end", long("<a></a", " ", ">")),
        ("an entity", long("<!DOCTYPE r [<!ENTITY a 'b'>", "<!ENTITY b '&a;&a;'>", "]><r>&b;</r>")),
        ("a comment", long("<!--", "x", "-->")),
        ("many stanzas", vec!["<a/>".repeat(far / 4), "<a b='c'>d</a> ".repeat(far / 15)]),
    ]
    .into_iter()
    .flat_map(|(name, elements)| {
        elements.into_iter().map(|element| (name.to_owned(), element)).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn the_peak_is_a_multiple_of_the_limit() {
    let early = Limits { element_bytes_max: 16 * 1024, tokens_max: 256, ..stranger() };
    for (limits, factor) in [(stranger(), EARLY_FACTOR), (early, EARLY_FACTOR), (Limits::default(), FACTOR)] {
        let max = factor * limits.element_bytes_max;
        let mut worst = (0, String::new());
        for (name, element) in hostile(&limits) {
            // As a first-level element, and as the root itself.
            for input in [format!("<r xmlns='u'>{element}"), element] {
                for cut in [1, 1460, limits.element_bytes_max] {
                    let peak: usize = cost(input.as_bytes(), cut, &limits).bytes_max.try_into().unwrap();
                    assert!(peak <= max, "{name} in pieces of {cut}: {peak} bytes, more than {max}");
                    worst = worst.max((peak, format!("{name} in pieces of {cut}")));
                }
            }
        }
        let (peak, name) = worst;
        println!("{peak} bytes with a limit of {}: {name}", limits.element_bytes_max);
        // A bound that is far from what is measured would not be missed when it is passed.
        assert!(peak * 3 > max * 2, "the bound is too large: {name} takes {peak}, which is the most of all");
    }
}

#[test]
fn all_that_is_ever_allocated_is_linear_in_the_input() {
    let limits = Limits::none();
    let hard = |kind: &str, n: usize| match kind {
        "attributes" => format!("<r><a{}/>", attributes(n)),
        "declarations" => format!("<r><a{}/>", times(n, |name| format!(" xmlns:{name}='u' {name}:a=''"))),
        "children" => format!("<r><a>{}</a>", "<b/>x".repeat(n)),
        "depth" => format!("<r>{}{}", "<a>".repeat(n / 4), "</a>".repeat(n / 4)),
        "references" => format!("<r><a>{}</a>", "&lt;".repeat(n)),
        "line ends" => format!("<r><a b='{}'>{0}</a>", "\r".repeat(n)),
        "an unfinished tag" => format!("<r><a b='{}", "x".repeat(n)),
        _ => panic!("no such kind: {kind}"),
    };
    for kind in
        ["attributes", "declarations", "children", "depth", "references", "line ends", "an unfinished tag"]
    {
        for cut in [1, 100, usize::MAX] {
            let [few, many] = [500, 2_000].map(|n| cost(hard(kind, n).as_bytes(), cut, &limits));
            let what = format!("{kind} in pieces of {cut}: {few:?}, then {many:?}");
            assert!(many.count_total <= 5 * few.count_total, "{what}");
            // What grows by doubling may have doubled once more.
            assert!(many.bytes_total <= 9 * few.bytes_total, "{what}");
        }
    }
}
