//! A bound stream: stanzas in, the session's outbox out (RFC 6120 §8).

mod finish;
mod intake;
mod outgoing;
mod pace;
mod silence;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use compact_str::CompactString;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};
use unisono_core::extension::{NonzaReply, NonzaRequest, StreamState};
use unisono_core::hub::{Hub, SessionRef};
use unisono_core::ids::Ticket;
use unisono_core::receive::Receipt;
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_core::storage::{BoxFuture, StoreError};
use unisono_core::writing::Drained;
use unisono_xml::{Element, StreamEvent, StreamReader};

use self::intake::{Kind, classify, in_language};
use self::outgoing::Outgoing;
use self::pace::Pace;
use self::silence::Silence;
use crate::error::{Said, StreamError};
use crate::incoming::poll_read;
use crate::panic::{Panicked, caught};
use crate::server::{C2s, Registered};
use crate::signal::Notice;
use crate::tls::READ_BYTES;

/// Bytes that are taken from the outbox at a time. TLS cuts them into records of 16 KiB.
const WRITE_BYTES: usize = 32 * 1024;
/// Bytes of replies that no outbox counts: with so many unwritten, nothing more is read.
const REPLY_BYTES: usize = 32 * 1024;

/// A session in the hands of its connection. It is let go of in any case: a connection that ends without saying how
/// has broken, and a resumable session waits for the next one.
pub(crate) struct Held {
    hub: Arc<Hub>,
    session: SessionRef,
    /// Its client may know of it.
    is_announced: bool,
}

impl Held {
    /// A session that its client knows from before.
    pub(crate) fn known(hub: Arc<Hub>, session: SessionRef) -> Self {
        Self { hub, session, is_announced: true }
    }

    /// A session that its client is still to hear of.
    pub(crate) fn new(hub: Arc<Hub>, session: SessionRef) -> Self {
        Self { hub, session, is_announced: false }
    }

    /// Its client is told of it.
    pub(crate) fn announce(&mut self) {
        self.is_announced = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_announced {
            self.hub.detach(&self.session);
        } else {
            // Nobody can come back to what nobody has heard of.
            self.hub.close(&self.session, false);
        }
    }
}

/// The other end, and what is kept of the connection.
pub(crate) struct Peer {
    pub(crate) c2s: Arc<C2s>,
    pub(crate) registered: Registered,
    pub(crate) address: SocketAddr,
}

/// One bound stream. It is small while it is idle: buffers exist only while there is something in them.
pub(crate) struct Stream<S> {
    peer: Peer,
    held: Held,
    io: Box<S>,
    reader: StreamReader,
    /// The language of stanzas that do not name theirs.
    lang: Option<CompactString>,
    incoming: BytesMut,
    outgoing: Outgoing,
    /// What the stanzas read so far wait for, as far as it is not durable.
    window: VecDeque<Ticket>,
    /// A stanza that is not finished; the next one waits for it.
    pending: Option<Pending>,
    /// A part of the outbox that is being read from the log.
    refill: Option<BoxFuture<'static, Result<(), StoreError>>>,
    /// The window is full: until its oldest ticket is durable, nothing is read.
    full: Option<BoxFuture<'static, ()>>,
    pace: Pace,
    /// Whether the session may have something to write.
    due: bool,
    /// The client will send nothing more.
    closed: Option<Closed>,
    silence: Silence,
    /// When to see whether the device is to be asked what it has.
    ask_at: Option<Instant>,
}

/// How a client ends its stream.
enum Closed {
    /// By `</stream:stream>`.
    Properly,
    /// By a stream error of its own, with this condition.
    ByError(Said),
}

enum Pending {
    Stanza(BoxFuture<'static, Ticket>),
    Nonza(BoxFuture<'static, NonzaReply>),
}

/// What a pending stanza came to.
enum Finished {
    Stanza(Ticket),
    Nonza(NonzaReply),
}

impl Pending {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Finished> {
        match self {
            Self::Stanza(future) => future.as_mut().poll(cx).map(Finished::Stanza),
            Self::Nonza(future) => future.as_mut().poll(cx).map(Finished::Nonza),
        }
    }
}

/// What a connection waits for.
enum Event {
    Notice(Notice),
    Time,
    Finished(Finished),
    Refilled(Result<(), StoreError>),
    Durable,
    /// A client that was too fast may go on.
    Rested,
    Wrote(usize),
    Read(usize),
}

/// How a stream ends where it does not end by an error of the stream.
enum End {
    /// The connection broke.
    Lost(io::Error),
    /// The client closed its stream.
    Closed(Closed),
    Error(StreamError),
}

impl From<StreamError> for End {
    fn from(error: StreamError) -> Self {
        Self::Error(error)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    pub(crate) fn new(
        peer: Peer,
        io: Box<S>,
        reader: StreamReader,
        lang: Option<CompactString>,
        incoming: BytesMut,
        held: Held,
    ) -> Self {
        tracing::info!(
            connection = peer.registered.number(),
            peer = %peer.address,
            jid = %held.session.jid,
            "stream is bound"
        );
        Self {
            peer,
            held,
            io,
            reader,
            lang,
            incoming,
            outgoing: Outgoing::default(),
            window: VecDeque::new(),
            pending: None,
            refill: None,
            full: None,
            pace: Pace::new(),
            due: true,
            closed: None,
            silence: Silence::new(),
            ask_at: None,
        }
    }

    /// Serves the stream to its end.
    pub(crate) async fn run(mut self: Box<Self>) {
        let number = self.peer.registered.number();
        let ended = caught(pin!(self.serve())).await;
        let end = ended.unwrap_or_else(|Panicked(message)| {
            tracing::error!(connection = number, jid = %self.held.session.jid, %message, "a handler has failed");
            End::Error(StreamError::Internal)
        });
        // Rarely used and large: it has no place in what an idle stream keeps.
        if let Err(Panicked(message)) = caught(Box::pin(self.finish(end))).await {
            tracing::error!(connection = number, %message, "a handler has failed at the end of a stream");
        }
    }

    async fn serve(&mut self) -> End {
        let mut timer = pin!(sleep_until(self.next_look()));
        // What came with the last element of the negotiation was read already.
        if let Err(end) = self.go_on() {
            return end;
        }
        loop {
            let event = poll_fn(|cx| self.poll_event(cx, timer.as_mut())).await;
            let went_on = match event {
                Ok(event) => self.handle(event, timer.as_mut()),
                Err(error) => return End::Lost(error),
            };
            if let Err(end) = went_on {
                return end;
            }
            if let Some(at) = self.ask_at.filter(|at| *at < timer.deadline()) {
                timer.as_mut().reset(at);
            }
        }
    }

    /// What happens next: first stopping, then deadlines, then what drains, then new work.
    fn poll_event(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<io::Result<Event>> {
        if let Poll::Ready(notice) = self.peer.registered.signal.poll_notice(cx) {
            return Poll::Ready(Ok(Event::Notice(notice)));
        }
        if timer.poll(cx).is_ready() {
            return Poll::Ready(Ok(Event::Time));
        }
        if let Some(pending) = &mut self.pending
            && let Poll::Ready(finished) = pending.poll(cx)
        {
            self.pending = None;
            return Poll::Ready(Ok(Event::Finished(finished)));
        }
        if let Some(refill) = &mut self.refill
            && let Poll::Ready(result) = refill.as_mut().poll(cx)
        {
            self.refill = None;
            return Poll::Ready(Ok(Event::Refilled(result)));
        }
        if let Some(full) = &mut self.full
            && full.as_mut().poll(cx).is_ready()
        {
            self.full = None;
            return Poll::Ready(Ok(Event::Durable));
        }
        if self.pace.poll_over(cx).is_ready() {
            return Poll::Ready(Ok(Event::Rested));
        }
        if let Poll::Ready(count) = self.outgoing.poll_write(&mut *self.io, cx) {
            return Poll::Ready(count.map(Event::Wrote));
        }
        if !self.wants_input() {
            return Poll::Pending;
        }
        poll_read::<READ_BYTES, _>(&mut *self.io, cx, &mut self.incoming).map_ok(Event::Read)
    }

    fn handle(&mut self, event: Event, timer: Pin<&mut Sleep>) -> Result<(), End> {
        if matches!(event, Event::Durable | Event::Rested | Event::Finished(_)) {
            // What it said meanwhile is read only now.
            self.excuse_silence(Instant::now());
        }
        match event {
            Event::Notice(Notice::Stop) => return Err(StreamError::Shutdown.into()),
            Event::Notice(Notice::Wake) => self.due = true,
            Event::Time => self.look_at_silence(timer)?,
            Event::Finished(Finished::Stanza(ticket)) => self.wait_for(ticket),
            Event::Finished(Finished::Nonza(reply)) => self.reply(reply)?,
            Event::Refilled(result) => self.refilled(result)?,
            Event::Durable | Event::Rested => {}
            Event::Wrote(count) => {
                self.silence.takes();
                self.peer.c2s.counts.bytes_out.increment(count as u64);
            }
            Event::Read(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Event::Read(count) => {
                let now = Instant::now();
                self.silence.broken(now);
                self.pace.bytes(&self.peer.c2s.terms.limits, now, count);
                self.peer.c2s.counts.bytes_in.increment(count as u64);
            }
        }
        self.go_on()
    }

    /// Handles what was read, and takes what is to be written.
    fn go_on(&mut self) -> Result<(), End> {
        self.take_in()?;
        self.fill()?;
        self.closed.take().map_or(Ok(()), |closed| Err(End::Closed(closed)))
    }

    /// Reads elements as long as they may be handled.
    fn take_in(&mut self) -> Result<(), StreamError> {
        while self.wants_input() {
            match self.reader.next(&mut self.incoming)? {
                None => break,
                Some(StreamEvent::Element(element)) => self.element(element)?,
                Some(StreamEvent::Close) => self.closed = Some(Closed::Properly),
                Some(StreamEvent::Open(header)) => {
                    return Err(StreamError::UnknownElement(Said::new(header.element().name())));
                }
            }
        }
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
        Ok(())
    }

    /// Whether another stanza may be taken.
    fn wants_input(&self) -> bool {
        let has_room = self.outgoing.replies < REPLY_BYTES;
        let is_free = self.pending.is_none() && self.full.is_none() && !self.pace.is_paused();
        is_free && has_room && self.closed.is_none()
    }

    fn element(&mut self, element: Element) -> Result<(), StreamError> {
        self.pace.stanza(&self.peer.c2s.terms.limits);
        let hub = &self.held.hub;
        let session = &self.held.session;
        match classify(&element, &session.jid)? {
            Kind::Stanza => {
                let element = in_language(element, self.lang.as_ref());
                match hub.receive(session, &element) {
                    Receipt::Done(ticket) => self.wait_for(ticket),
                    Receipt::Later(future) => self.pending = Some(Pending::Stanza(future)),
                }
            }
            Kind::Nonza => {
                let handler = hub
                    .registry
                    .nonza_handler(&element)
                    .ok_or_else(|| StreamError::UnknownElement(Said::new(element.name())))?;
                let stream = StreamState::Bound(session.clone());
                let request = NonzaRequest { hub: Arc::clone(hub), element, stream };
                self.pending = Some(Pending::Nonza(handler(request)));
            }
            // RFC 6120 §4.9.1.1: whatever follows, this stream is over.
            Kind::Error => {
                let condition = element.first_child().map_or("", Element::name);
                self.closed = Some(Closed::ByError(Said::new(condition)));
            }
        }
        Ok(())
    }

    /// A stanza is done, but perhaps not durable.
    fn wait_for(&mut self, ticket: Ticket) {
        let store = &self.held.hub.store;
        let durable = store.durable();
        while self.window.front().is_some_and(|oldest| *oldest <= durable) {
            self.window.pop_front();
        }
        if ticket > durable {
            self.window.push_back(ticket);
        } else if self.window.is_empty() {
            self.window = VecDeque::new();
        }
        if let Some(oldest) = self.window.front().copied()
            && self.window.len() >= self.peer.c2s.terms.limits.window
        {
            let store = Arc::clone(store);
            self.full = Some(Box::pin(async move { store.wait(oldest).await }));
        }
    }

    fn reply(&mut self, reply: NonzaReply) -> Result<(), StreamError> {
        let before = self.outgoing.bytes.len();
        for element in &reply.write {
            element.write_into(&mut self.outgoing.bytes, &CLIENT_SCOPE);
        }
        let written = self.outgoing.bytes.len().saturating_sub(before);
        self.outgoing.replies = self.outgoing.replies.saturating_add(written);
        self.wait_for(reply.ticket);
        match reply.error {
            Some((condition, detail)) => Err(StreamError::Extension(condition, detail)),
            None => Ok(()),
        }
    }

    /// Takes from the outbox what can be written, once all before it is written.
    fn fill(&mut self) -> Result<(), StreamError> {
        if !self.due || self.refill.is_some() || matches!(self.pending, Some(Pending::Nonza(_))) {
            // XEP-0198 §4: what is written before the answer to `<enable/>` is not counted, so nothing slips in.
            return Ok(());
        }
        if !self.outgoing.is_empty() {
            // Nobody reads what is written. The session may be another connection's by now.
            return self
                .held
                .hub
                .lost(&self.held.session)
                .map_or(Ok(()), |reason| Err(StreamError::SessionEnded(reason)));
        }
        match self.held.hub.drain(&self.held.session, &mut self.outgoing.bytes, WRITE_BYTES) {
            Drained::Idle(again) => {
                self.due = false;
                let again = again.and_then(|after| Instant::now().checked_add(after));
                self.ask_at = self.ask_at.into_iter().chain(again).min();
            }
            Drained::More => {}
            Drained::Read(positions) => {
                let (hub, session) = (Arc::clone(&self.held.hub), self.held.session.clone());
                self.refill = Some(Box::pin(async move { hub.refill(&session, positions).await }));
            }
            Drained::CatchUp => {
                let (hub, session) = (Arc::clone(&self.held.hub), self.held.session.clone());
                self.refill = Some(Box::pin(async move { hub.read_on(&session).await }));
            }
            Drained::Gone(condition) => return Err(StreamError::SessionEnded(condition)),
        }
        Ok(())
    }

    fn refilled(&mut self, result: Result<(), StoreError>) -> Result<(), StreamError> {
        result.map_err(|error| {
            tracing::error!(jid = %self.held.session.jid, %error, "cannot read what waits for a device");
            StreamError::Internal
        })
    }
}
