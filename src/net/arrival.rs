//! What happens to a connection until a resource is bound: the I/O of [`crate::negotiation`].

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout_at};
use unisono_core::access::TokenUse;
use unisono_core::bind2;
use unisono_core::devices::{Login, UserAgent};
use unisono_core::early::{Origin, Standing};
use unisono_core::extension::{NonzaReply, NonzaRequest, StreamState};
use unisono_core::hub::{Connection, SessionRef};
use unisono_core::jid::{BareJid, FullJid};
use unisono_core::session::ConnectionInfo;
use unisono_core::storage::Wake;
use unisono_xml::Element;

use crate::admission::{Place, network, site};
use crate::ending::{close, note};
use crate::error::{Said, StreamError};
use crate::guessing::{Attempt, Wait};
use crate::incoming::poll_read_sparingly;
use crate::lookup::{credentials, try_token};
use crate::negotiation::{Action, Answer, Input, Negotiation, Security, Unreadable};
use crate::ration::{Rationed, Source};
use crate::sasl::{Authenticated, Cost, Credentials, TokenMechanism, TokenProof};
use crate::server::{C2s, Registered};
use crate::signal::Notice;
use crate::stream::{Held, Peer, Stream};
use crate::tls::{self, TlsStream};

/// Bytes that are read at a time; a whole negotiation is a few of these. So many are read ahead of an answer, too.
const READ_BYTES: usize = 512;
/// A connection inside of TLS.
pub(crate) type Tls<IO> = TlsStream<Rationed<IO>>;

pub(crate) struct Arrival {
    c2s: Arc<C2s>,
    registered: Registered,
    peer: SocketAddr,
    /// Among the strangers; once the client is known, among those that have no resource yet.
    place: Option<Place>,
    is_known: bool,
    /// `None` only while a thread that may block has it.
    negotiation: Option<Box<Negotiation>>,
    incoming: BytesMut,
    tls: String,
    session: Option<Held>,
    /// What the client tries to come in with, until it is known whether that is right.
    attempt: Option<Attempt>,
    failures: u32,
    /// What it came to before it is known who it is.
    standing: Standing,
}

/// How far a negotiation came.
enum Reached {
    StartTls { domain: BareJid },
    Bound,
}

/// Why it came no further.
enum Stopped {
    /// The peer closed or the connection broke.
    Gone(io::Error),
    /// The client closed its stream.
    Closed,
    Error(StreamError),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl From<StreamError> for Stopped {
    fn from(error: StreamError) -> Self {
        Self::Error(error)
    }
}

impl Arrival {
    pub(crate) fn new(c2s: Arc<C2s>, registered: Registered, peer: SocketAddr, place: Place) -> Self {
        let negotiation = Box::new(Negotiation::new(Arc::clone(&c2s.terms), Instant::now()));
        Self {
            c2s,
            registered,
            peer,
            place: Some(place),
            is_known: false,
            negotiation: Some(negotiation),
            incoming: BytesMut::new(),
            tls: String::new(),
            session: None,
            attempt: None,
            failures: 0,
            standing: Standing::default(),
        }
    }

    /// Brings the connection to a bound stream, or to its end.
    pub(crate) async fn run<IO>(mut self, io: IO, security: Security) -> Option<Box<Stream<Tls<IO>>>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let mut io = Rationed::new(io);
        let domain = match security {
            Security::DirectTls => None,
            Security::StartTls => match self.negotiate(&mut io).await {
                Ok(Reached::StartTls { domain }) => Some(domain),
                Ok(Reached::Bound) => return None,
                Err(stopped) => return Box::pin(self.end(&mut io, stopped)).await,
            },
        };
        let mut stream = self.secure(io, domain.as_ref()).await?;
        match self.negotiate(stream.as_mut()).await {
            Ok(Reached::Bound) => self.into_stream(stream),
            Ok(Reached::StartTls { .. }) => None,
            Err(stopped) => Box::pin(self.end(stream.as_mut(), stopped)).await,
        }
    }

    /// The TLS handshake. If it fails there is nobody to tell (RFC 6120 §5.4.3.2).
    async fn secure<IO>(&mut self, mut io: Rationed<IO>, domain: Option<&BareJid>) -> Option<Box<Tls<IO>>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let signal = Arc::clone(&self.registered.signal);
        let certs = Arc::clone(&self.c2s.certs);
        io.begin_handshake();
        // In a box, since it is larger than all the rest and soon over.
        let handshake = Box::pin(tls::accept(&certs, domain.map(BareJid::as_str), io));
        let secured = tokio::select! {
            biased;
            () = signal.stopped() => return None,
            result = timeout_at(self.deadline(), handshake) => match result {
                Ok(Ok(secured)) => secured,
                Ok(Err(error)) => {
                    tracing::debug!(connection = self.registered.number(), peer = %self.peer, %error, "cannot make the TLS handshake");
                    return None;
                }
                Err(_elapsed) => {
                    tracing::debug!(connection = self.registered.number(), peer = %self.peer, "too slow to make the TLS handshake");
                    return None;
                }
            },
        };
        let mut stream = Box::new(secured.stream);
        stream.go_on(false);
        self.tls = describe(stream.agreed());
        let negotiation = self.negotiation.as_mut()?;
        negotiation.handle(Instant::now(), Input::Secured(secured.bindings)).ok()?;
        Some(stream)
    }

    async fn negotiate<S: Source>(&mut self, stream: &mut S) -> Result<Reached, Stopped> {
        loop {
            while let Some(action) =
                self.negotiation.as_mut().and_then(|negotiation| negotiation.poll_action())
            {
                // In a box: it is larger than the rest, and a stranger does nothing for most of the time.
                if let Some(reached) = Box::pin(self.act(stream, action)).await? {
                    return Ok(reached);
                }
            }
            let wants_input = self.negotiation.as_ref().is_some_and(|negotiation| negotiation.wants_input());
            tokio::select! {
                biased;
                notice = self.registered.signal.notice() => if notice == Notice::Stop {
                    return Err(StreamError::Shutdown.into());
                },
                () = sleep_until(self.deadline()) => self.handle(Input::Time)?,
                count = poll_fn(|cx| poll_read_sparingly::<READ_BYTES, _>(stream, cx, &mut self.incoming)), if wants_input => {
                    if count? == 0 {
                        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                    }
                    self.read()?;
                    self.let_go_on(stream);
                }
            }
        }
    }

    /// Who is understood may send on.
    fn let_go_on<S: Source>(&self, stream: &mut S) {
        if self.is_known || self.incoming.is_empty() {
            stream.go_on(self.is_known);
        }
    }

    fn read(&mut self) -> Result<(), StreamError> {
        let mut incoming = std::mem::take(&mut self.incoming);
        let result = self.handle(Input::Bytes(&mut incoming));
        if !incoming.is_empty() {
            self.incoming = incoming;
        }
        result
    }

    fn handle(&mut self, input: Input<'_>) -> Result<(), StreamError> {
        let span = self.span();
        let _entered = span.enter();
        let negotiation = self.negotiation.as_mut().ok_or(StreamError::Internal)?;
        let result = negotiation.handle(Instant::now(), input);
        result.and(self.judge())
    }

    /// Takes notice of how an attempt to authenticate went.
    fn judge(&mut self) -> Result<(), StreamError> {
        let Some(negotiation) = &self.negotiation else { return Ok(()) };
        if negotiation.is_authenticated() {
            self.attempt.take().into_iter().for_each(Attempt::succeeded);
            if !self.is_known {
                self.is_known = true;
                self.place = self.c2s.newcomers.admit(self.peer.ip());
                self.place.as_ref().ok_or(StreamError::Overloaded("too many clients without a resource"))?;
            }
        } else if negotiation.has_proven() {
            // It was no guess.
            self.withdraw();
        } else if negotiation.failures() > self.failures {
            self.failures = negotiation.failures();
            // Dropped, it has failed.
            let account = self.attempt.take().map(|attempt| attempt.account().clone());
            self.note_failure(account.as_ref());
        }
        Ok(())
    }

    /// Logs why the client cannot authenticate.
    fn note_failure(&self, account: Option<&BareJid>) {
        let reason = self.negotiation.as_ref().and_then(|negotiation| negotiation.refusal());
        let Some(reason) = reason else { return };
        let line = self.c2s.sampling.line(Instant::now(), self.peer.ip(), reason);
        let Some(line) = line else { return };
        let (connection, left_out) = (self.registered.number(), line.left_out);
        let account = account.map(tracing::field::display);
        tracing::info!(connection, peer = %self.peer, account, reason, left_out, "a client cannot authenticate");
        line.note_last(self.peer.ip(), reason);
    }

    async fn act<S: Source>(&mut self, stream: &mut S, action: Action) -> Result<Option<Reached>, Stopped> {
        match action {
            Action::Send(bytes) => {
                self.session.iter_mut().for_each(Held::announce);
                self.send(stream, &bytes).await?;
            }
            Action::StartTls { domain } => return Ok(Some(Reached::StartTls { domain })),
            Action::Ask { account, hash, cost } => {
                if self.begin_attempt(stream, &account).await? {
                    let reading = credentials(Arc::clone(&self.c2s), self.peer.ip(), account, hash);
                    let found = self.wait_for(stream, reading).await?;
                    if found.is_err() {
                        self.withdraw();
                    }
                    self.verify(stream, found, cost).await?;
                } else {
                    self.handle(Input::Credentials(Err(Unreadable)))?;
                }
            }
            Action::TryToken { account, agent, proof, invalidate } => {
                self.try_token(stream, &account, agent, &proof, invalidate).await?;
            }
            Action::IssueToken { peer, login, mechanism } => {
                self.issue_token(stream, &peer, &login, mechanism).await?;
            }
            Action::Bind { peer, login, resource } => {
                let (hub, connection) = (Arc::clone(&self.c2s.hub), self.connection());
                let account = peer.into_account();
                let binding =
                    async move { hub.bind_as(&login, &account, resource.as_deref(), connection).await };
                let bound = self.wait_for(stream, binding).await?;
                let bound = bound.map(|session| self.hold(session));
                self.handle(Input::Bound(bound))?;
            }
            Action::BindInline { peer, login, request } => {
                let account = peer.into_account();
                self.bind_inline(stream, login, account, request).await?;
            }
            Action::Nonza { peer, element } => {
                let answer = self.answer(stream, peer, element).await?;
                self.handle(Input::Answered(answer))?;
            }
            Action::Early { domain, element } => self.answer_early(stream, domain, element).await?,
            Action::Proceed => return Ok(Some(Reached::Bound)),
            Action::Close => return Err(Stopped::Closed),
        }
        // What is pipelined behind an answer was read already.
        self.read()?;
        self.let_go_on(stream);
        Ok(None)
    }

    async fn bind_inline<S: Source>(
        &mut self,
        stream: &mut S,
        login: Box<Login>,
        account: BareJid,
        request: Element,
    ) -> Result<(), Stopped> {
        let (hub, connection) = (Arc::clone(&self.c2s.hub), self.connection());
        let binding = async move { hub.bind_inline(&login, &account, &request, connection).await };
        let bound = match self.wait_for(stream, binding).await? {
            Ok((session, settled)) => {
                let jid = self.hold(session);
                Ok((jid, self.wait_for(stream, bind2::bound(settled)).await?))
            }
            Err(error) => Err(error),
        };
        Ok(self.handle(Input::BoundInline(bound))?)
    }

    async fn answer_early<S: Source>(
        &mut self,
        stream: &mut S,
        domain: BareJid,
        element: Element,
    ) -> Result<(), Stopped> {
        let hub = Arc::clone(&self.c2s.hub);
        let origin = Origin { network: network(self.peer.ip()), site: site(self.peer.ip()) };
        let standing = std::mem::take(&mut self.standing);
        let answering = hub.answer_early(element, domain, origin, standing);
        let (answer, standing) = self.wait_for(stream, answering).await?;
        self.standing = standing;
        Ok(self.handle(Input::AnsweredEarly(answer))?)
    }

    async fn try_token<S>(
        &mut self,
        stream: &mut S,
        account: &BareJid,
        agent: Option<UserAgent>,
        proof: &TokenProof,
        invalidate: bool,
    ) -> Result<(), Stopped>
    where
        S: AsyncRead + Unpin,
    {
        if !self.begin_attempt(stream, account).await? {
            return Ok(self.handle(Input::Token(Err(Unreadable), Instant::now()))?);
        }
        let asked = Instant::now();
        let tried = TokenUse { agent, mechanism: proof.mechanism().as_str(), invalidate };
        let is_suspect = self.attempt.as_ref().is_none_or(Attempt::is_suspect);
        let trying = try_token(Arc::clone(&self.c2s), (self.peer.ip(), is_suspect), account, tried, proof);
        let found = self.wait_for(stream, trying).await?;
        if found.is_err() {
            self.withdraw();
        }
        Ok(self.handle(Input::Token(found, asked))?)
    }

    async fn issue_token<S>(
        &mut self,
        stream: &mut S,
        peer: &Authenticated<BareJid>,
        login: &Login,
        mechanism: TokenMechanism,
    ) -> Result<(), Stopped>
    where
        S: AsyncRead + Unpin,
    {
        let (hub, connection) = (Arc::clone(&self.c2s.hub), self.registered.number());
        let issuing = hub.issue_token(peer.account(), login, mechanism.as_str(), connection);
        let issued = self.wait_for(stream, issuing).await?;
        let issued = issued.inspect_err(|error| tracing::error!(%error, "cannot make a token"));
        Ok(self.handle(Input::Issued(issued.ok().flatten()))?)
    }

    /// Writes to a client that takes it in time.
    async fn send<S>(&mut self, stream: &mut S, bytes: &[u8]) -> Result<(), Stopped>
    where
        S: AsyncWrite + Unpin,
    {
        let sending = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        tokio::select! {
            biased;
            // After half an element there is nothing that could be said.
            () = self.registered.signal.stopped() => Err(io::Error::from(io::ErrorKind::Interrupted).into()),
            sent = timeout_at(self.deadline(), sending) => {
                sent.map_err(|_| StreamError::TooSlow("read"))?.map_err(Stopped::from)
            }
        }
    }

    /// Waits for what others do for this client: until its deadline, while the server runs and the client is there.
    /// What it sends meanwhile is read, as far as it is little. The work is dropped where it waits, so it must leave
    /// nothing half-done there.
    async fn wait_for<S, T>(&mut self, stream: &mut S, work: impl Future<Output = T>) -> Result<T, Stopped>
    where
        S: AsyncRead + Unpin,
    {
        let mut work = pin!(work);
        let deadline = self.deadline();
        let error = loop {
            let has_room = self.incoming.len() < READ_BYTES;
            tokio::select! {
                biased;
                () = self.registered.signal.stopped() => break StreamError::Shutdown,
                () = sleep_until(deadline) => break StreamError::Overloaded("no answer in time"),
                done = &mut work => return Ok(done),
                count = poll_fn(|cx| poll_read_sparingly::<READ_BYTES, _>(stream, cx, &mut self.incoming)), if has_room => {
                    if count? == 0 {
                        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                    }
                }
            }
        };
        self.withdraw();
        Err(error.into())
    }

    /// Where many attempts have failed, the next one waits; where many wait, it is not looked at, and `false` returned.
    async fn begin_attempt<S>(&mut self, stream: &mut S, account: &BareJid) -> Result<bool, Stopped>
    where
        S: AsyncRead + Unpin,
    {
        let now = Instant::now();
        // One that was given up for this one has failed.
        self.attempt = None;
        let (attempt, wait) = self.c2s.guessing.attempt(now, self.peer.ip(), account);
        match wait {
            Wait::None => self.attempt = Some(attempt),
            Wait::For(delay, _turn) => {
                self.attempt = Some(attempt);
                self.c2s.counts.delayed.increment(1);
                self.wait_for(stream, sleep_until(now.checked_add(delay).unwrap_or(now))).await?;
            }
            Wait::TooMany => {
                attempt.withdraw();
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The attempt cannot be judged, and the client is not to blame.
    fn withdraw(&mut self) {
        self.attempt.take().into_iter().for_each(Attempt::withdraw);
    }

    /// Hands a credential in. Where that means to hash a password, it happens on a thread that may block, and only as
    /// many at a time as there are processors.
    async fn verify<S>(
        &mut self,
        stream: &mut S,
        found: Result<Option<Credentials>, Unreadable>,
        cost: Cost,
    ) -> Result<(), Stopped>
    where
        S: AsyncRead + Unpin,
    {
        if cost == Cost::Cheap {
            return Ok(self.handle(Input::Credentials(found))?);
        }
        let c2s = Arc::clone(&self.c2s);
        let permit = self.wait_for(stream, c2s.hashing.acquire()).await?;
        let _permit = permit.map_err(|_| StreamError::Internal)?;
        let mut negotiation = self.negotiation.take().ok_or(StreamError::Internal)?;
        let span = self.span();
        let hashing = tokio::task::spawn_blocking(move || {
            let _entered = span.enter();
            let result = negotiation.handle(Instant::now(), Input::Credentials(found));
            (negotiation, result)
        });
        let (negotiation, result) = hashing.await.map_err(|_| StreamError::Internal)?;
        self.negotiation = Some(negotiation);
        Ok(result.and(self.judge())?)
    }

    /// What an extension says to an element, or that there is none.
    async fn answer<S>(
        &mut self,
        stream: &mut S,
        peer: Option<(Authenticated<BareJid>, Box<Login>)>,
        element: Element,
    ) -> Result<Answer, Stopped>
    where
        S: AsyncRead + Unpin,
    {
        let hub = Arc::clone(&self.c2s.hub);
        let Some(handler) = hub.registry.nonza_handler(&element) else {
            let error = Some(StreamError::UnknownElement(Said::new(element.name())));
            return Ok(Answer { write: Vec::new(), resumed: None, error });
        };
        let state = peer.map_or(StreamState::Unauthenticated, |(peer, login)| {
            let account = peer.into_account();
            StreamState::Authenticated { account, login, connection: self.connection() }
        });
        let answering = handler(NonzaRequest { hub, element, stream: state });
        let NonzaReply { write, session, error, .. } = self.wait_for(stream, answering).await?;
        let resumed = session.map(|session| {
            let jid = session.jid.clone();
            self.session = Some(Held::known(Arc::clone(&self.c2s.hub), session));
            jid
        });
        let error = error.map(|(condition, detail)| StreamError::Extension(condition, detail));
        Ok(Answer { write, resumed, error })
    }

    fn connection(&self) -> Connection {
        let info = ConnectionInfo {
            address: self.peer.to_string(),
            tls: self.tls.clone(),
            since: self.c2s.hub.clock.now_micros(),
        };
        let wake: Arc<dyn Wake> = self.registered.signal.clone();
        Connection { number: self.registered.number(), wake, info }
    }

    /// Keeps a session, so that it is let go of whatever happens.
    fn hold(&mut self, session: SessionRef) -> FullJid {
        let jid = session.jid.clone();
        self.session = Some(Held::new(Arc::clone(&self.c2s.hub), session));
        jid
    }

    fn span(&self) -> tracing::Span {
        tracing::info_span!("negotiation", connection = self.registered.number(), peer = %self.peer)
    }

    fn deadline(&self) -> Instant {
        self.negotiation.as_ref().map_or_else(Instant::now, |negotiation| negotiation.poll_timeout())
    }

    fn into_stream<IO>(self, io: Box<Tls<IO>>) -> Option<Box<Stream<Tls<IO>>>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let (reader, lang) = self.negotiation?.into_reader();
        let peer = Peer { c2s: self.c2s, registered: self.registered, address: self.peer };
        Some(Box::new(Stream::new(peer, io, reader, lang, self.incoming, self.session?)))
    }

    /// Ends the stream with its last words, if there is somebody to hear them.
    async fn end<S, T>(mut self, stream: &mut S, stopped: Stopped) -> Option<T>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let number = self.registered.number();
        let last_words = match &stopped {
            Stopped::Gone(error) => {
                tracing::debug!(connection = number, peer = %self.peer, %error, "connection lost before its stream was bound");
                return None;
            }
            Stopped::Closed => Vec::new(),
            Stopped::Error(error) => {
                note(&self.c2s.sampling, error, number, self.peer, None);
                self.negotiation.as_mut().map(|negotiation| negotiation.last_words(error)).unwrap_or_default()
            }
        };
        close(stream, &last_words, self.c2s.terms.limits.close_within).await;
        None
    }
}

/// Protocol, cipher and key exchange, for people.
fn describe(agreed: &rustls::CommonState) -> String {
    let version = match agreed.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let suite = agreed.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    let suite =
        suite.as_deref().map_or("", |name| name.trim_start_matches("TLS13_").trim_start_matches("TLS_"));
    let group = agreed.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
    [version, suite, group.as_deref().unwrap_or_default()].join(" ").trim_end().to_owned()
}
