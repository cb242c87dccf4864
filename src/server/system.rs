//! The clocks and the randomness of the machine.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use unisono_core::clock::{Clock, Random};

/// The clocks of the machine.
pub(crate) struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Clocks that begin to count now.
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now_micros(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The randomness of the operating system.
pub(crate) struct SystemRandom;

impl Random for SystemRandom {
    #[expect(
        clippy::expect_used,
        reason = "a system without randomness cannot run a server; no input reaches this"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has randomness");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use super::*;

    /// Ids of streams and sessions, nonces and secrets are made of this.
    #[test]
    fn each_bit_is_drawn() {
        let mut ones = [0_u32; 256];
        for _ in 0..1_000 {
            let mut drawn = [0; 32];
            SystemRandom.fill(&mut drawn);
            (0..256).for_each(|bit| ones[bit] += u32::from(drawn[bit / 8] >> (bit % 8) & 1));
        }
        // Six standard deviations of a coin that is tossed a thousand times.
        assert!(ones.iter().all(|ones| (405..=595).contains(ones)), "{ones:?}");
    }
}
