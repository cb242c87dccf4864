//! All scripts of a run, several at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::probe::Offer;
use super::stage::{Context, Stage};
use crate::client::Trace;
use crate::script::{Need, ParseError, Script, parse};
use crate::target::NotOffered;

/// No script may take longer, whatever hangs.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(90);

/// A script and where it lies, as in `rfc6121/roster_push.script`.
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) script: Script,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed { line: usize, reason: String, trace: Vec<String> },
    NotOffered(String),
}

pub(super) struct Verdict {
    pub(super) entry: Arc<Entry>,
    pub(super) outcome: Outcome,
}

/// What a folder holds: scripts, and files that could not be read as such.
pub(super) type Loaded = (Vec<Entry>, Vec<(String, ParseError)>);

/// Reads all scripts whose path contains one of the patterns (all, if there are none).
pub(super) fn load(folder: &Path, patterns: &[String]) -> Result<Loaded> {
    let mut paths = Vec::new();
    collect(folder, &mut paths)?;
    paths.sort();
    let (mut entries, mut errors) = (Vec::new(), Vec::new());
    for file in paths {
        let path = file.strip_prefix(folder).unwrap_or(&file).display().to_string();
        if !patterns.is_empty() && !patterns.iter().any(|pattern| path.contains(pattern.as_str())) {
            continue;
        }
        let source =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        match parse(&source) {
            Ok(script) => match check_place(&path, &script) {
                Ok(()) => entries.push(Entry { path, script }),
                Err(error) => errors.push((path, error)),
            },
            Err(error) => errors.push((path, error)),
        }
    }
    Ok((entries, errors))
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry.context("cannot list the scripts")?.path();
        if path.is_dir() {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "script") {
            paths.push(path);
        }
    }
    Ok(())
}

/// `xep0280/…` proves XEP-0280, `rfc6121/…` RFC 6121: the header must say so too.
fn check_place(path: &str, script: &Script) -> Result<(), ParseError> {
    let folder = path.split('/').next().unwrap_or_default();
    let document: String = match folder.strip_prefix("xep") {
        Some(number) => format!("XEP-{number} §"),
        None => format!("{} §", folder.to_uppercase().replace("RFC", "RFC ")),
    };
    if script.spec.starts_with(&document) {
        Ok(())
    } else {
        Err(ParseError { line: 1, message: format!("spec: must begin with {document:?} here") })
    }
}

/// Runs the scripts, `jobs` at once, and returns the results in the order of the scripts.
pub(super) async fn run(
    context: &Arc<Context>,
    offer: &Offer,
    strictness: Strictness<'_>,
    entries: Vec<Entry>,
    jobs: usize,
) -> Result<Vec<Verdict>> {
    let gate = Arc::new(Semaphore::new(jobs));
    let mut tasks = JoinSet::new();
    for (number, entry) in entries.into_iter().enumerate() {
        let entry = Arc::new(entry);
        let spared = strictness.spares(offer.missing(&entry.script.needs), &entry.path);
        let (context, gate) = (Arc::clone(context), Arc::clone(&gate));
        tasks.spawn(async move {
            let outcome = if let Some(outcome) = spared {
                outcome
            } else {
                // The gate is never closed.
                let _turn = gate.acquire().await;
                play(context, &entry.script, number).await
            };
            (number, Verdict { entry, outcome })
        });
    }
    let mut results = Vec::new();
    while let Some(result) = tasks.join_next().await {
        results.push(result.context("a script made the runner panic")?);
    }
    results.sort_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// What a server need not do.
#[derive(Clone, Copy)]
pub(super) struct Strictness<'a> {
    /// What the file of the target excuses.
    pub(super) excused: &'a [NotOffered],
    /// All else must be offered: what a server stops to announce would vanish from the run without a word.
    pub(super) all_offered: bool,
}

impl Strictness<'_> {
    /// What comes of a script that is not run: one that the file excuses, or that needs what is not announced.
    fn spares(self, missing: Option<&Need>, path: &str) -> Option<Outcome> {
        if let Some(excuse) = self.excused.iter().find(|excuse| path.starts_with(&excuse.scripts)) {
            return Some(Outcome::NotOffered(excuse.reason.clone()));
        }
        let reason = format!("{} is not announced", missing?.feature);
        Some(if self.all_offered {
            Outcome::Failed { line: 1, reason, trace: Vec::new() }
        } else {
            Outcome::NotOffered(reason)
        })
    }
}

async fn play(context: Arc<Context>, script: &Script, number: usize) -> Outcome {
    let trace = Trace::new();
    let failed = |line, reason| Outcome::Failed { line, reason, trace: trace.lines() };
    let performance = async {
        let mut stage = match Stage::set(context, script, number, trace.clone()).await {
            Ok(stage) => stage,
            Err(error) => return failed(1, format!("{error:#}")),
        };
        let result = stage.perform(script).await;
        let outcome = match result {
            Ok(()) => Outcome::Passed,
            Err(failure) => failed(failure.line, format!("{:#}", failure.error)),
        };
        stage.clear();
        outcome
    };
    match tokio::time::timeout(SCRIPT_TIMEOUT, performance).await {
        Ok(outcome) => outcome,
        Err(_) => failed(1, format!("not finished after {SCRIPT_TIMEOUT:?}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;
    use crate::script::Place;

    #[test]
    fn every_script_is_understood() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
        let (entries, errors) = load(&folder, &[]).unwrap();
        for (path, error) in &errors {
            eprintln!("{path}:{}: {}", error.line, error.message);
        }
        assert!(errors.is_empty(), "{} scripts are not understood", errors.len());
        assert!(entries.len() >= 120, "{} scripts", entries.len());
    }

    #[test]
    fn what_is_not_announced_fails_where_all_has_to_be_offered() {
        let need = &Need { place: Place::Anywhere, feature: "urn:x".to_owned() };
        let excused = NotOffered { scripts: "xep0199/".to_owned(), reason: "why".to_owned() };
        let excused = [excused];
        let reason = "urn:x is not announced".to_owned();
        for (all_offered, missing, path, outcome) in [
            (false, None, "xep0198/a.script", None),
            (false, Some(need), "xep0198/a.script", Some(Outcome::NotOffered(reason.clone()))),
            (false, None, "xep0199/a.script", Some(Outcome::NotOffered("why".to_owned()))),
            (true, None, "xep0198/a.script", None),
            (
                true,
                Some(need),
                "xep0198/a.script",
                Some(Outcome::Failed { line: 1, reason, trace: Vec::new() }),
            ),
            (true, Some(need), "xep0199/a.script", Some(Outcome::NotOffered("why".to_owned()))),
        ] {
            let strictness = Strictness { excused: &excused, all_offered };
            assert_eq!(strictness.spares(missing, path), outcome, "{all_offered} {path}");
        }
    }

    #[test]
    fn no_two_scripts_say_the_same() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
        let (entries, _) = load(&folder, &[]).unwrap();
        let mut said: Vec<&str> = entries.iter().map(|entry| entry.script.says.as_str()).collect();
        said.sort_unstable();
        let twice: Vec<_> = said.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
