//! Whether the client is still there.

use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::Stream;
use crate::error::StreamError;

/// How long the client has been silent, and what was done about it.
pub(super) struct Silence {
    since: Instant,
    /// Until when it has to answer.
    answer_until: Option<Instant>,
    /// Whether it took something since the last look.
    took: bool,
}

impl Silence {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), answer_until: None, took: true }
    }

    /// The client has sent something.
    pub(super) fn broken(&mut self, now: Instant) {
        self.since = now;
        self.answer_until = None;
    }

    /// The client has taken something of what is written to it.
    pub(super) fn takes(&mut self) {
        self.took = true;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// When to look whether the client is still there, or is to be asked what it has.
    pub(super) fn next_look(&self) -> Instant {
        let silent_until = self.silent_until();
        self.ask_at.map_or(silent_until, |at| at.min(silent_until))
    }

    /// How long it may be silent.
    fn silent_until(&self) -> Instant {
        let idle_after = self.peer.c2s.terms.limits.idle_after;
        let idle = self.silence.since.checked_add(idle_after).unwrap_or(self.silence.since);
        self.silence.answer_until.unwrap_or(idle)
    }

    /// Nothing that the client may have said was read until now.
    pub(super) fn excuse_silence(&mut self, now: Instant) {
        self.silence.since = now;
        if let Some(until) = &mut self.silence.answer_until {
            *until = now.checked_add(self.peer.c2s.terms.limits.answer_within).unwrap_or(now);
        }
    }

    /// A silent client that counts stanzas is asked to count; to others a space is written, which TCP must bring to
    /// them within [`unacknowledged_within`](crate::Limits::unacknowledged_within) (RFC 6120 §4.6.1). Whoever neither
    /// answers nor takes what is written is gone. Whoever is not listened to is not called silent.
    pub(super) fn look_at_silence(&mut self, mut timer: Pin<&mut Sleep>) -> Result<(), StreamError> {
        let now = Instant::now();
        if self.ask_at.take_if(|at| *at <= now).is_some() {
            self.due = true;
        }
        if now >= self.silent_until() {
            let stuck = !self.outgoing.is_empty() && !self.silence.took;
            let listens = self.wants_input();
            if stuck || (listens && self.silence.answer_until.is_some()) {
                return Err(StreamError::Silent);
            }
            self.silence.took = false;
            self.silence.since = now;
            if !listens {
                self.excuse_silence(now);
            } else if self.held.hub.ask_for_sign_of_life(&self.held.session, &mut self.outgoing.bytes) {
                self.silence.answer_until = now.checked_add(self.peer.c2s.terms.limits.answer_within);
            } else {
                self.outgoing.bytes.push(b' ');
            }
        }
        timer.as_mut().reset(self.next_look());
        Ok(())
    }
}
