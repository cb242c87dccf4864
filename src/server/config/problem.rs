//! What is wrong with a configuration, one line for each problem.

use std::fmt;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// `unisono.toml:12` or `--set limits.stanza_bytes`.
    text: String,
    /// Sorts problems: lines of the file first, then the command line.
    order: usize,
}

impl Place {
    pub(crate) fn line(file: &str, line: usize) -> Self {
        Self { text: format!("{file}:{line}"), order: line }
    }

    pub(crate) fn file(file: &str) -> Self {
        Self { text: file.to_owned(), order: 0 }
    }

    pub(crate) fn argument(key: &str) -> Self {
        Self { text: format!("--set {key}"), order: usize::MAX }
    }
}

/// One problem. Its text is one line: place, key, what is wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    place: Option<Place>,
    message: String,
}

impl Problem {
    pub(crate) fn new(place: Option<Place>, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{}: {}", place.text, self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// All problems of a configuration, in the order of its lines; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.problems))]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// `Err` with all problems, or `Ok` when there is none.
    pub(crate) fn check(mut problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by_key(|problem| problem.place.as_ref().map_or(0, |place| place.order));
        Err(Self { problems })
    }

    /// The problems, in the order of the lines that they are in.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
