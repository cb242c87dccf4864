//! Time and chance, passed in so that a simulation can own them.

use std::time::Duration;

/// The clocks of the machine.
pub trait Clock: Send + Sync {
    /// Wall-clock time in microseconds since 1970. It is shown and it numbers log entries; it is never compared
    /// to decide.
    fn now_micros(&self) -> i64;
    /// Time since some fixed moment; it never falls. Deadlines go by it.
    fn elapsed(&self) -> Duration;
}

/// Randomness that an attacker cannot guess.
pub trait Random: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);
}
