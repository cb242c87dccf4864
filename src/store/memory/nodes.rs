//! Items of nodes in memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::ids::{AccountId, LogPosition};
use unisono_core::storage::{BoxFuture, ITEM_BYTES, ItemPage, ItemQuery, NodeItem, Nodes, StoreError};

use super::MemoryStore;
use super::holdings::Holdings;

impl Nodes for MemoryStore {
    fn items<'a>(
        &'a self,
        account: AccountId,
        node: &'a str,
        query: &'a ItemQuery,
    ) -> BoxFuture<'a, Result<ItemPage, StoreError>> {
        self.read(|content| {
            let items = content.holdings.get(&account).and_then(|holdings| holdings.nodes.get(node));
            page(items.map_or(&[], Vec::as_slice), query)
        })
    }

    fn items_bytes(&self, account: AccountId) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.read(|content| {
            let items =
                content.holdings.get(&account).into_iter().flat_map(|holdings| holdings.nodes.values());
            let bytes = items.flatten().map(|item| item.payload.len().saturating_add(item.id.len()));
            let each = u64::from(ITEM_BYTES);
            let bytes = bytes.filter_map(|bytes| u64::try_from(bytes).ok());
            Ok(bytes.fold(0_u64, |all, bytes| all.saturating_add(bytes).saturating_add(each)))
        })
    }

    fn last_items<'a>(
        &'a self,
        account: AccountId,
        nodes: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Option<Arc<NodeItem>>>, StoreError>> {
        self.read(|content| {
            if content.spoilt.contains(&account) {
                return Err(StoreError::Corrupt("an item".to_owned()));
            }
            let holdings = content.holdings.get(&account);
            let last = |node: &&str| holdings?.nodes.get(*node)?.last().cloned();
            Ok(nodes.iter().map(last).collect())
        })
    }
}

impl Holdings {
    pub(super) fn publish(&mut self, node: &CompactString, item: &Arc<NodeItem>, keep: u32) {
        self.head = self.head.max(item.position);
        let items = self.nodes.entry(node.clone()).or_default();
        items.retain(|other| other.id != item.id);
        let place = items.partition_point(|other| other.position <= item.position);
        items.insert(place, Arc::clone(item));
        let excess = items.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
        items.drain(..excess);
    }

    pub(super) fn retract_item(&mut self, node: &str, id: &str) {
        if let Some(items) = self.nodes.get_mut(node) {
            items.retain(|item| item.id != id);
        }
    }
}

fn page(items: &[Arc<NodeItem>], query: &ItemQuery) -> Result<ItemPage, StoreError> {
    let position = |id: &CompactString| {
        let item = items.iter().find(|item| item.id == *id);
        item.map(|item| item.position).ok_or(StoreError::NotFound)
    };
    let after = query.after.as_ref().map(position).transpose()?;
    let before = query.before.as_ref().map(position).transpose()?;
    let ids: Option<BTreeSet<&CompactString>> = query.ids.as_ref().map(|ids| ids.iter().collect());
    let all = items.iter().filter(|item| {
        ids.as_ref().is_none_or(|ids| ids.contains(&item.id))
            && query.since.is_none_or(|since| item.position > since)
    });
    let all: Vec<&Arc<NodeItem>> = all.collect();
    let is_in_range = |position: LogPosition| {
        after.is_none_or(|after| position > after) && before.is_none_or(|before| position < before)
    };
    let range = all.iter().enumerate().filter(|(_, item)| is_in_range(item.position));
    let range: Vec<(usize, &&Arc<NodeItem>)> = range.collect();
    let beyond = range.len().saturating_sub(query.limit);
    let page = if query.from_end { range.get(beyond..) } else { range.get(..query.limit.min(range.len())) };
    let page = page.unwrap_or_default();

    let as_count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let shown = |item: &Arc<NodeItem>| {
        if query.without_payloads {
            let (id, publisher) = (item.id.clone(), item.publisher.clone());
            Arc::new(NodeItem { id, position: item.position, publisher, payload: String::new() })
        } else {
            Arc::clone(item)
        }
    };
    Ok(ItemPage {
        items: page.iter().map(|(_, item)| shown(item)).collect(),
        complete: beyond == 0,
        count: query.counted.then_some(as_count(all.len())),
        index: page.first().filter(|_| query.counted).map(|(index, _)| as_count(*index)),
    })
}
