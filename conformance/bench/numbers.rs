//! Percentiles, medians and spreads.

use std::time::Duration;

/// Counts are far below 2^52 here.
#[expect(clippy::cast_precision_loss, reason = "counts and nanoseconds of a run fit")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

pub(super) fn size(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The duration in nanoseconds.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Latencies in nanoseconds of which percentiles are asked.
#[derive(Debug, Default)]
pub(super) struct Latencies(Vec<u64>);

impl Latencies {
    pub(super) fn new(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        Self(values)
    }

    /// The smallest value that `per_mille` of a thousand values do not exceed, in microseconds.
    pub(super) fn per_mille(&self, per_mille: u64) -> Option<f64> {
        let rank = size(self.0.len()).saturating_mul(per_mille).div_ceil(1000).max(1);
        let index = usize::try_from(rank.saturating_sub(1)).ok()?;
        self.0.get(index).map(|value| float(*value) / 1000.0)
    }
}

/// Several rounds of one figure.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// `None` when there is no round.
pub(super) fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    let (min, max) = (*values.first()?, *values.last()?);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().saturating_sub(1) / 2)?;
    Some(Spread { median: f64::midpoint(lower, upper), min, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let latencies = Latencies::new((1..=1000).rev().map(|value| value * 1000).collect());
        for (per_mille, want) in
            [(0, 1.0), (1, 1.0), (500, 500.0), (990, 990.0), (999, 999.0), (1000, 1000.0)]
        {
            assert_eq!(latencies.per_mille(per_mille), Some(want), "{per_mille}");
        }
        assert_eq!(Latencies::new(vec![7000]).per_mille(999), Some(7.0));
        assert_eq!(Latencies::new(vec![1000, 9000]).per_mille(500), Some(1.0));
        assert_eq!(Latencies::new(Vec::new()).per_mille(500), None);
    }

    #[test]
    fn the_median_of_an_even_number_is_between() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(spread(vec![4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(spread(Vec::new()), None);
    }
}
