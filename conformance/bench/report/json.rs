//! All figures of all rounds, for programs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Row;
use crate::bench::numbers::Spread;

/// A row as it is written: what follows from the rounds stands there too, for who reads it without us.
#[derive(Serialize)]
struct Written<'a> {
    scenario: &'a str,
    row: &'a str,
    target: &'a str,
    figures: BTreeMap<&'a str, Option<Spread>>,
    rounds: &'a [BTreeMap<String, f64>],
    notes: &'a [String],
}

impl Serialize for Row {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { scenario, name: row, target, rounds, notes } = self;
        let names: BTreeSet<&str> =
            rounds.iter().flat_map(|round| round.keys().map(String::as_str)).collect();
        let figures = names.into_iter().map(|name| (name, self.spread(name))).collect();
        Written { scenario, row, target, figures, rounds, notes }.serialize(serializer)
    }
}
