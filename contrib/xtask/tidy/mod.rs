//! `cargo xtask tidy`: tests of our own text.

mod allowed;
mod extensions;
mod layers;
mod links;
mod namespaces;
mod numbers;
mod orphans;
mod shape;
mod sql;
mod tree;
mod words;

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;
use unisono_core::extension::Spec;

use crate::root::Root;
use tree::Tree;

/// Something that is not as STYLE and DESIGN want it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) path: String,
    /// Counted from 1; 0 for the file as a whole.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Problem {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Runs all tests and prints what they find.
pub(crate) fn run(root: &Root, specs: &[Spec]) -> Result<ExitCode> {
    let problems = problems(root, specs)?;
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() {
        println!("tidy");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} problems", problems.len());
    Ok(ExitCode::FAILURE)
}

/// All problems of a checkout, sorted.
pub(crate) fn problems(root: &Root, specs: &[Spec]) -> Result<Vec<Problem>> {
    let (tree, mut problems) = Tree::read(root)?;
    problems.extend(extensions::problems(root, specs)?);
    problems.extend(shape::problems(&tree));
    problems.extend(namespaces::problems(&tree));
    problems.extend(layers::problems(root)?);
    problems.extend(words::problems(&tree));
    problems.extend(sql::problems(&tree));
    problems.extend(numbers::problems(&tree));
    problems.extend(orphans::problems(&tree));
    problems.extend(links::problems(root, &tree));
    let mut problems = allowed::apply(problems);
    problems.sort();
    Ok(problems)
}
