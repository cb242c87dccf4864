//! What happens to one node, judged and about to be made.

use std::collections::BTreeSet;
use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::account::Account;
use unisono_core::hub::Hub;
use unisono_core::ids::{AccountId, LogPosition};
use unisono_core::jid::{BareJid, Jid};
use unisono_core::stanza::CLIENT_SCOPE;
use unisono_core::storage::{KEEP_ALL, NodeItem, Write};
use unisono_xml::Element;

use super::change::{Action, rule_of};
use super::config::{Config, NodeFull};
use super::node::{Entry, Meta, Node, State};
use super::notify::{Event, publisher_of};
use super::rules::Made;
use super::{NS_EVENT, budget, rules};

/// Items that one notification names when many go at once.
const NAMED_MAX: usize = 200;

/// One thing that happens to a node.
pub(super) struct Step {
    pub(super) node: CompactString,
    /// The node, if it is made for this.
    pub(super) new: Option<Node>,
    pub(super) what: What,
}

pub(super) enum What {
    /// §7.1, with the items that make room for it.
    Published { id: CompactString, payload: Option<Element>, gone: Vec<CompactString> },
    /// §4.3: something happened, which has no item.
    Happened,
    /// §7.2
    Retracted { id: CompactString, is_told: bool },
    /// §8.2.4, with the items for which there is no room any more, and the subscriptions that are other ones by it.
    Configured { meta: Box<Meta>, gone: Vec<CompactString>, settled: Vec<(Jid, Option<State>)> },
    /// §8.5
    Purged,
    /// §8.4, with what is told of where it went.
    Deleted { redirect: Option<Element> },
}

/// What a step means for what is kept of the node besides.
pub(super) enum Kept {
    Changed { action: Option<Action>, displaced: Vec<CompactString> },
    Configured(Vec<Action>),
    Emptied,
}

impl Kept {
    /// What happened to the items that are left, or went, one by one.
    pub(super) fn made(&self) -> Vec<Made<'_>> {
        match self {
            Self::Changed { action, displaced } => {
                let displaced = displaced.iter().map(Made::Displaced);
                displaced.chain(action.as_ref().map(Made::Changed)).collect()
            }
            Self::Configured(gone) => gone.iter().map(Made::Changed).collect(),
            Self::Emptied => Vec::new(),
        }
    }
}

/// The items that a node loses by a step, beside one that is deleted.
pub(super) enum Gone {
    These(BTreeSet<CompactString>),
    All,
}

impl Gone {
    pub(super) fn has(&self, id: &str) -> bool {
        match self {
            Self::These(ids) => ids.contains(id),
            Self::All => true,
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::These(ids) if ids.is_empty())
    }
}

impl Step {
    /// What happens to a node that is there.
    pub(super) fn of(node: &str, what: What) -> Self {
        Self { node: node.into(), new: None, what }
    }

    /// What happens to an item, as rules see it.
    pub(super) fn action(&self) -> Option<Action> {
        match &self.what {
            What::Published { id, payload: Some(payload), .. } => {
                Some(Action::Publish { id: id.clone(), payload: payload.clone() })
            }
            What::Retracted { id, .. } => Some(Action::Retract { id: id.clone() }),
            What::Published { payload: None, .. }
            | What::Happened
            | What::Configured { .. }
            | What::Purged
            | What::Deleted { .. } => None,
        }
    }

    /// The subscriptions that become other ones by it.
    pub(super) fn settled(&self) -> Vec<(Jid, Option<State>)> {
        match &self.what {
            What::Configured { settled, .. } => settled.clone(),
            What::Published { .. }
            | What::Happened
            | What::Retracted { .. }
            | What::Purged
            | What::Deleted { .. } => Vec::new(),
        }
    }

    /// The items that go with it.
    pub(super) fn gone(&self) -> Gone {
        match &self.what {
            What::Published { gone, .. } | What::Configured { gone, .. } => {
                Gone::These(gone.iter().cloned().collect())
            }
            What::Happened | What::Retracted { .. } => Gone::These(BTreeSet::new()),
            What::Purged | What::Deleted { .. } => Gone::All,
        }
    }

    /// The same, as those see it who keep something of the node.
    pub(super) fn kept(&self) -> Kept {
        match &self.what {
            What::Published { gone, .. } => Kept::Changed { action: self.action(), displaced: gone.clone() },
            What::Configured { meta, .. } if !meta.config.persist_items => Kept::Emptied,
            What::Configured { gone, .. } => {
                Kept::Configured(gone.iter().map(|id| Action::Retract { id: id.clone() }).collect())
            }
            What::Happened | What::Retracted { .. } => {
                Kept::Changed { action: self.action(), displaced: Vec::new() }
            }
            What::Purged | What::Deleted { .. } => Kept::Emptied,
        }
    }

    /// Makes it in memory. Returns the node and what is told of it.
    pub(super) fn make(
        self,
        hub: &Hub,
        account: &mut Account,
        publisher: &Jid,
        writes: &mut Vec<Write>,
    ) -> Option<(CompactString, Arc<Meta>, Vec<Event>)> {
        let before = writes.len();
        let made = self.make_now(hub, account, publisher, writes);
        budget::note(account, writes.get(before..).unwrap_or_default());
        made
    }

    fn make_now(
        self,
        hub: &Hub,
        account: &mut Account,
        publisher: &Jid,
        writes: &mut Vec<Write>,
    ) -> Option<(CompactString, Arc<Meta>, Vec<Event>)> {
        let (name, owner) = (self.node, account.jid().clone());
        if let Some(rule) = rule_of(&owner, &name) {
            self.what.tell_rule(rule, (hub, account), publisher, writes);
        }
        if let Some(new) = self.new {
            account.set_keyed(&name, Some(new), writes);
        }
        let (position, id) = (account.next_position(hub.clock.now_micros()), account.id());
        let node = account.keyed_mut::<Node>(&name)?;
        node.changed = position;
        let meta = node.meta.clone();
        let config = &meta.config;
        let purge = Write::NodePurged { account: id, node: name.clone() };
        let events = match self.what {
            What::Happened => vec![Event::happened(&name)],
            What::Retracted { id: item, is_told } => {
                node.items.iter_mut().for_each(|known| known.retain(|entry| entry.id != item));
                let event = if is_told {
                    Event::retracted(&name, config, &item)
                } else {
                    Event::untold(Some((&name, config, &item)))
                };
                writes.push(Write::ItemRetracted { account: id, node: name.clone(), id: item });
                vec![event]
            }
            What::Published { id: item, payload, gone } => {
                let item = Published { id: item, payload, gone, position, publisher };
                item.put(&name, node, (id, &owner), writes)
            }
            What::Configured { meta, gone, .. } => return Some(configure(account, name, meta, gone, writes)),
            What::Purged => {
                node.items = Some(Vec::new());
                writes.push(purge);
                let purged = Element::builder("purge", NS_EVENT).attr("node", name.as_str()).build();
                vec![if config.notify_retract { Event::ended(purged) } else { Event::untold(None) }]
            }
            What::Deleted { redirect } => {
                writes.push(purge);
                account.set_keyed::<Node>(&name, None, writes);
                let deleted = Element::builder("delete", NS_EVENT).attr("node", name.as_str());
                let deleted = deleted.child_opt(redirect).build();
                vec![if config.notify_delete { Event::ended(deleted) } else { Event::untold(None) }]
            }
        };
        Some((name, meta, events))
    }
}

/// §8.2.4
fn configure(
    account: &mut Account,
    name: CompactString,
    meta: Box<Meta>,
    gone: Vec<CompactString>,
    writes: &mut Vec<Write>,
) -> (CompactString, Arc<Meta>, Vec<Event>) {
    let meta = Arc::new(*meta);
    if let Some(mut node) = account.keyed::<Node>(&name).cloned() {
        node.meta = meta.clone();
        let gone: BTreeSet<_> = gone.iter().collect();
        node.items.iter_mut().for_each(|known| known.retain(|entry| !gone.contains(&entry.id)));
        account.set_keyed(&name, Some(node), writes);
    }
    let config = &meta.config;
    let form = config.deliver_payloads.then(|| config.form("result", account.jid()));
    let change = Element::builder("configuration", NS_EVENT).attr("node", name.as_str()).child_opt(form);
    // §8.2.5.3
    let mut events: Vec<_> =
        config.notify_config.then(|| Event::configured(change.build())).into_iter().collect();
    if config.notify_retract && config.publish_node_full == NodeFull::RetractOldest {
        events.extend(gone.chunks(NAMED_MAX).map(|gone| Event::all_retracted(&name, gone)));
    }
    let account = account.id();
    let gone = gone.into_iter().map(|id| Write::ItemRetracted { account, node: name.clone(), id });
    writes.extend(gone);
    (name, meta, events)
}

impl What {
    /// Lets the rule of the node see it.
    fn tell_rule(
        &self,
        rule: &dyn rules::Rule,
        (hub, account): (&Hub, &mut Account),
        publisher: &Jid,
        writes: &mut Vec<Write>,
    ) {
        if let Self::Published { id, payload: Some(payload), .. } = self {
            let is_own = publisher.to_bare() == *account.jid();
            let session = publisher.resource().filter(|_| is_own).and_then(|own| account.resource(own));
            let by = session.map(unisono_core::session::Session::id);
            rule.published(hub, account, &rules::Publication { id, payload, by }, writes);
        }
    }
}

/// An item that is published, and where it stands.
struct Published<'a> {
    id: CompactString,
    payload: Option<Element>,
    /// What makes room for it.
    gone: Vec<CompactString>,
    position: LogPosition,
    publisher: &'a Jid,
}

impl Published<'_> {
    /// Puts it into its node. Returns what is told of it.
    fn put(
        self,
        name: &CompactString,
        node: &mut Node,
        (account, owner): (AccountId, &BareJid),
        writes: &mut Vec<Write>,
    ) -> Vec<Event> {
        let Self { id, payload, gone, position, publisher } = self;
        let meta = node.meta.clone();
        let config = &meta.config;
        if config.persist_items {
            let by = Some(publisher.to_bare()).filter(|who| who != owner);
            if let Some(known) = node.items.as_mut() {
                known.retain(|old| old.id != id && !gone.contains(&old.id));
                known.push(Entry { id: id.clone(), position, publisher: by });
            }
            let text = payload.as_ref().map(|payload| payload.to_string_in(&CLIENT_SCOPE));
            let payload = text.unwrap_or_default();
            let item = NodeItem { id: id.clone(), position, publisher: Some(publisher.clone()), payload };
            let node = name.clone();
            writes.push(Write::Item { account, node, item: Arc::new(item), keep: KEEP_ALL });
            let room = gone.iter().map(|id| (name.clone(), id.clone()));
            writes.extend(room.map(|(node, id)| Write::ItemRetracted { account, node, id }));
        }
        let mut events = retractions(name, config, &gone);
        let by = publisher_of(&meta, owner, Some(publisher));
        let element = Element::builder("item", NS_EVENT).attr("id", id.as_str()).attr_opt("publisher", by);
        let payload = payload.filter(|_| config.deliver_payloads);
        events.push(Event::published(name, config, &id, element.child_opt(payload).build()));
        events
    }
}

/// §7.1.2.5: what is told of items that made room. Where each item takes the place of the last, nothing is.
fn retractions(name: &str, config: &Config, gone: &[CompactString]) -> Vec<Event> {
    let is_told = config.publish_node_full == NodeFull::RetractOldest
        && config.notify_retract
        && !config.is_singleton();
    gone.iter().filter(|_| is_told).map(|id| Event::retracted(name, config, id)).collect()
}
