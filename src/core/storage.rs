//! What the core needs of a store. Implemented in `store` for SQLite, PostgreSQL and memory.
//!
//! Reads are futures. Writes are values: they are handed to the [`Journal`], whose queue commits all
//! that waits in one transaction, in the order of submission.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use compact_str::CompactString;

use crate::ids::{AccountId, DeviceId, LogPosition, SessionId, Ticket};
use crate::invitations::Invitations;
use crate::jid::{BareJid, Jid};
pub use crate::node_items::{ITEM_BYTES, ItemPage, ItemQuery, KEEP_ALL, NodeItem, Nodes};
use crate::record::{Direction, MessageRecord};
use crate::reports::Reports;
use crate::roster::RosterItem;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why the store could not answer. Peers see `internal-server-error`; the log has it in full.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
    #[error("already there")]
    Exists,
    /// Another one of this name is there, to the eye.
    #[error("it looks like {0}")]
    Alike(BareJid),
    /// An invitation keeps this name free, or one that looks like it.
    #[error("an invitation keeps the name free")]
    Reserved,
    #[error("not there")]
    NotFound,
}

/// All that the server asks of a store.
pub trait Store: Accounts + Invitations + Reports + Logs + Documents + Nodes + Sessions + Journal {}
impl<T: Accounts + Invitations + Reports + Logs + Documents + Nodes + Sessions + Journal> Store for T {}

/// One durable change. A commit holds those that must happen together.
#[derive(Clone, Debug)]
pub enum Write {
    /// Appends a message to the log of each account that it names.
    Message(Arc<MessageRecord>),
    /// Replaces the payload of all messages with this `id` that `from` sent, in the conversation of `account`
    /// with `peer` (XEP-0424 tombstones). The entry keeps its position.
    Retract { account: AccountId, peer: BareJid, from: BareJid, id: CompactString, payload: String },
    /// Forgets entries that no archive shows once every device has them: those of `account` up to `upto`
    /// with [`crate::record::Keep::UntilDelivered`].
    Delivered { account: AccountId, upto: LogPosition },
    /// The owner of an account has read a conversation up to here. Never moves back.
    Displayed { account: AccountId, peer: BareJid, upto: ReadUpto },
    /// Stores a roster item, or the mark that it was removed (`item.removed`), and the roster's new version.
    RosterItem { account: AccountId, item: RosterItem },
    /// Forgets a roster item, or the mark that it was removed.
    RosterItemForgotten { account: AccountId, jid: BareJid },
    /// Stores a keyed document, or removes it (`None`).
    Document { account: AccountId, kind: CompactString, key: CompactString, value: Option<String> },
    /// Stores an item of a node, in the place of the one with its id, then forgets all but the `keep` newest of the
    /// node; with [`KEEP_ALL`] none.
    Item { account: AccountId, node: CompactString, item: Arc<NodeItem>, keep: u32 },
    /// Forgets an item of a node.
    ItemRetracted { account: AccountId, node: CompactString, id: CompactString },
    /// Forgets all items of a node.
    NodePurged { account: AccountId, node: CompactString },
    /// Stores a device, new or changed, but not its access: that changes seldom, and a cursor often.
    Device { account: AccountId, device: DeviceRecord },
    /// Stores what gives a device access.
    Access { device: DeviceId, access: Arc<Access> },
    /// Forgets a device, its access and its sessions.
    DeviceRemoved { device: DeviceId },
    /// Stores a session, new or changed.
    Session { account: AccountId, session: SessionRecord },
    /// The number of stanzas of a session that were handled (XEP-0198 `h`); it never falls.
    SessionHandled { session: SessionId, handled: u32 },
    /// Forgets a session.
    SessionEnded { session: SessionId },
}

/// How far a conversation was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadUpto {
    /// All entries up to this position.
    Position(LogPosition),
    /// The newest entry of the conversation whose stanza has this id, and all before it. If there is none, nothing changes.
    Message(CompactString),
}

/// What happens together: writes, and whom to wake when they are durable.
#[derive(Default)]
pub struct Commit {
    pub writes: Vec<Write>,
    pub wake: Vec<Arc<dyn Wake>>,
}

/// Somebody with output behind a ticket.
pub trait Wake: Send + Sync {
    /// Cheap, never blocks, may be called at any time and more often than needed.
    fn wake(&self);
}

/// The commit queue (DESIGN.md §3).
pub trait Journal: Send + Sync {
    /// Appends to the queue and returns at once. Commits become durable in the order of submission. When
    /// the store fails, the queue keeps what it has, tries again, and nothing becomes durable meanwhile.
    fn submit(&self, commit: Commit) -> Ticket;
    /// The same for what nobody waits for: it becomes durable with the next commit, or after [`flush`](Self::flush).
    fn submit_later(&self, commit: Commit) -> Ticket {
        self.submit(commit)
    }
    /// Writes what waits for a commit to go with.
    fn flush(&self) {}
    /// All up to this ticket is durable. It never falls.
    fn durable(&self) -> Ticket;
    /// Resolves when `ticket` is durable.
    fn wait(&self, ticket: Ticket) -> BoxFuture<'_, ()>;
    /// Why commits fail at the moment, if they do.
    fn failing(&self) -> Option<String>;
    /// Puts in order what can wait until the store is closed. Nothing is submitted after this.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Whether an account can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccountState {
    Enabled,
    Disabled,
}

/// What there is to know of an account without loading it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountSummary {
    pub id: AccountId,
    pub jid: BareJid,
    pub state: AccountState,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// How many devices it has, connected or not.
    pub devices: u32,
}

/// What an account holds in memory while somebody needs it.
#[derive(Clone, Debug)]
pub struct AccountData {
    pub id: AccountId,
    pub jid: BareJid,
    pub state: AccountState,
    /// How often the password was changed.
    pub passwords: i64,
    /// The last position that was given: to an entry of the log, or to an item of a node.
    pub head: LogPosition,
    /// The newest entry that only waits for delivery; none is after this.
    pub waiting: LogPosition,
    /// Removed items included.
    pub roster: Vec<RosterItem>,
    pub devices: Vec<DeviceRecord>,
    pub sessions: Vec<SessionRecord>,
    /// The documents of the kinds that were asked for.
    pub documents: Vec<Document>,
    /// The fingerprints of the last messages that the account sent, oldest first; at most
    /// [`RECENT_FINGERPRINTS`]. Each with the session that sent it, if that is one of `sessions`; else with number 0,
    /// which is nobody's.
    pub recent: Vec<(SessionId, i64)>,
}

/// How many of its own messages an account remembers to tell a repetition (promise P3).
pub const RECENT_FINGERPRINTS: usize = 512;

/// Accounts and their credentials. A credential is an opaque text for each mechanism family, such as
/// `SCRAM-SHA-256`; the store does not look inside.
pub trait Accounts: Send + Sync {
    /// Creates an account. `StoreError::Exists` if there is one of this name, `StoreError::Reserved` if an
    /// [invitation](Invitations) keeps it free.
    fn create<'a>(
        &'a self,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
        now_micros: i64,
    ) -> BoxFuture<'a, Result<AccountId, StoreError>>;
    /// The same, and `StoreError::Alike` if there is one with the same [skeleton](BareJid::skeleton). Of two that are
    /// created at once and look alike, one is.
    fn create_distinct<'a>(
        &'a self,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
        now_micros: i64,
    ) -> BoxFuture<'a, Result<AccountId, StoreError>>;
    /// All that is needed to run the account; of its documents, those of `kinds`.
    fn load<'a>(
        &'a self,
        jid: &'a BareJid,
        kinds: &'a [&'static str],
    ) -> BoxFuture<'a, Result<Option<AccountData>, StoreError>>;
    fn summary<'a>(&'a self, jid: &'a BareJid) -> BoxFuture<'a, Result<Option<AccountSummary>, StoreError>>;
    /// Accounts in the order of their JIDs, after `after`, at most `limit`; without services, whose JID is a domain.
    fn list<'a>(
        &'a self,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AccountSummary>, StoreError>>;
    /// The credential of one mechanism family, and whether the account can be used.
    fn credential<'a>(
        &'a self,
        jid: &'a BareJid,
        family: &'a str,
    ) -> BoxFuture<'a, Result<Option<(String, AccountState)>, StoreError>>;
    /// Replaces all credentials, which counts as a change of the password. Returns how many of these there were now.
    /// `StoreError::NotFound` without such an account.
    fn set_credentials<'a>(
        &'a self,
        jid: &'a BareJid,
        credentials: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<i64, StoreError>>;
    fn set_state<'a>(
        &'a self,
        jid: &'a BareJid,
        state: AccountState,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Removes the account, its log entries, documents, items of nodes, roster, devices and sessions.
    fn delete<'a>(&'a self, jid: &'a BareJid) -> BoxFuture<'a, Result<(), StoreError>>;
    /// A secret of this server, 32 bytes, drawn by `make` when it is first asked for and kept for ever.
    fn secret<'a>(&'a self, name: &'a str, make: [u8; 32]) -> BoxFuture<'a, Result<[u8; 32], StoreError>>;
}

/// One entry as it is read back.
#[derive(Clone, Debug)]
pub struct LogEntry {
    pub position: LogPosition,
    pub direction: Direction,
    pub record: Arc<MessageRecord>,
}

/// [`LogQuery::search_max`] where nobody says otherwise: a few milliseconds.
pub const SEARCH_MAX: usize = 2_000;

/// Which entries of a log. The default is all that the archive shows, oldest first.
#[derive(Clone, Debug)]
pub struct LogQuery {
    /// Only entries after this position.
    pub after: Option<LogPosition>,
    /// Only entries before this position.
    pub before: Option<LogPosition>,
    /// Only entries from or to this JID; a bare JID matches all its resources (XEP-0313 §4.1.1).
    pub with: Option<Jid>,
    /// Only these entries.
    pub positions: Option<Vec<LogPosition>>,
    /// Positions that the archive must hold, else the answer is `StoreError::NotFound`.
    pub must_exist: Vec<LogPosition>,
    pub limit: usize,
    /// Entries of a conversation that are looked at, at most, to find those with a full JID: no index tells them
    /// from those with its other resources.
    pub search_max: usize,
    /// Whether the page is the last of the range instead of the first. Entries come oldest first anyway.
    pub from_end: bool,
    /// Entries that only wait for delivery, too.
    pub include_unarchived: bool,
    /// Whether `LogPage::count` and `index` are wanted.
    pub counted: bool,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self {
            after: None,
            before: None,
            with: None,
            positions: None,
            must_exist: Vec::new(),
            limit: 50,
            search_max: SEARCH_MAX,
            from_end: false,
            include_unarchived: false,
            counted: false,
        }
    }
}

/// A page of a log.
#[derive(Clone, Debug, Default)]
pub struct LogPage {
    /// Oldest first.
    pub entries: Vec<LogEntry>,
    /// Whether nothing more of the queried range lies beyond the page, in the direction of paging.
    pub complete: bool,
    /// All entries of the range without `after` and `before` of the page, as XEP-0059 counts.
    pub count: Option<u64>,
    /// The index of the first entry of the page in that count. Conversations with a full JID are not counted, nor are
    /// those that are too long.
    pub index: Option<u64>,
    /// The last entry that was looked at, where [`LogQuery::search_max`] was reached before the page was full. What
    /// lies beyond it in the direction of paging is unknown, so the page is not complete.
    pub searched_to: Option<LogPosition>,
}

/// Which conversations of a log (XEP-0430), those with the newest last entry first. The default is the first page of all.
#[derive(Clone, Debug)]
pub struct InboxQuery {
    /// Only conversations whose last entry is older than this position.
    pub after: Option<LogPosition>,
    /// Only conversations whose last entry is newer than this position.
    pub before: Option<LogPosition>,
    pub limit: usize,
    /// Whether the page is the last of the range instead of the first. Conversations come newest first anyway.
    pub from_end: bool,
    /// Only conversations with something unread.
    pub unread_only: bool,
    /// Whether [`Conversation::message`] is wanted.
    pub messages: bool,
}

impl Default for InboxQuery {
    fn default() -> Self {
        let (after, before) = (None, None);
        Self { after, before, limit: 50, from_end: false, unread_only: false, messages: true }
    }
}

/// All that the archive has of one party.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub peer: BareJid,
    /// The last entry.
    pub last: LogPosition,
    /// Entries that somebody else wrote to be read ([`MessageRecord::speaks`]), behind what was displayed and behind the
    /// last of the owner's own that is such.
    pub unread: u64,
    /// The last entry that says something, if it is still there and that is known.
    pub message: Option<LogEntry>,
}

/// A page of conversations.
#[derive(Clone, Debug, Default)]
pub struct Inbox {
    /// Newest first.
    pub conversations: Vec<Conversation>,
    /// Whether nothing more of the queried range lies beyond the page, in the direction of paging.
    pub complete: bool,
    /// The place of the first of the page among all that the query asks for, whatever its range.
    pub index: u64,
    /// All conversations, those with something unread, and all that is unread in them.
    pub total: u64,
    pub unread: u64,
    pub all_unread: u64,
}

impl InboxQuery {
    /// Makes a page of all conversations: the last position of each, what is unread of it, and what tells it from others.
    /// The conversations of the page are yet to be filled in, in the order of what is returned.
    pub fn select<T>(&self, mut all: Vec<(LogPosition, u64, T)>) -> (Inbox, Vec<T>) {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let mut inbox = Inbox {
            total: count(all.len()),
            unread: count(all.iter().filter(|(_, unread, _)| *unread > 0).count()),
            all_unread: all.iter().fold(0, |sum, (_, unread, _)| sum.saturating_add(*unread)),
            ..Inbox::default()
        };
        all.retain(|(_, unread, _)| !self.unread_only || *unread > 0);
        all.sort_unstable_by(|(one, ..), (other, ..)| other.cmp(one));
        let is_newer = |than: LogPosition| all.partition_point(|(last, ..)| *last > than);
        let is_as_new = |as_this: LogPosition| all.partition_point(|(last, ..)| *last >= as_this);
        let mut start = self.after.map_or(0, is_as_new);
        let mut end = self.before.map_or(all.len(), is_newer).max(start);
        let size = end.saturating_sub(start);
        if self.from_end {
            start = start.max(end.saturating_sub(self.limit));
        } else {
            end = end.min(start.saturating_add(self.limit));
        }
        inbox.complete = end.saturating_sub(start) == size;
        inbox.index = count(start);
        all.truncate(end);
        (inbox, all.into_iter().skip(start).map(|(_, _, found)| found).collect())
    }
}

/// The logs. What was submitted to the journal is visible when it is durable.
pub trait Logs: Send + Sync {
    fn page<'a>(
        &'a self,
        account: AccountId,
        query: &'a LogQuery,
    ) -> BoxFuture<'a, Result<LogPage, StoreError>>;
    /// The conversations of the archive, and what is unread of them (XEP-0430).
    fn inbox<'a>(
        &'a self,
        account: AccountId,
        query: &'a InboxQuery,
    ) -> BoxFuture<'a, Result<Inbox, StoreError>>;
    /// How far the owner has read a conversation; [`LogPosition::START`] if that is not known.
    fn displayed<'a>(
        &'a self,
        account: AccountId,
        peer: &'a BareJid,
    ) -> BoxFuture<'a, Result<LogPosition, StoreError>>;
    /// The first and last position that the archive shows (XEP-0313 §5, metadata).
    fn bounds(
        &self,
        account: AccountId,
    ) -> BoxFuture<'_, Result<Option<(LogPosition, LogPosition)>, StoreError>>;
    /// The last entry after `after` that had been queued for `session` with a number of at most `handled`:
    /// what a client had received when it last counted.
    fn received_by(
        &self,
        account: AccountId,
        session: SessionId,
        handled: u32,
        after: LogPosition,
    ) -> BoxFuture<'_, Result<Option<LogPosition>, StoreError>>;
    /// The newest entry that was ever purged from the log; [`LogPosition::START`] if none was.
    fn purged(&self, account: AccountId) -> BoxFuture<'_, Result<LogPosition, StoreError>>;
    /// Removes archived entries before `before`, of all accounts or of one. Returns how many.
    fn purge(
        &self,
        account: Option<AccountId>,
        before: LogPosition,
    ) -> BoxFuture<'_, Result<u64, StoreError>>;
}

/// A document: XML or text that the store does not look into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    pub kind: CompactString,
    pub key: CompactString,
    pub value: String,
}

/// Keyed documents of an account: private XML, vCard, block list, preferences.
pub trait Documents: Send + Sync {
    fn document<'a>(
        &'a self,
        account: AccountId,
        kind: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>>;
    fn documents<'a>(
        &'a self,
        account: AccountId,
        kind: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Document>, StoreError>>;
    /// Accounts that have a document of this kind, in the order of their JIDs, after `after`, at most `limit`.
    fn holders<'a>(
        &'a self,
        kind: &'a str,
        after: Option<&'a BareJid>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, StoreError>>;
    /// Accounts that have a document of this kind with this text in it; where letters differ in case alone, it may be found,
    /// too. All such documents are read.
    fn mentioning<'a>(
        &'a self,
        kind: &'a str,
        text: &'a str,
    ) -> BoxFuture<'a, Result<Vec<BareJid>, StoreError>>;
}

/// A device as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceRecord {
    pub id: DeviceId,
    /// What the device is recognised by: the resource of an older client, or a user-agent id.
    pub key: CompactString,
    /// All entries up to here were acknowledged by the device.
    pub cursor: LogPosition,
    /// The device pages the archive, so that nothing is delivered a second time when it comes back.
    pub pages_archive: bool,
    /// Microseconds since 1970.
    pub last_seen: i64,
    /// `None` for one that is older than what is kept of it.
    pub access: Option<Arc<Access>>,
}

/// What gives a device access to its account, and what it says of itself (XEP-0388 §2.3, XEP-0494 §3.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// Microseconds since 1970.
    pub first_seen: i64,
    /// The name of the client, and that of the device where it runs.
    pub software: CompactString,
    pub name: CompactString,
    /// It proved a password last when the account's had been changed so often.
    pub password: Option<i64>,
    /// The token that it uses, and the one that it was given for the time after (XEP-0484 §5.1).
    pub current: Option<TokenRecord>,
    pub next: Option<TokenRecord>,
}

/// What is kept of a token (XEP-0484). It takes a secret of the server besides to make the token of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenRecord {
    /// By which alone it may be used.
    pub mechanism: CompactString,
    /// Drawn for it.
    pub salt: u128,
    /// Microseconds since 1970.
    pub issued: i64,
    pub expires: i64,
    /// How often the password of the account had been changed. After another change it is not trusted.
    pub passwords: i64,
}

/// A resumable session as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionRecord {
    pub id: SessionId,
    pub device: DeviceId,
    pub resource: CompactString,
    /// Stanzas of the client that were handled.
    pub handled: u32,
    /// All that a clean stop saved of it. Without one the session cannot be resumed, only accounted for.
    pub snapshot: Option<String>,
}

/// Sessions that outlive the process.
pub trait Sessions: Send + Sync {
    /// A session and the account it belongs to.
    fn session(&self, id: SessionId) -> BoxFuture<'_, Result<Option<(BareJid, SessionRecord)>, StoreError>>;
    /// The accounts with sessions that a clean stop saved.
    fn saved(&self) -> BoxFuture<'_, Result<Vec<BareJid>, StoreError>>;
}
