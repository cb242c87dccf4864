//! Presence to and from domains that are not ours (RFC 6121 §3 and §4).

use std::sync::Arc;

use super::deal::{Deal, Who};
use super::probe::{for_shown, mere};
use super::{News, bytes_max, plain_presence, presence_element};
use crate::account::Cell;
use crate::extension::Side;
use crate::hub::Hub;
use crate::ids::Ticket;
use crate::jid::{BareJid, FullJid, Jid};
use crate::outbox::Entry;
use crate::stanza::{CLIENT_SCOPE, Presence, PresenceType, Stanza};
use crate::subscription::SubscriptionKind;

impl Hub {
    /// Shows somebody of another domain how a device is. Its account is locked, so that what was said before goes before.
    pub(super) fn send_news_away(&self, news: &News, to: &Jid) {
        let Some(route) = self.routes.find(to.domain()) else { return };
        // A device may show itself to a thousand at once: where much waits already, that it is there, or not, is all.
        let mere = || {
            mere(&news.from)
                .to_builder()
                .attr_opt("type", Some(news.kind.as_str()).filter(|kind| !kind.is_empty()))
                .build()
        };
        let element = if route.has_room() { news.element.clone() } else { mere() };
        route.send(&element.to_builder().attr("to", to.as_str()).build(), news.ticket);
    }

    /// §4.3.1: a device that has come asks how a contact of another domain is.
    pub(super) fn probe_away(&self, asker: &FullJid, contact: &BareJid) {
        let to = Jid::from(contact.clone());
        let probe = plain_presence(asker.as_str(), PresenceType::Probe.as_str());
        self.send_away(&to, &probe.to_builder().attr("to", to.as_str()).build(), Ticket::NONE);
    }

    /// Presence from another domain for an account of ours.
    pub(crate) fn presence_from_afar(&self, presence: &Presence, to: &Jid, cell: &Arc<Cell>) {
        let from = presence.header.from.to_bare();
        let bytes_max = bytes_max(presence.kind);
        if presence_element(presence, None).is_longer_than(bytes_max, &CLIENT_SCOPE) {
            tracing::debug!(%from, %to, "presence is too long");
            return;
        }
        match presence.kind {
            PresenceType::Available | PresenceType::Unavailable | PresenceType::Error => {
                self.show_from_afar(presence, to, cell);
            }
            PresenceType::Probe => self.answer_probe_afar(presence, to, cell),
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

    /// §4.3.2 and §4.6.6: as a device of this server would be answered.
    fn answer_probe_afar(&self, probe: &Presence, to: &Jid, cell: &Cell) {
        let account = cell.lock();
        let asker = &probe.header.from;
        let passes = [Side::Recipient, Side::Sender].map(|side| match side {
            Side::Recipient => self.admits(&Stanza::Presence(probe.clone()), &account, side).is_ok(),
            Side::Sender => self.shows_to(&account, asker),
        });
        if passes.contains(&false) {
            return;
        }
        let answers = if account.is_seen_by(&asker.to_bare()) {
            let visible = account.sessions().filter(|session| session.is_available()).collect();
            self.for_subscriber(&account, visible, probe, to)
        } else {
            for_shown(&account, asker, to)
        };
        let is_refused = answers.is_empty();
        for answer in answers {
            self.send_away(asker, &answer.to_builder().attr("to", asker.as_str()).build(), Ticket::NONE);
        }
        if is_refused {
            self.nobody_is_seen(probe, to);
        }
    }

    /// §4.3.2, rule 1: who may see nobody learns that, and not whether there is an account.
    pub(crate) fn nobody_is_seen(&self, probe: &Presence, to: &Jid) {
        if probe.kind == PresenceType::Probe {
            let asker = &probe.header.from;
            let answer = plain_presence(to.to_bare().as_str(), PresenceType::Unsubscribed.as_str());
            let answer = answer.to_builder().attr("to", asker.to_bare().as_str()).build();
            self.send_away(asker, &answer, Ticket::NONE);
        }
    }
}
