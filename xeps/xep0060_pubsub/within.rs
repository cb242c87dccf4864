//! Items that are published with a message, in its commit.

use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::account::Account;
use unisono_core::hub::Hub;
use unisono_core::ids::Ticket;
use unisono_core::jid::Jid;
use unisono_core::storage::Write;

use super::change::{self, Action, Change, Undecided};
use super::node::{Meta, Node};
use super::notify::{Event, share_with_own};
use super::step::{Step, What};

/// Whether the account has this node.
pub(crate) fn has_node(account: &Account, node: &str) -> bool {
    account.keyed::<Node>(node).is_some()
}

/// Whether it is known which items a node has, or there is none.
pub(crate) fn knows_items(account: &Account, node: &str) -> bool {
    account.keyed::<Node>(node).is_none_or(|node| node.items.is_some())
}

/// What was published. The devices of the owner are still to be told.
pub(crate) struct Published(Vec<(CompactString, Arc<Meta>, Vec<Event>)>);

/// Publishes an item for the owner of an account that is locked, in a commit that is being made. The node has to be one
/// that nobody else reads ([`super::is_private`]): then nobody has to be told but devices of this account, whose order is
/// kept by its lock, and [`unisono_core::account::Cell::publishing`] is not needed, which could not be taken any more.
/// `None` if there is no room for it.
pub(crate) fn publish_within(
    hub: &Hub,
    account: &mut Account,
    publisher: &Jid,
    change: Change,
    writes: &mut Vec<Write>,
) -> Option<Published> {
    let steps = match change::steps(account, hub.clock.now_micros(), vec![change.clone()]) {
        Ok(steps) => steps,
        // The next who changes an item and knows them all makes room.
        Err(Undecided::Unknown(node)) => {
            let Action::Publish { id, payload } = change.action else { return None };
            let what = What::Published { id, payload: Some(payload), gone: Vec::new() };
            vec![Step { node, new: None, what }]
        }
        Err(Undecided::Refused(_) | Undecided::Unseen(_) | Undecided::Uncounted) => return None,
    };
    let made = steps.into_iter().filter_map(|step| step.make(hub, account, publisher, writes));
    Some(Published(made.collect()))
}

impl Published {
    /// Tells the devices that are interested, behind the commit.
    pub(crate) fn tell(self, hub: &Hub, account: &mut Account, ticket: Ticket) {
        for (name, meta, events) in self.0 {
            share_with_own(hub, account, &name, &meta, (events, ticket));
        }
    }
}
