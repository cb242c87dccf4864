//! How a bound stream ends (RFC 6120 §4.4, XEP-0190).

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use unisono_core::writing::Drained;

use super::{End, Finished, Outgoing, Pending, Stream, WRITE_BYTES};
use crate::arrival::{close, note};
use crate::error::{CLOSE, StreamError};

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// Says what there is left to say. A session that the client did not close outlives this if it can be resumed.
    pub(super) async fn finish(mut self: Box<Self>, end: End) {
        let number = self.peer.registered.number();
        let address = self.peer.address;
        let within = self.peer.c2s.terms.limits.close_within;
        let mut last_words = Vec::new();
        match end {
            End::Lost(error) => {
                tracing::info!(connection = number, jid = %self.held.session.jid, %error, "connection lost");
                return;
            }
            End::Closed => {
                tracing::info!(connection = number, jid = %self.held.session.jid, "stream closed by the client");
                self.pass_on_in_time().await;
                self.held.hub.close(&self.held.session);
                last_words.extend_from_slice(CLOSE);
            }
            End::Error(error) => {
                note(&error, number, address, Some(&self.held.session.jid));
                if error == StreamError::Shutdown {
                    self.pass_on_in_time().await;
                }
                self.held.hub.detach(&self.held.session);
                error.write_into(&mut last_words);
            }
        }
        let mut rest = std::mem::take(&mut self.outgoing).into_rest();
        rest.append(&mut last_words);
        close(&mut *self.io, &rest, within).await;
    }

    /// Writes what is due to the client, as far as there is time.
    async fn pass_on_in_time(&mut self) {
        let within = self.peer.c2s.terms.limits.close_within;
        match timeout(within, self.pass_on()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cannot write what is due"),
            Err(_elapsed) => tracing::debug!("no time left to write what is due"),
        }
    }

    /// Finishes the stanza that is being handled, waits until all that the client sent is durable, and writes the
    /// answers.
    async fn pass_on(&mut self) -> io::Result<()> {
        let finished = match &mut self.pending {
            Some(Pending::Stanza(future)) => Some(Finished::Stanza(future.as_mut().await)),
            Some(Pending::Nonza(future)) => Some(Finished::Nonza(future.as_mut().await)),
            None => None,
        };
        self.pending = None;
        match finished {
            Some(Finished::Stanza(ticket)) => self.wait_for(ticket),
            Some(Finished::Nonza(reply)) => self.reply(reply).map_err(|_| io::ErrorKind::InvalidData)?,
            None => {}
        }
        if let Some(last) = self.window.iter().max().copied() {
            self.held.hub.store.wait(last).await;
        }
        if let Some(refill) = self.refill.take() {
            let _read_again_below = refill.await;
        }
        loop {
            self.write_all().await?;
            match self.held.hub.drain(&self.held.session, &mut self.outgoing.bytes, WRITE_BYTES) {
                Drained::Idle(_) => return self.write_all().await,
                Drained::More => {}
                Drained::Read(positions) => {
                    let read = self.held.hub.refill(&self.held.session, positions).await;
                    read.map_err(|_| io::ErrorKind::Other)?;
                }
                Drained::CatchUp => {
                    let read = self.held.hub.read_on(&self.held.session).await;
                    read.map_err(|_| io::ErrorKind::Other)?;
                }
                Drained::Gone(_) => return Ok(()),
            }
        }
    }

    async fn write_all(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.outgoing).into_rest();
        self.io.write_all(&rest).await?;
        self.outgoing = Outgoing::default();
        self.io.flush().await
    }
}
