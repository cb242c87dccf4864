//! What was found, part by part, in files: the whole takes hours, and need not be done at once.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bench::{self, Machine, Subject};
use crate::converge;
use crate::run;

/// What is found apart from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    Scripts,
    Converge,
    Bench,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Scripts, Self::Converge, Self::Bench];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Scripts => "scripts",
            Self::Converge => "converge",
            Self::Bench => "bench",
        }
    }
}

/// One part: of scripts and runs, one server's; of the benchmark, one scenario's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Part<T> {
    /// The server; for a scenario, its name alone.
    pub(super) subject: Subject,
    /// The day, in UTC.
    pub(super) date: String,
    pub(super) machine: Machine,
    /// The options that it is repeated with, beside its kind and the target.
    pub(super) options: String,
    pub(super) found: T,
}

impl<T> Part<T> {
    pub(super) fn new(subject: Subject, options: String, found: T) -> Self {
        let date = time::OffsetDateTime::now_utc().date().to_string();
        Self { subject, date, machine: Machine::this(), options, found }
    }
}

/// All parts that there are, in the order of the targets and the scenarios.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) scripts: Vec<Part<run::Outcome>>,
    pub(super) converge: Vec<Part<converge::Outcome>>,
    pub(super) bench: Vec<Part<bench::Report>>,
}

/// Where the parts are.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    fn path(&self, kind: Kind, name: &str) -> PathBuf {
        self.0.join(format!("{}-{name}.json", kind.name()))
    }

    pub(super) fn keep<T: Serialize>(&self, kind: Kind, name: &str, part: &Part<T>) -> Result<()> {
        let path = self.path(kind, name);
        let put = || -> Result<()> {
            std::fs::create_dir_all(&self.0)?;
            Ok(std::fs::write(&path, format!("{:#}\n", serde_json::to_value(part)?))?)
        };
        put().with_context(|| format!("cannot write {}", path.display()))
    }

    /// The parts of these targets and scenarios, as far as there are such.
    pub(super) fn read(&self, targets: &[String], scenarios: &[String]) -> Result<Parts> {
        Ok(Parts {
            scripts: self.read_kind(Kind::Scripts, targets)?,
            converge: self.read_kind(Kind::Converge, targets)?,
            bench: self.read_kind(Kind::Bench, scenarios)?,
        })
    }

    fn read_kind<T: DeserializeOwned>(&self, kind: Kind, names: &[String]) -> Result<Vec<Part<T>>> {
        let mut parts = Vec::new();
        for name in names {
            let path = self.path(kind, name);
            match read(&path) {
                Ok(Some(part)) => parts.push(part),
                Ok(None) => {}
                Err(error) => return Err(error.context(format!("cannot read {}", path.display()))),
            }
        }
        Ok(parts)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<Part<T>>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::super::example;
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder(temporary.path().join("new"));
        let parts = example::parts();
        for part in &parts.scripts {
            folder.keep(Kind::Scripts, &part.subject.name, part).unwrap();
        }
        folder.keep(Kind::Converge, "prosody", &parts.converge[1]).unwrap();
        folder.keep(Kind::Bench, "routed", &parts.bench[0]).unwrap();
        let targets = ["prosody".to_owned(), "unisono".to_owned(), "other".to_owned()];
        let back = folder.read(&targets, &["idle".to_owned(), "routed".to_owned()]).unwrap();
        let names: Vec<&str> = back.scripts.iter().map(|part| part.subject.name.as_str()).collect();
        assert_eq!(names, ["prosody", "unisono"]);
        let text = |part: &dyn std::fmt::Debug| format!("{part:?}");
        assert_eq!(text(&back.scripts[1]), text(&parts.scripts[0]));
        assert_eq!(text(&back.converge[0]), text(&parts.converge[1]));
        assert_eq!(text(&back.bench[0]), text(&parts.bench[0]));
        std::fs::write(folder.path(Kind::Converge, "other"), "{").unwrap();
        let error = folder.read(&targets, &[]).unwrap_err();
        assert!(format!("{error:#}").contains("converge-other.json"), "{error:#}");
    }
}
