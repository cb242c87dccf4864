//! SCRAM (RFC 5802), the server's side of one exchange.

mod exchange;
mod message;

pub use exchange::ServerNonce;
pub(super) use exchange::{Binding, Challenged, Claim, First, Owner};
