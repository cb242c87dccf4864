//! Black-box conformance suite for any XMPP server.

mod client;
mod run;
mod script;
mod target;
mod xml;

use std::process::ExitCode;

fn main() -> ExitCode {
    run::main()
}
