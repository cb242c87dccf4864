//! The files that are written from what the extensions say of themselves.

use std::process::ExitCode;

use anyhow::Result;
use unisono_core::extension::Spec;

use crate::catalogue::{self, Entry};
use crate::root::Root;
use crate::{doap, table};

/// What to do with a generated file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    /// Only look whether it is as it should be.
    Check,
}

/// `cargo xtask xeps [--check]`.
pub(crate) fn run(root: &Root, specs: &[Spec], mode: Mode) -> Result<ExitCode> {
    let entries = catalogue::entries(root, specs)?;
    let differing = differing(root, &entries)?;
    if differing.is_empty() {
        println!("{} and {} are up to date: {} extensions", table::PATH, doap::PATH, entries.len());
        return Ok(ExitCode::SUCCESS);
    }
    for (path, text) in differing {
        match mode {
            Mode::Write => {
                root.write(path, &text)?;
                println!("wrote {path}");
            }
            Mode::Check => println!("{path} differs from the extensions: run `cargo xtask xeps`"),
        }
    }
    Ok(if mode == Mode::Write { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Each generated file that is not as it should be, with the text that it should have.
pub(crate) fn differing(root: &Root, entries: &[Entry]) -> Result<Vec<(&'static str, String)>> {
    let wanted = [(table::PATH, table::text(entries)), (doap::PATH, doap::text(root, entries)?)];
    Ok(wanted.into_iter().filter(|(path, text)| root.read(path).ok().as_ref() != Some(text)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_that_differs_is_found_and_mended() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path()).unwrap();
        root.write("Cargo.toml", "[workspace.package]\nrepository = 'https://example.org'\n").unwrap();
        let header = "//! # XEP-0199: XMPP Ping\n//!\n//! Follows 2.0.1 (2019-03-26). Answers pings.\n";
        root.write("xeps/xep0199_ping.rs", header).unwrap();
        let specs = [Spec::xep(199, "2.0.1")];
        assert_eq!(run(&root, &specs, Mode::Check).unwrap(), ExitCode::FAILURE);
        assert!(!root.has(table::PATH), "a check writes nothing");
        assert_eq!(run(&root, &specs, Mode::Write).unwrap(), ExitCode::SUCCESS);
        assert_eq!(run(&root, &specs, Mode::Check).unwrap(), ExitCode::SUCCESS);
        for path in [table::PATH, doap::PATH] {
            let text = root.read(path).unwrap();
            root.write(path, &text.replacen("199", "198", 1)).unwrap();
            assert_eq!(run(&root, &specs, Mode::Check).unwrap(), ExitCode::FAILURE, "{path}");
            root.write(path, &text).unwrap();
        }
        let newer = [Spec::xep(199, "2.0.2")];
        assert_eq!(run(&root, &newer, Mode::Check).unwrap(), ExitCode::FAILURE);
    }
}
