//! How an account shows its devices: what they say, and what the account knows better.

use unisono_xml::Element;

use super::pair::Pair;
use super::{News, with_children};
use crate::account::{Account, Cell};
use crate::extension::Registry;
use crate::hub::Hub;
use crate::ids::Ticket;
use crate::jid::Jid;
use crate::stanza::{Presence, PresenceType};
use crate::storage::Commit;

/// What others see of an available presence beside what the device said: changes its children.
pub type Restate = fn(&Account, &mut Vec<Element>);

impl Registry {
    /// Adds to the available presence of a device what the account knows better, whenever it is shown to somebody; what
    /// the device said stays as it is. When the account comes to know something else, [`Hub::show_again`] tells it.
    pub fn restate(&mut self, handler: Restate) -> &mut Self {
        self.restate.push(handler);
        self
    }
}

impl Hub {
    /// With a commit, an account came to show its devices in another way ([`Registry::restate`]):
    /// everybody who sees them learns it.
    pub fn show_again(&self, user: &Cell, ticket: Ticket) {
        let mut account = user.lock();
        account.shown = account.shown.wrapping_add(1);
        for news in self.news(&account) {
            self.to_own_sessions(&mut account, None, &News { ticket, ..news });
        }
        self.wake_if_durable(&account, ticket);
        let contacts = self.subscribers(&account);
        drop(account);
        let mut wake = Vec::new();
        for contact in &contacts {
            if !self.serves(contact.domain()) {
                let seen = user.lock();
                let news = self.news(&seen).into_iter().filter(|_| seen.is_seen_by(contact));
                let to = Jid::from(contact.clone());
                news.for_each(|news| self.send_news_away(&News { ticket, ..news }, &to));
                continue;
            }
            let Some(cell) = self.resident(contact) else { continue };
            let mut pair = Pair::lock(user, &cell);
            if !pair.seen().is_seen_by(contact) {
                continue;
            }
            for news in self.news(pair.seen()) {
                self.queue_news(&mut pair, &News { ticket, ..news }, &contact.clone().into());
            }
            // Who takes a session up now waits for this as well.
            let viewer = pair.viewer_mut();
            viewer.last_ticket = viewer.last_ticket.max(ticket);
            wake.extend(viewer.wakers());
        }
        if ticket > self.store.durable() && !wake.is_empty() {
            self.store.submit(Commit { writes: Vec::new(), wake });
        }
    }

    /// What all available devices say, as it is shown to others.
    pub(super) fn news(&self, account: &Account) -> Vec<News> {
        let available = account.sessions().filter_map(|session| Some((session, session.presence()?)));
        available.map(|(session, presence)| News::of(self, account, presence, session.jid())).collect()
    }

    /// Presence of a device, with what the account adds to it where it is available.
    pub(super) fn shown(&self, account: &Account, presence: &Presence) -> Element {
        let mut children = presence.payload.elements().to_vec();
        if presence.kind == PresenceType::Available {
            self.registry.restate.iter().for_each(|restate| restate(account, &mut children));
        }
        with_children(presence, presence.header.from.as_str(), None, children)
    }
}
