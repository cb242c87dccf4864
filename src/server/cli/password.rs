//! Asks for a password: twice, without showing it. A password is never an argument, where every user
//! of the machine could read it.

use std::io::{self, IsTerminal, Stdin};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use unisono_core::jid::BareJid;

use super::failure::Failure;
use super::run::say;
use crate::api::types::Secret;

/// The new password of `jid`: from the first line of the standard input, or from the terminal.
pub(crate) async fn read(jid: &BareJid, from_stdin: bool) -> Result<Secret, Failure> {
    let password = if from_stdin {
        line_from_stdin().await?
    } else if io::stdin().is_terminal() {
        let first = hidden(&format!("Password for {jid}: ")).await?;
        if hidden("Again: ").await? != first {
            return Err(Failure::failed("the two passwords differ; nothing was changed"));
        }
        first
    } else {
        return Err(Failure::usage(
            "there is no terminal to ask for the password; give it on the standard input with --password-stdin",
        ));
    };
    if password.is_empty() {
        return Err(Failure::usage("the password is empty"));
    }
    Ok(Secret::new(password))
}

/// One line of the standard input, without its line break.
pub(crate) async fn line_from_stdin() -> Result<String, Failure> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    let read = tokio::select! {
        read = read => read,
        // The terminal is to be put in order before this ends.
        _ = tokio::signal::ctrl_c() => return Err(Failure::failed("interrupted; nothing was changed")),
    };
    match read {
        Ok(Ok(line)) => Ok(line.trim_end_matches(['\n', '\r']).to_owned()),
        Ok(Err(error)) => Err(Failure::failed(format!("cannot read the standard input: {error}"))),
        Err(error) => Err(Failure::failed(format!("cannot read the standard input: {error}"))),
    }
}

async fn hidden(question: &str) -> Result<String, Failure> {
    let _echo = EchoOff::new(io::stdin())
        .map_err(|error| Failure::failed(format!("cannot hide what is typed: {error}")))?;
    say(question);
    let line = line_from_stdin().await;
    say("\n");
    line
}

/// As long as it lives, the terminal does not show what is typed.
struct EchoOff {
    terminal: Stdin,
    before: Termios,
}

impl EchoOff {
    fn new(terminal: Stdin) -> rustix::io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        // There is nobody left to tell if the terminal itself has gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}
