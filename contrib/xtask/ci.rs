//! `cargo xtask ci`: what CI runs, and what a developer runs before handing in.

use std::ffi::OsStr;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::root::Root;

/// A command that has to succeed.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
}

const STEPS: &[Step] = &[
    Step { name: "fmt", arguments: &["fmt", "--all", "--check"] },
    Step {
        name: "clippy",
        arguments: &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"],
    },
    Step { name: "test", arguments: &["test", "--locked", "--workspace"] },
    Step { name: "tidy", arguments: &["xtask", "tidy"] },
    Step { name: "xeps", arguments: &["xtask", "xeps", "--check"] },
    Step { name: "crates", arguments: &["xtask", "crates"] },
];

/// Says more than the step before it, where it is installed. Advisories need a database from the network, so they are a command of their own (CONTRIBUTING.md).
const DENY: Step = Step {
    name: "deny",
    arguments: &["deny", "--locked", "--offline", "check", "bans", "licenses", "sources"],
};

/// Runs every step, also after one failed: one run tells everything.
pub(crate) fn run(root: &Root) -> Result<ExitCode> {
    let mut results = Vec::new();
    for step in STEPS {
        results.push(run_step(root, step)?);
    }
    if is_installed("cargo-deny") {
        results.push(run_step(root, &DENY)?);
    }
    println!();
    for (name, is_good, took) in &results {
        println!("{name:8} {} {:>5} s", if *is_good { "ok    " } else { "FAILED" }, took.as_secs());
    }
    if !is_installed("cargo-deny") {
        println!("deny     not run: cargo-deny is not installed");
    }
    let is_good = results.iter().all(|(_, is_good, _)| *is_good);
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_step(root: &Root, step: &Step) -> Result<(&'static str, bool, Duration)> {
    println!("\n==> cargo {}", step.arguments.join(" "));
    let start = Instant::now();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(step.arguments)
        .current_dir(root.path(""))
        .status()
        .with_context(|| format!("cannot run the step {}", step.name))?;
    Ok((step.name, status.success(), start.elapsed()))
}

/// Whether a program is on the path.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths::<OsStr>(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_step_that_fails_is_told() {
        let root = Root::of_this_checkout().unwrap();
        for (arguments, want) in [(&["--version"][..], true), (&["no-such-command"][..], false)] {
            let (name, is_good, _) = run_step(&root, &Step { name: "step", arguments }).unwrap();
            assert_eq!((name, is_good), ("step", want), "{arguments:?}");
        }
    }

    #[test]
    fn programs_are_looked_up() {
        assert!(is_installed("cargo"));
        assert!(!is_installed("cargo-no-such-program"));
    }
}
