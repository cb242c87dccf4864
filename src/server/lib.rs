//! The `unisono` binary.
