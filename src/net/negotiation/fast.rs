//! XEP-0484: a client comes back with a token instead of a password, in one message.
//!
//! Follows 0.2.0 (2024-06-30), within XEP-0388 ([`super::inline`]), with the mechanisms of [`crate::sasl::TokenMechanism`].
//! What tokens are and how they end is in `unisono_core::access`.
//!
//! - A token is of one account, one installation (§4.1) and one mechanism (§3.4). It is told with the success of the login,
//!   when it is durable and all else is done that came with the request.
//! - Ours: a wrong token fails as late as an unknown user, whatever it takes to load the account: the delay of a failure
//!   (`sasl_failure_delay`) is counted from the question and not from the answer.
//! - Ours: who asks for a token for a mechanism that is not offered, or without saying which installation it is, comes in
//!   without one.
//! - Left out: TLS 0-RTT (§3.4), and so `count`, which decides nothing without it: a rising number for each login would
//!   have to be durable before its success, for a message that nobody outside of TLS has seen.

use tokio::time::Instant;
use unisono_core::access::Issued;
use unisono_core::datetime::format_utc;
use unisono_core::jid::BareJid;
use unisono_xml::Element;

use super::{Action, Negotiation, State, Token, Unreadable};
use crate::error::StreamError;
use crate::sasl::{Mechanism, Offer, SaslFailure, Step, TokenMechanism, TokenProof};

const NS: &str = "urn:xmpp:fast:0";

/// What of it came with a request to authenticate.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// `<fast/>`, and whether it ends the token (§3.6).
    invalidate: Option<bool>,
    /// `<request-token/>` (§3.2), or what the token that was shown is for if it is due.
    wanted: Option<TokenMechanism>,
}

impl Request {
    pub(super) fn read(element: &Element) -> Self {
        let is_true = |fast: &Element| matches!(fast.attr("invalidate"), Some("1" | "true"));
        let wanted = element.child("request-token", NS).and_then(|request| request.attr("mechanism"));
        Self {
            invalidate: element.child("fast", NS).map(is_true),
            wanted: wanted.and_then(TokenMechanism::parse),
        }
    }

    /// §3.2: only what was announced can be asked for.
    pub(super) fn keep_offered(&mut self, offer: &Offer) {
        self.wanted = self.wanted.filter(|wanted| offer.token_mechanisms().any(|offered| offered == *wanted));
    }

    pub(super) fn uses_token(&self) -> bool {
        self.invalidate.is_some()
    }

    pub(super) fn wanted(&self) -> Option<TokenMechanism> {
        self.wanted
    }
}

/// `<fast/>` (§3.1).
pub(super) fn feature(offer: &Offer) -> Option<Element> {
    let mut mechanisms = offer.token_mechanisms().peekable();
    mechanisms.peek()?;
    let mechanisms =
        mechanisms.map(|mechanism| Element::builder("mechanism", NS).text(mechanism.as_str()).build());
    Some(Element::builder("fast", NS).children(mechanisms).build())
}

/// `<token/>` (§3.3).
pub(super) fn token(issued: &Issued) -> Element {
    Element::builder("token", NS)
        .attr("expiry", format_utc(issued.expires))
        .attr("token", issued.token.as_str())
        .build()
}

impl Negotiation {
    pub(super) fn ask_for_token(&mut self, account: BareJid, proof: Box<TokenProof>) {
        let request = self.request.as_ref();
        let agent = request.and_then(|request| request.agent());
        let invalidate = request.is_some_and(|request| request.fast().invalidate == Some(true));
        self.next = Some(Action::TryToken { account, agent, proof, invalidate });
    }

    /// What came of the token that the client showed.
    pub(super) fn verify_token(
        &mut self,
        now: Instant,
        found: Result<Token, Unreadable>,
        asked: Instant,
    ) -> Result<(), StreamError> {
        let State::Verifying(mut sasl) = std::mem::replace(&mut self.state, State::Closed) else {
            return Err(StreamError::Internal);
        };
        let Ok(Token { outcome, rotate }) = found else {
            return self.refuse(now, sasl, SaslFailure::TemporaryAuthFailure);
        };
        let step = sasl.provide_token(outcome);
        if let (Ok(Step::Success { peer, .. }), Some(request)) = (&step, &mut self.request)
            && let Mechanism::Token(mechanism) = peer.mechanism()
            && rotate
        {
            request.fast_mut().wanted.get_or_insert(mechanism); // §3.5
        }
        let from = if step.is_err() { asked } else { now };
        self.step(from, sasl, step)
    }
}
