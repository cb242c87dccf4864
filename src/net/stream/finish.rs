//! How a bound stream ends (RFC 6120 §4.4, XEP-0190).

use std::future::poll_fn;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_core::writing::Drained;

use super::{Closed, End, Finished, Outgoing, Pending, READ_BYTES, Stream, WRITE_BYTES};
use crate::ending::{LINGER, close, note};
use crate::error::{CLOSE, StreamError};
use crate::incoming::poll_read;

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// Says what there is left to say. A session that the client did not close outlives this if it can be resumed.
    pub(super) async fn finish(mut self: Box<Self>, end: End) {
        let number = self.peer.registered.number();
        let address = self.peer.address;
        let within = self.peer.c2s.terms.limits.close_within;
        let mut last_words = Vec::new();
        let end = match end {
            End::Error(StreamError::Shutdown) => {
                let jid = &self.held.session.jid;
                note(&self.peer.c2s.sampling, &StreamError::Shutdown, number, address, Some(jid));
                match self.take_leave().await {
                    Some(closed) => End::Closed(closed),
                    None => return,
                }
            }
            end => end,
        };
        let jid = &self.held.session.jid;
        match end {
            End::Lost(error) => {
                tracing::info!(connection = number, %jid, %error, "connection lost");
                return;
            }
            End::Closed(Closed::Properly) => {
                tracing::info!(connection = number, %jid, "stream closed by the client");
                let until = self.close_until();
                let told = self.pass_on_in_time(until, Leaver::Client).await;
                let closed = self.held.hub.close(&self.held.session, told);
                if timeout_at(until, self.held.hub.store.wait(closed)).await.is_err() {
                    tracing::debug!(connection = number, "no time left to store what the device has");
                }
                last_words.extend_from_slice(CLOSE);
            }
            End::Closed(Closed::ByError(condition)) => {
                tracing::info!(connection = number, %jid, ?condition, "stream ended by an error of the client");
                self.held.hub.detach(&self.held.session);
                last_words.extend_from_slice(CLOSE);
            }
            End::Error(error) => {
                note(&self.peer.c2s.sampling, &error, number, address, Some(jid));
                if let Some(last_word) = self.held.hub.last_word(&self.held.session) {
                    last_word.write_into(&mut last_words, &CLIENT_SCOPE);
                }
                self.held.hub.detach(&self.held.session);
                error.write_into(&mut last_words);
            }
        }
        let mut rest = std::mem::take(&mut self.outgoing).into_rest();
        rest.append(&mut last_words);
        close(&mut *self.io, &rest, within).await;
    }

    /// The server stops, and the client has done nothing wrong: what it sent before it learns of that is handled (§4.4,
    /// second rule). Answers to what comes after our last word wait for the next stream.
    ///
    /// A client that had ended its stream before it could learn of that is returned, and nothing is said to it yet.
    async fn take_leave(&mut self) -> Option<Closed> {
        let until = self.close_until();
        // What is wrong with it matters to nobody any more: the stream has its error already.
        let _heard = timeout_at(until, self.handle_received()).await;
        if let Some(closed) = self.closed.take() {
            return Some(closed);
        }
        let _passed_on = self.pass_on_in_time(until, Leaver::Server).await;
        let mut rest = std::mem::take(&mut self.outgoing).into_rest();
        // Clients that are told of an error give a session up that waits for them. To one whose connection is gone they come
        // back (XEP-0198 §5).
        if !self.held.hub.is_resumable(&self.held.session) {
            StreamError::Shutdown.write_into(&mut rest);
        }
        let closing = async {
            self.io.write_all(&rest).await?;
            self.io.shutdown().await
        };
        if matches!(timeout_at(until.max(in_a_moment()), closing).await, Ok(Ok(()))) {
            // A phone that sleeps says nothing, and each stop would take as long as it is waited for.
            let _heard = timeout_at(in_a_moment(), self.hear_out()).await;
        }
        self.held.hub.detach(&self.held.session);
        None
    }

    fn close_until(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.peer.c2s.terms.limits.close_within).unwrap_or(now)
    }

    /// Handles what has been read.
    async fn handle_received(&mut self) -> Result<(), StreamError> {
        loop {
            self.finish_pending().await?;
            if let Some(full) = &mut self.full {
                full.as_mut().await;
                self.full = None;
            }
            // What has been read is bounded, and there is no time to rest.
            self.pace.end_pause();
            self.outgoing.replies = 0;
            self.take_in()?;
            if self.pending.is_none() && self.full.is_none() && !self.pace.is_paused() {
                return Ok(());
            }
        }
    }

    /// Handles what still comes, until the client closes its stream or the connection ends.
    async fn hear_out(&mut self) -> Result<(), StreamError> {
        loop {
            self.handle_received().await?;
            if self.closed.is_some() {
                return Ok(());
            }
            // The last word is said, and no reply comes after it.
            self.outgoing = Outgoing::default();
            let reading = poll_fn(|cx| poll_read::<READ_BYTES, _>(&mut *self.io, cx, &mut self.incoming));
            if !matches!(reading.await, Ok(1..)) {
                return Ok(());
            }
        }
    }

    /// Finishes the stanza that is being handled.
    async fn finish_pending(&mut self) -> Result<(), StreamError> {
        let finished = match &mut self.pending {
            Some(Pending::Stanza(future)) => Finished::Stanza(future.as_mut().await),
            Some(Pending::Nonza(future)) => Finished::Nonza(future.as_mut().await),
            None => return Ok(()),
        };
        self.pending = None;
        match finished {
            Finished::Stanza(ticket) => self.wait_for(ticket),
            Finished::Nonza(reply) => self.reply(reply)?,
        }
        Ok(())
    }

    /// Writes what is due to the client, as far as there is time. Whether that was all of it.
    async fn pass_on_in_time(&mut self, until: Instant, leaver: Leaver) -> bool {
        match timeout_at(until, self.pass_on(leaver)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => tracing::debug!(%error, "cannot write what is due"),
            Err(_elapsed) => tracing::debug!("no time left to write what is due"),
        }
        false
    }

    /// Finishes the stanza that is being handled, waits until all that the client sent is durable, and writes the
    /// answers.
    async fn pass_on(&mut self, leaver: Leaver) -> io::Result<()> {
        self.finish_pending().await.map_err(|_| io::ErrorKind::InvalidData)?;
        let told = self.held.hub.last_acknowledgement(&self.held.session);
        self.wait_for(told);
        if let Some(last) = self.window.iter().max().copied() {
            self.held.hub.store.wait(last).await;
        }
        // If it is due, it is read again below.
        self.refill = None;
        loop {
            self.write_all().await?;
            match self.held.hub.drain(&self.held.session, &mut self.outgoing.bytes, WRITE_BYTES) {
                Drained::Idle(_) => return self.write_all().await,
                Drained::More => {}
                Drained::Read(positions) => {
                    let read = self.held.hub.refill(&self.held.session, positions).await;
                    read.map_err(|_| io::ErrorKind::Other)?;
                }
                // Who says goodbye reads no backlog, and what is written would count as received.
                Drained::CatchUp if leaver == Leaver::Client => return self.write_all().await,
                Drained::CatchUp => {
                    let read = self.held.hub.read_on(&self.held.session).await;
                    read.map_err(|_| io::ErrorKind::Other)?;
                }
                Drained::Gone(_) => return Ok(()),
            }
        }
    }

    /// Writes all that is taken from the outbox. What it did not come to stays there, should the time be over.
    async fn write_all(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            poll_fn(|cx| self.outgoing.poll_write(&mut *self.io, cx)).await?;
        }
        self.io.flush().await
    }
}

/// Who ends the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaver {
    Client,
    Server,
}

/// However long the rest took, there is so much time for what comes next.
fn in_a_moment() -> Instant {
    let now = Instant::now();
    now.checked_add(LINGER).unwrap_or(now)
}
