//! Where sockets end.
