//! What a client may send on a bound stream (RFC 6120 §4.8 and §8.1).

use compact_str::CompactString;
use unisono_core::jid::{FullJid, Jid};
use unisono_core::stanza::{NS_CLIENT, NS_STREAMS};
use unisono_xml::{Element, XML_NS};

use crate::error::{Said, StreamError};

/// What a first-level element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Message, presence or iq, from the client itself.
    Stanza,
    /// An element of another namespace, which some extension may know.
    Nonza,
    /// The client's own stream error.
    Error,
}

/// Tells what an element is, and refuses what cannot be on the stream of `own`.
pub(super) fn classify(element: &Element, own: &FullJid) -> Result<Kind, StreamError> {
    let is_stanza = matches!(element.name(), "message" | "presence" | "iq");
    match element.ns() {
        NS_CLIENT if is_stanza => {
            check_from(element, own)?;
            Ok(Kind::Stanza)
        }
        // §4.9.3.24
        NS_CLIENT => Err(StreamError::UnknownElement(Said::new(element.name()))),
        NS_STREAMS if element.name() == "error" => Ok(Kind::Error),
        // §4.8.3: a stanza in a content namespace that this stream does not have.
        other if is_stanza => Err(StreamError::ContentNamespace(Said::new(other))),
        _ => Ok(Kind::Nonza),
    }
}

/// §8.1.2.1: a client says nothing, or its own address, bare or full.
fn check_from(element: &Element, own: &FullJid) -> Result<(), StreamError> {
    let Some(from) = element.attr("from") else { return Ok(()) };
    if from == own.as_str() {
        return Ok(());
    }
    let is_own = |from: &Jid| from.as_str() == own.as_str() || from.as_str() == own.bare().as_str();
    if from.parse().is_ok_and(|from| is_own(&from)) {
        return Ok(());
    }
    Err(StreamError::WrongFrom(Said::new(from)))
}

/// §4.7.4: whoever gets the stanza has another stream, so that the language of this one goes into it.
pub(super) fn in_language(element: Element, lang: Option<&CompactString>) -> Element {
    match lang {
        Some(lang) if element.name() != "iq" && element.attr_ns(XML_NS, "lang").is_none() => {
            element.to_builder().attr_ns(XML_NS, "lang", lang.clone()).build()
        }
        _ => element,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use unisono_core::error::StreamCondition;
    use unisono_core::stanza::CLIENT_SCOPE;
    use unisono_xml::Limits;

    use super::*;

    fn element(text: &str) -> Element {
        Element::parse(text, &CLIENT_SCOPE, &Limits::default()).unwrap()
    }

    fn own() -> FullJid {
        "juliet@example.org/balcony".parse().unwrap()
    }

    #[test]
    fn what_belongs_on_the_stream_is_taken() {
        for (text, want) in [
            ("<message/>", Kind::Stanza),
            ("<presence/>", Kind::Stanza),
            ("<iq type='get' id='1'/>", Kind::Stanza),
            ("<x:message xmlns:x='jabber:client'/>", Kind::Stanza),
            ("<message from='juliet@example.org/balcony'/>", Kind::Stanza), // §8.1.2.1
            ("<message from='juliet@example.org'/>", Kind::Stanza),
            ("<message from='JULIET@Example.ORG/balcony'/>", Kind::Stanza), // another spelling of the same
            ("<r xmlns='urn:xmpp:sm:3'/>", Kind::Nonza),
            ("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", Kind::Nonza),
            ("<stream:error/>", Kind::Error),
            ("<stream:features/>", Kind::Nonza), // which no extension knows
        ] {
            assert_eq!(classify(&element(text), &own()), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_does_not_ends_the_stream() {
        for (text, want) in [
            ("<message from='romeo@example.org'/>", StreamCondition::InvalidFrom), // §4.9.3.9
            ("<message from='romeo@example.org/balcony'/>", StreamCondition::InvalidFrom),
            ("<message from='juliet@example.org/garden'/>", StreamCondition::InvalidFrom), // another device
            ("<message from='juliet@example.org/Balcony'/>", StreamCondition::InvalidFrom), // case matters here
            ("<message from='juliet@example.net/balcony'/>", StreamCondition::InvalidFrom),
            ("<presence from='example.org'/>", StreamCondition::InvalidFrom),
            ("<iq from=''/>", StreamCondition::InvalidFrom),
            ("<iq from='juliet@example.org/'/>", StreamCondition::InvalidFrom),
            ("<iq from='@'/>", StreamCondition::InvalidFrom),
            ("<pubsub/>", StreamCondition::UnsupportedStanzaType), // §4.9.3.24
            ("<Message/>", StreamCondition::UnsupportedStanzaType),
            ("<error/>", StreamCondition::UnsupportedStanzaType),
            ("<message xmlns='jabber:server'/>", StreamCondition::InvalidNamespace), // §4.8.3
            ("<iq xmlns=''/>", StreamCondition::InvalidNamespace),
            ("<presence xmlns='urn:example'/>", StreamCondition::InvalidNamespace),
            ("<stream:message/>", StreamCondition::InvalidNamespace),
        ] {
            assert_eq!(classify(&element(text), &own()).unwrap_err().condition(), want, "{text}");
        }
    }

    #[test]
    fn the_language_of_the_stream_goes_with_the_stanza() {
        let lang = CompactString::from("de");
        for (text, want) in [
            ("<message/>", Some("de")),
            ("<presence/>", Some("de")),
            ("<message xml:lang='fr'/>", Some("fr")),
            ("<message xml:lang=''/>", Some("")), // said on purpose
            ("<iq/>", None),                      // nothing that people read
        ] {
            assert_eq!(in_language(element(text), Some(&lang)).attr_ns(XML_NS, "lang"), want, "{text}");
        }
        assert_eq!(in_language(element("<message/>"), None), element("<message/>"));
    }
}
