//! How much there may be in a time.

use std::time::Duration;

use tokio::time::Instant;

/// So many units in a time. What was not used of the last of these times may be used at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units in each time; 0 for as many as there are.
    pub units: u64,
    /// The time.
    pub every: Duration,
}

impl Rate {
    /// As many as there are.
    pub const UNLIMITED: Self = Self { units: 0, every: Duration::ZERO };

    /// How long one peer has to wait before it may go on, when it has just used some more. The generic cell rate
    /// algorithm (ITU-T I.371): all that has to be known of a peer is when it will have nothing on its account.
    pub(crate) fn spend(self, even: &mut Instant, now: Instant, units: usize) -> Duration {
        let used = u64::try_from(units).unwrap_or(u64::MAX);
        let nanos = self.every.as_nanos().saturating_mul(used.into()).checked_div(self.units.into());
        let Some(nanos) = nanos else { return Duration::ZERO };
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let from = (*even).max(now);
        *even = from.checked_add(cost).unwrap_or(from);
        even.saturating_duration_since(now).saturating_sub(self.every)
    }

    /// Whether one more unit may be used; then it is.
    pub(crate) fn allows(self, even: &mut Instant, now: Instant) -> bool {
        let mut after = *even;
        let allowed = self.spend(&mut after, now, 1).is_zero();
        if allowed {
            *even = after;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;

    const RATE: Rate = Rate { units: 10, every: Duration::from_secs(1) };

    #[test]
    fn what_is_above_the_rate_has_to_wait_until_it_is_not() {
        let mut now = Instant::now();
        let mut even = now;
        for _ in 0..10 {
            assert_eq!(RATE.spend(&mut even, now, 1), Duration::ZERO);
        }
        assert_eq!(RATE.spend(&mut even, now, 1), Duration::from_millis(100));
        now += Duration::from_millis(100);
        assert_eq!(RATE.spend(&mut even, now, 5), Duration::from_millis(500));
        // Who was silent for long may use no more than one time's worth at once.
        now += Duration::from_secs(60);
        assert_eq!(RATE.spend(&mut even, now, 10), Duration::ZERO);
        assert_eq!(RATE.spend(&mut even, now, 20), Duration::from_secs(2));
    }

    #[test]
    fn what_is_not_allowed_costs_nothing() {
        let mut now = Instant::now();
        let mut even = now;
        for _ in 0..10 {
            assert!(RATE.allows(&mut even, now));
        }
        for _ in 0..100 {
            assert!(!RATE.allows(&mut even, now));
        }
        now += Duration::from_millis(100);
        assert!(RATE.allows(&mut even, now));
        assert!(!RATE.allows(&mut even, now));
    }

    #[test]
    fn without_a_rate_everything_goes() {
        let now = Instant::now();
        let mut even = now;
        assert_eq!(Rate::UNLIMITED.spend(&mut even, now, usize::MAX), Duration::ZERO);
        let tight = Rate { units: 1, every: Duration::from_secs(3600) };
        assert!(tight.spend(&mut even, now, usize::MAX) > Duration::from_secs(1 << 32));
        assert!(!tight.allows(&mut even, now));
    }
}
