//! A disk of which a test decides how slow it is, when it fails, when the server dies in the middle of a write, and what
//! the disk holds then.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use unisono_conformance::converge::{Event, Random, Recorder};
use unisono_core::ids::{AccountId, LogPosition, SessionId, Ticket};
use unisono_core::jid::BareJid;
use unisono_core::storage::{
    AccountData, AccountState, AccountSummary, Accounts, BoxFuture, Commit, Document, Documents, Inbox,
    InboxQuery, ItemPage, ItemQuery, Journal, LogPage, LogQuery, Logs, NodeItem, Nodes, SessionRecord,
    Sessions, StoreError,
};
use unisono_store::MemoryStore;

use super::faults::{Fault, Planted};

/// Of a hundred lives of a server, those in which the disk fails for a while.
const FAILING_PERCENT: usize = 25;
/// The write at which it fails is one of the first so many.
const FAILING_WITHIN: usize = 60;
/// Of a hundred lives of a server, those that end in the middle of a write, if they last until then,
const CRASHING_PERCENT: usize = 25;
/// and the commit at which it is: one of the first so many.
const CRASHING_WITHIN: usize = 120;
/// Others may get so many turns between the write and the death.
const LAST_TURNS_MAX: usize = 4;
/// Of a hundred lives of a server, those in which the disk cannot be read now and then,
const UNREADABLE_PERCENT: usize = 30;
/// and of a hundred reads, those that fail then.
const FAILING_READS_PERCENT: usize = 6;

/// What is stored is in memory; this stands before it, and lets the server wait.
pub(super) struct Disk {
    pub(super) inner: MemoryStore,
    state: Mutex<State>,
    bell: Notify,
    /// The server has died in the middle of a write.
    pub(super) crashed: CancellationToken,
    recorder: Recorder,
}

struct State {
    random: Random,
    waiting: VecDeque<Commit>,
    last: Ticket,
    /// Commits until it fails for a while.
    until_failure: Option<usize>,
    is_failing: bool,
    /// Commits until the server dies.
    until_crash: Option<usize>,
    /// Of a hundred reads, how many fail.
    failing_reads: usize,
    /// The server is dead: nothing is taken any more.
    is_over: bool,
    planted: Planted,
}

impl Disk {
    pub(super) fn new(inner: MemoryStore, mut random: Random, fault: Fault, recorder: Recorder) -> Self {
        let mut within = |percent, most| random.percent(percent).then(|| random.between(1, most));
        let state = State {
            until_failure: within(FAILING_PERCENT, FAILING_WITHIN),
            until_crash: within(CRASHING_PERCENT, CRASHING_WITHIN),
            failing_reads: within(UNREADABLE_PERCENT, FAILING_READS_PERCENT).unwrap_or(0),
            random,
            waiting: VecDeque::new(),
            last: Ticket::NONE,
            is_failing: false,
            is_over: false,
            planted: Planted::new(fault),
        };
        let (state, bell, crashed) = (Mutex::new(state), Notify::new(), CancellationToken::new());
        Self { inner, state, bell, crashed, recorder }
    }

    /// Writes what the server hands in, until it crashes.
    pub(super) async fn work(self: Arc<Self>) {
        loop {
            self.bell.notified().await;
            while let Some(pause) = self.begin() {
                rest(pause).await;
                if let Some(turns) = self.write_some() {
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                    return self.crashed.cancel();
                }
            }
        }
    }

    /// From now on it fails no more, and the server does not die by itself.
    pub(super) fn mend(&self) {
        let mut state = self.state();
        (state.until_failure, state.until_crash, state.failing_reads) = (None, None, 0);
    }

    /// What a crash at this moment leaves: all that is durable, and perhaps some of what was being written, though nobody
    /// was told of it.
    pub(super) fn crash(&self) -> MemoryStore {
        let written: Vec<Commit> = {
            let mut state = self.state();
            state.is_over = true;
            let waiting = state.waiting.len();
            let count = state.random.between(0, waiting);
            state.waiting.drain(..count).collect()
        };
        for commit in written {
            self.inner.submit(Commit { wake: Vec::new(), ..commit });
        }
        self.inner.reopened()
    }

    /// How long the next write takes, if there is something to write.
    fn begin(&self) -> Option<Duration> {
        let mut state = self.state();
        if state.waiting.is_empty() || state.is_over {
            return None;
        }
        state.until_failure = state.until_failure.and_then(|left| left.checked_sub(1));
        state.is_failing = state.until_failure == Some(0);
        let millis = match state.random.below(100) {
            _ if state.is_failing => state.random.between(100, 2_000),
            0..50 => 0,
            50..97 => state.random.between(1, 5),
            _ => state.random.between(20, 200),
        };
        Some(Duration::from_millis(millis as u64))
    }

    /// One transaction: some of what waits, mostly all of it. If the server dies in the middle of it, how many turns
    /// others get before.
    fn write_some(&self) -> Option<usize> {
        let batch = self.state().next_batch();
        for Commit { writes, wake } in batch.commits {
            self.inner.submit(Commit { writes, wake: if batch.is_told { wake } else { Vec::new() } });
        }
        batch.dies_after
    }

    /// A question to the store that takes its time: before it is answered, or before the answer arrives. Sometimes there
    /// is none.
    fn read<'a, T: Send + 'a>(
        &'a self,
        ask: impl FnOnce() -> BoxFuture<'a, Result<T, StoreError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        let (pauses, fails) = {
            let mut state = self.state();
            let mut pause = || if state.random.percent(20) { state.random.between(0, 3) } else { 0 };
            let pauses = [pause(), pause()].map(|millis| Duration::from_millis(millis as u64));
            let percent = state.failing_reads;
            (pauses, state.random.percent(percent))
        };
        Box::pin(async move {
            rest(pauses[0]).await;
            if fails {
                self.recorder.add(Event::StoreFailed);
                return Err(StoreError::Unavailable("the disk is told to fail".to_owned()));
            }
            let answer = ask().await;
            rest(pauses[1]).await;
            answer
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// What is written at once.
struct Batch {
    commits: Vec<Commit>,
    /// Those who wait for it learn that it is durable.
    is_told: bool,
    /// The server dies, when others had so many turns.
    dies_after: Option<usize>,
}

impl State {
    fn next_batch(&mut self) -> Batch {
        self.is_failing = false;
        let waiting = self.waiting.len();
        let count = if self.random.percent(70) { waiting } else { self.random.between(1, waiting) };
        let count = count.min(waiting);
        match self.until_crash {
            Some(left) if left <= count => self.last_batch(left),
            left => {
                self.until_crash = left.map(|left| left - count);
                Batch { commits: self.waiting.drain(..count).collect(), is_told: true, dies_after: None }
            }
        }
    }

    /// The server dies at this commit of those that wait: it is durable or not, and what comes after it is not.
    fn last_batch(&mut self, number: usize) -> Batch {
        let count = number - usize::from(self.random.percent(50));
        let commits = self.waiting.drain(..count).collect();
        self.waiting.clear();
        self.is_over = true;
        let dies_after = Some(self.random.between(0, LAST_TURNS_MAX));
        Batch { commits, is_told: self.random.percent(60), dies_after }
    }
}

async fn rest(pause: Duration) {
    if pause.is_zero() {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(pause).await;
    }
}

impl Journal for Disk {
    fn submit(&self, commit: Commit) -> Ticket {
        let (ticket, early) = {
            let mut state = self.state();
            state.last = Ticket(state.last.0 + 1);
            let early = state.planted.acknowledges_early().then(|| commit.wake.clone());
            state.planted.submitted(&commit);
            if !state.is_over {
                state.waiting.push_back(commit);
            }
            (state.last, early)
        };
        self.bell.notify_one();
        for each in early.into_iter().flatten() {
            each.wake();
        }
        ticket
    }

    fn durable(&self) -> Ticket {
        let state = self.state();
        if state.planted.acknowledges_early() { state.last } else { self.inner.durable() }
    }

    fn wait(&self, ticket: Ticket) -> BoxFuture<'_, ()> {
        if ticket <= self.durable() { Box::pin(std::future::ready(())) } else { self.inner.wait(ticket) }
    }

    fn failing(&self) -> Option<String> {
        self.state().is_failing.then(|| "the disk is told to fail".to_owned())
    }
}

impl Logs for Disk {
    fn page<'a>(
        &'a self,
        account: AccountId,
        query: &'a LogQuery,
    ) -> BoxFuture<'a, Result<LogPage, StoreError>> {
        let page = self.read(move || self.inner.page(account, query));
        Box::pin(async move { page.await.map(|page| self.state().planted.paged(account, page)) })
    }

    fn inbox<'a>(
        &'a self,
        account: AccountId,
        query: &'a InboxQuery,
    ) -> BoxFuture<'a, Result<Inbox, StoreError>> {
        self.read(move || self.inner.inbox(account, query))
    }

    fn displayed<'a>(
        &'a self,
        account: AccountId,
        peer: &'a BareJid,
    ) -> BoxFuture<'a, Result<LogPosition, StoreError>> {
        self.read(move || self.inner.displayed(account, peer))
    }

    fn bounds(
        &self,
        account: AccountId,
    ) -> BoxFuture<'_, Result<Option<(LogPosition, LogPosition)>, StoreError>> {
        self.read(move || self.inner.bounds(account))
    }

    fn received_by(
        &self,
        account: AccountId,
        session: SessionId,
        handled: u32,
        after: LogPosition,
    ) -> BoxFuture<'_, Result<Option<LogPosition>, StoreError>> {
        self.read(move || self.inner.received_by(account, session, handled, after))
    }

    fn purged(&self, account: AccountId) -> BoxFuture<'_, Result<LogPosition, StoreError>> {
        self.read(move || self.inner.purged(account))
    }

    fn purge(
        &self,
        account: Option<AccountId>,
        before: LogPosition,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.purge(account, before)
    }
}

impl Accounts for Disk {
    fn create<'a>(
        &'a self,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
        now_micros: i64,
    ) -> BoxFuture<'a, Result<AccountId, StoreError>> {
        self.inner.create(jid, credentials, now_micros)
    }

    fn create_distinct<'a>(
        &'a self,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
        now_micros: i64,
    ) -> BoxFuture<'a, Result<AccountId, StoreError>> {
        self.inner.create_distinct(jid, credentials, now_micros)
    }

    fn load<'a>(
        &'a self,
        jid: &'a BareJid,
        kinds: &'a [&'static str],
    ) -> BoxFuture<'a, Result<Option<AccountData>, StoreError>> {
        let load = self.read(move || self.inner.load(jid, kinds));
        Box::pin(async move {
            let Some(account) = load.await? else { return Ok(None) };
            Ok(Some(self.state().planted.loaded(account)))
        })
    }

    fn summary<'a>(&'a self, jid: &'a BareJid) -> BoxFuture<'a, Result<Option<AccountSummary>, StoreError>> {
        self.read(move || self.inner.summary(jid))
    }

    fn list<'a>(
        &'a self,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AccountSummary>, StoreError>> {
        self.read(move || self.inner.list(after, limit))
    }

    fn credential<'a>(
        &'a self,
        jid: &'a BareJid,
        family: &'a str,
    ) -> BoxFuture<'a, Result<Option<(String, AccountState)>, StoreError>> {
        self.read(move || self.inner.credential(jid, family))
    }

    fn set_credentials<'a>(
        &'a self,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<i64, StoreError>> {
        self.inner.set_credentials(jid, credentials)
    }

    fn set_state<'a>(
        &'a self,
        jid: &'a BareJid,
        state: AccountState,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.set_state(jid, state)
    }

    fn delete<'a>(&'a self, jid: &'a BareJid) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.delete(jid)
    }

    fn secret<'a>(&'a self, name: &'a str, make: [u8; 32]) -> BoxFuture<'a, Result<[u8; 32], StoreError>> {
        self.inner.secret(name, make)
    }
}

impl Documents for Disk {
    fn document<'a>(
        &'a self,
        account: AccountId,
        kind: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        self.read(move || self.inner.document(account, kind, key))
    }

    fn documents<'a>(
        &'a self,
        account: AccountId,
        kind: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        self.read(move || self.inner.documents(account, kind))
    }

    fn holders<'a>(
        &'a self,
        kind: &'a str,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, StoreError>> {
        self.inner.holders(kind, after, limit)
    }

    fn mentioning<'a>(
        &'a self,
        kind: &'a str,
        text: &'a str,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, StoreError>> {
        self.inner.mentioning(kind, text)
    }
}

impl Nodes for Disk {
    fn items<'a>(
        &'a self,
        account: AccountId,
        node: &'a str,
        query: &'a ItemQuery,
    ) -> BoxFuture<'a, Result<ItemPage, StoreError>> {
        self.read(move || self.inner.items(account, node, query))
    }

    fn items_bytes(&self, account: AccountId) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.read(move || self.inner.items_bytes(account))
    }

    fn last_items<'a>(
        &'a self,
        account: AccountId,
        nodes: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Option<Arc<NodeItem>>>, StoreError>> {
        self.read(move || self.inner.last_items(account, nodes))
    }
}

impl Sessions for Disk {
    fn session(&self, id: SessionId) -> BoxFuture<'_, Result<Option<(BareJid, SessionRecord)>, StoreError>> {
        self.read(move || self.inner.session(id))
    }

    fn saved(&self) -> BoxFuture<'_, Result<Vec<BareJid>, StoreError>> {
        self.inner.saved()
    }
}
