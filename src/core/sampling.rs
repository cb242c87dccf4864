//! Lines of the log that others can cause as often as they like: a few of a kind are written, the rest is counted.

use std::collections::HashMap;
use std::time::Duration;

use crate::allowance::{Allowance, Allowances};
use crate::hub::Hub;

/// Lines of one kind.
const PACE: Allowance = Allowance { burst: 10, every: Duration::from_secs(10) };

#[derive(Default)]
struct Lines {
    pace: Allowances<&'static str>,
    left_out: HashMap<&'static str, u64>,
}

impl Hub {
    /// Whether one more line of this kind may be written; how many were left out since the last, if so.
    pub fn sampled(&self, kind: &'static str) -> Option<u64> {
        let now = self.clock.elapsed();
        self.memory(|lines: &mut Lines| {
            if lines.pace.try_take(kind, now, PACE) {
                return Some(lines.left_out.remove(kind).unwrap_or(0));
            }
            let left_out = lines.left_out.entry(kind).or_default();
            *left_out = left_out.saturating_add(1);
            None
        })
    }
}
