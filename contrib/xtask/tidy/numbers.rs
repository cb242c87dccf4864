//! The numbers that dashboards and pages name are numbers that the server counts.

use std::collections::BTreeSet;

use super::Problem;
use super::tree::Tree;

/// What a name begins with.
const PREFIX: &str = "unisono_";
/// What Prometheus adds to the name of a histogram.
const SUFFIXES: &[&str] = &["_bucket", "_count", "_sum"];

pub(super) fn problems(tree: &Tree) -> Vec<Problem> {
    let sources = tree.files.iter().filter(|file| !file.is_test).filter_map(|file| file.source.as_ref());
    let texts = sources.flat_map(|source| &source.texts).filter(|text| !text.is_test);
    let counted: BTreeSet<&str> = texts.map(|text| text.value.as_str()).collect();
    let is_shown = |path: &str| path == "README.md" || path.starts_with("contrib/dashboards/");
    let mut problems = Vec::new();
    for file in tree.files.iter().filter(|file| is_shown(&file.path)) {
        for (line, text) in file.lines() {
            for name in
                names(text).filter(|name| !counted.contains(*name) && !counted.contains(without_suffix(name)))
            {
                problems.push(Problem::new(&file.path, line, format!("the server does not count {name}")));
            }
        }
    }
    problems
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with(PREFIX))
}

fn without_suffix(name: &str) -> &str {
    SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_nobody_counts_is_found() {
        let tree = Tree::of(&[
            (
                "src/a.rs",
                "//! .\nfn f() { counter!(\"unisono_a_total\"); histogram!(\"unisono_b_seconds\"); }",
            ),
            ("src/b.rs", "//! .\n#[cfg(test)]\nmod tests { const A: &str = \"unisono_tests\"; }"),
            ("README.md", "`unisono_a_total` and\n`unisono_tests`"),
            (
                "contrib/dashboards/unisono.json",
                "rate(unisono_b_seconds_bucket{x=\"y\"}[5m])\nunisono_c_total\nunisono_a_total_count",
            ),
            ("CONTRIBUTING.md", "unisono_net"),
        ]);
        let found: Vec<_> = problems(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "README.md:2: the server does not count unisono_tests",
                "contrib/dashboards/unisono.json:2: the server does not count unisono_c_total",
            ]
        );
    }
}
