//! A panic ends one stream, not the server.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// A future panicked. The panic hook has said where.
#[derive(Debug)]
pub(crate) struct Panicked(pub(crate) Box<str>);

/// Runs `future` to its end, or to its panic. What it worked on must not be used as if nothing had happened.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(payload) => {
            metrics::counter!("unisono_panics_total").increment(1);
            Poll::Ready(Err(Panicked(message(payload.as_ref()))))
        }
    })
    .await
}

fn message(payload: &(dyn Any + Send)) -> Box<str> {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown").into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_a_result_a_result() {
        assert_eq!(caught(async { 1 }).await.unwrap(), 1);
        let number = 7;
        let panicked = caught(async move {
            tokio::task::yield_now().await;
            assert!(number == 8, "no {number}");
        });
        assert_eq!(&*panicked.await.unwrap_err().0, "no 7");
    }
}
