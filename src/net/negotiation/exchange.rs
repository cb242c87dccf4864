//! SASL in the elements of RFC 6120 §6.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use unisono_core::jid::BareJid;
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_xml::{Element, ElementBuilder};

use super::NS_SASL;
use crate::sasl::{Account, SaslFailure};

impl Account for BareJid {
    fn parse(local: &str, domain: &str) -> Option<Self> {
        Self::new(Some(local), domain).ok()
    }
}

/// What a client says in the course of an exchange.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// `<auth/>`; the data if it came with an initial response.
    Begin { mechanism: String, data: Option<Vec<u8>> },
    /// `<response/>`.
    Respond(Vec<u8>),
    /// `<abort/>`.
    Abort,
}

impl Message {
    /// Reads an element in the namespace of SASL. `None` for one that no client sends, and a failure where its data are
    /// not base64 (§6.5.5).
    pub(super) fn read(element: &Element) -> Option<Result<Self, SaslFailure>> {
        Some(match element.name() {
            "auth" => data(element).map(|data| Self::Begin {
                mechanism: element.attr("mechanism").unwrap_or_default().to_owned(),
                data,
            }),
            "response" => data(element).map(|data| Self::Respond(data.unwrap_or_default())),
            "abort" => Ok(Self::Abort),
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

/// `<challenge/>` (§6.4.3).
pub(super) fn write_challenge(out: &mut Vec<u8>, data: &[u8]) {
    write(out, Element::builder("challenge", NS_SASL).text(STANDARD.encode(data)));
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

/// `<failure/>` (§6.4.5).
pub(super) fn write_failure(out: &mut Vec<u8>, failure: SaslFailure) {
    write(out, Element::builder("failure", NS_SASL).child(Element::new(failure.as_str(), NS_SASL)));
}

fn write(out: &mut Vec<u8>, element: ElementBuilder) {
    element.build().write_into(out, &CLIENT_SCOPE);
}
