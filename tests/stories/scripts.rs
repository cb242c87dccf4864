//! The protocol scripts of the conformance suite, all of them, on each database.

use std::process::ExitCode;

use tokio::runtime::Runtime;

use crate::harness::Database;

fn every_script_passes(settings: &[&str]) {
    let words = ["unisono-conformance", "scripts", "--target", "unisono", "--all-offered", "--timeout", "20"];
    let binary = ["--binary", env!("CARGO_BIN_EXE_unisono")];
    let words = words.iter().chain(&binary).chain(settings);
    assert_eq!(unisono_conformance::run(words).unwrap(), ExitCode::SUCCESS, "the table above names them");
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
