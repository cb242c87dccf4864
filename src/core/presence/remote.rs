//! Presence to and from domains that are not ours (RFC 6121 §3 and §4).

use std::sync::Arc;

use super::deal::{Deal, Who};
use super::{News, plain_presence, presence_element};
use crate::account::Cell;
use crate::extension::Side;
use crate::hub::{Hub, SessionRef};
use crate::ids::Ticket;
use crate::jid::{BareJid, Jid};
use crate::outbox::Entry;
use crate::stanza::{Presence, PresenceType, Stanza};
use crate::subscription::SubscriptionKind;

impl Hub {
    /// Shows somebody of another domain how a device is.
    pub(super) fn send_news_away(&self, news: &News, to: &Jid) {
        let element = news.element.to_builder().attr("to", to.as_str()).build();
        self.send_away(to, &element, Ticket::NONE);
    }

    /// §4.3.1: a device that has come asks how a contact of another domain is.
    pub(super) fn probe_away(&self, asker: &SessionRef, contact: &BareJid) {
        let to = Jid::from(contact.clone());
        let probe = plain_presence(asker.jid.as_str(), PresenceType::Probe.as_str());
        self.send_away(&to, &probe.to_builder().attr("to", to.as_str()).build(), Ticket::NONE);
    }

    /// Presence from another domain for an account of ours.
    pub(crate) fn presence_from_afar(&self, presence: &Presence, to: &Jid, cell: &Arc<Cell>) {
        let from = presence.header.from.to_bare();
        match presence.kind {
            PresenceType::Available | PresenceType::Unavailable | PresenceType::Error => {
                self.show_from_afar(presence, to, cell);
            }
            PresenceType::Probe => self.answer_probe_afar(presence, cell),
            kind @ (PresenceType::Subscribe
            | PresenceType::Subscribed
            | PresenceType::Unsubscribe
            | PresenceType::Unsubscribed) => {
                if let Some(kind) = SubscriptionKind::parse(kind.as_str()) {
                    let mut account = cell.lock();
                    if account.is_gone || self.is_leaving(&account.jid) {
                        return;
                    }
                    let mut deal = Deal::new(self, &mut account, &from, None);
                    if deal.may_receive(kind) {
                        deal.receive(Who::User, kind, Some(presence));
                    }
                    deal.close();
                }
            }
        }
    }

    /// §4.6.4: to the device that is named, or to all that are there.
    fn show_from_afar(&self, presence: &Presence, to: &Jid, cell: &Cell) {
        let mut account = cell.lock();
        if self.admits(&Stanza::Presence(presence.clone()), &account, Side::Recipient).is_err() {
            return;
        }
        let element = presence_element(presence, Some(to.as_str()));
        for session in &mut account.sessions {
            let is_meant = match to.resource() {
                Some(resource) => session.jid.resource() == resource,
                None => session.is_available() && presence.kind != PresenceType::Error,
            };
            if is_meant {
                session.queue(Entry::stanza(element.clone()), &self.registry.filter);
                session.wake();
            }
        }
    }

    /// §4.3.2: who is subscribed learns how the account is; nobody else learns anything.
    fn answer_probe_afar(&self, probe: &Presence, cell: &Cell) {
        let account = cell.lock();
        let asker = &probe.header.from;
        let may_see = account.is_seen_by(&asker.to_bare()) && self.shows_to(&account, asker);
        let news = if may_see { self.news(&account) } else { Vec::new() };
        drop(account);
        for news in &news {
            self.send_news_away(news, asker);
        }
    }
}
