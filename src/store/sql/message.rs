//! A row of the table of messages, but for the record.

use unisono_core::ids::{AccountId, SessionId};
use unisono_core::record::{Keep, MessageRecord, Place};
use unisono_core::storage::StoreError;

use super::tail::{Row, Voice};
use crate::hash::Hasher;
use crate::pack::Unpacker;

const SENDER_WAITS: i64 = 1;
const RECIPIENT_WAITS: i64 = 2;
const TO_ONESELF: i64 = 4;
const SPEAKS: i64 = 8;

/// The columns that the index is made of. Their meaning is told with the table, in the migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) id: i64,
    pub(super) sender: i64,
    pub(super) sent_at: i64,
    pub(super) recipient: i64,
    pub(super) received_at: i64,
    pub(super) flags: i64,
    pub(super) sent_to: i64,
    pub(super) received_from: i64,
    pub(super) stanza: i64,
    pub(super) fingerprint: i64,
    pub(super) session: i64,
    pub(super) handled: i64,
}

/// The columns, packed, as [`Columns::unpack`] takes them.
pub(super) const PACKED: &str = "concat(id, ';', sender, ';', sent_at, ';', recipient, ';', received_at, ';', \
    flags, ';', sent_to, ';', received_from, ';', stanza, ';', fingerprint, ';', session, ';', handled, ';')";

impl Columns {
    pub(super) fn new(record: &MessageRecord, id: i64, hasher: Hasher) -> Self {
        let (sent, received) = (kept(record.sent.as_ref()), kept(record.received.as_ref()));
        let (from, to) = (record.from.to_bare(), record.to.to_bare());
        let flag = |set, flag| if set { flag } else { 0 };
        let waits = |place: Option<&Place>| place.is_some_and(|place| place.keep == Keep::UntilDelivered);
        let session = record.origin.and_then(|origin| origin.session);
        Self {
            id,
            sender: sent.map_or(0, |place| place.account.0),
            sent_at: sent.map_or(0, |place| place.position.0),
            recipient: received.map_or(0, |place| place.account.0),
            received_at: received.map_or(0, |place| place.position.0),
            flags: flag(waits(sent), SENDER_WAITS)
                | flag(waits(received), RECIPIENT_WAITS)
                | flag(record.sent.is_none() && from == to, TO_ONESELF)
                | flag(record.speaks, SPEAKS),
            sent_to: sent.map_or(0, |_| hasher.hash(to.as_str())),
            received_from: received.map_or(0, |_| hasher.hash(from.as_str())),
            stanza: record.id.as_deref().map_or(0, |id| hasher.hash(id)),
            fingerprint: record.fingerprint,
            session: session.map_or(0, |(session, _)| session.0),
            handled: session.map_or(0, |(_, handled)| i64::from(handled)),
        }
    }

    pub(super) fn unpack(packed: &mut Unpacker<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: packed.number()?,
            sender: packed.number()?,
            sent_at: packed.number()?,
            recipient: packed.number()?,
            received_at: packed.number()?,
            flags: packed.number()?,
            sent_to: packed.number()?,
            received_from: packed.number()?,
            stanza: packed.number()?,
            fingerprint: packed.number()?,
            session: packed.number()?,
            handled: packed.number()?,
        })
    }

    /// The entries of the message, with their logs.
    pub(super) fn entries(&self) -> impl Iterator<Item = (AccountId, Row)> + use<> {
        let row = |position, peer, fingerprint, waits, voice| Row {
            position,
            message: self.id,
            peer,
            stanza: self.stanza,
            fingerprint,
            session: self.session,
            waits: self.flags & waits != 0,
            voice: if self.flags & SPEAKS == 0 { Voice::Silent } else { voice },
        };
        // The fingerprint is the sender's.
        let (own, voice) = match self.flags & TO_ONESELF {
            0 => (0, Voice::Heard),
            _ => (self.fingerprint, Voice::Said),
        };
        let sent = row(self.sent_at, self.sent_to, self.fingerprint, SENDER_WAITS, Voice::Said);
        let received = row(self.received_at, self.received_from, own, RECIPIENT_WAITS, voice);
        let entries = [(AccountId(self.sender), sent), (AccountId(self.recipient), received)];
        entries.into_iter().filter(|(account, _)| account.0 != 0)
    }

    /// The session that sent it, and how many stanzas it had sent with this one.
    pub(super) fn session(&self) -> Option<(SessionId, u32)> {
        (self.session != 0)
            .then_some((SessionId(self.session), u32::try_from(self.handled).unwrap_or(u32::MAX)))
    }

    pub(super) fn is_in_a_log(&self) -> bool {
        self.sender != 0 || self.recipient != 0
    }
}

fn kept(place: Option<&Place>) -> Option<&Place> {
    place.filter(|place| place.keep != Keep::Nothing)
}
