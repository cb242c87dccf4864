//! `unisono invite`

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::json;
use unisono_core::jid::BareJid;

use super::admin::Admin;
use super::args::account;
use super::failure::Failure;
use super::output::Report;
use super::run::{Context, Missing};
use super::table::table;
use crate::api::types::{InvitationInfo, NewInvitation};
use crate::config::parse_duration;

/// Make a link by which somebody makes an account, or becomes a contact, once
#[derive(Debug, Args)]
pub(crate) struct Invite {
    /// The account that may be made, such as juliet@example.org, if no other; its name is kept free until then
    #[arg(value_parser = account)]
    account: Option<BareJid>,
    /// The domain of an account of any name [default: the first of the server]
    #[arg(long, conflicts_with = "account")]
    domain: Option<String>,
    /// An account of this server that becomes a contact of who uses the link
    #[arg(long, value_name = "JID", value_parser = account)]
    contact: Option<BareJid>,
    /// No account may be made with it
    #[arg(long, requires = "contact", conflicts_with_all = ["account", "domain"])]
    contact_only: bool,
    /// How long it can be used, such as 2d or 12h [default: what the configuration says]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires: Option<u32>,
    /// Show the links that were not used yet
    #[arg(long, exclusive = true)]
    list: bool,
    /// Take a link back
    #[arg(long, value_name = "TOKEN", exclusive = true)]
    revoke: Option<String>,
}

fn seconds(text: &str) -> Result<u32, String> {
    let seconds =
        parse_duration(text).as_ref().map(Duration::as_secs).and_then(|secs| u32::try_from(secs).ok());
    seconds
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| "a time such as \"2d\" or \"12h\" is needed".to_owned())
}

impl Invite {
    /// Does it, on the running server or on the store.
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Report, Failure> {
        if self.list {
            return context.with_admin(Missing::Tell, async |admin: &dyn Admin| list(admin).await).await;
        }
        if let Some(token) = &self.revoke {
            let work = async |admin: &dyn Admin| Ok(admin.withdraw(token).await?);
            context.with_admin(Missing::Tell, work).await?;
            return Ok(Report::done(json!({ "token": token }), "the link cannot be used any more"));
        }
        let text = |jid: &Option<BareJid>| jid.as_ref().map(ToString::to_string);
        let new = NewInvitation {
            account: text(&self.account),
            domain: self.domain.clone(),
            contact: text(&self.contact),
            contact_only: self.contact_only,
            expires_in_seconds: self.expires,
        };
        let work = async |admin: &dyn Admin| Ok(admin.invite(&new).await?);
        let invitation = context.with_admin(Missing::Tell, work).await?;
        let style = context.global.style();
        let shows_code = io::stdout().is_terminal() && !style.quiet && !style.json;
        let text = describe(&invitation, shows_code);
        Ok(Report::answer(invitation, text))
    }
}

/// The link, the page for it, and the same for the camera of a phone.
fn describe(invitation: &InvitationInfo, shows_code: bool) -> String {
    let InvitationInfo { uri, landing_url, expires_at, .. } = invitation;
    let code = shows_code.then(|| code(landing_url.as_deref().unwrap_or(uri))).flatten();
    let until = shows_code.then(|| format!("to be used once, until {expires_at}"));
    let lines = [Some(uri.clone()), landing_url.clone(), code, until];
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn code(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    // Dark on light, also where letters are light on dark.
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

async fn list(admin: &dyn Admin) -> Result<Report, Failure> {
    let mut invitations: Vec<InvitationInfo> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = admin.invitations(after.as_deref(), None).await?;
        invitations.extend(page.invitations);
        // A page that leads back would never end.
        if page.next.is_none() || page.next <= after {
            break;
        }
        after = page.next;
    }
    let row = |invitation: &InvitationInfo| {
        let InvitationInfo { token, account, domain, contact, by, expires_at, .. } = invitation.clone();
        let account = account.or(domain).unwrap_or_default();
        [token, account, contact.unwrap_or_default(), by.unwrap_or_default(), expires_at]
    };
    let text = if invitations.is_empty() {
        "there are no invitations; `unisono invite` makes one".to_owned()
    } else {
        table(
            ["TOKEN", "ACCOUNT", "CONTACT", "BY", "EXPIRES"],
            &invitations.iter().map(row).collect::<Vec<_>>(),
        )
    };
    Ok(Report::answer(json!({ "invitations": invitations }), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation(landing_url: Option<&str>) -> InvitationInfo {
        InvitationInfo {
            token: "abc".to_owned(),
            uri: "xmpp:example.org?register;preauth=abc".to_owned(),
            landing_url: landing_url.map(str::to_owned),
            account: None,
            domain: Some("example.org".to_owned()),
            contact: None,
            by: None,
            expires_at: "2026-01-01T00:00:00Z".to_owned(),
        }
    }

    #[test]
    fn a_program_reads_a_link_a_line_and_people_see_a_code() {
        let uri = "xmpp:example.org?register;preauth=abc";
        assert_eq!(describe(&invitation(None), false), uri);
        let page = "https://example.org/invite/#example.org?register;preauth=abc";
        assert_eq!(describe(&invitation(Some(page)), false), format!("{uri}\n{page}"));
        let shown = describe(&invitation(None), true);
        assert!(shown.contains('▀') && shown.ends_with("until 2026-01-01T00:00:00Z"), "{shown}");
        assert!(shown.lines().count() > 15, "{shown}");
    }

    #[test]
    fn a_time_is_read_as_in_the_configuration() {
        assert_eq!(seconds("2d"), Ok(2 * 86_400));
        for wrong in ["", "0s", "soon", "-1d", "9999999d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
