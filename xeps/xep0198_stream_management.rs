//! # XEP-0198: Stream Management
//!
//! Follows 1.6.3 (2025-07-28). Both sides count what they handled, and a broken stream is taken up again.
//!
//! - Counting, the queue of what was not acknowledged, and resumption are the core's (`outbox`, `binding`): they are what
//!   the promises P2 and P4 stand on. This module is their protocol.
//! - Ours: `<a/>` goes out when everything that the stanzas caused is durable; a session survives a restart of the server;
//!   `h` of `<failed/>` is right even after a crash. A device is asked what it has at once, and then four times in a second
//!   at most while little is unacknowledged: a burst costs a telephone one answer.
//! - §9: `<resume/>` comes within the login (XEP-0388), `<enable/>` with the resource (XEP-0386).
//! - Left out: `location` (§3): there is one node.

use std::sync::Arc;
use std::time::Duration;

use unisono_core::bind2::{JustBound, Settled};
use unisono_core::error::{Condition, StanzaError, StreamCondition};
use unisono_core::extension::{Extension, NonzaReply, NonzaRequest, Registry, Spec, StreamState};
use unisono_core::hub::{Hub, SessionRef};
use unisono_core::outbox::HandledTooHigh;
use unisono_core::resumption::NotResumed;
use unisono_core::storage::BoxFuture;
use unisono_xml::Element;

pub const NS: &str = "urn:xmpp:sm:3";

pub struct StreamManagement;

impl Extension for StreamManagement {
    fn spec(&self) -> Spec {
        Spec::xep(198, "1.6.3")
    }

    fn register(&self, on: &mut Registry) {
        on.stream_feature(|_| Element::new("sm", NS));
        on.nonza((NS, "enable"), |request| ready(enable(&request)));
        on.nonza((NS, "resume"), |request| Box::pin(resume(request)));
        on.nonza((NS, "r"), |request| ready(acknowledge(&request)));
        on.nonza((NS, "a"), |request| ready(acknowledged(&request)));
        on.at_login((NS, "resume"), |_| Element::new("sm", NS));
        on.at_bind(Some(NS), enable_at_bind);
        on.acknowledgements(write_ack, |out| out.extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>"));
    }
}

fn ready(reply: NonzaReply) -> BoxFuture<'static, NonzaReply> {
    Box::pin(std::future::ready(reply))
}

/// §3
fn enable(request: &NonzaRequest) -> NonzaReply {
    let StreamState::Bound(session) = &request.stream else {
        return failed(Condition::UnexpectedRequest, None);
    };
    let resume_for = wanted(&request.element, &request.hub);
    match request.hub.enable_management(session, resume_for) {
        Some(id) => told(enabled(&id, resume_for)),
        None => failed(Condition::UnexpectedRequest, None),
    }
}

/// §9.1: a new session counts from its first stanza.
fn enable_at_bind(bound: &mut JustBound<'_>) -> Settled {
    let Some(request) = bound.request.child("enable", NS) else { return Settled::Nothing };
    let resume_for = wanted(request, bound.hub);
    let id = bound.hub.enable_management_at_bind(bound.account, bound.session, resume_for);
    let Some(id) = id else { return Settled::Nothing };
    // Who is told that a session can be resumed has to find it after a crash.
    let (hub, ticket) = (Arc::clone(bound.hub), bound.account.last_ticket());
    Settled::Later(Box::pin(async move {
        hub.store.wait(ticket).await;
        Ok(enabled(&id, resume_for))
    }))
}

/// How long the session is kept for a client that asks for this; zero if it is not to be resumed.
fn wanted(request: &Element, hub: &Hub) -> Duration {
    let ours = hub.settings.resume_for;
    let wish = request.attr("max").and_then(|max| max.parse().ok()).map(Duration::from_secs);
    let is_wanted = is_true(request.attr("resume"));
    if is_wanted { wish.map_or(ours, |wish| wish.min(ours)) } else { Duration::ZERO }
}

fn enabled(id: &str, resume_for: Duration) -> Element {
    let enabled = Element::builder("enabled", NS);
    if resume_for.is_zero() {
        return enabled.build();
    }
    enabled.attr("id", id).attr("resume", "true").attr("max", resume_for.as_secs().to_string()).build()
}

fn told(reply: Element) -> NonzaReply {
    NonzaReply { write: vec![reply], ..NonzaReply::default() }
}

/// §5, and §9.2 together with the login
async fn resume(request: NonzaRequest) -> NonzaReply {
    let StreamState::Authenticated { account, login, connection } = request.stream else {
        return failed(Condition::UnexpectedRequest, None);
    };
    let (Some(previous), Some(handled)) = (request.element.attr("previd"), count(&request.element)) else {
        return failed(Condition::BadRequest, None);
    };
    match request.hub.resume(&login, &account, previous, handled, connection).await {
        Ok(resumed) => {
            let reply = Element::builder("resumed", NS)
                .attr("previd", previous)
                .attr("h", resumed.handled.to_string())
                .build();
            NonzaReply { write: vec![reply], session: Some(resumed.session), ..NonzaReply::default() }
        }
        Err(NotResumed::Over(handled)) => failed(Condition::ItemNotFound, handled),
        // A `<failed/>` would end a session that may be there.
        Err(NotResumed::Unknown) => {
            NonzaReply { error: Some((StreamCondition::InternalServerError, None)), ..NonzaReply::default() }
        }
    }
}

/// §4, `<r/>`
fn acknowledge(request: &NonzaRequest) -> NonzaReply {
    let Some(session) = managed(request) else { return failed(Condition::UnexpectedRequest, None) };
    NonzaReply { ticket: request.hub.acknowledgement_due(session), ..NonzaReply::default() }
}

/// §4, `<a/>`
fn acknowledged(request: &NonzaRequest) -> NonzaReply {
    let Some(session) = managed(request) else { return failed(Condition::UnexpectedRequest, None) };
    let Some(handled) = count(&request.element) else {
        return NonzaReply { error: Some((StreamCondition::BadFormat, None)), ..NonzaReply::default() };
    };
    match request.hub.acknowledged(session, handled) {
        Ok(()) => NonzaReply::default(),
        Err(HandledTooHigh { handled, sent }) => {
            // §6
            let detail = Element::builder("handled-count-too-high", NS)
                .attr("h", handled.to_string())
                .attr("send-count", sent.to_string())
                .build();
            NonzaReply {
                error: Some((StreamCondition::UndefinedCondition, Some(detail))),
                ..NonzaReply::default()
            }
        }
    }
}

fn managed(request: &NonzaRequest) -> Option<&SessionRef> {
    let StreamState::Bound(session) = &request.stream else { return None };
    let account = session.cell.lock();
    account.session(session.id).is_some_and(unisono_core::session::Session::is_managed).then_some(session)
}

/// §6
fn failed(condition: Condition, handled: Option<u32>) -> NonzaReply {
    let condition = StanzaError::new(condition).to_element();
    let reply = Element::builder("failed", NS)
        .attr_opt("h", handled.map(|handled| handled.to_string()))
        .child_opt(condition.first_child().cloned())
        .build();
    told(reply)
}

/// §4: `h`, which wraps at 2^32.
fn count(element: &Element) -> Option<u32> {
    element.attr("h").and_then(|h| h.parse().ok())
}

/// The two spellings of an `xs:boolean` that is true (§3).
fn is_true(value: Option<&str>) -> bool {
    matches!(value, Some("true" | "1"))
}

fn write_ack(out: &mut Vec<u8>, handled: u32) {
    let element = Element::builder("a", NS).attr("h", handled.to_string()).build();
    element.write_into(out, &unisono_core::stanza::CLIENT_SCOPE);
}
