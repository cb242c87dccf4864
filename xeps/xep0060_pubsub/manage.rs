//! §8.1 to §8.5: nodes are created, configured, purged and deleted.

use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::account::Account;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Reply};
use unisono_core::hub::Hub;
use unisono_core::jid::BareJid;
use unisono_core::storage::Write;
use unisono_xml::Element;

use super::config::{Config, NS_CONFIG};
use super::errors::{forbidden, malformed, not_found, too_much, unsupported};
use super::node::{Affiliation, Meta, Node, is_service, room};
use super::notify::{Event, tell};
use super::{Ask, NS, NS_EVENT, NS_OWNER, access, change, items, named};
use crate::xep0004_forms::{self as forms, Submitted};

/// Who may create nodes: the owner of the account; of a service, whom the operator lets.
pub(super) fn may_create(hub: &Hub, account: &Account, who: &BareJid) -> bool {
    who == account.jid() || (is_service(account.jid()) && hub.may_make(account.jid(), who))
}

/// A node with this configuration, if there is room for one more.
pub(super) fn new_node(
    account: &Account,
    creator: BareJid,
    now: i64,
    config: Config,
) -> Result<Node, StanzaError> {
    let room = room(account.jid());
    let own = account.all_keyed::<Node>().filter(|(_, node)| node.meta.creator == creator).count();
    if account.all_keyed::<Node>().count() >= room.nodes || own >= room.nodes_of_one {
        return Err(too_much("there are too many nodes"));
    }
    let mut meta = Meta::new(config, creator.clone(), now);
    if creator != *account.jid() {
        meta.affiliations.insert(creator, Affiliation::Owner); // §8.1.2
    }
    let meta = Arc::new(meta);
    has_room(account, None, &meta)?;
    Ok(Node { meta, items: Some(Vec::new()), changed: account.head() })
}

/// Whether what is kept of a node is not too much, alone and with all others. `old` is what it takes the place of.
fn has_room(account: &Account, old: Option<&Meta>, new: &Meta) -> Result<(), StanzaError> {
    let bytes = new.bytes();
    if old.is_some_and(|old| bytes <= old.bytes()) {
        return Ok(());
    }
    let all = account.all_keyed::<Node>().map(|(_, node)| node.meta.bytes());
    let all = all.fold(bytes, usize::saturating_add).saturating_sub(old.map_or(0, Meta::bytes));
    let room = room(account.jid());
    if bytes > room.node_bytes || all > room.all_bytes {
        return Err(too_much("too much is kept of the nodes"));
    }
    Ok(())
}

/// The node, for one of its owners.
pub(super) fn owned<'a>(ask: &Ask, account: &'a Account, name: &str) -> Result<&'a Node, StanzaError> {
    let node = account.keyed::<Node>(name).ok_or_else(not_found)?;
    match access::affiliation(account, &node.meta, &ask.who) {
        Affiliation::Owner => Ok(node),
        Affiliation::Publisher
        | Affiliation::PublishOnly
        | Affiliation::Member
        | Affiliation::None
        | Affiliation::Outcast => Err(forbidden()),
    }
}

/// Replaces what is kept of a node, and adds the write for it.
pub(super) fn replace(
    account: &mut Account,
    name: &str,
    meta: Meta,
    writes: &mut Vec<Write>,
) -> Result<Arc<Meta>, StanzaError> {
    let Some(node) = account.keyed::<Node>(name) else { return Err(not_found()) };
    has_room(account, Some(&node.meta), &meta)?;
    let meta = Arc::new(meta);
    let node = Node { meta: meta.clone(), ..node.clone() };
    account.set_keyed(name, Some(node), writes);
    Ok(meta)
}

/// §8.1
pub(super) fn create(ask: &Ask) -> Answer {
    let hub = &ask.request.hub;
    let name = ask.action.attr("node").filter(|name| !name.is_empty()).map(named).transpose()?;
    let is_instant = name.is_none();
    let name = name.map_or_else(|| hub.random_name(), str::to_owned);
    let form = match ask.beside("configure") {
        Some(configure)
            if configure.attr("node").is_some() || ask.request.payload.first_child() == Some(configure) =>
        {
            return Err(malformed("the configuration comes after the node, which it does not name")); // §8.1.3
        }
        Some(configure) => configure.child("x", forms::NS),
        None => None,
    };
    let form = form
        .map(|form| Submitted::parse(form, NS_CONFIG).ok_or_else(|| malformed("that is no configuration")));
    let form = form.transpose()?;
    let _order = ask.cell.publishing();
    let mut account = ask.cell.lock();
    if !may_create(hub, &account, &ask.who) {
        return Err(forbidden());
    }
    if account.keyed::<Node>(&name).is_some() {
        return Err(StanzaError::new(Condition::Conflict));
    }
    let config = Config::of_owner(account.jid());
    let config = form.map(|form| config.with(&form)).transpose()?.unwrap_or(config).suits(account.jid())?;
    let now = hub.clock.now_micros();
    let node = new_node(&account, ask.who.clone(), now, config)?;
    let mut writes = Vec::new();
    let changed = account.next_position(now);
    account.set_keyed(&name, Some(Node { changed, ..node }), &mut writes);
    let ticket = hub.commit(&mut account, writes);
    let create = Element::builder("create", NS).attr("node", name).build();
    let made = is_instant.then(|| Element::builder("pubsub", NS).child(create).build());
    Ok(Reply { payload: made, ..Reply::empty() }.after(ticket))
}

/// §8.2.1
pub(super) fn configuration(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let account = ask.cell.lock();
    let form = owned(ask, &account, name)?.meta.config.form("form", account.jid());
    let configure = Element::builder("configure", NS_OWNER).attr("node", name).child(form).build();
    let reply = Reply::with(Element::builder("pubsub", NS_OWNER).child(configure).build());
    Ok(reply.after(account.last_ticket()))
}

/// §8.2.4
pub(super) async fn configure(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let form = ask.action.child("x", forms::NS).ok_or_else(|| malformed("there is no form"))?;
    let is_cancelled = form.attr("type") == Some("cancel");
    let form = Submitted::parse(form, NS_CONFIG);
    loop {
        match configure_now(ask, name, form.as_ref(), is_cancelled)? {
            Some(reply) => return Ok(reply),
            None => items::know(&ask.request.hub, &ask.cell, name).await?,
        }
    }
}

/// `None` if it is not known which items the node has, and some may have to go.
fn configure_now(
    ask: &Ask,
    name: &str,
    form: Option<&Submitted>,
    is_cancelled: bool,
) -> Result<Option<Reply>, StanzaError> {
    let hub = &ask.request.hub;
    let _order = ask.cell.publishing();
    let mut account = ask.cell.lock();
    let node = owned(ask, &account, name)?;
    if is_cancelled {
        return Ok(Some(Reply::empty()));
    }
    let old = node.meta.clone();
    let config = old.config.with(form.ok_or_else(|| malformed("that is no configuration"))?)?;
    let config = config.suits(account.jid())?;
    if config == old.config {
        return Ok(Some(Reply::empty().after(account.last_ticket())));
    }
    let keep = if config.persist_items { config.max_items as usize } else { 0 };
    let may_go = keep < old.config.max_items as usize && old.config.persist_items;
    let gone: Vec<CompactString> = match &node.items {
        Some(known) => {
            let over = known.len().saturating_sub(keep);
            known.iter().take(over).map(|entry| entry.id.clone()).collect()
        }
        None if may_go => return Ok(None),
        None => Vec::new(),
    };
    let mut writes = Vec::new();
    let meta = replace(&mut account, name, Meta { config, ..(*old).clone() }, &mut writes)?;
    let changed = account.next_position(hub.clock.now_micros());
    let id = account.id();
    if let Some(node) = account.keyed_mut::<Node>(name) {
        node.changed = changed;
        node.items.iter_mut().for_each(|known| _ = known.drain(..gone.len().min(known.len())));
    }
    writes.extend(gone.into_iter().map(|item| Write::ItemRetracted {
        account: id,
        node: name.into(),
        id: item,
    }));
    let ticket = hub.commit(&mut account, writes);
    let form = meta.config.deliver_payloads.then(|| meta.config.form("result", account.jid()));
    let change = Element::builder("configuration", NS_EVENT).attr("node", name).child_opt(form).build();
    // §8.2.5.3
    let events = meta.config.notify_config.then(|| Event::configured(change)).into_iter().collect();
    let is_shown = meta.config.access_model != old.config.access_model && change::is_shown(&account, name);
    let telling = tell(hub, &ask.cell, &mut account, name, &meta, (events, ticket));
    drop(account);
    telling.go_on(ask.request.from());
    if is_shown {
        hub.show_again(&ask.cell, ticket);
    }
    Ok(Some(Reply::empty().after(ticket)))
}

/// §8.3: how a node is that nobody says more of.
pub(super) fn default(ask: &Ask) -> Answer {
    if !may_create(&ask.request.hub, &ask.cell.lock(), &ask.who) {
        return Err(forbidden());
    }
    let default = Config::of_owner(&ask.cell.jid).form("form", &ask.cell.jid);
    let default = Element::builder("default", NS_OWNER).child(default).build();
    Ok(Reply::with(Element::builder("pubsub", NS_OWNER).child(default).build()))
}

/// §8.4
pub(super) fn delete(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let redirect = ask.action.child("redirect", NS_OWNER).and_then(|redirect| redirect.attr("uri"));
    let redirect = redirect.map(|uri| Element::builder("redirect", NS_EVENT).attr("uri", uri).build());
    let hub = &ask.request.hub;
    let _order = ask.cell.publishing();
    let mut account = ask.cell.lock();
    let meta = owned(ask, &account, name)?.meta.clone();
    let mut writes = vec![Write::NodePurged { account: account.id(), node: name.into() }];
    let is_shown = change::keep_emptied(&mut account, name, &mut writes);
    account.set_keyed::<Node>(name, None, &mut writes);
    let ticket = hub.commit(&mut account, writes);
    let deleted = Element::builder("delete", NS_EVENT).attr("node", name).child_opt(redirect).build();
    let events = meta.config.notify_delete.then(|| Event::ended(deleted)).into_iter().collect();
    let telling = tell(hub, &ask.cell, &mut account, name, &meta, (events, ticket));
    drop(account);
    telling.go_on(ask.request.from());
    if is_shown {
        hub.show_again(&ask.cell, ticket);
    }
    Ok(Reply::empty().after(ticket))
}

/// §8.5
pub(super) fn purge(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let hub = &ask.request.hub;
    let _order = ask.cell.publishing();
    let mut account = ask.cell.lock();
    let meta = owned(ask, &account, name)?.meta.clone();
    if !meta.config.persist_items {
        return Err(unsupported("persistent-items")); // §8.5.3.3
    }
    let mut writes = vec![Write::NodePurged { account: account.id(), node: name.into() }];
    let changed = account.next_position(hub.clock.now_micros());
    if let Some(node) = account.keyed_mut::<Node>(name) {
        (node.items, node.changed) = (Some(Vec::new()), changed);
    }
    let is_shown = change::keep_emptied(&mut account, name, &mut writes);
    let ticket = hub.commit(&mut account, writes);
    let purged = Element::builder("purge", NS_EVENT).attr("node", name).build();
    let events = meta.config.notify_retract.then(|| Event::ended(purged)).into_iter().collect();
    let telling = tell(hub, &ask.cell, &mut account, name, &meta, (events, ticket));
    drop(account);
    telling.go_on(ask.request.from());
    if is_shown {
        hub.show_again(&ask.cell, ticket);
    }
    Ok(Reply::empty().after(ticket))
}
