//! Writing the items of nodes: what a batch does to each of them, and how it is written.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AnyConnection;
use unisono_core::ids::{AccountId, LogPosition};
use unisono_core::storage::{KEEP_ALL, NodeItem};

use super::bulk::{Binding, Bulk};
use super::database::Kind;
use crate::hash::Hasher;
use crate::pack::storable;

/// What a batch does to the items of nodes.
///
/// What the oldest items give way to depends on what was there at that moment, so not all writes to a node can be
/// brought together: to forget the fourth newest and then the newest leaves two of four, the other way round it leaves
/// three. So a node takes one step, almost always, and further ones where the order makes a difference.
#[derive(Default)]
pub(super) struct Publishing<'a> {
    nodes: BTreeMap<(AccountId, &'a str), Vec<Step<'a>>>,
    /// The last position that an item of each account got.
    last: BTreeMap<AccountId, LogPosition>,
}

/// What happens to a node at once: it loses items, then it gets some, then the oldest go.
#[derive(Default)]
struct Step<'a> {
    is_purged: bool,
    retracted: BTreeSet<&'a str>,
    items: BTreeMap<&'a str, &'a NodeItem>,
    /// Unless it gets none.
    keep: Option<u32>,
}

/// A node, with its name's hash.
type Node = (AccountId, i64);

impl<'a> Publishing<'a> {
    pub(super) fn put(&mut self, account: AccountId, node: &'a str, item: &'a NodeItem, keep: u32) {
        let steps = self.nodes.entry((account, node)).or_default();
        // As long as no more may stay than before, those that stay are the newest of all, whatever was in between.
        let step = steps.pop_if(|step| step.keep.is_none_or(|before| before >= keep));
        let mut step = step.unwrap_or_default();
        step.items.insert(&item.id, item);
        step.keep = Some(keep);
        steps.push(step);
        let last = self.last.entry(account).or_insert(item.position);
        *last = item.position.max(*last);
    }

    pub(super) fn retract(&mut self, account: AccountId, node: &'a str, id: &'a str) {
        let steps = self.nodes.entry((account, node)).or_default();
        let mut step = steps.pop_if(|step| step.items.is_empty()).unwrap_or_default();
        step.retracted.insert(id);
        steps.push(step);
    }

    pub(super) fn purge(&mut self, account: AccountId, node: &'a str) {
        let purged = Step { is_purged: true, ..Step::default() };
        self.nodes.insert((account, node), vec![purged]);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// An account that got items, and the position of the last one: if the store has that, it has all of the batch.
    pub(super) fn last(&self) -> Option<(AccountId, LogPosition)> {
        self.last.first_key_value().map(|(account, last)| (*account, *last))
    }

    pub(super) async fn write(
        &self,
        connection: &mut AnyConnection,
        kind: Kind,
        hasher: Hasher,
    ) -> sqlx::Result<()> {
        let mut round = 0;
        loop {
            let steps = self.nodes.iter().filter_map(|((account, node), steps)| {
                steps.get(round).map(|step| ((*account, hasher.hash(node)), step))
            });
            let steps: Vec<(Node, &Step<'_>)> = steps.collect();
            if steps.is_empty() {
                break;
            }
            write_steps(connection, kind, hasher, &steps).await?;
            round = round.saturating_add(1);
        }
        mark_published(connection, kind, &self.last).await
    }
}

impl<'a> Step<'a> {
    /// Those of its items that stay.
    fn newest(&self) -> Vec<&'a NodeItem> {
        let mut items: Vec<_> = self.items.values().copied().collect();
        let keep = self.keep.and_then(|keep| usize::try_from(keep).ok());
        let excess = items.len().saturating_sub(keep.unwrap_or(usize::MAX));
        if excess > 0 {
            items.sort_unstable_by_key(|item| item.position);
            items.drain(..excess);
        }
        items
    }
}

async fn write_steps(
    connection: &mut AnyConnection,
    kind: Kind,
    hasher: Hasher,
    steps: &[(Node, &Step<'_>)],
) -> sqlx::Result<()> {
    static PUT: Bulk = Bulk::new(
        "INSERT INTO item (account, node, name, position, id, publisher, payload) VALUES ",
        7,
        " ON CONFLICT (account, node, name) DO UPDATE SET position = excluded.position, id = excluded.id, \
         publisher = excluded.publisher, payload = excluded.payload",
    );
    let (mut purged, mut retracted, mut items) = (Vec::new(), Vec::new(), Vec::new());
    let mut trimmed: BTreeMap<u32, Vec<Node>> = BTreeMap::new();
    for (node, step) in steps {
        if step.is_purged {
            purged.push(*node);
        } else {
            retracted.extend(step.retracted.iter().map(|id| (*node, *id)));
        }
        items.extend(step.newest().into_iter().map(|item| (*node, item)));
        if let Some(keep) = step.keep.filter(|keep| *keep != KEEP_ALL) {
            trimmed.entry(keep).or_default().push(*node);
        }
    }
    trim(connection, kind, 0, &purged).await?;
    let bind = |query: Binding, ((account, node), id): &(Node, &str)| {
        query.bind(account.0).bind(*node).bind(hasher.hash(id))
    };
    RETRACT.run(connection, kind, &retracted, bind).await?;
    let bind = |query: Binding, ((account, node), item): &(Node, &NodeItem)| {
        query
            .bind(account.0)
            .bind(*node)
            .bind(hasher.hash(&item.id))
            .bind(item.position.0)
            .bind(storable(&item.id).into_owned())
            .bind(item.publisher.as_ref().map(|publisher| publisher.as_str().to_owned()))
            .bind(storable(&item.payload).into_owned())
    };
    PUT.run_large(connection, kind, &items, |(_, item)| item.payload.len(), bind).await?;
    for (keep, nodes) in trimmed {
        trim(connection, kind, keep, &nodes).await?;
    }
    Ok(())
}

static RETRACT: Bulk = Bulk::new("DELETE FROM item WHERE (account, node, name) IN (VALUES ", 3, ")");

/// Removes all items of each of these nodes but the newest. Of the index it reads what stays and what goes.
static TRIM: Bulk = Bulk::after_one(
    "WITH bound AS MATERIALIZED (SELECT column1, column2, (SELECT position FROM item \
     WHERE account = v.column1 AND node = v.column2 ORDER BY position DESC LIMIT 1 OFFSET $1) AS upto \
     FROM (VALUES ",
    2,
    ") AS v) DELETE FROM item WHERE (account, node, position) IN \
     (SELECT item.account, item.node, item.position FROM bound CROSS JOIN item WHERE item.account = bound.column1 \
      AND item.node = bound.column2 AND item.position <= bound.upto)",
);

async fn trim(connection: &mut AnyConnection, kind: Kind, keep: u32, nodes: &[Node]) -> sqlx::Result<u64> {
    let bind = |query: Binding, (account, node): &Node| query.bind(account.0).bind(*node);
    TRIM.run_after_one(connection, kind, i64::from(keep), nodes, bind).await
}

async fn mark_published(
    connection: &mut AnyConnection,
    kind: Kind,
    last: &BTreeMap<AccountId, LogPosition>,
) -> sqlx::Result<()> {
    static MARK: Bulk = Bulk::new(
        "INSERT INTO mark (account, delivered, published) VALUES ",
        3,
        " ON CONFLICT (account) DO UPDATE SET published = excluded.published \
         WHERE excluded.published > mark.published",
    );
    let last: Vec<_> = last.iter().map(|(account, last)| (*account, *last)).collect();
    let bind = |query: Binding, (account, last): &(AccountId, LogPosition)| {
        query.bind(account.0).bind(0_i64).bind(last.0)
    };
    MARK.run(connection, kind, &last, bind).await?;
    Ok(())
}

/// Whether an account ever gave this position to an item, or a later one.
pub(super) async fn is_published(
    connection: &mut AnyConnection,
    (account, position): (AccountId, LogPosition),
) -> sqlx::Result<bool> {
    const PUBLISHED: &str = "SELECT published FROM mark WHERE account = $1";
    let query = sqlx::query_scalar::<_, i64>(PUBLISHED).bind(account.0);
    let published = query.fetch_optional(connection).await?;
    Ok(published.is_some_and(|published| published >= position.0))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::super::nodes::tests::{filled_postgres, no_scan, postgres_plan, sqlite_plan};
    use super::*;
    use crate::contract::Subject;

    const ACCOUNT: AccountId = AccountId(1);

    fn item(id: &str, position: i64) -> NodeItem {
        let position = LogPosition(position);
        NodeItem { id: id.into(), position, publisher: None, payload: String::new() }
    }

    #[test]
    fn writes_to_a_node_are_brought_together() {
        let items: Vec<NodeItem> = (0..6).map(|n| item(&(n % 4).to_string(), n)).collect();
        let mut publishing = Publishing::default();
        publishing.retract(ACCOUNT, "n", "9");
        for item in &items {
            publishing.put(ACCOUNT, "n", item, 3);
        }
        let steps = &publishing.nodes[&(ACCOUNT, "n")];
        assert_eq!(steps.len(), 1);
        // What would give way at once is not even written.
        let positions: Vec<i64> = steps[0].newest().iter().map(|item| item.position.0).collect();
        assert_eq!(positions, [3, 4, 5]);
        assert_eq!(publishing.last(), Some((ACCOUNT, LogPosition(5))));

        publishing.retract(ACCOUNT, "n", "8");
        publishing.retract(ACCOUNT, "n", "7");
        assert_eq!(publishing.nodes[&(ACCOUNT, "n")].len(), 2);
        publishing.put(ACCOUNT, "n", &items[0], 9);
        assert_eq!(publishing.nodes[&(ACCOUNT, "n")].len(), 2);
        publishing.put(ACCOUNT, "n", &items[1], 10);
        assert_eq!(publishing.nodes[&(ACCOUNT, "n")].len(), 3);
        publishing.purge(ACCOUNT, "n");
        assert_eq!(publishing.nodes[&(ACCOUNT, "n")].len(), 1);
    }

    fn statements(kind: Kind) -> [String; 4] {
        [TRIM.compose(kind, 1), TRIM.compose(kind, 12), RETRACT.compose(kind, 1), RETRACT.compose(kind, 12)]
    }

    #[tokio::test]
    async fn what_gives_way_is_found_by_the_index() {
        let subject = Subject::sqlite().await;
        for statement in statements(Kind::Sqlite) {
            let plan = sqlite_plan(&subject, &statement).await;
            no_scan(&plan);
            assert!(plan.iter().any(|step| step.starts_with("SEARCH item USING")), "{plan:#?}");
        }
    }

    #[tokio::test]
    async fn what_gives_way_is_found_by_the_index_on_postgres() {
        let Some(subject) = filled_postgres().await else { return };
        for statement in statements(Kind::Postgres) {
            let plan = postgres_plan(&subject, &statement).await;
            assert!(!plan.contains("Seq Scan"), "{plan}");
            if statement.contains("upto") {
                assert!(plan.contains("(\"position\" <= bound.upto)"), "{plan}");
            }
        }
    }
}
