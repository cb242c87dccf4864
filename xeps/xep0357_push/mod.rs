//! # XEP-0357: Push Notifications
//!
//! Follows 0.4.1 (2020-02-11). A device that sleeps is woken by the service of its app when something came that matters.
//!
//! - Stage: `record`, and each second. State: the services of each device, kept with the account and gone in the commit in
//!   which the device goes (XEP-0494); what waits for a device, in memory: the log behind its cursor gives it back.
//! - What is pushed is a function of cursor and log: what matters ([`matters`] says in one place what that is), is behind
//!   what the device has and behind what the owner has read anywhere (XEP-0490), and was not pushed before. The same after a
//!   restart. What no log keeps, such as messages of rooms, counts as long as it waits for the session of the device.
//! - A device sleeps if it has no connection; if nobody looks at it (XEP-0352) and it does not acknowledge within
//!   3 seconds; if it does not acknowledge within 20.
//! - Ours: what comes within a second or two is one push. There is one at a time for each service of a device, until it is
//!   answered, or silent for a minute; then the next message that matters is pushed again. After 16 pushes that the device
//!   did not come for, one a minute: nobody can have a stranger flooded.
//! - Ours: errors that pass (§7.1; no way to the domain, silence, all of type `wait`) are tried again, after 5 seconds and
//!   twice as long each time, at most six hours, for two days; after a success all is forgotten. Any other error ends the
//!   registration, and so does the service that takes the right to publish away (§8).
//! - Ours: a push tells how many messages wait, and neither who sent them nor what they say (§9). They are counted since
//!   the account was last needed.
//! - Ours: a device that the account's password does not let in any more is not woken until it has logged in again.
//! - Ours: the `from` of a push is the domain. An address of this server is no service (`not-acceptable`).
//! - Left out: `pending-subscription-count` (§11.3.1): requests to subscribe wake nobody.

mod duty;
mod matters;
mod publication;
mod registration;
#[cfg(test)]
mod tests;
mod waiting;

use unisono_core::account::Account;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::jid::Jid;
use unisono_core::session::Session;
use unisono_core::stanza::IqType;
use unisono_core::storage::{DeviceRecord, Write};

use duty::Duty;
use registration::{Options, Registration};

pub const NS: &str = "urn:xmpp:push:0";
/// §7: the form that tells what waits.
pub const NS_SUMMARY: &str = "urn:xmpp:push:summary";

/// Services of one device; with one more, that goes which was enabled first: an app that gets a new node does not always
/// give the old one up.
const OF_DEVICE_MAX: usize = 4;
/// Services of one account.
const OF_ACCOUNT_MAX: usize = 32;
/// Bytes of the name of a node.
const NODE_BYTES_MAX: usize = 1024;

pub struct Push;

impl Extension for Push {
    fn spec(&self) -> Spec {
        Spec::xep(357, "0.4.1")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::OwnAccount, NS);
        on.keyed_state::<Registration>().server_state::<Duty>();
        on.iq(Entity::OwnAccount, IqType::Set, (NS, "enable"), enable);
        on.iq(Entity::OwnAccount, IqType::Set, (NS, "disable"), disable);
        on.forbid_others((NS, "enable")).forbid_others((NS, "disable"));
        on.follow(duty::follow).sweep(duty::sweep).begin(|hub| Box::pin(duty::begin(hub)));
        on.device_ended(end);
    }
}

/// §5 and §6: the service that a request is about, and its node.
fn service(request: &Request) -> Result<(Jid, Option<&str>), StanzaError> {
    let jid = request.payload.attr("jid").ok_or(StanzaError::new(Condition::BadRequest))?;
    let jid = jid.parse().map_err(|_| StanzaError::new(Condition::JidMalformed))?;
    let node = request.payload.attr("node");
    if node.is_some_and(|node| node.len() > NODE_BYTES_MAX) {
        return Err(StanzaError::new(Condition::NotAcceptable).with_text("the name of the node is too long"));
    }
    Ok((jid, node))
}

/// §5
fn enable(request: &Request) -> Answer {
    let (jid, node) = service(request)?;
    if request.hub.serves(jid.domain()) || request.hub.hosted(jid.domain()).is_some() {
        return Err(StanzaError::new(Condition::NotAcceptable).with_text("this is no push service"));
    }
    let options = Options::of(&request.payload)?;
    let origin = request.session.as_ref().ok_or(StanzaError::new(Condition::Forbidden))?;
    let mut account = request.account()?;
    let device = account.session(origin.id).map(Session::device);
    let device = device.filter(|device| account.device(*device).is_some());
    let device = device.ok_or(StanzaError::new(Condition::UnexpectedRequest))?;
    let key = registration::key(&jid, node);
    let mut writes = Vec::new();
    let registration = match account.keyed::<Registration>(&key) {
        // "the server SHOULD use the last received request"
        Some(known) if known.is_of(device, &options) => {
            return Ok(Reply::empty().after(account.last_ticket()));
        }
        Some(known) => known.clone().again(device, options),
        None => {
            make_room(&mut account, device, &mut writes)?;
            let now = request.hub.clock.now_micros();
            Registration::new(device, options, account.next_position(now), account.head())
        }
    };
    account.set_keyed(&key, Some(registration), &mut writes);
    Ok(Reply::empty().after(request.hub.commit(&mut account, writes)))
}

/// One more fits, for this device and for the account.
fn make_room(
    account: &mut Account,
    device: unisono_core::ids::DeviceId,
    writes: &mut Vec<Write>,
) -> Result<(), StanzaError> {
    let all = account.all_keyed::<Registration>();
    let mut own: Vec<_> = all
        .filter(|(_, known)| known.device == device)
        .map(|(key, known)| (known.since, key.clone()))
        .collect();
    if own.len() < OF_DEVICE_MAX {
        let count = account.all_keyed::<Registration>().count();
        let is_room = count < OF_ACCOUNT_MAX;
        return is_room.then_some(()).ok_or(StanzaError::new(Condition::ResourceConstraint));
    }
    own.sort_unstable();
    let over = own.len().saturating_sub(OF_DEVICE_MAX).saturating_add(1);
    for (_, key) in own.into_iter().take(over) {
        account.set_keyed::<Registration>(&key, None, writes);
    }
    Ok(())
}

/// §6: one node of a service, or all that the user has enabled there, whichever device it was for.
fn disable(request: &Request) -> Answer {
    let (jid, node) = service(request)?;
    let mut account = request.account()?;
    let is_meant = |key: &str| match node {
        Some(_) => key == registration::key(&jid, node),
        None => registration::address(key).is_some_and(|(known, _)| known == jid),
    };
    let mut writes = Vec::new();
    remove(&mut account, |key, _| is_meant(key), &mut writes);
    Ok(Reply::empty().after(request.hub.commit(&mut account, writes)))
}

/// With a device, all that would wake it goes.
fn end(account: &mut Account, device: &DeviceRecord, writes: &mut Vec<Write>) {
    remove(account, |_, known| known.device == device.id, writes);
}

/// Removes the services of an account for which this is true.
fn remove(account: &mut Account, is_meant: impl Fn(&str, &Registration) -> bool, writes: &mut Vec<Write>) {
    let all = account.all_keyed::<Registration>();
    let gone: Vec<_> = all.filter(|(key, known)| is_meant(key, known)).map(|(key, _)| key.clone()).collect();
    for key in gone {
        account.set_keyed::<Registration>(&key, None, writes);
    }
}
