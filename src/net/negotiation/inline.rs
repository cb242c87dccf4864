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
//! - Ours: an installation that does not name itself by a UUID of version 4 (§2.3) is not known by that name, for others may
//!   have the same one. It comes in all the same, and is known by its resource.
//! - Left out: tasks (§2.6.3). XEP-0480 is one, to give a hash to an account that lacks it: here all accounts have all.

use std::mem;

use unisono_core::access::Issued;
use unisono_core::bind2;
use unisono_core::devices::{Login, UserAgent};
use unisono_core::error::{Condition, StanzaError, StreamCondition};
use unisono_core::jid::{BareJid, FullJid};
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_xml::Element;

use super::{Action, Answer, NS_SASL2, Negotiation, State, exchange, fast, features};
use crate::error::StreamError;
use crate::limits::STRANGER_ELEMENT_BYTES_MAX;
use crate::sasl::{Authenticated, SaslFailure, TokenMechanism};

/// What came with `<authenticate/>`. While the client is a stranger it is text, which takes the least memory.
#[derive(Debug)]
pub(super) struct Request {
    login: Login,
    fast: fast::Request,
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
    /// For which it is to get a token.
    token: Option<TokenMechanism>,
    end: End,
    /// What came of what was asked for.
    results: Vec<Element>,
}

/// What the client has when all is done.
enum End {
    /// No resource.
    Known,
    Bound(FullJid),
    Resumed(FullJid),
}

impl Request {
    /// Whether the client shows a token instead of a password.
    pub(super) fn uses_token(&self) -> bool {
        self.fast.uses_token()
    }

    pub(super) fn fast(&self) -> &fast::Request {
        &self.fast
    }

    pub(super) fn fast_mut(&mut self) -> &mut fast::Request {
        &mut self.fast
    }

    pub(super) fn agent(&self) -> Option<UserAgent> {
        self.login.agent
    }
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
        let said = element.child("user-agent", NS_SASL2);
        let words = |name| said.and_then(|said| said.child_text(name, NS_SASL2)).unwrap_or_default();
        // §2.3: a UUID of version 4, so that no two installations are taken for one.
        let agent = said.and_then(|said| said.attr("id")).and_then(UserAgent::parse);
        let login = Login::new(agent, &words("software"), &words("device"));
        let mut at_login = self.terms.at_login.iter();
        let nonza = at_login.find_map(|(ns, name)| element.child(name, ns)).map(folded).transpose()?;
        let bind = element.child("bind", bind2::NS).map(folded).transpose()?;
        Ok(Request { login, fast: fast::Request::read(element), nonza, bind })
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
        let token = request.fast.wanted().filter(|_| request.login.agent.is_some());
        self.login = Some(Box::new(request.login));
        let bind = request.bind.map(read).transpose()?;
        let completion = Completion { peer, data, bind, token, end: End::Known, results: Vec::new() };
        match request.nonza.map(read).transpose()? {
            Some(element) => {
                self.next = Some(self.ask(Some(&completion.peer), element));
                self.state = State::Completing(Box::new(completion));
            }
            None => return self.bind_inline(Box::new(completion)),
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
            Some(jid) => {
                completion.end = End::Resumed(jid);
                self.give_token(completion)
            }
            None => self.bind_inline(completion),
        }
    }

    fn bind_inline(&mut self, mut completion: Box<Completion>) -> Result<(), StreamError> {
        let Some(request) = completion.bind.take() else { return self.give_token(completion) };
        let login = Box::new(self.login(&completion.peer));
        self.next = Some(Action::BindInline { peer: completion.peer.clone(), login, request });
        self.state = State::Completing(completion);
        Ok(())
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
        completion.end = End::Bound(jid);
        self.give_token(completion)
    }

    /// XEP-0484 §3.3: last, when there is a device that it can be of.
    fn give_token(&mut self, mut completion: Box<Completion>) -> Result<(), StreamError> {
        let Some(mechanism) = completion.token.take() else {
            self.tell_success(*completion);
            return Ok(());
        };
        let login = Box::new(self.login(&completion.peer));
        self.next = Some(Action::IssueToken { peer: completion.peer.clone(), login, mechanism });
        self.state = State::Completing(completion);
        Ok(())
    }

    /// The hub has made a token, or cannot.
    pub(super) fn issued(&mut self, issued: Option<&Issued>) -> Result<(), StreamError> {
        let State::Completing(mut completion) = mem::replace(&mut self.state, State::Closed) else {
            return Err(StreamError::Internal);
        };
        completion.results.extend(issued.map(fast::token));
        self.tell_success(*completion);
        Ok(())
    }

    fn tell_success(&mut self, completion: Completion) {
        let Completion { peer, data, results, end, .. } = completion;
        let identity = match &end {
            End::Known => peer.account().as_str(),
            End::Bound(jid) | End::Resumed(jid) => jid.as_str(),
        };
        exchange::write_extensible_success(&mut self.out, data.as_deref(), identity, results);
        let (limits, features) = (&self.terms.limits, &self.terms.features);
        match end {
            End::Known => {
                features::write_binding(&mut self.out, limits, features);
                self.state = State::Binding(peer);
            }
            End::Bound(_) => {
                features::write_bound(&mut self.out, limits, features);
                self.finish();
            }
            // XEP-0198 §9.2: the stream is what it was, and features are none of it.
            End::Resumed(_) => self.finish(),
        }
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
