//! The conformance suite against the real binary: all protocol scripts, and some stories of the convergence checker.

use std::process::ExitCode;

use tokio::runtime::Runtime;

use crate::harness::Database;

fn every_script_passes(settings: &[&str]) {
    let words = ["unisono-conformance", "scripts", "--target", "unisono", "--all-offered", "--timeout", "20"];
    let binary = ["--binary", env!("CARGO_BIN_EXE_unisono")];
    let words = words.iter().chain(&binary).chain(settings);
    assert_eq!(unisono_conformance::run(words).unwrap(), ExitCode::SUCCESS, "the table above names them");
}

/// Processes that are killed and stopped, and networks that are lost, as in the long runs.
#[test]
fn some_seeds_of_the_convergence_checker_keep_the_promises() {
    assert_eq!(converge(&["--seed", "1", "--runs", "6"]), ExitCode::SUCCESS, "what was broken stands above");
}

/// The same, and the clock is moved while the server is down.
#[test]
fn some_seeds_keep_the_promises_though_the_clock_steps() {
    let code = converge(&["--seed", "1000", "--runs", "6", "--step-clock"]);
    let is_possible = code != ExitCode::from(2) || std::env::var_os("CI").is_some();
    assert!(code == ExitCode::SUCCESS || !is_possible, "what was broken stands above");
}

fn converge(amount: &[&str]) -> ExitCode {
    let words = ["unisono-conformance", "converge", "--target", "unisono", "--jobs", "2"];
    let words = words.iter().chain(&["--binary", env!("CARGO_BIN_EXE_unisono")]).chain(amount);
    unisono_conformance::run(words).unwrap()
}

#[test]
fn every_script_passes_on_sqlite() {
    every_script_passes(&[]);
}

#[test]
fn every_script_passes_on_postgres() {
    if let Some(database) = Runtime::new().unwrap().block_on(Database::postgres()) {
        every_script_passes(&["--set", &format!("store.url={}", database.url())]);
    }
}
