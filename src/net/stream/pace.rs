//! How fast a client may send (RFC 6120 §13.12). One that is faster is read later; it loses nothing.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::Limits;

pub(super) struct Pace {
    /// When the client will have used no more bytes, and no more stanzas, than it may.
    bytes: Instant,
    stanzas: Instant,
    /// Until then nothing of it is read.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { bytes: now, stanzas: now, pause: None }
    }

    /// The client has sent so many bytes.
    pub(super) fn bytes(&mut self, limits: &Limits, now: Instant, count: usize) {
        let wait = limits.byte_rate.spend(&mut self.bytes, now, count);
        self.pause_for(now, wait);
    }

    /// The client has sent a stanza, or another element.
    pub(super) fn stanza(&mut self, limits: &Limits) {
        let now = Instant::now();
        let wait = limits.stanza_rate.spend(&mut self.stanzas, now, 1);
        self.pause_for(now, wait);
    }

    fn pause_for(&mut self, now: Instant, wait: Duration) {
        if wait.is_zero() {
            return;
        }
        let until = now.checked_add(wait).unwrap_or(now);
        match &mut self.pause {
            Some(pause) if pause.deadline() < until => pause.as_mut().reset(until),
            Some(_) => {}
            None => self.pause = Some(Box::pin(sleep_until(until))),
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Ready when a pause is over.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pause) = &mut self.pause else { return Poll::Pending };
        ready!(pause.as_mut().poll(cx));
        self.pause = None;
        Poll::Ready(())
    }

    /// Ends a pause.
    pub(super) fn end_pause(&mut self) {
        self.pause = None;
    }
}
