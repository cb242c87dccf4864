//! Changes of items. What follows from a change for other nodes is made with it: all in one commit, or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::account::{Account, Cell};
use unisono_core::error::StanzaError;
use unisono_core::hub::{Hub, SessionRef};
use unisono_core::ids::{AccountId, LogPosition, Ticket};
use unisono_core::jid::{BareJid, Jid};
use unisono_core::stanza::{CLIENT_SCOPE, OUR_LIMITS};
use unisono_core::storage::{ItemQuery, KEEP_ALL, NodeItem, Write};
use unisono_xml::Element;

use super::config::{AccessModel, Config, NodeFull};
use super::errors::too_much;
use super::node::{Entry, Meta, Node};
use super::notify::{Event, publisher_of, tell};
use super::{Ask, NS_EVENT, items, manage, publish, rules};

/// Bytes of payloads that one decision may have to see,
const SEEN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// and items that are read at once.
const READ_MAX: usize = 500;

/// A change of one item, made by the server for the owner of the account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) node: &'static str,
    pub(crate) action: Action,
    /// How the node is configured if there is none yet; else it stays as it is.
    pub(crate) options: &'static [(&'static str, &'static str)],
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Publish { id: CompactString, payload: Element },
    Retract { id: CompactString },
}

impl Action {
    pub(crate) fn id(&self) -> &CompactString {
        match self {
            Self::Publish { id, .. } | Self::Retract { id } => id,
        }
    }
}

/// One thing that happens to a node, judged and about to be made.
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
}

/// What is made at once: steps in their order, and what else is stored.
#[derive(Default)]
pub(super) struct Decision {
    pub(super) steps: Vec<Step>,
    pub(super) writes: Vec<Write>,
}

/// Why nothing is decided.
pub(super) enum Undecided {
    Refused(StanzaError),
    /// It is not known which items this node has.
    Unknown(CompactString),
    /// Items of these nodes have to be seen.
    Unseen(&'static [&'static str]),
}

impl From<StanzaError> for Undecided {
    fn from(error: StanzaError) -> Self {
        Self::Refused(error)
    }
}

/// The items of some nodes, as they were read.
#[derive(Default)]
pub(crate) struct Seen {
    /// By node, when it had changed; none if there was no such node.
    nodes: BTreeMap<&'static str, (Option<LogPosition>, Vec<Arc<NodeItem>>)>,
}

impl Seen {
    /// The items of a node, oldest first; none if there is no such node.
    pub(crate) fn items(&self, node: &str) -> impl DoubleEndedIterator<Item = (&CompactString, Element)> {
        let items = self.nodes.get(node).into_iter().flat_map(|(_, items)| items);
        items.filter_map(|item| {
            Some((&item.id, Element::parse(&item.payload, &CLIENT_SCOPE, &OUR_LIMITS).ok()?))
        })
    }

    /// The last item of a node that is left when another is gone.
    pub(crate) fn last_but(&self, node: &str, gone: &str) -> Option<Element> {
        self.items(node).rfind(|(id, _)| *id != gone).map(|(_, payload)| payload)
    }

    /// Whether the nodes are as they were seen.
    pub(super) fn is_current(&self, account: &Account, nodes: &[&'static str]) -> bool {
        nodes.iter().all(|name| {
            let now = account.keyed::<Node>(name).map(|node| node.changed);
            self.nodes.get(name).is_some_and(|(then, _)| *then == now)
        })
    }

    /// Reads the items of nodes.
    ///
    /// # Errors
    ///
    /// `resource-constraint` if they are too many to be seen at once, or the store cannot be read.
    pub(crate) async fn read(hub: &Hub, cell: &Cell, names: &[&'static str]) -> Result<Self, StanzaError> {
        let mut seen = Self::default();
        let mut bytes = 0_usize;
        for name in names {
            let (changed, ticket) = {
                let account = cell.lock();
                (account.keyed::<Node>(name).map(|node| node.changed), account.last_ticket())
            };
            hub.store.wait(ticket).await;
            let mut read = Vec::new();
            let mut query = ItemQuery { limit: READ_MAX, ..ItemQuery::default() };
            while changed.is_some() {
                let page = hub.store.items(cell.id, name, &query).await?;
                query.after = page.items.last().map(|item| item.id.clone());
                let is_last = page.complete || page.items.is_empty();
                bytes = page.items.iter().map(|item| item.payload.len()).fold(bytes, usize::saturating_add);
                read.extend(page.items);
                if bytes > SEEN_BYTES_MAX {
                    return Err(too_much("the node holds too much"));
                }
                if is_last {
                    break;
                }
            }
            seen.nodes.insert(name, (changed, read));
        }
        Ok(seen)
    }
}

/// Decides and makes changes, in one commit. It is decided again when what was read has changed meanwhile.
pub(super) async fn make(
    hub: &Hub,
    cell: &Arc<Cell>,
    publisher: &Jid,
    decide: impl Fn(&Account, &Seen) -> Result<Decision, Undecided> + Send + Sync,
) -> Result<Ticket, StanzaError> {
    let mut seen = Seen::default();
    loop {
        match attempt(hub, cell, publisher, &seen, &decide) {
            Ok(ticket) => return Ok(ticket),
            Err(Undecided::Refused(error)) => return Err(error),
            Err(Undecided::Unknown(node)) => items::know(hub, cell, &node).await?,
            Err(Undecided::Unseen(nodes)) => seen = Seen::read(hub, cell, nodes).await?,
        }
    }
}

/// Makes changes for the owner of an account, which the server decides on by itself, and stores more with them.
///
/// # Errors
///
/// `resource-constraint` if there is no room for them, and whatever the decision finds wrong. Nothing has changed then.
pub(crate) async fn make_for_owner(
    hub: &Hub,
    cell: &Arc<Cell>,
    publisher: &Jid,
    reads: &'static [&'static str],
    decide: impl Fn(&Account, &Seen) -> Result<(Vec<Change>, Vec<Write>), StanzaError> + Send + Sync,
) -> Result<Ticket, StanzaError> {
    let now = hub.clock.now_micros();
    make(hub, cell, publisher, |account, seen| {
        if !seen.is_current(account, reads) {
            return Err(Undecided::Unseen(reads));
        }
        let (changes, writes) = decide(account, seen)?;
        Ok(Decision { steps: steps(account, now, changes)?, writes })
    })
    .await
}

/// Whether nobody but the owner reads a node; nobody does if there is none.
pub(crate) fn is_private(account: &Account, node: &str) -> bool {
    account.keyed::<Node>(node).is_none_or(|node| {
        let meta = &node.meta;
        meta.config.access_model == AccessModel::Whitelist && meta.affiliations.is_empty()
    })
}

/// When a node last changed; none if there is no such node.
pub(crate) fn changed(account: &Account, node: &str) -> Option<LogPosition> {
    account.keyed::<Node>(node).map(|node| node.changed)
}

/// Whether what is published to a node is there afterwards. One that is not there yet is made as it is wanted.
pub(crate) fn keeps_items(account: &Account, node: &str) -> bool {
    account.keyed::<Node>(node).is_none_or(|node| node.meta.config.persist_items)
}

/// The id of an item of a node, however its letters are written; none if it is not known which items there are.
pub(crate) fn item_named(account: &Account, node: &str, id: &str) -> Option<CompactString> {
    let known = account.keyed::<Node>(node)?.items.as_deref()?;
    known.iter().map(|entry| &entry.id).find(|known| known.eq_ignore_ascii_case(id)).cloned()
}

/// All items of a node go with a commit, and maybe the node: what is kept of them besides. Returns whether the devices of
/// the account are to be shown anew then.
pub(super) fn keep_emptied(account: &mut Account, name: &str, writes: &mut Vec<Write>) -> bool {
    rule_of(account.jid(), name).is_some_and(|rule| rule.keep(None, &Seen::default(), account, writes))
}

/// Whether the presence of the account's devices depends on who may read a node.
pub(super) fn is_shown(account: &Account, name: &str) -> bool {
    rule_of(account.jid(), name).is_some_and(rules::Rule::is_shown)
}

/// All items of a node are gone: what follows from that by its rule.
pub(super) async fn follow_emptied(ask: &Ask, name: &str) -> Result<Ticket, StanzaError> {
    let (hub, cell) = (&ask.request.hub, &ask.cell);
    let Some(rule) = rule_of(&ask.cell.jid, name) else { return Ok(Ticket::NONE) };
    make_for_owner(hub, cell, ask.request.from(), rule.reads(), |account, seen| {
        Ok((rule.emptied(&rules::Scene { hub, account, seen, by: None }), Vec::new()))
    })
    .await
}

/// A service has no nodes that the server knows.
fn rule_of(owner: &BareJid, node: &str) -> Option<&'static dyn rules::Rule> {
    owner.local().and_then(|_| rules::of(node))
}

fn attempt(
    hub: &Hub,
    cell: &Arc<Cell>,
    publisher: &Jid,
    seen: &Seen,
    decide: impl Fn(&Account, &Seen) -> Result<Decision, Undecided>,
) -> Result<Ticket, Undecided> {
    let _order = cell.publishing();
    let mut account = cell.lock();
    let Decision { steps, mut writes } = decide(&account, seen)?;
    let (mut made, mut is_shown) = (Vec::with_capacity(steps.len()), false);
    for step in steps {
        let kept = rule_of(&cell.jid, &step.node).zip(step.action());
        made.extend(step.make(hub, &mut account, publisher, &mut writes));
        if let Some((rule, action)) = kept {
            is_shown |= rule.keep(Some(&action), seen, &mut account, &mut writes);
        }
    }
    let ticket = hub.commit(&mut account, writes);
    let mut telling = Vec::with_capacity(made.len());
    for (name, meta, events) in &mut made {
        let events = std::mem::take(events);
        telling.push(tell(hub, cell, &mut account, name, meta, (events, ticket)));
    }
    drop(account);
    for telling in telling {
        telling.go_on(publisher);
    }
    if is_shown {
        hub.show_again(cell, ticket);
    }
    Ok(ticket)
}

/// What the server changes by itself, judged. A deleted item that is not there is no step.
pub(super) fn steps(account: &Account, now: i64, changes: Vec<Change>) -> Result<Vec<Step>, Undecided> {
    let mut steps: Vec<Step> = Vec::with_capacity(changes.len());
    for Change { node: name, action, options } in changes {
        let is_new = account.keyed::<Node>(name).is_none();
        let is_made = steps.iter().any(|step| step.node == name && step.new.is_some());
        let known = account
            .keyed::<Node>(name)
            .map(|node| node.items.as_deref().map(|known| (node.meta.config.clone(), known)).ok_or(name));
        let known = known.transpose().map_err(|name| Undecided::Unknown(name.into()))?;
        let step = match (action, known) {
            (Action::Publish { id, payload }, Some((config, known))) => {
                let expires = publish::expires(&config, now);
                let gone = publish::displaced(known, &config, &id, expires)?;
                Step {
                    node: name.into(),
                    new: None,
                    what: What::Published { id, payload: Some(payload), gone },
                }
            }
            (Action::Publish { id, payload }, None) => {
                let what = What::Published { id, payload: Some(payload), gone: Vec::new() };
                let config = Config::default().with_given(options);
                let new = (is_new && !is_made)
                    .then(|| manage::new_node(account, account.jid().clone(), now, config))
                    .transpose()?;
                Step { node: name.into(), new, what }
            }
            (Action::Retract { id }, Some((config, known))) => {
                if !known.iter().any(|entry| entry.id == id) {
                    continue;
                }
                let is_told = config.notify_retract;
                Step { node: name.into(), new: None, what: What::Retracted { id, is_told } }
            }
            (Action::Retract { .. }, None) => continue,
        };
        steps.push(step);
    }
    Ok(steps)
}

/// What somebody wants to happen to an item, with what follows from it by the rules for its node.
pub(super) fn follow(
    hub: &Hub,
    account: &Account,
    seen: &Seen,
    by: Option<&SessionRef>,
    mut step: Step,
) -> Result<Vec<Step>, Undecided> {
    let Some(rule) = rule_of(account.jid(), &step.node) else { return Ok(vec![step]) };
    if !seen.is_current(account, rule.reads()) {
        return Err(Undecided::Unseen(rule.reads()));
    }
    let is_unknown =
        |name: &&&str| account.keyed::<Node>(name).is_some_and(|node: &Node| node.items.is_none());
    if let Some(name) = rule.knows().iter().find(is_unknown) {
        return Err(Undecided::Unknown((*name).into()));
    }
    let Some(mut action) = step.action() else { return Ok(vec![step]) };
    let by = by.filter(|by| by.cell.id == account.id()).and_then(|by| account.session(by.id));
    let changes = rule.follow(&mut action, &rules::Scene { hub, account, seen, by })?;
    if let (What::Published { payload, .. }, Action::Publish { payload: new, .. }) = (&mut step.what, action)
    {
        *payload = Some(new);
    }
    let now = hub.clock.now_micros();
    Ok([step].into_iter().chain(steps(account, now, changes)?).collect())
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
        match self {
            Self::Published { id, payload, .. } => {
                let is_own = publisher.to_bare() == *account.jid();
                let session = publisher.resource().filter(|_| is_own).and_then(|own| account.resource(own));
                let by = session.map(unisono_core::session::Session::id);
                if let Some(payload) = payload {
                    rule.published(hub, account, &rules::Publication { id, payload, by }, writes);
                }
            }
            Self::Retracted { .. } | Self::Happened => {}
        }
    }
}

impl Step {
    /// What happens to an item, as rules see it.
    fn action(&self) -> Option<Action> {
        match &self.what {
            What::Published { id, payload: Some(payload), .. } => {
                Some(Action::Publish { id: id.clone(), payload: payload.clone() })
            }
            What::Retracted { id, .. } => Some(Action::Retract { id: id.clone() }),
            What::Published { payload: None, .. } | What::Happened => None,
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
        let events = match self.what {
            What::Happened => vec![Event::happened(&name)],
            What::Retracted { id: item, is_told } => {
                node.items.iter_mut().for_each(|known| known.retain(|entry| entry.id != item));
                let event = is_told.then(|| Event::retracted(&name, config, &item));
                writes.push(Write::ItemRetracted { account: id, node: name.clone(), id: item });
                event.into_iter().collect()
            }
            What::Published { id: item, payload, gone } => {
                let item = Published { id: item, payload, gone, position, publisher };
                item.put(&name, node, (id, &owner), writes)
            }
        };
        Some((name, meta, events))
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
