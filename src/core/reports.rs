//! What users report to the administrator (XEP-0377).

use crate::jid::{BareJid, Jid};
use crate::storage::{BoxFuture, StoreError};

/// A report that was kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Names it. Numbers grow.
    pub number: i64,
    /// Microseconds since 1970.
    pub at: i64,
    pub reporter: BareJid,
    /// Who is reported.
    pub about: Jid,
    /// What is reported. The store does not look into it.
    pub content: String,
}

/// How many reports are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Of all accounts together, …
    pub in_all: u32,
    /// … and of one.
    pub of_one: u32,
}

/// The reports that nobody has dealt with yet.
pub trait Reports: Send + Sync {
    /// Keeps a report, under a number of its own, and forgets the oldest of those that are too many.
    fn report<'a>(&'a self, report: &'a Report, keep: Kept) -> BoxFuture<'a, Result<i64, StoreError>>;
    /// Reports, the newest first, before `before`, at most `limit`.
    fn reports(&self, before: Option<i64>, limit: usize) -> BoxFuture<'_, Result<Vec<Report>, StoreError>>;
    /// Forgets a report. Whether it was there.
    fn forget_report(&self, number: i64) -> BoxFuture<'_, Result<bool, StoreError>>;
}
