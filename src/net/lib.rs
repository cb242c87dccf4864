//! Where sockets end.

pub mod sasl;
pub mod tls;
