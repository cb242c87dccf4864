//! An account: the unit of consistency (DESIGN.md §3).
//!
//! All that happens to an account happens under its lock: its log grows, its roster changes, its sessions get their
//! stanzas. A decision changes the state and hands its writes to the journal; what it queues for devices waits there
//! behind the ticket of that commit. So the order of the log, the order of every device and the order of the commits
//! are one order, and nothing is written to a device that is not durable.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use compact_str::CompactString;

use crate::catch_up::CatchUp;
use crate::devices::Proof;
use crate::extension::{AccountState as Kept, KeyedState, Registry};
use crate::hub::{SessionRef, Settings};
use crate::ids::{AccountId, DeviceId, LogPosition, SessionId, Ticket};
use crate::jid::BareJid;
use crate::repetition::{MEANT, Recent};
use crate::roster::RosterItem;
use crate::session::{ArchiveUse, Session};
use crate::storage::{AccountData, AccountState, Commit, DeviceRecord, Wake, Write};
use crate::subscription::SubscriptionState;

/// Documents of this kind keep requests to subscribe, by the contact who asks.
pub(crate) const REQUESTS: &str = "subscription-request";

/// The document of this kind keeps the version below which nobody knows any more what was removed from the roster.
pub(crate) const ROSTER_FLOOR: &str = "roster-floor";

/// An account in memory, behind its lock.
pub struct Cell {
    pub id: AccountId,
    pub jid: BareJid,
    account: Mutex<Account>,
    publishing: Mutex<()>,
}

impl Cell {
    pub(crate) fn new(account: Account) -> Self {
        Self {
            id: account.id,
            jid: account.jid.clone(),
            account: Mutex::new(account),
            publishing: Mutex::default(),
        }
    }

    /// The account. The lock is held for decisions only, never across an `.await`.
    pub fn lock(&self) -> MutexGuard<'_, Account> {
        // A handler that panicked ends its stream; the account goes on.
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the order of what the account's nodes tell others (XEP-0060): held from before a change is decided until
    /// everybody's devices have it in their queues. It comes before every lock of an account, and never two at a time.
    pub fn publishing(&self) -> MutexGuard<'_, ()> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks two accounts, always in the same order. `None` where both are one.
pub(crate) fn lock_pair<'a>(
    first: &'a Cell,
    second: &'a Cell,
) -> (MutexGuard<'a, Account>, Option<MutexGuard<'a, Account>>) {
    match first.id.cmp(&second.id) {
        std::cmp::Ordering::Equal => (first.lock(), None),
        std::cmp::Ordering::Less => {
            let guard = first.lock();
            (guard, Some(second.lock()))
        }
        std::cmp::Ordering::Greater => {
            let other = second.lock();
            (first.lock(), Some(other))
        }
    }
}

/// The state of an account.
pub struct Account {
    pub(crate) id: AccountId,
    pub(crate) jid: BareJid,
    settings: Arc<Settings>,
    pub(crate) state: AccountState,
    /// How often the password was changed.
    pub(crate) passwords: i64,
    pub(crate) head: LogPosition,
    /// The last position that was given, be it to an entry of the log or to an item of a node.
    counter: LogPosition,
    /// Where the log ended before its last entry.
    pub(crate) previous: LogPosition,
    pub(crate) roster: BTreeMap<BareJid, RosterItem>,
    pub(crate) roster_version: i64,
    /// What was removed up to here is forgotten: who has an older roster needs all of it.
    pub(crate) roster_floor: i64,
    /// Requests to subscribe that wait for an answer, as they came (RFC 6121 §3.1.3). They alone say who is "Pending In":
    /// the roster says nothing of it.
    pub(crate) requests: HashMap<BareJid, String>,
    pub(crate) devices: Vec<DeviceRecord>,
    pub(crate) sessions: Vec<Session>,
    /// Sessions that are over, kept to tell their clients what arrived (XEP-0198 §5, `h` of `<failed/>`).
    pub(crate) over: Vec<(DeviceId, SessionId)>,
    /// Devices whose connections were taken over by a newer one of late, and when.
    pub(crate) replaced: Vec<(DeviceId, Duration)>,
    /// What the account sent last.
    pub(crate) recent: Recent,
    states: HashMap<TypeId, Box<dyn Any + Send>>,
    /// What extensions keep under keys.
    keyed: HashMap<TypeId, BTreeMap<CompactString, Box<dyn Any + Send>>>,
    /// The last commit that concerns the account.
    pub(crate) last_ticket: Ticket,
    /// The last commit of cursors, which nobody is woken for.
    pub(crate) moved_ticket: Ticket,
    /// Up to this commit, all sessions that there are now are woken.
    pub(crate) woken: Ticket,
    /// Connections up to this number are older than the last change of the state: they may not become sessions.
    barred: u64,
    /// How often all of its devices were shown anew ([`crate::hub::Hub::show_again`]).
    pub(crate) shown: u32,
    /// The account is being removed from the store.
    pub(crate) is_gone: bool,
    /// Devices whose cursor moved since it was last stored.
    pub(crate) moved: Vec<DeviceId>,
    /// Up to here there may be entries that only wait for delivery.
    pub(crate) waiting: Option<LogPosition>,
    /// Up to here they were forgotten.
    forgotten: LogPosition,
    /// When somebody last needed the account, on the clock that never falls.
    pub(crate) touched: Duration,
}

impl Account {
    /// An account as the store has it.
    pub fn new(data: AccountData, registry: &Registry, settings: Arc<Settings>) -> Self {
        let floor = data.documents.iter().find(|document| document.kind == ROSTER_FLOOR);
        let roster_floor = floor.and_then(|document| document.value.parse().ok()).unwrap_or(0);
        let versions = data.roster.iter().map(|item| item.version);
        let roster_version = versions.max().unwrap_or(0).max(roster_floor);
        let requests = data.documents.iter().filter(|document| document.kind == REQUESTS);
        let requests = requests
            .filter_map(|document| Some((document.key.parse().ok()?, document.value.clone())))
            .collect();
        let meant = data.documents.iter().find(|document| document.kind == MEANT);
        let recent = Recent::of_earlier_runs(data.recent, meant.map(|document| document.value.as_str()));
        let states = data
            .documents
            .iter()
            .filter_map(|document| registry.decode(&document.kind, &document.key, &document.value))
            .collect();
        let mut keyed: HashMap<_, BTreeMap<_, _>> = HashMap::new();
        for document in &data.documents {
            if let Some((id, state)) = registry.decode_keyed(&document.kind, &document.value) {
                keyed.entry(id).or_default().insert(document.key.clone(), state);
            }
        }
        Self {
            id: data.id,
            jid: data.jid,
            settings,
            state: data.state,
            passwords: data.passwords,
            head: data.head,
            counter: data.head,
            previous: data.head,
            roster: data.roster.into_iter().map(|item| (item.jid.clone(), item)).collect(),
            roster_version,
            roster_floor,
            requests,
            devices: data.devices,
            sessions: Vec::new(),
            over: data.sessions.iter().filter(|s| s.snapshot.is_none()).map(|s| (s.device, s.id)).collect(),
            replaced: Vec::new(),
            recent,
            states,
            keyed,
            last_ticket: Ticket::NONE,
            moved_ticket: Ticket::NONE,
            woken: Ticket::NONE,
            barred: 0,
            shown: 0,
            is_gone: false,
            moved: Vec::new(),
            waiting: Some(data.waiting).filter(|head| *head > LogPosition::START),
            forgotten: LogPosition::START,
            touched: Duration::ZERO,
        }
    }

    pub fn id(&self) -> AccountId {
        self.id
    }

    pub fn jid(&self) -> &BareJid {
        &self.jid
    }

    /// What the operator set.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The position of the last entry of the log.
    pub fn head(&self) -> LogPosition {
        self.head
    }

    /// The last commit that concerns the account: what must be durable to read the store as it is.
    pub fn last_ticket(&self) -> Ticket {
        self.last_ticket
    }

    /// Whether the account is being removed from the store: nothing is written for it any more.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    pub fn is_enabled(&self) -> bool {
        self.state == AccountState::Enabled
    }

    /// All sessions, connected or waiting to be resumed.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter()
    }

    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == id)
    }

    pub fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.id == id)
    }

    /// Whether the session still belongs to this connection: what an older one brings is not handled, since its client
    /// sends it again.
    pub(crate) fn is_live(&self, origin: &SessionRef) -> bool {
        let session = self.session(origin.id);
        session.and_then(Session::connection_number) == Some(origin.connection)
    }

    /// The session that has bound this resource.
    pub fn resource(&self, resource: &str) -> Option<&Session> {
        self.sessions.iter().find(|session| session.jid.resource() == resource)
    }

    /// The same, unless it is about to end: nothing reaches it any more then.
    pub(crate) fn reachable(&self, resource: &str) -> Option<&Session> {
        self.resource(resource).filter(|session| session.closing.is_none())
    }

    /// The durable records of the account's devices.
    pub fn devices(&self) -> &[DeviceRecord] {
        &self.devices
    }

    pub fn device(&self, id: DeviceId) -> Option<&DeviceRecord> {
        self.devices.iter().find(|device| device.id == id)
    }

    /// A contact, removed ones not counted.
    pub fn contact(&self, jid: &BareJid) -> Option<&RosterItem> {
        self.roster.get(jid).filter(|item| !item.removed)
    }

    /// What is agreed with somebody, and what one of the two waits for.
    pub(crate) fn subscription(&self, contact: &BareJid) -> SubscriptionState {
        let agreed = self.roster.get(contact).map(|item| item.state).unwrap_or_default();
        SubscriptionState { pending_in: self.requests.contains_key(contact), ..agreed }
    }

    /// All contacts, removed ones not counted.
    pub fn contacts(&self) -> impl Iterator<Item = &RosterItem> {
        self.roster.values().filter(|item| !item.removed)
    }

    /// Whether a contact may see the account's presence.
    pub fn is_seen_by(&self, contact: &BareJid) -> bool {
        *contact == self.jid || self.contact(contact).is_some_and(|item| item.state.subscription.has_from())
    }

    /// What an extension keeps with the account. `None` stands for the default.
    pub fn state<T: Kept>(&self) -> Option<&T> {
        self.states.get(&TypeId::of::<T>()).and_then(|state| state.downcast_ref())
    }

    /// Replaces what an extension keeps, and adds the write that makes it durable.
    pub fn set_state<T: Kept>(&mut self, state: T, writes: &mut Vec<Write>) {
        writes.push(Write::Document {
            account: self.id,
            kind: CompactString::const_new(T::KIND),
            key: CompactString::default(),
            value: Some(state.encode()),
        });
        self.states.insert(TypeId::of::<T>(), Box::new(state));
    }

    /// What an extension keeps with the account under a key.
    pub fn keyed<T: KeyedState>(&self, key: &str) -> Option<&T> {
        self.keyed.get(&TypeId::of::<T>())?.get(key)?.downcast_ref()
    }

    /// The same, to change what is no part of its document.
    pub fn keyed_mut<T: KeyedState>(&mut self, key: &str) -> Option<&mut T> {
        self.keyed.get_mut(&TypeId::of::<T>())?.get_mut(key)?.downcast_mut()
    }

    /// All that an extension keeps with the account under keys, in their order.
    pub fn all_keyed<T: KeyedState>(&self) -> impl Iterator<Item = (&CompactString, &T)> {
        let all = self.keyed.get(&TypeId::of::<T>()).into_iter().flatten();
        all.filter_map(|(key, state)| Some((key, state.downcast_ref()?)))
    }

    /// Replaces what an extension keeps under a key, or removes it, and adds the write that makes that durable.
    pub fn set_keyed<T: KeyedState>(&mut self, key: &str, state: Option<T>, writes: &mut Vec<Write>) {
        let key = CompactString::from(key);
        writes.push(Write::Document {
            account: self.id,
            kind: CompactString::const_new(T::KIND),
            key: key.clone(),
            value: state.as_ref().map(T::encode),
        });
        self.hold_keyed(&key, state);
    }

    /// Puts something under a key, or takes it away, without a word to the store: what it has to be told of it is nothing.
    pub fn hold_keyed<T: KeyedState>(&mut self, key: &str, state: Option<T>) {
        let all = self.keyed.entry(TypeId::of::<T>()).or_default();
        match state {
            Some(state) => all.insert(key.into(), Box::new(state)),
            None => all.remove(key),
        };
    }

    /// The position for the next entry of the log.
    pub(crate) fn advance(&mut self, now_micros: i64) -> LogPosition {
        self.previous = self.head;
        self.head = self.next_position(now_micros);
        self.head
    }

    /// The position for what is no entry of the log, such as an item of a node. The log ends where it did: no device
    /// lacks anything for that.
    pub fn next_position(&mut self, now_micros: i64) -> LogPosition {
        self.counter = self.counter.next(now_micros);
        self.counter
    }

    /// Sessions are about to be saved. The account will be loaded with its last position as the end of its log, so who
    /// has all of the log has it up to there.
    pub(crate) fn close_log(&mut self) {
        for session in &mut self.sessions {
            if let CatchUp::Before(before) = &mut session.catch_up {
                before.has_next(self.head, self.counter);
            }
        }
        self.head = self.counter;
    }

    /// A commit that concerns the account was submitted, with all its sessions to be woken.
    pub(crate) fn submitted(&mut self, ticket: Ticket) {
        self.last_ticket = ticket;
        self.woken = ticket;
    }

    /// Whether a connection that has authenticated may have a session.
    pub(crate) fn admits_login(&self, connection: u64, proof: Proof) -> bool {
        let is_good = match proof {
            Proof::Nothing => true,
            // One that is newer than what is known here was read from the store.
            Proof::Password(passwords) => passwords >= self.passwords,
            Proof::Token { device, passwords } => {
                passwords >= self.passwords && self.device(device).is_some()
            }
        };
        is_good && self.is_enabled() && !self.is_gone && connection > self.barred
    }

    /// The password was changed so often. Of two changes at once the news may come in any order.
    pub(crate) fn count_passwords(&mut self, passwords: i64) {
        self.passwords = self.passwords.max(passwords);
    }

    /// Connections up to this number must authenticate anew.
    pub(crate) fn bar_logins(&mut self, upto: u64) {
        self.barred = self.barred.max(upto);
    }

    /// A device has its log up to here.
    pub(crate) fn move_cursor(&mut self, device: DeviceId, to: Option<LogPosition>) {
        let record = self.devices.iter_mut().find(|record| record.id == device);
        if let (Some(record), Some(to)) = (record, to)
            && record.cursor < to
        {
            record.cursor = to;
            if !self.moved.contains(&device) {
                self.moved.push(device);
            }
        }
    }

    /// Whether a session may still be due something that only waits for delivery: there was no catch-up yet, or it is
    /// not over.
    pub(crate) fn has_waiting_for(&self, session: SessionId) -> bool {
        let Some(session) = self.session(session) else { return false };
        let cursor = self.device(session.device).map_or(LogPosition::START, |device| device.cursor);
        match &session.catch_up {
            CatchUp::Before(before) => self.waiting > before.whole.max(Some(cursor)),
            CatchUp::Reading(_) => true,
            CatchUp::Paging | CatchUp::Done => false,
        }
    }

    /// A device waives what it did not get up to here.
    pub fn waive(&mut self, session: SessionId, upto: LogPosition) {
        if let Some(session) = self.session_mut(session) {
            session.waive(upto);
        }
    }

    /// Whether a session has still to get what came before the next entry, by the catch-up that its first presence
    /// begins. A copy that went ahead of it would be out of order (promise P1), so it comes with the catch-up. A device
    /// that pages the archive has its order from there, up to where it was there before; one of negative priority has
    /// no catch-up to wait for.
    pub(crate) fn owes(&self, session: &Session) -> bool {
        let CatchUp::Before(before) = &session.catch_up else { return false };
        let pages_archive = session.archive_use == ArchiveUse::Asked
            || self.device(session.device).is_some_and(|device| device.pages_archive);
        let has_all = match before.live_after {
            live_after if pages_archive => live_after.is_none_or(|live_after| live_after >= self.head),
            _ => before.whole >= Some(self.head),
        };
        !has_all && !session.is_available()
    }

    /// Where a device starts that was never seen: behind everything that some device has already.
    pub(crate) fn first_cursor(&self) -> LogPosition {
        self.devices.iter().map(|device| device.cursor).max().unwrap_or(LogPosition::START)
    }

    /// Stores the cursors that moved. Nobody is woken for that.
    pub(crate) fn store_moved(&mut self, submit: impl FnOnce(Commit) -> Ticket) -> Ticket {
        let writes = self.moved_cursors();
        if !writes.is_empty() {
            self.moved_ticket = submit(Commit { writes, wake: Vec::new() });
        }
        self.moved_ticket
    }

    /// The cursors that moved since they were stored.
    pub(crate) fn moved_cursors(&mut self) -> Vec<Write> {
        let moved = std::mem::take(&mut self.moved);
        if self.is_gone {
            return Vec::new();
        }
        let changed = self.devices.iter().filter(|device| moved.contains(&device.id));
        let mut writes: Vec<_> =
            changed.map(|device| Write::Device { account: self.id, device: device.clone() }).collect();
        writes.extend(self.forget_delivered());
        writes
    }

    /// What no archive shows goes when every device has it.
    pub(crate) fn forget_delivered(&mut self) -> Option<Write> {
        let newest = self.waiting?;
        let given = self.sessions.iter().filter_map(Session::given);
        let upto = self.devices.iter().map(|device| device.cursor).chain(given).min()?;
        if upto <= self.forgotten {
            return None;
        }
        self.forgotten = upto;
        if upto >= newest {
            self.waiting = None;
        }
        Some(Write::Delivered { account: self.id, upto })
    }

    /// Keeps a request that has to wait, or forgets it when it is answered.
    pub(crate) fn set_request(&mut self, contact: &BareJid, request: Option<String>) -> Write {
        match &request {
            Some(text) => self.requests.insert(contact.clone(), text.clone()),
            None => self.requests.remove(contact),
        };
        let (kind, key) = (CompactString::const_new(REQUESTS), CompactString::from(contact.as_str()));
        Write::Document { account: self.id, kind, key, value: request }
    }

    pub(crate) fn wakers(&self) -> impl Iterator<Item = Arc<dyn Wake>> + '_ {
        self.sessions.iter().filter_map(Session::waker)
    }
}
