//! SASL in the elements of RFC 6120 §6, and in those of XEP-0388.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use unisono_core::jid::BareJid;
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_xml::{Element, ElementBuilder};

use super::{NS_SASL, NS_SASL2};
use crate::sasl::{Account, SaslFailure};

impl Account for BareJid {
    fn parse(local: &str, domain: &str) -> Option<Self> {
        Self::new(Some(local), domain).ok()
    }
}

/// How the messages of SASL are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// RFC 6120 §6.
    Plain,
    /// XEP-0388.
    Extensible,
}

impl Profile {
    /// The profile whose elements are in this namespace.
    pub(super) fn of(ns: &str) -> Option<Self> {
        [Self::Plain, Self::Extensible].into_iter().find(|profile| profile.ns() == ns)
    }

    fn ns(self) -> &'static str {
        match self {
            Self::Plain => NS_SASL,
            Self::Extensible => NS_SASL2,
        }
    }
}

/// What a client says in the course of an exchange.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// `<auth/>` or `<authenticate/>`; the data if it came with an initial response.
    Begin { mechanism: String, data: Option<Vec<u8>> },
    /// `<response/>`.
    Respond(Vec<u8>),
    /// `<abort/>`.
    Abort,
}

impl Message {
    /// Reads an element in the namespace of a profile. `None` for one that no client sends, and a failure where its data
    /// are not base64 (§6.5.5).
    pub(super) fn read(profile: Profile, element: &Element) -> Option<Result<Self, SaslFailure>> {
        let begin =
            |data| Self::Begin { mechanism: element.attr("mechanism").unwrap_or_default().to_owned(), data };
        Some(match (profile, element.name()) {
            (Profile::Plain, "auth") => data(element).map(begin),
            (Profile::Plain, "response") => data(element).map(|data| Self::Respond(data.unwrap_or_default())),
            (Profile::Extensible, "authenticate") => {
                let response = element.child("initial-response", NS_SASL2);
                response.map(decoded).transpose().map(begin)
            }
            (Profile::Extensible, "response") => decoded(element).map(Self::Respond),
            (_, "abort") => Ok(Self::Abort),
            _ => return None,
        })
    }
}

/// §6.4.2: no text is no data, `=` is data without a byte. §6.3.5: no white space, no line breaks.
fn data(element: &Element) -> Result<Option<Vec<u8>>, SaslFailure> {
    match element.text().as_ref() {
        _ if element.first_child().is_some() => Err(SaslFailure::IncorrectEncoding),
        "" => Ok(None),
        "=" => Ok(Some(Vec::new())),
        text => STANDARD.decode(text).map(Some).map_err(|_| SaslFailure::IncorrectEncoding),
    }
}

/// XEP-0388 §2.2: no text is data without a byte. White space around it, as in the examples, is only discouraged.
fn decoded(element: &Element) -> Result<Vec<u8>, SaslFailure> {
    if element.first_child().is_some() {
        return Err(SaslFailure::IncorrectEncoding);
    }
    STANDARD.decode(element.text().trim_ascii()).map_err(|_| SaslFailure::IncorrectEncoding)
}

/// `<challenge/>` (§6.4.3, XEP-0388 §2.5).
pub(super) fn write_challenge(out: &mut Vec<u8>, profile: Profile, data: &[u8]) {
    write(out, Element::builder("challenge", profile.ns()).text(STANDARD.encode(data)));
}

/// `<success/>` (§6.4.6), with data if the mechanism has any.
pub(super) fn write_success(out: &mut Vec<u8>, data: Option<&[u8]>) {
    let success = Element::builder("success", NS_SASL);
    write(
        out,
        match data {
            None => success,
            Some([]) => success.text("="),
            Some(data) => success.text(STANDARD.encode(data)),
        },
    );
}

/// `<success/>` (XEP-0388 §2.6.1): who the client is now, and what came of all that it asked for.
pub(super) fn write_extensible_success(
    out: &mut Vec<u8>,
    data: Option<&[u8]>,
    identity: &str,
    results: impl IntoIterator<Item = Element>,
) {
    let data =
        data.map(|data| Element::builder("additional-data", NS_SASL2).text(STANDARD.encode(data)).build());
    let identity = Element::builder("authorization-identifier", NS_SASL2).text(identity).build();
    let success = Element::builder("success", NS_SASL2).child_opt(data).child(identity);
    write(out, success.children(results));
}

/// `<failure/>` (§6.4.5, XEP-0388 §2.6.2), with what is specific to an application.
pub(super) fn write_failure(
    out: &mut Vec<u8>,
    profile: Profile,
    failure: SaslFailure,
    reason: Option<Element>,
) {
    let condition = Element::new(failure.as_str(), NS_SASL);
    write(out, Element::builder("failure", profile.ns()).child(condition).child_opt(reason));
}

fn write(out: &mut Vec<u8>, element: ElementBuilder) {
    element.build().write_into(out, &CLIENT_SCOPE);
}
