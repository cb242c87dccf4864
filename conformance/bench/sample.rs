//! Figures of one round.

use std::collections::BTreeMap;

use super::clock::Usage;
use super::machine::Memory;
use super::numbers::{Latencies, float};
use super::tracker::Faults;

/// One row of the result: an operation, and what was measured of it in one round.
#[derive(Debug)]
pub(super) struct Sample {
    /// What was measured, such as `idle at 5000`.
    pub(super) row: String,
    /// Name with its unit, such as `cpu_us`, and value.
    pub(super) figures: BTreeMap<&'static str, f64>,
    /// What a reader of the figures must know.
    pub(super) notes: Vec<String>,
}

impl Sample {
    pub(super) fn new(row: &str) -> Self {
        Self { row: row.to_owned(), figures: BTreeMap::new(), notes: Vec::new() }
    }

    /// What could not be measured.
    pub(super) fn failed(row: &str, error: &anyhow::Error) -> Self {
        let mut sample = Self::new(row);
        sample.note(format!("could not be measured: {error:#}"));
        sample
    }

    pub(super) fn set(&mut self, name: &'static str, value: f64) {
        self.figures.insert(name, value);
    }

    /// Processor time for each of `operations`, and who else used the machine.
    pub(super) fn set_usage(&mut self, operations: u64, usage: Usage) {
        if operations > 0 {
            self.set("cpu_us", usage.server * 1e6 / float(operations));
            self.set("load_cpu_us", usage.load * 1e6 / float(operations));
        }
        self.set("others_share", usage.others());
        self.set("idle_share", usage.idle / usage.total.max(1e-9));
        if usage.is_bound_by_load() {
            self.note("the rate was limited by the load, not by the server");
        } else if usage.load > usage.server {
            self.note("the load took more processor time than the server");
        }
    }

    /// The memory that the server has now.
    pub(super) fn set_memory(&mut self, memory: Memory) {
        self.set("memory_mib", float(memory.pss) / 1024.0);
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.set("lost", float(faults.lost));
        self.set("doubled", float(faults.doubled));
        self.set("out_of_order", float(faults.disordered));
    }

    pub(super) fn set_latencies(&mut self, latencies: &Latencies) {
        for (name, per_mille) in [("p50_us", 500), ("p99_us", 990), ("p999_us", 999)] {
            if let Some(value) = latencies.per_mille(per_mille) {
                self.set(name, value);
            }
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}
