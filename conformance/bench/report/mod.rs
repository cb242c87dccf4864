//! What a run found.

mod json;
mod markdown;

use std::collections::BTreeMap;

use super::machine::{self, Machine};
use super::numbers::{Spread, spread};
use super::sample::Sample;

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
    /// Load averages at the begin and at the end.
    load: [String; 2],
    subjects: Vec<Subject>,
    rows: Vec<Row>,
    is_clean: bool,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            machine: Machine::this(),
            load: [machine::load_average(), String::new()],
            subjects: Vec::new(),
            rows: Vec::new(),
            is_clean: true,
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

    pub(super) fn end(&mut self) {
        self.load[1] = machine::load_average();
    }

    /// Whether nothing was lost, doubled or out of order, on any server.
    pub(super) fn is_clean(&self) -> bool {
        self.is_clean
    }
}

impl Row {
    /// The rounds of one figure.
    fn spread(&self, figure: &str) -> Option<Spread> {
        spread(self.rounds.iter().filter_map(|round| round.get(figure).copied()).collect())
    }
}
