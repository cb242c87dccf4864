//! A shorter story that still fails.

use super::plan::Plan;

/// Leaves steps out as long as the plan still fails, and gives up after `tries` tries.
///
/// First large pieces, then smaller ones (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input",
/// 2002). A step that makes no sense without one that was left out does nothing, so any part of a plan is a plan.
pub async fn shrink<F: Future<Output = bool>>(
    plan: &Plan,
    tries: usize,
    mut fails: impl FnMut(Plan) -> F,
) -> Plan {
    let mut best = plan.clone();
    let mut left = tries;
    let mut size = best.steps.len().div_ceil(2);
    while size > 0 {
        let mut from = 0_usize;
        while from < best.steps.len() {
            if left == 0 {
                return best;
            }
            left = left.saturating_sub(1);
            let upto = from.saturating_add(size);
            let steps = best.steps.iter().enumerate().filter(|(at, _)| *at < from || *at >= upto);
            let shorter = Plan { steps: steps.map(|(_, step)| step.clone()).collect(), ..best.clone() };
            if fails(shorter.clone()).await {
                best = shorter;
            } else {
                from = upto;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    best
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use std::cell::Cell;

    use super::super::{Shape, Step};
    use super::*;

    fn plan() -> Plan {
        let shape = Shape { users: 2, devices: 3, operations: 60, restarts: true, steps_clock: false };
        Plan::new(9, shape)
    }

    #[tokio::test]
    async fn what_does_not_matter_is_left_out() {
        let plan = plan();
        let needed: Vec<Step> =
            [&plan.steps[20], &plan.steps[40], &plan.steps[41]].map(Clone::clone).to_vec();
        let fails = |plan: Plan| {
            let has_all = needed.iter().all(|step| plan.steps.contains(step));
            std::future::ready(has_all)
        };
        let short = shrink(&plan, 1000, fails).await;
        assert_eq!(short.steps, needed);
        assert_eq!((short.seed, &short.cast), (plan.seed, &plan.cast));
    }

    #[tokio::test]
    async fn it_gives_up_and_keeps_what_fails() {
        let tried = Cell::new(0);
        let fails = |plan: Plan| {
            tried.set(tried.get() + 1);
            std::future::ready(plan.steps.len() > 50)
        };
        let short = shrink(&plan(), 5, fails).await;
        assert_eq!(tried.get(), 5);
        assert!(short.steps.len() > 50);
        let never = shrink(&plan(), 1000, |_| std::future::ready(false)).await;
        assert_eq!(never, plan());
    }
}
