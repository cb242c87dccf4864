//! What all pages of results have in common.

use std::fmt::Write as _;

/// Longer texts are cut: the file of the run has them whole.
const TEXT_MAX: usize = 300;

/// How the cells of a table stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table, and an empty line. The first column holds the names of the rows.
pub(crate) fn table(header: &[&str], align: Align, rows: &[Vec<String>]) -> String {
    let rule = match align {
        Align::Left => "---|",
        Align::Right => "---:|",
    };
    let mut out =
        format!("| {} |\n|---|{}\n", header.join(" | "), rule.repeat(header.len().saturating_sub(1)));
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out.push('\n');
    out
}

/// A text from elsewhere, on one line, without a meaning for Markdown.
pub(crate) fn inline(text: &str) -> String {
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(TEXT_MAX) {
        words.truncate(end);
        words.push('…');
    }
    let mut out = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | '\\' => {
                out.push('\\');
                out.push(letter);
            }
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_stays_text() {
        assert_eq!(inline("a <b x='1'/>\n  | c_d & [`e`]"), "a &lt;b x='1'/> \\| c\\_d &amp; \\[\\`e\\`]");
        let cut = inline(&"ä".repeat(TEXT_MAX + 1));
        assert_eq!(cut, format!("{}…", "ä".repeat(TEXT_MAX)));
        assert_eq!(inline(&"ä".repeat(TEXT_MAX)), "ä".repeat(TEXT_MAX));
    }

    #[test]
    fn a_table_has_a_rule_as_wide_as_its_head() {
        let text =
            table(&["", "A", "B"], Align::Right, &[vec!["x".to_owned(), "1".to_owned(), String::new()]]);
        assert_eq!(text, "|  | A | B |\n|---|---:|---:|\n| x | 1 |  |\n\n");
    }
}
