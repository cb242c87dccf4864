//! A store in memory, for simulation and tests: the same meaning as the databases, no runtime, and
//! faults on demand.
//!
//! A commit is durable when [`Journal::submit`] returns, unless the store is told to hold commits back
//! ([`MemoryStore::hold`]) or to fail ([`MemoryStore::fail_after`]). [`MemoryStore::reopened`] is what a
//! crash leaves.

mod accounts;
mod holdings;
mod inbox;
mod invitations;
mod log;
mod nodes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use unisono_core::ids::{AccountId, DeviceId, SessionId, Ticket};
use unisono_core::invitations::Invitation;
use unisono_core::jid::BareJid;
use unisono_core::reports::Report;
use unisono_core::storage::{Access, AccountState, BoxFuture, Commit, Journal, StoreError, Wake, Write};

use crate::durability::{Durability, wake_all};
use holdings::Holdings;

/// See the module.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    durability: Durability,
}

#[derive(Default)]
struct State {
    durable: Content,
    queue: VecDeque<(Ticket, Commit)>,
    last: Ticket,
    held: bool,
    /// How many commits still succeed, if not all do.
    left: Option<u64>,
    reads_fail: bool,
    /// Accounts that cannot be loaded, and why.
    spoiled: BTreeMap<BareJid, fn(String) -> StoreError>,
    /// How often somebody read.
    reads: u64,
}

/// All that survives a crash.
#[derive(Clone, Default)]
struct Content {
    accounts: BTreeMap<BareJid, Account>,
    holdings: BTreeMap<AccountId, Holdings>,
    secrets: BTreeMap<String, [u8; 32]>,
    last_account: i64,
    invitations: BTreeMap<String, Invitation>,
    reports: BTreeMap<i64, Report>,
    last_report: i64,
    /// Whose items cannot be read.
    spoilt: BTreeSet<AccountId>,
}

#[derive(Clone)]
struct Account {
    id: AccountId,
    state: AccountState,
    created_at: i64,
    credentials: Vec<(String, String)>,
    passwords: i64,
}

impl MemoryStore {
    /// An empty store that works.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `commits` more succeed, those that wait included; all later ones fail until
    /// [`recover`](Self::recover), and so do changes of accounts.
    pub fn fail_after(&self, commits: u64) {
        self.state().left = Some(commits);
        self.settle();
    }

    /// Ends what [`fail_after`](Self::fail_after) began: all that waits becomes durable, in order.
    pub fn recover(&self) {
        self.state().left = None;
        self.settle();
    }

    /// Lets all reads fail from now on, or none of them.
    pub fn fail_reads(&self, fail: bool) {
        self.state().reads_fail = fail;
    }

    /// Makes what an account has published unreadable for ever.
    pub fn spoil_items(&self, account: AccountId) {
        self.state().durable.spoilt.insert(account);
    }

    /// Lets no account of this name be loaded from now on; without an error, as before.
    pub fn spoil(&self, jid: &BareJid, error: Option<fn(String) -> StoreError>) {
        match error {
            Some(error) => self.state().spoiled.insert(jid.clone(), error),
            None => self.state().spoiled.remove(jid),
        };
    }

    /// Holds commits back: they wait, and the store does not count as failing.
    pub fn hold(&self) {
        self.state().held = true;
    }

    /// Ends what [`hold`](Self::hold) began.
    pub fn release(&self) {
        self.state().held = false;
        self.settle();
    }

    /// How many commits wait.
    pub fn waiting(&self) -> usize {
        self.state().queue.len()
    }

    /// How often something was read from it.
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// A store with what is durable in this one, as a crash at this moment would leave it. The copy works
    /// whatever this one was told.
    pub fn reopened(&self) -> Self {
        let durable = self.state().durable.clone();
        Self { state: Mutex::new(State { durable, ..State::default() }), durability: Durability::default() }
    }

    /// Makes durable what may become so, then tells those who wait.
    fn settle(&self) {
        let mut reached = None;
        let mut wake: Vec<Arc<dyn Wake>> = Vec::new();
        {
            let mut state = self.state();
            while let Some((ticket, commit)) = state.next() {
                for write in &commit.writes {
                    state.durable.apply(write);
                }
                reached = Some(ticket);
                wake.extend(commit.wake);
            }
        }
        if let Some(ticket) = reached {
            self.durability.advance(ticket);
            wake_all(wake);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A read.
    fn read<'a, T: Send + 'a>(
        &self,
        read: impl FnOnce(&Content) -> Result<T, StoreError>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        let mut state = self.state();
        state.reads = state.reads.saturating_add(1);
        let result = if state.reads_fail {
            Err(StoreError::Unavailable("told to fail".to_owned()))
        } else {
            read(&state.durable)
        };
        Box::pin(std::future::ready(result))
    }

    /// A change that does not go through the journal.
    fn change<'a, T: Send + 'a>(
        &self,
        change: impl FnOnce(&mut Content) -> Result<T, StoreError>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        let mut state = self.state();
        let result = match state.fault() {
            Some(fault) => Err(StoreError::Unavailable(fault)),
            None => change(&mut state.durable),
        };
        Box::pin(std::future::ready(result))
    }
}

impl State {
    /// The next commit that may become durable.
    fn next(&mut self) -> Option<(Ticket, Commit)> {
        if self.held || self.fault().is_some() {
            return None;
        }
        let next = self.queue.pop_front()?;
        self.left = self.left.map(|left| left.saturating_sub(1));
        Some(next)
    }

    fn fault(&self) -> Option<String> {
        (self.left == Some(0)).then(|| "told to fail".to_owned())
    }
}

impl Content {
    fn holdings(&mut self, account: AccountId) -> &mut Holdings {
        self.holdings.entry(account).or_default()
    }

    fn access(&mut self, device: DeviceId, access: &Arc<Access>) {
        let mut holdings = self.holdings.values_mut();
        if let Some(known) = holdings.find_map(|holdings| holdings.devices.get_mut(&device)) {
            known.access = Some(Arc::clone(access));
        }
    }

    fn apply(&mut self, write: &Write) {
        match write {
            Write::Message(record) => {
                for place in record.sent.iter().chain(&record.received) {
                    self.holdings(place.account).append(place, record);
                }
            }
            Write::Retract { account, peer, from, id, payload } => {
                let changed = self.holdings(*account).retract(peer, from, id, payload);
                for (before, after) in changed {
                    for place in before.sent.iter().chain(&before.received) {
                        self.holdings(place.account).replace(place.position, &after);
                    }
                }
            }
            Write::Delivered { account, upto } => self.holdings(*account).delivered(*upto),
            Write::Displayed { account, peer, upto } => self.holdings(*account).displayed(peer, upto),
            Write::RosterItem { account, item } => {
                self.holdings(*account).roster.insert(item.jid.clone(), item.clone());
            }
            Write::RosterItemForgotten { account, jid } => {
                self.holdings(*account).roster.remove(jid);
            }
            Write::Document { account, kind, key, value } => {
                let documents = &mut self.holdings(*account).documents;
                let name = (kind.clone(), key.clone());
                match value {
                    Some(value) => documents.insert(name, value.clone()),
                    None => documents.remove(&name),
                };
            }
            Write::Item { account, node, item, keep } => self.holdings(*account).publish(node, item, *keep),
            Write::ItemRetracted { account, node, id } => self.holdings(*account).retract_item(node, id),
            Write::NodePurged { account, node } => {
                self.holdings(*account).nodes.remove(node);
            }
            Write::Device { account, device } => self.holdings(*account).put_device(device),
            Write::Access { device, access } => self.access(*device, access),
            Write::DeviceRemoved { device } => {
                for holdings in self.holdings.values_mut() {
                    holdings.devices.remove(device);
                    holdings.sessions.retain(|_, session| session.device != *device);
                }
            }
            Write::Session { account, session } => self.holdings(*account).put_session(session),
            Write::InvitationUsed { token } => drop(self.invitations.remove(token)),
            Write::SessionHandled { session, handled } => self.handled(*session, *handled),
            Write::SessionEnded { session } => {
                for holdings in self.holdings.values_mut() {
                    holdings.sessions.remove(session);
                }
            }
        }
        if let Write::Message(record) = write
            && let Some((session, handled)) = record.origin.and_then(|origin| origin.session)
        {
            self.handled(session, handled);
        }
    }

    fn handled(&mut self, session: SessionId, handled: u32) {
        for holdings in self.holdings.values_mut() {
            if let Some(session) = holdings.sessions.get_mut(&session) {
                session.handled = session.handled.max(handled);
            }
        }
    }
}

impl Journal for MemoryStore {
    fn submit(&self, mut commit: Commit) -> Ticket {
        let ticket = {
            let mut state = self.state();
            state.last = Ticket(state.last.0.saturating_add(1));
            let ticket = state.last;
            state.queue.push_back((ticket, mem::take(&mut commit)));
            ticket
        };
        self.settle();
        ticket
    }

    fn durable(&self) -> Ticket {
        self.durability.durable()
    }

    fn wait(&self, ticket: Ticket) -> BoxFuture<'_, ()> {
        self.durability.wait(ticket)
    }

    fn failing(&self) -> Option<String> {
        self.state().fault()
    }
}
