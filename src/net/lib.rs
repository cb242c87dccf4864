//! Where sockets end.

pub mod sasl;
