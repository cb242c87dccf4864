//! What of all that happened breaks a promise.
//!
//! What each kind of device can count on is decided here; see `views` for how much of the log it has to have seen.

mod case;
mod ids;
mod kept;
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

/// Everything in this history that breaks a promise. The players are the cast of the plan.
pub fn judge(players: &Cast, accounts: &Accounts, history: &History) -> Vec<Violation> {
    let everybody = players.with_auditors();
    let case = Case::new(&everybody, accounts, history);
    let mut violations = Vec::new();
    for check in [
        recorded::check,
        once::check,
        ids::check,
        order::check,
        views::check,
        state::check,
        kept::check,
        sessions::check,
    ] {
        check(&case, &mut violations);
    }
    violations.sort_by_key(|violation| (violation.rule, violation.device));
    violations
}
