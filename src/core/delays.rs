//! How long something took, many times: what a histogram of the operator shows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::clock::Clock;
use crate::storage::Wake;

/// The upper bounds of the classes, ascending. What took longer than the last is in a class of its own.
pub const BOUNDS: [Duration; 12] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(200),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
];

/// Delays, counted by their length.
#[derive(Debug, Default)]
pub struct Delays {
    /// One class for each of [`BOUNDS`].
    classes: [AtomicU64; BOUNDS.len()],
    longer: AtomicU64,
    micros: AtomicU64,
}

/// All that was counted until a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// How many delays were not longer than each of [`BOUNDS`].
    pub within: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// All of them together.
    pub total: Duration,
}

impl Delays {
    pub(crate) fn record(&self, delay: Duration) {
        let class = BOUNDS.iter().zip(&self.classes).find(|(bound, _)| delay <= **bound);
        class.map_or(&self.longer, |(_, class)| class).fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn counted(&self) -> Counted {
        let mut count = 0_u64;
        let within = std::array::from_fn(|index| {
            let class = self.classes.get(index).map_or(0, |class| class.load(Ordering::Relaxed));
            count = count.saturating_add(class);
            count
        });
        let count = count.saturating_add(self.longer.load(Ordering::Relaxed));
        Counted { within, count, total: Duration::from_micros(self.micros.load(Ordering::Relaxed)) }
    }
}

/// When a commit became durable: the journal wakes it together with those who wait for that.
pub(crate) struct Moment {
    clock: Arc<dyn Clock>,
    at: OnceLock<Duration>,
}

impl Moment {
    /// A moment that is yet to come.
    pub(crate) fn awaited(clock: Arc<dyn Clock>) -> Self {
        Self { clock, at: OnceLock::new() }
    }

    /// Now.
    pub(crate) fn now(clock: Arc<dyn Clock>) -> Self {
        let at = OnceLock::from(clock.elapsed());
        Self { clock, at }
    }

    /// How long ago it was. None at all if it is only just coming.
    pub(crate) fn age(&self) -> Duration {
        self.at.get().map_or(Duration::ZERO, |at| self.clock.elapsed().saturating_sub(*at))
    }
}

impl Wake for Moment {
    fn wake(&self) {
        // Only the first time counts.
        let _later = self.at.set(self.clock.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_in_every_class_that_is_not_shorter() {
        let delays = Delays::default();
        assert_eq!(delays.counted(), Counted { within: [0; 12], count: 0, total: Duration::ZERO });
        for micros in [0, 50, 51, 9_000, 10_000_000, 10_000_001] {
            delays.record(Duration::from_micros(micros));
        }
        let within = [2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 5];
        let total = Duration::from_micros(20_009_102);
        assert_eq!(delays.counted(), Counted { within, count: 6, total });
    }
}
