//! Invitations and reports, done on a hub.

use std::num::NonZeroU32;
use std::time::Duration;

use unisono_core::datetime::format_utc;
use unisono_core::hub::Hub;
use unisono_core::invitations::Invitation;
use unisono_core::jid::{BareJid, Jid};
use unisono_core::reports::Report;
use unisono_core::stanza::{CLIENT_SCOPE, NS_CLIENT};
use unisono_xeps::xep0377_reporting::Told;

use super::types::{
    ApiError, ErrorCode, InvitationInfo, InvitationPage, NewInvitation, REPORTS_MAX, ReportInfo, ReportPage,
    ReportedMessage, USERS_MAX,
};

/// What is to be kept of what is asked for. Whether there is the contact, the caller looks.
pub(super) fn invitation(hub: &Hub, new: &NewInvitation) -> Result<Invitation, ApiError> {
    let wrong = |text: String| ApiError::new(ErrorCode::InvalidRequest, text);
    let account = new.account.as_deref().map(|text| address(hub, text)).transpose()?;
    let inviter = new.contact.as_deref().map(|text| address(hub, text)).transpose()?;
    let named = match &new.domain {
        Some(domain) => {
            let domain =
                BareJid::domain_jid(domain).map_err(|_| wrong(format!("\"{domain}\" is no domain")))?;
            Some(domain).filter(|domain| hub.serves(domain.as_str()))
        }
        None => hub.settings.domains.first().cloned(),
    };
    let domain = match (&account, new.contact_only) {
        (Some(_), true) => {
            return Err(wrong("an invitation for a contact alone makes no account".to_owned()));
        }
        (None, true) if inviter.is_none() => return Err(wrong("whose contact is it to be?".to_owned())),
        (None, true) => None,
        (Some(account), false) => Some(account.to_domain()),
        (None, false) => Some(named.ok_or_else(|| wrong("this is not a domain of this server".to_owned()))?),
    };
    if account.as_ref().is_some_and(BareJid::mixes_scripts) {
        return Err(wrong("the name mixes letters of several scripts".to_owned()));
    }
    let created_at = hub.clock.now_micros();
    let last_for = match new.expires_in_seconds {
        Some(0) => return Err(wrong("an invitation has to last".to_owned())),
        Some(seconds) => Duration::from_secs(seconds.into()),
        None => hub.settings.invitations.last_for,
    };
    let expires_at = created_at.saturating_add(i64::try_from(last_for.as_micros()).unwrap_or(i64::MAX));
    let token = Invitation::token(hub.random.as_ref());
    Ok(Invitation { token, domain, account, inviter, maker: None, created_at, expires_at })
}

/// An account of this server, there or not.
fn address(hub: &Hub, text: &str) -> Result<BareJid, ApiError> {
    let wrong = |text: String| ApiError::new(ErrorCode::InvalidRequest, text);
    let jid: BareJid = text.parse().map_err(|error| wrong(format!("\"{text}\" is not a JID: {error}")))?;
    if jid.local().is_none() {
        return Err(wrong(format!("{jid} has no name before the @")));
    }
    if !hub.serves(jid.domain()) {
        return Err(wrong(format!("{} is not a domain of this server", jid.domain())));
    }
    Ok(jid)
}

pub(super) fn info(hub: &Hub, invitation: &Invitation) -> InvitationInfo {
    let uri = invitation.uri();
    let text = |jid: &Option<BareJid>| jid.as_ref().map(ToString::to_string);
    InvitationInfo {
        token: invitation.token.clone(),
        landing_url: Invitation::landing_url(&uri, &hub.settings.invitations),
        uri,
        account: text(&invitation.account),
        domain: text(&invitation.domain),
        contact: text(&invitation.inviter),
        by: text(&invitation.maker),
        expires_at: format_utc(invitation.expires_at).into(),
    }
}

/// As many as are asked for, and no more than one page has.
pub(super) fn count(limit: Option<NonZeroU32>, max: u32) -> usize {
    limit.map_or(max, |limit| limit.get().min(max)) as usize
}

pub(super) fn page(hub: &Hub, found: &[Invitation], limit: Option<NonZeroU32>) -> InvitationPage {
    let is_full = found.len() == count(limit, USERS_MAX);
    let next = found.last().filter(|_| is_full).map(|last| last.token.clone());
    InvitationPage { invitations: found.iter().map(|invitation| info(hub, invitation)).collect(), next }
}

pub(super) fn report_page(found: &[Report], limit: Option<NonZeroU32>) -> ReportPage {
    let is_full = found.len() == count(limit, REPORTS_MAX);
    let next = found.last().filter(|_| is_full).map(|last| last.number);
    ReportPage { reports: found.iter().map(report).collect(), next }
}

fn report(report: &Report) -> ReportInfo {
    let told = Told::read(&report.content).unwrap_or_default();
    let messages = told.messages.iter().map(|(at, message)| ReportedMessage {
        at: format_utc(*at).into(),
        from: message.attr("from").unwrap_or_default().to_owned(),
        body: message.child("body", NS_CLIENT).map(|body| body.text().into_owned()),
        xml: message.to_string_in(&CLIENT_SCOPE),
    });
    ReportInfo {
        number: report.number,
        at: format_utc(report.at).into(),
        reporter: report.reporter.to_string(),
        about: Jid::to_string(&report.about),
        reason: told.reason.rsplit(':').next().unwrap_or_default().to_owned(),
        texts: told.texts.clone(),
        messages: messages.collect(),
        missing: told.missing,
        may_tell_origin: told.may_tell_origin,
        may_tell_others: told.may_tell_others,
    }
}
