//! Tickets: what is durable, and who waits for it.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use unisono_core::ids::Ticket;
use unisono_core::storage::{BoxFuture, Wake};

/// The last durable ticket, and those who wait for a later one.
#[derive(Default)]
pub(crate) struct Durability {
    durable: AtomicU64,
    waiters: Mutex<Vec<(Ticket, oneshot::Sender<()>)>>,
}

impl Durability {
    /// All up to this ticket is durable.
    pub(crate) fn durable(&self) -> Ticket {
        Ticket(self.durable.load(Ordering::Acquire))
    }

    /// Says that all up to `ticket` is durable. Lower tickets than before change nothing.
    pub(crate) fn advance(&self, ticket: Ticket) {
        self.durable.fetch_max(ticket.0, Ordering::AcqRel);
        let reached = {
            let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
            let (reached, waiting) = mem::take(&mut *waiters).into_iter().partition(|(t, _)| *t <= ticket);
            *waiters = waiting;
            Vec::from_iter(reached)
        };
        for (_, waiter) in reached {
            // Nobody to tell is fine: whoever waited has given up.
            let _ = waiter.send(());
        }
    }

    /// Resolves when `ticket` is durable.
    pub(crate) fn wait(&self, ticket: Ticket) -> BoxFuture<'_, ()> {
        let reached = {
            let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
            // `advance` raises the ticket before it takes this lock, so none slips through between.
            if self.durable() >= ticket {
                return Box::pin(std::future::ready(()));
            }
            let (sender, receiver) = oneshot::channel();
            waiters.push((ticket, sender));
            receiver
        };
        Box::pin(async move {
            if reached.await.is_err() {
                // The store is gone. What is not durable now never will be.
                std::future::pending::<()>().await;
            }
        })
    }
}

/// Wakes each of these once.
pub(crate) fn wake_all(mut wake: Vec<Arc<dyn Wake>>) {
    wake.sort_unstable_by_key(|w| Arc::as_ptr(w).addr());
    wake.dedup_by_key(|w| Arc::as_ptr(w).addr());
    for each in wake {
        each.wake();
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn waiters_resolve_at_their_ticket_and_not_before() {
        let durability = Arc::new(Durability::default());
        durability.wait(Ticket::NONE).await;
        let (second, third) = (durability.wait(Ticket(2)), durability.wait(Ticket(3)));
        durability.advance(Ticket(2));
        second.await;
        assert_eq!(durability.waiters.lock().unwrap().len(), 1);
        durability.advance(Ticket(1));
        assert_eq!(durability.durable(), Ticket(2));
        durability.advance(Ticket(9));
        third.await;
    }

    #[test]
    fn each_is_woken_once() {
        let (one, two) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
        wake_all(vec![one.clone(), two.clone(), one.clone(), one.clone()]);
        assert_eq!((one.0.load(Ordering::Relaxed), two.0.load(Ordering::Relaxed)), (1, 1));
    }
}
