//! Conversations in memory, counted one by one.

use std::collections::BTreeMap;

use unisono_core::jid::BareJid;
use unisono_core::record::Direction;
use unisono_core::storage::{Conversation, Inbox, InboxQuery, LogEntry, ReadUpto};

use super::holdings::{Entry, Holdings};

impl Holdings {
    pub(super) fn displayed(&mut self, peer: &BareJid, upto: &ReadUpto) {
        let position = match upto {
            ReadUpto::Position(position) => Some(*position),
            ReadUpto::Message(id) => self
                .shown(false)
                .filter(|(_, entry)| entry.record.id.as_ref() == Some(id))
                .rfind(|(_, entry)| entry.record.peer(entry.direction).to_bare() == *peer)
                .map(|(position, _)| position),
        };
        if let Some(position) = position {
            let known = self.displayed.entry(peer.clone()).or_insert(position);
            *known = (*known).max(position);
        }
    }

    pub(super) fn inbox(&self, query: &InboxQuery) -> Inbox {
        let mut all: BTreeMap<BareJid, Conversation> = BTreeMap::new();
        for (position, entry) in self.shown(false) {
            let peer = entry.record.peer(entry.direction).to_bare();
            let found = all.entry(peer.clone()).or_insert_with_key(|peer| Conversation {
                peer: peer.clone(),
                last: position,
                unread: 0,
                message: None,
            });
            found.last = position;
            if !entry.record.speaks {
                continue;
            }
            found.message =
                Some(LogEntry { position, direction: entry.direction, record: entry.record.clone() });
            if is_own(entry) {
                found.unread = 0;
            } else if self.displayed.get(&peer).is_none_or(|displayed| *displayed < position) {
                found.unread = found.unread.saturating_add(1);
            }
        }
        let all = all.into_values().map(|found| (found.last, found.unread, found));
        let (mut inbox, mut conversations) = query.select(all.collect());
        if !query.messages {
            for found in &mut conversations {
                found.message = None;
            }
        }
        inbox.conversations = conversations;
        inbox
    }
}

/// Whether the owner of the log said it; to himself, if to nobody else.
fn is_own(entry: &Entry) -> bool {
    let record = &entry.record;
    entry.direction == Direction::Sent
        || (record.sent.is_none() && record.from.to_bare() == record.to.to_bare())
}
