//! Stream errors (RFC 6120 §4.9): the last words before a stream ends.

use compact_str::CompactString;
use unisono_xml::{Element, ElementBuilder, XML_NS};

use super::{NS_STREAMS_ERRORS, TEXT_LANG};
use crate::stanza::NS_STREAMS;

/// Why a stream ends: the conditions of RFC 6120 §4.9.3, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamCondition {
    /// XML that cannot be processed; the more exact conditions are better.
    BadFormat,
    /// A prefix that is unsupported, or missing.
    BadNamespacePrefix,
    /// A newer stream takes the place of this one, or this one would take another's.
    Conflict,
    /// The peer no longer answers.
    ConnectionTimeout,
    /// The domain is served here no longer.
    HostGone,
    /// The domain is not served here.
    HostUnknown,
    /// A stanza between servers without valid `to` and `from`.
    ImproperAddressing,
    /// We failed.
    InternalServerError,
    /// A `from` that is not the authenticated one.
    InvalidFrom,
    /// The namespace of the stream, or of its content, is another one.
    InvalidNamespace,
    /// XML that its schema does not allow.
    InvalidXml,
    /// Something before authentication that needs it.
    NotAuthorized,
    /// XML that is not well-formed, with or without namespaces.
    NotWellFormed,
    /// A policy of this server forbids it, for instance a limit.
    PolicyViolation,
    /// A remote entity that is needed to authenticate cannot be reached.
    RemoteConnectionFailed,
    /// The stream is to be negotiated anew.
    Reset,
    /// We lack the resources for this stream.
    ResourceConstraint,
    /// A comment, processing instruction, DTD or entity (§11.1).
    RestrictedXml,
    /// Another host serves: `domainpart` or `domainpart:port`.
    SeeOtherHost(CompactString),
    /// The server stops.
    SystemShutdown,
    /// See the application's own condition.
    UndefinedCondition,
    /// An encoding other than UTF-8.
    UnsupportedEncoding,
    /// A mandatory feature that we do not know.
    UnsupportedFeature,
    /// A first-level element that is no stanza and nothing else that is known.
    UnsupportedStanzaType,
    /// Another major version of XMPP.
    UnsupportedVersion,
}

impl StreamCondition {
    /// All of them, in the order of RFC 6120 §4.9.3.
    pub const ALL: [Self; 25] = [
        Self::BadFormat,
        Self::BadNamespacePrefix,
        Self::Conflict,
        Self::ConnectionTimeout,
        Self::HostGone,
        Self::HostUnknown,
        Self::ImproperAddressing,
        Self::InternalServerError,
        Self::InvalidFrom,
        Self::InvalidNamespace,
        Self::InvalidXml,
        Self::NotAuthorized,
        Self::NotWellFormed,
        Self::PolicyViolation,
        Self::RemoteConnectionFailed,
        Self::Reset,
        Self::ResourceConstraint,
        Self::RestrictedXml,
        Self::SeeOtherHost(CompactString::const_new("")),
        Self::SystemShutdown,
        Self::UndefinedCondition,
        Self::UnsupportedEncoding,
        Self::UnsupportedFeature,
        Self::UnsupportedStanzaType,
        Self::UnsupportedVersion,
    ];

    /// The name of the element.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::BadFormat => "bad-format",
            Self::BadNamespacePrefix => "bad-namespace-prefix",
            Self::Conflict => "conflict",
            Self::ConnectionTimeout => "connection-timeout",
            Self::HostGone => "host-gone",
            Self::HostUnknown => "host-unknown",
            Self::ImproperAddressing => "improper-addressing",
            Self::InternalServerError => "internal-server-error",
            Self::InvalidFrom => "invalid-from",
            Self::InvalidNamespace => "invalid-namespace",
            Self::InvalidXml => "invalid-xml",
            Self::NotAuthorized => "not-authorized",
            Self::NotWellFormed => "not-well-formed",
            Self::PolicyViolation => "policy-violation",
            Self::RemoteConnectionFailed => "remote-connection-failed",
            Self::Reset => "reset",
            Self::ResourceConstraint => "resource-constraint",
            Self::RestrictedXml => "restricted-xml",
            Self::SeeOtherHost(_) => "see-other-host",
            Self::SystemShutdown => "system-shutdown",
            Self::UndefinedCondition => "undefined-condition",
            Self::UnsupportedEncoding => "unsupported-encoding",
            Self::UnsupportedFeature => "unsupported-feature",
            Self::UnsupportedStanzaType => "unsupported-stanza-type",
            Self::UnsupportedVersion => "unsupported-version",
        }
    }

    /// `<error/>` in the namespace of streams, with a text in English for the developer at the other end.
    pub fn to_element(&self, text: Option<&str>) -> Element {
        self.to_element_with(text, None)
    }

    /// The same with the condition in the terms of an extension (§4.9.4).
    pub fn to_element_with(&self, text: Option<&str>, application: Option<Element>) -> Element {
        let condition = streams(self.as_str());
        let condition = match self {
            Self::SeeOtherHost(host) => condition.text(host.clone()),
            _ => condition,
        };
        let text = text.map(|text| {
            streams("text").attr_ns(CompactString::const_new(XML_NS), "lang", TEXT_LANG).text(text).build()
        });
        Element::builder(CompactString::const_new("error"), CompactString::const_new(NS_STREAMS))
            .child(condition.build())
            .child_opt(text)
            .child_opt(application)
            .build()
    }

    /// Reads the stream error of a peer; `None` for any other element. An unknown or missing condition
    /// counts as `undefined-condition` (§4.9.2).
    pub fn parse(element: &Element) -> Option<Self> {
        element.is("error", NS_STREAMS).then_some(())?;
        let child =
            element.children().find(|child| child.ns() == NS_STREAMS_ERRORS && child.name() != "text");
        let Some(child) = child else { return Some(Self::UndefinedCondition) };
        Some(match Self::ALL.into_iter().find(|condition| condition.as_str() == child.name()) {
            Some(Self::SeeOtherHost(_)) => Self::SeeOtherHost(CompactString::from(child.text().trim())),
            Some(condition) => condition,
            None => Self::UndefinedCondition,
        })
    }
}

fn streams(name: &'static str) -> ElementBuilder {
    Element::builder(CompactString::const_new(name), CompactString::const_new(NS_STREAMS_ERRORS))
}
