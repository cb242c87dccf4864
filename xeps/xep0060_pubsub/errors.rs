//! §11: what goes wrong, in the terms of the specification.

use unisono_core::error::{Condition, ErrorType, StanzaError};
use unisono_xml::Element;

pub const NS_ERRORS: &str = "http://jabber.org/protocol/pubsub#errors";

/// An error with a condition of this specification.
pub(super) fn error(condition: Condition, name: &'static str) -> StanzaError {
    StanzaError::new(condition).with_application(Element::new(name, NS_ERRORS))
}

/// `bad-request`, and what about it.
pub(super) fn bad(name: &'static str) -> StanzaError {
    error(Condition::BadRequest, name)
}

/// §7.1.3.6: a payload that does not belong into the node.
pub(crate) fn invalid_payload() -> StanzaError {
    bad("invalid-payload")
}

/// `bad-request` without a condition of its own.
pub(super) fn malformed(text: &'static str) -> StanzaError {
    StanzaError::new(Condition::BadRequest).with_text(text)
}

/// What a node does not offer.
pub(super) fn unsupported(feature: &'static str) -> StanzaError {
    let condition = Element::builder("unsupported", NS_ERRORS).attr("feature", feature).build();
    StanzaError::new(Condition::FeatureNotImplemented).with_application(condition)
}

/// There is no such node, or no such item.
pub(super) fn not_found() -> StanzaError {
    StanzaError::new(Condition::ItemNotFound)
}

/// Who asks may not do that.
pub(super) fn forbidden() -> StanzaError {
    StanzaError::new(Condition::Forbidden)
}

/// A form that makes no sense for the node (§8.2.5.2).
pub(super) fn not_acceptable(text: &'static str) -> StanzaError {
    StanzaError::new(Condition::NotAcceptable).with_text(text)
}

/// §7.1.5
pub(super) fn precondition_not_met() -> StanzaError {
    error(Condition::Conflict, "precondition-not-met")
}

/// §6.2.3.2
pub(super) fn not_subscribed() -> StanzaError {
    error(Condition::UnexpectedRequest, "not-subscribed").with_type(ErrorType::Cancel)
}

/// Too much of something.
pub(super) fn too_much(text: &'static str) -> StanzaError {
    StanzaError::new(Condition::ResourceConstraint).with_text(text)
}
