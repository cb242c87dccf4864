//! Changes of items. What follows from a change for other nodes is made with it: all in one commit, or nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::account::{Account, Cell};
use unisono_core::error::{ErrorType, StanzaError};
use unisono_core::hub::{Hub, SessionRef};
use unisono_core::ids::{LogPosition, Ticket};
use unisono_core::jid::{BareJid, Jid};
use unisono_core::storage::Write;
use unisono_xml::Element;

use super::config::{AccessModel, Config, ITEMS_MAX};
use super::errors::{not_found, too_much};
use super::node::{Entry, Node};
use super::notify::{tell, tell_states};
use super::rules::Made;
use super::seen::Seen;
use super::step::{Kept, Step, What};
use super::{budget, items, manage, publish, rules};

/// How often something is decided again because others changed the nodes meanwhile.
const ROUNDS_MAX: usize = 100;

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
    /// It is not known how much the items take.
    Uncounted,
}

impl From<StanzaError> for Undecided {
    fn from(error: StanzaError) -> Self {
        Self::Refused(error)
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
    // What one decision asks for stays known until it is made, however much that is.
    let mut asked: Vec<CompactString> = Vec::new();
    let decide_alive = |account: &Account, seen: &Seen| {
        if account.is_gone() { Err(not_found().into()) } else { decide(account, seen) }
    };
    for _ in 0..ROUNDS_MAX {
        match attempt(hub, cell, publisher, &seen, decide_alive) {
            Ok(ticket) => return Ok(ticket),
            Err(Undecided::Refused(error)) => return Err(error),
            Err(Undecided::Unknown(node)) => {
                if !asked.contains(&node) {
                    asked.push(node.clone());
                }
                items::know_beside(hub, cell, &node, &asked).await?;
            }
            Err(Undecided::Unseen(nodes)) => seen = Seen::read(hub, cell, nodes).await?,
            Err(Undecided::Uncounted) => budget::count(hub, cell).await?,
        }
    }
    Err(too_much("the nodes change all the time").with_type(ErrorType::Wait))
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
        if !seen.is_whole() {
            return Err(too_much("the nodes hold too much").into());
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

/// Items that a node keeps; of one that is not there yet, as many as it can be made to keep.
pub(crate) fn room_of(account: &Account, node: &str) -> usize {
    account.keyed::<Node>(node).map_or(ITEMS_MAX, |node| node.meta.config.max_items) as usize
}

/// The id of an item of a node, however its letters are written; none if it is not known which items there are.
pub(crate) fn item_named(account: &Account, node: &str, id: &str) -> Option<CompactString> {
    let known = account.keyed::<Node>(node)?.items.as_deref()?;
    known.iter().map(|entry| &entry.id).find(|known| known.eq_ignore_ascii_case(id)).cloned()
}

/// All items of a node go with a commit, and maybe the node: what is kept of them besides. Returns whether the devices of
/// the account are to be shown anew then.
pub(super) fn keep_emptied(account: &mut Account, name: &str, writes: &mut Vec<Write>) -> bool {
    rule_of(account.jid(), name)
        .is_some_and(|rule| rule.keep(&Made::Emptied, &Seen::default(), account, writes))
}

/// Whether the presence of the account's devices depends on who may read a node.
pub(super) fn is_shown(account: &Account, name: &str) -> bool {
    rule_of(account.jid(), name).is_some_and(rules::Rule::is_shown)
}

/// Whether the items of a node have to be seen together with those of others.
pub(super) fn has_another_form(owner: &BareJid, name: &str) -> bool {
    rule_of(owner, name).is_some_and(|rule| rule.reads().iter().any(|other| *other != name))
}

/// A service has no nodes that the server knows.
pub(super) fn rule_of(owner: &BareJid, node: &str) -> Option<&'static dyn rules::Rule> {
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
    let (mut made, mut is_shown, mut settled) = (Vec::with_capacity(steps.len()), false, Vec::new());
    for step in steps {
        let rule = rule_of(&cell.jid, &step.node);
        let (node, kept) = (step.node.clone(), step.kept());
        settled.push((node.clone(), step.settled()));
        let was_private = is_private(&account, &node);
        if let (Some(rule), Kept::Emptied) = (rule, &kept) {
            is_shown |= rule.keep(&Made::Emptied, seen, &mut account, &mut writes);
        }
        made.extend(step.make(hub, &mut account, publisher, &mut writes));
        let Some(rule) = rule else { continue };
        let mut keep = |made: Made<'_>| is_shown |= rule.keep(&made, seen, &mut account, &mut writes);
        kept.made().into_iter().for_each(&mut keep);
        if let Kept::Configured(_) = kept {
            is_shown |= rule.is_shown() && was_private != is_private(&account, &node);
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
    for (name, settled) in settled {
        let meta = made.iter().find(|(other, ..)| *other == name).map(|(_, meta, _)| meta);
        let Some(meta) = meta else { continue };
        tell_states(hub, (cell, &name), meta, &settled, (publisher, ticket)); // §12.14
    }
    if is_shown {
        hub.show_again(cell, ticket);
    }
    Ok(ticket)
}

/// What the server changes by itself, judged. Deletions come first, so that what is published takes their room and displaces
/// nothing that stays. A deleted item that is not there is no step.
pub(super) fn steps(account: &Account, now: i64, mut changes: Vec<Change>) -> Result<Vec<Step>, Undecided> {
    changes.sort_by_key(|change| matches!(change.action, Action::Publish { .. }));
    let are_several = changes.len() > 1;
    // The items of each node, as the steps before leave them.
    let mut known: BTreeMap<&'static str, Cow<'_, [Entry]>> = BTreeMap::new();
    let mut steps: Vec<Step> = Vec::with_capacity(changes.len());
    for Change { node: name, action, options } in changes {
        let node = account.keyed::<Node>(name);
        let entries = match (known.entry(name), node) {
            (Slot::Occupied(slot), _) => slot.into_mut(),
            (Slot::Vacant(slot), None) => slot.insert(Cow::Borrowed(&[])),
            (Slot::Vacant(slot), Some(node)) => {
                let items = node.items.as_deref().ok_or_else(|| Undecided::Unknown(name.into()))?;
                slot.insert(Cow::Borrowed(items))
            }
        };
        let step = match (action, node) {
            (Action::Publish { id, payload }, node) => {
                let is_made = steps.iter().any(|step| step.node == name && step.new.is_some());
                let config = Config::default().with_given(options);
                let new = (node.is_none() && !is_made)
                    .then(|| manage::new_node(account, account.jid().clone(), now, config.clone()))
                    .transpose()?;
                let config = node.map_or(&config, |node| &node.meta.config);
                // What has another form goes from both, with the next who changes it there.
                let is_alone = !has_another_form(account.jid(), name);
                let expires = publish::expires(config, now).filter(|_| is_alone);
                let gone = publish::displaced(entries, config, &id, expires)?;
                if are_several && config.persist_items {
                    let entries = entries.to_mut();
                    entries.retain(|entry| entry.id != id && !gone.contains(&entry.id));
                    let position = LogPosition(now);
                    entries.push(Entry { id: id.clone(), position, publisher: None });
                }
                let what = What::Published { id, payload: Some(payload), gone };
                Step { node: name.into(), new, what }
            }
            (Action::Retract { id }, Some(node)) if entries.iter().any(|entry| entry.id == id) => {
                if are_several {
                    entries.to_mut().retain(|entry| entry.id != id);
                }
                let is_told = node.meta.config.notify_retract;
                Step { node: name.into(), new: None, what: What::Retracted { id, is_told } }
            }
            (Action::Retract { .. }, _) => continue,
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
    let (mut action, gone) = (step.action(), step.gone());
    if action.is_none() && gone.is_nothing() {
        return Ok(vec![step]);
    }
    if !seen.is_current(account, rule.reads()) {
        return Err(Undecided::Unseen(rule.reads()));
    }
    // What is too much may become less.
    if !seen.is_whole() && matches!(action, Some(Action::Publish { .. })) {
        return Err(too_much("the nodes hold too much").into());
    }
    let is_unknown =
        |name: &&&str| account.keyed::<Node>(name).is_some_and(|node: &Node| node.items.is_none());
    if let Some(name) = rule.knows().iter().find(is_unknown) {
        return Err(Undecided::Unknown((*name).into()));
    }
    let by = by.filter(|by| by.cell.id == account.id()).and_then(|by| account.session(by.id));
    let scene = rules::Scene { hub, account, seen, by, gone };
    let changes = match &mut action {
        Some(action) => rule.follow(action, &scene)?,
        None => rule.lost(&scene),
    };
    if let (What::Published { payload, .. }, Some(Action::Publish { payload: new, .. })) =
        (&mut step.what, action)
    {
        *payload = Some(new);
    }
    let now = hub.clock.now_micros();
    Ok([step].into_iter().chain(steps(account, now, changes)?).collect())
}
