//! What runs came to, as it is kept in files and given to programs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// All runs against one target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) target: String,
    pub(crate) server: String,
    pub(crate) promises: BTreeMap<String, Broken>,
    pub(crate) runs: Vec<Run>,
}

/// How often a promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Broken {
    pub(crate) runs_broken: usize,
    pub(crate) violations: usize,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) seconds: f64,
    pub(crate) devices: Vec<String>,
    #[serde(flatten)]
    pub(crate) tally: Tally,
    /// What the server does not offer, and so was not tried.
    pub(crate) not_offered: BTreeSet<String>,
    /// Why it could not go on.
    pub(crate) error: Option<String>,
    pub(crate) violations: Vec<Violation>,
}

/// How much happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) messages: usize,
    /// Acknowledged changes of what accounts keep.
    #[serde(default)]
    pub(crate) changes: usize,
    pub(crate) kills: usize,
    pub(crate) stops: usize,
    pub(crate) losses: usize,
    pub(crate) resumed: usize,
    pub(crate) sessions: usize,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Violation {
    /// As in `P1`.
    pub(crate) promise: String,
    pub(crate) rule: String,
    /// The device that shows it, if it is one.
    pub(crate) device: Option<String>,
    /// The messages that it is about.
    pub(crate) messages: Vec<String>,
    pub(crate) text: String,
    pub(crate) evidence: Vec<String>,
}
