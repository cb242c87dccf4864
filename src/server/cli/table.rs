//! Tables for people: columns of equal width, two spaces between them.

/// Lays out rows below their headings. Cells are shown in one line; empty ones as `-`.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let cells = |row: &[String; N]| row.each_ref().map(|cell| cell_text(cell));
    let mut lines = vec![headings.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let mut widths = [0_usize; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line_text = |line: &[String; N]| {
        let padded = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line_text).collect::<Vec<_>>().join("\n")
}

/// Names come from clients: what could move the cursor of a terminal is shown, not sent.
fn cell_text(cell: &str) -> String {
    if cell.is_empty() {
        return "-".to_owned();
    }
    cell.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// `1 device`, `2 devices`.
pub(crate) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_names_cannot_steer_the_terminal() {
        let row = |jid: &str, state: &str, devices: &str| [jid, state, devices].map(str::to_owned);
        let rows = [row("ärger@b.org", "enabled", "2"), row("x@y", "", "10"), row("\u{1b}[2J", "on", "0")];
        let want = "\
JID          STATE    DEVICES
ärger@b.org  enabled  2
x@y          -        10
\\u{1b}[2J    on       0";
        assert_eq!(table(["JID", "STATE", "DEVICES"], &rows), want);
    }
}
