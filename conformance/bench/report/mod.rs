//! What a run found.

mod json;
mod markdown;
mod svg;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::machine::{self, Machine};
use super::numbers::{Spread, spread};
use super::sample::Sample;
use super::server::FLOOR;

pub(crate) use markdown::show;
pub(super) use markdown::splice;

/// What must not happen to a message.
pub(crate) const FAULTS: [&str; 3] = ["lost", "doubled", "out_of_order"];

/// One server of the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Subject {
    /// As on the command line.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) version: String,
}

/// All rounds of one row on one server.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Row {
    scenario: String,
    #[serde(rename = "row")]
    pub(crate) name: String,
    target: String,
    /// Empty where it could not be measured.
    rounds: Vec<BTreeMap<String, f64>>,
    notes: Vec<String>,
}

/// Load averages as the kernel tells them.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Load {
    begin: String,
    end: String,
}

/// Can be kept as JSON and read again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// The day of the run, in UTC.
    pub(crate) date: String,
    #[serde(rename = "load_average")]
    load: Load,
    /// Whether the numbers were small, so that they say little.
    pub(crate) is_quick: bool,
    #[serde(rename = "targets")]
    pub(crate) subjects: Vec<Subject>,
    rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(is_quick: bool) -> Self {
        Self {
            machine: Machine::this(),
            date: time::OffsetDateTime::now_utc().date().to_string(),
            load: Load { begin: machine::load_average(), end: String::new() },
            is_quick,
            subjects: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// What was measured later, of other scenarios.
    pub(crate) fn append(&mut self, later: Self) {
        for subject in later.subjects {
            if !self.subjects.iter().any(|known| known.name == subject.name) {
                self.subjects.push(subject);
            }
        }
        self.rows.extend(later.rows);
        self.load.end = later.load.end;
        self.is_quick |= later.is_quick;
    }

    /// Keeps the rows whose names are wanted.
    #[cfg(test)]
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.rows.retain(|row| is_wanted(&row.name));
    }

    pub(super) fn add_target(&mut self, name: &str, title: &str, version: &str) {
        self.subjects.push(Subject {
            name: name.to_owned(),
            title: title.to_owned(),
            version: version.to_owned(),
        });
    }

    pub(super) fn add(&mut self, scenario: &str, target: &str, samples: Vec<Sample>) {
        for sample in samples {
            let row = self.row(scenario, target, sample.row);
            row.rounds
                .push(sample.figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
            for note in sample.notes {
                if !row.notes.contains(&note) {
                    row.notes.push(note);
                }
            }
        }
    }

    fn row(&mut self, scenario: &str, target: &str, name: String) -> &mut Row {
        let is_same = |row: &Row| row.name == name && row.target == target && row.scenario == scenario;
        let index = self.rows.iter().position(is_same).unwrap_or(self.rows.len());
        if index == self.rows.len() {
            let (scenario, target) = (scenario.to_owned(), target.to_owned());
            self.rows.push(Row { scenario, name, target, rounds: Vec::new(), notes: Vec::new() });
        }
        #[expect(clippy::indexing_slicing, reason = "it was found or added above")]
        &mut self.rows[index]
    }

    /// Notes on all rows of a scenario.
    pub(super) fn add_notes(&mut self, scenario: &str, target: &str, notes: &[String]) {
        let rows = self.rows.iter_mut().filter(|row| row.scenario == scenario && row.target == target);
        for row in rows {
            row.notes.extend(notes.iter().cloned());
        }
    }

    /// A scenario that a server could not be measured in.
    pub(super) fn add_failure(&mut self, scenario: &str, target: &str, error: &anyhow::Error) {
        self.add(scenario, target, vec![Sample::failed(scenario, error)]);
    }

    pub(super) fn end(&mut self) {
        self.load.end = machine::load_average();
    }

    /// Whether all was measured, and nothing was lost, doubled or out of order, on any server.
    pub(super) fn is_clean(&self) -> bool {
        let is_complete = self.rows.iter().flat_map(|row| &row.rounds).all(|round| !round.is_empty());
        is_complete && self.rows.iter().all(|row| row.sum(&FAULTS) == 0.0)
    }
}

impl Subject {
    pub(crate) fn full_name(&self) -> String {
        format!("{} {}", self.title, self.version).trim_end().to_owned()
    }

    pub(crate) fn is_floor(&self) -> bool {
        self.name == FLOOR
    }
}

impl Row {
    /// The rounds of one figure.
    pub(crate) fn spread(&self, figure: &str) -> Option<Spread> {
        spread(self.rounds.iter().filter_map(|round| round.get(figure).copied()).collect())
    }

    /// Of these figures, in all rounds.
    pub(crate) fn sum(&self, figures: &[&str]) -> f64 {
        let of_round = |round: &BTreeMap<String, f64>| -> f64 {
            figures.iter().filter_map(|figure| round.get(*figure)).sum()
        };
        self.rounds.iter().map(of_round).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report on three servers and the floor.
    pub(super) fn report() -> Report {
        let mut report = Report::new(false);
        report.add_target("unisono", "Unisono", "0.1");
        report.add_target("prosody", "Prosody", "0.12.3 & more");
        report.add_target("ejabberd", "ejabberd", "");
        report.add_target(FLOOR, "floor", "");
        let sample = |row: &str, figures: &[(&'static str, f64)]| {
            let mut sample = Sample::new(row);
            for (name, value) in figures {
                sample.set(name, *value);
            }
            sample
        };
        let (lost, order) = ("lost", "out_of_order");
        report.add(
            "routed",
            "unisono",
            vec![sample("routed", &[("cpu_us", 10.0), (lost, 0.0), ("copies", 1.0)])],
        );
        let mut late = sample("routed", &[("cpu_us", 210.0), (lost, 2.0), (order, 3.0)]);
        late.note("late");
        report.add("routed", "prosody", vec![late]);
        report.add("routed", "ejabberd", vec![sample("routed", &[("cpu_us", 100.0), (lost, 0.0)])]);
        report.add("routed", FLOOR, vec![sample("routed", &[("cpu_us", 5.0)])]);
        report.add(
            "routed",
            "unisono",
            vec![sample("routed", &[("cpu_us", 11.0), ("cpu_us_per_copy", 11.0)])],
        );
        report.add("idle", "unisono", vec![sample("idle at 5000", &[("kib_per_session", 12.0)])]);
        report
    }

    #[test]
    fn a_fault_on_any_server_is_not_forgotten() {
        let mut report = report();
        assert!(!report.is_clean());
        report.rows.retain(|row| row.target != "prosody");
        assert!(report.is_clean());
        report.add_failure("paging", "unisono", &anyhow::anyhow!("no page"));
        assert!(!report.is_clean());
        let mut late = Sample::new("routed");
        late.note("late");
        report.add("routed", "prosody", vec![late]);
        report.add_notes("routed", "prosody", &["other".to_owned()]);
        let notes = report.rows.iter().find(|row| row.target == "prosody").map(|row| row.notes.as_slice());
        assert_eq!(notes, Some(&["late".to_owned(), "other".to_owned()][..]));
    }
}
