//! `xeps/README.md`: what is implemented, for people.

use std::fmt::Write;

use crate::catalogue::Entry;
use crate::streams;

pub(crate) const PATH: &str = "xeps/README.md";

const TOP: &str = "<!-- Written by `cargo xtask xeps` from the modules. Do not edit. -->

# Extensions

One extension is one file, from its header to its tests: its namespaces, its parsing, its decisions,
its handlers. The header says which version it follows and what it leaves out; `spec()` repeats the
version for programs. The order in which extensions run within a stage of the road is that of the
list `ALL` in [lib.rs](lib.rs). How to add one is told in [CONTRIBUTING.md](../CONTRIBUTING.md).

*complete* means everything that the specification asks of a server, for one-to-one conversations on
one machine. *partial* means that something a user could notice is missing.

| XEP | Extension | Version | State | What is left out |
|---|---|---|---|---|
";

const BELOW: &str = "
## Below the road

These are agreed on before there is an account, or are rules that the whole server keeps.

| XEP | Extension | Version | Where |
|---|---|---|---|
";

/// The whole page.
pub(crate) fn text(entries: &[Entry]) -> String {
    let mut text = TOP.to_owned();
    for entry in entries {
        let _ = writeln!(text, "{}", row(entry));
    }
    text.push_str(BELOW);
    for below in streams::ALL {
        let file = below.home;
        let _ = writeln!(
            text,
            "| {:04} | {} | {} | [{file}](../{file}) |",
            below.number,
            cell(below.title),
            below.version
        );
    }
    text
}

fn row(entry: &Entry) -> String {
    let file = entry.path.strip_prefix("xeps/").unwrap_or(&entry.path);
    let state = if entry.spec.missing.is_empty() { "complete" } else { "partial" };
    format!(
        "| {:04} | [{}]({file}) | {} | {state} | {} |",
        entry.spec.number,
        cell(&entry.header.title),
        entry.spec.version,
        cell(&left_out(entry))
    )
}

/// What is missing, and what is left out by intention.
pub(crate) fn left_out(entry: &Entry) -> String {
    let (missing, intended) = (entry.spec.missing, entry.header.left_out.as_str());
    if missing == intended || missing.is_empty() {
        return intended.to_owned();
    }
    if intended.is_empty() { missing.to_owned() } else { format!("{missing}; {intended}") }
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use unisono_core::extension::Spec;

    use super::*;
    use crate::header::Header;

    fn entry(missing: &'static str, left_out: &str) -> Entry {
        let header = Header {
            number: 280,
            title: "Message Carbons".into(),
            version: "1.0.1".into(),
            date: "2021-12-26".into(),
            left_out: left_out.into(),
        };
        let path = "xeps/xep0280_carbons.rs".into();
        Entry { path, header, spec: Spec { number: 280, version: "1.0.1", missing } }
    }

    #[test]
    fn a_row_says_what_is_missing() {
        for (missing, left_out, want) in [
            ("", "", "complete |  |"),
            ("", "a MAY", "complete | a MAY |"),
            ("rooms", "", "partial | rooms |"),
            ("rooms", "a MAY", "partial | rooms; a MAY |"),
            ("rooms", "rooms", "partial | rooms |"),
            ("a|b", "", "partial | a\\|b |"),
        ] {
            let want = format!("| 0280 | [Message Carbons](xep0280_carbons.rs) | 1.0.1 | {want}");
            assert_eq!(row(&entry(missing, left_out)), want);
        }
    }

    #[test]
    fn the_page_has_a_row_for_each() {
        let text = text(&[entry("", ""), entry("", "")]);
        assert_eq!(text.matches("| 0280 |").count(), 2);
        assert_eq!(text.matches("(../src/").count(), streams::ALL.len());
    }
}
