//! Presence for one entity (RFC 6121 §4.6).

use super::News;
use super::pair::Pair;
use crate::account::Account;
use crate::error::{Condition, StanzaError};
use crate::hub::{Hub, SessionRef};
use crate::jid::Jid;
use crate::stanza::{Presence, PresenceType};

/// Entities that one session may have sent presence to without a subscription.
const DIRECTED_MAX: usize = 1_000;

impl Hub {
    /// RFC 6121 §4.6.3: presence to one entity, which is told when the device leaves. Errors go the same way, to
    /// resources only: they are for nobody but the one who sent what they are about.
    pub(super) fn directed(
        &self,
        origin: &SessionRef,
        presence: &Presence,
        to: &Jid,
    ) -> Result<(), StanzaError> {
        if !self.serves(to.domain()) {
            let mut account = origin.cell.lock();
            remember(&mut account, origin, presence, to)?;
            if account.is_live(origin) {
                self.send_news_away(&News::of(self, &account, presence, &origin.jid), to);
            }
            return Ok(());
        }
        let is_for_nobody = presence.kind == PresenceType::Error && to.resource().is_none();
        // Of accounts that are not in memory nobody is there.
        let cell = self.resident(&to.to_bare()).filter(|_| !is_for_nobody);
        let Some(cell) = cell else { return remember(&mut origin.cell.lock(), origin, presence, to) };
        let mut pair = Pair::lock(&origin.cell, &cell);
        remember(pair.seen_mut(), origin, presence, to)?;
        if pair.seen().is_live(origin) {
            let news = News::of(self, pair.seen(), presence, &origin.jid);
            self.queue_news(&mut pair, &news, to);
        }
        Ok(())
    }
}

/// Keeps in mind who sees a device without a subscription.
fn remember(
    account: &mut Account,
    origin: &SessionRef,
    presence: &Presence,
    to: &Jid,
) -> Result<(), StanzaError> {
    let subscribed = account.is_seen_by(&to.to_bare());
    let Some(session) = account.session_mut(origin.id) else { return Ok(()) };
    match presence.kind {
        PresenceType::Unavailable => _ = session.directed.remove(to),
        PresenceType::Available if subscribed && session.is_available() => _ = session.directed.remove(to),
        PresenceType::Available => {
            if session.directed.len() >= DIRECTED_MAX && !session.directed.contains(to) {
                return Err(StanzaError::new(Condition::PolicyViolation));
            }
            session.directed.insert(to.clone());
        }
        PresenceType::Error
        | PresenceType::Subscribe
        | PresenceType::Subscribed
        | PresenceType::Unsubscribe
        | PresenceType::Unsubscribed
        | PresenceType::Probe => {}
    }
    Ok(())
}
