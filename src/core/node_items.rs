//! The items of nodes (XEP-0060), as they are kept.

use std::sync::Arc;

use compact_str::CompactString;

use crate::ids::{AccountId, LogPosition};
use crate::jid::Jid;
use crate::storage::{BoxFuture, StoreError};
#[cfg(doc)]
use crate::storage::{Document, Write};

/// [`Write::Item`] forgets no item, and does not look for one to forget.
pub const KEEP_ALL: u32 = u32::MAX;

/// What is kept of an item beside its payload and its id, in bytes, about.
pub const ITEM_BYTES: u32 = 100;

/// An item of a node (XEP-0060).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeItem {
    /// Names the item in its node.
    pub id: CompactString,
    /// From the counter that numbers the account's log, so its microseconds are the time of publication. An item that
    /// is published again gets a new one.
    pub position: LogPosition,
    pub publisher: Option<Jid>,
    /// The serialised payload. The store does not look into it.
    pub payload: String,
}

/// Which items of a node. The default is the first page, oldest first.
#[derive(Clone, Debug)]
pub struct ItemQuery {
    /// Only the items with these ids; those that are not there are left out.
    pub ids: Option<Vec<CompactString>>,
    /// Only items after this position (XEP-0312).
    pub since: Option<LogPosition>,
    /// Only items after the one with this id, which must be there, else the answer is `StoreError::NotFound`.
    pub after: Option<CompactString>,
    /// Only items before the one with this id, which must be there as well.
    pub before: Option<CompactString>,
    pub limit: usize,
    /// Whether the page is the last of the range instead of the first. Items come oldest first anyway.
    pub from_end: bool,
    /// Whether `ItemPage::count` and `index` are wanted.
    pub counted: bool,
    /// Whether payloads are not wanted: they come empty, and are not read.
    pub without_payloads: bool,
}

impl Default for ItemQuery {
    fn default() -> Self {
        Self {
            ids: None,
            since: None,
            after: None,
            before: None,
            limit: 50,
            from_end: false,
            counted: false,
            without_payloads: false,
        }
    }
}

/// A page of the items of a node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ItemPage {
    /// Oldest first.
    pub items: Vec<Arc<NodeItem>>,
    /// Whether nothing more of the queried range lies beyond the page, in the direction of paging.
    pub complete: bool,
    /// All items of the range without `after` and `before` of the page, as XEP-0059 counts.
    pub count: Option<u64>,
    /// The index of the first item of the page in that count.
    pub index: Option<u64>,
}

/// The items of an account's nodes. What else there is of a node is a [`Document`]. What was submitted to the journal
/// is visible when it is durable; a node that nobody has heard of has no items.
pub trait Nodes: Send + Sync {
    fn items<'a>(
        &'a self,
        account: AccountId,
        node: &'a str,
        query: &'a ItemQuery,
    ) -> BoxFuture<'a, Result<ItemPage, StoreError>>;
    /// What all items of an account take: bytes of payloads and ids, and [`ITEM_BYTES`] for each.
    fn items_bytes(&self, account: AccountId) -> BoxFuture<'_, Result<u64, StoreError>>;
    /// The newest item of each of these nodes, in their order.
    fn last_items<'a>(
        &'a self,
        account: AccountId,
        nodes: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Option<Arc<NodeItem>>>, StoreError>>;
}
