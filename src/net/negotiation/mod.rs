//! A client's stream from its opening tag to a bound resource (RFC 6120 §4.3), without I/O.
//!
//! ```text
//!  Opening ──header──▶ Securing ──<starttls/>──▶ Handshaking        outside of TLS
//!                                                    │
//!     ┌──────────────────secured─────────────────────┘
//!     ▼
//!  Opening ──header──▶ Authenticating ◀──▶ Verifying                inside of TLS
//!                         ▲    │ ▲             │
//!                         │    │ └──delay── Refused
//!     ┌──────────────────success
//!     ▼
//!  Opening ──header──▶ Binding ◀──▶ Asking ──▶ Bound                authenticated
//! ```
//! That is the way of RFC 6120 §6. In the profile of XEP-0388 nothing opens anew after success; see [`inline`].
//!
//! The host is the one of the first header, and an identity is what SASL says, for as long as the connection lives.

mod authentication;
mod binding;
mod early;
mod exchange;
mod fast;
mod features;
mod header;
mod inline;
mod pipelining;
#[cfg(test)]
mod tests;

use std::mem;
use std::sync::Arc;

use bytes::BytesMut;
use compact_str::CompactString;
use tokio::time::Instant;
use unisono_core::access::Issued;
use unisono_core::clock::Random;
use unisono_core::devices::{Login, UserAgent};
use unisono_core::error::StanzaError;
use unisono_core::jid::{BareJid, FullJid};
use unisono_core::stanza::{CLIENT_SCOPE, NS_CLIENT, NS_STREAMS};
use unisono_xml::{Element, StreamEvent, StreamHeader, StreamReader};

use self::exchange::Profile;
use self::header::Header;
use self::inline::{Completion, Request};
use crate::error::{CLOSE, Said, StreamError};
use crate::limits::Limits;
use crate::sasl::{
    Authenticated, Authenticator, Channel, ChannelBindings, Cost, Credentials, Decoys, Hash, Offer, Policy,
    SaslFailure, TokenMechanism, TokenOutcome, TokenProof,
};

pub(crate) const NS_TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
pub(crate) const NS_SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
pub(crate) const NS_SASL2: &str = "urn:xmpp:sasl:2";

/// What all streams of a server have in common.
pub(crate) struct Terms {
    pub(crate) domains: Vec<BareJid>,
    pub(crate) limits: Limits,
    pub(crate) policy: Policy,
    pub(crate) decoys: Arc<Decoys>,
    pub(crate) random: Arc<dyn Random>,
    /// What the extensions offer to who is authenticated.
    pub(crate) features: Vec<Element>,
    /// What they offer together with authentication, as it is announced …
    pub(crate) inline: Vec<Element>,
    /// … and by namespace and name, what of it they answer themselves.
    pub(crate) at_login: Vec<(&'static str, &'static str)>,
    /// What they offer to who is not known yet, …
    pub(crate) early_features: Vec<Element>,
    /// … and by namespace and name of their child, the iqs that they answer then.
    pub(crate) early_iqs: Vec<(&'static str, &'static str)>,
}

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// The stream begins in the clear and must ask for TLS (RFC 6120 §5).
    StartTls,
    /// TLS comes first (XEP-0368).
    DirectTls,
}

/// What happens to a negotiation.
pub(crate) enum Input<'a> {
    /// Bytes arrived. What is not understood yet stays in the buffer.
    Bytes(&'a mut BytesMut),
    /// The TLS handshake is done.
    Secured(ChannelBindings),
    /// The answer to [`Action::Ask`]; `Err` if the store cannot be read.
    Credentials(Result<Option<Credentials>, Unreadable>),
    /// The answer to [`Action::TryToken`], and when that was asked; `Err` if the store cannot be read.
    Token(Result<Token, Unreadable>, Instant),
    /// The answer to [`Action::Bind`].
    Bound(Result<FullJid, StanzaError>),
    /// The answer to [`Action::BindInline`]: the resource and `<bound/>`.
    BoundInline(Result<(FullJid, Element), StanzaError>),
    /// The answer to [`Action::IssueToken`].
    Issued(Option<Issued>),
    /// The answer to [`Action::Nonza`].
    Answered(Answer),
    /// The answer to [`Action::Early`].
    AnsweredEarly(Element),
    /// Time passed.
    Time,
}

/// The store cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable;

/// What came of a token.
pub(crate) struct Token {
    pub(crate) outcome: TokenOutcome,
    /// The client is due another one.
    pub(crate) rotate: bool,
}

/// What an extension answers to a nonza.
pub(crate) struct Answer {
    pub(crate) write: Vec<Element>,
    /// The stream has taken up a session.
    pub(crate) resumed: Option<FullJid>,
    pub(crate) error: Option<StreamError>,
}

/// What is to be done, in this order. After those that are questions nothing is read until they are answered.
#[derive(Debug)]
pub(crate) enum Action {
    Send(Vec<u8>),
    /// Make the TLS handshake, for this domain if the client names none.
    StartTls {
        domain: BareJid,
    },
    /// Read a credential.
    Ask {
        account: BareJid,
        hash: Hash,
        cost: Cost,
    },
    /// Look whether a client has a token (XEP-0484).
    TryToken {
        account: BareJid,
        agent: Option<UserAgent>,
        proof: Box<TokenProof>,
        invalidate: bool,
    },
    /// Make a token for it.
    IssueToken {
        peer: Authenticated<BareJid>,
        login: Box<Login>,
        mechanism: TokenMechanism,
    },
    /// Bind this resource, or make one up.
    Bind {
        peer: Authenticated<BareJid>,
        login: Box<Login>,
        resource: Option<CompactString>,
    },
    /// Bind a resource as a client asks for it together with the login (XEP-0386).
    BindInline {
        peer: Authenticated<BareJid>,
        login: Box<Login>,
        request: Element,
    },
    /// Let an extension answer, who the client is if it has proven that.
    Nonza {
        peer: Option<(Authenticated<BareJid>, Box<Login>)>,
        element: Element,
    },
    /// Let an extension answer an iq of who is not known yet.
    Early {
        domain: BareJid,
        element: Element,
    },
    /// Go on with [`Negotiation::into_reader`].
    Proceed,
    /// The client closed its stream.
    Close,
}

pub(crate) struct Negotiation {
    terms: Arc<Terms>,
    reader: StreamReader,
    state: State,
    /// From the first header, for good.
    to: Option<BareJid>,
    /// From the present header.
    from: Option<BareJid>,
    lang: Option<CompactString>,
    /// Whether our header of the present stream is out.
    opened: bool,
    /// In which profile the client authenticates.
    profile: Option<Profile>,
    /// While it does so in that of XEP-0388: what it asks for besides.
    request: Option<Box<Request>>,
    /// How the client came in, once it is known who it is.
    login: Option<Box<Login>>,
    failures: u32,
    /// How often it was told that it counts on another offer (XEP-0509).
    mismatches: u32,
    /// The client has proven who it is, whatever came of that.
    has_proven: bool,
    /// Why the last attempt to authenticate failed, for the log.
    refusal: Option<&'static str>,
    bindings: u32,
    /// What extensions answered without that a session was taken up.
    answers: u32,
    /// Iqs that came before authentication.
    early: u32,
    /// The deadline was put off for them.
    is_patient: bool,
    deadline: Instant,
    out: Vec<u8>,
    next: Option<Action>,
}

enum State {
    Opening(Stage),
    Securing,
    Handshaking,
    Authenticating(Box<Authenticator<BareJid>>),
    /// A credential is being read.
    Verifying(Box<Authenticator<BareJid>>),
    /// The answer waits, so that guessing takes time.
    Refused {
        until: Instant,
        failure: SaslFailure,
        sasl: Box<Authenticator<BareJid>>,
    },
    /// All that came with the request to authenticate is being done.
    Completing(Box<Completion>),
    Binding(Authenticated<BareJid>),
    /// The hub binds a resource, with the id of the request.
    Asking(Authenticated<BareJid>, Option<CompactString>),
    /// An extension answers; then the stream is where it was.
    Interrupted(Box<State>),
    Bound,
    Closed,
}

impl State {
    fn is_authenticated(&self) -> bool {
        match self {
            Self::Interrupted(before) => before.is_authenticated(),
            Self::Opening(Stage::Authenticated(_))
            | Self::Completing(_)
            | Self::Binding(_)
            | Self::Asking(..)
            | Self::Bound => true,
            Self::Opening(Stage::Clear | Stage::Secured(_))
            | Self::Securing
            | Self::Handshaking
            | Self::Authenticating(_)
            | Self::Verifying(_)
            | Self::Refused { .. }
            | Self::Closed => false,
        }
    }
}

/// What a header opens.
enum Stage {
    Clear,
    /// TLS is up; the header will say for which domain to authenticate.
    Secured(ChannelBindings),
    Authenticated(Authenticated<BareJid>),
}

impl Negotiation {
    /// A negotiation that begins now. With [`Security::DirectTls`], tell it [`Input::Secured`] first.
    pub(crate) fn new(terms: Arc<Terms>, now: Instant) -> Self {
        let deadline = now.checked_add(terms.limits.authenticate_within).unwrap_or(now);
        Self {
            reader: StreamReader::new(terms.limits.stranger_xml()),
            terms,
            state: State::Opening(Stage::Clear),
            to: None,
            from: None,
            lang: None,
            opened: false,
            profile: None,
            request: None,
            login: None,
            failures: 0,
            mismatches: 0,
            has_proven: false,
            refusal: None,
            bindings: 0,
            answers: 0,
            early: 0,
            is_patient: false,
            deadline,
            out: Vec::new(),
            next: None,
        }
    }

    /// Takes what happened. After an error, [`Self::last_words`] are what is left to say.
    pub(crate) fn handle(&mut self, now: Instant, input: Input<'_>) -> Result<(), StreamError> {
        match input {
            Input::Bytes(bytes) => self.read(now, bytes),
            Input::Secured(bindings) => {
                self.secured(bindings);
                Ok(())
            }
            Input::Credentials(found) => self.verify(now, found),
            Input::Token(found, asked) => self.verify_token(now, found, asked),
            Input::Issued(issued) => self.issued(issued.as_ref()),
            Input::Bound(result) => self.bound(result),
            Input::BoundInline(result) => self.bound_inline(result),
            Input::Answered(answer) => self.answered(answer),
            Input::AnsweredEarly(answer) => self.answered_early(now, &answer),
            Input::Time => self.pass_time(now),
        }
    }

    /// What is to be done now.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        if !self.out.is_empty() {
            return Some(Action::Send(mem::take(&mut self.out)));
        }
        self.next.take()
    }

    /// When [`Input::Time`] is due.
    pub(crate) fn poll_timeout(&self) -> Instant {
        match &self.state {
            State::Refused { until, .. } => self.deadline.min(*until),
            _ => self.deadline,
        }
    }

    /// Whether more bytes are of use.
    pub(crate) fn wants_input(&self) -> bool {
        self.next.is_none()
            && match &self.state {
                State::Opening(_) | State::Securing | State::Authenticating(_) | State::Binding(_) => true,
                State::Handshaking
                | State::Verifying(_)
                | State::Refused { .. }
                | State::Completing(_)
                | State::Asking(..)
                | State::Interrupted(_)
                | State::Bound
                | State::Closed => false,
            }
    }

    /// Whether the client has proven who it is.
    pub(crate) fn is_authenticated(&self) -> bool {
        self.state.is_authenticated()
    }

    /// Whether it has proven that, though perhaps it says to be somebody else.
    pub(crate) fn has_proven(&self) -> bool {
        self.has_proven
    }

    /// Attempts to authenticate that have failed.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Why the last of them failed, as far as the log should say.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        self.refusal
    }

    /// The end of the stream by an error, with a header before it if there was none (RFC 6120 §4.9.1.2).
    pub(crate) fn last_words(&mut self, error: &StreamError) -> Vec<u8> {
        self.state = State::Closed;
        let mut out = mem::take(&mut self.out);
        if !self.opened {
            self.open_into(&mut out);
        }
        error.write_into(&mut out);
        out
    }

    /// The reader of the bound stream, and the language of what comes.
    pub(crate) fn into_reader(self) -> (StreamReader, Option<CompactString>) {
        let Self { mut reader, terms, lang, .. } = self;
        reader.set_limits(terms.limits.xml());
        (reader, lang)
    }

    fn read(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), StreamError> {
        while self.wants_input() {
            match self.reader.next(input)? {
                None => break,
                Some(StreamEvent::Open(header)) => self.header(&header)?,
                Some(StreamEvent::Element(element)) => self.element(now, &element, input.is_empty())?,
                Some(StreamEvent::Close) => self.close(),
            }
        }
        Ok(())
    }

    fn header(&mut self, header: &StreamHeader) -> Result<(), StreamError> {
        // An answer names who asked, an error as well (RFC 6120 §4.9.1.3).
        self.from = header::sender(header);
        let Header { to, from, lang } = Header::read(header, &self.terms.domains)?;
        // The host is fixed: what was authenticated for one is not for another. Nor need it be said again (§4.7.2).
        let to = match (self.to.take(), to) {
            (None, None) => return Err(StreamError::UnknownHost(Said::new(""))),
            (Some(first), Some(now)) if first != now => {
                self.to = Some(first);
                return Err(StreamError::ChangedHost);
            }
            (Some(to), _) | (None, Some(to)) => to,
        };
        let to = self.to.insert(to);
        let state = match mem::replace(&mut self.state, State::Closed) {
            State::Opening(stage) => Self::stage(&self.terms, stage, to, from.as_ref())?,
            other => other,
        };
        self.lang = lang;
        self.open();
        match &state {
            State::Authenticating(sasl) => {
                features::write_authenticating(&mut self.out, sasl.offer(), &self.terms);
            }
            State::Binding(_) => {
                features::write_binding(&mut self.out, &self.terms.limits, &self.terms.features);
            }
            _ => features::write_securing(&mut self.out),
        }
        self.state = state;
        Ok(())
    }

    /// What a header opens, if it fits.
    fn stage(
        terms: &Terms,
        stage: Stage,
        to: &BareJid,
        from: Option<&BareJid>,
    ) -> Result<State, StreamError> {
        Ok(match stage {
            Stage::Clear => State::Securing,
            Stage::Secured(bindings) => {
                // XEP-0388 §2.1: nobody of another domain can be authenticated here.
                if let Some(from) = from.filter(|from| from.domain() != to.domain()) {
                    return Err(StreamError::WrongFrom(Said::new(from.as_str())));
                }
                let offer = Offer::new(&terms.policy, Channel::Tls(bindings));
                let decoys = Arc::clone(&terms.decoys);
                State::Authenticating(Box::new(Authenticator::new(to.as_str(), offer, decoys)))
            }
            Stage::Authenticated(peer) => match from {
                Some(from) if from != peer.account() => {
                    return Err(StreamError::WrongFrom(Said::new(from.as_str())));
                }
                _ => State::Binding(peer),
            },
        })
    }

    fn element(&mut self, now: Instant, element: &Element, is_last: bool) -> Result<(), StreamError> {
        let state = mem::replace(&mut self.state, State::Closed);
        if self.is_early(&state, element) {
            return self.ask_early(state, element);
        }
        if element.ns() == NS_CLIENT && !matches!(state, State::Binding(_)) {
            return Err(StreamError::NotAuthorized("a stanza"));
        }
        if element.is("error", NS_STREAMS) {
            // The client ends its stream by an error; there is nothing to add (RFC 6120 §4.9.1.1).
            self.state = state;
            self.close();
            return Ok(());
        }
        if element.ns() == NS_TLS {
            return match state {
                State::Securing => self.start_tls(element, is_last),
                _ => Err(StreamError::StartTls),
            };
        }
        match (state, Profile::of(element.ns())) {
            (State::Securing, Some(profile)) => {
                exchange::write_failure(&mut self.out, profile, SaslFailure::EncryptionRequired, None);
                Err(StreamError::SaslOutsideTls)
            }
            (State::Authenticating(sasl), Some(profile)) => self.exchange(now, sasl, profile, element),
            // XEP-0388 §2.4
            (State::Authenticating(_), None) if self.request.is_some() => {
                Err(StreamError::SaslDisturbed("something else"))
            }
            (State::Binding(peer), None) if element.ns() == NS_CLIENT => self.bind(peer, element),
            // Extensions know what comes too early, too.
            (state @ (State::Securing | State::Authenticating(_) | State::Binding(_)), None)
                if element.ns() != NS_STREAMS =>
            {
                let peer = if let State::Binding(peer) = &state { Some(peer) } else { None };
                self.next = Some(self.ask(peer, element.clone()));
                self.state = State::Interrupted(Box::new(state));
                Ok(())
            }
            _ => Err(StreamError::UnknownElement(Said::new(element.name()))),
        }
    }

    /// `<starttls/>` (RFC 6120 §5.4.2). Nothing may come with it: it would have been sent in the clear and read as if
    /// it had come inside of TLS.
    fn start_tls(&mut self, element: &Element, is_last: bool) -> Result<(), StreamError> {
        let Some(domain) = self.to.clone().filter(|_| element.name() == "starttls" && is_last) else {
            return Err(StreamError::StartTls);
        };
        Element::new("proceed", NS_TLS).write_into(&mut self.out, &CLIENT_SCOPE);
        self.next = Some(Action::StartTls { domain });
        self.state = State::Handshaking;
        Ok(())
    }

    /// RFC 6120 §5.4.3.3: what came in the clear is forgotten, but for the host, which cannot change.
    fn secured(&mut self, bindings: ChannelBindings) {
        self.restart(Stage::Secured(bindings));
    }

    fn restart(&mut self, stage: Stage) {
        self.reader.restart();
        self.from = None;
        self.opened = false;
        self.state = State::Opening(stage);
    }

    fn pass_time(&mut self, now: Instant) -> Result<(), StreamError> {
        if now >= self.deadline {
            let what = if self.is_authenticated() { "bind a resource" } else { "authenticate" };
            return Err(StreamError::TooSlow(what));
        }
        match mem::replace(&mut self.state, State::Closed) {
            State::Refused { until, failure, sasl } if now >= until => self.tell_refusal(sasl, failure),
            state => {
                self.state = state;
                Ok(())
            }
        }
    }

    /// `</stream:stream>` is answered by its like (RFC 6120 §4.4).
    fn close(&mut self) {
        if !self.opened {
            self.open();
        }
        self.out.extend_from_slice(CLOSE);
        self.state = State::Closed;
        self.next = Some(Action::Close);
    }

    fn open(&mut self) {
        let mut out = mem::take(&mut self.out);
        self.open_into(&mut out);
        self.out = out;
    }

    fn open_into(&mut self, out: &mut Vec<u8>) {
        let default = self.terms.domains.first();
        let from = self.to.as_ref().or(default).map_or("", BareJid::as_str);
        header::write(out, self.terms.random.as_ref(), from, self.from.as_ref());
        self.opened = true;
    }
}
