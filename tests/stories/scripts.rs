//! The protocol scripts of the conformance suite, all of them.

use std::process::ExitCode;

#[test]
fn every_script_passes() {
    let words = ["unisono-conformance", "scripts", "--target", "unisono", "--timeout", "20", "--binary"];
    let words = words.into_iter().chain([env!("CARGO_BIN_EXE_unisono")]);
    assert_eq!(unisono_conformance::run(words).unwrap(), ExitCode::SUCCESS, "the table above names them");
}
