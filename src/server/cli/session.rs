//! `unisono session …`

use clap::{Args, Subcommand};
use unisono_core::jid::{BareJid, Jid};

use super::admin::Admin;
use super::args::account;
use super::failure::Failure;
use super::output::Report;
use super::run::{Context, Missing};
use super::table::{count, table};
use crate::api::types::SessionInfo;

#[derive(Debug, Subcommand)]
pub(crate) enum Session {
    /// List the sessions of one account or of all
    List(List),
    /// End a session: its client can log in again, but not resume
    Kick(Kick),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only of this account
    #[arg(value_parser = account)]
    jid: Option<BareJid>,
}

#[derive(Debug, Args)]
pub(crate) struct Kick {
    /// One session, such as alice@example.org/phone, or an account: all its sessions
    #[arg(value_parser = of_account, value_name = "JID[/RESOURCE]")]
    jid: Jid,
}

/// Reads the address of an account or of a session.
fn of_account(text: &str) -> Result<Jid, String> {
    let jid: Jid = text.parse().map_err(|error| format!("{error}"))?;
    if jid.local().is_none() {
        return Err("an account is needed, such as alice@example.org".to_owned());
    }
    Ok(jid)
}

impl Session {
    /// Does it. Without a running server there are no sessions.
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Report, Failure> {
        let work = async |admin: &dyn Admin| match self {
            Self::List(List { jid }) => list(admin, jid.as_ref()).await,
            Self::Kick(Kick { jid }) => kick(admin, &jid).await,
        };
        context.with_admin(Missing::Tell, work).await
    }
}

async fn list(admin: &dyn Admin, jid: Option<&BareJid>) -> Result<Report, Failure> {
    let sessions = admin.sessions(jid).await?;
    let text = if sessions.sessions.is_empty() {
        "there are no sessions".to_owned()
    } else {
        let headings =
            ["JID", "STATE", "ADDRESS", "SINCE", "TLS", "SM", "CSI", "CARBONS", "PRIORITY", "OUTBOX"];
        table(headings, &sessions.sessions.iter().map(row).collect::<Vec<_>>())
    };
    Ok(Report::answer(sessions, text))
}

fn row(session: &SessionInfo) -> [String; 10] {
    [
        format!("{}/{}", session.jid, session.resource),
        session.state.as_str().to_owned(),
        session.address.clone().unwrap_or_default(),
        session.connected_at.clone(),
        session.tls.as_deref().and_then(|tls| tls.split(' ').next()).unwrap_or_default().to_owned(),
        session.stream_management.as_str().to_owned(),
        session.csi.as_str().to_owned(),
        if session.carbons { "on" } else { "off" }.to_owned(),
        session.priority.map(|priority| priority.to_string()).unwrap_or_default(),
        session.outbox.to_string(),
    ]
}

async fn kick(admin: &dyn Admin, jid: &Jid) -> Result<Report, Failure> {
    let kicked = admin.kick(jid).await?;
    let sessions = count(usize::try_from(kicked.sessions).unwrap_or(usize::MAX), "session");
    Ok(Report::done(kicked, format!("{sessions} of {jid} ended")))
}
