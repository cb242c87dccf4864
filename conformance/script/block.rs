//! The lines of a script: statements at the margin, each with an indented block or none.

/// A statement and what is indented below it.
#[derive(Debug)]
pub(super) struct Statement<'a> {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) text: &'a str,
    pub(super) block: Option<String>,
}

/// Cuts a script into statements. The error is the number of a line that belongs to none.
pub(super) fn statements(source: &str) -> Result<Vec<Statement<'_>>, usize> {
    let mut statements: Vec<Statement> = Vec::new();
    for (line, text) in (1_usize..).zip(source.lines()) {
        let is_indented = text.starts_with([' ', '\t']);
        let text = text.trim();
        if text.is_empty() || (text.starts_with('#') && !is_indented) {
            continue;
        }
        if !is_indented {
            statements.push(Statement { line, text, block: None });
            continue;
        }
        let statement = statements.last_mut().ok_or(line)?;
        let block = statement.block.get_or_insert_default();
        // Line breaks are for the reader: between tags they vanish, elsewhere they are a space.
        if !block.is_empty() && !block.ends_with('>') && !text.starts_with('<') {
            block.push(' ');
        }
        block.push_str(text);
    }
    Ok(statements)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;

    #[test]
    fn lines_are_joined_as_a_reader_means_them() {
        let source = "# note\na: b\nx sends:\n  <iq\n     id='1'>\n    <a>one\n  two</a>\n\n  </iq>\ny\n";
        let statements = statements(source).unwrap();
        let texts: Vec<&str> = statements.iter().map(|s| s.text).collect();
        assert_eq!(texts, ["a: b", "x sends:", "y"]);
        assert_eq!(statements[1].line, 3);
        assert_eq!(statements[1].block.as_deref(), Some("<iq id='1'><a>one two</a></iq>"));
        assert!(statements[2].block.is_none());
    }

    #[test]
    fn a_block_needs_a_statement() {
        assert_eq!(statements("\n  <iq/>\n").unwrap_err(), 2);
    }
}
