//! Which promises were kept, and an example of each way in which one was not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::part::Part;
use crate::converge::{Outcome, PROMISES, Promise, Run, Tally, Told};
use crate::markdown::{Align, inline, table};

/// Lines of evidence that an example has.
const EVIDENCE_MAX: usize = 5;

type Parts<'a> = &'a [Part<Outcome>];

pub(super) fn section(parts: Parts<'_>) -> String {
    let mut out = String::from(
        "Devices of six kinds write, correct, retract, react, mark and confirm, lose their network, are killed and come \
         back, while the server is killed, stopped and started again; in the end all that each of them saw is compared \
         with what was sent and recorded. The same seeds tell the same stories to each server.\n\n\
         The promises are those that Unisono makes. Others make fewer, and break none of theirs by it: that a stream is \
         resumed after the server was stopped, or that what is sent again is there once, no specification demands. What \
         went wrong once may count under several promises.\n\n",
    );
    let mut header = vec![""];
    header.extend(parts.iter().map(|part| part.subject.title.as_str()));
    let mut rows: Vec<Vec<String>> = PROMISES.into_iter().map(|promise| verdicts(parts, promise)).collect();
    rows.push(row(parts, "P6 a device is whole at once", |_| "not tried yet".to_owned()));
    if parts.iter().any(|part| breaks(&part.found, Promise::Protocol).next().is_some()) {
        rows.push(verdicts(parts, Promise::Protocol));
    }
    rows.push(row(parts, "runs that could not go on", |outcome| {
        outcome.runs.iter().filter(|run| run.error.is_some()).count().to_string()
    }));
    rows.push(row(parts, "not offered, so not tried", not_offered));
    out.push_str(&table(&header, Align::Left, &rows));
    out.push_str("What the runs were made of:\n\n");
    out.push_str(&table(&header, Align::Right, &amounts(parts)));
    for part in parts {
        out.push_str(&examples(part));
    }
    out
}

fn row(parts: Parts<'_>, name: &str, cell: impl Fn(&Outcome) -> String) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(parts.iter().map(|part| cell(&part.found))).collect()
}

fn verdicts(parts: Parts<'_>, promise: Promise) -> Vec<String> {
    let name = match promise {
        Promise::Protocol => promise.title().to_owned(),
        _ => format!("{} {}", promise.as_str(), promise.title()),
    };
    row(parts, &name, |outcome| verdict(outcome, promise))
}

/// Of the runs that went to their end.
fn verdict(outcome: &Outcome, promise: Promise) -> String {
    let judged = outcome.runs.iter().filter(|run| run.error.is_none());
    let broken = judged.clone().filter(|run| breaks_of(run, promise).next().is_some()).count();
    match (broken, judged.count()) {
        (_, 0) => "no run came to its end".to_owned(),
        (0, count) => format!("kept in {count} of {count} runs"),
        (broken, count) => format!("**broken in {broken} of {count} runs**"),
    }
}

fn breaks_of(run: &Run, promise: Promise) -> impl Iterator<Item = &Told> {
    run.violations.iter().filter(move |violation| violation.promise == promise.as_str())
}

fn breaks(outcome: &Outcome, promise: Promise) -> impl Iterator<Item = &Told> {
    outcome.runs.iter().flat_map(move |run| breaks_of(run, promise))
}

fn not_offered(outcome: &Outcome) -> String {
    let mut all: Vec<&String> = outcome.runs.iter().flat_map(|run| &run.not_offered).collect();
    all.sort_unstable();
    all.dedup();
    let all: Vec<String> = all.into_iter().map(|one| inline(one)).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

fn amounts(parts: Parts<'_>) -> Vec<Vec<String>> {
    let sum = |outcome: &Outcome, part: fn(&Tally) -> usize| {
        let parts = outcome.runs.iter().map(|run| part(&run.tally));
        parts.fold(0, usize::saturating_add).to_string()
    };
    let counted = |name, part: fn(&Tally) -> usize| row(parts, name, |outcome| sum(outcome, part));
    vec![
        row(parts, "seeds", |outcome| match (outcome.runs.first(), outcome.runs.last()) {
            (Some(first), Some(last)) => format!("{} to {}", first.seed, last.seed),
            _ => "none".to_owned(),
        }),
        counted("messages", |tally| tally.messages),
        counted("server killed", |tally| tally.kills),
        counted("server stopped", |tally| tally.stops),
        counted("networks lost", |tally| tally.losses),
        counted("sessions begun", |tally| tally.sessions),
        counted("sessions resumed", |tally| tally.resumed),
    ]
}

/// The first of each kind of break, with the seed that shows it.
fn examples(part: &Part<Outcome>) -> String {
    let mut kinds: BTreeMap<(&str, &str), Vec<(u64, &Told)>> = BTreeMap::new();
    for run in &part.found.runs {
        for violation in &run.violations {
            let kind = (violation.promise.as_str(), violation.rule.as_str());
            kinds.entry(kind).or_default().push((run.seed, violation));
        }
    }
    let mut out = format!("**{}** ", part.subject.title);
    let could_not: Vec<&Run> = part.found.runs.iter().filter(|run| run.error.is_some()).collect();
    if kinds.is_empty() && could_not.is_empty() {
        out.push_str("broke none.\n\n");
        return out;
    }
    let times: usize = kinds.values().map(Vec::len).sum();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "broke promises {times} times, in {} ways.", kinds.len());
    out.push_str("\n<details><summary>One example of each</summary>\n\n");
    for ((promise, rule), breaks) in &kinds {
        let mut seeds: Vec<u64> = breaks.iter().map(|(seed, _)| *seed).collect();
        seeds.dedup();
        let Some((seed, example)) = breaks.first() else { continue };
        let _ = writeln!(
            out,
            "- {promise}, *{rule}*, {} times in {} runs. Seed {seed}: {}",
            breaks.len(),
            seeds.len(),
            inline(&example.text)
        );
        for line in example.evidence.iter().take(EVIDENCE_MAX) {
            let _ = writeln!(out, "  - {}", inline(line));
        }
    }
    for run in could_not {
        let error = inline(run.error.as_deref().unwrap_or_default());
        let _ = writeln!(out, "- Seed {} could not go on: {error}", run.seed);
    }
    out.push_str("\n</details>\n\n");
    out
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn a_promise_is_kept_in_all_runs_or_broken_in_some() {
        let text = section(&example::parts().converge);
        for line in [
            "|  | Unisono | Prosody |",
            "| P1 one order | kept in 3 of 3 runs | kept in 2 of 2 runs |",
            "| P3 once | kept in 3 of 3 runs | **broken in 1 of 2 runs** |",
            "| P6 a device is whole at once | not tried yet | not tried yet |",
            "| what the protocols say | kept in 3 of 3 runs | **broken in 2 of 2 runs** |",
            "| runs that could not go on | 0 | 1 |",
            "| not offered, so not tried | nothing | CSI |",
            "| seeds | 1 to 3 | 1 to 3 |",
            "| messages | 30 | 30 |",
            "**Unisono** broke none.",
            "**Prosody** broke promises 4 times, in 2 ways.",
            "- P3, *doubled-on-device*, 2 times in 1 runs. Seed 2: m1 came twice",
            "  - #7 alice/sm got &lt;message/>",
            "- protocol, *odd*, 2 times in 2 runs. Seed 1: m1 came twice",
            "- Seed 3 could not go on: no answer",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
