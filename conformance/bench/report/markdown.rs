//! The tables, for people.

use std::fmt::Write as _;

use super::Report;

/// Columns of the table: a figure and its title.
const COLUMNS: [(&str, &str); 13] = [
    ("cpu_us", "CPU µs"),
    ("cpu_us_per_copy", "CPU µs a copy"),
    ("paced_cpu_us", "CPU µs, paced"),
    ("per_second", "per second"),
    ("p50_us", "p50 µs"),
    ("p99_us", "p99 µs"),
    ("p999_us", "p99.9 µs"),
    ("kib_per_session", "KiB a session"),
    ("open_cpu_us", "CPU µs to open"),
    ("memory_mib", "MiB"),
    ("lost", "lost"),
    ("doubled", "doubled"),
    ("out_of_order", "out of order"),
];

impl Report {
    pub(in crate::bench) fn markdown(&self) -> String {
        let mut out = String::new();
        let titles: Vec<&str> = COLUMNS.iter().map(|(_, title)| *title).collect();
        // Writing to a string does not fail.
        let _ = writeln!(out, "| | server | {} |", titles.join(" | "));
        let _ = writeln!(out, "|---|---|{}", "---|".repeat(COLUMNS.len()));
        for row in &self.rows {
            let _ = write!(out, "| {} | {} |", row.name, row.target);
            for (figure, _) in COLUMNS {
                let cell = row.spread(figure).map(|spread| {
                    let (median, min, max) = (show(spread.median), show(spread.min), show(spread.max));
                    if min == max { median } else { format!("{median} ({min}–{max})") }
                });
                let _ = write!(out, " {} |", cell.unwrap_or_default());
            }
            out.push('\n');
        }
        out
    }
}

/// Three digits say enough.
fn show(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
