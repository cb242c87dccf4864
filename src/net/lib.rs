//! Where sockets end.
//!
//! A client's connection is accepted by `listener`, counted by `admission`, and has one task (`connection`), which
//! brings it to a bound resource (`arrival`, by the rules of `negotiation`) and serves its stream (`stream`).

mod admission;
mod arrival;
pub mod component;
mod connection;
mod crew;
mod ending;
mod error;
mod generations;
mod guessing;
mod incoming;
mod limits;
mod listener;
mod lookup;
mod negotiation;
mod panic;
mod rate;
mod ration;
mod sampling;
mod server;
mod signal;
mod stream;
mod tally;

pub mod sasl;
pub mod tls;

pub use error::{Said, StreamError};
pub use limits::{EARLY_STANZA_BYTES_MAX, Limits, STRANGER_ELEMENT_BYTES_MAX};
pub use negotiation::Security;
pub use rate::Rate;
pub use server::C2s;
