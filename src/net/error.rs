//! Why streams end.

use std::fmt;

use unisono_core::error::StreamCondition;
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_xml::{Element, XmlError};

use crate::negotiation::NS_TLS;

/// The namespace of application-specific conditions (XEP-0205 §4).
const NS_ERRORS: &str = "urn:xmpp:errors";

/// What a peer wrote, as far as a log should repeat it.
#[derive(Clone, PartialEq, Eq)]
pub struct Said(Box<str>);

/// Characters of what a peer wrote that go into a log line.
const SAID_CHARS_MAX: usize = 80;

impl Said {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.chars().take(SAID_CHARS_MAX).collect())
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a stream cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    #[error(transparent)]
    Xml(#[from] XmlError),
    #[error("stream in the namespace {0:?}")]
    StreamNamespace(Said),
    #[error("stream whose root is {0:?}")]
    Root(Said),
    #[error("content in the namespace {0:?}")]
    ContentNamespace(Said),
    #[error("version {0:?} of XMPP")]
    Version(Said),
    #[error("unknown host {0:?}")]
    UnknownHost(Said),
    #[error("another host after a restart")]
    ChangedHost,
    #[error("{0:?} instead of the sender's own address")]
    WrongFrom(Said),
    #[error("{0} before its time")]
    NotAuthorized(&'static str),
    #[error("unknown element {0:?}")]
    UnknownElement(Said),
    #[error("STARTTLS out of place")]
    StartTls,
    #[error("credentials outside of TLS")]
    SaslOutsideTls,
    #[error("{0} in the course of authentication")]
    SaslDisturbed(&'static str),
    #[error("cannot bind a resource: {}", .0.as_str())]
    NotBound(StreamCondition),
    #[error("too many attempts to {0}")]
    TooManyAttempts(&'static str),
    #[error("too slow to {0}")]
    TooSlow(&'static str),
    #[error("no sign of life")]
    Silent,
    #[error("{0}")]
    Overloaded(&'static str),
    #[error("the session has ended: {}", .0.as_str())]
    SessionEnded(StreamCondition),
    #[error("ended by an extension: {}", .0.as_str())]
    Extension(StreamCondition, Option<Element>),
    #[error("the server stops")]
    Shutdown,
    #[error("a handler has failed")]
    Internal,
}

impl StreamError {
    /// All that the peer learns; our own text stays in the log.
    pub fn condition(&self) -> StreamCondition {
        match self {
            Self::Xml(error) => match error {
                // RFC 6120 §11.3, rule 4
                XmlError::NotWellFormed(_) | XmlError::UndeclaredPrefix(_) => StreamCondition::NotWellFormed,
                XmlError::RestrictedXml(_) => StreamCondition::RestrictedXml,
                XmlError::UnsupportedEncoding => StreamCondition::UnsupportedEncoding,
                XmlError::InvalidXml(_) => StreamCondition::InvalidXml,
                XmlError::TooBig { .. } | XmlError::TooDeep { .. } | XmlError::TooMany { .. } => {
                    StreamCondition::PolicyViolation
                }
            },
            Self::StreamNamespace(_) | Self::ContentNamespace(_) => StreamCondition::InvalidNamespace,
            Self::Root(_) => StreamCondition::BadFormat,
            Self::Version(_) => StreamCondition::UnsupportedVersion,
            Self::UnknownHost(_) => StreamCondition::HostUnknown,
            Self::WrongFrom(_) => StreamCondition::InvalidFrom,
            Self::ChangedHost | Self::NotAuthorized(_) => StreamCondition::NotAuthorized,
            Self::UnknownElement(_) => StreamCondition::UnsupportedStanzaType,
            Self::StartTls
            | Self::SaslOutsideTls
            | Self::SaslDisturbed(_)
            | Self::TooManyAttempts(_)
            | Self::TooSlow(_) => StreamCondition::PolicyViolation,
            Self::Silent => StreamCondition::ConnectionTimeout,
            Self::Overloaded(_) => StreamCondition::ResourceConstraint,
            Self::NotBound(condition) | Self::SessionEnded(condition) | Self::Extension(condition, _) => {
                condition.clone()
            }
            Self::Shutdown => StreamCondition::SystemShutdown,
            Self::Internal => StreamCondition::InternalServerError,
        }
    }

    /// Whether it is the client that did wrong.
    pub(crate) fn is_theirs(&self) -> bool {
        match self {
            Self::SessionEnded(_)
            | Self::NotBound(_)
            | Self::Shutdown
            | Self::Internal
            | Self::Silent
            | Self::Overloaded(_) => false,
            Self::Xml(_)
            | Self::StreamNamespace(_)
            | Self::Root(_)
            | Self::ContentNamespace(_)
            | Self::Version(_)
            | Self::UnknownHost(_)
            | Self::ChangedHost
            | Self::WrongFrom(_)
            | Self::NotAuthorized(_)
            | Self::UnknownElement(_)
            | Self::StartTls
            | Self::SaslOutsideTls
            | Self::SaslDisturbed(_)
            | Self::TooManyAttempts(_)
            | Self::TooSlow(_)
            | Self::Extension(..) => true,
        }
    }

    /// Appends `<stream:error/>` and the end of the stream (RFC 6120 §4.9.1.1).
    pub(crate) fn write_into(&self, out: &mut Vec<u8>) {
        if *self == Self::StartTls {
            // §5.4.2.2 wants this in the place of a stream error.
            Element::new("failure", NS_TLS).write_into(out, &CLIENT_SCOPE);
            return out.extend_from_slice(CLOSE);
        }
        let application = match self {
            Self::Extension(_, application) => application.clone(),
            Self::Xml(XmlError::TooBig { .. }) => Some(Element::new("stanza-too-big", NS_ERRORS)),
            _ => None,
        };
        self.condition().to_element_with(None, application).write_into(out, &CLIENT_SCOPE);
        out.extend_from_slice(CLOSE);
    }
}

/// The end of a stream.
pub(crate) const CLOSE: &[u8] = b"</stream:stream>";
