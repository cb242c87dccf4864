//! What is asked of the first server, compared with the better of the others and with the floor.

use crate::bench::{FAULTS, Report, Subject, show};
use crate::markdown::{Align, table};

/// What the first server is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Against {
    /// So many times less than the better of the other servers.
    Peers,
    /// At most so many times what the floor needs.
    Floor,
}

struct Asked {
    what: &'static str,
    /// The row of the benchmark, or what the names of several begin with.
    row: &'static str,
    figure: &'static str,
    times: f64,
    against: Against,
    unit: &'static str,
}

const ASKED: [Asked; 6] = [
    Asked {
        what: "processor time per routed message",
        row: "routed",
        figure: "cpu_us",
        times: 10.0,
        against: Against::Peers,
        unit: "µs",
    },
    Asked {
        what: "processor time per recorded copy, four devices a user",
        row: "four-devices",
        figure: "cpu_us_per_copy",
        times: 25.0,
        against: Against::Peers,
        unit: "µs",
    },
    Asked {
        what: "memory per idle TLS session",
        row: "idle at ",
        figure: "kib_per_session",
        times: 5.0,
        against: Against::Peers,
        unit: "KiB",
    },
    Asked {
        what: "processor time per login",
        row: "login",
        figure: "cpu_us",
        times: 2.0,
        against: Against::Peers,
        unit: "µs",
    },
    Asked {
        what: "processor time per page of an archive",
        row: "page ",
        figure: "cpu_us",
        times: 15.0,
        against: Against::Peers,
        unit: "µs",
    },
    Asked {
        what: "processor time per routed message",
        row: "routed",
        figure: "cpu_us",
        times: 2.0,
        against: Against::Floor,
        unit: "µs",
    },
];

/// One line of the table.
struct Line {
    what: String,
    asked: String,
    measured: String,
    is_kept: Option<bool>,
}

/// The table, or nothing where there is no server to be asked.
pub(super) fn section(report: &Report) -> String {
    let Some(own) = report.subjects.iter().find(|subject| !subject.is_floor()) else { return String::new() };
    let mut lines: Vec<Line> = ASKED.iter().flat_map(|asked| asked.lines(report, own)).collect();
    lines.push(faults(report, own, "lost, doubled or out of order", |_| true));
    lines.push(faults(report, own, "the same when streams are resumed under a backlog", |row| {
        row.starts_with("resume ")
    }));
    let verdict = |line: &Line| match line.is_kept {
        Some(true) => "kept".to_owned(),
        Some(false) => "**not kept**".to_owned(),
        None => "not measured".to_owned(),
    };
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| vec![line.what.clone(), line.asked.clone(), line.measured.clone(), verdict(line)])
        .collect();
    let head = format!("### What is asked of {}\n\n", own.title);
    head + &table(&["", "asked", "measured", ""], Align::Left, &rows) + &behind(report, own)
}

/// What others do better.
fn behind(report: &Report, own: &Subject) -> String {
    let lines = report.behind();
    let lines =
        lines.iter().map(|(what, ratio)| format!("- {what}: {} of what the best other does\n", show(*ratio)));
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("### Where {} is behind\n\n{lines}\n", own.title) }
}

impl Asked {
    /// A line for each row that it is about; one that says so where there is none.
    fn lines(&self, report: &Report, own: &Subject) -> Vec<Line> {
        let is_family = self.row.ends_with(' ');
        let rows = report
            .operations()
            .into_iter()
            .filter(|name| if is_family { name.starts_with(self.row) } else { name == self.row });
        let mut lines: Vec<Line> = rows
            .map(|row| {
                let what = if is_family { format!("{}: {row}", self.what) } else { self.what.to_owned() };
                self.line(what, self.measure(report, own, &row))
            })
            .collect();
        if lines.is_empty() {
            lines.push(self.line(self.what.to_owned(), None));
        }
        lines
    }

    fn line(&self, what: String, measured: Option<(String, bool)>) -> Line {
        let asked = match self.against {
            Against::Peers => format!("{} times less than the better other server", self.times),
            Against::Floor => format!("at most {} times the floor", self.times),
        };
        let (measured, is_kept) = measured.unzip();
        Line { what, asked, measured: measured.unwrap_or_default(), is_kept }
    }

    /// What came out, and whether it is enough.
    fn measure(&self, report: &Report, own: &Subject, row: &str) -> Option<(String, bool)> {
        // What costs nothing was too little for the clock, or for the pages that memory is counted in.
        let median = |subject: &Subject| {
            let median = report.find(row, subject)?.spread(self.figure)?.median;
            (median > 0.0).then_some(median)
        };
        let ours = median(own)?;
        let others: Vec<&Subject> = report
            .subjects
            .iter()
            .filter(|subject| subject.name != own.name)
            .filter(|subject| subject.is_floor() == (self.against == Against::Floor))
            .collect();
        let measured = others.iter().filter_map(|subject| Some((*subject, median(subject)?)));
        let (best, theirs) = measured.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let absent: Vec<&str> = others
            .iter()
            .filter(|subject| median(subject).is_none())
            .map(|subject| subject.title.as_str())
            .collect();
        let (ratio, is_kept, comparison) = match self.against {
            Against::Peers => (theirs / ours, theirs >= self.times * ours, "times less"),
            Against::Floor => (ours / theirs, ours <= self.times * theirs, "times the floor"),
        };
        let (ratio, ours, theirs, unit) = (show(ratio), show(ours), show(theirs), self.unit);
        let mut text = format!("{ratio} {comparison}: {ours} {unit}, {} {theirs} {unit}", best.title);
        if !absent.is_empty() {
            text = format!("{text}; not measured: {}", absent.join(", "));
        }
        Some((text, is_kept))
    }
}

/// What went wrong on each server, of the rows that are chosen.
fn faults(report: &Report, own: &Subject, what: &str, is_chosen: impl Fn(&str) -> bool) -> Line {
    let names: Vec<String> = report.operations().into_iter().filter(|name| is_chosen(name)).collect();
    let sum = |subject: &Subject| {
        let rows = names.iter().filter_map(|name| report.find(name, subject));
        let mut rows = rows.filter(|row| FAULTS.iter().any(|fault| row.spread(fault).is_some())).peekable();
        rows.peek()?;
        Some(rows.map(|row| row.sum(&FAULTS)).sum::<f64>())
    };
    let cells =
        report.subjects.iter().filter_map(|subject| Some(format!("{} {}", subject.title, sum(subject)?)));
    Line {
        what: what.to_owned(),
        asked: "none".to_owned(),
        measured: cells.collect::<Vec<_>>().join(", "),
        is_kept: sum(own).map(|sum| sum == 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::bench;
    use super::*;

    #[test]
    fn ratios_are_told_with_what_they_come_from() {
        let text = section(&bench());
        for line in [
            // The better other server counts, not the worse, and not the floor.
            "| processor time per routed message | 10 times less than the better other server | \
             10.0 times less: 10.0 µs, ejabberd 100 µs | kept |",
            "| processor time per routed message | at most 2 times the floor | \
             2.50 times the floor: 10.0 µs, floor 4.00 µs | **not kept** |",
            "| processor time per recorded copy, four devices a user | 25 times less than the better other server |  | not measured |",
            "| memory per idle TLS session: idle at 50 | 5 times less than the better other server | \
             4.00 times less: 10.0 KiB, Prosody 40.0 KiB; not measured: ejabberd | **not kept** |",
            "| processor time per page of an archive: page back in 200 | 15 times less than the better other server | \
             20.0 times less: 5.00 µs, Prosody 100 µs; not measured: ejabberd | kept |",
            "| lost, doubled or out of order | none | Unisono 0, Prosody 2, ejabberd 0 | kept |",
            "| the same when streams are resumed under a backlog | none |  | not measured |",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
