//! What waits to be committed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use unisono_core::ids::Ticket;
use unisono_core::storage::Commit;

/// Commits of one transaction. It is bounded so that none takes seconds after an outage.
const BATCH_MAX: usize = 4096;

/// The commit queue. It has no bound of its own: what enters the server is bounded at its edges, by the
/// window of unfinished stanzas of each connection (DESIGN.md §3).
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    commits: VecDeque<(Ticket, Commit)>,
    last: Ticket,
    failing: Option<String>,
    is_closing: bool,
}

impl Queue {
    pub(super) fn push(&self, commit: Commit) -> Ticket {
        let ticket = self.push_quietly(commit);
        self.arrived.notify_one();
        ticket
    }

    /// The writer is not woken: this goes with the next commit, or at the next [`flush`](Self::flush).
    pub(super) fn push_quietly(&self, commit: Commit) -> Ticket {
        let mut state = self.state();
        state.last = Ticket(state.last.0.saturating_add(1));
        let ticket = state.last;
        state.commits.push_back((ticket, commit));
        ticket
    }

    pub(super) fn flush(&self) {
        if self.waiting() > 0 {
            self.arrived.notify_one();
        }
    }

    /// What waits, oldest first, with the tickets.
    pub(super) fn take(&self) -> Vec<(Ticket, Commit)> {
        let mut state = self.state();
        let count = state.commits.len().min(BATCH_MAX);
        state.commits.drain(..count).collect()
    }

    /// Says that the writer shall write what waits and end.
    pub(super) fn close(&self) {
        self.state().is_closing = true;
        self.arrived.notify_one();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.state().is_closing
    }

    /// How many commits wait, not counting those that are being written.
    pub(super) fn waiting(&self) -> usize {
        self.state().commits.len()
    }

    /// Resolves when something has arrived since the last time. It may resolve once too often.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Sets why commits fail, or that they do not. Whether they begin to fail, or to work.
    pub(super) fn set_failing(&self, failing: Option<String>) -> bool {
        let mut state = self.state();
        let changes = state.failing.is_some() != failing.is_some();
        state.failing = failing;
        changes
    }

    pub(super) fn failing(&self) -> Option<String> {
        self.state().failing.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
