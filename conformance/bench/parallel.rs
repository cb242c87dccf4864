//! Many things, a few at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

/// Does it for each number below `count`, at most `limit` of them at a time. Results are in order;
/// the first error ends all.
pub(super) async fn in_parallel<T, F, W>(count: usize, limit: usize, work: W) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send,
    W: Fn(usize) -> F + Send + Sync + 'static,
{
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..limit.min(count) {
        let (work, next) = (Arc::clone(&work), Arc::clone(&next));
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(done);
                }
                done.push((number, work(number).await?));
            }
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(done) = workers.join_next().await {
        all.extend(done.context("a worker ended")??);
    }
    all.sort_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn results_are_in_order_and_an_error_ends_all() {
        let work = |number: usize| async move {
            tokio::task::yield_now().await;
            Ok(number)
        };
        assert_eq!(in_parallel(10, 3, work).await.unwrap(), (0..10).collect::<Vec<_>>());
        let work = |number: usize| async move {
            anyhow::ensure!(number < 5, "five");
            Ok(())
        };
        assert_eq!(in_parallel(10, 3, work).await.unwrap_err().to_string(), "five");
    }
}
