//! What went over the wires of one script, for the reader of a failure.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Cheap to clone; all clones write to one list.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    start: Instant,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), lines: Arc::default() }
    }

    /// `direction` is `->` for what the client sends, `<-` for what it receives.
    /// The runner's own pings are left out.
    pub(crate) fn add(&self, device: &str, direction: &str, text: &str) {
        if text.contains("id='sync-") {
            return;
        }
        let elapsed = self.start.elapsed().as_secs_f64();
        let line = format!("{elapsed:7.3} {device:<16} {direction} {text}");
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
