//! What a command says, and how it is printed: for people or, with `--json`, for programs.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::exit::Exit;
use super::failure::Failure;

/// The end of a command that did what it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// For programs.
    pub(crate) json: Value,
    /// For people; ends without a line break.
    pub(crate) text: String,
    /// Whether the text is what was asked for, and not only a word on what was done.
    pub(crate) is_answer: bool,
    /// What the process returns.
    pub(crate) exit: Exit,
}

impl Report {
    /// Something was done. `-q` keeps it quiet.
    pub fn done(json: impl Serialize, text: impl Into<String>) -> Self {
        Self { json: value(json), text: text.into(), is_answer: false, exit: Exit::Ok }
    }

    /// Something was asked for.
    pub fn answer(json: impl Serialize, text: impl Into<String>) -> Self {
        Self { json: value(json), text: text.into(), is_answer: true, exit: Exit::Ok }
    }

    /// The same with another exit code.
    pub fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Style {
    /// Prints the end of a command; returns what the process returns. A reader that went away is no
    /// reason to fail.
    pub(crate) fn print(
        self,
        end: &Result<Report, Failure>,
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> Exit {
        let (written, exit) = match end {
            Ok(report) => (self.report(report, out), report.exit),
            Err(failure) => (self.failure(failure, err), failure.exit),
        };
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Exit::Failed,
            _ => exit,
        }
    }

    fn report(self, report: &Report, out: &mut impl Write) -> io::Result<()> {
        if self.json {
            writeln!(out, "{}", report.json)
        } else if report.text.is_empty() || (self.quiet && !report.is_answer) {
            Ok(())
        } else {
            writeln!(out, "{}", report.text)
        }
    }

    fn failure(self, failure: &Failure, err: &mut impl Write) -> io::Result<()> {
        if self.json { writeln!(err, "{}", failure.json()) } else { writeln!(err, "error: {failure}") }
    }
}

/// Our own types all have a form in JSON; if one had none, the program would see why.
fn value(json: impl Serialize) -> Value {
    serde_json::to_value(json).unwrap_or_else(|error| json!({ "unprintable": error.to_string() }))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;

    #[test]
    fn people_and_programs_get_each_their_own() {
        let done = || Ok(Report::done(json!({ "jid": "a@b" }), "a@b added"));
        let answer = || Ok(Report::answer(json!([]), "nobody"));
        let failure = || Err(Failure::usage("no such thing"));
        let json = r#"{"error":{"code":"usage","message":"no such thing"}}"#;
        for (end, as_json, quiet, out, err, exit) in [
            (done(), false, false, "a@b added\n", String::new(), Exit::Ok),
            (done(), false, true, "", String::new(), Exit::Ok),
            (done(), true, true, "{\"jid\":\"a@b\"}\n", String::new(), Exit::Ok),
            (answer(), false, true, "nobody\n", String::new(), Exit::Ok),
            (failure(), false, true, "", "error: no such thing\n".to_owned(), Exit::Usage),
            (failure(), true, false, "", format!("{json}\n"), Exit::Usage),
        ] {
            let (mut got_out, mut got_err) = (Vec::new(), Vec::new());
            let got = Style { json: as_json, quiet }.print(&end, &mut got_out, &mut got_err);
            let printed = (String::from_utf8(got_out).unwrap(), String::from_utf8(got_err).unwrap(), got);
            assert_eq!(printed, (out.to_owned(), err, exit));
        }
    }
}
