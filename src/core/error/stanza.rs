//! Stanza errors (RFC 6120 §8.3): the answer to a request that is wrong or cannot be met.

use std::{borrow::Cow, fmt};

use compact_str::CompactString;
use unisono_xml::{Element, ElementBuilder, XML_NS};

use super::{NS_STANZAS, TEXT_LANG};
use crate::{jid::Jid, stanza::NS_CLIENT};

/// What the sender may do about an error (RFC 6120 §8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// Try again with credentials.
    Auth,
    /// Do not try again.
    Cancel,
    /// Go on: it was only a warning.
    Continue,
    /// Try again with other data.
    Modify,
    /// Try again later.
    Wait,
}

impl ErrorType {
    /// The value of the attribute `type` of `<error/>`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Cancel => "cancel",
            Self::Continue => "continue",
            Self::Modify => "modify",
            Self::Wait => "wait",
        }
    }

    /// Reads the attribute `type` of `<error/>`.
    pub fn parse(value: &str) -> Option<Self> {
        [Self::Auth, Self::Cancel, Self::Continue, Self::Modify, Self::Wait]
            .into_iter()
            .find(|kind| kind.as_str() == value)
    }
}

/// What is wrong: the conditions of RFC 6120 §8.3.3, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The stanza violates the syntax of its namespace.
    BadRequest,
    /// Something of that name exists.
    Conflict,
    /// The namespace is known, but not this part of it.
    FeatureNotImplemented,
    /// The sender lacks the right to do it.
    Forbidden,
    /// The address is given up for good; the URI of the new one, if there is one.
    Gone(Option<CompactString>),
    /// We failed.
    InternalServerError,
    /// There is no such address or item, and the sender may know it (see the warning of §8.3.3.7).
    ItemNotFound,
    /// A string is no address.
    JidMalformed,
    /// The request does not meet the recipient's criteria.
    NotAcceptable,
    /// Nobody may do this.
    NotAllowed,
    /// Credentials are missing or wrong.
    NotAuthorized,
    /// A policy of this server forbids it.
    PolicyViolation,
    /// The recipient is away, and the sender may know it (see the warning of §8.3.3.13).
    RecipientUnavailable,
    /// Another entity answers this for now: its URI.
    Redirect(Option<CompactString>),
    /// The sender must register first.
    RegistrationRequired,
    /// The other server does not exist.
    RemoteServerNotFound,
    /// The other server does not answer.
    RemoteServerTimeout,
    /// We lack the resources now.
    ResourceConstraint,
    /// The recipient does not offer this, or its existence is nobody's business.
    ServiceUnavailable,
    /// The sender must subscribe first.
    SubscriptionRequired,
    /// See the application's own condition.
    UndefinedCondition,
    /// Not now: the request is out of order.
    UnexpectedRequest,
}

impl Condition {
    /// All of them, in the order of RFC 6120 §8.3.3.
    pub const ALL: [Self; 22] = [
        Self::BadRequest,
        Self::Conflict,
        Self::FeatureNotImplemented,
        Self::Forbidden,
        Self::Gone(None),
        Self::InternalServerError,
        Self::ItemNotFound,
        Self::JidMalformed,
        Self::NotAcceptable,
        Self::NotAllowed,
        Self::NotAuthorized,
        Self::PolicyViolation,
        Self::RecipientUnavailable,
        Self::Redirect(None),
        Self::RegistrationRequired,
        Self::RemoteServerNotFound,
        Self::RemoteServerTimeout,
        Self::ResourceConstraint,
        Self::ServiceUnavailable,
        Self::SubscriptionRequired,
        Self::UndefinedCondition,
        Self::UnexpectedRequest,
    ];

    /// The name of the element.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::Conflict => "conflict",
            Self::FeatureNotImplemented => "feature-not-implemented",
            Self::Forbidden => "forbidden",
            Self::Gone(_) => "gone",
            Self::InternalServerError => "internal-server-error",
            Self::ItemNotFound => "item-not-found",
            Self::JidMalformed => "jid-malformed",
            Self::NotAcceptable => "not-acceptable",
            Self::NotAllowed => "not-allowed",
            Self::NotAuthorized => "not-authorized",
            Self::PolicyViolation => "policy-violation",
            Self::RecipientUnavailable => "recipient-unavailable",
            Self::Redirect(_) => "redirect",
            Self::RegistrationRequired => "registration-required",
            Self::RemoteServerNotFound => "remote-server-not-found",
            Self::RemoteServerTimeout => "remote-server-timeout",
            Self::ResourceConstraint => "resource-constraint",
            Self::ServiceUnavailable => "service-unavailable",
            Self::SubscriptionRequired => "subscription-required",
            Self::UndefinedCondition => "undefined-condition",
            Self::UnexpectedRequest => "unexpected-request",
        }
    }

    /// The type that §8.3.3 associates with the condition; the first where it names two.
    pub const fn default_type(&self) -> ErrorType {
        match self {
            Self::Forbidden
            | Self::NotAuthorized
            | Self::RegistrationRequired
            | Self::SubscriptionRequired => ErrorType::Auth,
            Self::Conflict
            | Self::FeatureNotImplemented
            | Self::Gone(_)
            | Self::InternalServerError
            | Self::ItemNotFound
            | Self::NotAllowed
            | Self::RemoteServerNotFound
            | Self::ServiceUnavailable
            | Self::UndefinedCondition => ErrorType::Cancel,
            Self::BadRequest
            | Self::JidMalformed
            | Self::NotAcceptable
            | Self::PolicyViolation
            | Self::Redirect(_) => ErrorType::Modify,
            Self::RecipientUnavailable
            | Self::RemoteServerTimeout
            | Self::ResourceConstraint
            | Self::UnexpectedRequest => ErrorType::Wait,
        }
    }

    /// The URI of `gone` and `redirect`.
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::Gone(address) | Self::Redirect(address) => address.as_deref(),
            _ => None,
        }
    }

    /// Reads a condition element; an unknown one counts as `undefined-condition` (§8.3.2).
    fn parse(element: &Element) -> Self {
        let address = || Some(CompactString::from(element.text().trim())).filter(|text| !text.is_empty());
        match Self::ALL.into_iter().find(|condition| condition.as_str() == element.name()) {
            Some(Self::Gone(_)) => Self::Gone(address()),
            Some(Self::Redirect(_)) => Self::Redirect(address()),
            Some(condition) => condition,
            None => Self::UndefinedCondition,
        }
    }
}

/// A stanza error: what a wrong or impossible request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StanzaError {
    /// What the sender may do about it.
    pub kind: ErrorType,
    /// What is wrong.
    pub condition: Condition,
    /// For the log and the developer at the other end, in English; never for a program.
    pub text: Option<Cow<'static, str>>,
    /// The condition in the terms of an extension (§8.3.4).
    pub application: Option<Element>,
    /// Who found the error, where that is not the addressee (§8.3.1, rule 5).
    pub by: Option<Jid>,
    /// What few errors have.
    more: Option<Box<More>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct More {
    /// Further conditions in the terms of extensions.
    conditions: Vec<Element>,
    /// What of the request is wrong.
    beside: Option<Element>,
}

impl StanzaError {
    /// An error with the type that goes with its condition.
    pub const fn new(condition: Condition) -> Self {
        Self {
            kind: condition.default_type(),
            condition,
            text: None,
            application: None,
            by: None,
            more: None,
        }
    }

    /// Replaces the type.
    pub fn with_type(self, kind: ErrorType) -> Self {
        Self { kind, ..self }
    }

    /// Adds a text in English.
    pub fn with_text(self, text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: Some(text.into()), ..self }
    }

    /// Adds the condition in the terms of an extension.
    pub fn with_application(self, application: Element) -> Self {
        Self { application: Some(application), ..self }
    }

    /// Adds one more condition in the terms of an extension.
    pub fn with_further(mut self, condition: Element) -> Self {
        self.more.get_or_insert_default().conditions.push(condition);
        self
    }

    /// Adds what of the request is wrong: it stands beside the error (§8.3.1, rule 6).
    pub fn with_beside(mut self, wrong: Element) -> Self {
        self.more.get_or_insert_default().beside = Some(wrong);
        self
    }

    /// What of the request is wrong, if that is said.
    pub fn beside(&self) -> Option<&Element> {
        self.more.as_ref().and_then(|more| more.beside.as_ref())
    }

    /// Names who found the error.
    pub fn with_by(self, by: impl Into<Jid>) -> Self {
        Self { by: Some(by.into()), ..self }
    }

    /// `<error/>` in `jabber:client`, as the last child of an error stanza.
    pub fn to_element(&self) -> Element {
        let condition = stanzas(self.condition.as_str());
        let condition = match self.condition.address() {
            Some(address) => condition.text(address),
            None => condition,
        };
        let text = self.text.as_deref().map(|text| {
            stanzas("text").attr_ns(CompactString::const_new(XML_NS), "lang", TEXT_LANG).text(text).build()
        });
        Element::builder(CompactString::const_new("error"), CompactString::const_new(NS_CLIENT))
            .attr_opt("by", self.by.as_ref().map(Jid::as_str))
            .attr("type", self.kind.as_str())
            .child(condition.build())
            .child_opt(text)
            .child_opt(self.application.clone())
            .children(self.more.iter().flat_map(|more| more.conditions.iter().cloned()))
            .build()
    }

    /// Reads an `<error/>` of a peer, whose namespace is that of its stanza; `None` for any other element.
    /// Lenient, since nobody can be told: without a condition it is `undefined-condition`, without a known
    /// type that of the condition.
    pub fn parse(element: &Element) -> Option<Self> {
        (element.name() == "error").then_some(())?;
        let condition = element
            .children()
            .find(|child| child.ns() == NS_STANZAS && child.name() != "text")
            .map_or(Condition::UndefinedCondition, Condition::parse);
        Some(Self {
            kind: element.attr("type").and_then(ErrorType::parse).unwrap_or_else(|| condition.default_type()),
            condition,
            text: element.child_text("text", NS_STANZAS).map(|text| Cow::Owned(text.into_owned())),
            application: element.children().find(|child| child.ns() != NS_STANZAS).cloned(),
            by: element.attr("by").and_then(|by| by.parse().ok()),
            more: None,
        })
    }
}

impl From<Condition> for StanzaError {
    fn from(condition: Condition) -> Self {
        Self::new(condition)
    }
}

impl fmt::Display for StanzaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.condition.as_str())?;
        self.text.as_deref().map_or(Ok(()), |text| write!(f, ": {text}"))
    }
}

impl std::error::Error for StanzaError {}

fn stanzas(name: &'static str) -> ElementBuilder {
    Element::builder(CompactString::const_new(name), CompactString::const_new(NS_STANZAS))
}
