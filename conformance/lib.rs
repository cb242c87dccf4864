//! Black-box conformance suite for any XMPP server.
//!
//! A library, so that the convergence checker can also be run by who holds the server in the same process.

mod bench;
mod client;
pub mod converge;
mod markdown;
mod results;
mod run;
mod script;
mod target;
pub mod xml;

pub use run::{main, run};
