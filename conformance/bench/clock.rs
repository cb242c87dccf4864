//! The clock of a run, and how much processor time passes by it.

use std::time::Instant;

use anyhow::Result;

use super::machine::{self, Tree};
use super::numbers::nanos;

/// Counts nanoseconds from the beginning of a run, never 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        nanos(self.0.elapsed()).saturating_add(1)
    }
}

/// Measures between two moments.
pub(super) struct Meter {
    server: Tree,
    start: Instant,
    server_seconds: f64,
    own_seconds: f64,
    processors: (f64, f64),
}

/// What was used between them, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) wall: f64,
    /// Processor time of the server.
    pub(super) server: f64,
    /// Processor time of the load.
    pub(super) load: f64,
    /// Processor time that nobody wanted.
    pub(super) idle: f64,
    /// All processor time that there was.
    pub(super) total: f64,
}

impl Meter {
    pub(super) fn start(server: Tree) -> Result<Self> {
        Ok(Self {
            server,
            start: Instant::now(),
            server_seconds: server.seconds()?,
            own_seconds: Tree::own_seconds()?,
            processors: machine::processors()?,
        })
    }

    pub(super) fn stop(&self) -> Result<Usage> {
        let (busy, total) = machine::processors()?;
        let total = total - self.processors.1;
        Ok(Usage {
            wall: self.start.elapsed().as_secs_f64(),
            server: self.server.seconds()? - self.server_seconds,
            load: Tree::own_seconds()? - self.own_seconds,
            idle: (total - (busy - self.processors.0)).max(0.0),
            total,
        })
    }
}

impl Usage {
    /// The part of the machine that others used, from 0 to 1.
    pub(super) fn others(self) -> f64 {
        if self.total > 0.0 {
            ((self.total - self.idle - self.server - self.load) / self.total).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    /// Whether the rate was limited by the load rather than by the server: no processor was free,
    /// and the load used more of them than the server did.
    pub(super) fn is_bound_by_load(self) -> bool {
        self.load > 0.1 && self.idle < 0.05 * self.total && self.load > self.server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_blamed_when_it_took_the_processors() {
        let usage = Usage { wall: 5.0, server: 4.0, load: 2.0, idle: 1.0, total: 10.0 };
        assert!((usage.others() - 0.3).abs() < 1e-9);
        for (load, server, idle, want) in
            [(6.0, 3.9, 0.1, true), (3.9, 6.0, 0.1, false), (6.0, 2.0, 2.0, false)]
        {
            assert_eq!(
                Usage { server, load, idle, ..usage }.is_bound_by_load(),
                want,
                "{load} {server} {idle}"
            );
        }
    }
}
