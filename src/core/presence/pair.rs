//! Two accounts under lock: the one that is seen, and the one that sees it. What is judged by the state of both is
//! queued before either changes, so nobody is shown what is not so any more.

use std::sync::MutexGuard;

use super::News;
use crate::account::{Account, Cell, lock_pair};
use crate::extension::Side;
use crate::hub::Hub;
use crate::ids::SessionId;
use crate::jid::Jid;
use crate::outbox::{Entry, Item};
use crate::record::Payload;
use crate::stanza::{Header, Presence, PresenceType, Stanza};

/// The two; they may be one.
pub(super) struct Pair<'a> {
    seen: MutexGuard<'a, Account>,
    viewer: Option<MutexGuard<'a, Account>>,
}

impl<'a> Pair<'a> {
    pub(super) fn lock(seen: &'a Cell, viewer: &'a Cell) -> Self {
        let (seen, viewer) = lock_pair(seen, viewer);
        Self { seen, viewer }
    }

    pub(super) fn seen(&self) -> &Account {
        &self.seen
    }

    pub(super) fn seen_mut(&mut self) -> &mut Account {
        &mut self.seen
    }

    pub(super) fn viewer(&self) -> &Account {
        self.viewer.as_ref().unwrap_or(&self.seen)
    }

    pub(super) fn viewer_mut(&mut self) -> &mut Account {
        self.viewer.as_mut().unwrap_or(&mut self.seen)
    }

    /// Works on both. Nothing is done where they are one: nobody is a contact of oneself.
    pub(super) fn with_both<T: Default>(&mut self, work: impl FnOnce(&mut Account, &mut Account) -> T) -> T {
        let Some(viewer) = &mut self.viewer else { return T::default() };
        work(&mut self.seen, viewer)
    }
}

impl Hub {
    /// Whether neither account keeps presence from going this way (XEP-0191 §3.3). One's own devices are never kept
    /// from each other (§5, note).
    pub(super) fn lets_pass(&self, sender: &Account, recipient: &Account, presence: &Stanza) -> bool {
        sender.id == recipient.id
            || (self.admits(presence, sender, Side::Sender).is_ok()
                && self.admits(presence, recipient, Side::Recipient).is_ok())
    }

    /// Queues news of the account that is seen for the available devices of the other, or for the one resource that
    /// they are addressed to, available or not.
    pub(super) fn queue_news(&self, pair: &mut Pair<'_>, news: &News, to: &Jid) {
        let from = Jid::from(news.from.clone());
        let reached = self.reached(pair.seen(), pair.viewer(), &from, news.kind, to.resource());
        let element = news.element.to_builder().attr("to", to.as_str()).build();
        let viewer = pair.viewer_mut();
        for id in reached {
            if let Some(session) = viewer.session_mut(id) {
                let item = Item::Stanza { element: element.clone(), to: None };
                session.queue(Entry::new(item, news.ticket), &self.registry.filter);
                session.wake();
            }
        }
        if news.kind == PresenceType::Unavailable {
            // §4.6.1: who has left needs not be told that others leave.
            viewer.sessions.iter_mut().for_each(|session| _ = session.directed.remove(&from));
        }
    }

    /// The devices of one account that presence of another reaches.
    pub(super) fn reached(
        &self,
        seen: &Account,
        viewer: &Account,
        from: &Jid,
        kind: PresenceType,
        resource: Option<&str>,
    ) -> Vec<SessionId> {
        // Who left is gone for all that could see it when it left, though they were kept from seeing more since.
        let is_last_word = kind == PresenceType::Unavailable
            && seen.id != viewer.id
            && self.admits(&empty(from.clone(), viewer.jid.clone(), kind), seen, Side::Sender).is_err();
        let passes = |to: Jid| {
            let presence = empty(from.clone(), to, kind);
            if is_last_word {
                self.admits(&presence, viewer, Side::Recipient).is_ok()
            } else {
                self.lets_pass(seen, viewer, &presence)
            }
        };
        let meant = viewer.sessions.iter().filter(|session| match resource {
            Some(resource) => session.jid.resource() == resource,
            None => session.is_available(),
        });
        meant.filter(|session| passes(session.jid.clone().into())).map(|session| session.id).collect()
    }
}

/// Presence of which only the addresses matter.
pub(super) fn empty(from: Jid, to: impl Into<Jid>, kind: PresenceType) -> Stanza {
    let header = Header { from, to: Some(to.into()), id: None, lang: None };
    let (others, payload) = (Box::default(), Payload::from_elements(Vec::new()));
    Stanza::Presence(Presence { header, kind, others, payload })
}
