//! The client proves who it is (RFC 6120 §6, XEP-0388).

use std::mem;
use std::time::Duration;

use tokio::time::Instant;
use unisono_core::jid::BareJid;
use unisono_xml::Element;

use super::exchange::{self, Profile};
use super::{Action, Negotiation, Stage, State, Unreadable, features, pipelining};
use crate::error::{Said, StreamError};
use crate::sasl::{Authenticated, Authenticator, Credentials, Refusal, SaslFailure, ServerNonce, Step};

impl Negotiation {
    /// RFC 6120 §6.4, XEP-0388 §2. A stream has one profile for all its attempts.
    pub(super) fn exchange(
        &mut self,
        now: Instant,
        mut sasl: Box<Authenticator<BareJid>>,
        profile: Profile,
        element: &Element,
    ) -> Result<(), StreamError> {
        if *self.profile.get_or_insert(profile) != profile {
            return Err(StreamError::SaslDisturbed("another profile of SASL"));
        }
        let message = exchange::Message::read(profile, element)
            .ok_or_else(|| StreamError::UnknownElement(Said::new(element.name())))?;
        let step = match message {
            Err(failure) => return self.refuse(now, sasl, failure),
            Ok(exchange::Message::Abort) => Err(sasl.abort()),
            Ok(exchange::Message::Respond(data)) => sasl.respond(&data),
            Ok(exchange::Message::Begin { mechanism, data }) => {
                if profile == Profile::Extensible {
                    if self.counts_on_another_offer(element, &sasl) {
                        return self.tell_mismatch(now, sasl);
                    }
                    match self.note_request(element)? {
                        Ok(mut request) => {
                            request.fast_mut().keep_offered(sasl.offer());
                            self.request = Some(request);
                        }
                        Err(failure) => return self.refuse(now, sasl, failure),
                    }
                    if self.request.as_ref().is_some_and(|request| request.uses_token()) {
                        let step = sasl.begin_token(&mechanism, data.as_deref());
                        return self.step(now, sasl, step);
                    }
                }
                let mut nonce = [0; 18];
                self.terms.random.fill(&mut nonce);
                sasl.begin(&mechanism, data.as_deref(), ServerNonce::from_random(&nonce))
            }
        };
        self.step(now, sasl, step)
    }

    /// XEP-0509 §2.2
    fn counts_on_another_offer(&self, element: &Element, sasl: &Authenticator<BareJid>) -> bool {
        let offered = || features::authenticating(sasl.offer(), &self.terms);
        self.request.is_none() && pipelining::is_outdated(element, offered)
    }

    /// Told without prejudice, for a while.
    fn tell_mismatch(&mut self, now: Instant, sasl: Box<Authenticator<BareJid>>) -> Result<(), StreamError> {
        if self.mismatches >= pipelining::WITHOUT_PREJUDICE {
            return self.refuse(now, sasl, SaslFailure::Aborted);
        }
        self.mismatches = self.mismatches.saturating_add(1);
        let (failure, reason) = (SaslFailure::Aborted, Some(pipelining::mismatch()));
        exchange::write_failure(&mut self.out, Profile::Extensible, failure, reason);
        self.state = State::Authenticating(sasl);
        Ok(())
    }

    pub(super) fn verify(
        &mut self,
        now: Instant,
        found: Result<Option<Credentials>, Unreadable>,
    ) -> Result<(), StreamError> {
        let State::Verifying(mut sasl) = mem::replace(&mut self.state, State::Closed) else {
            return Err(StreamError::Internal);
        };
        if let Ok(credentials) = found {
            let step = sasl.provide(credentials);
            self.step(now, sasl, step)
        } else {
            self.refuse(now, sasl, SaslFailure::TemporaryAuthFailure)
        }
    }

    pub(super) fn step(
        &mut self,
        now: Instant,
        sasl: Box<Authenticator<BareJid>>,
        step: Result<Step<BareJid>, Refusal>,
    ) -> Result<(), StreamError> {
        match step {
            Ok(Step::Challenge(data)) => {
                let profile = self.profile();
                exchange::write_challenge(&mut self.out, profile, &data);
                self.state = State::Authenticating(sasl);
                Ok(())
            }
            Ok(Step::NeedCredentials { account, hash, cost }) => {
                self.next = Some(Action::Ask { account, hash, cost });
                self.state = State::Verifying(sasl);
                Ok(())
            }
            Ok(Step::NeedToken { account, proof }) => {
                self.ask_for_token(account, proof);
                self.state = State::Verifying(sasl);
                Ok(())
            }
            Ok(Step::Success { peer, data }) => self.succeed(now, peer, data),
            Err(refusal) => {
                let told = self.refuse(now, sasl, refusal.failure);
                self.refusal = Some(refusal.reason);
                told
            }
        }
    }

    fn succeed(
        &mut self,
        now: Instant,
        peer: Authenticated<BareJid>,
        data: Option<Vec<u8>>,
    ) -> Result<(), StreamError> {
        self.has_proven = true;
        let request = self.request.take();
        let is_extensible = self.profile == Some(Profile::Extensible);
        // §6.4.6: who says to be somebody else than it can prove is told no more than that.
        if let Some(claimed) = self.from.as_ref().filter(|claimed| *claimed != peer.account()) {
            if is_extensible {
                // XEP-0388 §2.3
                let failure = SaslFailure::InvalidAuthzid;
                exchange::write_failure(&mut self.out, Profile::Extensible, failure, None);
            }
            return Err(StreamError::WrongFrom(Said::new(claimed.as_str())));
        }
        self.deadline = now.checked_add(self.terms.limits.bind_within).unwrap_or(now);
        self.reader.set_limits(self.terms.limits.early_xml());
        if is_extensible {
            return self.carry_out(*request.ok_or(StreamError::Internal)?, peer, data);
        }
        exchange::write_success(&mut self.out, data.as_deref());
        self.restart(Stage::Authenticated(peer));
        Ok(())
    }

    /// A failure is told later, except to a client that gave up by itself.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        mut sasl: Box<Authenticator<BareJid>>,
        failure: SaslFailure,
    ) -> Result<(), StreamError> {
        // The exchange is over, so that nothing of it can be taken up.
        let _ended = sasl.abort();
        metrics::counter!("unisono_sasl_failures_total", "condition" => failure.as_str()).increment(1);
        self.failures = self.failures.saturating_add(1);
        self.refusal = None;
        self.request = None;
        let delay = match failure {
            SaslFailure::Aborted => Duration::ZERO,
            _ => self.terms.limits.sasl_failure_delay,
        };
        if delay.is_zero() {
            return self.tell_refusal(sasl, failure);
        }
        let until = now.checked_add(delay).unwrap_or(now);
        self.state = State::Refused { until, failure, sasl };
        Ok(())
    }

    pub(super) fn tell_refusal(
        &mut self,
        sasl: Box<Authenticator<BareJid>>,
        failure: SaslFailure,
    ) -> Result<(), StreamError> {
        let profile = self.profile();
        exchange::write_failure(&mut self.out, profile, failure, None);
        if self.failures >= self.terms.limits.sasl_attempts_max {
            return Err(StreamError::TooManyAttempts("authenticate")); // RFC 6120 §6.4.5
        }
        self.state = State::Authenticating(sasl);
        Ok(())
    }

    /// The profile of this stream; until the client has chosen one, that which each of them speaks.
    fn profile(&self) -> Profile {
        self.profile.unwrap_or(Profile::Plain)
    }
}
