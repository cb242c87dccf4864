//! What a stream may contain and what ends it, as tables. Every row is read whole and byte by byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use bytes::BytesMut;

use crate::{Element, Limits, Restricted, Scope, StreamEvent, StreamReader, TooMany, XmlError};

const OPEN: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// All events of `chunks`, and how the reader got stuck or where it is now.
pub(crate) fn read<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
    limits: &Limits,
) -> (Vec<StreamEvent>, Result<bool, XmlError>) {
    let mut reader = StreamReader::new(limits.clone());
    let mut input = BytesMut::new();
    let mut events = Vec::new();
    for chunk in chunks {
        input.extend_from_slice(chunk);
        loop {
            match reader.next(&mut input) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => {
                    assert!(reader.next(&mut input).is_err(), "an error is final");
                    return (events, Err(error));
                }
            }
        }
        assert!(input.len() <= limits.element_bytes_max, "no more than an element waits");
        assert_eq!(reader.is_idle(), input.is_empty(), "idle is when nothing waits");
    }
    (events, Ok(reader.is_idle()))
}

/// The last outcome of reading `text`, which does not depend on how it is cut.
fn outcome(text: impl AsRef<[u8]>, limits: &Limits) -> (Vec<StreamEvent>, Result<bool, XmlError>) {
    let text = text.as_ref();
    let whole = read([text], limits);
    assert_eq!(whole, read(text.chunks(1), limits), "{}", text.escape_ascii());
    assert_eq!(whole, read(text.chunks(3), limits), "{}", text.escape_ascii());
    whole
}

fn error(text: impl AsRef<[u8]>) -> XmlError {
    let text = text.as_ref();
    outcome(text, &Limits::default()).1.expect_err(&text.escape_ascii().to_string())
}

#[test]
fn a_document_is_an_open_root_elements_and_an_end() {
    let close = "</stream:stream>";
    for (text, elements, is_closed) in [
        (OPEN.to_owned(), 0, false),
        (format!("<?xml version='1.0'?>{OPEN}"), 0, false),
        (format!("<?xml version='1.0'?>\n \t\r{OPEN}\n"), 0, false),
        (format!(" {OPEN} "), 0, false), // white space may come before the root, but then no declaration
        (format!("{OPEN}<a/><b></b> <stream:c>x</stream:c>{close}"), 3, true),
        (format!("{OPEN}{close}\n\n"), 0, true),
        (format!("{OPEN}</stream:stream \n>"), 0, true),
        (OPEN.replace('>', "/>"), 0, true),
        (OPEN.replace('>', " />"), 0, true),
        (OPEN.replace('\'', "\""), 0, false),
        (format!("{OPEN}<a b='>' c=\"'>/\" d = 'x'/>"), 1, false),
        (format!("{OPEN}<a>]] > ]>]&gt;<![CDATA[<b>]]]></a>"), 1, false),
        (format!("{OPEN}<a><a><a/></a><a/></a>"), 1, false),
        ("<a><é ü='ß'>日本</é>".to_owned(), 1, false),
        (format!("<?xml version='1.0' encoding='utf-8'?>{OPEN}"), 0, false),
    ] {
        let (events, end) = outcome(&text, &Limits::default());
        assert_eq!(end, Ok(true), "{text}");
        assert!(matches!(events[0], StreamEvent::Open(_)), "{text}");
        assert_eq!(
            events.iter().filter(|event| matches!(event, StreamEvent::Element(_))).count(),
            elements,
            "{text}"
        );
        assert_eq!(events.last() == Some(&StreamEvent::Close), is_closed, "{text}");
    }
}

#[test]
fn what_is_not_well_formed_ends_the_stream() {
    // RFC 6120 §11.3. Outside of the root:
    for text in [
        "x",
        "GET / HTTP/1.1\r\n",
        "\u{feff}<a>",
        "</a>",
        "<a></b>",
        "<>",
        "< a>",
        "<a <",
        "<1>",
        "<a:>",
        "<:a>",
        "<a:b:c xmlns:a='u'>",
        "<!>",
        "<a/><b/>",
        "<a/>x",
        "<a></a><b>",
        "<a></a><?xml version='1.0'?>",
        "&lt;",
        "<![CDATA[]]>",
        "<?xml version='1.0' x?>",
        "<a\0",
        "<a xmlns:b=''>",
        "<a xmlns:xml='u'>",
        "<xmlns:a>",
        "<a xmlns:xmlns='u'>",
        "<a xmlns='http://www.w3.org/2000/xmlns/'>",
        "<a b='c' b='d'>",
    ] {
        let found = error(text);
        assert!(matches!(found, XmlError::NotWellFormed(_)), "{text} {found}");
    }
    // In the root:
    for text in [
        "</stream>",
        "</stream:stream/>",
        "</ stream:stream>",
        "</stream:Stream>",
        "</>",
        "<a></b>",
        "<a/b>",
        "<a//>",
        "<a/ >",
        "<a b>",
        "<a b/>",
        "<a b=c>",
        "<a b='c>",
        "<a b='c\">",
        "<a b='c'd='e'/>",
        "<a b=''''/>",
        "<a 'b'/>",
        "<a ='b'/>",
        "<a b=='c'/>",
        "<a b='<'/>",
        "<a b='&'/>",
        "<a b='&lt'/>",
        "<a b='&#0;'/>",
        "<a b='&#xD800;'/>",
        "<a b='&#x1F;'/>",
        "<a b='c' b='d'/>",
        "<a b='\u{fffe}'/>",
        "<a>&</a>",
        "<a>&;</a>",
        "<a>&lt</a>",
        "<a>& amp;</a>",
        "<a>&amp </a>",
        "<a>&#;</a>",
        "<a>&#x;</a>",
        "<a>&#xg;</a>",
        "<a>&#0;</a>",
        "<a>&#xFFFE;</a>",
        "<a>&#xDFFF;</a>",
        "<a>&#x110000;</a>",
        "<a>]]></a>",
        "<a>\u{1}</a>",
        "<a>\u{ffff}</a>",
        "<a>\u{b}</a>",
        "<a><![cdata[]]></a>",
        "<a><![CDATA ]]></a>",
        "<a><![CDATA[\0]]></a>",
        "<a><![INCLUDE[]]></a>",
        "<![CDATA[]]>",
        "<a><!></a>",
        "<a><!x></a>",
        "<a><></a>",
        "<a>< b/></a>",
        "<a></ a>",
        "<a></a b='c'>",
        "<1a/>",
        "<-a/>",
        "<a\u{d7}/>",
        "<a 1='b'/>",
        "<a b:='c'/>",
        "<a :b='c'/>",
        "<a xmlns:b=''/>",
        "<a xmlns:='u'/>",
        "<a xmlns:xml='u'/>",
        "<a xmlns:xmlns='u'/>",
        "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
        "<a xmlns:b='http://www.w3.org/2000/xmlns/'/>",
        "<xmlns:a/>",
        "<a xmlns:b:c='u'/>",
        "<a xmlns='u' xmlns='u'/>",
        "<a xmlns:b='u' xmlns:c='u' b:d='' c:d=''/>",
        "<a xmlns='a}b'/>",
        "<a\u{1}/>",
        "<a b\u{0}='c'/>",
        "<a><b></a></b>",
        "<a></a></a>",
        "<\u{1F600}/>",
        "<a&b/>",
        "<a;/>",
        "<a\"/>",
    ] {
        let found = error(format!("{OPEN}{text}><"));
        assert!(matches!(found, XmlError::NotWellFormed(_)), "{text} {found}");
    }
}

/// So that nobody can make the reader wait for the rest of what is wrong already.
#[test]
fn wrong_syntax_is_seen_at_its_first_wrong_byte() {
    for (good, wrong) in [
        ("<", "<> &;=\"'"),
        ("<a", "<&;'\"="),
        ("<a ", "<&;'\"="),
        ("<a b", "<&;'\"/>"),
        ("<a b ", "<&;'\"/>c"),
        ("<a b=", "<&;=/>c"),
        ("<a b= ", "<&;=/>c"),
        ("<a b='", "<"),
        ("<a b=\"", "<"),
        ("<a b=''", "<&;'\"=c"),
        ("<a/", "<&;'\"= /c"),
        ("</", "<&;'\"= />"),
        ("</a", "<&;'\"=/"),
        ("</a ", "<&;'\"=/a"),
        ("<!", "<a[ >d"),
        ("<a><!", "<a >d"),
        ("<a><![", "<c D>["),
        ("<a><![CDAT", "<a [>"),
        ("<a><![CDATA", "<A ]>"),
    ] {
        assert_eq!(outcome(format!("{OPEN}{good}"), &Limits::default()).1, Ok(false), "{good}");
        for byte in wrong.chars() {
            let found = error(format!("{OPEN}{good}{byte}"));
            assert!(matches!(found, XmlError::NotWellFormed(_)), "{good}{byte} {found}");
        }
    }
}

#[test]
fn restricted_xml_ends_the_stream() {
    use Restricted::{Comment, Doctype, Entity, ProcessingInstruction};
    // RFC 6120 §11.1
    for (text, want) in [
        ("<!-- a -->", Comment),
        ("<!---->", Comment),
        ("<?a b?>", ProcessingInstruction),
        ("<?xml-stylesheet href='a'?>", ProcessingInstruction),
        ("<?XML version='1.0'?>", ProcessingInstruction),
        ("<?xm?>", ProcessingInstruction),
        ("<!DOCTYPE a>", Doctype),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]>", Doctype),
        ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'>", Doctype),
    ] {
        for before in
            ["", " ", "<?xml version='1.0'?>", OPEN, &format!("{OPEN}<a>"), &format!("{OPEN}<a><b/>x")]
        {
            assert_eq!(error(format!("{before}{text}")), XmlError::RestrictedXml(want), "{before}{text}");
        }
    }
    // A declaration that is not the first thing of all.
    for before in [" ", "<?xml version='1.0'?>", OPEN, &format!("{OPEN}<a>")] {
        let found = error(format!("{before}<?xml version='1.0'?>"));
        assert_eq!(found, XmlError::RestrictedXml(ProcessingInstruction), "{before}");
    }
    for text in ["<a>&b;</a>", "<a b='&c;'/>", "<a>&LT;</a>", "<a>&nbsp;</a>", "<a><b>&lol9;&lol9;</b></a>"] {
        assert_eq!(error(format!("{OPEN}{text}")), XmlError::RestrictedXml(Entity), "{text}");
    }
    assert_eq!(error("<a b='&c;'>"), XmlError::RestrictedXml(Entity));
}

#[test]
fn laughs_are_few() {
    let entities = "<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;'>";
    for text in [
        format!("<!DOCTYPE x [{entities}]><x>&c;</x>"),
        format!("<?xml version='1.0'?><!DOCTYPE x [{entities}]><x y='&c;'>"),
        format!("<!doctype x [{entities}]><x>&c;</x>"),
        format!("<!DOCTYPE x [<!ENTITY % p '{}'> %p;]><x>", "%q;".repeat(9)),
        "<!DOCTYPE x [<!ATTLIST x y CDATA '&c;'>]><x>".to_owned(),
        "<!DOCTYPE x SYSTEM 'http://127.0.0.1/x.dtd'><x>&c;</x>".to_owned(),
        format!("{entities}<x>&c;</x>"),
        format!("{OPEN}<x><!DOCTYPE x [{entities}]>&c;</x>"),
        format!("{OPEN}<x>{entities}&c;</x>"),
        format!("{OPEN}<x><![CDATA[]]>{entities}</x>"),
        format!("{OPEN}<x>&c;</x>"),
        format!("{OPEN}<x y='&c;'/>"),
        format!("{OPEN}<x xmlns='&c;'/>"),
        format!("{OPEN}<x xmlns:y='&c;'/>"),
        format!("{OPEN}<x y='&amp;&amp;c;&c;'/>"),
        format!("{OPEN}<x>&%c;</x>"),
        format!("{OPEN}<x>{}</x>", "&c;".repeat(10_000)),
    ] {
        assert!(matches!(error(&text), XmlError::RestrictedXml(_) | XmlError::NotWellFormed(_)), "{text}");
    }
    // What one could take for an entity is text.
    let (events, _) = outcome(format!("{OPEN}<x y='&amp;c;'>&amp;c;<![CDATA[&c;]]></x>"), &Limits::default());
    let StreamEvent::Element(x) = &events[1] else { panic!("{events:?}") };
    assert_eq!((x.attr("y"), x.text().as_ref()), (Some("&c;"), "&c;&c;"));
}

#[test]
fn another_encoding_ends_the_stream() {
    // RFC 6120 §11.6
    for text in [
        b"\xff\xfe<\0".as_slice(),                      // UTF-16 with a byte order mark
        b"\xfe\xff\0<",                                 // the other way round
        b"<\0a\0>\0",                                   // UTF-16 without
        b"\0<\0a\0>",                                   // the other way round
        b"\0\0\0<",                                     // UTF-32
        b"<?xml version='1.0' encoding='ISO-8859-1'?>", //
        b"<?xml version='1.0' encoding='UTF-16'?>",     //
        b"<a b='\xe9'>",                                // Latin-1
        b"<a><b>\xe9</b>",                              //
        b"<a><b>\xc0\x80</b>",                          // an overlong form
        b"<a><b>\xed\xa0\x80</b>",                      // a surrogate
        b"<a><b>\xf4\x90\x80\x80</b>",                  // beyond U+10FFFF
        b"<a><b>\xe2\x82</b>",                          // a character cut short
        b"<a><b\xff/>",                                 //
        b"<a></a\xff>",                                 //
    ] {
        assert_eq!(error(text), XmlError::UnsupportedEncoding, "{}", text.escape_ascii());
    }
}

#[test]
fn a_prefix_has_to_be_declared() {
    for (text, prefix) in [
        ("<a:b>", "a"),
        ("<b a:c=''>", "a"),
        ("<b><a:c/>", "a"),
        ("<b xmlns:a='u'><c xmlns:d='v'/><d:e/>", "d"),
        ("<b xmlns:a='u'><A:c/>", "A"),
    ] {
        assert_eq!(error(text), XmlError::UndeclaredPrefix(prefix.into()), "{text}");
    }
}

#[test]
fn text_between_elements_ends_the_stream() {
    for text in ["x", " x", "<a/>x", "&lt;", "&#32;", "]", "\u{a0}", "\u{feff}", "\0"] {
        assert!(matches!(error(format!("{OPEN}{text}")), XmlError::InvalidXml(_)), "{text:?}");
    }
    assert!(matches!(error("<?xml version='1.1'?><a>"), XmlError::InvalidXml(_))); // RFC 6120 §11.8
}

#[test]
fn limits_hold_at_the_byte_that_passes_them() {
    let bytes = Limits { element_bytes_max: 40, ..Limits::default() };
    let names = Limits { name_bytes_max: 5, ..Limits::default() };
    let attributes = Limits { attributes_max: 2, ..Limits::default() };
    let depth = Limits { depth_max: 2, ..Limits::default() };
    let children = Limits { children_max: 2, ..Limits::default() };
    let tokens = Limits { tokens_max: 3, ..Limits::default() };
    let namespaces = Limits { namespaces_max: 2, ..Limits::default() };
    let too_big = |limit| XmlError::TooBig { what: if limit == 40 { "element" } else { "name" }, limit };
    let too_many = |what, limit| XmlError::TooMany { what, limit };
    for (limits, good, bad, want) in [
        (&bytes, format!("<a>{}</a>", "x".repeat(33)), format!("<a>{}", "x".repeat(38)), too_big(40)),
        (&bytes, format!("<a b='{}'/>", "x".repeat(31)), format!("<a b='{}", "x".repeat(35)), too_big(40)),
        (&bytes, format!("<a{}/>", " ".repeat(36)), format!("<a{}", " ".repeat(39)), too_big(40)),
        (&bytes, format!("<a>{}</a>", "é".repeat(16)), format!("<a>{}", "é".repeat(19)), too_big(40)),
        (&bytes, format!("<a/>{}<a/>", " ".repeat(99)), format!("</r{}", " ".repeat(38)), too_big(40)),
        (&names, "<abcde/>".into(), "<abcdef".into(), too_big(5)),
        (&names, "<a><abcde></abcde></a>".into(), "<a><abcdef".into(), too_big(5)),
        (&names, "<a abcde=''/>".into(), "<a abcdef".into(), too_big(5)),
        (&names, "<a>abcdef</a>".into(), "<a></abcdef".into(), too_big(5)),
        (&names, "<éé/>".into(), "<ééé".into(), too_big(5)),
        (&attributes, "<a b='' c=''/>".into(), "<a b='' c='' d".into(), too_many(TooMany::Attributes, 2)),
        (
            &attributes,
            "<a b='' c=''><d b='' c=''/></a>".into(),
            "<a xmlns='' b='' c".into(),
            too_many(TooMany::Attributes, 2),
        ),
        (&depth, "<a><b/><b></b></a>".into(), "<a><b/><b><c".into(), XmlError::TooDeep { limit: 2 }),
        (
            &children,
            "<a><b/>x<b><c/></b></a>".into(),
            "<a><b/>x<b><c/></b><d".into(),
            too_many(TooMany::Children, 2),
        ),
        (
            &children,
            "<a><b/><b><b/><b/></b></a>".into(),
            "<a><b/><b><b/><b/><b".into(),
            too_many(TooMany::Children, 2),
        ),
        (&tokens, "<a><b><c/></b></a><a/>".into(), "<a><b><c/></b><d".into(), too_many(TooMany::Tokens, 3)),
        (&tokens, "<a b=''><c></c></a><a/>".into(), "<a b=''><c d".into(), too_many(TooMany::Tokens, 3)),
        (
            &namespaces,
            "<a xmlns='1'><b xmlns:c='2'/><b xmlns:d='3'/></a>".into(),
            "<a xmlns='1'><b xmlns:c='2' xmlns:d='3'/></a>".into(),
            too_many(TooMany::Namespaces, 2),
        ),
    ] {
        let good = format!("<r>{good}");
        assert_eq!(outcome(&good, limits).1, Ok(true), "{good}");
        let bad = format!("<r>{bad}");
        assert_eq!(outcome(&bad, limits).1, Err(want), "{bad}");
        let (_, before) = outcome(&bad.as_bytes()[..bad.len() - 1], limits);
        assert_eq!(before, Ok(false), "{bad} was wrong before its last byte");
    }
    // The root's start tag has the same limits.
    for (limits, bad, want) in [
        (&bytes, format!("<a b='{}", "x".repeat(35)), too_big(40)),
        (&names, "<abcdef".into(), too_big(5)),
        (&attributes, "<a b='' c='' d".into(), too_many(TooMany::Attributes, 2)),
        (&tokens, "<a b='' c='' d".into(), too_many(TooMany::Tokens, 3)),
        (&namespaces, "<a xmlns='1' xmlns:b='2' xmlns:c='3'>".into(), too_many(TooMany::Namespaces, 2)),
        (
            &Limits::default(),
            format!("<?xml {}", " ".repeat(251)),
            XmlError::TooBig { what: "declaration", limit: 256 },
        ),
    ] {
        assert_eq!(outcome(&bad, limits).1, Err(want), "{bad}");
        let (_, before) = outcome(&bad.as_bytes()[..bad.len() - 1], limits);
        assert_eq!(before, Ok(false), "{bad} was wrong before its last byte");
    }
}

#[test]
fn what_would_grow_is_refused() {
    let message = |ns: &str, child: &str, count: usize| {
        format!("<r><m xmlns:p='{ns}'><body>x</body>{}</m>", child.repeat(count))
    };
    let written = |limit| Err(XmlError::TooBig { what: "element when written", limit });
    let namespace = Err(XmlError::TooBig { what: "namespace", limit: 256 });
    let (usual, longest) = ("http://www.w3.org/1999/xhtml", "u".repeat(256));
    for (text, want) in [
        (message(&"u".repeat(170_000), "<p:a/>", 8_000), namespace.clone()),
        (message(&"u".repeat(257), "", 0), namespace.clone()),
        (format!("<r xmlns:p='{}'>", "u".repeat(257)), namespace),
        (message(&longest, "<p:a/>", 8_000), written(524_288)),
        (message(&longest, "<a p:b=''/>", 8_000), written(524_288)),
        (message(&longest, "<p:a/>", 1_000), Ok(true)),
        (message(usual, "<p:span>text</p:span>", 8_000), Ok(true)),
        (message(usual, "&lt;p class=&quot;c&quot;>", 8_000), Ok(true)),
        (message(usual, ">", 250_000), written(524_288)),
        (message(usual, "<![CDATA[<&<&<&<&<&]]>", 8_000), Ok(true)),
        (message(usual, &format!("<![CDATA[{}]]>", "&".repeat(200_000)), 1), written(524_288)),
        (message(usual, &format!("<a b=\"{}\"/>", "'".repeat(200_000)), 1), written(524_288)),
    ] {
        let (_, end) = read([text.as_bytes()], &Limits::default());
        assert_eq!(end, want);
    }
}

/// The densest elements there are, where their length is only just taken for proof enough.
#[test]
fn what_is_short_stays_short() {
    let tags =
        ["<a/>", "<p:a/>", "<a q:b=''/>", "<a q:b='' p:b=''/>", "<a b=\"''''''\"/>", ">", "<![CDATA[&&]]>"];
    for (name, tag) in [1, 10, 100].into_iter().flat_map(|name| tags.map(|tag| (name, tag))) {
        for count in [1, 2, 3, 5, 10, 100, 1_000] {
            let ns = "'".repeat(name);
            let ns = format!("xmlns=\"{ns}\" xmlns:p='p' xmlns:q=\"{ns}\"");
            let text = format!("<a {ns}><p:b>{}</p:b></a>", tag.repeat(count));
            let mut limits = Limits { namespace_bytes_max: name, element_bytes_max: 0, ..Limits::none() };
            while !limits.is_short(text.len()) {
                limits.element_bytes_max += 1;
            }
            let written = Element::parse(&text, &Scope::EMPTY, &limits).unwrap().to_string_in(&Scope::EMPTY);
            assert!(written.len() <= limits.written_bytes_max(), "{} {text}", written.len());
        }
    }
}

#[test]
fn no_depth_overflows_the_stack() {
    let limits = Limits { depth_max: usize::MAX, ..Limits::default() };
    let max = Limits::DEPTH_CEILING;
    let nested = |depth: usize| format!("{OPEN}{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    assert_eq!(outcome(nested(max + 1), &limits).1, Err(XmlError::TooDeep { limit: max }));
    let (events, end) = read([nested(max).as_bytes()], &limits);
    assert_eq!(end, Ok(true));
    let StreamEvent::Element(element) = &events[1] else { panic!("{events:?}") };
    let copy = element.to_builder().attr("b", "c").build().to_builder().without_attr("b").build();
    assert_eq!(&copy, element);
    assert!(format!("{element:?}").len() > max * 7);
}

#[test]
fn a_root_tells_what_it_declares() {
    let mut reader = StreamReader::new(Limits::default());
    let mut input =
        BytesMut::from("<z:r xmlns:z='1' xmlns='2' xmlns:b='3' xmlns:a='4' to='x'><a:c/><b:c/><z:c/><c/>");
    let Ok(Some(StreamEvent::Open(header))) = reader.next(&mut input) else { panic!("no header") };
    assert_eq!((header.prefix(), header.default_ns()), (Some("z"), "2"));
    assert_eq!(header.prefixes().collect::<Vec<_>>(), [("a", "4"), ("b", "3"), ("z", "1")]);
    assert_eq!(
        ["a", "b", "z", "c", ""].map(|prefix| header.ns_of(prefix)),
        [Some("4"), Some("3"), Some("1"), None, None]
    );
    assert!(header.element().is("r", "1") && header.element().attr("to") == Some("x"));
    for want in ["4", "3", "1", "2"] {
        let Ok(Some(StreamEvent::Element(element))) = reader.next(&mut input) else { panic!("no element") };
        assert_eq!(element.ns(), want);
    }
}

#[test]
fn an_empty_root_is_opened_and_closed() {
    let mut reader = StreamReader::new(Limits::default());
    let mut input = BytesMut::from("<r/>");
    assert!(matches!(reader.next(&mut input), Ok(Some(StreamEvent::Open(_)))));
    assert!(!reader.is_idle(), "its end is still to be told");
    assert_eq!(reader.next(&mut input), Ok(Some(StreamEvent::Close)));
    assert!(reader.is_idle());
}

#[test]
fn a_reader_can_begin_anew() {
    let mut reader = StreamReader::new(Limits::default());
    let mut input = BytesMut::from(format!("<?xml version='1.0'?>{OPEN}<a/><b").as_str());
    assert!(matches!(reader.next(&mut input), Ok(Some(StreamEvent::Open(_)))));
    assert!(matches!(reader.next(&mut input), Ok(Some(StreamEvent::Element(_)))));
    assert_eq!(reader.next(&mut input), Ok(None));
    assert!(!reader.is_idle());
    reader.restart();
    assert!(reader.is_idle());
    // The old root's prefixes are gone, and an XML declaration may come again.
    let mut input = BytesMut::from("<?xml version='1.0'?><r xmlns='u'><stream:a/>");
    let Ok(Some(StreamEvent::Open(header))) = reader.next(&mut input) else { panic!("no header") };
    assert_eq!((header.prefix(), header.default_ns(), header.prefixes().count()), (None, "u", 0));
    assert_eq!(reader.next(&mut input), Err(XmlError::UndeclaredPrefix("stream".into())));
    reader.restart();
    assert!(matches!(reader.next(&mut BytesMut::from("<r>")), Ok(Some(StreamEvent::Open(_)))));
}

#[test]
fn limits_can_change_between_elements() {
    let mut reader = StreamReader::new(Limits { element_bytes_max: 10, ..Limits::default() });
    let mut input = BytesMut::from("<r><a>0123456789</a>");
    assert!(matches!(reader.next(&mut input), Ok(Some(StreamEvent::Open(_)))));
    reader.set_limits(Limits::default());
    assert!(matches!(reader.next(&mut input), Ok(Some(StreamEvent::Element(_)))));
    input.extend_from_slice(b"<a>01234567");
    assert_eq!(reader.next(&mut input), Ok(None));
    reader.set_limits(Limits { element_bytes_max: 10, ..Limits::default() });
    assert_eq!(reader.next(&mut input), Err(XmlError::TooBig { what: "element", limit: 10 }));
}

/// One of these waits on every connection.
#[test]
fn a_reader_is_small() {
    assert!(size_of::<StreamReader>() <= 168, "{}", size_of::<StreamReader>());
}
