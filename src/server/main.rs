//! `unisono`: the server and its command line.

use std::process::ExitCode;

use unisono::wiring::Wiring;

fn main() -> ExitCode {
    unisono::cli::run(std::env::args_os(), &Wiring).into()
}
