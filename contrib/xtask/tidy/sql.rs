//! SQL is made of our own words: what comes from outside is bound (THREATS, "SQL injection").
//!
//! The database driver takes a constant as it is. A statement that is put together has to be called safe, and that is
//! said in one place; whoever uses it says what is bound.

use super::Problem;
use super::tree::{File, Tree};

/// What calls a text safe, cut so that this file does not hold it.
const SAFE: &str = concat!("Assert", "SqlSafe");
/// Our own name for that.
const COMPOSED: &str = concat!("compo", "sed(");
/// Where it stands.
const HOME: &str = "src/store/sql/database.rs";
/// Where it is used.
const FOLDER: &str = "src/store/sql/";
/// What the lines before a use say.
const BOUND: &str = "// Bound:";
/// So many of them.
const LINES: usize = 3;

pub(super) fn problems(tree: &Tree) -> Vec<Problem> {
    tree.files.iter().filter(|file| file.has_extension("rs")).flat_map(in_file).collect()
}

fn in_file(file: &File) -> Vec<Problem> {
    let lines: Vec<_> = file.lines().collect();
    let mut problems = Vec::new();
    for (index, (number, text)) in lines.iter().enumerate() {
        if file.is_for_tests_from(*number) {
            break;
        }
        let mut tell = |what: String| problems.push(Problem::new(&file.path, *number, what));
        if text.contains(SAFE) && file.path != HOME {
            tell(format!("{SAFE} is for {HOME} alone: bind what comes from outside"));
        }
        if !text.contains(COMPOSED) || text.contains("fn ") {
            continue;
        }
        let before = lines.get(index.saturating_sub(LINES)..=index).unwrap_or_default();
        if !file.path.starts_with(FOLDER) {
            tell(format!("SQL is put together in {FOLDER} alone"));
        } else if !before.iter().any(|(_, line)| line.contains(BOUND)) {
            tell(format!("say what is bound, and that the rest is ours: `{BOUND} …`"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, text: &str) -> Vec<usize> {
        let file = File { path: path.to_owned(), text: text.to_owned(), source: None, is_test: false };
        in_file(&file).into_iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn what_is_put_together_elsewhere_or_without_a_word_is_found() {
        let use_of_it = format!("// Bound: the name.\nquery({COMPOSED}sql))");
        let bare = format!("let a = 1;\nquery({COMPOSED}sql))");
        let late = format!("{BOUND} x\n\n\n\nquery({COMPOSED}sql))");
        let in_tests = format!("#[cfg(test)]\nmod tests {{ {SAFE} }}");
        for (path, text, want) in [
            ("src/store/sql/a.rs", use_of_it.as_str(), vec![]),
            ("src/core/a.rs", &use_of_it, vec![2]),
            ("src/store/sql/a.rs", &bare, vec![2]),
            ("src/store/sql/a.rs", &late, vec![5]),
            ("src/store/sql/a.rs", SAFE, vec![1]),
            (HOME, SAFE, vec![]),
            ("src/store/sql/a.rs", &in_tests, vec![]),
        ] {
            assert_eq!(told(path, text), want, "{path}: {text}");
        }
    }
}
