//! Presence for one entity (RFC 6121 §4.6).

use unisono_xml::Element;

use super::{entry_to, presence_element};
use crate::hub::{Hub, SessionRef};
use crate::jid::Jid;
use crate::stanza::{Presence, PresenceType};

/// Entities that one session may have sent presence to without a subscription.
const DIRECTED_MAX: usize = 1_000;

impl Hub {
    /// RFC 6121 §4.6: presence to one entity.
    pub(super) fn directed(&self, origin: &SessionRef, presence: &Presence, to: &Jid) {
        let element = presence_element(presence, Some(to.as_str()));
        {
            let mut account = origin.cell.lock();
            let subscribed = account.is_seen_by(&to.to_bare());
            if let Some(session) = account.session_mut(origin.id) {
                if presence.kind != PresenceType::Error {
                    session.directed.retain(|known| known != to);
                }
                let remember =
                    presence.kind == PresenceType::Available && !(subscribed && session.is_available());
                if remember && session.directed.len() < DIRECTED_MAX {
                    session.directed.push(to.clone());
                }
            }
        }
        self.send_directed(to, &element);
    }

    pub(super) fn send_directed(&self, to: &Jid, element: &Element) {
        let Some(resource) = to.resource() else {
            // Errors are for nobody but the one who sent what they are about.
            if element.attr("type") != Some("error") {
                self.send_presence(&to.to_bare(), element);
            }
            return;
        };
        let Some(cell) = self.resident(&to.to_bare()) else { return };
        let mut account = cell.lock();
        if self.blocked(&account, element) {
            return;
        }
        if let Some(session) = account.sessions.iter_mut().find(|session| session.jid.resource() == resource)
        {
            let to = session.jid.clone();
            session.queue(entry_to(element.clone(), Some(to)), &self.registry.filter);
            session.wake();
        }
    }
}
