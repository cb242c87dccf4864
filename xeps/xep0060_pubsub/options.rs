//! §6.3 and §6.4: the options of a subscription.

use unisono_core::error::StanzaError;
use unisono_core::extension::{Answer, Reply};
use unisono_core::jid::Jid;
use unisono_xml::Element;

use super::config::flag;
use super::errors::{bad, forbidden, malformed, not_found, not_subscribed};
use super::node::{Meta, Node, State};
use super::{Ask, NS, access, manage};
use crate::xep0004_forms::{self as forms, Submitted};

const NS_SUBSCRIBE_OPTIONS: &str = "http://jabber.org/protocol/pubsub#subscribe_options";
const DELIVER: &str = "pubsub#deliver";

/// Whether to deliver, as options say that somebody filled in.
///
/// # Errors
///
/// `invalid-options` (§6.3.6.2)
pub(super) fn read(options: &Element) -> Result<bool, StanzaError> {
    let form = options.child("x", forms::NS).ok_or_else(|| malformed("there is no form"))?;
    let form = Submitted::parse(form, NS_SUBSCRIBE_OPTIONS).ok_or_else(|| bad("invalid-options"))?;
    form.value(DELIVER).map_or(Ok(true), |value| flag(value).ok_or_else(|| bad("invalid-options")))
}

fn form(deliver: bool) -> Element {
    let deliver = forms::field(DELIVER, "boolean", [if deliver { "1" } else { "0" }]);
    let deliver = deliver.to_builder().attr("label", "Whether to be notified").build();
    forms::form("form", NS_SUBSCRIBE_OPTIONS).child(deliver).build()
}

/// Whose subscription is meant, and the node's state with it.
fn found<'a>(ask: &Ask, node: &'a Node) -> Result<(Jid, &'a Meta, bool), StanzaError> {
    let jid = ask.action.attr("jid").ok_or_else(|| bad("jid-required"))?; // §6.3.4.3
    let jid: Jid = jid.parse().map_err(|_| bad("invalid-jid"))?;
    if jid.to_bare() != ask.who {
        return Err(forbidden()); // §6.3.4.1
    }
    let subscription = node.meta.subscriptions.get(&jid);
    let subscription = subscription.filter(|found| found.state == State::Subscribed);
    let deliver = subscription.ok_or_else(not_subscribed)?.deliver; // §6.3.4.2
    Ok((jid, &node.meta, deliver))
}

/// §6.3.2
pub(super) fn show(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let account = ask.cell.lock();
    let node = account.keyed::<Node>(name).ok_or_else(not_found)?;
    let (jid, _, deliver) = found(ask, node)?;
    let options = Element::builder("options", NS).attr("node", name).attr("jid", jid.as_str());
    let options = options.child(form(deliver)).build();
    Ok(Reply::with(Element::builder("pubsub", NS).child(options).build()).after(account.last_ticket()))
}

/// §6.3.5
pub(super) fn set(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let _order = ask.cell.publishing();
    let mut account = ask.cell.lock();
    let node = account.keyed::<Node>(name).ok_or_else(not_found)?;
    let (jid, meta, _) = found(ask, node)?;
    let wanted = ask.action.child("x", forms::NS);
    if wanted.is_some_and(|form| form.attr("type") == Some("cancel")) {
        return Ok(Reply::empty());
    }
    let deliver = read(&ask.action)?;
    let mut meta = meta.clone();
    meta.subscriptions.entry(jid).and_modify(|found| found.deliver = deliver);
    let mut writes = Vec::new();
    manage::replace(&mut account, name, meta, &mut writes)?;
    let ticket = ask.request.hub.commit(&mut account, writes);
    Ok(Reply::empty().after(ticket))
}

/// §6.4
pub(super) fn default(ask: &Ask) -> Answer {
    let name = ask.action.attr("node").filter(|name| !name.is_empty());
    let account = ask.cell.lock();
    match name {
        Some(name) => {
            let node = account.keyed::<Node>(name).ok_or_else(not_found)?;
            access::may_subscribe(&account, &node.meta, &ask.who)?;
        }
        None if access::knows_account(&account, &ask.who) => {}
        None => return Err(not_found()),
    }
    let default = Element::builder("default", NS).attr_opt("node", name).child(form(true)).build();
    Ok(Reply::with(Element::builder("pubsub", NS).child(default).build()))
}
