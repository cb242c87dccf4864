//! Files and functions of a size that can be read, each file with a word about itself.

use super::Problem;
use super::tree::{File, Tree};

/// Lines of a file, tests included.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function. The tables of tests may be longer: a row is as easy to read in a long table as in a short one.
const FUNCTION_LINES_MAX: usize = 60;
/// Names that say nothing of what is in a file.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "manager", "helpers", "misc"];

pub(super) fn problems(tree: &Tree) -> Vec<Problem> {
    tree.files.iter().filter(|file| file.has_extension("rs")).flat_map(of_file).collect()
}

fn of_file(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        problems.push(Problem::new(&file.path, 0, format!("{lines} lines, more than {FILE_LINES_MAX}")));
    }
    let name = file.path.rsplit('/').next().unwrap_or(&file.path).trim_end_matches(".rs");
    if EMPTY_NAMES.contains(&name) {
        problems.push(Problem::new(&file.path, 0, format!("{name:?} does not say what is in the file")));
    }
    let Some(source) = &file.source else { return problems };
    // A module of tests is about what its parent is about.
    let is_part = file.is_all_tests() && !file.path.starts_with("tests/");
    if !source.has_docs && !is_part {
        problems.push(Problem::new(&file.path, 1, "does not begin with a line `//! …` that says what it is"));
    }
    for function in source.functions.iter().filter(|function| !function.is_test && !file.is_all_tests()) {
        if function.lines > FUNCTION_LINES_MAX {
            let what =
                format!("fn {} has {} lines, more than {FUNCTION_LINES_MAX}", function.name, function.lines);
            problems.push(Problem::new(&file.path, function.line, what));
        }
    }
    problems
}

impl File {
    /// Tools and the conformance suite are code like any other; a module of tests is not.
    fn is_all_tests(&self) -> bool {
        self.is_test && !self.path.starts_with("conformance/") && !self.path.starts_with("contrib/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        problems(&Tree::of(&[(path, text)])).iter().map(ToString::to_string).collect()
    }

    fn function(lines: usize) -> String {
        format!("//! .\nfn long() {{\n{}}}\n", "    step();\n".repeat(lines.saturating_sub(2)))
    }

    #[test]
    fn sizes_are_bounded() {
        for (path, text, want) in [
            ("src/a.rs", function(60), None),
            ("src/a.rs", function(61), Some("src/a.rs:2: fn long has 61 lines, more than 60")),
            (
                "conformance/a.rs",
                function(61),
                Some("conformance/a.rs:2: fn long has 61 lines, more than 60"),
            ),
            ("src/a.rs", function(61).replace("fn long", "#[test]\nfn long"), None),
            ("tests/a.rs", function(61), None),
            ("src/a.rs", format!("//! .\n{}", "// .\n".repeat(599)), None),
            (
                "src/a.rs",
                format!("//! .\n{}", "// .\n".repeat(600)),
                Some("src/a.rs: 601 lines, more than 600"),
            ),
            (
                "src/a.rs",
                "// .\nfn a() {}\n".into(),
                Some("src/a.rs:1: does not begin with a line `//! …` that says what it is"),
            ),
            ("src/a/tests/b.rs", "fn a() {}\n".into(), None),
            (
                "tests/a.rs",
                "fn a() {}\n".into(),
                Some("tests/a.rs:1: does not begin with a line `//! …` that says what it is"),
            ),
            (
                "src/utils.rs",
                "//! .\n".into(),
                Some("src/utils.rs: \"utils\" does not say what is in the file"),
            ),
        ] {
            assert_eq!(found(path, &text), Vec::from_iter(want.map(str::to_owned)), "{path}");
        }
    }
}
