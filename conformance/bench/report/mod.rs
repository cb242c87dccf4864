//! What a run found.

mod json;
mod markdown;
mod svg;

use std::collections::BTreeMap;

use super::machine::{self, Machine};
use super::numbers::{Spread, spread};
use super::sample::Sample;
use super::server::FLOOR;

pub(super) use markdown::splice;

/// One server of the run.
#[derive(Debug, serde::Serialize)]
struct Subject {
    /// As on the command line.
    name: String,
    title: String,
    version: String,
}

/// All rounds of one row on one server.
#[derive(Debug)]
struct Row {
    scenario: String,
    name: String,
    target: String,
    rounds: Vec<BTreeMap<&'static str, f64>>,
    notes: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Report {
    machine: Machine,
    /// The day of the run, in UTC.
    date: String,
    /// Load averages at the begin and at the end.
    load: [String; 2],
    subjects: Vec<Subject>,
    rows: Vec<Row>,
    is_clean: bool,
    is_complete: bool,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            machine: Machine::this(),
            date: time::OffsetDateTime::now_utc().date().to_string(),
            load: [machine::load_average(), String::new()],
            subjects: Vec::new(),
            rows: Vec::new(),
            is_clean: true,
            is_complete: true,
        }
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
            self.is_clean &= sample.is_clean();
            let row = self.row(scenario, target, sample.row);
            row.rounds.push(sample.figures);
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
        let mut sample = Sample::new(scenario);
        sample.note(format!("could not be measured: {error:#}"));
        self.add(scenario, target, vec![sample]);
        self.is_complete = false;
    }

    pub(super) fn end(&mut self) {
        self.load[1] = machine::load_average();
    }

    /// Whether all was measured, and nothing was lost, doubled or out of order, on any server.
    pub(super) fn is_clean(&self) -> bool {
        self.is_clean && self.is_complete
    }
}

impl Subject {
    fn full_name(&self) -> String {
        format!("{} {}", self.title, self.version).trim_end().to_owned()
    }

    fn is_floor(&self) -> bool {
        self.name == FLOOR
    }
}

impl Row {
    /// The rounds of one figure.
    fn spread(&self, figure: &str) -> Option<Spread> {
        spread(self.rounds.iter().filter_map(|round| round.get(figure).copied()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report on three servers and the floor.
    pub(super) fn report() -> Report {
        let mut report = Report::new();
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
        report.is_clean = true;
        report.add("routed", "unisono", vec![Sample::new("routed")]);
        assert!(report.is_clean());
        report.add_notes("routed", "prosody", &["other".to_owned()]);
        let notes = report.rows.iter().find(|row| row.target == "prosody").map(|row| row.notes.as_slice());
        assert_eq!(notes, Some(&["late".to_owned(), "other".to_owned()][..]));
    }
}
