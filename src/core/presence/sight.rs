//! Who loses or gains the sight of an account when it begins or ceases to keep stanzas from passing (XEP-0191 §3.3 and
//! §3.4).

use std::slice;

use super::News;
use super::pair::{Pair, empty};
use crate::account::{Account, Cell};
use crate::extension::Side;
use crate::hub::Hub;
use crate::ids::SessionId;
use crate::jid::{BareJid, FullJid, Jid};
use crate::outbox::Entry;
use crate::session::Session;
use crate::stanza::PresenceType;

/// Who may see whom at one moment, as rosters and devices have it. What the account keeps from passing is not counted in.
#[must_use]
pub struct Sight {
    /// The account's available devices.
    devices: Vec<FullJid>,
    /// Contacts that see them.
    subscribers: Vec<BareJid>,
    /// Contacts whose devices the account sees.
    subscriptions: Vec<BareJid>,
    /// Devices, and to whom they showed themselves without a subscription (RFC 6121 §4.6).
    directed: Vec<(FullJid, Jid)>,
}

impl Account {
    /// Who may see whom, as far as `concerns` says that somebody matters. To be taken under the lock under which the
    /// account changes what it lets pass, so that no device leaves in between unnoticed.
    pub fn sight(&self, concerns: impl Fn(&BareJid) -> bool) -> Sight {
        let contacts: Vec<_> = self.roster.values().filter(|item| concerns(&item.jid)).collect();
        let available = |session: &&Session| session.is_available();
        let directed = self.sessions.iter().flat_map(|session| {
            let concerned = session.directed.iter().filter(|to| concerns(&to.to_bare()));
            let strangers =
                concerned.filter(|to| !(session.is_available() && self.is_seen_by(&to.to_bare())));
            strangers.map(|to| (session.jid.clone(), to.clone()))
        });
        let of = |has: fn(&crate::roster::RosterItem) -> bool| {
            contacts.iter().filter(|item| has(item)).map(|item| item.jid.clone()).collect()
        };
        Sight {
            devices: self.sessions.iter().filter(available).map(|session| session.jid.clone()).collect(),
            subscribers: of(|item| item.state.subscription.has_from()),
            subscriptions: of(|item| item.state.subscription.has_to()),
            directed: directed.collect(),
        }
    }
}

impl Hub {
    /// An account has begun to keep its presence from some addresses: to those who saw its devices, they are gone
    /// (XEP-0191 §3.3). `loses` says of the address of a device, and of one to which presence was directed, whether it is
    /// one of them.
    pub fn conceal(&self, user: &Cell, sight: &Sight, loses: impl Fn(&Jid) -> bool) {
        for contact in &sight.subscribers {
            self.conceal_from(user, &contact.clone().into(), &sight.devices, &loses);
        }
        for (device, to) in &sight.directed {
            self.conceal_from(user, to, slice::from_ref(device), &loses);
            if loses(to) {
                // They were told, so they are not told again when the device leaves.
                let mut account = user.lock();
                let is_shut = !self.shows_to(&account, to);
                let named = account.sessions.iter_mut().filter(|session| is_shut && session.jid == *device);
                named.for_each(|session| _ = session.directed.remove(to));
            }
        }
    }

    fn conceal_from(&self, user: &Cell, to: &Jid, devices: &[FullJid], loses: &impl Fn(&Jid) -> bool) {
        if !self.serves(to.domain()) {
            let seen = user.lock();
            let is_shut = loses(to) && !self.shows_to(&seen, to);
            let gone = devices.iter().filter(|_| is_shut).map(News::gone);
            return gone.for_each(|gone| self.send_news_away(&gone, to));
        }
        let Some(cell) = self.resident(&to.to_bare()).filter(|cell| cell.id != user.id) else { return };
        let mut pair = Pair::lock(user, &cell);
        for device in devices {
            let gone = News::gone(device);
            let element = gone.element.to_builder().attr("to", to.as_str()).build();
            for id in self.losing(&pair, device, to, loses) {
                if let Some(session) = pair.viewer_mut().session_mut(id) {
                    session.queue(Entry::stanza(element.clone()), &self.registry.filter);
                    session.wake();
                }
            }
        }
    }

    /// The devices at an address that do not see a device any more. What was let pass again meanwhile, they see.
    fn losing(
        &self,
        pair: &Pair<'_>,
        device: &FullJid,
        to: &Jid,
        loses: &impl Fn(&Jid) -> bool,
    ) -> Vec<SessionId> {
        let is_shown = pair.seen().shows(device, to);
        let meant = pair.viewer().sessions().filter(|session| match to.resource() {
            Some(resource) => session.jid.resource() == resource,
            None => session.is_available(),
        });
        let losing = meant.filter(|session| {
            let viewer = Jid::from(session.jid.clone());
            let presence = empty(device.clone().into(), viewer.clone(), PresenceType::Unavailable);
            let still_sees = is_shown && self.admits(&presence, pair.seen(), Side::Sender).is_ok();
            loses(&viewer) && !still_sees && self.admits(&presence, pair.viewer(), Side::Recipient).is_ok()
        });
        losing.map(|session| session.id).collect()
    }

    /// An account has ceased to keep stanzas of some addresses from passing: their devices see its devices again (XEP-0191
    /// §3.4), and are seen again, so that those of its devices that come later know nothing that the others do not.
    pub fn reveal(&self, user: &Cell, sight: &Sight, gains: impl Fn(&Jid) -> bool) {
        for contact in &sight.subscribers {
            if !self.serves(contact.domain()) {
                self.reveal_away(user, &contact.clone().into(), &gains);
                continue;
            }
            let Some(cell) = self.resident(contact) else { continue };
            self.reveal_to(user, &cell, |_, viewer| gains(viewer));
            cell.lock().comes_to_see(&user.jid, &gains);
        }
        for contact in &sight.subscriptions {
            let is_gained = gains(&contact.clone().into());
            if is_gained && !self.serves(contact.domain()) {
                sight.devices.iter().for_each(|device| self.probe_away(device, contact));
                continue;
            }
            if is_gained {
                user.lock().comes_to_see(contact, |_| true);
            }
            let Some(cell) = self.resident(contact) else { continue };
            self.reveal_to(&cell, user, |seen, _| gains(seen));
        }
    }

    fn reveal_away(&self, user: &Cell, to: &Jid, gains: &impl Fn(&Jid) -> bool) {
        let seen = user.lock();
        if gains(to) && seen.is_seen_by(&to.to_bare()) && self.shows_to(&seen, to) {
            self.news(&seen).iter().for_each(|news| self.send_news_away(news, to));
        }
    }

    /// Shows the devices of one account to those of another.
    fn reveal_to(&self, seen: &Cell, viewer: &Cell, is_due: impl Fn(&Jid, &Jid) -> bool) {
        let mut pair = Pair::lock(seen, viewer);
        if !pair.seen().is_seen_by(&viewer.jid) {
            return;
        }
        for news in self.news(pair.seen()) {
            let from = Jid::from(news.from.clone());
            let element = news.element.to_builder().attr("to", viewer.jid.as_str()).build();
            let reached = self.reached(pair.seen(), pair.viewer(), &from, news.kind, None);
            for id in reached {
                let Some(session) = pair.viewer_mut().session_mut(id) else { continue };
                if is_due(&from, &session.jid.clone().into()) {
                    session.queue(Entry::stanza(element.clone()), &self.registry.filter);
                    session.wake();
                }
            }
        }
    }
}
