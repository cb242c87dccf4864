//! What runs came to, for people and for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use super::history::{Event, Fact, History};
use super::judge::{Promise, Violation};
use super::outcome::{self, Broken, Outcome, Tally};
use super::plan::Plan;

/// Violations of one rule that are shown in full.
const SHOWN_MAX: usize = 3;

/// The promises that runs can break.
pub(crate) const PROMISES: [Promise; 5] = [Promise::P1, Promise::P2, Promise::P3, Promise::P4, Promise::P5];

/// One run, judged.
pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) seconds: f64,
    pub(super) history: History,
    pub(super) violations: Vec<Violation>,
    /// Why it could not go on.
    pub(super) error: Option<String>,
    /// Where the server's files are, if they were kept.
    pub(super) folder: Option<PathBuf>,
}

impl Run {
    pub(super) fn has_failed(&self) -> bool {
        self.error.is_some() || !self.violations.is_empty()
    }

    /// One line.
    pub(super) fn summary(&self) -> String {
        let verdict = match (&self.error, self.violations.len()) {
            (Some(error), _) => format!("it could not go on: {error}"),
            (None, 0) => "all promises kept".to_owned(),
            (None, 1) => "1 violation".to_owned(),
            (None, count) => format!("{count} violations"),
        };
        let tally = Tally::of(&self.history);
        format!("seed {}: {verdict} ({tally}, {:.1} s)", self.plan.seed, self.seconds)
    }

    /// What is wrong, and the story that led to it.
    pub(super) fn details(&self, with_trace: bool) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let mut shown: BTreeMap<_, usize> = BTreeMap::new();
        for violation in &self.violations {
            let count = shown.entry(violation.rule).or_default();
            *count = count.saturating_add(1);
            if *count > SHOWN_MAX && !with_trace {
                continue;
            }
            let _ = writeln!(text, "  {violation}");
            for line in &violation.evidence {
                let _ = writeln!(text, "      {line}");
            }
        }
        for (rule, count) in shown.into_iter().filter(|(_, count)| *count > SHOWN_MAX && !with_trace) {
            let _ = writeln!(text, "  … {} more: {}", count.saturating_sub(SHOWN_MAX), rule.as_str());
        }
        if let Some(folder) = &self.folder {
            let _ = writeln!(text, "  the server's files are in {}", folder.display());
        }
        let _ = writeln!(text, "  the story of {}", self.plan.to_string().trim_end().replace('\n', "\n  "));
        if with_trace {
            let _ = writeln!(text, "  what happened:");
            let cast = self.plan.cast.with_auditors();
            for (moment, event) in self.history.events.iter().enumerate() {
                let _ = writeln!(text, "  #{moment} {}", event.say(&cast));
            }
        }
        text
    }

    fn outcome(&self) -> outcome::Run {
        let tally = Tally::of(&self.history);
        let cast = self.plan.cast.with_auditors();
        let devices = self.plan.cast.devices().map(|(device, _)| self.plan.cast.name(device));
        let violations = self.violations.iter().map(|violation| outcome::Violation {
            promise: violation.rule.promise().as_str().to_owned(),
            rule: violation.rule.as_str().to_owned(),
            device: violation.device.map(|device| cast.name(device)),
            messages: violation.messages.clone(),
            text: violation.text.clone(),
            evidence: violation.evidence.clone(),
        });
        outcome::Run {
            seed: self.plan.seed,
            seconds: self.seconds,
            devices: devices.collect(),
            tally,
            not_offered: lacks(&self.history).into_iter().map(str::to_owned).collect(),
            error: self.error.clone(),
            violations: violations.collect(),
        }
    }
}

impl Tally {
    fn of(history: &History) -> Self {
        let count = |what: fn(&Event) -> bool| history.events.iter().filter(|event| what(event)).count();
        let sent = history.events.iter().filter_map(|event| match event {
            Event::Device(_, Fact::Sent { id, .. }) => Some(id),
            _ => None,
        });
        Self {
            messages: sent.collect::<BTreeSet<_>>().len(),
            changes: count(|event| matches!(event, Event::Device(_, Fact::Kept { .. }))),
            kills: count(|event| *event == Event::ServerKilled),
            stops: count(|event| *event == Event::ServerStopping),
            losses: count(|event| matches!(event, Event::NetworkLost(_))),
            resumed: count(|event| matches!(event, Event::Device(_, Fact::Resumed))),
            sessions: count(|event| matches!(event, Event::Device(_, Fact::Bound))),
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { messages, changes, kills, stops, losses, resumed, sessions } = self;
        write!(
            f,
            "{messages} messages, {changes} changes, {kills} kills, {stops} stops, {losses} networks lost, \
             {sessions} sessions, {resumed} resumed"
        )
    }
}

/// What the server does not offer, and so was not tried.
fn lacks(history: &History) -> BTreeSet<&'static str> {
    let lacks = history.events.iter().filter_map(|event| match event {
        Event::Device(_, Fact::Lacks { what }) => Some(*what),
        _ => None,
    });
    lacks.collect()
}

/// All runs against one target.
pub(super) struct Report<'a> {
    pub(super) target: &'a str,
    pub(super) server: &'a str,
    pub(super) runs: &'a [Run],
}

impl Report<'_> {
    pub(super) fn has_failed(&self) -> bool {
        self.runs.iter().any(Run::has_failed)
    }

    /// Which promises were kept.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let failed = self.runs.iter().filter(|run| run.has_failed()).count();
        let _ = writeln!(text, "\n{}: {} runs, {failed} with violations", self.server, self.runs.len());
        for promise in PROMISES.into_iter().chain([Promise::Protocol]) {
            let (runs, times) = self.broken(promise);
            if promise == Promise::Protocol && times == 0 {
                continue;
            }
            let verdict = match times {
                0 => "kept".to_owned(),
                _ => format!("broken in {runs} runs, {times} times: {}", self.rules(promise)),
            };
            let _ = writeln!(text, "  {:<8}  {:<28}  {verdict}", promise.as_str(), promise.title());
        }
        let lacks: BTreeSet<_> = self.runs.iter().flat_map(|run| lacks(&run.history)).collect();
        if !lacks.is_empty() {
            let _ = writeln!(text, "  not offered: {}", lacks.into_iter().collect::<Vec<_>>().join(", "));
        }
        let seeds: Vec<String> =
            self.runs.iter().filter(|run| run.has_failed()).map(|run| run.plan.seed.to_string()).collect();
        if !seeds.is_empty() {
            let _ = writeln!(text, "  seeds that failed: {}", seeds.join(", "));
        }
        text
    }

    /// In how many runs a promise was broken, and how often in all.
    fn broken(&self, promise: Promise) -> (usize, usize) {
        let of_run = |run: &Run| run.violations.iter().filter(|v| v.rule.promise() == promise).count();
        let counts: Vec<usize> = self.runs.iter().map(of_run).filter(|count| *count > 0).collect();
        (counts.len(), counts.iter().fold(0, |sum, count| sum.saturating_add(*count)))
    }

    /// The rules of a promise that were broken, with how often.
    fn rules(&self, promise: Promise) -> String {
        let mut counts: BTreeMap<_, usize> = BTreeMap::new();
        let violations = self.runs.iter().flat_map(|run| &run.violations);
        for violation in violations.filter(|violation| violation.rule.promise() == promise) {
            let count = counts.entry(violation.rule).or_default();
            *count = count.saturating_add(1);
        }
        let each: Vec<String> =
            counts.into_iter().map(|(rule, count)| format!("{} {count}", rule.as_str())).collect();
        each.join(", ")
    }

    pub(super) fn outcome(&self) -> Outcome {
        let promises = PROMISES.into_iter().map(|promise| {
            let (runs_broken, violations) = self.broken(promise);
            (promise.as_str().to_owned(), Broken { runs_broken, violations })
        });
        Outcome {
            target: self.target.to_owned(),
            server: self.server.to_owned(),
            promises: promises.collect(),
            runs: self.runs.iter().map(Run::outcome).collect(),
        }
    }
}
