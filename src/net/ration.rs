//! How much a stranger may make us read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};

use crate::limits::STRANGER_ELEMENT_BYTES_MAX;
use crate::tls::TlsStream;

/// Bytes of a client's part in a TLS handshake: about 2 KiB with a post-quantum key, and we ask for no certificate.
const HANDSHAKE_BYTES_MAX: u64 = 8 * 1024;
/// Bytes that a stranger may send inside of TLS before all of it is understood, as they come on the wire: the largest
/// element and some more. TLS would hold a record of 16 KiB that is not complete, and gather a message of its own of
/// 64 KiB.
const STRANGER_BYTES_MAX: u64 = STRANGER_ELEMENT_BYTES_MAX as u64 + 1024;

/// Any number of bytes.
const ALL: u64 = u64::MAX;

/// A connection that gives only so many bytes.
pub(crate) struct Rationed<IO>(Take<IO>);

impl<IO: AsyncRead> Rationed<IO> {
    /// A connection in the clear, whose bytes nobody holds but we.
    pub(crate) fn new(io: IO) -> Self {
        Self(io.take(ALL))
    }

    /// A TLS handshake begins.
    pub(crate) fn begin_handshake(&mut self) {
        self.0.set_limit(HANDSHAKE_BYTES_MAX);
    }
}

/// What a negotiation reads from.
pub(crate) trait Source: AsyncRead + AsyncWrite + Unpin {
    /// All that came is understood, and the client may send on: a little, as long as it is not known.
    fn go_on(&mut self, is_known: bool);
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Source for Rationed<IO> {
    fn go_on(&mut self, _: bool) {}
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Source for TlsStream<Rationed<IO>> {
    fn go_on(&mut self, is_known: bool) {
        // What TLS holds was on the wire and led to nothing: messages of its own that are not complete.
        let left = STRANGER_BYTES_MAX.saturating_sub(self.held() as u64);
        self.io_mut().0.set_limit(if is_known { ALL } else { left });
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Rationed<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.limit() == 0 {
            let error = io::Error::new(io::ErrorKind::InvalidData, "more bytes than a stranger has to send");
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Rationed<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.0.get_mut()).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get_mut()).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.0.get_mut()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.get_ref().is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_over_the_ration_is_not_read() {
        let (mut peer, io) = tokio::io::duplex(64);
        let mut io = Rationed(io.take(5));
        let mut buffer = [0; 16];
        peer.write_all(b"123456").await.unwrap();
        assert_eq!(io.read(&mut buffer).await.unwrap(), 5);
        assert!(io.read(&mut buffer).await.is_err());

        let (mut peer, io) = tokio::io::duplex(64);
        let mut io = Rationed::new(io);
        peer.write_all(b"1234567").await.unwrap();
        assert_eq!(io.read(&mut buffer).await.unwrap(), 7);
    }
}
