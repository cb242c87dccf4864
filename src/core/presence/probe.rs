//! Questions after presence (RFC 6121 §4.3).

use std::sync::Arc;

use super::{plain_presence, presence_element};
use crate::account::Cell;
use crate::hub::Hub;
use crate::ids::SessionId;
use crate::jid::BareJid;
use crate::outbox::Entry;
use crate::session::Session;

impl Hub {
    /// RFC 6121 §4.3: one session asks how a contact is.
    pub(super) fn ask_presence(&self, asker: &Arc<Cell>, session: SessionId, contact: &BareJid) {
        let mut answers = Vec::new();
        if let Some(cell) = self.resident(contact) {
            let account = cell.lock();
            if !account.is_seen_by(&asker.jid) {
                return;
            }
            answers.extend(
                account.sessions.iter().filter_map(Session::presence).map(|p| presence_element(p, None)),
            );
        } else if !self.serves(contact.domain()) {
            return;
        }
        let mut account = asker.lock();
        let own = account.jid.clone();
        if let Some(session) = account.session_mut(session) {
            if answers.is_empty() {
                answers.push(plain_presence(contact.as_str(), "unavailable"));
            }
            for element in answers {
                let element = element.to_builder().attr("to", own.as_str()).build();
                session.queue(Entry::stanza(element), &self.registry.filter);
            }
            session.wake();
        }
    }
}
