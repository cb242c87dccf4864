//! How often somebody may do something: so many times at once, and one more each time an interval has passed.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Whom it is counted for at most. With more, those are forgotten who have all of their allowance again, and if that is
/// nobody, all.
const COUNTED_MAX: usize = 16_384;

/// What each of many may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// So many times at once.
    pub burst: u32,
    /// After this time once more.
    pub every: Duration,
}

/// What each of many has done.
#[derive(Debug)]
pub struct Allowances<K> {
    /// When each has all of its allowance again.
    until: HashMap<K, Duration>,
}

impl<K> Default for Allowances<K> {
    fn default() -> Self {
        Self { until: HashMap::new() }
    }
}

impl<K: Hash + Eq> Allowances<K> {
    /// Whether `who` may do it once more at `now`; it does not count yet.
    pub fn has_one(&self, who: &K, now: Duration, allowance: Allowance) -> bool {
        let until = self.until.get(who).copied().unwrap_or_default().max(now);
        let spent = until.saturating_sub(now).saturating_add(allowance.every);
        allowance.burst > 0 && spent <= allowance.every.saturating_mul(allowance.burst)
    }

    /// Counts that `who` did it.
    pub fn take(&mut self, who: K, now: Duration, allowance: Allowance) {
        if self.until.len() >= COUNTED_MAX && !self.until.contains_key(&who) {
            self.until.retain(|_, until| *until > now);
            if self.until.len() >= COUNTED_MAX {
                self.until.clear();
            }
        }
        let until = self.until.entry(who).or_default();
        *until = (*until).max(now).saturating_add(allowance.every);
    }

    /// Takes back that it was counted, for it came to nothing.
    pub fn give_back(&mut self, who: &K, allowance: Allowance) {
        if let Some(until) = self.until.get_mut(who) {
            *until = until.saturating_sub(allowance.every);
        }
    }

    /// Lets `who` do it, if it may.
    pub fn try_take(&mut self, who: K, now: Duration, allowance: Allowance) -> bool {
        let may = self.has_one(&who, now, allowance);
        if may {
            self.take(who, now, allowance);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_one_after_the_other() {
        let (twice, mut done) =
            (Allowance { burst: 2, every: Duration::from_secs(10) }, Allowances::<u8>::default());
        for (who, at, may) in [
            (1, 0, true),
            (1, 0, true),
            (1, 0, false),
            (2, 0, true), // each for itself
            (1, 9, false),
            (1, 10, true),
            (1, 10, false),
            (1, 100, true),
            (1, 100, true),
            (1, 100, false), // what is not used is not saved up
        ] {
            assert_eq!(done.try_take(who, Duration::from_secs(at), twice), may, "{who} {at}");
        }
        let now = Duration::from_secs(100);
        done.give_back(&1, twice);
        done.give_back(&7, twice);
        assert_eq!([1, 1].map(|who| done.try_take(who, now, twice)), [true, false]);
        assert!(!done.has_one(&9, Duration::ZERO, Allowance { burst: 0, ..twice }));
    }

    #[test]
    fn there_is_a_bound_to_whom_it_is_counted_for() {
        let once = Allowance { burst: 1, every: Duration::from_secs(1) };
        let mut done = Allowances::<usize>::default();
        for who in 0..COUNTED_MAX.saturating_mul(3) {
            done.take(who, Duration::ZERO, once);
        }
        assert!(done.until.len() <= COUNTED_MAX);
    }
}
