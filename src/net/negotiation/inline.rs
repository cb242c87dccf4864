//! XEP-0388: what a client asks for together with authentication.
//!
//! Follows 1.0.4 (2025-08-25). The exchange itself is that of RFC 6120 §6 in other elements ([`super::exchange`]), with
//! the same mechanisms and the same defences.
//!
//! ```text
//!  Authenticating ──<authenticate/>──▶ … ──proof──▶ Completing ──<resume/>──▶ Bound
//!                                          │            │ ▲  or it failed │
//!                                          │            │ └───────────────┘
//!                                          ▼            └─────<bind/>──────▶ Bound
//!                                       Binding
//! ```
//! - Nothing of it is looked at before the client is known. A session that is resumed (XEP-0198 §9.2) makes the wish for
//!   a resource (XEP-0386) void; where it cannot be resumed, the resource is bound.
//! - A stream is not restarted. Between `<authenticate/>` and its end nothing else may come (§2.4).
//! - Ours: a resource that cannot be bound ends the stream, with the reason.
//! - Left out: tasks (§2.6.3), for which there is no use yet. What `<user-agent/>` says in words is not kept.

use std::mem;

use unisono_core::bind2;
use unisono_core::devices::UserAgent;
use unisono_core::error::{Condition, StanzaError, StreamCondition};
use unisono_core::jid::{BareJid, FullJid};
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_xml::Element;

use super::{Action, Answer, NS_SASL2, Negotiation, State, exchange, features};
use crate::error::StreamError;
use crate::limits::STRANGER_ELEMENT_BYTES_MAX;
use crate::sasl::{Authenticated, SaslFailure};

/// What came with `<authenticate/>`. While the client is a stranger it is text, which takes the least memory.
#[derive(Debug)]
pub(super) struct Request {
    agent: Option<UserAgent>,
    /// What an extension answers, such as `<resume/>`.
    nonza: Option<Box<str>>,
    /// `<bind/>` of XEP-0386.
    bind: Option<Box<str>>,
}

/// An element as text, unless that is longer than what a stranger may send.
fn folded(element: &Element) -> Result<Box<str>, SaslFailure> {
    if element.is_longer_than(STRANGER_ELEMENT_BYTES_MAX, &CLIENT_SCOPE) {
        return Err(SaslFailure::MalformedRequest);
    }
    Ok(element.to_string_in(&CLIENT_SCOPE).into())
}

/// A client that is known, and is told so when all that it asked for is done.
pub(super) struct Completion {
    pub(super) peer: Authenticated<BareJid>,
    /// Of the mechanism.
    data: Option<Vec<u8>>,
    bind: Option<Element>,
    /// What came of what was asked for.
    results: Vec<Element>,
}

impl Negotiation {
    /// Reads a request to authenticate. What is wrong with it fails this attempt.
    pub(super) fn note_request(
        &self,
        element: &Element,
    ) -> Result<Result<Box<Request>, SaslFailure>, StreamError> {
        if self.request.is_some() {
            return Err(StreamError::SaslDisturbed("a second request to authenticate")); // §2.4
        }
        Ok(self.read_request(element).map(Box::new))
    }

    fn read_request(&self, element: &Element) -> Result<Request, SaslFailure> {
        let id = element.child("user-agent", NS_SASL2).and_then(|agent| agent.attr("id"));
        // §2.3: a UUID of version 4, so that no two installations are taken for one.
        let agent = id.map(|id| UserAgent::parse(id).ok_or(SaslFailure::MalformedRequest)).transpose()?;
        let mut at_login = self.terms.at_login.iter();
        let nonza = at_login.find_map(|(ns, name)| element.child(name, ns)).map(folded).transpose()?;
        let bind = element.child("bind", bind2::NS).map(folded).transpose()?;
        Ok(Request { agent, nonza, bind })
    }

    /// The client is known.
    pub(super) fn carry_out(
        &mut self,
        request: Request,
        peer: Authenticated<BareJid>,
        data: Option<Vec<u8>>,
    ) -> Result<(), StreamError> {
        let limits = self.terms.limits.early_xml();
        let read = |text: Box<str>| Element::parse(&text, &CLIENT_SCOPE, &limits);
        self.agent = request.agent;
        let bind = request.bind.map(read).transpose()?;
        let completion = Completion { peer, data, bind, results: Vec::new() };
        match request.nonza.map(read).transpose()? {
            Some(element) => {
                self.next = Some(Action::Nonza { peer: Some(completion.peer.clone()), element });
                self.state = State::Completing(Box::new(completion));
            }
            None => self.bind_inline(Box::new(completion)),
        }
        Ok(())
    }

    /// What an extension says to what came with the request.
    pub(super) fn answered_inline(
        &mut self,
        mut completion: Box<Completion>,
        answer: Answer,
    ) -> Result<(), StreamError> {
        if let Some(error) = answer.error {
            return Err(error);
        }
        completion.results.extend(answer.write);
        match answer.resumed {
            // XEP-0198 §9.2: the stream is what it was, and features are none of it.
            Some(jid) => {
                self.tell_success(*completion, jid.as_str());
                self.finish();
            }
            None => self.bind_inline(completion),
        }
        Ok(())
    }

    fn bind_inline(&mut self, mut completion: Box<Completion>) {
        if let Some(request) = completion.bind.take() {
            let (peer, agent) = (completion.peer.clone(), self.agent);
            self.next = Some(Action::BindInline { peer, agent, request });
            self.state = State::Completing(completion);
            return;
        }
        let peer = completion.peer.clone();
        self.tell_success(*completion, peer.account().as_str());
        features::write_binding(&mut self.out, &self.terms.limits, &self.terms.features);
        self.state = State::Binding(peer);
    }

    /// The hub has bound a resource, or cannot.
    pub(super) fn bound_inline(
        &mut self,
        result: Result<(FullJid, Element), StanzaError>,
    ) -> Result<(), StreamError> {
        let State::Completing(mut completion) = mem::replace(&mut self.state, State::Closed) else {
            return Err(StreamError::Internal);
        };
        let (jid, bound) = result.map_err(|error| StreamError::NotBound(reason(&error.condition)))?;
        completion.results.push(bound);
        self.tell_success(*completion, jid.as_str());
        features::write_bound(&mut self.out, &self.terms.limits, &self.terms.features);
        self.finish();
        Ok(())
    }

    fn tell_success(&mut self, completion: Completion, identity: &str) {
        let Completion { data, results, .. } = completion;
        exchange::write_extensible_success(&mut self.out, data.as_deref(), identity, results);
    }
}

/// Why a stream ends that was to have a resource.
fn reason(condition: &Condition) -> StreamCondition {
    match condition {
        Condition::NotAllowed => StreamCondition::NotAuthorized,
        Condition::ResourceConstraint => StreamCondition::ResourceConstraint,
        // A newer connection of the same device was faster. See `reason_to_give_way` for why this is not a conflict.
        Condition::Conflict => StreamCondition::Reset,
        _ => StreamCondition::InternalServerError,
    }
}
