//! A batch of commits, brought into the form in which it is written: one statement for each table.
//!
//! Writes of one batch become visible together, so of several to one row only the last counts, and all
//! that concern one table can be written together.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use unisono_core::ids::{AccountId, DeviceId, LogPosition, SessionId};
use unisono_core::jid::BareJid;
use unisono_core::record::{Keep, MessageRecord};
use unisono_core::roster::RosterItem;
use unisono_core::storage::{Access, Commit, DeviceRecord, ReadUpto, SessionRecord, Write};

use super::message::Columns;
use super::publish::Publishing;
use super::tail::Row;
use crate::hash::Hasher;
use crate::record;

/// What a batch writes.
#[derive(Default)]
pub(super) struct Plan<'a> {
    pub(super) messages: Vec<NewMessage<'a>>,
    pub(super) retractions: Vec<Retraction<'a>>,
    pub(super) delivered: BTreeMap<AccountId, LogPosition>,
    /// How far conversations were read, by account and the hash of the other party,
    pub(super) displayed: BTreeMap<(AccountId, i64), i64>,
    /// and the same by the hash of the message.
    pub(super) displayed_messages: BTreeSet<(AccountId, i64, i64)>,
    pub(super) roster: BTreeMap<(AccountId, &'a BareJid), Option<&'a RosterItem>>,
    pub(super) documents: BTreeMap<(AccountId, &'a str, &'a str), Option<&'a str>>,
    pub(super) publishing: Publishing<'a>,
    pub(super) devices: BTreeMap<DeviceId, (AccountId, &'a DeviceRecord)>,
    pub(super) accesses: BTreeMap<DeviceId, &'a Access>,
    /// Removed before the rest of it is written, with all that is of them.
    pub(super) devices_removed: BTreeSet<DeviceId>,
    pub(super) sessions: BTreeMap<SessionId, (AccountId, &'a SessionRecord, u32)>,
    /// Removed before `sessions` are written.
    pub(super) sessions_ended: BTreeSet<SessionId>,
    pub(super) handled: BTreeMap<SessionId, u32>,
    pub(super) invitations_used: BTreeSet<&'a str>,
}

/// A row of the table of messages.
pub(super) struct NewMessage<'a> {
    pub(super) columns: Columns,
    record: &'a MessageRecord,
    /// The payload after the first retraction in the same batch.
    payload: Option<&'a str>,
}

/// [`Write::Retract`], with its hashes.
#[derive(Clone, Copy)]
pub(super) struct Retraction<'a> {
    pub(super) account: AccountId,
    pub(super) peer: &'a BareJid,
    pub(super) from: &'a BareJid,
    pub(super) id: &'a str,
    pub(super) payload: &'a str,
    pub(super) peer_hash: i64,
    pub(super) stanza: i64,
    /// What only waited was delivered up to here earlier in the batch.
    pub(super) delivered: LogPosition,
}

impl<'a> Plan<'a> {
    /// Plans a batch. The messages are numbered from `next` on.
    pub(super) fn new(batch: impl IntoIterator<Item = &'a Commit>, hasher: Hasher, next: i64) -> Self {
        let mut plan = Self::default();
        for write in batch.into_iter().flat_map(|commit| &commit.writes) {
            plan.add(write, hasher, next);
        }
        plan
    }

    /// How many messages it numbers.
    pub(super) fn count(&self) -> i64 {
        i64::try_from(self.messages.len()).unwrap_or(i64::MAX)
    }

    /// Whether there is nothing to write but messages.
    pub(super) fn has_messages_only(&self) -> bool {
        self.retractions.is_empty()
            && self.delivered.is_empty()
            && self.displayed.is_empty()
            && self.displayed_messages.is_empty()
            && self.roster.is_empty()
            && self.documents.is_empty()
            && self.publishing.is_empty()
            && self.devices.is_empty()
            && self.accesses.is_empty()
            && self.devices_removed.is_empty()
            && self.sessions.is_empty()
            && self.sessions_ended.is_empty()
            && self.handled.is_empty()
            && self.invitations_used.is_empty()
    }

    fn add(&mut self, write: &'a Write, hasher: Hasher, next: i64) {
        match write {
            Write::Message(record) => self.add_message(record, hasher, next),
            Write::Retract { .. } => self.add_retraction(write, hasher),
            Write::Delivered { account, upto } => {
                let known = self.delivered.entry(*account).or_insert(*upto);
                *known = (*known).max(*upto);
            }
            Write::Displayed { account, peer, upto } => {
                let peer = hasher.hash(peer.as_str());
                match upto {
                    ReadUpto::Position(position) => self.read_upto(*account, peer, position.0),
                    ReadUpto::Message(id) => self.add_displayed(*account, peer, hasher.hash(id)),
                }
            }
            Write::RosterItem { account, item } => {
                self.roster.insert((*account, &item.jid), Some(item));
            }
            Write::RosterItemForgotten { account, jid } => {
                self.roster.insert((*account, jid), None);
            }
            Write::Document { account, kind, key, value } => {
                self.documents.insert((*account, kind, key), value.as_deref());
            }
            Write::Item { account, node, item, keep } => self.publishing.put(*account, node, item, *keep),
            Write::ItemRetracted { account, node, id } => self.publishing.retract(*account, node, id),
            Write::NodePurged { account, node } => self.publishing.purge(*account, node),
            Write::Device { account, device } => {
                self.devices.insert(device.id, (*account, device));
            }
            Write::Access { device, access } => {
                self.accesses.insert(*device, access);
            }
            Write::DeviceRemoved { device } => {
                self.devices.remove(device);
                self.accesses.remove(device);
                self.sessions.retain(|_, (_, session, _)| session.device != *device);
                self.devices_removed.insert(*device);
            }
            Write::Session { account, session } => {
                let before = self.sessions.get(&session.id).map_or(0, |(_, _, handled)| *handled);
                let handled = session.handled.max(before);
                self.sessions.insert(session.id, (*account, session, handled));
            }
            Write::SessionHandled { session, handled } => self.add_handled(*session, *handled),
            Write::SessionEnded { session } => {
                self.sessions.remove(session);
                self.handled.remove(session);
                self.sessions_ended.insert(*session);
            }
            Write::InvitationUsed { token } => self.invitations_used.extend([token.as_str()]),
        }
    }

    fn add_retraction(&mut self, write: &'a Write, hasher: Hasher) {
        let Write::Retract { account, peer, from, id, payload } = write else { return };
        let (peer_hash, stanza) = (hasher.hash(peer.as_str()), hasher.hash(id));
        let account = *account;
        let delivered = self.delivered.get(&account).copied().unwrap_or(LogPosition::START);
        let retraction = Retraction { account, peer, from, id, payload, peer_hash, stanza, delivered };
        for message in self.messages.iter_mut().filter(|message| retraction.concerns(message.record)) {
            message.payload.get_or_insert(payload);
        }
        self.retractions.push(retraction);
    }

    fn add_message(&mut self, record: &'a MessageRecord, hasher: Hasher, next: i64) {
        let number = i64::try_from(self.messages.len()).unwrap_or(i64::MAX);
        let columns = Columns::new(record, next.saturating_add(number), hasher);
        if columns.is_in_a_log() {
            self.messages.push(NewMessage { columns, record, payload: None });
        } else if let Some((session, handled)) = columns.session() {
            // There is no row to carry the number of its session.
            self.add_handled(session, handled);
        }
    }

    /// The message may be one of those that are written now.
    fn add_displayed(&mut self, account: AccountId, peer: i64, stanza: i64) {
        let mut entries = self.messages.iter().rev().flat_map(|message| message.columns.entries());
        let is_it = |(owner, row): &(AccountId, Row)| {
            *owner == account && row.peer == peer && row.stanza == stanza && !row.waits
        };
        match entries.find(is_it) {
            Some((_, row)) => self.read_upto(account, peer, row.position),
            None => {
                self.displayed_messages.insert((account, peer, stanza));
            }
        }
    }

    fn read_upto(&mut self, account: AccountId, peer: i64, position: i64) {
        let known = self.displayed.entry((account, peer)).or_insert(position);
        *known = (*known).max(position);
    }

    fn add_handled(&mut self, session: SessionId, handled: u32) {
        let known = match self.sessions.get_mut(&session) {
            Some((_, _, known)) => known,
            None => self.handled.entry(session).or_default(),
        };
        *known = handled.max(*known);
    }
}

impl NewMessage<'_> {
    /// About how long [`Self::packed`] is.
    pub(super) fn bytes(&self) -> usize {
        self.payload.unwrap_or_else(|| self.record.payload.text()).len()
    }

    /// The record, as it is stored.
    pub(super) fn packed(&self) -> String {
        record::encode(self.record, self.payload)
    }
}

impl Retraction<'_> {
    /// Whether this is one of the messages to be replaced.
    pub(super) fn concerns(&self, record: &MessageRecord) -> bool {
        record.id.as_deref() == Some(self.id)
            && record.from.to_bare() == *self.from
            && record.place(self.account).is_some_and(|(place, direction)| {
                place.keep != Keep::Nothing && record.peer(direction).to_bare() == *self.peer
            })
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

    use super::*;

    const HASHER_KEY: [u8; 32] = [7; 32];

    fn plan(commits: &[Commit]) -> Plan<'_> {
        Plan::new(commits, Hasher::new(&HASHER_KEY), 1)
    }

    fn commit(writes: Vec<Write>) -> Commit {
        Commit { writes, wake: Vec::new() }
    }

    fn session(id: i64, device: i64, handled: u32) -> Write {
        let (id, device) = (SessionId(id), DeviceId(device));
        let session = SessionRecord { id, device, resource: "r".into(), handled, snapshot: None };
        Write::Session { account: AccountId(1), session }
    }

    fn device(id: i64, cursor: i64) -> Write {
        let device = DeviceRecord {
            id: DeviceId(id),
            key: "k".into(),
            cursor: LogPosition(cursor),
            pages_archive: false,
            last_seen: 0,
            access: None,
        };
        Write::Device { account: AccountId(1), device }
    }

    #[test]
    fn of_several_writes_to_one_row_the_last_counts() {
        let commits = [commit(vec![device(1, 5), device(1, 6)]), commit(vec![device(2, 1), device(1, 7)])];
        let plan = plan(&commits);
        assert_eq!(plan.devices.len(), 2);
        assert_eq!(plan.devices[&DeviceId(1)].1.cursor, LogPosition(7));
    }

    #[test]
    fn what_is_removed_and_written_again_is_both() {
        let removed = || Write::DeviceRemoved { device: DeviceId(1) };
        let commits = [commit(vec![device(1, 5), session(10, 1, 3), removed(), device(1, 6)])];
        let plan_ = plan(&commits);
        assert!(plan_.devices_removed.contains(&DeviceId(1)));
        assert_eq!(plan_.devices[&DeviceId(1)].1.cursor, LogPosition(6));
        assert!(plan_.sessions.is_empty());

        let ended = Write::SessionEnded { session: SessionId(10) };
        let commits = [commit(vec![session(10, 1, 3), ended, session(10, 1, 1)])];
        let plan = plan(&commits);
        assert!(plan.sessions_ended.contains(&SessionId(10)));
        assert_eq!(plan.sessions[&SessionId(10)].2, 1);
    }

    #[test]
    fn the_number_of_handled_stanzas_never_falls() {
        let handled = |handled| Write::SessionHandled { session: SessionId(10), handled };
        let commits =
            [commit(vec![handled(5), handled(4)]), commit(vec![session(11, 1, 7), session(11, 1, 6)])];
        let plan = plan(&commits);
        assert_eq!(plan.handled[&SessionId(10)], 5);
        assert_eq!(plan.sessions[&SessionId(11)].2, 7);
    }
}
