//! The hub: all accounts of the server, and what they share.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use unisono_xml::Element;

use crate::account::{Account, Cell};
use crate::asking::Questions;
use crate::asking_afar::QuestionsAfar;
use crate::clock::{Clock, Random};
use crate::delays::Delays;
use crate::error::StreamCondition;
use crate::extension::Registry;
use crate::hosted::{Hosted, Open};
use crate::ids::{SessionId, Ticket};
use crate::interests::Lists;
use crate::invitations::{InvitationPolicy, RegistrationPolicy};
use crate::jid::{BareJid, FullJid};
use crate::remote::Routes;
use crate::render::Renderer;
use crate::seal::Seal;
use crate::session::ConnectionInfo;
use crate::slots::Memory;
use crate::storage::{BoxFuture, Commit, Store, StoreError, Wake, Write};
use crate::workers::Workers;

/// The accounts are kept in this many maps, so that threads seldom meet.
const SHARDS: usize = 64;

/// Whose messages an archive keeps (XEP-0441 §2.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArchivePolicy {
    /// Everybody's.
    Always,
    /// Those of contacts.
    Roster,
    /// Nobody's.
    Never,
}

impl ArchivePolicy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Roster => "roster",
            Self::Never => "never",
        }
    }

    /// The policy of this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Always, Self::Roster, Self::Never].into_iter().find(|policy| policy.as_str() == text)
    }
}

/// What the operator can set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domains of this server; the first is the default.
    pub domains: Vec<BareJid>,
    /// How long a session without a connection can be resumed (XEP-0198 `max`).
    pub resume_for: Duration,
    /// Devices that one account may have; with one more, that is forgotten which was seen longest ago.
    pub devices_max: usize,
    /// Sessions that one account may have at a time.
    pub sessions_max: usize,
    /// How long an account stays in memory without a session.
    pub keep_idle_for: Duration,
    /// Bytes that the queue of one session may take: what is not written or not acknowledged, and not to be read back
    /// from the log.
    pub outbox_bytes_max: usize,
    /// Devices that were not seen for so long are forgotten.
    pub forget_devices_after: Duration,
    /// What the archive of an account keeps whose owner did not say.
    pub archive: ArchivePolicy,
    /// Whether a device that nobody looks at is spared what can wait (XEP-0352 §3.2).
    pub spares_inactive: bool,
    /// Whom to ask about this server (XEP-0157): fields, each with its addresses.
    pub contacts: Vec<(&'static str, Vec<String>)>,
    /// What devices may use beside XMPP (XEP-0215).
    pub services: Vec<ExternalService>,
    /// Who may make and change accounts over the network (XEP-0077).
    pub registration: RegistrationPolicy,
    /// Who may invite whom (XEP-0401).
    pub invitations: InvitationPolicy,
    /// Where one learns of outages (XEP-0455).
    pub status_addresses: Vec<String>,
    /// Services of ours with domains of their own.
    pub hosted: Vec<Hosted>,
    /// Copies that one who publishes may cause in a second (XEP-0060): of what is more, the last of each node goes out
    /// later. 0: no limit.
    pub notifications_per_second: u32,
    /// Bytes that the items of the nodes of one account may take (XEP-0060); those of a service 16 times as many. 0: no
    /// limit.
    pub items_bytes_max: u64,
}

/// A service beside XMPP, such as a relay for calls (XEP-0215 §2).
#[derive(Clone, Debug)]
pub struct ExternalService {
    /// As the registrar names it: `stun`, `turn`.
    pub kind: &'static str,
    pub host: String,
    pub port: u16,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// What it shares with this server to make passwords of, and how long such a password is good.
    pub secret: Option<(String, Duration)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            resume_for: Duration::from_secs(600),
            devices_max: 64,
            sessions_max: 64,
            keep_idle_for: Duration::from_secs(120),
            outbox_bytes_max: 4 * 1024 * 1024,
            forget_devices_after: Duration::from_secs(90 * 24 * 3600),
            archive: ArchivePolicy::Always,
            spares_inactive: true,
            contacts: Vec::new(),
            services: Vec::new(),
            registration: RegistrationPolicy::default(),
            invitations: InvitationPolicy::default(),
            status_addresses: Vec::new(),
            hosted: Vec::new(),
            notifications_per_second: 2_000,
            items_bytes_max: 256 * 1024 * 1024,
        }
    }
}

impl Settings {
    /// Whether a domain is one of ours.
    pub fn serves(&self, domain: &str) -> bool {
        self.domains.iter().any(|own| own.as_str() == domain)
    }
}

/// What is counted for the operator.
#[derive(Debug, Default)]
pub struct Counters {
    /// Stanzas received from devices.
    pub stanzas: AtomicU64,
    /// Stanzas written to devices.
    pub written: AtomicU64,
    /// Stanzas of devices that were answered with an error.
    pub refused: AtomicU64,
    /// Messages recorded in a log.
    pub recorded: AtomicU64,
    /// Messages that were not recorded a second time (promise P3).
    pub duplicates: AtomicU64,
    /// Sessions resumed, and those that could not be.
    pub resumed: AtomicU64,
    pub resume_failed: AtomicU64,
    /// Entries that a device should have had and that the log does not hold any more. Must be 0.
    pub gaps: AtomicU64,
    /// From the commit that an acknowledgement (XEP-0198 `<a/>`) waited for, or from the request for it where that
    /// came later, until it was written.
    pub ack_to_commit: Delays,
}

/// One connection, as the network layer introduces it.
#[derive(Clone)]
pub struct Connection {
    /// Drawn by [`Hub::connection_number`].
    pub number: u64,
    pub wake: Arc<dyn Wake>,
    pub info: ConnectionInfo,
}

/// A session, as its connection holds it.
#[derive(Clone)]
pub struct SessionRef {
    pub cell: Arc<Cell>,
    pub id: SessionId,
    pub jid: FullJid,
    /// The number of the connection; an older connection of the session finds itself replaced.
    pub connection: u64,
}

/// What a connection is told when its session has ended.
pub(crate) struct Farewell {
    /// A stanza before the end.
    pub(crate) said: Option<Element>,
    pub(crate) reason: StreamCondition,
}

/// All accounts of the server.
pub struct Hub {
    pub store: Arc<dyn Store>,
    pub registry: Registry,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub settings: Arc<Settings>,
    pub counters: Counters,
    pub(crate) ids: Seal,
    pub(crate) session_ids: Seal,
    pub(crate) device_ids: Seal,
    /// What tokens are made of.
    pub(crate) token_secret: [u8; 32],
    /// What resources are made of that stay the same.
    pub(crate) agent_secret: [u8; 32],
    accounts: Vec<RwLock<HashMap<BareJid, Arc<Cell>>>>,
    loading: Vec<tokio::sync::Mutex<()>>,
    /// Which account is in which map: nobody outside may know, or all could be made to meet in one.
    sharding: [u8; 8],
    /// Accounts that are being removed.
    leaving: Mutex<HashSet<BareJid>>,
    started: Duration,
    last_id: AtomicI64,
    last_connection: AtomicU64,
    /// Sessions that wait to be resumed, with their deadlines.
    pub(crate) detached: Mutex<Vec<(Duration, Arc<Cell>, SessionId)>>,
    /// Accounts with cursors that moved.
    pub(crate) moved: Mutex<Vec<Arc<Cell>>>,
    /// What the server asked devices.
    pub(crate) questions: Questions,
    /// What it asked other domains.
    pub(crate) questions_afar: QuestionsAfar,
    /// What devices are interested in.
    pub(crate) interests: Lists,
    /// What extensions keep for the whole server.
    states: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    /// Why connections lost their session, until they come to ask.
    reasons: Mutex<HashMap<u64, StreamCondition>>,
    /// Connections that have lost their session and wait for what is still to be said to them, or for that to be found
    /// out.
    farewells: Mutex<HashMap<u64, Option<Farewell>>>,
    /// The ways to domains that are not ours.
    pub routes: Routes,
    pub(crate) memory: Memory,
    pub(crate) services: Open,
    pub(crate) workers: OnceLock<Arc<dyn Workers>>,
}

impl Hub {
    /// Opens the hub on a store.
    pub async fn open(
        store: Arc<dyn Store>,
        registry: Registry,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        settings: Settings,
    ) -> Result<Arc<Self>, StoreError> {
        let draw = || {
            let mut secret = [0; 32];
            random.fill(&mut secret);
            secret
        };
        let ids = Seal::new(&store.secret("archive-ids", draw()).await?);
        let session_ids = Seal::new(&store.secret("session-ids", draw()).await?);
        let device_ids = Seal::new(&store.secret("device-ids", draw()).await?);
        let token_secret = store.secret("tokens", draw()).await?;
        let agent_secret = store.secret("user-agents", draw()).await?;
        let mut sharding = [0; 8];
        random.fill(&mut sharding);
        Ok(Arc::new(Self {
            last_id: AtomicI64::new(clock.now_micros()),
            started: clock.elapsed(),
            store,
            states: registry.server_states.iter().map(|(id, make)| (*id, make())).collect(),
            registry,
            clock,
            random,
            settings: Arc::new(settings),
            counters: Counters::default(),
            ids,
            session_ids,
            agent_secret,
            device_ids,
            token_secret,
            accounts: (0..SHARDS).map(|_| RwLock::default()).collect(),
            loading: (0..SHARDS).map(|_| tokio::sync::Mutex::default()).collect(),
            sharding,
            leaving: Mutex::default(),
            last_connection: AtomicU64::new(0),
            detached: Mutex::default(),
            moved: Mutex::default(),
            questions: Questions::default(),
            questions_afar: QuestionsAfar::default(),
            interests: Lists::default(),
            reasons: Mutex::default(),
            farewells: Mutex::default(),
            routes: Routes::default(),
            memory: Memory::default(),
            services: Open::default(),
            workers: OnceLock::new(),
        }))
    }

    /// Whether a domain is one of ours.
    pub fn serves(&self, domain: &str) -> bool {
        self.settings.serves(domain)
    }

    /// What an extension keeps for the whole server, in memory alone, if it said so by [`Registry::server_state`].
    pub fn server_state<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.states.get(&TypeId::of::<T>()).and_then(|state| state.downcast_ref())
    }

    /// How long the server runs.
    pub fn uptime(&self) -> Duration {
        self.clock.elapsed().saturating_sub(self.started)
    }

    /// The account, if it is in memory.
    pub fn resident(&self, jid: &BareJid) -> Option<Arc<Cell>> {
        let map = self.shard(jid)?.read().unwrap_or_else(PoisonError::into_inner);
        map.get(jid).cloned()
    }

    /// The account, read from the store if need be.
    pub async fn account(&self, jid: &BareJid) -> Result<Option<Arc<Cell>>, StoreError> {
        if let Some(cell) = self.resident(jid) {
            return Ok(Some(cell));
        }
        if jid.local().is_none() || !self.serves(jid.domain()) {
            return Ok(None);
        }
        let (Some(loading), Some(shard)) = (self.loading.get(self.index(jid)), self.shard(jid)) else {
            return Ok(None);
        };
        let _one_at_a_time = loading.lock().await;
        if let Some(cell) = self.resident(jid) {
            return Ok(Some(cell));
        }
        if self.leaving().contains(jid) {
            return Ok(None);
        }
        let Some(data) = self.store.load(jid, &self.registry.kinds).await? else { return Ok(None) };
        let sessions = data.sessions.clone();
        let mut account = Account::new(data, &self.registry, self.settings.clone());
        account.touched = self.clock.elapsed();
        let cell = Arc::new(Cell::new(account));
        self.restore_sessions(&cell, sessions);
        shard.write().unwrap_or_else(PoisonError::into_inner).insert(jid.clone(), cell.clone());
        Ok(Some(cell))
    }

    /// The account as it is stored, for somebody who only looks: nobody else finds it, and its saved sessions stay saved.
    pub async fn stored(&self, jid: &BareJid) -> Result<Option<Arc<Cell>>, StoreError> {
        let data = self.store.load(jid, &self.registry.kinds).await?;
        Ok(data.map(|data| Arc::new(Cell::new(Account::new(data, &self.registry, self.settings.clone())))))
    }

    /// All accounts in memory.
    pub fn residents(&self) -> Vec<Arc<Cell>> {
        let maps = self.accounts.iter();
        maps.flat_map(|map| {
            map.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect::<Vec<_>>()
        })
        .collect()
    }

    /// Lets go of an account that was removed from the store.
    pub(crate) fn forget(&self, jid: &BareJid) {
        if let Some(shard) = self.shard(jid) {
            shard.write().unwrap_or_else(PoisonError::into_inner).remove(jid);
        }
    }

    /// Accounts that are being removed from the store: nobody loads them any more.
    pub(crate) fn leaving(&self) -> MutexGuard<'_, HashSet<BareJid>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections that there are now may not become sessions of an account any more: what they authenticated with has
    /// changed.
    pub fn bar_logins(&self, cell: &Cell) {
        cell.lock().bar_logins(self.last_connection.load(Ordering::Relaxed));
    }

    /// Lets go of accounts that nobody needs. What they wrote must be durable, or the next load would miss it.
    pub(crate) fn evict_idle(&self) {
        let now = self.clock.elapsed();
        let durable = self.store.durable();
        for map in &self.accounts {
            let mut map = map.write().unwrap_or_else(PoisonError::into_inner);
            map.retain(|_, cell| {
                if Arc::strong_count(cell) > 1 {
                    return true;
                }
                let account = cell.lock();
                let idle = now.saturating_sub(account.touched) > self.settings.keep_idle_for;
                !(account.sessions.is_empty()
                    && account.moved.is_empty()
                    && idle
                    && account.last_ticket.max(account.moved_ticket) <= durable)
            });
        }
    }

    /// A number that was not drawn before, by this or an earlier run, as long as the clock keeps ahead of one a
    /// microsecond.
    pub(crate) fn draw_id(&self) -> i64 {
        let now = self.clock.now_micros();
        let next = |last: i64| Some(last.saturating_add(1).max(now));
        match self.last_id.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(last) | Err(last) => last.saturating_add(1).max(now),
        }
    }

    /// An id that nobody drew before, nor will.
    pub(crate) fn random_id(&self) -> i64 {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        (i64::from_be_bytes(bytes) & i64::MAX).max(1)
    }

    /// A name that nobody can guess and nobody has drawn before.
    pub fn random_name(&self) -> String {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes);
        format!("{:032x}", u128::from_be_bytes(bytes))
    }

    /// A number for a new connection.
    pub fn connection_number(&self) -> u64 {
        self.last_connection.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Hands writes that concern one account to the journal.
    pub fn commit(&self, account: &mut Account, writes: Vec<Write>) -> Ticket {
        self.commit_and_tell(account, writes, None)
    }

    /// The same; somebody else is woken, too, when that is durable.
    pub(crate) fn commit_and_tell(
        &self,
        account: &mut Account,
        writes: Vec<Write>,
        tell: Option<Arc<dyn Wake>>,
    ) -> Ticket {
        if writes.is_empty() {
            return Ticket::NONE;
        }
        let wake = tell.into_iter().chain(account.wakers()).collect();
        let ticket = self.store.submit(Commit { writes, wake });
        account.submitted(ticket);
        ticket
    }

    /// Resolves when all that was recorded for an account until now can be read.
    pub fn settled(&self, cell: &Cell) -> BoxFuture<'_, ()> {
        let ticket = cell.lock().last_ticket;
        self.store.wait(ticket)
    }

    /// Wakes the sessions of an account when all that concerns it now, and `ticket`, is durable: for those that joined
    /// after a commit was submitted, or wait for one that was not theirs.
    pub(crate) fn wake_when_settled(&self, account: &mut Account, ticket: Ticket) {
        let awaited = account.last_ticket.max(ticket);
        if awaited > self.store.durable() && account.woken < awaited {
            account.woken =
                self.store.submit(Commit { writes: Vec::new(), wake: account.wakers().collect() });
        }
        account.sessions.iter().for_each(crate::session::Session::wake);
    }

    /// Wakes the sessions of an account if what they wait for is durable already; else the journal does it.
    pub(crate) fn wake_if_durable(&self, account: &Account, ticket: Ticket) {
        if ticket <= self.store.durable() {
            account.sessions.iter().for_each(crate::session::Session::wake);
        }
    }

    /// What renders the messages of an account.
    pub fn renderer<'a>(&'a self, cell: &'a Cell) -> Renderer<'a> {
        Renderer { registry: &self.registry, ids: &self.ids, account: cell.id, owner: &cell.jid }
    }

    /// The position that an archive id of this account stands for.
    pub fn position(&self, account: crate::ids::AccountId, id: &str) -> Option<crate::ids::LogPosition> {
        let (position, whose) = self.ids.open(id)?;
        (whose == account.0 && position > 0).then_some(crate::ids::LogPosition(position))
    }

    /// The archive id of a position.
    pub fn archive_id(
        &self,
        account: crate::ids::AccountId,
        position: crate::ids::LogPosition,
    ) -> compact_str::CompactString {
        self.ids.seal(position.0, account.0)
    }

    pub(crate) fn give_reason(&self, connection: u64, reason: StreamCondition) {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).insert(connection, reason);
    }

    /// Why a connection has no session any more, if it was said. It is said once.
    pub(crate) fn reason(&self, connection: u64) -> Option<StreamCondition> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).remove(&connection)
    }

    pub(crate) fn farewells(&self) -> MutexGuard<'_, HashMap<u64, Option<Farewell>>> {
        self.farewells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a connection is to be told before the error that ends its stream. It is said once.
    pub fn last_word(&self, session: &SessionRef) -> Option<Element> {
        self.farewells().remove(&session.connection)?.and_then(|farewell| farewell.said)
    }

    pub(crate) fn detached_list(&self) -> MutexGuard<'_, Vec<(Duration, Arc<Cell>, SessionId)>> {
        self.detached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, jid: &BareJid) -> Option<&RwLock<HashMap<BareJid, Arc<Cell>>>> {
        self.accounts.get(self.index(jid))
    }

    #[expect(clippy::arithmetic_side_effects, reason = "the divisor is a constant above zero")]
    fn index(&self, jid: &BareJid) -> usize {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.sharding);
        hasher.write(jid.as_str().as_bytes());
        usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or(0)
    }
}
