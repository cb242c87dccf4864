//! All that one account has.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::ids::{DeviceId, LogPosition, SessionId};
use unisono_core::jid::BareJid;
use unisono_core::record::{Direction, Keep, MessageRecord, Payload, Place};
use unisono_core::roster::RosterItem;
use unisono_core::storage::{DeviceRecord, NodeItem, SessionRecord};

#[derive(Clone)]
pub(super) struct Holdings {
    pub(super) log: BTreeMap<LogPosition, Entry>,
    /// What was ever the highest position, of an entry or an item: it stays when that is forgotten.
    pub(super) head: LogPosition,
    /// The newest entry that was ever purged.
    pub(super) purged: LogPosition,
    /// How far conversations were read.
    pub(super) displayed: BTreeMap<BareJid, LogPosition>,
    pub(super) roster: BTreeMap<BareJid, RosterItem>,
    pub(super) documents: BTreeMap<(CompactString, CompactString), String>,
    /// The items of each node that has any, oldest first.
    pub(super) nodes: BTreeMap<CompactString, Vec<Arc<NodeItem>>>,
    pub(super) devices: BTreeMap<DeviceId, DeviceRecord>,
    pub(super) sessions: BTreeMap<SessionId, SessionRecord>,
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) record: Arc<MessageRecord>,
    pub(super) direction: Direction,
    pub(super) keep: Keep,
    pub(super) is_retracted: bool,
}

impl Default for Holdings {
    fn default() -> Self {
        Self {
            log: BTreeMap::new(),
            head: LogPosition::START,
            purged: LogPosition::START,
            displayed: BTreeMap::new(),
            roster: BTreeMap::new(),
            documents: BTreeMap::new(),
            nodes: BTreeMap::new(),
            devices: BTreeMap::new(),
            sessions: BTreeMap::new(),
        }
    }
}

impl Holdings {
    pub(super) fn append(&mut self, place: &Place, record: &Arc<MessageRecord>) {
        if place.keep == Keep::Nothing {
            return;
        }
        if let Some((_, direction)) = record.place(place.account) {
            let entry =
                Entry { record: Arc::clone(record), direction, keep: place.keep, is_retracted: false };
            self.head = self.head.max(place.position);
            self.log.insert(place.position, entry);
        }
    }

    /// The messages that the retraction concerns, before and after it.
    pub(super) fn retract(
        &self,
        peer: &BareJid,
        from: &BareJid,
        id: &str,
        payload: &str,
    ) -> Vec<(Arc<MessageRecord>, Arc<MessageRecord>)> {
        let concerned = self.log.values().filter(|entry| {
            let record = &entry.record;
            !entry.is_retracted
                && record.id.as_deref() == Some(id)
                && record.from.to_bare() == *from
                && record.peer(entry.direction).to_bare() == *peer
        });
        concerned
            .map(|entry| {
                let before = Arc::clone(&entry.record);
                let after = MessageRecord { payload: Payload::from_text(payload), ..(*before).clone() };
                (before, Arc::new(after))
            })
            .collect()
    }

    /// Puts a retracted message in the place of what it was.
    pub(super) fn replace(&mut self, position: LogPosition, record: &Arc<MessageRecord>) {
        if let Some(entry) = self.log.get_mut(&position) {
            entry.record = Arc::clone(record);
            entry.is_retracted = true;
        }
    }

    pub(super) fn delivered(&mut self, upto: LogPosition) {
        self.log.retain(|position, entry| *position > upto || entry.keep == Keep::Archive);
    }

    pub(super) fn put_device(&mut self, device: &DeviceRecord) {
        let access = self.devices.get(&device.id).and_then(|before| before.access.clone());
        self.devices.insert(device.id, DeviceRecord { access, ..device.clone() });
    }

    pub(super) fn put_session(&mut self, session: &SessionRecord) {
        let before = self.sessions.insert(session.id, session.clone());
        if let (Some(before), Some(now)) = (before, self.sessions.get_mut(&session.id)) {
            now.handled = now.handled.max(before.handled);
        }
    }
}
