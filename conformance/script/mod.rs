//! The script language: what a file says, and how what arrives is compared with it.
//! The language is described in `conformance/README.md`.

mod block;
mod parse;
mod pattern;
mod steps;
mod template;
mod value;

pub(crate) use parse::{ParseError, parse};
pub(crate) use pattern::Pattern;
pub(crate) use steps::{Action, Choice, Comparison, Connect, DeviceName, Level, Need, Place, Script, Step};
pub(crate) use template::Template;
pub(crate) use value::Values;
