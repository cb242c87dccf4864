//! One module per extension.
