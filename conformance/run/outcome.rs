//! What came out, as it is kept in files and given to programs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All scripts on one target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) target: String,
    /// The name of the server and its version, if it tells.
    pub(crate) server: String,
    pub(crate) seconds: f64,
    pub(crate) folders: Vec<Counts>,
    pub(crate) scripts: Vec<Script>,
}

/// The counts of one folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) folder: String,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) not_offered: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Script {
    /// Its path, as in `rfc6121/roster_push.script`.
    #[serde(rename = "script")]
    pub(crate) path: String,
    pub(crate) spec: String,
    pub(crate) says: String,
    pub(crate) result: Ending,
    /// Of the script, where it failed.
    pub(crate) line: Option<usize>,
    /// Why it failed, or was not run.
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    #[serde(rename = "passed")]
    Passed,
    #[serde(rename = "failed")]
    Failed,
    #[serde(rename = "not offered")]
    NotOffered,
}

/// The counts of each folder, in order.
pub(crate) fn folders(scripts: &[Script]) -> Vec<Counts> {
    let mut folders: BTreeMap<&str, Counts> = BTreeMap::new();
    for Script { path, result, .. } in scripts {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let counts = folders.entry(folder).or_default();
        folder.clone_into(&mut counts.folder);
        let count = match result {
            Ending::Passed => &mut counts.passed,
            Ending::Failed => &mut counts.failed,
            Ending::NotOffered => &mut counts.not_offered,
        };
        *count = count.saturating_add(1);
    }
    folders.into_values().collect()
}

/// All folders together.
pub(crate) fn total(folders: &[Counts]) -> Counts {
    let sum = |part: fn(&Counts) -> usize| folders.iter().map(part).fold(0, usize::saturating_add);
    Counts {
        folder: "total".to_owned(),
        passed: sum(|counts| counts.passed),
        failed: sum(|counts| counts.failed),
        not_offered: sum(|counts| counts.not_offered),
    }
}
