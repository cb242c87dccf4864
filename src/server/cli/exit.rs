//! What a script learns from the exit code.

use std::process::ExitCode;

/// The exit codes of all commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It failed, or a check found a problem.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// There is no such account or session, or no database.
    NotFound = 3,
    /// There is such an account, or such a file, already.
    AlreadyExists = 4,
    /// The running server, or the database, cannot be reached.
    Unreachable = 5,
}

impl Exit {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Ok, "done"),
        (Self::Failed, "failed, or `check` found a problem"),
        (Self::Usage, "the command line or the configuration is wrong"),
        (Self::NotFound, "there is no such account or session, or no database"),
        (Self::AlreadyExists, "the account or file is already there"),
        (Self::Unreachable, "the server or its database cannot be reached"),
    ];

    /// The code as a number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The list of codes for `--help`.
    pub(crate) fn help() -> String {
        let lines = Self::ALL.map(|(exit, meaning)| format!("\n  {}  {meaning}", exit.code()));
        format!("Exit codes:{}", lines.concat())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
