//! A connection inside of TLS that has buffers only while something is in them.
//!
//! The buffered connections of rustls, and so those of tokio-rustls, keep 4 KiB to read into as long as they live, more
//! than all the rest of an idle stream. Here rustls works on buffers of ours: what comes is decrypted where it was read
//! to, mostly on the stack, and what goes out is encrypted when it is written.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use rustls::{CommonState, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::session::{RECORD_BYTES_MAX, Session};

/// Bytes that are read at a time. Who sends too fast is that much ahead.
pub(crate) const READ_BYTES: usize = 4 * 1024;
/// Bytes that are encrypted before what they became has to be written.
const WRITE_BYTES: usize = 2 * RECORD_BYTES_MAX;
/// Bytes that may come before they make sense: a record, with all that TLS 1.2 allows around it (RFC 5246 §6.2.3). rustls
/// would gather messages of 64 KiB; none of a client is as long as a record.
const INCOMPLETE_BYTES_MAX: usize = RECORD_BYTES_MAX + 2048 + 5;

/// The server's side of a TLS connection on `io`.
///
/// It reads like what is inside: the end of the input is `close_notify`, and one without it is an error.
pub struct TlsStream<IO> {
    io: IO,
    session: Session,
    /// The beginning of what is not understood yet.
    incoming: BytesMut,
    /// How many bytes of what goes out are written.
    written: usize,
    /// Nothing more goes out.
    is_shut: bool,
}

impl<IO> TlsStream<IO> {
    /// The connection that TLS is on.
    pub(crate) fn io_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    /// Bytes that were read and are not understood.
    pub(crate) fn held(&self) -> usize {
        self.incoming.len()
    }

    /// What was agreed upon.
    pub(crate) fn agreed(&self) -> &CommonState {
        self.session.agreed()
    }
}

impl<IO> fmt::Debug for TlsStream<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").finish_non_exhaustive()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> TlsStream<IO> {
    /// Makes the handshake, with a client of which `hello` was read. The caller sets the deadline.
    pub(super) async fn accept(config: Arc<ServerConfig>, io: IO, hello: BytesMut) -> io::Result<Self> {
        let session = Session::new(config)?;
        let mut stream = Self { io, session, incoming: hello, written: 0, is_shut: false };
        let mut understood = stream.understand(None);
        while understood.is_ok() && stream.agreed().is_handshaking() {
            poll_fn(|cx| stream.poll_send(cx)).await?;
            understood = poll_fn(|cx| stream.poll_receive(cx, None)).await;
        }
        // The last message or a ticket, or the alert.
        let sent = poll_fn(|cx| stream.poll_flush_all(cx)).await;
        understood.and(sent).map(|()| stream)
    }

    /// Reads and understands what comes next. Plain text goes to `first`, as far as there is room.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        first: Option<&mut ReadBuf<'_>>,
    ) -> Poll<io::Result<()>> {
        self.session.check()?;
        let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        if !self.incoming.is_empty() {
            self.incoming.extend_from_slice(read.filled());
            return Poll::Ready(self.understand(first));
        }
        let records = read.filled_mut();
        let done = self.session.receive(records, first)?;
        self.incoming.extend_from_slice(records.get(done..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }

    /// Understands what was read before, and has more behind it now.
    fn understand(&mut self, first: Option<&mut ReadBuf<'_>>) -> io::Result<()> {
        let done = self.session.receive(&mut self.incoming, first)?;
        self.forget(done);
        if self.incoming.len() > INCOMPLETE_BYTES_MAX {
            return self.session.fail("a TLS message without its end");
        }
        Ok(())
    }

    /// So many bytes of what was read are done with.
    fn forget(&mut self, done: usize) {
        self.incoming.advance(done.min(self.incoming.len()));
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
    }

    /// Writes what is encrypted.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.session.outgoing.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written = self.written.saturating_add(count),
            }
        }
        (self.session.outgoing, self.written) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Writes what can be written now.
    fn send(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.poll_send(cx) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Ok(()),
        }
    }

    fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        while this.session.plain.is_empty() && buf.filled().len() == before && !this.session.is_ended() {
            let received = ready!(this.poll_receive(cx, Some(&mut *buf)));
            // An answer of TLS itself, or the alert that says why it ends. It is not waited for.
            let sent = this.send(cx);
            if buf.filled().len() == before && this.session.plain.is_empty() {
                received.and(sent)?;
            }
            // Else what came before the error is read, and the next reading tells it.
        }
        let plain = &mut this.session.plain;
        if buf.filled().len() == before && !plain.is_empty() {
            let fitting = plain.len().min(buf.remaining());
            buf.put_slice(plain.get(..fitting).unwrap_or_default());
            plain.advance(fitting);
            if plain.is_empty() {
                *plain = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        if this.is_shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let piece = buf.get(..WRITE_BYTES).unwrap_or(buf);
        let done = this.session.encrypt(&mut this.incoming, piece)?;
        this.forget(done);
        // What cannot be written goes with the next piece or with a flush.
        this.send(cx)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush_all(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !mem::replace(&mut this.is_shut, true) {
            // Where TLS has failed, the alert has said so.
            let done = this.session.close(&mut this.incoming).unwrap_or_default();
            this.forget(done);
        }
        ready!(this.poll_flush_all(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
