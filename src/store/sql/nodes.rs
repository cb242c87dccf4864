//! Reading the items of nodes. Many rows come as one, packed, like those of a log.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::AnyConnection;
use sqlx::query::{QueryAs, QueryScalar};
use unisono_core::ids::{AccountId, LogPosition};
use unisono_core::storage::{BoxFuture, ITEM_BYTES, ItemPage, ItemQuery, NodeItem, Nodes, StoreError};

use super::SqlStore;
use super::database::composed;
use super::error::read_error;
use super::index::{NAMED_MAX, filled, parameters};
use crate::hash::Hasher;
use crate::pack::Unpacker;

impl Nodes for SqlStore {
    fn items<'a>(
        &'a self,
        account: AccountId,
        node: &'a str,
        query: &'a ItemQuery,
    ) -> BoxFuture<'a, Result<ItemPage, StoreError>> {
        Box::pin(async move {
            let hasher = self.shared.hasher;
            let question = Question { account, node: hasher.hash(node), hasher, query };
            let page = async |connection: &mut AnyConnection| match &query.ids {
                Some(ids) => question.named(connection, ids).await,
                None => question.page(connection).await,
            };
            self.shared.database.read(page).await
        })
    }

    fn items_bytes(&self, account: AccountId) -> BoxFuture<'_, Result<u64, StoreError>> {
        const BYTES: &str = "SELECT CAST(coalesce(sum(octet_length(payload) + octet_length(id) + $2), 0) AS BIGINT) \
            FROM item WHERE account = $1";
        Box::pin(async move {
            let query = sqlx::query_scalar::<_, i64>(BYTES).bind(account.0).bind(i64::from(ITEM_BYTES));
            let bytes =
                async |connection: &mut AnyConnection| query.fetch_one(connection).await.map_err(read_error);
            Ok(u64::try_from(self.shared.database.read(bytes).await?).unwrap_or(0))
        })
    }

    fn last_items<'a>(
        &'a self,
        account: AccountId,
        nodes: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Option<Arc<NodeItem>>>, StoreError>> {
        Box::pin(async move {
            let hashes: Vec<i64> = nodes.iter().map(|node| self.shared.hasher.hash(node)).collect();
            let distinct: BTreeSet<i64> = hashes.iter().copied().collect();
            let distinct: Vec<i64> = distinct.into_iter().collect();
            let last = async |connection: &mut AnyConnection| last(connection, account, &distinct).await;
            let last = self.shared.database.read(last).await?;
            Ok(hashes.iter().map(|node| last.get(node).cloned()).collect())
        })
    }
}

/// A query of one node.
struct Question<'a> {
    account: AccountId,
    node: i64,
    hasher: Hasher,
    query: &'a ItemQuery,
}

/// Where the items of the page come after, and before: both are excluded.
const LOWER: &str = "coalesce((SELECT CASE WHEN position > $3 THEN position ELSE $3 END FROM item \
    WHERE account = $1 AND node = $2 AND name = $4), $3)";
const UPPER: &str = "coalesce((SELECT position FROM item \
    WHERE account = $1 AND node = $2 AND name = $5), 9223372036854775807)";

/// What [`Question::page`] reads in one row: the items, packed; how many there are in the range, no further than one more
/// than the page may have; how many of `after` and `before` there are; how many items in all, and before the page or, if
/// it is read from the end, up to its end.
type PageRow = (String, i64, i64, i64, i64);

impl Question<'_> {
    /// All in one statement, so that it is one moment that is seen.
    async fn page(&self, connection: &mut AnyConnection) -> Result<ItemPage, StoreError> {
        let query = self.query;
        let hash = |id: Option<&str>| id.map_or(0, |id| self.hasher.hash(id));
        let (after, before) = (hash(query.after.as_deref()), hash(query.before.as_deref()));
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX).min(i64::MAX.saturating_sub(1));
        // Bound: account, node, position, ids and limit; the text has columns and conditions.
        let row = sqlx::query_as::<_, PageRow>(composed(page_sql(query)))
            .bind(self.account.0)
            .bind(self.node)
            .bind(query.since.map_or(i64::MIN, |since| since.0))
            .bind(after)
            .bind(before)
            .bind(limit);
        let row = row.fetch_one(connection).await.map_err(read_error)?;
        let (packed, in_range, existing, all, upto) = row;
        let asked: BTreeSet<i64> = [after, before].into_iter().filter(|hash| *hash != 0).collect();
        if usize::try_from(existing).ok() != Some(asked.len()) {
            return Err(StoreError::NotFound);
        }
        let items = unpack(&packed)?;
        let shown = i64::try_from(items.len()).unwrap_or(i64::MAX);
        let index = if query.from_end { upto.saturating_sub(shown) } else { upto };
        Ok(ItemPage {
            complete: in_range <= limit,
            count: query.counted.then(|| u64::try_from(all).unwrap_or(0)),
            index: (query.counted && shown > 0).then(|| u64::try_from(index).unwrap_or(0)),
            items,
        })
    }

    /// A page of items that are asked for by name: of all of them their places, then those of the page.
    async fn named<I: AsRef<str>>(
        &self,
        connection: &mut AnyConnection,
        ids: &[I],
    ) -> Result<ItemPage, StoreError> {
        let query = self.query;
        let wanted: BTreeSet<i64> = ids.iter().map(|id| self.hasher.hash(id.as_ref())).collect();
        let hash = |id: &Option<_>| id.as_deref().map(|id: &str| self.hasher.hash(id));
        let (after, before) = (hash(&query.after), hash(&query.before));
        let sought: BTreeSet<i64> = wanted.iter().copied().chain(after).chain(before).collect();
        let places = self.places(connection, &sought.into_iter().collect::<Vec<_>>()).await?;
        let place = |name| places.get(&name).copied().ok_or(StoreError::NotFound);
        let after = after.map_or(Ok(i64::MIN), place)?;
        let before = before.map_or(Ok(i64::MAX), place)?;

        let since = query.since.map_or(i64::MIN, |since| since.0);
        let found = places.iter().filter(|(name, position)| wanted.contains(*name) && **position > since);
        let mut found: Vec<(i64, i64)> = found.map(|(name, position)| (*position, *name)).collect();
        found.sort_unstable();
        let start = found.partition_point(|(position, _)| *position <= after);
        let end = found.partition_point(|(position, _)| *position < before).max(start);
        let beyond = end.saturating_sub(start).saturating_sub(query.limit);
        let (start, end) = if query.from_end {
            (start.saturating_add(beyond), end)
        } else {
            (start, end.saturating_sub(beyond))
        };
        let page = found.get(start..end).unwrap_or_default();
        let names: Vec<i64> = page.iter().map(|(_, name)| *name).collect();
        let as_count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Ok(ItemPage {
            items: self.items(connection, &names).await?,
            complete: beyond == 0,
            count: query.counted.then_some(as_count(found.len())),
            index: (query.counted && !page.is_empty()).then_some(as_count(start)),
        })
    }

    /// The positions of items, by the hashes of their ids.
    async fn places(
        &self,
        connection: &mut AnyConnection,
        names: &[i64],
    ) -> Result<HashMap<i64, i64>, StoreError> {
        let mut places = HashMap::new();
        for some in names.chunks(NAMED_MAX) {
            let packed = self.gathered(connection, "concat(name, ';', position, ';')", some).await?;
            let pairs: Vec<(i64, i64)> =
                Unpacker::new(&packed).all(|packed| Ok((packed.number()?, packed.number()?)))?;
            places.extend(pairs);
        }
        Ok(places)
    }

    async fn items(
        &self,
        connection: &mut AnyConnection,
        names: &[i64],
    ) -> Result<Vec<Arc<NodeItem>>, StoreError> {
        let mut items = Vec::with_capacity(names.len());
        for some in names.chunks(NAMED_MAX) {
            let packed = self.gathered(connection, &item_sql(self.query.without_payloads), some).await?;
            items.extend(unpack(&packed)?);
        }
        items.sort_by_key(|item| item.position);
        Ok(items)
    }

    /// One value of each of these items, as one text.
    async fn gathered(
        &self,
        connection: &mut AnyConnection,
        value: &str,
        names: &[i64],
    ) -> Result<String, StoreError> {
        let sql = named_sql(value, names.len());
        // Bound: account, node and names; the text has their number, and an expression of ours.
        let query = sqlx::query_scalar(composed(sql)).bind(self.account.0).bind(self.node);
        filled(names).fold(query, QueryScalar::bind).fetch_one(connection).await.map_err(read_error)
    }
}

/// An item, packed.
fn item_sql(without_payload: bool) -> String {
    let payload = if without_payload { "'0:'" } else { "octet_length(payload), ':', payload" };
    format!(
        "concat(position, ';', octet_length(id), ':', id, coalesce(octet_length(publisher), -1), ':', publisher, \
         {payload})"
    )
}

/// Account $1, node $2, position to begin after $3, the hashes of ids to begin after $4 and to end before $5 (0: none),
/// limit $6.
fn page_sql(query: &ItemQuery) -> String {
    const COUNT: &str = "(SELECT count(*) FROM item WHERE account = $1 AND node = $2 AND position > $3";
    let item = item_sql(query.without_payloads);
    let payload = if query.without_payloads { "" } else { ", payload" };
    let range =
        format!("FROM item WHERE account = $1 AND node = $2 AND position > {LOWER} AND position < {UPPER}");
    let order = if query.from_end { "DESC" } else { "ASC" };
    let (all, upto) = match (query.counted, query.from_end) {
        (false, _) => ("0".to_owned(), "0".to_owned()),
        (true, false) => (format!("{COUNT})"), format!("{COUNT} AND position <= {LOWER})")),
        (true, true) => (format!("{COUNT})"), format!("{COUNT} AND position < {UPPER})")),
    };
    format!(
        "SELECT coalesce((SELECT string_agg({item}, '') FROM \
         (SELECT position, id, publisher{payload} {range} ORDER BY position {order} LIMIT $6) AS page), ''), \
         (SELECT count(*) FROM (SELECT position {range} LIMIT $6 + 1) AS page), \
         (SELECT count(*) FROM item WHERE account = $1 AND node = $2 AND name IN ($4, $5)), {all}, {upto}"
    )
}

/// Account $1, node $2, then hashes of ids.
fn named_sql(value: &str, names: usize) -> String {
    format!(
        "SELECT coalesce(string_agg({value}, ''), '') FROM item WHERE account = $1 AND node = $2 AND name IN ({})",
        parameters(3, names)
    )
}

/// Account $1, then hashes of nodes.
fn last_sql(nodes: usize) -> String {
    format!(
        "SELECT coalesce(string_agg(concat(node, ';', {}), ''), '') FROM (VALUES ({})) AS v \
         CROSS JOIN item WHERE account = $1 AND node = v.column1 AND position = (SELECT newest.position FROM item AS newest \
         WHERE newest.account = $1 AND newest.node = v.column1 ORDER BY newest.position DESC LIMIT 1)",
        item_sql(false),
        parameters(2, nodes).replace(", ", "), (")
    )
}

/// Nodes that one statement names.
const NODES_MAX: usize = 256;

/// The newest item of each of these nodes, each named once, by the hashes of their names.
async fn last(
    connection: &mut AnyConnection,
    account: AccountId,
    nodes: &[i64],
) -> Result<HashMap<i64, Arc<NodeItem>>, StoreError> {
    let mut last = HashMap::new();
    for some in nodes.chunks(NODES_MAX) {
        // Bound: account and nodes; the text has their number only. What fills it up is no node's hash.
        let query = sqlx::query_as::<_, (String,)>(composed(last_sql(some.len()))).bind(account.0);
        let nodes = filled(some).enumerate().map(|(n, node)| if n < some.len() { node } else { 0 });
        let (packed,) =
            nodes.fold(query, QueryAs::bind).fetch_one(&mut *connection).await.map_err(read_error)?;
        last.extend(Unpacker::new(&packed).all(|packed| Ok((packed.number()?, item(packed)?)))?);
    }
    Ok(last)
}

/// Items in whatever order, oldest first.
fn unpack(packed: &str) -> Result<Vec<Arc<NodeItem>>, StoreError> {
    let mut items = Unpacker::new(packed).all(item)?;
    items.sort_by_key(|item| item.position);
    Ok(items)
}

fn item(packed: &mut Unpacker<'_>) -> Result<Arc<NodeItem>, StoreError> {
    let position = LogPosition(packed.number()?);
    let id = packed.text()?.into();
    let publisher = packed.text_or_none()?.map(str::parse).transpose();
    let publisher =
        publisher.map_err(|_| StoreError::Corrupt("an item of a publisher without an address".to_owned()))?;
    Ok(Arc::new(NodeItem { id, position, publisher, payload: packed.text()?.to_owned() }))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use sqlx::Executor as _;
    use unisono_core::storage::{KEEP_ALL, Write};

    use super::*;
    use crate::contract::Subject;

    /// How SQLite goes about a statement.
    pub(in crate::sql) async fn sqlite_plan(subject: &Subject, statement: &str) -> Vec<String> {
        let mut reader = subject.sql().unwrap().shared.database.reader().await.unwrap();
        let explain = composed(format!("EXPLAIN QUERY PLAN {statement}"));
        let query = sqlx::query_as::<_, (i64, i64, i64, String)>(explain);
        let query = (0..40).fold(query, |query, _| query.bind(1_i64));
        let plan = query.fetch_all(&mut reader.connection).await.unwrap();
        plan.into_iter().map(|(_, _, _, detail)| detail).collect()
    }

    /// Nothing is read but what the index finds, and nothing is sorted.
    pub(in crate::sql) fn no_scan(plan: &[String]) {
        for step in plan {
            let table = ["SCAN item", "SCAN newest", "SCAN mark"].iter().any(|scan| step.starts_with(scan));
            let whole = step.contains("(account=?)") || step.ends_with("(account=? AND node=?)");
            // The last item is the first that is found.
            let ends = whole && step.contains("COVERING INDEX item_position");
            assert!(!table && !step.contains("TEMP B-TREE") && (!whole || ends), "{step} in {plan:#?}");
        }
    }

    /// A server with many items, which knows about them.
    pub(in crate::sql) async fn filled_postgres() -> Option<Subject> {
        let subject = Subject::postgres().await?;
        for n in 0..200_i64 {
            let account = AccountId(n % 20 + 1);
            let item = |i: i64| NodeItem {
                id: format!("item {i}").into(),
                position: LogPosition(n * 1000 + i),
                publisher: None,
                payload: "<p/>".to_owned(),
            };
            let node = format!("node {n}");
            let put =
                |i| Write::Item { account, node: (&*node).into(), item: Arc::new(item(i)), keep: KEEP_ALL };
            subject.submit((0..50).map(put));
        }
        subject.write([]).await;
        let mut reader = subject.sql().unwrap().shared.database.reader().await.unwrap();
        reader.connection.execute("ANALYZE").await.unwrap();
        drop(reader);
        Some(subject)
    }

    pub(in crate::sql) async fn postgres_plan(subject: &Subject, statement: &str) -> String {
        let mut reader = subject.sql().unwrap().shared.database.reader().await.unwrap();
        let values = (1..=40).rev().fold(statement.to_owned(), |text, n| text.replace(&format!("${n}"), "1"));
        let explain = sqlx::query_scalar::<_, String>(composed(format!("EXPLAIN {values}")));
        explain.fetch_all(&mut reader.connection).await.unwrap().join("\n")
    }

    fn questions() -> Vec<String> {
        let mut questions: Vec<String> = (0..8)
            .map(|case| {
                page_sql(&ItemQuery {
                    from_end: case & 1 != 0,
                    counted: case & 2 != 0,
                    without_payloads: case & 4 != 0,
                    ..ItemQuery::default()
                })
            })
            .collect();
        questions.extend([1, 9].map(|names| named_sql(&item_sql(true), names)));
        questions.extend([1, 9].map(last_sql));
        questions
    }

    #[tokio::test]
    async fn no_page_of_items_scans_or_sorts() {
        let subject = Subject::sqlite().await;
        for question in questions() {
            let plan = sqlite_plan(&subject, &question).await;
            no_scan(&plan);
            assert!(plan.iter().any(|step| step.starts_with("SEARCH item USING")), "{plan:#?}");
        }
    }

    #[tokio::test]
    async fn no_page_of_items_scans_on_postgres() {
        let Some(subject) = filled_postgres().await else { return };
        for question in questions() {
            let plan = postgres_plan(&subject, &question).await;
            assert!(!plan.contains("Seq Scan") && !plan.contains("Sort"), "{question} {plan}");
        }
    }
}
