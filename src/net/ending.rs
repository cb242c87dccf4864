//! The end of a stream, wherever it had come to.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use unisono_core::jid::FullJid;

use crate::error::StreamError;
use crate::sampling::Sampling;

/// Bytes that are thrown away, and the time in which they may come, before a connection with an error is closed. Closed
/// at once, it would be reset, and the error might never be seen.
const LINGER_BYTES: usize = 64 * 1024;
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// Logs and counts the error that a stream ends by.
pub(crate) fn note(
    sampling: &Sampling,
    error: &StreamError,
    connection: u64,
    peer: SocketAddr,
    jid: Option<&FullJid>,
) {
    let condition = error.condition();
    let condition = condition.as_str();
    metrics::counter!("unisono_client_stream_errors_total", "condition" => condition).increment(1);
    let jid = jid.map(tracing::field::display);
    if !error.is_theirs() {
        tracing::debug!(connection, %peer, jid, condition, %error, "stream ends");
        return;
    }
    let Some(line) = sampling.line(Instant::now(), peer.ip(), condition) else { return };
    let left_out = line.left_out;
    tracing::info!(connection, %peer, jid, condition, %error, left_out, "stream ends by an error");
    line.note_last(peer.ip(), condition);
}

/// Writes what is left, closes our side, and waits a moment for the other (XEP-0190).
pub(crate) async fn close<S>(stream: &mut S, last_words: &[u8], within: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let closing = async {
        stream.write_all(last_words).await?;
        stream.shutdown().await
    };
    if !matches!(timeout(within, closing).await, Ok(Ok(()))) {
        return;
    }
    let draining = async {
        let mut thrown_away = [0; 256];
        let mut total = 0_usize;
        while let Ok(count @ 1..) = stream.read(&mut thrown_away).await {
            total = total.saturating_add(count);
            if total > LINGER_BYTES {
                break;
            }
        }
    };
    // Whether the other side closed or not, this is the end.
    let _closed = timeout(LINGER, draining).await;
}
