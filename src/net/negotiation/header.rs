//! Stream headers (RFC 6120 §4.7 and §4.8).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use compact_str::CompactString;
use unisono_core::clock::Random;
use unisono_core::jid::{BareJid, Jid};
use unisono_core::stanza::{NS_CLIENT, NS_STREAMS};
use unisono_xml::{StreamHeader, XML_NS, escape_attr_into};

use crate::error::{Said, StreamError};

/// What a client's header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The domain that the stream is for; none if the header does not say.
    pub(super) to: Option<BareJid>,
    /// The account that the client says it will use.
    pub(super) from: Option<BareJid>,
    /// The language of what the client sends, where it does not say otherwise.
    pub(super) lang: Option<CompactString>,
}

/// The account that a header names, whatever else is wrong with it.
pub(super) fn sender(header: &StreamHeader) -> Option<BareJid> {
    header.element().attr("from").and_then(|from| read_from(from).ok())
}

impl Header {
    /// Reads a header for one of `domains`.
    pub(super) fn read(header: &StreamHeader, domains: &[BareJid]) -> Result<Self, StreamError> {
        let root = header.element();
        if root.ns() != NS_STREAMS {
            return Err(StreamError::StreamNamespace(Said::new(root.ns()))); // §4.8.1
        }
        if root.name() != "stream" {
            return Err(StreamError::Root(Said::new(root.name())));
        }
        // §4.8.2: the content namespace, or none at all where every stanza names its own.
        let default_ns = header.default_ns();
        if ![NS_CLIENT, NS_STREAMS, ""].contains(&default_ns) {
            return Err(StreamError::ContentNamespace(Said::new(default_ns)));
        }
        check_version(root.attr("version").unwrap_or_default())?;
        let lang = root.attr_ns(XML_NS, "lang").filter(|lang| is_language(lang));
        Ok(Self {
            to: root.attr("to").map(|to| read_to(to, domains)).transpose()?,
            from: root.attr("from").map(read_from).transpose()?,
            lang: lang.map(CompactString::from),
        })
    }
}

/// §4.7.5: the numbers are compared as numbers. We speak 1.0, and so does everyone from 1.0 on.
fn check_version(version: &str) -> Result<(), StreamError> {
    let is_number =
        |text: &str| !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    match version.split_once('.') {
        Some((major, minor)) if is_number(major) && is_number(minor) && major.bytes().any(|b| b != b'0') => {
            Ok(())
        }
        _ => Err(StreamError::Version(Said::new(version))),
    }
}

/// §4.9.3.6: the domain must be one of ours, with nothing around it.
fn read_to(to: &str, domains: &[BareJid]) -> Result<BareJid, StreamError> {
    let unknown = || StreamError::UnknownHost(Said::new(to));
    let jid: BareJid = to.parse().map_err(|_| unknown())?;
    domains.iter().find(|domain| **domain == jid).cloned().ok_or_else(unknown)
}

/// §4.7.1: a bare address. Some clients add their resource; it says nothing here.
fn read_from(from: &str) -> Result<BareJid, StreamError> {
    from.parse().map(|jid: Jid| jid.to_bare()).map_err(|_| StreamError::WrongFrom(Said::new(from)))
}

/// Whether this can be a language of RFC 5646: it is passed on with every stanza.
fn is_language(text: &str) -> bool {
    !text.is_empty() && text.len() <= 35 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Appends the header of a new stream (§4.7). Its language is that of our own texts: English, whatever the client
/// prefers (§4.7.4, the third rule).
pub(super) fn write(out: &mut Vec<u8>, random: &dyn Random, from: &str, to: Option<&BareJid>) {
    let mut id = [0; 18];
    random.fill(&mut id);
    out.extend_from_slice(b"<?xml version='1.0'?><stream:stream xmlns='jabber:client'");
    let id = URL_SAFE_NO_PAD.encode(id);
    let attributes = [
        ("xmlns:stream", Some(NS_STREAMS)),
        ("id", Some(id.as_str())),
        ("from", Some(from)),
        ("to", to.map(BareJid::as_str)),
        ("version", Some("1.0")),
        ("xml:lang", Some("en")),
    ];
    for (name, value) in attributes {
        if let Some(value) = value {
            out.push(b' ');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"='");
            escape_attr_into(out, value);
            out.push(b'\'');
        }
    }
    out.push(b'>');
}
