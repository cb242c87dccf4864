//! `unisono device …`

use clap::{Args, Subcommand};
use unisono_core::jid::BareJid;

use super::admin::Admin;
use super::args::account;
use super::failure::Failure;
use super::output::Report;
use super::run::{Context, Missing};
use super::table::{count, table};
use super::user::Account;
use crate::api::types::DeviceInfo;

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// List the devices of an account: what they are, and what lets them in
    List(Account),
    /// Take the access of a device back: its sessions and tokens end
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The address, such as alice@example.org
    #[arg(value_parser = account)]
    jid: BareJid,
    /// The device, as `unisono device list` names it
    id: String,
}

impl Device {
    /// Does it, on the running server or on the store.
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Report, Failure> {
        let work = async |admin: &dyn Admin| match self {
            Self::List(Account { jid }) => list(admin, &jid).await,
            Self::Revoke(Revoke { jid, id }) => revoke(admin, &jid, &id).await,
        };
        context.with_admin(Missing::Tell, work).await
    }
}

async fn list(admin: &dyn Admin, jid: &BareJid) -> Result<Report, Failure> {
    let list = admin.devices(jid).await?;
    let text = if list.devices.is_empty() {
        "no device has logged in yet".to_owned()
    } else {
        let headings = ["ID", "SOFTWARE", "DEVICE", "STATE", "FIRST SEEN", "LAST SEEN", "LET IN BY"];
        table(headings, &list.devices.iter().map(row).collect::<Vec<_>>())
    };
    Ok(Report::answer(list, text))
}

fn row(device: &DeviceInfo) -> [String; 7] {
    let ways = [(device.knows_password, "password"), (device.has_token, "token")];
    [
        device.id.clone(),
        device.software.clone().unwrap_or_default(),
        device.name.clone().unwrap_or_default(),
        device.state.as_str().to_owned(),
        device.first_seen.clone().unwrap_or_default(),
        device.last_seen.clone(),
        ways.iter().filter(|(has, _)| *has).map(|(_, way)| *way).collect::<Vec<_>>().join(", "),
    ]
}

async fn revoke(admin: &dyn Admin, jid: &BareJid, id: &str) -> Result<Report, Failure> {
    let revoked = admin.revoke(jid, id).await?;
    let sessions = count(usize::try_from(revoked.sessions).unwrap_or(usize::MAX), "session");
    let mut text = format!("the access of {id} is taken back, {sessions} ended");
    if revoked.knows_password {
        let change = format!("`unisono user passwd {jid}`");
        text = format!("{text}\nIt knows the password, and can come back until that is changed: {change}");
    }
    Ok(Report::done(revoked, text))
}
