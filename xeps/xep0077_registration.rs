//! # XEP-0077: In-Band Registration
//!
//! Follows 2.4 (2012-01-25). Accounts are made before the login, by everybody where the administrator says so, and by who is
//! invited (XEP-0445); users change their passwords and delete their accounts.
//!
//! - Before the login, inside of TLS alone: fields (§3.1, Example 2), as a form, too (§4). A stream makes one account, and a
//!   network so many in a time.
//! - After the login: what is on file, without the password; another password (§3.3), which ends the other sessions; removal
//!   (§3.2), which ends all when everything is erased, and the result comes before.
//! - Ours: names that somebody asks for are counted by network and by invitation, before the password is hashed.
//! - Ours: the password is what `unisono user add` would take. Names that look like others are a conflict, like those that
//!   are taken: this cannot but tell which are.
//! - Left out: mail addresses and the rest of the fields; redirection (§5), keys (§7), forms for more information (§3.2).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use unisono_core::allowance::{Allowance, Allowances};
use unisono_core::early::{EarlyReply, EarlyRequest, Origin, Standing};
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::hub::Hub;
use unisono_core::invitations::Invitation;
use unisono_core::jid::BareJid;
use unisono_core::stanza::IqType;
use unisono_core::storage::StoreError;
use unisono_core::workers::NoCredentials;
use unisono_xml::Element;

use crate::xep0004_forms::{self, Submitted, field, form};
use crate::xep0401_invitations::account_named;

pub const NS: &str = "jabber:iq:register";
/// §8
pub const NS_FEATURE: &str = "http://jabber.org/features/iq-register";

/// Names that one network, or whoever has one invitation, may ask for: each answer tells whether a name is taken.
const NAMES: Allowance = Allowance { burst: 20, every: Duration::from_secs(180) };
/// Passwords that one user may set: each takes a processor for some milliseconds.
const CHANGES: Allowance = Allowance { burst: 5, every: Duration::from_secs(120) };
/// A site of IPv6 may do what so many of its networks may.
const NETWORKS_OF_SITE: u32 = 8;

pub struct Registration;

impl Extension for Registration {
    fn spec(&self) -> Spec {
        Spec::xep(77, "2.4")
    }

    fn register(&self, on: &mut Registry) {
        // §8. The invited need it, too (XEP-0445 §3).
        on.early_feature(|_| Some(Element::new("register", NS_FEATURE)));
        on.early_iq((NS, "query"), |request| Box::pin(early(request)));
        on.feature(Entity::Server, NS);
        for entity in [Entity::Server, Entity::OwnAccount] {
            on.iq(entity, IqType::Get, (NS, "query"), on_file);
            on.iq_later(entity, IqType::Set, (NS, "query"), |request| Box::pin(change(request)));
        }
        on.forbid_others((NS, "query"));
    }
}

/// How often something was done, and from where.
#[derive(Default)]
struct Done {
    by_networks: Allowances<IpAddr>,
    by_sites: Allowances<IpAddr>,
}

impl Done {
    /// Whether it may be done there once more, which counts. All networks of a site have what [`NETWORKS_OF_SITE`] have.
    fn count(&mut self, origin: Origin, now: Duration, of_network: Allowance) -> bool {
        let of_site = of_site(of_network);
        let has_room = origin.site.is_none_or(|site| self.by_sites.has_one(&site, now, of_site));
        let may = has_room && self.by_networks.try_take(origin.network, now, of_network);
        if let Some(site) = origin.site.filter(|_| may) {
            self.by_sites.take(site, now, of_site);
        }
        may
    }

    /// It came to nothing.
    fn give_back(&mut self, origin: Origin, of_network: Allowance) {
        self.by_networks.give_back(&origin.network, of_network);
        if let Some(site) = origin.site {
            self.by_sites.give_back(&site, of_site(of_network));
        }
    }
}

fn of_site(of_network: Allowance) -> Allowance {
    let every = of_network.every.checked_div(NETWORKS_OF_SITE).unwrap_or_default();
    Allowance { burst: of_network.burst.saturating_mul(NETWORKS_OF_SITE), every }
}

/// Accounts that were made, …
#[derive(Default)]
struct Made(Done);

/// … names that were asked for, …
#[derive(Default)]
struct Asked(Done);

/// … the same by invitations, wherever they were shown, …
#[derive(Default)]
struct AskedBy(Allowances<String>);

/// … and passwords that users changed.
#[derive(Default)]
struct Changed(Allowances<BareJid>);

/// A network that may make many accounts may ask for as many names.
fn names(of_network: Allowance) -> Allowance {
    if of_network.burst <= NAMES.burst {
        return NAMES;
    }
    Allowance { burst: of_network.burst, every: NAMES.every.min(of_network.every) }
}

/// §3.1.1: somebody who is not known yet.
async fn early(request: EarlyRequest) -> EarlyReply {
    let standing = request.standing.clone();
    if !request.hub.settings.registration.is_open && standing.invitation.is_none() {
        let error =
            StanzaError::new(Condition::Forbidden).with_text("An invitation is needed to register here");
        return (Err(error), standing);
    }
    if request.kind == IqType::Get {
        return (Ok(Some(fields(standing.invitation.as_deref()))), standing);
    }
    match make(&request).await {
        Ok(()) => (Ok(None), Standing { invitation: None, has_registered: true }),
        Err(error) => (Err(error), standing),
    }
}

/// Example 2, and the same as a form (§4).
fn fields(invitation: Option<&Invitation>) -> Element {
    let name = invitation.and_then(|invitation| invitation.account.as_ref()).and_then(BareJid::local);
    let required = || Element::new("required", xep0004_forms::NS);
    let input = |name, kind: &'static str, label: &'static str, value: Option<&str>| {
        field(name, kind, value).to_builder().attr("label", label).child(required()).build()
    };
    let instructions = "Choose a username and password for use with this service.";
    let form = form("form", NS)
        .child(Element::builder("title", xep0004_forms::NS).text("Registration").build())
        .child(Element::builder("instructions", xep0004_forms::NS).text(instructions).build())
        .child(input("username", "text-single", "Username", name))
        .child(input("password", "text-private", "Password", None));
    Element::builder("query", NS)
        .child(Element::builder("instructions", NS).text(instructions).build())
        .child(Element::builder("username", NS).text(name.unwrap_or_default()).build())
        .child(Element::new("password", NS))
        .child(form.build())
        .build()
}

/// What somebody filled in.
#[derive(Debug, PartialEq, Eq, Default)]
struct Filled {
    username: Option<String>,
    password: Option<String>,
}

impl Filled {
    /// The form if there is one (§4, rule 5), else the fields.
    fn read(query: &Element) -> Self {
        let is_there = |text: &String| !text.is_empty();
        let form = query.child("x", xep0004_forms::NS).and_then(Submitted::parse_any);
        let value = |name: &str| match &form {
            Some(form) => form.value(name).map(str::to_owned),
            None => query.child(name, NS).map(|child| child.text().into_owned()),
        };
        Self { username: value("username").filter(is_there), password: value("password").filter(is_there) }
    }
}

fn not_acceptable(text: impl Into<std::borrow::Cow<'static, str>>) -> StanzaError {
    StanzaError::new(Condition::NotAcceptable).with_text(text)
}

/// Makes an account.
async fn make(request: &EarlyRequest) -> Result<(), StanzaError> {
    let EarlyRequest { hub, payload, domain, origin, standing, .. } = request;
    if payload.child("remove", NS).is_some() {
        return Err(StanzaError::new(Condition::UnexpectedRequest)); // §3.2
    }
    if standing.has_registered {
        return Err(not_acceptable("This connection has registered an account already")); // §3.1.1
    }
    let filled = Filled::read(payload);
    let (Some(username), Some(password)) = (filled.username, filled.password) else {
        return Err(not_acceptable("A username and a password are needed")); // Example 7
    };
    let jid =
        account_named(&username, domain).ok_or_else(|| not_acceptable("This username cannot be used"))?;
    let invitation = standing.invitation.as_deref();
    if invitation.and_then(|invitation| invitation.account.as_ref()).is_some_and(|meant| *meant != jid) {
        return Err(not_acceptable("The invitation is for another username"));
    }
    may_ask(request)?;
    // Before the password is hashed, which takes longer. Whether the name is free is decided at last.
    if hub.store.summary(&jid).await?.is_some() {
        return Err(StoreError::Exists.into());
    }
    // Who is invited was counted when the invitation was made.
    let place = match invitation {
        Some(_) => None,
        None => Some(Place::take(hub, *origin).ok_or_else(too_many)?),
    };
    let credentials = hub.credentials(password).await.map_err(no_credentials)?;
    let (maker, invitation) = (hub.clone(), standing.invitation.clone());
    let creation = async move {
        let created = create(&maker, &jid, &credentials, invitation.as_deref()).await;
        if let Some(place) = place.filter(|_| created.is_ok()) {
            place.keep();
        }
        created
    };
    hub.carry_out(creation).await.unwrap_or(Err(StanzaError::new(Condition::InternalServerError)))
}

fn too_many() -> StanzaError {
    StanzaError::new(Condition::ResourceConstraint)
        .with_text("Too many accounts were registered from here: try again later")
}

/// Counts that somebody asks for a name, by the network and by the invitation.
fn may_ask(request: &EarlyRequest) -> Result<(), StanzaError> {
    let EarlyRequest { hub, origin, standing, .. } = request;
    let (now, names) = (hub.clock.elapsed(), names(hub.settings.registration.of_network));
    let token = standing.invitation.as_ref().map(|invitation| invitation.token.clone());
    let may = hub.memory(|asked: &mut Asked| asked.0.count(*origin, now, names))
        && token.is_none_or(|token| hub.memory(|by: &mut AskedBy| by.0.try_take(token, now, NAMES)));
    may.then_some(()).ok_or_else(too_many)
}

/// The place of an account among those that a network may make, given back where none is made.
struct Place {
    hub: Arc<Hub>,
    origin: Origin,
    is_kept: bool,
}

impl Place {
    fn take(hub: &Arc<Hub>, origin: Origin) -> Option<Self> {
        let (now, policy) = (hub.clock.elapsed(), hub.settings.registration.of_network);
        let may = hub.memory(|made: &mut Made| made.0.count(origin, now, policy));
        may.then(|| Self { hub: hub.clone(), origin, is_kept: false })
    }

    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept {
            let policy = self.hub.settings.registration.of_network;
            self.hub.memory(|made: &mut Made| made.0.give_back(self.origin, policy));
        }
    }
}

fn no_credentials(error: NoCredentials) -> StanzaError {
    match error {
        NoCredentials::Refused(why) => not_acceptable(why),
        NoCredentials::Failed => StanzaError::new(Condition::InternalServerError),
    }
}

async fn create(
    hub: &Arc<Hub>,
    jid: &BareJid,
    credentials: &[(String, String)],
    invitation: Option<&Invitation>,
) -> Result<(), StanzaError> {
    let now = hub.clock.now_micros();
    let used = || StanzaError::new(Condition::Forbidden).with_text("The invitation was used");
    let created = match invitation {
        Some(invitation) => {
            let _claim = hub.claim(&invitation.token).ok_or_else(used)?;
            hub.store.create_invited(&invitation.token, jid, credentials, now).await
        }
        None => hub.store.create_distinct(jid, credentials, now).await,
    };
    match created {
        Ok(_) => {
            tracing::info!(account = %jid, is_invited = invitation.is_some(), "an account was registered");
        }
        // Somebody else used the invitation meanwhile.
        Err(StoreError::NotFound) => return Err(used()),
        Err(error) => return Err(error.into()),
    }
    if invitation.is_some_and(|invitation| invitation.inviter.is_some()) {
        // XEP-0401 §5.5: it becomes a contact where it is loaded. The account is there, whatever comes of this.
        match hub.account(jid).await {
            Ok(Some(cell)) => hub.settled(&cell).await,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(account = %jid, %error, "cannot load an account that was registered");
            }
        }
    }
    Ok(())
}

/// §3.1, Example 3: what is on file for who is registered.
fn on_file(request: &Request) -> Answer {
    let name = request.from().local().unwrap_or_default().to_owned();
    let query = Element::builder("query", NS)
        .child(Element::new("registered", NS))
        .child(Element::builder("instructions", NS).text("You may change your password.").build())
        .child(Element::builder("username", NS).text(name).build())
        .child(Element::new("password", NS));
    Ok(Reply::with(query.build()))
}

/// §3.2 and §3.3: what who is registered may change.
async fn change(request: Request) -> Answer {
    let policy = &request.hub.settings.registration;
    let Some(origin) = request.session.clone() else {
        return Err(StanzaError::new(Condition::RegistrationRequired)); // §3.2: it is of another server.
    };
    if request.payload.child("remove", NS).is_some() {
        if request.payload.children().count() != 1 {
            return Err(StanzaError::new(Condition::BadRequest)); // §3.2
        }
        if !policy.deletes_accounts {
            return Err(StanzaError::new(Condition::NotAllowed));
        }
        let hub = request.hub.clone();
        let last_word = result(&request);
        tracing::info!(account = %origin.cell.jid, "a user removes the account");
        let removal = async move { hub.remove_own_account(&origin, last_word).await };
        let removed = request.hub.carry_out(removal).await;
        // Nobody is left to answer to, except where it failed.
        return match removed {
            Some(Ok(())) => Ok(Reply::empty()),
            Some(Err(error)) => Err(error.into()),
            None => Err(StanzaError::new(Condition::InternalServerError)),
        };
    }
    if !policy.changes_passwords {
        return Err(StanzaError::new(Condition::NotAllowed));
    }
    let bad_request = || StanzaError::new(Condition::BadRequest);
    let Filled { username: Some(username), password: Some(password) } = Filled::read(&request.payload) else {
        return Err(bad_request()); // §3.3
    };
    let own = &origin.cell.jid;
    // Example 24 has the whole address in its form.
    let meant = username.parse::<BareJid>().ok().filter(|jid| jid.local().is_some());
    let meant = meant.or_else(|| BareJid::new(Some(&username), own.domain()).ok());
    if meant.as_ref() != Some(own) {
        return Err(bad_request());
    }
    let now = request.hub.clock.elapsed();
    if !request.hub.memory(|changed: &mut Changed| changed.0.try_take(own.clone(), now, CHANGES)) {
        return Err(StanzaError::new(Condition::ResourceConstraint)
            .with_text("The password was changed too often: try again later"));
    }
    let credentials = request.hub.credentials(password).await.map_err(no_credentials)?;
    let (hub, acting) = (request.hub.clone(), origin.clone());
    let changed = request.hub.carry_out(async move {
        let passwords = hub.store.set_credentials(&acting.cell.jid, &credentials).await?;
        hub.password_changed_by(&acting, passwords);
        Ok::<_, StoreError>(())
    });
    match changed.await {
        Some(Ok(())) => {
            tracing::info!(account = %own, "a user has changed the password");
            Ok(Reply::empty())
        }
        Some(Err(error)) => Err(error.into()),
        None => Err(StanzaError::new(Condition::InternalServerError)),
    }
}

/// Example 12.
fn result(request: &Request) -> Element {
    let header = &request.iq.header;
    Element::builder("iq", unisono_core::stanza::NS_CLIENT)
        .attr("type", "result")
        .attr_opt("id", header.id.as_deref())
        .attr_opt("from", header.to.as_ref().map(unisono_core::jid::Jid::as_str))
        .attr("to", header.from.as_str())
        .build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::element;

    #[test]
    fn fields_and_forms_are_read_alike() {
        let of = |username: Option<&str>, password: Option<&str>| Filled {
            username: username.map(str::to_owned),
            password: password.map(str::to_owned),
        };
        let form = "<x xmlns='jabber:x:data' type='submit'>\
            <field var='FORM_TYPE'><value>jabber:iq:register</value></field>\
            <field var='username'><value>juliet</value></field>\
            <field var='password'><value>R0m30</value></field></x>";
        for (query, want) in [
            ("<username>juliet</username><password>R0m30</password>", of(Some("juliet"), Some("R0m30"))),
            ("<username>juliet</username><password/>", of(Some("juliet"), None)), // §3.1: no password is none
            ("<username>juliet</username>", of(Some("juliet"), None)),
            ("<username xmlns='urn:x'>juliet</username>", of(None, None)),
            ("", of(None, None)),
            (form, of(Some("juliet"), Some("R0m30"))),
            (&format!("<username>romeo</username>{form}"), of(Some("juliet"), Some("R0m30"))), // §4, rule 5
            (&form.replace("submit", "cancel"), of(None, None)),
        ] {
            assert_eq!(
                Filled::read(&element(&format!("<query xmlns='{NS}'>{query}</query>"))),
                want,
                "{query}"
            );
        }
    }

    #[test]
    fn a_site_makes_what_a_few_of_its_networks_may() {
        let policy = Allowance { burst: 2, every: Duration::from_secs(10) };
        let mut made = Done::default();
        let mut counted = |network: &str, site: Option<&str>| {
            let site = site.map(|site| site.parse().unwrap());
            made.count(Origin { network: network.parse().unwrap(), site }, Duration::ZERO, policy)
        };
        assert_eq!([1, 2, 3].map(|_| counted("192.0.2.1", None)), [true, true, false]);
        let site = Some("2001:db8:7::");
        let networks = (0..30).map(|n| counted(&format!("2001:db8:7:{n}::"), site));
        assert_eq!(networks.filter(|may| *may).count(), 16);
        assert!(counted("2001:db8:8::", Some("2001:db8:8::")));
        let site = Some("2001:db8:7::".parse().unwrap());
        made.give_back(Origin { network: "2001:db8:7:1::".parse().unwrap(), site }, policy);
        let mut counted = |network: &str| {
            made.count(Origin { network: network.parse().unwrap(), site }, Duration::ZERO, policy)
        };
        assert_eq!([1, 2].map(|_| counted("2001:db8:7:1::")), [true, false]);
    }

    #[test]
    fn the_name_of_an_invitation_is_filled_in() {
        let invitation = Invitation {
            token: String::new(),
            domain: None,
            account: Some("juliet@example.org".parse().unwrap()),
            inviter: None,
            maker: None,
            created_at: 0,
            expires_at: 0,
        };
        let name = |query: &Element| query.child("username", NS).unwrap().text().into_owned();
        assert_eq!(name(&fields(Some(&invitation))), "juliet"); // XEP-0445 §2.1
        assert_eq!(name(&fields(None)), "");
    }
}
