//! Words that have no place in our text: paths of one machine, hosts of registries, tests that do not run.

use super::Problem;
use super::tree::{File, Tree};

/// Parts of a path or name, cut so that this file does not hold them, and why they have no place.
const NEVER: &[(&[&str], &str)] = &[
    (&["/ho", "me/"], "a path of one machine"),
    (&["/ro", "ot/"], "a path of one machine"),
    (&["/wo", "rk/"], "a path of one machine"),
    (&["/Us", "ers/"], "a path of one machine"),
    (&["crates", ".io"], "the host of a registry"),
    (&["docker", ".io"], "the host of a registry"),
    (&["ghcr", ".io"], "the host of a registry"),
    (&["quay", ".io"], "the host of a registry"),
    (&["npmjs", ".org"], "the host of a registry"),
    (&["pypi", ".org"], "the host of a registry"),
    (&["deb.debian", ".org"], "the host of a registry"),
    (&["FIX", "ME"], "a note without a place: write `TODO(xepNNNN §N): …`"),
    (&["XX", "X:"], "a note without a place: write `TODO(xepNNNN §N): …`"),
];
/// What a note begins with; it names a place in a specification.
const NOTE: &str = concat!("TO", "DO");

/// What code must not say.
const MARKS: &[(&str, &str)] = &[
    ("ignore", "a test that does not run proves nothing"),
    ("should_panic", "say which error is wanted instead"),
    ("todo!", "no stubs"),
    ("unimplemented!", "no stubs"),
    ("dbg!", "is for the moment only"),
    ("allow", "say `#[expect(…, reason = \"…\")]`"),
];

pub(super) fn problems(tree: &Tree) -> Vec<Problem> {
    tree.files.iter().flat_map(|file| in_text(file).into_iter().chain(in_code(file))).collect()
}

fn in_text(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (parts, why) in NEVER {
        let word = parts.concat();
        for (line, _) in file.lines().filter(|(_, text)| text.contains(&word)) {
            problems.push(Problem::new(&file.path, line, format!("{word:?} is {why}")));
        }
    }
    for (line, text) in file.lines().filter(|_| file.has_extension("rs")) {
        if text.split(NOTE).skip(1).any(|after| !after.starts_with('(')) {
            problems.push(Problem::new(&file.path, line, format!("write `{NOTE}(xepNNNN §N): …`")));
        }
    }
    problems
}

fn in_code(file: &File) -> Vec<Problem> {
    let Some(source) = &file.source else { return Vec::new() };
    let told = |(mark, line): &(String, usize)| {
        let (_, why) = MARKS.iter().find(|(never, _)| never == mark)?;
        let is_in_tests = mark == "allow" && file.is_for_tests_from(*line);
        (!is_in_tests).then(|| Problem::new(&file.path, *line, format!("`{mark}`: {why}")))
    };
    source.marks.iter().filter_map(told).collect()
}

impl File {
    /// Tests may do what the server may not, and say so once, at their top.
    pub(super) fn is_for_tests_from(&self, line: usize) -> bool {
        let before = self.lines().take_while(|(number, _)| *number <= line);
        self.is_test || before.into_iter().any(|(_, text)| text.contains("cfg(test)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_without_a_place_are_found() {
        let path_of_one = ["see /ho", "me/me/notes"].concat();
        let host = ["from crates", ".io"].concat();
        let note = [NOTE, ": later"].concat();
        for (path, text, want) in [
            ("README.md", path_of_one.as_str(), Some(1)),
            ("README.md", &host, Some(1)),
            ("README.md", "a plain line", None),
            ("src/a.rs", &format!("//! .\n// {note}\n"), Some(2)),
            ("src/a.rs", &format!("//! .\n// {NOTE}(xep0313 §5): page\n"), None),
            ("src/a.rs", "//! .\n#[test]\n#[ignore]\nfn a() {}", Some(3)),
            ("src/a.rs", "//! .\nfn a() { todo!() }", Some(2)),
            ("src/a.rs", "//! .\n#[allow(dead_code)]\nfn a() {}", Some(2)),
            ("src/a.rs", "//! .\n#[cfg(test)]\nmod tests {\n#![allow(dead_code)]\n}", None),
            ("src/a.rs", "//! .\n#[expect(dead_code, reason = \"shown\")]\nfn a() {}", None),
        ] {
            let found = problems(&Tree::of(&[(path, text)]));
            let lines: Vec<_> = found.iter().map(|problem| problem.line).collect();
            assert_eq!(lines, Vec::from_iter(want), "{text}");
        }
    }
}
