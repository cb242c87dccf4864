//! Reading without a buffer while there is nothing to read.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

/// Reads at most `BYTES` to the end of `incoming`. The count is 0 at the end of the input. While there is nothing to
/// read, nothing is allocated.
pub(crate) fn poll_read<const BYTES: usize, S: AsyncRead + Unpin>(
    io: &mut S,
    cx: &mut Context<'_>,
    incoming: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    poll_read_with::<BYTES, S>(io, cx, |bytes| incoming.extend_from_slice(bytes))
}

/// The same, where many peers hold back what they began: the buffer is no larger than what is in it and one reading.
pub(crate) fn poll_read_sparingly<const BYTES: usize, S: AsyncRead + Unpin>(
    io: &mut S,
    cx: &mut Context<'_>,
    incoming: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    poll_read_with::<BYTES, S>(io, cx, |bytes| {
        if incoming.capacity().saturating_sub(incoming.len()) < bytes.len() {
            let mut larger = BytesMut::with_capacity(incoming.len().saturating_add(BYTES));
            larger.extend_from_slice(incoming);
            *incoming = larger;
        }
        incoming.extend_from_slice(bytes);
    })
}

fn poll_read_with<const BYTES: usize, S: AsyncRead + Unpin>(
    io: &mut S,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<usize>> {
    let mut space = [const { MaybeUninit::uninit() }; BYTES];
    let mut read = ReadBuf::uninit(&mut space);
    match ready!(Pin::new(io).poll_read(cx, &mut read)) {
        // A peer that ended without the last word of TLS. Whether its stream was closed, `</stream:stream>` tells.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        result => result?,
    }
    if !read.filled().is_empty() {
        take(read.filled());
    }
    Poll::Ready(Ok(read.filled().len()))
}
