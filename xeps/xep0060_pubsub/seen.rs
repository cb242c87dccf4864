//! The items of nodes that a decision depends on, as they were read before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::account::{Account, Cell};
use unisono_core::hub::Hub;
use unisono_core::ids::LogPosition;
use unisono_core::stanza::{CLIENT_SCOPE, OUR_LIMITS};
use unisono_core::storage::{ItemQuery, NodeItem, StoreError};
use unisono_xml::Element;

use super::node::Node;

/// Bytes of payloads that one decision may have to see,
const SEEN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// and items that are read at once.
const READ_MAX: usize = 500;

/// The items of some nodes, as they were read.
#[derive(Default)]
pub(crate) struct Seen {
    /// By node, when it had changed; none if there was no such node.
    nodes: BTreeMap<&'static str, (Option<LogPosition>, Vec<Arc<NodeItem>>)>,
    /// There was more than one decision may have to see.
    is_cut: bool,
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

    /// Whether that is all that the nodes hold. Where it is not, only so much is certain of the one that was read last:
    /// that it holds too much.
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_cut
    }

    /// Whether the nodes are as they were seen.
    pub(super) fn is_current(&self, account: &Account, nodes: &[&'static str]) -> bool {
        nodes.iter().all(|name| {
            let now = account.keyed::<Node>(name).map(|node| node.changed);
            self.nodes.get(name).is_some_and(|(then, _)| *then == now)
        })
    }

    /// Reads the items of nodes, one node after the other, up to the limit of what may be seen at once.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) async fn read(hub: &Hub, cell: &Cell, names: &[&'static str]) -> Result<Self, StoreError> {
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
                seen.is_cut |= bytes > SEEN_BYTES_MAX;
                if is_last || seen.is_cut {
                    break;
                }
            }
            seen.nodes.insert(name, (changed, read));
        }
        Ok(seen)
    }
}
