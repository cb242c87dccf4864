#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use unisono_xml::{Element, Limits, Scope};

use super::*;
use crate::stanza::CLIENT_SCOPE;

fn element(text: &str) -> Element {
    Element::parse(text, &CLIENT_SCOPE, &Limits::default()).unwrap()
}

fn parsed(text: &str) -> StanzaError {
    StanzaError::parse(&element(text)).unwrap()
}

/// The sections of RFC 6120 §8.3.3 in their order, with the type that each recommends.
#[test]
fn every_condition_of_stanzas_has_its_name_and_type() {
    use ErrorType::{Auth, Cancel, Modify, Wait};

    let rows = [
        ("bad-request", Modify),             // §8.3.3.1
        ("conflict", Cancel),                // §8.3.3.2
        ("feature-not-implemented", Cancel), // §8.3.3.3, or modify
        ("forbidden", Auth),                 // §8.3.3.4
        ("gone", Cancel),                    // §8.3.3.5
        ("internal-server-error", Cancel),   // §8.3.3.6
        ("item-not-found", Cancel),          // §8.3.3.7
        ("jid-malformed", Modify),           // §8.3.3.8
        ("not-acceptable", Modify),          // §8.3.3.9
        ("not-allowed", Cancel),             // §8.3.3.10
        ("not-authorized", Auth),            // §8.3.3.11
        ("policy-violation", Modify),        // §8.3.3.12, or wait
        ("recipient-unavailable", Wait),     // §8.3.3.13
        ("redirect", Modify),                // §8.3.3.14
        ("registration-required", Auth),     // §8.3.3.15
        ("remote-server-not-found", Cancel), // §8.3.3.16
        ("remote-server-timeout", Wait),     // §8.3.3.17
        ("resource-constraint", Wait),       // §8.3.3.18
        ("service-unavailable", Cancel),     // §8.3.3.19
        ("subscription-required", Auth),     // §8.3.3.20
        ("undefined-condition", Cancel),     // §8.3.3.21, any
        ("unexpected-request", Wait),        // §8.3.3.22, or modify
    ];
    assert_eq!(Condition::ALL.map(|condition| condition.as_str()), rows.map(|(name, _)| name));
    for (condition, (name, kind)) in Condition::ALL.into_iter().zip(rows) {
        let error = StanzaError::new(condition);
        assert_eq!(error.kind, kind, "{name}");
        let text = format!("<error type='{}'><{name} xmlns='{NS_STANZAS}'/></error>", kind.as_str());
        assert_eq!(error.to_element(), element(&text), "{name}");
        assert_eq!(parsed(&text), error, "{name}");
    }
}

/// The sections of RFC 6120 §4.9.3 in their order.
#[test]
fn every_condition_of_streams_has_its_name() {
    let names = [
        "bad-format",               // §4.9.3.1
        "bad-namespace-prefix",     // §4.9.3.2
        "conflict",                 // §4.9.3.3
        "connection-timeout",       // §4.9.3.4
        "host-gone",                // §4.9.3.5
        "host-unknown",             // §4.9.3.6
        "improper-addressing",      // §4.9.3.7
        "internal-server-error",    // §4.9.3.8
        "invalid-from",             // §4.9.3.9
        "invalid-namespace",        // §4.9.3.10
        "invalid-xml",              // §4.9.3.11
        "not-authorized",           // §4.9.3.12
        "not-well-formed",          // §4.9.3.13
        "policy-violation",         // §4.9.3.14
        "remote-connection-failed", // §4.9.3.15
        "reset",                    // §4.9.3.16
        "resource-constraint",      // §4.9.3.17
        "restricted-xml",           // §4.9.3.18
        "see-other-host",           // §4.9.3.19
        "system-shutdown",          // §4.9.3.20
        "undefined-condition",      // §4.9.3.21
        "unsupported-encoding",     // §4.9.3.22
        "unsupported-feature",      // §4.9.3.23
        "unsupported-stanza-type",  // §4.9.3.24
        "unsupported-version",      // §4.9.3.25
    ];
    assert_eq!(StreamCondition::ALL.map(|condition| condition.as_str()), names);
    for (condition, name) in StreamCondition::ALL.into_iter().zip(names) {
        let text = format!("<stream:error><{name} xmlns='{NS_STREAMS_ERRORS}'/></stream:error>");
        assert_eq!(condition.to_element(None), element(&text), "{name}");
        assert_eq!(StreamCondition::parse(&element(&text)), Some(condition), "{name}");
    }
}

#[test]
fn a_stanza_error_is_written_with_all_that_it_has() {
    let error = StanzaError::new(Condition::Gone(Some("xmpp:romeo@afterlife.example.net".into())))
        .with_type(ErrorType::Modify)
        .with_by("example.net".parse::<crate::jid::Jid>().unwrap())
        .with_text("moved & gone")
        .with_application(Element::new("app", "urn:example"));
    let text = "<error by='example.net' type='modify'>\
        <gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:romeo@afterlife.example.net</gone>\
        <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>moved &amp; gone</text>\
        <app xmlns='urn:example'/></error>";
    assert_eq!(error.to_element().to_string_in(&CLIENT_SCOPE), text);
    assert_eq!(parsed(text), error);
    assert_eq!(error.to_string(), "gone: moved & gone");
    assert_eq!(StanzaError::from(Condition::Conflict).to_string(), "conflict");
}

#[test]
fn a_stream_error_is_written_with_all_that_it_has() {
    let application = Element::new("stanza-too-big", "urn:xmpp:errors"); // §4.9.3.14
    let written = StreamCondition::PolicyViolation.to_element_with(Some("a < b"), Some(application));
    let text = "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
        <text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>a &lt; b</text>\
        <stanza-too-big xmlns='urn:xmpp:errors'/></stream:error>";
    assert_eq!(written.to_string_in(&CLIENT_SCOPE), text);

    let host = StreamCondition::SeeOtherHost("[2001:41d0:1:a49b::1]:9222".into()); // §4.9.3.19
    let text = "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>\
        [2001:41d0:1:a49b::1]:9222</see-other-host></stream:error>";
    assert_eq!(host.to_element(None).to_string_in(&CLIENT_SCOPE), text);
    assert_eq!(StreamCondition::parse(&element(text)), Some(host));
}

/// A peer's error is understood as far as it can be (§8.3.2, §8.3.4): nobody can be told of an error in it.
#[test]
fn odd_errors_of_peers_are_read_leniently() {
    let new = StanzaError::new;
    for (text, expected) in [
        ("<error/>", new(Condition::UndefinedCondition)),
        ("<error type='wait'/>", new(Condition::UndefinedCondition).with_type(ErrorType::Wait)),
        ("<error code='404'/>", new(Condition::UndefinedCondition)), // before RFC 3920
        ("<error type='continue'/>", new(Condition::UndefinedCondition).with_type(ErrorType::Continue)),
        // An unknown condition, an unknown type, none, an unusable `by`.
        (
            "<error type='cancel'><of-tomorrow xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
            new(Condition::UndefinedCondition),
        ),
        (
            "<error type='Cancel'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
            new(Condition::Forbidden),
        ),
        (
            "<error by='@'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
            new(Condition::Conflict),
        ),
        // Order does not matter, and the first condition counts.
        (
            "<error type='auth'><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>t</text><a xmlns='urn:a'/>\
             <forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
             <conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><b xmlns='urn:b'/></error>",
            new(Condition::Forbidden).with_text("t").with_application(Element::new("a", "urn:a")),
        ),
        // The condition of an extension is none of ours, whatever its name.
        (
            "<error type='cancel'><conflict xmlns='urn:a'/></error>",
            new(Condition::UndefinedCondition).with_application(Element::new("conflict", "urn:a")),
        ),
        // The address as the RFC prints it, and none.
        (
            "<error type='modify'><redirect xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>\n  xmpp:a@b\n</redirect>\
             </error>",
            new(Condition::Redirect(Some("xmpp:a@b".into()))),
        ),
        (
            "<error type='modify'><redirect xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'> </redirect></error>",
            new(Condition::Redirect(None)),
        ),
        ("<error xmlns='jabber:server'/>", new(Condition::UndefinedCondition)),
    ] {
        assert_eq!(parsed(text), expected, "{text}");
    }
    assert_eq!(StanzaError::parse(&element("<body/>")), None);
}

#[test]
fn odd_stream_errors_of_peers_are_read_leniently() {
    for (text, expected) in [
        ("<stream:error/>", Some(StreamCondition::UndefinedCondition)),
        (
            "<stream:error><of-tomorrow xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
            Some(StreamCondition::UndefinedCondition),
        ),
        (
            "<stream:error><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>t</text>\
             <reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
            Some(StreamCondition::Reset),
        ),
        ("<stream:error><reset xmlns='urn:a'/></stream:error>", Some(StreamCondition::UndefinedCondition)),
        ("<error/>", None), // of a stanza
        ("<stream:features/>", None),
    ] {
        assert_eq!(StreamCondition::parse(&element(text)), expected, "{text}");
    }
}

#[test]
fn an_error_can_stand_in_any_scope() {
    let written = StanzaError::new(Condition::ItemNotFound).to_element();
    assert_eq!(
        written.to_string_in(&Scope::EMPTY),
        "<error xmlns='jabber:client' type='cancel'>\
         <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    );
    assert!(size_of::<StanzaError>() <= 128, "an Err of it is a large one");
}
