//! Tickets: what is durable, and who waits for it.

use std::collections::HashSet;
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

/// Wakes each of these once, in their order: where they lie in memory decides nothing.
pub(crate) fn wake_all(wake: Vec<Arc<dyn Wake>>) {
    let mut woken = HashSet::with_capacity(wake.len());
    for each in wake {
        if woken.insert(Arc::as_ptr(&each).addr()) {
            each.wake();
        }
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

    use super::*;

    /// Writes its number when it is woken.
    struct Bell(u8, Arc<Mutex<Vec<u8>>>);

    impl Wake for Bell {
        fn wake(&self) {
            self.1.lock().unwrap().push(self.0);
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
    fn each_is_woken_once_in_the_order_of_its_first_commit() {
        let rung = Arc::new(Mutex::new(Vec::new()));
        let bells: Vec<Arc<dyn Wake>> =
            (0..20).map(|number| Arc::new(Bell(number, rung.clone())) as Arc<dyn Wake>).collect();
        let backwards = bells.iter().rev();
        wake_all(backwards.clone().chain(&bells).chain(backwards).cloned().collect());
        assert_eq!(*rung.lock().unwrap(), (0..20).rev().collect::<Vec<u8>>());
    }
}
