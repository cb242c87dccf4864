//! What came out: lines for people, JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::suite::{Outcome, Verdict};

/// The counts of one folder.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    not_offered: usize,
}

pub(super) struct Report<'a> {
    pub(super) target: &'a str,
    pub(super) server: String,
    pub(super) seconds: f64,
    pub(super) results: &'a [Verdict],
}

impl Report<'_> {
    pub(super) fn has_failed(&self) -> bool {
        self.results.iter().any(|result| matches!(result.outcome, Outcome::Failed { .. }))
    }

    /// One line for each failed script, then the table.
    pub(super) fn text(&self, with_trace: bool, with_excuses: bool) -> String {
        let mut out = String::new();
        for Verdict { entry, outcome } in self.results {
            match outcome {
                Outcome::Failed { line, reason, trace } => {
                    let reason = reason.replace('\n', " ");
                    // Writing to a string cannot fail.
                    let _ = writeln!(out, "FAILED {}:{line}: {reason} [{}]", entry.path, entry.script.spec);
                    if with_trace {
                        for line in trace {
                            let _ = writeln!(out, "    {line}");
                        }
                    }
                }
                Outcome::NotOffered(reason) if with_excuses => {
                    let _ = writeln!(out, "not offered {}: {reason}", entry.path);
                }
                Outcome::Passed | Outcome::NotOffered(_) => {}
            }
        }
        out.push_str(&self.table());
        out
    }

    fn table(&self) -> String {
        let folders = self.folders();
        let width = folders.keys().map(String::len).max().unwrap_or(0).max(8);
        let mut out = format!("\n{} ({:.1} s)\n", self.server, self.seconds);
        let _ = writeln!(out, "{:width$} {:>7} {:>7} {:>12}", "", "passed", "failed", "not offered");
        let mut total = Counts::default();
        for (folder, counts) in &folders {
            counts.write(&mut out, folder, width);
            total.passed = total.passed.saturating_add(counts.passed);
            total.failed = total.failed.saturating_add(counts.failed);
            total.not_offered = total.not_offered.saturating_add(counts.not_offered);
        }
        total.write(&mut out, "total", width);
        out
    }

    fn folders(&self) -> BTreeMap<String, Counts> {
        let mut folders: BTreeMap<String, Counts> = BTreeMap::new();
        for Verdict { entry, outcome } in self.results {
            let folder = entry.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let counts = folders.entry(folder.to_owned()).or_default();
            let count = match outcome {
                Outcome::Passed => &mut counts.passed,
                Outcome::Failed { .. } => &mut counts.failed,
                Outcome::NotOffered(_) => &mut counts.not_offered,
            };
            *count = count.saturating_add(1);
        }
        folders
    }

    pub(super) fn json(&self) -> Value {
        let scripts: Vec<Value> = self.results.iter().map(script_json).collect();
        let folders = self.folders();
        let folders = folders.iter().map(|(folder, counts)| {
            json!({
                "folder": folder, "passed": counts.passed, "failed": counts.failed,
                "not_offered": counts.not_offered,
            })
        });
        json!({
            "target": self.target, "server": self.server, "seconds": self.seconds,
            "folders": folders.collect::<Vec<_>>(), "scripts": scripts,
        })
    }
}

fn script_json(Verdict { entry, outcome }: &Verdict) -> Value {
    let (result, line, reason) = match outcome {
        Outcome::Passed => ("passed", None, None),
        Outcome::Failed { line, reason, .. } => ("failed", Some(*line), Some(reason)),
        Outcome::NotOffered(reason) => ("not offered", None, Some(reason)),
    };
    json!({
        "script": entry.path, "spec": entry.script.spec, "says": entry.script.says,
        "result": result, "line": line, "reason": reason,
    })
}

impl Counts {
    fn write(self, out: &mut String, name: &str, width: usize) {
        let Self { passed, failed, not_offered } = self;
        let _ = writeln!(out, "{name:width$} {passed:>7} {failed:>7} {not_offered:>12}");
    }
}
