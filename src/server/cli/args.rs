//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use unisono_core::jid::BareJid;

use super::exit::Exit;
use super::output::Style;
use super::{check, completions, device, init, invite, report, serve, session, sync, user, version};

/// An XMPP server whose users' devices all hold the same conversation.
#[derive(Debug, Parser)]
#[command(name = "unisono", version, about, after_help = Exit::help(), propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    /// Without a command, the server runs.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What goes with every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The configuration [default: ./unisono.toml, else /etc/unisono/unisono.toml, else the defaults]
    #[arg(long, global = true, env = "UNISONO_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// Set one key, whatever the file says; can be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print JSON: the result on the standard output, an error on the standard error output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only what was asked for, and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

impl Global {
    pub(crate) fn style(&self) -> Style {
        Style { json: self.json, quiet: self.quiet }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(serve::Serve),
    Init(init::Init),
    Check(check::Check),
    /// Manage accounts
    #[command(subcommand)]
    User(user::User),
    Invite(invite::Invite),
    /// See what users reported
    #[command(subcommand)]
    Report(report::Reported),
    /// See and end sessions
    #[command(subcommand)]
    Session(session::Session),
    /// See what has access to an account, and take it back
    #[command(subcommand)]
    Device(device::Device),
    /// See whether devices have the whole conversation
    #[command(subcommand)]
    Sync(sync::Sync),
    Version(version::Version),
    Completions(completions::Completions),
}

/// Reads the address of an account.
pub(crate) fn account(text: &str) -> Result<BareJid, String> {
    let jid: BareJid = text.parse().map_err(|error| format!("{error}"))?;
    if jid.local().is_none() {
        return Err("an account is needed, such as alice@example.org".to_owned());
    }
    Ok(jid)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, ErrorKind> {
        let words = std::iter::once("unisono").chain(line.split_whitespace());
        Cli::try_parse_from(words).map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_understood() {
        for line in [
            "",
            "serve",
            "--config a.toml serve --set limits.stanza_bytes=20000 --set log.level=debug",
            "init",
            "init example.org --force",
            "check --json",
            "user add alice@example.org",
            "user add alice@example.org --password-stdin -q",
            "user list",
            "user passwd alice@example.org --password-stdin",
            "user delete alice@example.org",
            "user disable alice@example.org",
            "user enable alice@example.org",
            "invite",
            "invite juliet@example.org --expires 2d",
            "invite --contact romeo@example.org",
            "invite --contact romeo@example.org --contact-only",
            "invite --domain example.org",
            "invite --list",
            "invite --revoke abc",
            "report list",
            "report delete 7",
            "session list",
            "session list alice@example.org",
            "session kick alice@example.org",
            "session kick alice@example.org/phone",
            "device list alice@example.org",
            "device revoke alice@example.org x1",
            "sync doctor alice@example.org",
            "version",
            "completions bash",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, want) in [
            ("start", ErrorKind::InvalidSubcommand),
            ("user", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("user add", ErrorKind::MissingRequiredArgument),
            ("user add alice@example.org secret", ErrorKind::UnknownArgument),
            ("user add alice@example.org --password secret", ErrorKind::UnknownArgument),
            ("user add example.org", ErrorKind::ValueValidation),
            ("user add alice@example.org/phone", ErrorKind::ValueValidation),
            ("user add alice@@example.org", ErrorKind::ValueValidation),
            ("user passwd @example.org", ErrorKind::ValueValidation),
            ("session kick example.org", ErrorKind::ValueValidation),
            ("session kick alice@example.org/", ErrorKind::ValueValidation),
            ("device revoke alice@example.org", ErrorKind::MissingRequiredArgument),
            ("sync doctor", ErrorKind::MissingRequiredArgument),
            ("invite example.org", ErrorKind::ValueValidation),
            ("invite --expires soon", ErrorKind::ValueValidation),
            ("invite --expires 0s", ErrorKind::ValueValidation),
            ("invite --contact-only", ErrorKind::MissingRequiredArgument),
            ("invite --list --revoke abc", ErrorKind::ArgumentConflict),
            ("report delete", ErrorKind::MissingRequiredArgument),
            ("report delete seven", ErrorKind::ValueValidation),
            ("init exam_ple..org", ErrorKind::ValueValidation),
            ("init a@example.org", ErrorKind::ValueValidation),
            ("completions tcsh", ErrorKind::InvalidValue),
            ("serve --config", ErrorKind::InvalidValue),
        ] {
            assert_eq!(parse(line).unwrap_err(), want, "{line}");
        }
    }

    #[test]
    fn a_jid_is_prepared_as_it_is_parsed() {
        let Some(Command::User(user::User::Delete(target))) =
            parse("user delete ALICE@Example.ORG").unwrap().command
        else {
            unreachable!("this is what was typed")
        };
        assert_eq!(target.jid.as_str(), "alice@example.org");
    }

    #[test]
    fn help_names_every_exit_code() {
        let help = Cli::command().render_help().to_string();
        for line in ["0  done", "1  failed", "2  the command line", "3  there is no", "4  ", "5  "] {
            assert!(help.contains(line), "{line}\n{help}");
        }
    }
}
