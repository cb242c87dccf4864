//! §6.5: items as they are read.

use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::account::{Account, Cell};
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Reply};
use unisono_core::hub::Hub;
use unisono_core::ids::LogPosition;
use unisono_core::jid::BareJid;
use unisono_core::stanza::{CLIENT_SCOPE, OUR_LIMITS};
use unisono_core::storage::{ItemPage, ItemQuery, NodeItem, StoreError, Write};
use unisono_xml::Element;

use super::config::{Config, ITEMS_MAX};
use super::errors::{bad, malformed, not_found, unsupported};
use super::node::{Entry, Meta, Node};
use super::notify::publisher_of;
use super::{Ask, NS, access, budget, change, told};
use crate::xep0059_result_sets::{Page, Wanted};
use crate::xep0395_compare_and_publish as cap;

/// Items that are read from the store at once.
const READ_MAX: usize = 200;
/// Bytes of payloads in one answer: what is more is left for further pages (§6.5.4).
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Items that all nodes of an account have in memory, about.
const KNOWN_MAX: usize = 20_000;

/// §6.5.2: the items of a node.
pub(super) async fn retrieve(ask: &Ask) -> Answer {
    let name = ask.node()?;
    let (meta, changed, ticket) = {
        let account = ask.cell.lock();
        let node = account.keyed::<Node>(name).ok_or_else(not_found)?;
        access::may_read(&account, &node.meta, &ask.who)?;
        (node.meta.clone(), node.changed, account.last_ticket())
    };
    if !meta.config.persist_items {
        return Err(unsupported("persistent-items")); // §6.5.9.4
    }
    let hub = &ask.request.hub;
    hub.store.wait(ticket).await;
    let since = expired(hub, &meta.config);
    let asked: Vec<_> = ask.action.children().filter(|child| child.is("item", NS)).collect();
    let (items, set) = if asked.is_empty() {
        let wanted = Wanted::parse(&ask.request.payload)?;
        let max_items = ask.action.attr("max_items").filter(|max| !max.is_empty());
        let max_items = max_items.map(|max| max.parse::<usize>().ok().filter(|max| *max > 0));
        let max_items = max_items.map(|max| max.ok_or_else(|| malformed("max_items is no number")));
        page(hub, &ask.cell, name, since, wanted, max_items.transpose()?).await?
    } else {
        // §6.5.8. What there is no room for is left out, and the count says so (§6.5.4).
        let ids: Option<Vec<_>> = asked.iter().map(|item| item.attr("id").map(CompactString::from)).collect();
        let ids = ids.ok_or_else(|| bad("item-required"))?;
        let query = ItemQuery { limit: ids.len(), ids: Some(ids), since, ..ItemQuery::default() };
        let found = hub.store.items(ask.cell.id, name, &query).await?.items;
        let count = found.len();
        let items = take(found, &mut 0, false);
        let is_cut = items.len() < count;
        let set = is_cut.then(|| set_of(&items, Some(0), u64::try_from(count).ok()));
        (items, set)
    };
    let positions = items.iter().map(|item| (item.id.as_str(), item.position));
    let values = cap::map(hub, ask.cell.id, positions);
    let values = Some(values).filter(|_| !items.is_empty() && cap::is_asked_for(&ask.action));
    let items = items.iter().filter_map(|item| item_element(item, NS, &meta, &ask.cell.jid, true));
    let items = Element::builder("items", NS).attr("node", name).children(items).child_opt(values).build();
    let reply = Reply::with(Element::builder("pubsub", NS).child(items).child_opt(set).build());
    if ask.who != ask.cell.jid {
        return Ok(reply);
    }
    let name = CompactString::from(name);
    Ok(Reply::locked(move |account, id| {
        if let Some(session) = account.session_mut(id) {
            told::note(session, &name, changed);
        }
        Ok(reply)
    }))
}

/// The `<set/>` for these items (XEP-0059).
fn set_of(items: &[Arc<NodeItem>], index: Option<u64>, count: Option<u64>) -> Element {
    let ends = items.first().zip(items.last()).map(|(first, last)| (first.id.as_str(), last.id.as_str()));
    Page { ends, index, count }.to_element()
}

/// What is older than this is no item any more (`pubsub#item_expire`).
pub(super) fn expired(hub: &Hub, config: &Config) -> Option<LogPosition> {
    let micros = i64::from(config.item_expire?).saturating_mul(1_000_000);
    Some(LogPosition(hub.clock.now_micros().saturating_sub(micros)))
}

/// The page that is wanted (XEP-0059), or the most recent items (§6.5.7), or all; oldest first. An answer that would be
/// too long has the newest, and says what is left.
async fn page(
    hub: &Hub,
    cell: &Cell,
    name: &str,
    since: Option<LogPosition>,
    wanted: Wanted,
    max_items: Option<usize>,
) -> Result<(Vec<Arc<NodeItem>>, Option<Element>), StanzaError> {
    if wanted.index.is_some() {
        return Err(StanzaError::new(Condition::FeatureNotImplemented)); // XEP-0059 §2.6
    }
    let is_paged = wanted != Wanted::default();
    let before = wanted.before.as_deref().filter(|id| !id.is_empty()).map(CompactString::from);
    // All that is asked for, or the newest of it.
    let from_end = wanted.before.is_some() || (wanted.after.is_none() && (max_items.is_some() || !is_paged));
    let limit = wanted.max.into_iter().chain(max_items).min().unwrap_or(ITEMS_MAX as usize);
    let mut query = ItemQuery {
        since,
        after: wanted.after.map(CompactString::from),
        before,
        from_end,
        counted: true,
        ..ItemQuery::default()
    };
    let (mut items, mut bytes, mut complete) = (Vec::new(), 0_usize, false);
    let (mut count, mut index) = (None, None);
    while !complete {
        query.limit = limit.saturating_sub(items.len()).min(READ_MAX);
        let page: ItemPage = hub.store.items(cell.id, name, &query).await?;
        count = count.or(page.count);
        index = if from_end { page.index } else { index.or(page.index) };
        complete = page.complete;
        let read = page.items.len();
        let taken = take(page.items, &mut bytes, from_end);
        let is_all = taken.len() == read;
        if from_end {
            if !is_all {
                let left_out = u64::try_from(read.saturating_sub(taken.len())).unwrap_or(0);
                index = index.map(|index| index.saturating_add(left_out));
            }
            items.splice(0..0, taken);
            query.before = items.first().map(|item: &Arc<NodeItem>| item.id.clone());
        } else {
            items.extend(taken);
            query.after = items.last().map(|item| item.id.clone());
        }
        if !is_all || items.len() >= limit || read == 0 {
            complete = complete && is_all;
            break;
        }
        query.counted = from_end;
    }
    let is_cut = !complete && max_items.is_none_or(|max| items.len() < max);
    let set = (is_paged || is_cut).then(|| set_of(&items, index, count));
    Ok((items, set))
}

/// As many as there is room for; one in any case.
fn take(items: Vec<Arc<NodeItem>>, bytes: &mut usize, from_end: bool) -> Vec<Arc<NodeItem>> {
    let mut fits = |item: &Arc<NodeItem>| {
        let is_first = *bytes == 0;
        *bytes = bytes.saturating_add(item.payload.len().saturating_add(item.id.len()));
        is_first || *bytes <= ANSWER_BYTES_MAX
    };
    if !from_end {
        return items.into_iter().take_while(fits).collect();
    }
    let mut taken: Vec<_> = items.into_iter().rev().take_while(|item| fits(item)).collect();
    taken.reverse();
    taken
}

/// An item as others get it. `None` if it is stored in a way that cannot be read.
pub(super) fn item_element(
    item: &NodeItem,
    ns: &'static str,
    meta: &Meta,
    owner: &BareJid,
    with_payload: bool,
) -> Option<Element> {
    let payload = Some(item.payload.as_str()).filter(|payload| with_payload && !payload.is_empty());
    let payload = payload.map(|text| Element::parse(text, &CLIENT_SCOPE, &OUR_LIMITS)).transpose();
    let payload = payload.ok()?;
    let publisher = publisher_of(meta, owner, item.publisher.as_ref());
    let element = Element::builder("item", ns).attr("id", item.id.as_str()).attr_opt("publisher", publisher);
    Some(element.child_opt(payload).build())
}

/// Makes known which items a node has, so that they can be changed.
pub(crate) async fn know(hub: &Hub, cell: &Cell, name: &str) -> Result<(), StoreError> {
    know_beside(hub, cell, name, &[]).await
}

/// The same, for who needs to know some other nodes at the same time.
pub(super) async fn know_beside(
    hub: &Hub,
    cell: &Cell,
    name: &str,
    beside: &[CompactString],
) -> Result<(), StoreError> {
    let (ticket, changed) = {
        let account = cell.lock();
        match account.keyed::<Node>(name) {
            Some(node) if node.items.is_none() => (account.last_ticket(), node.changed),
            Some(_) | None => return Ok(()),
        }
    };
    hub.store.wait(ticket).await;
    let mut query = ItemQuery { limit: 1_000, without_payloads: true, ..ItemQuery::default() };
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let page = hub.store.items(cell.id, name, &query).await?;
        entries.extend(page.items.iter().map(|item| Entry {
            id: item.id.clone(),
            position: item.position,
            publisher:
                item.publisher.as_ref().map(unisono_core::jid::Jid::to_bare).filter(|jid| *jid != cell.jid),
        }));
        query.after = page.items.last().map(|item| item.id.clone());
        if page.complete || page.items.is_empty() {
            break;
        }
    }
    let mut account = cell.lock();
    forget_others(&mut account, |other| other != name && !beside.contains(other), entries.len());
    // Else others came first, or the node has changed, and this is done again.
    if let Some(node) = account.keyed_mut::<Node>(name)
        && node.items.is_none()
        && node.changed == changed
    {
        node.items = Some(entries);
    }
    Ok(())
}

/// Makes room for what is known of a node.
fn forget_others(account: &mut Account, may_go: impl Fn(&CompactString) -> bool, more: usize) {
    let known = account.all_keyed::<Node>().filter_map(|(_, node)| node.items.as_ref().map(Vec::len));
    if known.fold(more, usize::saturating_add) <= KNOWN_MAX {
        return;
    }
    let others: Vec<_> = account.all_keyed::<Node>().map(|(other, _)| other.clone()).collect();
    for other in others.iter().filter(|other| may_go(other)) {
        if let Some(node) = account.keyed_mut::<Node>(other) {
            node.items = None;
        }
    }
}

/// `pubsub#purge_offline`: the last device of the account has left. What has another form in another node stays: here
/// nothing can be read, and one without the other would be worse.
pub(super) fn purge_offline(account: &mut Account, _: &Element, now: i64, writes: &mut Vec<Write>) {
    let nodes = account.all_keyed::<Node>().filter(|(name, node)| {
        node.meta.config.purge_offline && !change::has_another_form(account.jid(), name)
    });
    let names: Vec<_> = nodes.map(|(name, _)| name.clone()).collect();
    for name in names {
        let purge = Write::NodePurged { account: account.id(), node: name.clone() };
        budget::note(account, std::slice::from_ref(&purge));
        writes.push(purge);
        let changed = account.next_position(now);
        if let Some(node) = account.keyed_mut::<Node>(&name) {
            (node.items, node.changed) = (Some(Vec::new()), changed);
        }
        // No device is left that could be shown.
        change::keep_emptied(account, &name, writes);
    }
}
