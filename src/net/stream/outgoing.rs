//! What a connection writes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// Bytes on their way out.
#[derive(Default)]
pub(super) struct Outgoing {
    pub(super) bytes: Vec<u8>,
    /// How many of them answer what the client asked outside of stanzas.
    pub(super) replies: usize,
    /// How many of them are written.
    written: usize,
    /// TLS may hold back what it took.
    unflushed: bool,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes what there is. Ready when something was written, all of it or not.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut total = 0_usize;
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut *io).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.written = self.written.saturating_add(count);
                    total = total.saturating_add(count);
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if total > 0 => return Poll::Ready(Ok(total)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if !self.bytes.is_empty() {
            *self = Self { unflushed: true, ..Self::default() };
        }
        if self.unflushed {
            match Pin::new(io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        if total > 0 { Poll::Ready(Ok(total)) } else { Poll::Pending }
    }

    /// What is not written yet.
    pub(super) fn into_rest(self) -> Vec<u8> {
        let Self { mut bytes, written, .. } = self;
        bytes.drain(..written.min(bytes.len()));
        bytes
    }
}
