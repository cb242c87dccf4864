//! Iqs of a client that is not known yet (XEP-0077 §3.1.1, XEP-0445).

use std::mem;

use tokio::time::Instant;
use unisono_core::early::asks;
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_xml::Element;

use super::{Action, Negotiation, State};
use crate::error::StreamError;

impl Negotiation {
    /// Whether an extension answers this before authentication: inside of TLS, and not in the middle of a request to
    /// authenticate (XEP-0388 §2.4).
    pub(super) fn is_early(&self, state: &State, element: &Element) -> bool {
        let child = element.first_child().filter(|_| asks(element));
        matches!(state, State::Authenticating(_))
            && self.request.is_none()
            && child.is_some_and(|child| self.terms.early_iqs.iter().any(|(ns, name)| child.is(name, ns)))
    }

    pub(super) fn ask_early(&mut self, state: State, element: &Element) -> Result<(), StreamError> {
        self.early = self.early.saturating_add(1);
        if self.early > self.terms.limits.early_iqs_max {
            return Err(StreamError::TooManyAttempts("register"));
        }
        let domain = self.to.clone().ok_or(StreamError::Internal)?;
        self.next = Some(Action::Early { domain, element: element.clone() });
        self.state = State::Interrupted(Box::new(state));
        Ok(())
    }

    /// Whoever may register gets the time to fill the form in, once.
    pub(super) fn answered_early(&mut self, now: Instant, answer: &Element) -> Result<(), StreamError> {
        let State::Interrupted(before) = mem::replace(&mut self.state, State::Closed) else {
            return Err(StreamError::Internal);
        };
        self.state = *before;
        answer.write_into(&mut self.out, &CLIENT_SCOPE);
        if answer.attr("type") == Some("result") && !mem::replace(&mut self.is_patient, true) {
            let until = now.checked_add(self.terms.limits.register_within).unwrap_or(now);
            self.deadline = self.deadline.max(until);
        }
        Ok(())
    }
}
