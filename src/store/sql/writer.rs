//! The writer: drains the commit queue, one transaction for all that waits, in order.
//!
//! What fails is tried again until it works, and nothing later overtakes it. If the database refuses what
//! a commit says rather than failing itself, the batch is taken apart, and the one commit that cannot be
//! stored stops the writer: its ticket never becomes durable, nor does any later one, so nothing of it is
//! acknowledged or delivered, and [`Journal::failing`](unisono_core::storage::Journal::failing) says why
//! until the operator restarts the server. To go on without it would be to lose it in silence.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AnyConnection, Connection as _, Executor as _};
use tokio::time::{Instant, sleep, timeout};
use unisono_core::ids::Ticket;
use unisono_core::storage::Commit;

use super::Shared;
use super::commit;
use super::database::{Kind, composed};
use super::error::{CommitError, read_error};
use super::indexer;
use super::message::{Columns, PACKED};
use super::plan::Plan;
use super::publish;
use crate::durability::wake_all;
use crate::pack::Unpacker;

/// A commit in the queue.
pub(super) type Queued = (Ticket, Commit);

/// After how many messages the index is brought up to date.
const INDEX_EVERY: u64 = 20_000;
/// After how much quiet it is. Tests choose the moment.
const INDEX_IDLE: Duration = Duration::from_secs(if cfg!(test) { 60 } else { 2 });
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The writing side of a store: one connection, and the number of the next message.
pub(super) struct Writer {
    /// None after a failure: the next one who writes connects again.
    pub(super) connection: Option<AnyConnection>,
    pub(super) next: i64,
}

/// Whether a connection on which something failed still answers, and has left its transaction behind.
pub(super) async fn is_usable(connection: &mut AnyConnection) -> bool {
    connection.ping().await.is_ok() && !connection.is_in_transaction()
}

/// What becomes of the writer after a batch.
#[derive(PartialEq, Eq)]
enum Outcome {
    Committed,
    Ends,
}

/// Runs until the store is closed, or a commit cannot be stored.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut indexing = Indexing::default();
    loop {
        let batch = shared.queue.take();
        let is_idle = batch.is_empty();
        if is_idle && shared.queue.is_closing() {
            break;
        }
        if !is_idle && commit_in_order(&shared, batch).await == Outcome::Ends {
            return;
        }
        if indexing.is_due(&shared) {
            indexing.step(&shared).await;
        } else if is_idle {
            indexing.rest(&shared).await;
        }
    }
    if let Err(error) = indexer::settle(&shared).await {
        tracing::warn!(error = error.text(), "cannot index the logs; the next start will");
    }
}

/// When the writer does the work of the indexer.
#[derive(Default)]
struct Indexing {
    is_under_way: bool,
    not_before: Option<Instant>,
}

impl Indexing {
    /// Whether a slice is due between two batches.
    fn is_due(&self, shared: &Shared) -> bool {
        let may = self.not_before.is_none_or(|not_before| Instant::now() >= not_before);
        may && (self.is_under_way || shared.tail().length() >= INDEX_EVERY)
    }

    /// Waits for work, and begins to index when there is none for a while.
    async fn rest(&mut self, shared: &Shared) {
        let is_settled = shared.tail().is_settled();
        if is_settled {
            shared.queue.arrived().await;
        } else {
            self.is_under_way = timeout(INDEX_IDLE, shared.queue.arrived()).await.is_err();
        }
    }

    /// Does a slice. A failure costs nothing but memory and the time of the next start.
    async fn step(&mut self, shared: &Shared) {
        match indexer::step(shared).await {
            Ok(is_under_way) => {
                (self.is_under_way, self.not_before) = (is_under_way, None);
            }
            Err(error) => {
                tracing::warn!(error = error.text(), "cannot index the logs; will try again");
                self.is_under_way = false;
                self.not_before = Instant::now().checked_add(INDEX_IDLE);
            }
        }
    }
}

/// Commits a batch, whole or in parts. Returns when all of it is durable, or nothing more ever will be.
async fn commit_in_order(shared: &Shared, batch: Vec<Queued>) -> Outcome {
    let mut parts = vec![batch];
    while let Some(part) = parts.pop() {
        let mut retry = Retry::default();
        loop {
            match attempt(shared, &part, retry.is_retry()).await {
                Ok(()) => break,
                Err(CommitError::Inherent(text)) if retry.was_inherent && part.len() <= 1 => {
                    stop(shared, &part, &text);
                    return Outcome::Ends;
                }
                // The last part of the stack is the next in order.
                Err(CommitError::Inherent(_)) if retry.was_inherent => {
                    parts.extend(part.into_iter().rev().map(|queued| vec![queued]));
                    break;
                }
                Err(error) => {
                    report(shared, &error);
                    if shared.queue.is_closing() {
                        let lost = shared.queue.waiting().saturating_add(part.len());
                        tracing::error!(lost, "the store closes with commits that it could not write");
                        return Outcome::Ends;
                    }
                    retry.pause(&error).await;
                }
            }
        }
    }
    Outcome::Committed
}

/// How a part was tried so far.
#[derive(Default)]
struct Retry {
    pause: Option<Duration>,
    was_inherent: bool,
}

impl Retry {
    fn is_retry(&self) -> bool {
        self.pause.is_some()
    }

    async fn pause(&mut self, error: &CommitError) {
        let pause = self.pause.map_or(RETRY_MIN, |pause| pause.saturating_mul(2).min(RETRY_MAX));
        self.was_inherent = matches!(error, CommitError::Inherent(_));
        self.pause = Some(pause);
        sleep(pause).await;
    }
}

/// Tries to commit a part, and tells all who wait for it.
async fn attempt(shared: &Shared, part: &[Queued], is_retry: bool) -> Result<(), CommitError> {
    let started = Instant::now();
    let work = async |connection: &mut AnyConnection, next: &mut i64| {
        let plan = Plan::new(part.iter().map(|(_, commit)| commit), shared.hasher, *next);
        // A connection that broke during COMMIT leaves open whether it worked.
        let is_done = is_retry && is_durable(connection, &plan, *next).await?;
        if !is_done {
            transact(shared, connection, &plan).await?;
        }
        *next = next.saturating_add(plan.count());
        Ok::<_, CommitError>(plan)
    };
    let plan = shared.alone(work).await?;

    shared.tail_mut().publish(&plan);
    if shared.queue.set_failing(None) {
        tracing::info!("commits work again");
    }
    metrics::histogram!("unisono_store_commit_seconds").record(started.elapsed());
    metrics::counter!("unisono_store_messages_total").increment(plan.count().cast_unsigned());
    if let Some((ticket, _)) = part.last() {
        shared.durability.advance(*ticket);
    }
    wake_all(part.iter().flat_map(|(_, commit)| &commit.wake).cloned().collect());
    Ok(())
}

/// Whether the messages of a plan are stored, or its last item of a node: then all of its transaction is. `next` is the
/// first number that nobody but us may have given.
async fn is_durable(connection: &mut AnyConnection, plan: &Plan<'_>, next: i64) -> Result<bool, CommitError> {
    const NEWEST: &str = "SELECT coalesce(max(id), 0) FROM message";
    let newest: i64 = sqlx::query_scalar(NEWEST).fetch_one(&mut *connection).await?;
    if newest < next {
        // What has no number can be written twice, but for items: those that stay depend on those that came first.
        let last = plan.publishing.last().filter(|_| plan.messages.is_empty());
        let Some(last) = last else { return Ok(false) };
        return Ok(publish::is_published(connection, last).await?);
    }
    let foreign = || CommitError::Inherent("another server has written to this database".to_owned());
    let ours =
        plan.messages.last().map(|last| last.columns).filter(|last| last.id == newest).ok_or_else(foreign)?;
    // Bound: the id; the text is a constant.
    let sql = composed(format!("SELECT {PACKED} FROM message WHERE id = $1"));
    let packed: String = sqlx::query_scalar(sql).bind(newest).fetch_one(connection).await?;
    let stored = Columns::unpack(&mut Unpacker::new(&packed));
    if stored.is_ok_and(|stored| stored == ours) { Ok(true) } else { Err(foreign()) }
}

async fn transact(
    shared: &Shared,
    connection: &mut AnyConnection,
    plan: &Plan<'_>,
) -> Result<(), CommitError> {
    let (kind, hasher) = (shared.database.kind, shared.hasher);
    if commit::is_one_statement(plan) {
        return commit::write(connection, kind, hasher, plan, &shared.tail).await;
    }
    let mut transaction = connection.begin().await?;
    commit::write(&mut transaction, kind, hasher, plan, &shared.tail).await?;
    transaction.commit().await?;
    Ok(())
}

/// Logs once when commits begin to fail, not at each try.
fn report(shared: &Shared, error: &CommitError) {
    metrics::counter!("unisono_store_commit_failures_total").increment(1);
    if shared.queue.set_failing(Some(error.text().to_owned())) {
        tracing::error!(error = error.text(), "cannot commit; nothing is acknowledged until it works");
    }
}

/// The end: see the module.
fn stop(shared: &Shared, part: &[Queued], text: &str) {
    metrics::counter!("unisono_store_commits_refused_total").increment(1);
    let ticket = part.first().map_or(0, |(ticket, _)| ticket.0);
    shared.queue.set_failing(Some(format!("stopped at a commit that the database refuses: {text}")));
    tracing::error!(ticket, error = text, "the database refuses a commit; nothing is stored any more");
}

/// Ends the connection of the writer.
pub(super) async fn close(shared: &Shared) {
    let close = async {
        let connection = shared.writer.lock().await.connection.take();
        let Some(mut connection) = connection else { return Ok(()) };
        if shared.database.kind == Kind::Postgres {
            // The server would do it some time after the connection has ended, and who comes next may not wait.
            connection.execute("SELECT pg_advisory_unlock_all()").await.map_err(read_error)?;
        }
        connection.close().await.map_err(read_error)
    };
    if let Err(error) = shared.database.answered(close).await {
        tracing::warn!(%error, "cannot close the store");
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use unisono_core::ids::{AccountId, LogPosition};
    use unisono_core::storage::{KEEP_ALL, NodeItem, Write};

    use super::*;
    use crate::contract::Subject;

    /// Who lost the connection in the middle of COMMIT sees whether the items are there.
    #[tokio::test]
    async fn items_are_not_published_again_when_they_are_durable() {
        let mut subjects = vec![Subject::sqlite().await];
        subjects.extend(Subject::postgres().await);
        for subject in subjects {
            let item = |position| NodeItem {
                id: "i".into(),
                position: LogPosition(position),
                publisher: None,
                payload: String::new(),
            };
            let put = |position| Write::Item {
                account: AccountId(1),
                node: "n".into(),
                item: Arc::new(item(position)),
                keep: KEEP_ALL,
            };
            subject.write([put(10)]).await;
            let shared = &subject.sql().unwrap().shared;
            for (position, expected) in [(10, true), (11, false)] {
                let commit = Commit { writes: vec![put(position)], wake: Vec::new() };
                let check = async |connection: &mut AnyConnection, next: &mut i64| {
                    let plan = Plan::new([&commit], shared.hasher, *next);
                    is_durable(connection, &plan, *next).await
                };
                assert_eq!(shared.alone(check).await.unwrap(), expected, "{position}");
            }
        }
    }
}
