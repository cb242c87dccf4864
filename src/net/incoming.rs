//! Reading without a buffer while there is nothing to read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// Reads to the end of `incoming`, with room for at least `bytes`. The count is 0 at the end of the input. While there
/// is nothing to read and nothing is half-read, the buffer has no memory.
pub(crate) fn poll_read<S: AsyncRead + Unpin>(
    io: &mut S,
    cx: &mut Context<'_>,
    incoming: &mut BytesMut,
    bytes: usize,
) -> Poll<io::Result<usize>> {
    incoming.reserve(bytes);
    poll_into(io, cx, incoming)
}

/// The same, where many peers hold back what they began: the buffer is no larger than what is in it and this reading.
pub(crate) fn poll_read_sparingly<S: AsyncRead + Unpin>(
    io: &mut S,
    cx: &mut Context<'_>,
    incoming: &mut BytesMut,
    bytes: usize,
) -> Poll<io::Result<usize>> {
    if incoming.capacity().saturating_sub(incoming.len()) < bytes {
        let mut larger = BytesMut::with_capacity(incoming.len().saturating_add(bytes));
        larger.extend_from_slice(incoming);
        *incoming = larger;
    }
    poll_into(io, cx, incoming)
}

fn poll_into<S: AsyncRead + Unpin>(
    io: &mut S,
    cx: &mut Context<'_>,
    incoming: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    let read = poll_read_buf(Pin::new(io), cx, incoming);
    if incoming.is_empty() {
        *incoming = BytesMut::new();
    }
    match read {
        // A peer that ended without the last word of TLS. Whether its stream was closed, `</stream:stream>` tells.
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
        read => read,
    }
}
