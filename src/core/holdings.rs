//! What a store has of an account ([`crate::storage::Accounts`]).

use crate::ids::{AccountId, LogPosition, SessionId};
use crate::jid::BareJid;
use crate::roster::RosterItem;
use crate::storage::{DeviceRecord, Document, SessionRecord};

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

/// An account, and one of its devices if that is there.
pub type OwnDevice = (AccountId, Option<DeviceRecord>);

/// What is kept of a password for one mechanism family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    pub text: String,
    /// Whether the account can be used.
    pub state: AccountState,
    /// How often the password had been changed.
    pub passwords: i64,
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
