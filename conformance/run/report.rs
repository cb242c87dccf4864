//! What came out, for people.

use std::fmt::Write as _;

use super::outcome::{Counts, Ending, Outcome, Script, folders, total};
use super::suite::{self, Verdict};

pub(super) struct Report<'a> {
    pub(super) target: &'a str,
    pub(super) server: String,
    pub(super) seconds: f64,
    pub(super) results: &'a [Verdict],
}

impl Report<'_> {
    pub(super) fn has_failed(&self) -> bool {
        self.results.iter().any(|result| matches!(result.outcome, suite::Outcome::Failed { .. }))
    }

    /// One line for each failed script, then the table.
    pub(super) fn text(&self, with_trace: bool, with_excuses: bool) -> String {
        let mut out = String::new();
        for Verdict { entry, outcome } in self.results {
            match outcome {
                suite::Outcome::Failed { line, reason, trace } => {
                    let reason = reason.replace('\n', " ");
                    // Writing to a string cannot fail.
                    let _ = writeln!(out, "FAILED {}:{line}: {reason} [{}]", entry.path, entry.script.spec);
                    if with_trace {
                        for line in trace {
                            let _ = writeln!(out, "    {line}");
                        }
                    }
                }
                suite::Outcome::NotOffered(reason) if with_excuses => {
                    let _ = writeln!(out, "not offered {}: {reason}", entry.path);
                }
                suite::Outcome::Passed | suite::Outcome::NotOffered(_) => {}
            }
        }
        out.push_str(&self.table());
        out
    }

    fn table(&self) -> String {
        let folders = folders(&self.scripts());
        let width = folders.iter().map(|counts| counts.folder.len()).max().unwrap_or(0).max(8);
        let mut out = format!("\n{} ({:.1} s)\n", self.server, self.seconds);
        let _ = writeln!(out, "{:width$} {:>7} {:>7} {:>12}", "", "passed", "failed", "not offered");
        for Counts { folder, passed, failed, not_offered } in folders.iter().chain([&total(&folders)]) {
            let _ = writeln!(out, "{folder:width$} {passed:>7} {failed:>7} {not_offered:>12}");
        }
        out
    }

    fn scripts(&self) -> Vec<Script> {
        self.results.iter().map(script).collect()
    }

    pub(super) fn outcome(&self) -> Outcome {
        let scripts = self.scripts();
        Outcome {
            target: self.target.to_owned(),
            server: self.server.clone(),
            seconds: self.seconds,
            folders: folders(&scripts),
            scripts,
        }
    }
}

fn script(Verdict { entry, outcome }: &Verdict) -> Script {
    let (result, line, reason) = match outcome {
        suite::Outcome::Passed => (Ending::Passed, None, None),
        suite::Outcome::Failed { line, reason, .. } => (Ending::Failed, Some(*line), Some(reason.clone())),
        suite::Outcome::NotOffered(reason) => (Ending::NotOffered, None, Some(reason.clone())),
    };
    Script {
        path: entry.path.clone(),
        spec: entry.script.spec.clone(),
        says: entry.script.says.clone(),
        result,
        line,
        reason,
    }
}
