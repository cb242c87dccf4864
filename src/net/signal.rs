//! How a connection's task is woken by others.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use unisono_core::storage::Wake;

/// What others have to tell a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The session may have something to write.
    Wake,
    /// The server stops.
    Stop,
}

/// The bell of one connection. It remembers what it was rung for until the task looks.
#[derive(Default)]
pub(crate) struct Signal(Mutex<State>);

#[derive(Default)]
struct State {
    waker: Option<Waker>,
    woken: bool,
    stop: Stop,
}

#[derive(Default, PartialEq, Eq)]
enum Stop {
    #[default]
    No,
    Asked,
    Told,
}

impl Signal {
    /// Tells the connection that the server stops.
    pub(crate) fn stop(&self) {
        let waker = {
            let mut state = self.state();
            if state.stop == Stop::No {
                state.stop = Stop::Asked;
            }
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next notice. [`Notice::Stop`] comes once, and first.
    pub(crate) fn poll_notice(&self, cx: &mut Context<'_>) -> Poll<Notice> {
        let mut state = self.state();
        if state.stop == Stop::Asked {
            state.stop = Stop::Told;
            return Poll::Ready(Notice::Stop);
        }
        if std::mem::take(&mut state.woken) {
            return Poll::Ready(Notice::Wake);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits for the next notice.
    pub(crate) async fn notice(&self) -> Notice {
        poll_fn(|cx| self.poll_notice(cx)).await
    }

    /// Waits until the server stops.
    pub(crate) async fn stopped(&self) {
        while self.notice().await != Notice::Stop {}
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Signal {
    fn wake(&self) {
        let waker = {
            let mut state = self.state();
            if std::mem::replace(&mut state.woken, true) {
                return;
            }
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
