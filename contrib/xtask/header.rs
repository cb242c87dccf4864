//! The header of an extension's module: what it says of itself before its first line of code.

use std::fmt;

use crate::names;

/// The header of a module, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) number: u16,
    pub(crate) title: String,
    pub(crate) version: String,
    /// The day of that version, as `YYYY-MM-DD`.
    pub(crate) date: String,
    /// What is left out by intention, as the header says it; empty if nothing is.
    pub(crate) left_out: String,
}

/// Why a header cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

const TITLE: &str = "the header starts with `//! # XEP-NNNN: Title`";
const FOLLOWS: &str =
    "the third line of the header is `//! Follows VERSION (YYYY-MM-DD). What a user has from it.`";

impl Header {
    /// Reads the header of a module of `xeps/`.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        let mut lines = text.lines().map_while(doc_line);
        let wrong = |line, what: &str| Wrong { line, what: what.to_owned() };

        let title = lines.next().and_then(|line| line.strip_prefix("# XEP-"));
        let (number, title) = title.and_then(|rest| rest.split_once(": ")).ok_or(wrong(1, TITLE))?;
        let number = names::number(number).ok_or(wrong(1, TITLE))?;
        if title.trim().is_empty() || title.ends_with(['.', ' ']) {
            return Err(wrong(1, TITLE));
        }
        if lines.next() != Some("") {
            return Err(wrong(2, "the second line of the header is `//!`"));
        }
        let follows = lines.next().and_then(|line| line.strip_prefix("Follows ")).ok_or(wrong(3, FOLLOWS))?;
        let (version, rest) = follows.split_once(" (").ok_or(wrong(3, FOLLOWS))?;
        let (date, summary) = rest.split_once("). ").ok_or(wrong(3, FOLLOWS))?;
        if version.contains(' ') || !is_date(date) || summary.is_empty() {
            return Err(wrong(3, FOLLOWS));
        }
        Ok(Self {
            number,
            title: title.to_owned(),
            version: version.to_owned(),
            date: date.to_owned(),
            left_out: left_out(lines),
        })
    }
}

/// The text of a line `//! text`.
fn doc_line(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("//!")?;
    Some(rest.strip_prefix(' ').unwrap_or(rest))
}

fn is_date(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    shape == "9999-99-99"
}

/// The entries `- Left out: …` of the list, each of which may go on in indented lines.
fn left_out<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut is_inside = false;
    for line in lines {
        if let Some(entry) = line.strip_prefix("- ") {
            let text = entry.strip_prefix("Left out: ");
            is_inside = text.is_some();
            parts.extend(text.map(str::to_owned));
        } else if let (true, Some(more), Some(last)) = (is_inside, line.strip_prefix("  "), parts.last_mut())
        {
            last.push(' ');
            last.push_str(more.trim());
        } else {
            is_inside = false;
        }
    }
    parts.join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "//! # XEP-0280: Message Carbons
//!
//! Follows 1.0.1 (2021-12-26). Every device sees
//! what the others send.
//!
//! - Stages: `reflect`.
//! - Left out: `<x/>` in copies
//!   of private messages (a MAY).
//! - Ours: nothing.

use std::fmt;
";

    #[test]
    fn a_header_is_read() {
        let header = Header::parse(GOOD).unwrap();
        assert_eq!((header.number, header.title.as_str()), (280, "Message Carbons"));
        assert_eq!((header.version.as_str(), header.date.as_str()), ("1.0.1", "2021-12-26"));
        assert_eq!(header.left_out, "`<x/>` in copies of private messages (a MAY)");
    }

    #[test]
    fn a_wrong_header_names_its_line() {
        for (from, to, line) in [
            ("//! # XEP-0280: Message Carbons", "//! Message Carbons", 1),
            ("XEP-0280", "XEP-280", 1),
            ("XEP-0280", "XEP-028O", 1),
            ("Message Carbons\n", "Message Carbons.\n", 1),
            (": Message Carbons", "", 1),
            ("//! # XEP", "// # XEP", 1),
            ("//!\n//! Follows", "//! Follows", 2),
            ("Follows", "follows", 3),
            ("1.0.1 (2021-12-26)", "1.0.1", 3),
            ("1.0.1 (2021-12-26)", "version 1.0.1 (2021-12-26)", 3),
            ("2021-12-26", "2021-12", 3),
            ("2021-12-26", "26 Dec 2021", 3),
            ("26). Every device sees", "26)", 3),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            assert_eq!(Header::parse(&text).unwrap_err().line, line, "{from} -> {to}");
        }
    }

    #[test]
    fn a_header_need_not_leave_anything_out() {
        let text = "//! # XEP-0199: XMPP Ping\n//!\n//! Follows 2.0.1 (2019-03-26). Answers pings.\n";
        assert_eq!(Header::parse(text).unwrap().left_out, "");
    }
}
