//! A panic ends one stream, not the server.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// A future panicked. The panic hook has said where.
#[derive(Debug)]
pub(crate) struct Panicked(pub(crate) Box<str>);

/// Runs `future` to its end, or to its panic. What it worked on must not be used as if nothing had happened. The caller
/// pins it: moved in here, it would have its room twice.
pub(crate) async fn caught<F: Future + Unpin>(mut future: F) -> Result<F::Output, Panicked> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut future).poll(cx))) {
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
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_a_result_a_result() {
        assert_eq!(caught(pin!(async { 1 })).await.unwrap(), 1);
        let number = 7;
        let panics = pin!(async move {
            tokio::task::yield_now().await;
            assert!(number == 8, "no {number}");
        });
        assert_eq!(&*caught(panics).await.unwrap_err().0, "no 7");
    }
}
