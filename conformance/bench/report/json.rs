//! All figures of all rounds, for programs.

use serde_json::{Map, Value, json};

use super::{Report, Row};

impl Report {
    pub(in crate::bench) fn json(&self) -> Value {
        json!({
            "machine": self.machine,
            "date": self.date,
            "load_average": { "begin": self.load[0], "end": self.load[1] },
            "targets": self.subjects,
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        })
    }
}

impl Row {
    fn json(&self) -> Value {
        let names: std::collections::BTreeSet<&str> =
            self.rounds.iter().flat_map(|round| round.keys().copied()).collect();
        let figures: Map<String, Value> =
            names.into_iter().map(|name| (name.to_owned(), json!(self.spread(name)))).collect();
        json!({
            "scenario": self.scenario,
            "row": self.name,
            "target": self.target,
            "figures": figures,
            "rounds": self.rounds,
            "notes": self.notes,
        })
    }
}
