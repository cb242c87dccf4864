//! The table of the scripts, and which failed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::part::Part;
use crate::markdown::{Align, inline, table};
use crate::run::{Counts, Ending, Outcome, Script, total};

type Parts<'a> = &'a [Part<Outcome>];

pub(super) fn section(parts: Parts<'_>) -> String {
    let count = parts.iter().map(|part| part.found.scripts.len()).max().unwrap_or(0);
    let mut out = format!(
        "{count} scripts, each one behaviour that its section demands or that clients count on. *Not offered* is what a \
         server does not announce, or what its file among the targets excuses with a reason.\n\n"
    );
    let titles = parts.iter().map(|part| part.subject.title.as_str());
    let mut header = vec!["passed / failed / not offered"];
    header.extend(titles);
    out.push_str(&table(&header, Align::Right, &rows(parts)));
    for part in parts {
        out.push_str(&failed(part));
    }
    out.push_str(&excused(parts));
    out
}

/// One row for each extension, and one for all.
fn rows(parts: Parts<'_>) -> Vec<Vec<String>> {
    let folders: BTreeSet<&str> =
        parts.iter().flat_map(|part| &part.found.folders).map(|counts| counts.folder.as_str()).collect();
    let row = |name: String, counts: &dyn Fn(&Outcome) -> Option<Counts>| {
        let cells = parts.iter().map(|part| counts(&part.found).as_ref().map(cell).unwrap_or_default());
        std::iter::once(name).chain(cells).collect::<Vec<String>>()
    };
    let mut rows: Vec<Vec<String>> = folders
        .into_iter()
        .map(|folder| {
            row(document(folder), &|outcome| {
                outcome.folders.iter().find(|counts| counts.folder == folder).cloned()
            })
        })
        .collect();
    rows.push(row("**all**".to_owned(), &|outcome| Some(total(&outcome.folders))));
    rows
}

fn cell(Counts { passed, failed, not_offered, .. }: &Counts) -> String {
    let failed = if *failed == 0 { failed.to_string() } else { format!("**{failed}**") };
    format!("{passed} / {failed} / {not_offered}")
}

/// The document that a folder is about, with its address.
fn document(folder: &str) -> String {
    if let Some(number) = folder.strip_prefix("xep") {
        format!("[XEP-{number}](https://xmpp.org/extensions/xep-{number}.html)")
    } else if let Some(number) = folder.strip_prefix("rfc") {
        format!("[RFC {number}](https://www.rfc-editor.org/rfc/rfc{number})")
    } else {
        folder.to_owned()
    }
}

fn failed(part: &Part<Outcome>) -> String {
    let failed: Vec<&Script> =
        part.found.scripts.iter().filter(|script| script.result == Ending::Failed).collect();
    let mut out = format!("**{}** ", part.subject.title);
    if failed.is_empty() {
        out.push_str("failed none.\n\n");
        return out;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(out, "failed {}.\n\n<details><summary>Which, and how</summary>\n", failed.len());
    for Script { path, spec, says, line, reason, .. } in failed {
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        let reason = inline(reason.as_deref().unwrap_or_default());
        let _ = writeln!(out, "- [{path}](scripts/{path}){line}, {spec}. *{}* {reason}", inline(says));
    }
    out.push_str("\n</details>\n\n");
    out
}

/// Why scripts were not run, for each server.
fn excused(parts: Parts<'_>) -> String {
    let mut out = String::new();
    for part in parts {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for script in part.found.scripts.iter().filter(|script| script.result == Ending::NotOffered) {
            reasons.entry(script.reason.as_deref().unwrap_or_default()).or_default().push(&script.path);
        }
        if reasons.is_empty() {
            continue;
        }
        let _ = writeln!(out, "<details><summary>Not run on {}</summary>\n", part.subject.title);
        for (reason, scripts) in reasons {
            let scripts: Vec<String> = scripts.into_iter().map(inline).collect();
            let _ = writeln!(out, "- {}: {}", inline(reason), scripts.join(", "));
        }
        out.push_str("\n</details>\n\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn each_extension_has_a_row_and_each_failure_a_line() {
        let text = section(&example::parts().scripts);
        for line in [
            "| passed / failed / not offered | Unisono | Prosody |",
            "| [RFC 6121](https://www.rfc-editor.org/rfc/rfc6121) | 1 / 0 / 0 | 0 / **1** / 0 |",
            "| [XEP-0198](https://xmpp.org/extensions/xep-0198.html) | 1 / 0 / 0 | 0 / 0 / 1 |",
            "| **all** | 2 / 0 / 0 | 0 / **1** / 1 |",
            "**Unisono** failed none.",
            "**Prosody** failed 1.",
            "- [rfc6121/roster.script](scripts/rfc6121/roster.script):7, RFC 6121 §2. *A roster.* came &lt;iq/>",
            "- urn:xmpp:sm:3 is not announced: xep0198/ack\\_count.script",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
