//! The client binds a resource (RFC 6120 §7), or takes a session up.

use std::mem;

use compact_str::CompactString;
use unisono_core::binding::NS_BIND;
use unisono_core::devices::Login;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::jid::{BareJid, FullJid, Jid};
use unisono_core::stanza::{CLIENT_SCOPE, NS_CLIENT};
use unisono_xml::Element;

use super::{Action, Answer, Negotiation, State};
use crate::error::StreamError;
use crate::sasl::Authenticated;

impl Negotiation {
    /// RFC 6120 §7: before a resource is bound, this is the only stanza.
    pub(super) fn bind(
        &mut self,
        peer: Authenticated<BareJid>,
        element: &Element,
    ) -> Result<(), StreamError> {
        let is_ours = element.attr("to").is_none_or(|to| {
            to.parse::<Jid>().is_ok_and(|to| {
                to.as_str() == peer.account().domain() || to.as_str() == peer.account().as_str()
            })
        });
        let request = element.child("bind", NS_BIND);
        let Some(request) = request.filter(|_| element.name() == "iq" && is_ours) else {
            return Err(StreamError::NotAuthorized("a stanza")); // §7.1
        };
        let id = element.attr("id").map(CompactString::from);
        if element.attr("type") != Some("set") || id.is_none() {
            self.state = State::Binding(peer);
            return self.refuse_binding(id.as_deref(), &StanzaError::new(Condition::BadRequest));
        }
        let resource = request.child_text("resource", NS_BIND).filter(|text| !text.is_empty());
        let resource = resource.map(CompactString::from);
        self.next = Some(Action::Bind { peer: peer.clone(), login: Box::new(self.login(&peer)), resource });
        self.state = State::Asking(peer, id);
        Ok(())
    }

    pub(super) fn bound(&mut self, result: Result<FullJid, StanzaError>) -> Result<(), StreamError> {
        let State::Asking(peer, id) = mem::replace(&mut self.state, State::Closed) else {
            return Err(StreamError::Internal);
        };
        match result {
            Ok(jid) => {
                let jid = Element::builder("jid", NS_BIND).text(jid.as_str()).build();
                let result = Element::builder("iq", NS_CLIENT)
                    .attr("type", "result")
                    .attr_opt("id", id.as_deref())
                    .child(Element::builder("bind", NS_BIND).child(jid).build());
                result.build().write_into(&mut self.out, &CLIENT_SCOPE);
                self.finish();
                Ok(())
            }
            Err(error) => {
                self.state = State::Binding(peer);
                self.refuse_binding(id.as_deref(), &error)
            }
        }
    }

    pub(super) fn refuse_binding(
        &mut self,
        id: Option<&str>,
        error: &StanzaError,
    ) -> Result<(), StreamError> {
        self.bindings = self.bindings.saturating_add(1);
        let reply = Element::builder("iq", NS_CLIENT).attr("type", "error").attr_opt("id", id);
        reply.child(error.to_element()).build().write_into(&mut self.out, &CLIENT_SCOPE);
        if self.bindings >= self.terms.limits.bind_attempts_max {
            return Err(StreamError::TooManyAttempts("bind a resource")); // §7.7.3
        }
        Ok(())
    }

    /// What an extension says. One that the client asks again and again may have to search the store each time.
    pub(super) fn answered(&mut self, answer: Answer) -> Result<(), StreamError> {
        let before = match mem::replace(&mut self.state, State::Closed) {
            State::Completing(completion) => return self.answered_inline(completion, answer),
            State::Interrupted(before) => before,
            _ => return Err(StreamError::Internal),
        };
        for element in &answer.write {
            element.write_into(&mut self.out, &CLIENT_SCOPE);
        }
        match answer {
            Answer { error: Some(error), .. } => return Err(error),
            Answer { resumed: Some(_), .. } => self.finish(),
            Answer { resumed: None, .. } => self.state = *before,
        }
        self.answers = self.answers.saturating_add(1);
        if !matches!(self.state, State::Bound) && self.answers >= self.terms.limits.early_requests_max {
            return Err(StreamError::TooManyAttempts("take up a session"));
        }
        Ok(())
    }

    /// How the client came in.
    pub(super) fn login(&self, peer: &Authenticated<BareJid>) -> Login {
        let login = self.login.as_deref().cloned().unwrap_or_default();
        login.proven_by(peer.proof())
    }

    /// Lets an extension answer.
    pub(super) fn ask(&self, peer: Option<&Authenticated<BareJid>>, element: Element) -> Action {
        Action::Nonza { peer: peer.map(|peer| (peer.clone(), Box::new(self.login(peer)))), element }
    }

    pub(super) fn finish(&mut self) {
        self.state = State::Bound;
        self.next = Some(Action::Proceed);
    }
}
