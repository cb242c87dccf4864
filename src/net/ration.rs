//! How much a stranger may make us read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection that gives only so many bytes. TLS itself would gather a handshake message of 64 KiB for anybody.
pub(crate) struct Rationed<IO> {
    io: IO,
    /// Bytes that may still be read; `None` for any number.
    left: Option<usize>,
}

impl<IO> Rationed<IO> {
    pub(crate) fn new(io: IO, bytes: usize) -> Self {
        Self { io, left: Some(bytes) }
    }

    /// The peer may send as much as it likes from now on.
    pub(crate) fn lift(&mut self) {
        self.left = None;
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Rationed<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if let Some(left) = self.left {
            let count = buf.filled().len().saturating_sub(before);
            let Some(left) = left.checked_sub(count) else {
                let error = io::Error::new(io::ErrorKind::InvalidData, "more bytes than a handshake takes");
                return Poll::Ready(Err(error));
            };
            self.left = Some(left);
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Rationed<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_is_over_the_ration_is_not_read() {
        let (mut peer, io) = tokio::io::duplex(64);
        let mut io = Rationed::new(io, 5);
        let mut buffer = [0; 16];
        peer.write_all(b"12345").await.unwrap();
        assert_eq!(io.read(&mut buffer).await.unwrap(), 5);
        peer.write_all(b"6").await.unwrap();
        assert!(io.read(&mut buffer).await.is_err());

        let (mut peer, io) = tokio::io::duplex(64);
        let mut io = Rationed::new(io, 5);
        io.lift();
        peer.write_all(b"1234567").await.unwrap();
        assert_eq!(io.read(&mut buffer).await.unwrap(), 7);
    }
}
