//! The tables, for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Report, Row, Subject};
use crate::bench::numbers::{Spread, spread};
use crate::markdown::{self, Align};

/// Between these lines a file may hold the tables among other things.
const BEGIN: &str = "<!-- benchmark: written by `unisono-conformance bench --markdown` -->";
const END: &str = "<!-- end of the benchmark -->";

/// Which of two values is better.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    Less,
    More,
}

/// One table: a row for each operation that has the figure, a column for each server.
struct Table {
    title: &'static str,
    text: &'static str,
    /// Figures, and what they add to the name of the operation.
    figures: &'static [(&'static str, &'static str)],
    /// Whether the first server is compared with the better of the others, and how.
    better: Option<Better>,
}

const TABLES: [Table; 7] = [
    Table {
        title: "Processor time of the server, µs per operation",
        text: "All processes of the server, user and system time. Messages: as fast as it goes, many on their way at \
            a time; *paced*: one after the other at a set rate, where waking up for each costs more than the work.",
        figures: &[("cpu_us", ""), ("cpu_us_per_copy", ", each copy"), ("paced_cpu_us", ", paced")],
        better: Some(Better::Less),
    },
    Table {
        title: "Memory of an idle session, KiB",
        text: "Growth of the proportional set size of all processes of the server, divided by the sessions: TLS, \
            roster, presence, carbons and stream management, one account each.",
        figures: &[("kib_per_session", "")],
        better: Some(Better::Less),
    },
    Table {
        title: "Rate, operations per second",
        text: "Server and load share the machine, so that this says less than the processor time.",
        figures: &[("per_second", "")],
        better: Some(Better::More),
    },
    Table {
        title: "Latency, µs",
        text: "Messages at a set rate, from the time when each was due to its arrival at each device. Logins, pages and \
            resumed streams with several at a time, as fast as it goes.",
        figures: &[("p50_us", ", p50"), ("p99_us", ", p99"), ("p999_us", ", p99.9")],
        better: Some(Better::Less),
    },
    Table {
        title: "Restart, seconds",
        text: "",
        figures: &[
            ("stop_seconds", ", to stop"),
            ("start_seconds", ", to start"),
            ("return_seconds", ", until all are back"),
        ],
        better: Some(Better::Less),
    },
    Table {
        title: "Memory of the server, MiB",
        text: "Proportional set size after the last round.",
        figures: &[("memory_mib", "")],
        better: Some(Better::Less),
    },
    Table {
        title: "The load",
        text: "Its processor time, in µs for each operation, and the part of the machine that nobody used. Where much \
            of it is left, it is the time of each operation that sets the rate.",
        figures: &[("load_cpu_us", ", load"), ("idle_share", ", left")],
        better: None,
    },
];

/// What must not happen.
const FAULTS: [(&str, &str); 4] = [
    ("lost", "lost"),
    ("doubled", "doubled"),
    ("out_of_order", "out of order"),
    ("not_resumed", "not resumed"),
];

impl Report {
    pub(crate) fn markdown(&self, plot: Option<&str>) -> String {
        let mut out = String::new();
        self.write_head(&mut out, plot);
        for table in &TABLES {
            self.write_table(&mut out, table);
        }
        self.write_faults(&mut out);
        self.write_notes(&mut out);
        out
    }

    // Writing to a string does not fail.

    fn write_head(&self, out: &mut String, plot: Option<&str>) {
        let servers: Vec<String> = self.subjects.iter().map(Subject::full_name).collect();
        let _ = writeln!(
            out,
            "{}, on {}, {}. The median of the rounds, and the least and the most. \
             Load average at the begin {}, at the end {}; {}.\n",
            servers.join(", "),
            self.machine,
            self.date,
            self.load.begin,
            self.load.end,
            self.others(),
        );
        if let Some(plot) = plot {
            let _ = writeln!(out, "![Processor time and memory]({plot})\n");
        }
    }

    /// How much of the machine others used meanwhile.
    fn others(&self) -> String {
        let shares =
            self.rows.iter().flat_map(|row| &row.rounds).filter_map(|round| round.get("others_share"));
        let Some(Spread { median, max, .. }) = spread(shares.copied().collect()) else {
            return "nothing else was measured".to_owned();
        };
        format!("others used {:.0} % of the machine, at most {:.0} %", median * 100.0, max * 100.0)
    }

    fn write_table(&self, out: &mut String, table: &Table) {
        let mut lines = Vec::new();
        for row in self.operations() {
            for (figure, suffix) in table.figures {
                let cells = self.cells(&row, figure);
                let says_nothing_new = *figure == "cpu_us_per_copy" && !self.has_copies(&row);
                if cells.iter().all(Option::is_none) || says_nothing_new {
                    continue;
                }
                let mut line = vec![format!("{row}{suffix}")];
                line.extend(cells.iter().map(|cell| cell.map(show_spread).unwrap_or_default()));
                if let Some(better) = table.better {
                    line.push(self.ratio(&cells, better).map(show).unwrap_or_default());
                }
                lines.push(line);
            }
        }
        if lines.is_empty() {
            return;
        }
        let _ = writeln!(out, "### {}\n", table.title);
        if !table.text.is_empty() {
            let _ = writeln!(out, "{}\n", table.text);
        }
        let mut titles = self.titles();
        if table.better.is_some() {
            titles.push("times better than the best other");
        }
        out.push_str(&markdown::table(&titles, Align::Right, &lines));
    }

    /// A figure of each server.
    fn cells(&self, row: &str, figure: &str) -> Vec<Option<Spread>> {
        let spread = |subject| self.find(row, subject).and_then(|row| row.spread(figure));
        self.subjects.iter().map(spread).collect()
    }

    /// Where the best of the others is better than the first server: what is compared, with how many times.
    pub(crate) fn behind(&self) -> Vec<(String, f64)> {
        let mut behind = Vec::new();
        for table in &TABLES {
            let Some(better) = table.better else { continue };
            for row in self.operations() {
                for (figure, suffix) in table.figures {
                    let ratio = self.ratio(&self.cells(&row, figure), better);
                    if let Some(ratio) = ratio.filter(|ratio| *ratio < 1.0) {
                        let (title, _) = table.title.split_once(',').unwrap_or((table.title, ""));
                        behind.push((format!("{title}: {row}{suffix}"), ratio));
                    }
                }
            }
        }
        behind
    }

    /// The servers, behind the column for the names of the rows.
    fn titles(&self) -> Vec<&str> {
        std::iter::once("").chain(self.subjects.iter().map(|subject| subject.title.as_str())).collect()
    }

    /// How many times better the first server is than the best of the other servers; the floor is none.
    fn ratio(&self, cells: &[Option<Spread>], better: Better) -> Option<f64> {
        let mut medians = self.subjects.iter().zip(cells).filter(|(subject, _)| !subject.is_floor());
        let own = medians.next()?.1.as_ref()?.median;
        let others = medians.filter_map(|(_, cell)| cell.as_ref().map(|cell| cell.median));
        let ratio = match better {
            Better::Less => others.min_by(f64::total_cmp)? / own,
            Better::More => own / others.max_by(f64::total_cmp)?,
        };
        ratio.is_finite().then_some(ratio)
    }

    fn write_faults(&self, out: &mut String) {
        let mut lines = Vec::new();
        for row in self.operations() {
            let cells = self
                .subjects
                .iter()
                .map(|subject| self.find(&row, subject).and_then(Row::faults).unwrap_or_default());
            let line: Vec<String> = std::iter::once(row.clone()).chain(cells).collect();
            if line.iter().skip(1).any(|cell| !cell.is_empty()) {
                lines.push(line);
            }
        }
        if lines.is_empty() {
            return;
        }
        let _ = writeln!(
            out,
            "### Lost, doubled, out of order\n\nOf all messages, on every device, in all rounds.\n"
        );
        out.push_str(&markdown::table(&self.titles(), Align::Left, &lines));
    }

    fn write_notes(&self, out: &mut String) {
        for row in &self.rows {
            for note in &row.notes {
                let title = self.subjects.iter().find(|subject| subject.name == row.target);
                let title = title.map_or(row.target.as_str(), |subject| &subject.title);
                let _ = writeln!(out, "- {}, {title}: {note}.", row.name);
            }
        }
    }

    /// The names of the rows, in the order in which they were measured.
    pub(crate) fn operations(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        self.rows.iter().filter(|row| seen.insert(&row.name)).map(|row| row.name.clone()).collect()
    }

    pub(crate) fn find(&self, name: &str, subject: &Subject) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name && row.target == subject.name)
    }

    fn has_copies(&self, name: &str) -> bool {
        let rows = self.rows.iter().filter(|row| row.name == name);
        rows.flat_map(|row| &row.rounds).any(|round| round.get("copies").is_some_and(|copies| *copies > 1.0))
    }
}

impl Row {
    /// What went wrong in all rounds together, or that nothing did; nothing where it was not looked for.
    fn faults(&self) -> Option<String> {
        let mut found = Vec::new();
        let mut was_checked = false;
        for (figure, word) in FAULTS {
            let values: Vec<f64> =
                self.rounds.iter().filter_map(|round| round.get(figure).copied()).collect();
            was_checked |= !values.is_empty();
            let sum: f64 = values.iter().sum();
            if sum > 0.0 {
                found.push(format!("{sum:.0} {word}"));
            }
        }
        was_checked
            .then(|| if found.is_empty() { "none".to_owned() } else { format!("**{}**", found.join(", ")) })
    }
}

fn show_spread(spread: Spread) -> String {
    let (median, min, max) = (show(spread.median), show(spread.min), show(spread.max));
    if min == max { median } else { format!("{median} ({min}–{max})") }
}

/// Three digits say enough.
pub(crate) fn show(value: f64) -> String {
    match value.abs() {
        size if size >= 99.5 => format!("{value:.0}"),
        size if size >= 9.95 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Puts the tables into a text, in place of earlier ones or at its end.
pub(in crate::bench) fn splice(text: &str, tables: &str) -> String {
    let (before, after) = match text.split_once(BEGIN) {
        Some((before, rest)) => (before, rest.split_once(END).map_or("", |(_, after)| after)),
        None if text.is_empty() => ("# Results\n\n## Benchmark\n\n", "\n"),
        None => (text, "\n"),
    };
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    format!("{before}{gap}{BEGIN}\n\n{}\n\n{END}{after}", tables.trim())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::super::tests::report;
    use super::*;

    #[test]
    fn the_first_server_is_compared_with_the_best_other_and_not_with_the_floor() {
        let text = report().markdown(None);
        assert!(text.contains("| routed | 10.5 (10.0–11.0) | 210 | 100 | 5.00 | 9.52 |"), "{text}");
        assert!(text.contains("| idle at 5000 | 12.0 |  |  |  |  |"), "{text}");
        assert!(text.contains("| routed | none | **2 lost, 3 out of order** | none |  |"), "{text}");
        assert!(text.contains("- routed, Prosody: late."), "{text}");
        assert!(!text.contains("each copy"), "{text}");
    }

    #[test]
    fn tables_replace_earlier_ones_and_nothing_else() {
        let first = splice("", "one");
        assert!(first.starts_with("# Results") && first.contains("\none\n"), "{first}");
        let around = format!("head\n{}tail\n", splice("", "one"));
        let second = splice(&around, "two");
        assert_eq!(second, around.replace("one", "two"));
        let appended = splice("some text", "one");
        assert!(appended.starts_with("some text\n<!--"), "{appended}");
        assert_eq!(splice(&appended, "one"), appended);
    }
}
