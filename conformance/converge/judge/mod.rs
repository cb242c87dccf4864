//! What of all that happened breaks a promise.
//!
//! What each kind of device can count on is decided here; see `views` for how much of the log it has to have seen.

mod case;
mod ids;
mod once;
mod order;
mod recorded;
mod sessions;
mod state;
mod verdict;
mod views;

#[cfg(test)]
mod tests;

use super::cast::Cast;
use super::device::Accounts;
use super::history::History;
use case::Case;

pub use verdict::{Promise, Rule, Violation};

/// Everything in this history that breaks a promise. The cast is that of the plan.
pub fn judge(cast: &Cast, accounts: &Accounts, history: &History) -> Vec<Violation> {
    let cast = cast.with_auditors();
    let case = Case::new(&cast, accounts, history);
    let mut violations = Vec::new();
    recorded::check(&case, &mut violations);
    once::check(&case, &mut violations);
    ids::check(&case, &mut violations);
    order::check(&case, &mut violations);
    views::check(&case, &mut violations);
    state::check(&case, &mut violations);
    sessions::check(&case, &mut violations);
    violations.sort_by(|a, b| (a.rule, a.device).cmp(&(b.rule, b.device)));
    violations
}
