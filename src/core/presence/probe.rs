//! Questions after presence (RFC 6121 §4.3).

use std::sync::Arc;

use unisono_xml::Element;

use super::deal::{Deal, Who};
use super::pair::{Pair, empty};
use super::{plain_presence, presence_element};
use crate::account::{Account, Cell};
use crate::datetime::format_utc;
use crate::extension::Refusal;
use crate::hub::{Hub, SessionRef};
use crate::ids::Ticket;
use crate::jid::{BareJid, FullJid, Jid};
use crate::outbox::Entry;
use crate::receive::Receipt;
use crate::session::Session;
use crate::stanza::{NS_CLIENT, NS_DELAY, Presence, PresenceType};
use crate::subscription::SubscriptionKind;

impl Hub {
    /// Shows a device that has come how a contact is. That is no probe, since the contact's account is here (RFC 6121
    /// §4.3.1): of a contact who is away nothing is said, and none is read from the store for it.
    pub(super) fn see(&self, asker: &SessionRef, contact: &BareJid) {
        if !self.serves(contact.domain()) {
            return self.probe_away(&asker.jid, contact);
        }
        let Some(cell) = self.resident(contact) else { return };
        let mut pair = Pair::lock(&cell, &asker.cell);
        if pair.seen().is_seen_by(&asker.cell.jid) {
            let seen = self.visible(&pair, &asker.jid);
            let seen = seen
                .into_iter()
                .filter_map(Session::presence)
                .map(|presence| self.shown(pair.seen(), presence))
                .collect();
            self.tell(pair.viewer_mut(), asker, seen);
        }
    }

    /// RFC 6121 §4.3: a device asks how somebody is. The account is read if need be: whether it is in memory is
    /// nobody's business.
    pub(super) fn probe(self: &Arc<Self>, asker: &SessionRef, probe: Presence, to: &Jid) -> Receipt {
        let contact = to.to_bare();
        if !self.serves(to.domain()) {
            let element = presence_element(&probe, Some(to.as_str()));
            self.send_away(to, &element, Ticket::NONE);
            return Receipt::Done(self.settle(asker, Ticket::NONE, None));
        }
        if let Some(cell) = self.resident(&contact) {
            return Receipt::Done(self.answer_probe(asker, &probe, to, Some(&cell)));
        }
        let (hub, asker, to) = (self.clone(), asker.clone(), to.clone());
        Receipt::Later(Box::pin(async move {
            match hub.account(&contact).await {
                Ok(cell) => hub.answer_probe(&asker, &probe, &to, cell.as_ref()),
                Err(error) => hub.refuse_presence(&asker, &probe, Refusal::Error(Box::new(error.into()))),
            }
        }))
    }

    /// §4.3.2 and §4.6.6: a subscriber learns how the contact is, somebody who was shown presence of a device that it is
    /// still there, and everybody else what they would of an account that does not exist.
    fn answer_probe(
        &self,
        asker: &SessionRef,
        probe: &Presence,
        to: &Jid,
        contact: Option<&Arc<Cell>>,
    ) -> Ticket {
        let Some(contact) = contact else {
            let ticket = self.refuse_probe(&mut asker.cell.lock(), None, probe, to);
            return self.settle(asker, ticket, None);
        };
        let mut pair = Pair::lock(contact, &asker.cell);
        let question = empty(asker.jid.clone().into(), to.clone(), PresenceType::Probe);
        let mut ticket = Ticket::NONE;
        if self.lets_pass(pair.viewer(), pair.seen(), &question) {
            let answers = if pair.seen().is_seen_by(&asker.cell.jid) {
                let visible = self.visible(&pair, &asker.jid);
                self.for_subscriber(pair.seen(), visible, probe, to)
            } else {
                for_shown(pair.seen(), &asker.jid.clone().into(), to)
            };
            if answers.is_empty() {
                ticket = pair.with_both(|seen, viewer| self.refuse_probe(viewer, Some(seen), probe, to));
            }
            self.tell(pair.viewer_mut(), asker, answers);
        }
        drop(pair);
        self.settle(asker, ticket, None)
    }

    /// §4.3.2, rules 3 and 4.
    pub(super) fn for_subscriber(
        &self,
        seen: &Account,
        visible: Vec<&Session>,
        probe: &Presence,
        to: &Jid,
    ) -> Vec<Element> {
        let away = || {
            let away = plain_presence(to.as_str(), "unavailable").to_builder();
            away.attr_opt("id", probe.header.id.as_deref())
        };
        if let Some(resource) = to.resource() {
            let found = visible.into_iter().find(|session| session.jid.resource() == resource);
            let id = |session: &Session| session.presence().and_then(|presence| presence.header.id.clone());
            return vec![match found {
                Some(session) => mere(&session.jid).to_builder().attr_opt("id", id(session)).build(),
                None => away().build(),
            }];
        }
        if visible.is_empty() {
            let last_seen = self.registry.last_seen.and_then(|last_seen| last_seen(seen));
            let delay =
                last_seen.map(|at| Element::builder("delay", NS_DELAY).attr("stamp", format_utc(at)).build());
            return vec![away().child_opt(delay).build()];
        }
        visible.into_iter().filter_map(Session::presence).map(|presence| self.shown(seen, presence)).collect()
    }

    /// §4.3.2, rule 1: there is no such subscription, or no such account. What comes of it is decided by the roster of
    /// who asks (§3.2.3): a subscription that it holds ends, a stranger learns nothing. A request that waits is no
    /// subscription that could end: it goes on waiting, for an answer or for nobody.
    fn refuse_probe(
        &self,
        asker: &mut Account,
        contact: Option<&mut Account>,
        probe: &Presence,
        to: &Jid,
    ) -> Ticket {
        let contact_jid = to.to_bare();
        if !asker.subscription(&contact_jid).subscription.has_to() {
            return Ticket::NONE;
        }
        let mut header = probe.header.clone();
        header.lang = None;
        let payload = crate::record::Payload::from_elements(Vec::new());
        let answer = Presence { header, kind: PresenceType::Unsubscribed, others: Box::default(), payload };
        let mut deal = Deal::new(self, asker, &contact_jid, contact);
        deal.receive(Who::User, SubscriptionKind::Unsubscribed, Some(&answer));
        deal.close()
    }

    /// The available devices that nothing keeps from being seen by this one.
    fn visible<'a>(&self, pair: &'a Pair<'_>, by: &FullJid) -> Vec<&'a Session> {
        let passes = |session: &&Session| {
            let presence = empty(session.jid.clone().into(), Jid::from(by.clone()), PresenceType::Available);
            self.lets_pass(pair.seen(), pair.viewer(), &presence)
        };
        pair.seen().sessions().filter(|session| session.is_available()).filter(passes).collect()
    }

    /// Answers go to the device that asked.
    fn tell(&self, account: &mut Account, asker: &SessionRef, answers: Vec<Element>) {
        let to = account.jid.clone();
        let Some(session) = account.session_mut(asker.id) else { return };
        for answer in answers {
            let answer = answer.to_builder().attr("to", to.as_str()).build();
            session.queue(Entry::stanza(answer), &self.registry.filter);
        }
        session.wake();
    }
}

/// §4.6.6: the devices that showed themselves to who asks, or to the very device.
pub(super) fn for_shown(seen: &Account, asker: &Jid, to: &Jid) -> Vec<Element> {
    let bare = Jid::from(asker.to_bare());
    let meant =
        seen.sessions().filter(|session| to.resource().is_none_or(|name| session.jid.resource() == name));
    let shown = meant.filter(|session| session.directed.contains(&bare) || session.directed.contains(asker));
    shown.map(|session| mere(&session.jid)).collect()
}

/// That a device is there, and nothing else about it.
pub(super) fn mere(from: &FullJid) -> Element {
    Element::builder("presence", NS_CLIENT).attr("from", from.as_str()).build()
}
