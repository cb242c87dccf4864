//! §7: items are published and deleted.

use compact_str::CompactString;
use unisono_core::account::Account;
use unisono_core::error::{Condition, ErrorType, StanzaError};
use unisono_core::extension::{Answer, Reply};
use unisono_core::ids::LogPosition;
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_xml::Element;

use super::change::{self, Decision, Undecided};
use super::config::{Config, NodeFull, PAYLOAD_BYTES_MAX};
use super::errors::{bad, error, forbidden, malformed, not_found, precondition_not_met, unsupported};
use super::node::{Affiliation, Entry, Node};
use super::step::{Step, What};
use super::{Ask, NS, access, budget, manage, named};
use crate::xep0004_forms::{self as forms, Submitted};
use crate::xep0395_compare_and_publish as cap;

/// §7.1.5
pub(super) const NS_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";

/// What a request publishes.
struct Publication {
    /// Its id, if the publisher has one for it, and its payload, if it has one.
    item: Option<(Option<CompactString>, Option<Element>)>,
    options: Option<Submitted>,
    /// Bytes of its payload.
    bytes: usize,
}

impl Publication {
    fn read(ask: &Ask) -> Result<Self, StanzaError> {
        let mut items = ask.action.children().filter(|child| child.is("item", NS));
        let (item, None) = (items.next(), items.next()) else {
            return Err(malformed("one item at a time")); // §7.1.1
        };
        let item = item.map(|item| {
            let mut payloads = item.children();
            let (payload, None) = (payloads.next(), payloads.next()) else {
                return Err(bad("invalid-payload")); // §7.1.3.6
            };
            let id = item.attr("id").filter(|id| !id.is_empty()).map(named).transpose()?;
            Ok((id.map(CompactString::from), payload.cloned()))
        });
        let options = ask.beside("publish-options").and_then(|options| options.child("x", forms::NS));
        let options = options.map(|form| Submitted::parse(form, NS_OPTIONS));
        let options = options.map(|form| form.ok_or_else(|| malformed("the options are no form for that")));
        let item = item.transpose()?;
        let payload = item.as_ref().and_then(|(_, payload)| payload.as_ref());
        let bytes = payload.map_or(0, |payload| payload.to_string_in(&CLIENT_SCOPE).len());
        Ok(Self { item, options: options.transpose()?, bytes })
    }

    /// §4.3 and §7.1.3.7: whether it is what the node takes.
    fn fits(&self, config: &Config) -> Result<(), StanzaError> {
        match &self.item {
            Some(_) if !config.persist_items && !config.deliver_payloads => Err(bad("item-forbidden")),
            None if !config.persist_items && !config.deliver_payloads => Ok(()),
            None => Err(bad("item-required")),
            Some((_, None)) if config.deliver_payloads => Err(bad("payload-required")),
            Some((_, Some(payload)))
                if payload.is_longer_than(
                    config.max_payload_size.min(PAYLOAD_BYTES_MAX) as usize,
                    &CLIENT_SCOPE,
                ) =>
            {
                Err(error(Condition::NotAcceptable, "payload-too-big"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// §7.1
pub(super) async fn publish(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let publication = Publication::read(ask)?;
    let hub = &ask.request.hub;
    // An id that is asked for again when the decision is made again.
    let id = publication.item.as_ref().map(|(id, _)| id.clone().unwrap_or_else(|| hub.random_name().into()));
    let ticket = change::make(hub, &ask.cell, ask.request.from(), |account, seen| {
        let step = judge(ask, account, name, &publication, id.as_ref())?;
        Ok(Decision {
            steps: change::follow(hub, account, seen, ask.request.session.as_ref(), step)?,
            writes: Vec::new(),
        })
    });
    let ticket = ticket.await?;
    let item = id.map(|id| Element::builder("item", NS).attr("id", id).build());
    let answer = Element::builder("publish", NS).attr("node", name).child_opt(item).build();
    let reply = Reply::with(Element::builder("pubsub", NS).child(answer).build());
    Ok(reply.after(ticket))
}

fn judge(
    ask: &Ask,
    account: &Account,
    name: &str,
    publication: &Publication,
    id: Option<&CompactString>,
) -> Result<Step, Undecided> {
    let new = node_to_make(ask, account, name, publication)?;
    let node = new.as_ref().or_else(|| account.keyed(name)).ok_or_else(not_found)?;
    let config = &node.meta.config;
    publication.fits(config)?;
    if let Some(seen) = publication.options.as_ref().and_then(|options| options.value(cap::OPTION)) {
        must_be_last(ask, node, name, seen)?;
    }
    let what = match (id, &publication.item) {
        (Some(id), Some((_, payload))) => {
            if config.persist_items {
                budget::has_room(&ask.request.hub, account, publication.bytes.saturating_add(id.len()))?;
            }
            let gone = match &node.items {
                Some(known) => {
                    displaced(known, config, id, expires(config, ask.request.hub.clock.now_micros()))?
                }
                None if config.persist_items => return Err(Undecided::Unknown(name.into())),
                None => Vec::new(),
            };
            What::Published { id: id.clone(), payload: payload.clone(), gone }
        }
        (None, _) | (_, None) => What::Happened,
    };
    Ok(Step { node: name.into(), new, what })
}

/// XEP-0395 §3.2: nothing came between what the publisher saw and this.
fn must_be_last(ask: &Ask, node: &Node, name: &str, seen: &str) -> Result<(), Undecided> {
    let known = match &node.items {
        Some(known) => known.as_slice(),
        None if node.meta.config.persist_items => return Err(Undecided::Unknown(name.into())),
        None => &[],
    };
    let (hub, account) = (&ask.request.hub, ask.cell.id);
    let last = known.last().map(|entry| entry.position);
    if cap::is_last(hub, account, last, seen) {
        return Ok(());
    }
    let error = precondition_not_met().with_type(ErrorType::Modify);
    Err(cap::failed(hub, account, last, error).into())
}

/// Judges who publishes. A node that is not there is made (§7.1.4), with what is required of it (§7.1.5); one that is
/// there has to be as required.
fn node_to_make(
    ask: &Ask,
    account: &Account,
    name: &str,
    publication: &Publication,
) -> Result<Option<Node>, StanzaError> {
    if let Some(node) = account.keyed::<Node>(name) {
        access::may_publish(account, &node.meta, &ask.who)?;
        if let Some(options) = &publication.options {
            node.meta.config.must_meet(options)?;
        }
        return Ok(None);
    }
    if !manage::may_create(&ask.request.hub, account, &ask.who) {
        return Err(not_found());
    }
    let config = match &publication.options {
        Some(options) => Config::of_owner(account.jid()).with_options(options)?.suits(account.jid())?,
        None => Config::of_owner(account.jid()),
    };
    manage::new_node(account, ask.who.clone(), ask.request.hub.clock.now_micros(), config).map(Some)
}

/// Items that were published before this have expired.
pub(super) fn expires(config: &Config, now: i64) -> Option<LogPosition> {
    let micros = i64::from(config.item_expire?).saturating_mul(1_000_000);
    Some(LogPosition(now.saturating_sub(micros)))
}

/// §7.1.2.5: the items that make room for one with this id, oldest first.
///
/// # Errors
///
/// `node-full` if none may (§7.1.3.4).
pub(super) fn displaced(
    known: &[Entry],
    config: &Config,
    id: &str,
    oldest: Option<LogPosition>,
) -> Result<Vec<CompactString>, StanzaError> {
    let has_expired = |entry: &&Entry| oldest.is_some_and(|oldest| entry.position < oldest);
    let others: Vec<_> = known.iter().filter(|entry| entry.id != id).collect();
    let expired = others.iter().take_while(|entry| has_expired(entry)).count();
    let room = (config.max_items as usize).saturating_sub(1);
    let over = others.len().saturating_sub(expired).saturating_sub(room);
    if over > 0 && config.publish_node_full == NodeFull::Reject {
        return Err(error(Condition::Conflict, "node-full"));
    }
    Ok(others.into_iter().take(expired.saturating_add(over)).map(|entry| entry.id.clone()).collect())
}

/// §7.2
pub(super) async fn retract(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let mut items = ask.action.children().filter(|child| child.is("item", NS));
    let (Some(item), None) = (items.next(), items.next()) else { return Err(bad("item-required")) };
    let id = item.attr("id").filter(|id| !id.is_empty()).ok_or_else(|| bad("item-required"))?; // §7.2.3.4
    let hub = &ask.request.hub;
    let ticket = change::make(hub, &ask.cell, ask.request.from(), |account, seen| {
        let step = judge_retraction(ask, account, name, id)?;
        Ok(Decision {
            steps: change::follow(hub, account, seen, ask.request.session.as_ref(), step)?,
            writes: Vec::new(),
        })
    });
    Ok(Reply::empty().after(ticket.await?))
}

fn judge_retraction(ask: &Ask, account: &Account, name: &str, id: &str) -> Result<Step, Undecided> {
    let node = account.keyed::<Node>(name).ok_or_else(not_found)?;
    let affiliation = access::affiliation(account, &node.meta, &ask.who);
    if affiliation != Affiliation::Owner {
        access::may_publish(account, &node.meta, &ask.who)?;
    }
    if !node.meta.config.persist_items {
        return Err(unsupported("persistent-items").into()); // §7.2.3.5
    }
    let Some(known) = &node.items else { return Err(Undecided::Unknown(name.into())) };
    let entry = known.iter().find(|entry| entry.id == id).ok_or_else(not_found)?; // §7.2.3.2
    let is_own = entry.publisher.as_ref().unwrap_or(account.jid()) == &ask.who;
    if affiliation != Affiliation::Owner && !is_own {
        return Err(forbidden().into()); // §4.1, note
    }
    let notify = ask.action.attr("notify").and_then(super::config::flag);
    let is_told = notify == Some(true) || node.meta.config.notify_retract; // §7.2.2.1
    Ok(Step { node: name.into(), new: None, what: What::Retracted { id: id.into(), is_told } })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_makes_room() {
        let known: Vec<_> = (1..=3)
            .map(|n| Entry { id: format!("{n}").into(), position: LogPosition(n * 10), publisher: None })
            .collect();
        for (max_items, full, id, expires, want) in [
            (3, NodeFull::RetractOldest, "4", None, Some(vec!["1"])), // §7.1.2.5
            (3, NodeFull::RetractOldest, "2", None, Some(vec![])),
            (4, NodeFull::RetractOldest, "4", None, Some(vec![])),
            (1, NodeFull::DiscardOldest, "4", None, Some(vec!["1", "2", "3"])),
            (1, NodeFull::DiscardOldest, "3", None, Some(vec!["1", "2"])),
            (3, NodeFull::Reject, "4", None, None), // §7.1.3.4
            (3, NodeFull::Reject, "3", None, Some(vec![])),
            (3, NodeFull::Reject, "4", Some(15), Some(vec!["1"])),
            (10, NodeFull::RetractOldest, "4", Some(25), Some(vec!["1", "2"])),
        ] {
            let config = Config { max_items, publish_node_full: full, ..Config::default() };
            let gone = displaced(&known, &config, id, expires.map(LogPosition)).ok();
            let gone = gone.map(|gone| gone.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(
                gone,
                want.map(|want| want.iter().map(ToString::to_string).collect()),
                "{max_items} {id}"
            );
        }
    }
}
