#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

fn jid(text: &str) -> Jid {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn error(text: &str) -> JidError {
    match text.parse::<Jid>() {
        Ok(jid) => panic!("{text:?} is {jid}"),
        Err(error) => error,
    }
}

/// RFC 7622 §3.5, table 1, with the parts in canonical form.
#[test]
fn the_legal_addresses_of_the_rfc() {
    for (number, text, local, domain, resource) in [
        (1, "juliet@example.com", Some("juliet"), "example.com", None),
        (2, "juliet@example.com/foo", Some("juliet"), "example.com", Some("foo")),
        (3, "juliet@example.com/foo bar", Some("juliet"), "example.com", Some("foo bar")),
        (4, "juliet@example.com/foo@bar", Some("juliet"), "example.com", Some("foo@bar")),
        (5, "foo\\20bar@example.com", Some("foo\\20bar"), "example.com", None),
        (6, "fussball@example.com", Some("fussball"), "example.com", None),
        (7, "fu\u{df}ball@example.com", Some("fu\u{df}ball"), "example.com", None),
        (8, "\u{3c0}@example.com", Some("\u{3c0}"), "example.com", None),
        (9, "\u{3a3}@example.com/foo", Some("\u{3c3}"), "example.com", Some("foo")),
        (10, "\u{3c3}@example.com/foo", Some("\u{3c3}"), "example.com", Some("foo")),
        (11, "\u{3c2}@example.com/foo", Some("\u{3c2}"), "example.com", Some("foo")),
        (12, "king@example.com/\u{265a}", Some("king"), "example.com", Some("\u{265a}")),
        (13, "example.com", None, "example.com", None),
        (14, "example.com/foobar", None, "example.com", Some("foobar")),
        (15, "a.example.com/b@example.net", None, "a.example.com", Some("b@example.net")),
    ] {
        let jid = jid(text);
        assert_eq!((jid.local(), jid.domain(), jid.resource()), (local, domain, resource), "{number}");
    }
}

/// RFC 7622 §3.5, table 2.
#[test]
fn the_illegal_addresses_of_the_rfc() {
    use JidPart::{Domain, Local, Resource};

    for (number, text, expected) in [
        (16, "\"juliet\"@example.com", JidError::Character(Local, '"')),
        (17, "foo bar@example.com", JidError::Character(Local, ' ')),
        (18, "juliet@example.com/ foo", JidError::Character(Resource, ' ')),
        (19, "@example.com/", JidError::Empty(Local)),
        (20, "henry\u{2163}@example.com", JidError::Character(Local, '\u{2163}')),
        (21, "\u{265a}@example.com", JidError::Character(Local, '\u{265a}')),
        (22, "juliet@", JidError::Empty(Domain)),
        (23, "/foobar", JidError::Empty(Domain)),
    ] {
        assert_eq!(error(text), expected, "{number}");
    }
}

#[test]
fn addresses_take_their_canonical_form() {
    for (text, canonical) in [
        // Localparts: RFC 8265 §3.3.
        ("JULIET@example.com", "juliet@example.com"),
        ("J\u{fc}RGEN@example.com", "j\u{fc}rgen@example.com"),
        ("ju\u{308}rgen@example.com", "j\u{fc}rgen@example.com"), // composed
        ("\u{ff4a}\u{ff55}lie@example.com", "julie@example.com"), // full width
        ("\u{ff71}@example.com", "\u{30a2}@example.com"),         // half width
        ("\u{130}@example.com", "i\u{307}@example.com"),
        ("\u{1e9e}@example.com", "\u{df}@example.com"),
        ("a.b+c_d!#$%*(){}[]|~`^\\;,?=-@example.com", "a.b+c_d!#$%*(){}[]|~`^\\;,?=-@example.com"),
        ("\u{5e9}\u{5dc}@example.com", "\u{5e9}\u{5dc}@example.com"), // right to left
        // Domainparts: §3.2.
        ("juliet@EXAMPLE.com", "juliet@example.com"),
        ("juliet@example.com.", "juliet@example.com"),
        ("example.com./phone", "example.com/phone"),
        ("localhost", "localhost"),
        ("a-b.c-d", "a-b.c-d"),
        ("b\u{fc}cher.example", "b\u{fc}cher.example"),
        ("B\u{dc}CHER.example", "b\u{fc}cher.example"),
        ("bu\u{308}cher.example", "b\u{fc}cher.example"),
        ("xn--bcher-kva.example", "b\u{fc}cher.example"), // A-label to U-label (§3.2.1)
        ("XN--BCHER-KVA.Example.", "b\u{fc}cher.example"),
        ("fa\u{df}.example", "fa\u{df}.example"), // not mapped to ss (IDNA2008)
        ("xn--fa-hia.example", "fa\u{df}.example"),
        ("\u{ff45}xample.com", "example.com"),
        ("example\u{3002}com", "example.com"),
        ("example.com\u{3002}", "example.com"),
        ("\u{5d0}\u{5d1}.example", "\u{5d0}\u{5d1}.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("juliet@[2001:DB8::1]/x", "juliet@[2001:db8::1]/x"),
        ("[2001:db8:0:0:0:0:0:1]", "[2001:db8::1]"),
        ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"),
        ("[fe80::1%25eth0]", "[fe80::1%25eth0]"), // RFC 6874
        // Resourceparts: RFC 8265 §4.2. Case stays.
        ("a@b/Phone", "a@b/Phone"),
        ("a@b/\u{212b}", "a@b/\u{c5}"),
        ("a@b/x\u{a0}y\u{3000}z", "a@b/x y z"), // other spaces
        ("a@b/\u{ff21}", "a@b/\u{ff21}"),       // width stays
        ("a@b/x ", "a@b/x "),
        ("a@b/\u{1f98a}", "a@b/\u{1f98a}"),
        ("a@b/\u{2163}", "a@b/\u{2163}"),
        ("a@b//", "a@b//"),
        ("a@b/@/@", "a@b/@/@"),
        ("a@b/\"&'<>:", "a@b/\"&'<>:"),
    ] {
        assert_eq!(jid(text).as_str(), canonical, "{text:?}");
        assert_eq!(jid(canonical).as_str(), canonical, "{text:?} again");
    }
}

#[test]
fn what_is_no_address_is_refused() {
    use JidPart::{Domain, Local, Resource};

    for (text, expected) in [
        ("", JidError::Empty(Domain)),
        ("@", JidError::Empty(Local)),
        ("/", JidError::Empty(Domain)),
        ("@/", JidError::Empty(Local)),
        ("a@/x", JidError::Empty(Domain)),
        ("@b", JidError::Empty(Local)),
        ("a@b/", JidError::Empty(Resource)),
        ("b/", JidError::Empty(Resource)),
        (".", JidError::Empty(Domain)),
        // Localparts (§3.3.1 and RFC 8264 §4.2).
        ("a\"@b", JidError::Character(Local, '"')),
        ("a&@b", JidError::Character(Local, '&')),
        ("a'@b", JidError::Character(Local, '\'')),
        ("a:@b", JidError::Character(Local, ':')),
        ("a<@b", JidError::Character(Local, '<')),
        ("a>@b", JidError::Character(Local, '>')),
        ("A @b", JidError::Character(Local, ' ')),
        ("a\t@b", JidError::Character(Local, '\t')),
        ("a\0@b", JidError::Character(Local, '\0')),
        ("a\u{7f}@b", JidError::Character(Local, '\u{7f}')),
        ("a\u{a0}@b", JidError::Character(Local, '\u{a0}')),
        ("\u{fc}\u{ad}@b", JidError::Character(Local, '\u{ad}')),
        ("\u{378}@b", JidError::Character(Local, '\u{378}')), // unassigned
        ("\u{e000}@b", JidError::Character(Local, '\u{e000}')), // private use
        ("\u{2014}@b", JidError::Character(Local, '\u{2014}')), // punctuation
        ("a\u{5d0}@b", JidError::Direction(Local)),           // RFC 5893 §2
        ("\u{5d0}a@b", JidError::Direction(Local)),
        ("\u{301}\u{5d0}@b", JidError::Direction(Local)),
        // Domainparts (§3.2).
        ("a@b@c", JidError::DomainName),
        (".b", JidError::DomainName),
        ("a..b", JidError::DomainName),
        ("a.b..", JidError::DomainName),
        ("a.b.\u{3002}", JidError::DomainName),
        ("a.b\u{3002}.", JidError::DomainName),
        ("\u{fc}.b..", JidError::DomainName),
        ("\u{3002}", JidError::DomainName),
        ("-a.b", JidError::DomainName),
        ("a-.b", JidError::DomainName),
        ("a.-b", JidError::DomainName),
        ("ab--c.d", JidError::DomainName), // reserved (RFC 5890 §2.3.1)
        ("a_b.c", JidError::DomainName),
        ("a b.c", JidError::DomainName),
        ("a:5222", JidError::DomainName),
        ("a%b", JidError::DomainName),
        ("xn--", JidError::DomainName),
        ("xn--a.b", JidError::DomainName),
        ("xn--example-.b", JidError::DomainName), // decodes to ASCII
        ("xn--bcher-KVa\u{fc}.b", JidError::DomainName),
        ("\u{301}a.b", JidError::DomainName), // begins with a mark
        ("a\u{5d0}.b", JidError::DomainName), // RFC 5893 §2
        ("\u{2603}.b", JidError::Character(Domain, '\u{2603}')), // a symbol: UTS 46, not IDNA2008
        ("xn--n3h.b", JidError::Character(Domain, '\u{2603}')),
        ("a\u{20d0}.b", JidError::Character(Domain, '\u{20d0}')), // RFC 5892 §2.4
        ("a\u{b7}b.c", JidError::Character(Domain, '\u{b7}')),    // RFC 5892 A.3
        ("l\u{b7}.l", JidError::Character(Domain, '\u{b7}')),     // within one label
        ("a\u{200d}b.c", JidError::DomainName),                   // RFC 5892 A.2
        ("\u{2100}.b", JidError::DomainName),                     // maps to a/c
        ("[::1", JidError::AddressLiteral),
        ("[]", JidError::AddressLiteral),
        ("[192.0.2.1]", JidError::AddressLiteral),
        ("[::1]:5222", JidError::AddressLiteral),
        ("[::1]x", JidError::AddressLiteral),
        ("[:::1]", JidError::AddressLiteral),
        ("[::1%eth0]", JidError::AddressLiteral),
        ("[::1%25]", JidError::AddressLiteral),
        ("[::1%25a b]", JidError::AddressLiteral),
        ("[v1.x]", JidError::AddressLiteral),
        ("::1", JidError::DomainName),
        // Resourceparts (RFC 8264 §4.3).
        ("a@b/\n", JidError::Character(Resource, '\n')),
        ("a@b/x\0", JidError::Character(Resource, '\0')),
        ("a@b/\u{85}", JidError::Character(Resource, '\u{85}')),
        ("a@b/\u{3000}x", JidError::Character(Resource, ' ')), // a space after the mapping
        ("a@b/\u{ad}", JidError::Character(Resource, '\u{ad}')),
        ("a@b/\u{fffe}", JidError::Character(Resource, '\u{fffe}')),
    ] {
        assert_eq!(error(text), expected, "{text:?}");
    }
}

/// What a mapping brings forth is no separator and no excluded character (RFC 7622 §3.1), and nothing invisible
/// or merely alike makes a second name for one account.
#[test]
fn look_alikes_become_the_same_or_are_refused() {
    use JidPart::{Local, Resource};

    for (text, expected) in [
        ("admin\u{ff20}evil.example/x@b", JidError::DomainName), // full-width @ and no other in front of /
        ("admin\u{ff20}evil@b", JidError::Character(Local, '@')),
        ("a\u{ff0f}b@c", JidError::Character(Local, '/')),
        ("a\u{ff1a}b@c", JidError::Character(Local, ':')),
        ("adm\u{200b}in@b", JidError::Character(Local, '\u{200b}')), // zero width space
        ("adm\u{200d}in@b", JidError::Character(Local, '\u{200d}')),
        ("adm\u{2060}in@b", JidError::Character(Local, '\u{2060}')), // word joiner
        ("adm\u{feff}in@b", JidError::Character(Local, '\u{feff}')),
        ("adm\u{34f}in@b", JidError::Character(Local, '\u{34f}')), // combining grapheme joiner
        ("\u{202e}nimda@b", JidError::Character(Local, '\u{202e}')), // right-to-left override
        ("\u{212a}arl@b", JidError::Character(Local, '\u{212a}')), // Kelvin sign
        ("\u{1d5ba}dmin@b", JidError::Character(Local, '\u{1d5ba}')), // mathematical a
        ("\u{fb01}n@b", JidError::Character(Local, '\u{fb01}')),   // ligature
        ("adm\u{2139}n@b", JidError::Character(Local, '\u{2139}')), // information source
        ("\u{3164}@b", JidError::Character(Local, '\u{3164}')),    // Hangul filler
        ("a@b/\u{202e}x", JidError::Character(Resource, '\u{202e}')),
        ("a@b/x\u{200b}", JidError::Character(Resource, '\u{200b}')),
        ("a@b/\u{3164}", JidError::Character(Resource, '\u{3164}')),
        ("a@b/x\u{fe0f}", JidError::Character(Resource, '\u{fe0f}')), // variation selector
        ("a@b/\u{e0041}", JidError::Character(Resource, '\u{e0041}')), // tag
    ] {
        assert_eq!(error(text), expected, "{text:?}");
    }
    // Letters of other scripts stay distinct: which of them may be registered is for the registration to say.
    assert_ne!(jid("p\u{430}ul@b"), jid("paul@b"));
}

#[test]
fn parts_have_1_to_1023_bytes() {
    use JidPart::{Domain, Local, Resource};

    let a = |count: usize| "a".repeat(count);
    let umlauts = |count: usize| "\u{fc}".repeat(count);
    let labels = |label: usize, count: usize| vec![a(label); count].join(".");

    assert_eq!(jid(&format!("{}@b/{}", a(1023), a(1023))).as_str().len(), 2049);
    assert_eq!(jid(&format!("{}@b/{}", umlauts(511), umlauts(511))).local().unwrap().len(), 1022);
    // Bytes are counted after the mapping: 1023 full-width letters have 3069 before it.
    assert_eq!(jid(&format!("{}@b", "\u{ff41}".repeat(1023))).local().unwrap(), a(1023));
    assert_eq!(jid(&labels(62, 4)).domain().len(), 251);
    assert_eq!(jid(&format!("{}.", a(63))).domain().len(), 63);

    for (text, expected) in [
        (format!("{}@b", a(1024)), JidError::TooLong(Local)),
        (format!("{}@b", umlauts(512)), JidError::TooLong(Local)),
        (format!("{}@b", "\u{ff41}".repeat(1024)), JidError::TooLong(Local)),
        (format!("{}@b", "\u{130}".repeat(400)), JidError::TooLong(Local)), // grows from 800 bytes
        (format!("{}@b", "A".repeat(1024)), JidError::TooLong(Local)),
        (format!("a@b/{}", a(1024)), JidError::TooLong(Resource)),
        (format!("a@b/{}", umlauts(512)), JidError::TooLong(Resource)),
        (format!("a@b/{}", "\u{3000}".repeat(100_000)), JidError::TooLong(Resource)),
        (a(1024), JidError::TooLong(Domain)),
        (a(64), JidError::DomainName),
        (labels(63, 4), JidError::DomainName), // 255 bytes
        (format!("{}.example", umlauts(60)), JidError::DomainName),
    ] {
        assert_eq!(error(&text), expected, "{} bytes", text.len());
    }
}

#[test]
fn kinds_convert_only_where_nothing_is_lost() {
    let full = jid("juliet@example.com/balcony").try_into_full().unwrap();
    let bare = full.bare();
    assert_eq!((full.local(), full.domain(), full.resource()), (Some("juliet"), "example.com", "balcony"));
    assert_eq!(bare.as_str(), "juliet@example.com");
    assert_eq!((bare.local(), bare.domain(), bare.is_domain()), (Some("juliet"), "example.com", false));
    assert_eq!(bare.to_domain().as_str(), "example.com");
    assert!(bare.to_domain().is_domain());
    assert_eq!(bare.to_domain().local(), None);
    assert_eq!(Jid::from(full.clone()).to_bare(), bare);
    assert_eq!(Jid::from(bare.clone()).as_str(), "juliet@example.com");
    assert_eq!(Jid::from(bare.clone()).try_into_full(), None);
    assert_eq!(Jid::from(full.clone()).try_into_bare(), None);
    assert_eq!(jid("example.com/x").to_bare().as_str(), "example.com");
    assert_eq!(jid("example.com/x").to_domain().as_str(), "example.com");
    assert!(jid("example.com").is_domain() && !jid("example.com/x").is_domain() && !jid("a@b").is_domain());
    assert!(jid("a@b").is_bare() && !jid("a@b").is_full() && jid("a@b/c").is_full());

    // A resource is put in place of another one, on what was cut from a longer address too.
    assert_eq!(full.bare().with_resource("garden").unwrap().as_str(), "juliet@example.com/garden");
    assert_eq!(Jid::from(full.clone()).with_resource("x\u{a0}y").unwrap().as_str(), "juliet@example.com/x y");
    assert_eq!(full.to_domain().with_resource("x").unwrap().as_str(), "example.com/x");
    assert_eq!(bare.with_resource(""), Err(JidError::Empty(JidPart::Resource)));
    assert_eq!(bare.with_resource("a\n"), Err(JidError::Character(JidPart::Resource, '\n')));

    assert_eq!("a@b/c".parse::<BareJid>(), Err(JidError::Unexpected(JidPart::Resource)));
    assert_eq!("a@b".parse::<FullJid>(), Err(JidError::Empty(JidPart::Resource)));
    assert_eq!("a@b".parse::<BareJid>().unwrap(), jid("a@b").to_bare());
}

/// Text that is given as one part is never cut into several.
#[test]
fn parts_that_hold_a_separator_are_refused() {
    assert_eq!(BareJid::new(Some("Juliet"), "Example.com.").unwrap().as_str(), "juliet@example.com");
    assert_eq!(BareJid::domain_jid("example.com").unwrap().as_str(), "example.com");
    assert_eq!(FullJid::new(None, "b", "a/@c").unwrap().as_str(), "b/a/@c");
    for (local, domain, expected) in [
        (Some(""), "b", JidError::Empty(JidPart::Local)),
        (Some("a"), "", JidError::Empty(JidPart::Domain)),
        (Some("a@b"), "c", JidError::Character(JidPart::Local, '@')),
        (Some("a/b"), "c", JidError::Character(JidPart::Local, '/')),
        (Some("a"), "b@c", JidError::DomainName),
        (Some("a"), "b/c", JidError::DomainName),
        (None, "a@b", JidError::DomainName),
        (None, "b/c", JidError::DomainName),
    ] {
        assert_eq!(BareJid::new(local, domain), Err(expected), "{local:?} {domain:?}");
    }
}

#[test]
fn addresses_are_small_and_share_their_text() {
    assert!(size_of::<Jid>() <= 24);
    assert_eq!(size_of::<Option<FullJid>>(), size_of::<FullJid>());

    let jid = jid("juliet@example.com/balcony");
    for shared in [&jid.to_bare().0.text, &jid.to_domain().0.text, &jid.clone().0.text] {
        assert!(Arc::ptr_eq(shared, &jid.0.text));
    }
}

#[test]
fn addresses_compare_hash_and_print_as_their_text() {
    let full = jid("juliet@example.com/balcony");
    let mut accounts = HashMap::from([(full.to_bare(), 1)]);
    assert_eq!(accounts.get("juliet@example.com"), Some(&1));
    assert_eq!(accounts.insert(jid("JULIET@example.com").to_bare(), 2), Some(1));
    assert_eq!(accounts.get("juliet@example.com/balcony"), None);

    let sorted = BTreeMap::from([(jid("b"), 1), (jid("a@b"), 2), (jid("a@b/x"), 3)]);
    assert_eq!(sorted.keys().map(Jid::as_str).collect::<Vec<_>>(), ["a@b", "a@b/x", "b"]);

    assert_eq!(full.to_string(), "juliet@example.com/balcony");
    assert_eq!(format!("{:>8}|", jid("a@b")), "     a@b|");
    assert_eq!(format!("{:?}", full.to_domain()), "BareJid(\"example.com\")");
    assert_eq!(error("a@b/").to_string(), "empty resourcepart");
    assert_eq!(error("a\u{200b}@b").to_string(), "'\\u{200b}' not allowed in the localpart");
}

/// Letters of many kinds: plain, mapped, composing, joining, right to left, separators and forbidden ones.
fn any_text() -> impl Strategy<Value = String> {
    let letters = "abAZ09-.@/ [%:\u{e4}\u{308}\u{df}\u{130}\u{1e9e}\u{3a3}\u{212b}\u{ff21}\u{ff20}\u{ff71}\u{ff9e}\
                   \u{3000}\u{3002}\u{5d0}\u{627}\u{644}\u{64e}\u{660}\u{6f0}\u{200c}\u{200d}\u{94d}\u{b7}l\u{30fb}\
                   \u{4e00}\u{1f98a}\u{fe0f}\u{2163}\u{1c5}\u{345}\u{1fb3}\u{ac00}\u{1100}\u{0}";
    let letters = letters.chars().collect::<Vec<_>>();
    prop_oneof![
        prop::collection::vec(prop::sample::select(letters), 0..8).prop_map(String::from_iter),
        prop::collection::vec(any::<char>(), 0..8).prop_map(String::from_iter),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn a_canonical_address_stays_as_it_is(text in any_text()) {
        if let Ok(first) = text.parse::<Jid>() {
            let again = jid(first.as_str());
            prop_assert_eq!(again.as_str(), first.as_str());
        }
    }

    #[test]
    fn an_address_is_its_parts(local in any_text(), domain in any_text(), resource in any_text()) {
        let text = format!("{local}@{domain}/{resource}");
        if let Ok(full) = FullJid::new(Some(&local), &domain, &resource) {
            prop_assert_eq!(&jid(&text), &Jid::from(full.clone()));
            let whole = format!("{}@{}/{}", full.local().unwrap(), full.domain(), full.resource());
            prop_assert_eq!(full.as_str(), whole);
            prop_assert_eq!(jid(&format!("{local}@{domain}")).to_bare(), full.bare());
            prop_assert_eq!(full.bare().with_resource(&resource).unwrap(), full);
        }
    }

    #[test]
    fn no_part_holds_a_separator_that_would_cut_it(text in any_text()) {
        if let Ok(jid) = text.parse::<Jid>() {
            prop_assert!(!jid.local().unwrap_or("x").contains(['@', '/', ' ', '"', '&', '\'', ':', '<', '>']));
            prop_assert!(!jid.domain().contains(['@', '/', ' ']));
            prop_assert!(!jid.domain().is_empty());
            prop_assert!(jid.resource().is_none_or(|resource| !resource.is_empty()));
        }
    }
}
