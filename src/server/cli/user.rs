//! `unisono user …`

use std::io::{self, IsTerminal};

use clap::{Args, Subcommand};
use serde_json::json;
use unisono_core::jid::BareJid;

use super::admin::Admin;
use super::args::account;
use super::failure::Failure;
use super::output::Report;
use super::password;
use super::run::{Context, Missing, say};
use super::table::{count, table};
use crate::api::types::{Names, UserInfo, UserState};

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Create an account
    Add(Add),
    /// List all accounts
    List,
    /// Change the password of an account, which ends its sessions
    Passwd(WithPassword),
    /// Delete an account and everything it stored
    Delete(Delete),
    /// Forbid an account to log in; it keeps what it stored
    Disable(Account),
    /// Allow it again
    Enable(Account),
}

#[derive(Debug, Args)]
pub(crate) struct Account {
    /// The address, such as alice@example.org
    #[arg(value_parser = account)]
    pub(crate) jid: BareJid,
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    user: WithPassword,
    /// Also a name that looks like that of another account, or mixes letters of several scripts
    #[arg(long)]
    allow_confusable: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WithPassword {
    /// The address, such as alice@example.org
    #[arg(value_parser = account)]
    jid: BareJid,
    /// Read the password from the first line of the standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The address, such as alice@example.org
    #[arg(value_parser = account)]
    pub(crate) jid: BareJid,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl User {
    /// Does it, on the running server or on the store.
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Report, Failure> {
        let missing = Missing::Tell;
        match self {
            Self::Add(user) => add(context, &user).await,
            Self::List => context.with_admin(missing, async |admin: &dyn Admin| list(admin).await).await,
            Self::Passwd(user) => passwd(context, &user).await,
            Self::Delete(user) => delete(context, &user).await,
            Self::Disable(Account { jid }) => set_state(context, &jid, UserState::Disabled).await,
            Self::Enable(Account { jid }) => set_state(context, &jid, UserState::Enabled).await,
        }
    }
}

// People take their time to answer. While they do, no store is open: a server may start on it.

async fn add(context: &Context<'_>, Add { user, allow_confusable }: &Add) -> Result<Report, Failure> {
    let WithPassword { jid, password_stdin } = user;
    context.reach().await?;
    let password = password::read(jid, *password_stdin).await?;
    let names = Names::from(*allow_confusable);
    let work = async |admin: &dyn Admin| Ok(admin.add_user(jid, &password, names).await?);
    let user = context.with_admin(Missing::Create, work).await?;
    let text = format!("{} added", user.jid);
    Ok(Report::done(user, text))
}

async fn passwd(
    context: &Context<'_>,
    WithPassword { jid, password_stdin }: &WithPassword,
) -> Result<Report, Failure> {
    // Nobody should type a password twice to learn that there is no such account.
    look_up(context, jid).await?;
    let password = password::read(jid, *password_stdin).await?;
    let work = async |admin: &dyn Admin| Ok(admin.set_password(jid, &password).await?);
    context.with_admin(Missing::Tell, work).await?;
    Ok(Report::done(json!({ "jid": jid.as_str() }), format!("password of {jid} changed, its sessions ended")))
}

async fn look_up(context: &Context<'_>, jid: &BareJid) -> Result<UserInfo, Failure> {
    context.with_admin(Missing::Tell, async |admin: &dyn Admin| Ok(admin.user(jid).await?)).await
}

async fn list(admin: &dyn Admin) -> Result<Report, Failure> {
    let mut users: Vec<UserInfo> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = admin.users(after.as_deref(), None).await?;
        users.extend(page.users);
        // A page that leads back would never end.
        if page.next.is_none() || page.next <= after {
            break;
        }
        after = page.next;
    }
    let row = |user: &UserInfo| {
        [user.jid.clone(), user.state.as_str().to_owned(), user.devices.to_string(), user.created_at.clone()]
    };
    let text = if users.is_empty() {
        "there are no accounts; `unisono user add JID` creates one".to_owned()
    } else {
        table(["JID", "STATE", "DEVICES", "CREATED"], &users.iter().map(row).collect::<Vec<_>>())
    };
    Ok(Report::answer(json!({ "users": users }), text))
}

async fn delete(context: &Context<'_>, Delete { jid, yes }: &Delete) -> Result<Report, Failure> {
    let user = look_up(context, jid).await?;
    if !yes && io::stdin().is_terminal() {
        let devices = count(usize::try_from(user.devices).unwrap_or(usize::MAX), "device");
        say(&format!("Delete {jid} ({devices}) and everything it stored? Type its address to go on: "));
        let answer = password::line_from_stdin().await?;
        if answer.trim() != jid.as_str() {
            return Err(Failure::failed("nothing was deleted"));
        }
    }
    let work = async |admin: &dyn Admin| Ok(admin.delete_user(jid).await?);
    context.with_admin(Missing::Tell, work).await?;
    Ok(Report::done(json!({ "jid": jid.as_str() }), format!("{jid} deleted")))
}

async fn set_state(context: &Context<'_>, jid: &BareJid, state: UserState) -> Result<Report, Failure> {
    let work = async |admin: &dyn Admin| Ok(admin.set_state(jid, state).await?);
    let user = context.with_admin(Missing::Tell, work).await?;
    let text = format!("{} {}", user.jid, user.state.as_str());
    Ok(Report::done(user, text))
}
