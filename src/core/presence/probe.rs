//! Questions after presence (RFC 6121 §4.3).

use super::pair::{Pair, empty};
use crate::hub::{Hub, SessionRef};
use crate::jid::{BareJid, Jid};
use crate::outbox::Entry;
use crate::stanza::PresenceType;

impl Hub {
    /// Shows a device that has come how a contact is. That is no probe, since the contact's account is here (RFC 6121
    /// §4.3.1): of a contact who is away nothing is said, and none is read from the store for it.
    pub(super) fn see(&self, asker: &SessionRef, contact: &BareJid) {
        let Some(cell) = self.resident(contact) else { return };
        let mut pair = Pair::lock(&cell, &asker.cell);
        if !pair.seen().is_seen_by(&asker.cell.jid) {
            return;
        }
        let own = Jid::from(asker.jid.clone());
        let passes = |from: Jid| {
            let presence = empty(from, own.clone(), PresenceType::Available);
            self.lets_pass(pair.seen(), pair.viewer(), &presence)
        };
        let mut news = pair.seen().news();
        news.retain(|news| passes(news.from.clone().into()));
        let Some(session) = pair.viewer_mut().session_mut(asker.id) else { return };
        for news in news {
            let element = news.element.to_builder().attr("to", asker.cell.jid.as_str()).build();
            session.queue(Entry::stanza(element), &self.registry.filter);
        }
        session.wake();
    }
}
