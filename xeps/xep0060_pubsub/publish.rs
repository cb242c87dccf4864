//! §7: items are published and deleted.

use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::account::Account;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Reply};
use unisono_core::ids::LogPosition;
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_core::storage::{KEEP_ALL, NodeItem, Write};
use unisono_xml::Element;

use super::config::{Config, NodeFull, PAYLOAD_BYTES_MAX};
use super::errors::{bad, error, forbidden, malformed, not_found, unsupported};
use super::node::{Affiliation, Entry, Node};
use super::notify::{Event, publisher_of, tell};
use super::{Ask, NS, NS_EVENT, access, items, manage, named};
use crate::xep0004_forms::{self as forms, Submitted};

/// §7.1.5
const NS_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";

/// What a request publishes.
struct Publication {
    /// Its id, if the publisher has one for it, and its payload, if it has one.
    item: Option<(Option<CompactString>, Option<Element>)>,
    options: Option<Submitted>,
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
        Ok(Self { item: item.transpose()?, options: options.transpose()? })
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

/// What came of an attempt.
enum Outcome {
    Done(Reply),
    /// It is not known which items the node has.
    Unknown,
}

/// §7.1
pub(super) async fn publish(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let publication = Publication::read(ask)?;
    loop {
        match publish_now(ask, name, &publication)? {
            Outcome::Done(reply) => return Ok(reply),
            Outcome::Unknown => items::know(&ask.request.hub, &ask.cell, name).await?,
        }
    }
}

fn publish_now(ask: &Ask, name: &str, publication: &Publication) -> Result<Outcome, StanzaError> {
    let hub = &ask.request.hub;
    let _order = ask.cell.publishing();
    let mut account = ask.cell.lock();
    let new = node_to_make(ask, &account, name, publication)?;
    let Some(node) = new.as_ref().or_else(|| account.keyed(name)) else { return Err(not_found()) };
    let (meta, config) = (node.meta.clone(), &node.meta.clone().config);
    publication.fits(config)?;
    let now = hub.clock.now_micros();
    let id = publication.item.as_ref().map(|(id, _)| id.clone().unwrap_or_else(|| hub.random_name().into()));
    let gone = match &id {
        Some(id) if config.persist_items => match &node.items {
            Some(known) => displaced(known, config, id, expires(config, now))?,
            None => return Ok(Outcome::Unknown),
        },
        Some(_) | None => Vec::new(),
    };
    let position = account.next_position(now);
    let mut writes = Vec::new();
    if let Some(new) = new {
        account.set_keyed(name, Some(new), &mut writes);
    }
    let publisher = ask.request.from();
    let entry = id.clone().filter(|_| config.persist_items).map(|id| {
        let by = Some(ask.who.clone()).filter(|who| who != account.jid());
        Entry { id, position, publisher: by }
    });
    let payload = publication.item.as_ref().and_then(|(_, payload)| payload.as_ref());
    if let Some(entry) = &entry {
        let text = payload.map(|payload| payload.to_string_in(&CLIENT_SCOPE)).unwrap_or_default();
        let item =
            NodeItem { id: entry.id.clone(), position, publisher: Some(publisher.clone()), payload: text };
        let account = account.id();
        writes.push(Write::Item { account, node: name.into(), item: Arc::new(item), keep: KEEP_ALL });
        let retracted =
            gone.iter().map(|id| Write::ItemRetracted { account, node: name.into(), id: id.clone() });
        writes.extend(retracted);
    }
    if let Some(node) = account.keyed_mut::<Node>(name) {
        node.changed = position;
        if let Some((known, entry)) = node.items.as_mut().zip(entry) {
            known.retain(|old| old.id != entry.id && !gone.contains(&old.id));
            known.push(entry);
        }
    }
    let mut events = retractions(name, config, &gone);
    events.push(match &id {
        Some(id) => {
            let by = publisher_of(config, &ask.cell.jid, Some(publisher));
            let item = Element::builder("item", NS_EVENT).attr("id", id.as_str()).attr_opt("publisher", by);
            let payload = payload.filter(|_| config.deliver_payloads).cloned();
            Event::published(name, config, id, item.child_opt(payload).build())
        }
        None => Event::happened(name),
    });
    let ticket = hub.commit(&mut account, writes);
    let telling = tell(hub, &ask.cell, &mut account, name, &meta, (events, ticket));
    drop(account);
    telling.go_on();
    let item = id.map(|id| Element::builder("item", NS).attr("id", id).build());
    let answer = Element::builder("publish", NS).attr("node", name).child_opt(item).build();
    let reply = Reply::with(Element::builder("pubsub", NS).child(answer).build());
    Ok(Outcome::Done(reply.after(ticket)))
}

/// §7.1.2.5: what is told of items that made room. Where each item takes the place of the last, nothing is.
fn retractions(name: &str, config: &Config, gone: &[CompactString]) -> Vec<Event> {
    let is_told = config.publish_node_full == NodeFull::RetractOldest
        && config.notify_retract
        && !config.is_singleton();
    gone.iter().filter(|_| is_told).map(|id| Event::retracted(name, config, id)).collect()
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
    if !manage::may_create(account, &ask.who) {
        return Err(not_found());
    }
    let config = match &publication.options {
        Some(options) => Config::default().with_options(options)?,
        None => Config::default(),
    };
    manage::new_node(ask, account, config).map(Some)
}

/// Items that were published before this have expired.
fn expires(config: &Config, now: i64) -> Option<LogPosition> {
    let micros = i64::from(config.item_expire?).saturating_mul(1_000_000);
    Some(LogPosition(now.saturating_sub(micros)))
}

/// §7.1.2.5: the items that make room for one with this id, oldest first.
///
/// # Errors
///
/// `node-full` if none may (§7.1.3.4).
fn displaced(
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
    loop {
        match retract_now(ask, name, id)? {
            Outcome::Done(reply) => return Ok(reply),
            Outcome::Unknown => items::know(&ask.request.hub, &ask.cell, name).await?,
        }
    }
}

fn retract_now(ask: &Ask, name: &str, id: &str) -> Result<Outcome, StanzaError> {
    let hub = &ask.request.hub;
    let _order = ask.cell.publishing();
    let mut account = ask.cell.lock();
    let node = account.keyed::<Node>(name).ok_or_else(not_found)?;
    let meta = node.meta.clone();
    let affiliation = access::affiliation(&account, &meta, &ask.who);
    if affiliation != Affiliation::Owner {
        access::may_publish(&account, &meta, &ask.who)?;
    }
    if !meta.config.persist_items {
        return Err(unsupported("persistent-items")); // §7.2.3.5
    }
    let Some(known) = &node.items else { return Ok(Outcome::Unknown) };
    let entry = known.iter().find(|entry| entry.id == id).ok_or_else(not_found)?; // §7.2.3.2
    let is_own = entry.publisher.as_ref().unwrap_or(account.jid()) == &ask.who;
    if affiliation != Affiliation::Owner && !is_own {
        return Err(forbidden()); // §4.1, note
    }
    let notify = ask.action.attr("notify").and_then(super::config::flag);
    let writes =
        vec![Write::ItemRetracted { account: account.id(), node: name.into(), id: CompactString::from(id) }];
    let changed = account.next_position(hub.clock.now_micros());
    if let Some(node) = account.keyed_mut::<Node>(name) {
        node.changed = changed;
        node.items.iter_mut().for_each(|known| known.retain(|entry| entry.id != id));
    }
    let ticket = hub.commit(&mut account, writes);
    let is_told = notify == Some(true) || meta.config.notify_retract; // §7.2.2.1
    let events = is_told.then(|| Event::retracted(name, &meta.config, id)).into_iter().collect();
    let telling = tell(hub, &ask.cell, &mut account, name, &meta, (events, ticket));
    drop(account);
    telling.go_on();
    Ok(Outcome::Done(Reply::empty().after(ticket)))
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
