//! # XEP-0401: Ad-hoc Account Invitation Generation
//!
//! Follows 0.6.0 (2026-03-08). Users get links by which others become their contacts, and those who may get links by which
//! accounts are made.
//!
//! - Two commands (XEP-0050). What an invitation is good for is in the store, found by its token; XEP-0379 and XEP-0445 use
//!   it up.
//! - Ours: an account has so many open invitations and no more, and gets new ones at a certain pace.
//! - Ours: the landing page is a page that shows the link which is behind its `#`, as in XEP-0379 §3.3.

use std::time::Duration;

use unisono_core::allowance::{Allowance, Allowances};
use unisono_core::datetime::format_utc;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Extension, Registry, Request, Spec};
use unisono_core::hub::Hub;
use unisono_core::invitations::{Invitation, InvitationPolicy, UsersInvite};
use unisono_core::jid::BareJid;
use unisono_core::storage::StoreError;
use unisono_xml::Element;

use crate::xep0004_forms::{self, Submitted, field, form, is_yes};
use crate::xep0050_commands::{Command, Done, Form, bad_payload};

/// §3: the node of the first command.
pub const NODE_INVITE: &str = "urn:xmpp:invite#invite";
/// §3: the node of the second.
pub const NODE_CREATE: &str = "urn:xmpp:invite#create-account";
/// §12.1: the type of what both return.
pub const FORM_TYPE: &str = "urn:xmpp:invite#invitation";
/// Invitations of one account that were not used yet.
const OPEN_MAX: usize = 50;
/// Invitations that one account gets.
const PACE: Allowance = Allowance { burst: 20, every: Duration::from_secs(3600) };

pub struct Invites;

impl Extension for Invites {
    fn spec(&self) -> Spec {
        Spec::xep(401, "0.6.0")
    }

    fn register(&self, on: &mut Registry) {
        on.hand(Command {
            node: NODE_INVITE,
            name: "Invite user",
            is_for: |hub, who| is_user(hub, who) && hub.settings.invitations.by_users != UsersInvite::Nobody,
            forms: &[],
            carry_out: |request, _| Box::pin(async move { invite(&request).await }),
        });
        on.hand(Command {
            node: NODE_CREATE,
            name: "Create account",
            is_for: |hub, who| is_user(hub, who) && is_creator(&hub.settings.invitations, who),
            forms: &[Form { show: empty_form, is_right: |form| wish(form).is_some() }],
            carry_out: |request, filled| Box::pin(async move { create(&request, &filled).await }),
        });
    }
}

fn is_user(hub: &Hub, who: &BareJid) -> bool {
    who.local().is_some() && hub.serves(who.domain())
}

fn is_creator(policy: &InvitationPolicy, who: &BareJid) -> bool {
    policy.creators.iter().any(|creator| creator == who || *creator == who.to_domain())
}

/// How often accounts were given invitations.
#[derive(Default)]
struct Given(Allowances<BareJid>);

/// §5.1: a link by which somebody becomes a contact, with a new account where that is allowed.
async fn invite(request: &Request) -> Result<Done, StanzaError> {
    let (hub, inviter) = (&request.hub, request.from().to_bare());
    let makes_accounts = hub.settings.invitations.by_users == UsersInvite::Accounts;
    let domain = BareJid::domain_jid(inviter.domain()).ok().filter(|_| makes_accounts);
    let invitation = new(hub, &inviter, (domain, None, Some(inviter.clone())));
    match keep(hub, &inviter, &invitation).await? {
        Ok(()) => Ok(told(hub, &invitation, &invitation.uri())),
        Err(failure) => Ok(Done { failure: Some(failure), ..Done::default() }),
    }
}

/// §5.4: a link by which an account is made, of a certain name or of any.
async fn create(request: &Request, filled: &[Element]) -> Result<Done, StanzaError> {
    let (hub, inviter) = (&request.hub, request.from().to_bare());
    let wish = filled.first().and_then(wish).ok_or_else(bad_payload)?;
    let domain = BareJid::domain_jid(inviter.domain());
    let domain = domain.map_err(|_| StanzaError::new(Condition::InternalServerError))?;
    let account = match &wish.username {
        Some(name) => Some(account_named(name, &domain).ok_or_else(bad_payload)?),
        None => None,
    };
    let contact = wish.is_contact.then(|| inviter.clone());
    let invitation = new(hub, &inviter, (Some(domain), account, contact));
    match keep(hub, &inviter, &invitation).await? {
        Ok(()) => Ok(told(hub, &invitation, &invitation.registration_uri().unwrap_or_default())),
        Err(failure) => Ok(Done { failure: Some(failure), ..Done::default() }),
    }
}

/// An address that people may be given: of a valid name, which does not mix scripts.
pub fn account_named(name: &str, domain: &BareJid) -> Option<BareJid> {
    let jid = BareJid::new(Some(name), domain.as_str()).ok()?;
    (jid.local().is_some() && !jid.mixes_scripts()).then_some(jid)
}

/// To a domain, an account and a contact, as far as they are there.
type To = (Option<BareJid>, Option<BareJid>, Option<BareJid>);

fn new(hub: &Hub, maker: &BareJid, (domain, account, inviter): To) -> Invitation {
    let maker = Some(maker.clone());
    let created_at = hub.clock.now_micros();
    let last_for = i64::try_from(hub.settings.invitations.last_for.as_micros()).unwrap_or(i64::MAX);
    let (token, expires_at) = (Invitation::token(hub.random.as_ref()), created_at.saturating_add(last_for));
    Invitation { token, domain, account, inviter, maker, created_at, expires_at }
}

/// Keeps an invitation, or says why not, in words for who asked for it.
async fn keep(hub: &Hub, who: &BareJid, invitation: &Invitation) -> Result<Result<(), String>, StanzaError> {
    let refused = |text: &str| Ok(Err(text.to_owned()));
    let is_in_pace = hub.memory(|given: &mut Given| given.0.try_take(who.clone(), hub.clock.elapsed(), PACE));
    if !is_in_pace {
        return refused("too many invitations of late: try again in an hour");
    }
    let now = invitation.created_at;
    if hub.store.invitations(Some(who), None, OPEN_MAX, now).await?.len() >= OPEN_MAX {
        return refused("too many of your invitations were not used yet");
    }
    match hub.store.invite(invitation).await {
        Ok(()) => Ok(Ok(())),
        Err(StoreError::Exists | StoreError::Alike(_) | StoreError::Reserved) => {
            refused("the name is taken, or looks like one that is")
        }
        Err(error) => Err(error.into()),
    }
}

/// The form of §5.1, Example 4.
fn told(hub: &Hub, invitation: &Invitation, uri: &str) -> Done {
    let landing_url = Invitation::landing_url(uri, &hub.settings.invitations);
    let expire = format_utc(invitation.expires_at);
    let form = form("result", FORM_TYPE)
        .child(field("uri", "text-single", [uri]))
        .child_opt(landing_url.map(|url| field("landing-url", "text-single", [url.as_str()])))
        .child(field("expire", "text-single", [expire.as_ref()]));
    Done { payload: Some(form.build()), failure: None }
}

/// §5.4, Example 6.
fn empty_form() -> Element {
    let labelled = |name, kind: &'static str, label: &'static str| {
        field(name, kind, []).to_builder().attr("label", label).build()
    };
    Element::builder("x", xep0004_forms::NS)
        .attr("type", "form")
        .child(Element::builder("title", xep0004_forms::NS).text("Create account").build())
        .child(labelled("username", "text-single", "Username"))
        .child(labelled("roster-subscription", "boolean", "Roster subscription"))
        .build()
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    username: Option<String>,
    is_contact: bool,
}

/// Reads the form of §5.4, Example 7.
fn wish(form: &Element) -> Option<Wish> {
    let form = Submitted::parse_any(form)?;
    let username = form.value("username").filter(|name| !name.is_empty()).map(str::to_owned);
    if username.as_ref().is_some_and(|name| BareJid::new(Some(name), "example.org").is_err()) {
        return None;
    }
    Some(Wish { username, is_contact: form.value("roster-subscription").is_some_and(is_yes) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::element;

    #[test]
    fn what_is_asked_for_is_read() {
        let form = |fields: &str| element(&format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>"));
        let name = |name: &str| format!("<field var='username'><value>{name}</value></field>");
        let contact =
            |value: &str| format!("<field var='roster-subscription'><value>{value}</value></field>");
        let of =
            |username: Option<&str>, is_contact| Wish { username: username.map(str::to_owned), is_contact };
        for (fields, want) in [
            (String::new(), Some(of(None, false))),
            (name(""), Some(of(None, false))),
            (name("juliet"), Some(of(Some("juliet"), false))),
            (name("juliet") + &contact("true"), Some(of(Some("juliet"), true))),
            (contact("1"), Some(of(None, true))),
            (contact("0"), Some(of(None, false))),
            (name("a@b"), None), // §5.4: a valid localpart
            (name("a b"), None),
            (name("&lt;"), None),
        ] {
            assert_eq!(wish(&form(&fields)), want, "{fields}");
        }
        assert_eq!(wish(&element("<x xmlns='jabber:x:data' type='result'/>")), None);
    }

    #[test]
    fn a_name_that_deceives_is_given_to_nobody() {
        let domain = "example.org".parse().unwrap();
        for (name, want) in
            [("juliet", true), ("p\u{430}ypal", false), ("", false), ("a@b", false), ("a/b", false)]
        {
            assert_eq!(account_named(name, &domain).is_some(), want, "{name}");
        }
    }
}
