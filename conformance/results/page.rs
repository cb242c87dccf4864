//! The page: who was compared, where and when, and the sections.

use std::fmt::Write as _;

use super::part::{Kind, Part, Parts};
use super::{asked, promises, scripts};
use crate::bench::{self, Machine, Report};

/// What each line begins with that repeats a part.
const REPEAT: &str = "cargo run --profile measure -p unisono-conformance -- results";

pub(super) struct Page<'a> {
    pub(super) parts: &'a Parts,
    /// All scenarios of the benchmark, put together.
    pub(super) bench: Option<Report>,
}

/// What all parts have in common.
struct Origin<'a> {
    /// The server, and its name with its version.
    subjects: Vec<(&'a str, String)>,
    date: &'a str,
    machine: &'a Machine,
}

impl<'a> Page<'a> {
    pub(super) fn new(parts: &'a Parts) -> Self {
        let mut reports = parts.bench.iter().map(|part| part.found.clone());
        let bench = reports.next().map(|first| {
            reports.fold(first, |mut all, next| {
                all.append(next);
                all
            })
        });
        Self { parts, bench }
    }

    /// The plot, if something was measured that it can show.
    pub(super) fn svg(&self) -> Option<String> {
        self.bench.as_ref().map(Report::svg)
    }

    /// `plot` is the name of the plot, which lies beside the page.
    pub(super) fn markdown(&self, plot: &str) -> String {
        let mut out = String::from(
            "# Results\n\nMade by `unisono-conformance results`; nothing here was written by hand. What each part does, and \
             how a server of your own is tried: [README.md](README.md).\n\n",
        );
        self.write_head(&mut out);
        let absent = "This part has not been run.\n\n";
        out.push_str("## Promises\n\n");
        out.push_str(&match self.parts.converge.as_slice() {
            [] => absent.to_owned(),
            parts => promises::section(parts) + &again(Kind::Converge, &groups(parts)),
        });
        out.push_str("## Scripts\n\n");
        out.push_str(&match self.parts.scripts.as_slice() {
            [] => absent.to_owned(),
            parts => scripts::section(parts) + &again(Kind::Scripts, &groups(parts)),
        });
        out.push_str("## Benchmark\n\n");
        match &self.bench {
            None => out.push_str(absent),
            Some(bench) => {
                if bench.is_quick {
                    out.push_str("**Small numbers, to see that everything works: they say little.**\n\n");
                }
                out.push_str(&asked::section(bench));
                out.push_str("### How it was measured\n\n");
                out.push_str(bench.markdown(Some(plot)).trim_end());
                out.push_str("\n\n");
                out.push_str(&again(Kind::Bench, &self.scenarios()));
            }
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn origins(&self) -> Vec<Origin<'_>> {
        fn of<T>(part: &Part<T>) -> Origin<'_> {
            let subject = (part.subject.name.as_str(), part.subject.full_name());
            Origin { subjects: vec![subject], date: &part.date, machine: &part.machine }
        }
        let bench = self.parts.bench.iter().map(|part| {
            let servers = part.found.subjects.iter().filter(|subject| !subject.is_floor());
            let subjects = servers.map(|subject| (subject.name.as_str(), subject.full_name())).collect();
            Origin { subjects, ..of(part) }
        });
        let (scripts, converge) = (self.parts.scripts.iter().map(of), self.parts.converge.iter().map(of));
        scripts.chain(converge).chain(bench).collect()
    }

    fn write_head(&self, out: &mut String) {
        let origins = self.origins();
        let (mut servers, mut machines): (Vec<(&str, String)>, Vec<String>) = (Vec::new(), Vec::new());
        for origin in &origins {
            for subject in &origin.subjects {
                if !servers.contains(subject) {
                    servers.push(subject.clone());
                }
            }
            let machine = origin.machine.to_string();
            if !machines.contains(&machine) {
                machines.push(machine);
            }
        }
        let dates = origins.iter().map(|origin| origin.date);
        let (Some(first), Some(last)) = (dates.clone().min(), dates.max()) else { return };
        let date = if first == last { first.to_owned() } else { format!("{first} to {last}") };
        let names: Vec<&str> = servers.iter().map(|(_, name)| name.as_str()).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "- Servers: {}", names.join(", "));
        let _ = writeln!(out, "- Machine: {}", machines.join("; "));
        let _ = writeln!(out, "- Date: {date}");
        let is_mixed = |name: &str| servers.iter().filter(|(other, _)| *other == name).count() > 1;
        if servers.iter().any(|(name, _)| is_mixed(name)) {
            out.push_str("- **The parts were made with different versions of a server.**\n");
        }
        if machines.len() > 1 {
            out.push_str("- **The parts were made on different machines.**\n");
        }
        out.push('\n');
    }

    /// The scenarios that were measured with the same options on the same servers, as an option where they are not
    /// all, and these servers.
    fn scenarios(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(&str, Vec<String>, Vec<String>)> = Vec::new();
        for part in &self.parts.bench {
            let servers = part.found.subjects.iter().filter(|subject| !subject.is_floor());
            let servers: Vec<String> = servers.map(|subject| subject.name.clone()).collect();
            let name = part.subject.name.clone();
            match groups.iter_mut().find(|group| group.0 == part.options && group.1 == servers) {
                Some((_, _, names)) => names.push(name),
                None => groups.push((&part.options, servers, vec![name])),
            }
        }
        let lines = groups.into_iter().map(|(options, servers, scenarios)| {
            let choice = if scenarios == bench::scenarios() {
                String::new()
            } else {
                format!("--scenario {} ", scenarios.join(","))
            };
            (format!("{choice}{options}").trim_end().to_owned(), servers)
        });
        lines.collect()
    }
}

/// What was made with the same options.
fn groups<T>(parts: &[Part<T>]) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for part in parts {
        let name = part.subject.name.clone();
        match groups.iter_mut().find(|(options, _)| *options == part.options) {
            Some((_, names)) => names.push(name),
            None => groups.push((part.options.clone(), vec![name])),
        }
    }
    groups
}

/// The lines that make this part again, from options and targets.
fn again(kind: Kind, groups: &[(String, Vec<String>)]) -> String {
    let mut out = String::from("Once more:\n\n```\n");
    for (options, targets) in groups {
        let line = format!("{REPEAT} --part {} --target {} {options}", kind.name(), targets.join(","));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push_str("```\n\n");
    out
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn a_page_says_who_and_where_and_when_and_how_again() {
        let parts = example::parts();
        let text = Page::new(&parts).markdown("RESULTS.svg");
        for line in [
            "- Servers: Unisono 0.1, Prosody 0.12.3, ejabberd",
            "- Machine: Fast (2 cores, 2000 MiB, Linux 6.1)",
            "- Date: 2026-11-20 to 2026-11-22",
            "**Small numbers, to see that everything works: they say little.**",
            "![Processor time and memory](RESULTS.svg)",
            "cargo run --profile measure -p unisono-conformance -- results --part scripts --target unisono,prosody",
            "cargo run --profile measure -p unisono-conformance -- results --part converge --target unisono --runs 3",
            "cargo run --profile measure -p unisono-conformance -- results --part converge --target prosody --runs 3 --ops 9",
            "cargo run --profile measure -p unisono-conformance -- results --part bench --target unisono,prosody,ejabberd --scenario routed,idle --quick",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        assert!(!text.contains("different") && !text.contains("has not been run"), "{text}");
        assert_eq!(text.matches("\n## ").count(), 3, "{text}");
    }

    #[test]
    fn parts_of_different_origin_are_not_passed_off_as_one() {
        let mut parts = example::parts();
        let routed = parts.bench.first().cloned();
        parts.bench = bench::scenarios()
            .into_iter()
            .filter_map(|name| {
                let mut part = routed.clone()?;
                part.subject.name = name;
                Some(part)
            })
            .collect();
        let text = Page::new(&parts).markdown("RESULTS.svg");
        assert!(text.contains("--part bench --target unisono,prosody,ejabberd --quick\n"), "{text}");
        parts.bench.truncate(2);
        if let Some(part) = parts.bench.last_mut() {
            part.found.subjects.truncate(2);
        }
        let text = Page::new(&parts).markdown("RESULTS.svg");
        assert!(text.contains("--part bench --target unisono,prosody --scenario idle --quick\n"), "{text}");
        for part in &mut parts.scripts {
            "0.2".clone_into(&mut part.subject.version);
            part.machine.cores = 64;
        }
        parts.bench.clear();
        let page = Page::new(&parts);
        assert!(page.svg().is_none());
        let text = page.markdown("RESULTS.svg");
        assert!(text.contains("different versions") && text.contains("different machines"), "{text}");
        assert!(text.contains("## Benchmark\n\nThis part has not been run."), "{text}");
    }
}
