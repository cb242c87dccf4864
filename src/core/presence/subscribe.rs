//! Subscription stanzas, on both sides (RFC 6121 §3).

use std::sync::Arc;

use unisono_xml::{Element, Limits};

use super::pair::Pair;
use super::{News, element_of};
use crate::account::{Account, Cell};
use crate::hub::{Hub, SessionRef};
use crate::ids::Ticket;
use crate::jid::BareJid;
use crate::outbox::Entry;
use crate::receive::{Receipt, error_reply};
use crate::roster::{ITEMS_MAX, RosterItem};
use crate::stanza::{CLIENT_SCOPE, NS_CLIENT, Presence};
use crate::storage::Write;
use crate::subscription::{self, Announce, Outcome, SubscriptionKind};

impl Hub {
    /// RFC 6121 §3: a subscription stanza, on both sides.
    pub(super) fn subscribe(
        self: &Arc<Self>,
        origin: &SessionRef,
        kind: SubscriptionKind,
        contact: &BareJid,
        presence: Presence,
    ) -> Receipt {
        // Held, so that it stays in memory until it knows.
        if let Some(_contact) = self.resident(contact) {
            let ticket = self.agree(&origin.cell, kind, contact, &presence);
            return Receipt::Done(self.settle(origin, ticket, None));
        }
        let (hub, origin, contact) = (self.clone(), origin.clone(), contact.clone());
        Receipt::Later(Box::pin(async move {
            let _contact = match hub.account(&contact).await {
                Ok(cell) => cell,
                Err(error) => {
                    let reply = error_reply("presence", &presence.header, &error.into());
                    return hub.settle(&origin, Ticket::NONE, Some(reply));
                }
            };
            let ticket = hub.agree(&origin.cell, kind, &contact, &presence);
            hub.settle(&origin, ticket, None)
        }))
    }

    /// Runs the state machines of both sides. Each answer that one side gives is input for the other.
    pub(crate) fn agree(
        &self,
        user: &Arc<Cell>,
        kind: SubscriptionKind,
        contact: &BareJid,
        sent: &Presence,
    ) -> Ticket {
        let (mut ticket, outcome) =
            self.change_subscription(user, contact, |state| subscription::outbound(state, kind), None);
        let Some(outcome) = outcome else { return ticket };
        if outcome.announce == Announce::Unavailable {
            self.announce_to(user, contact, outcome.announce);
        }
        if outcome.route {
            ticket = ticket.max(self.deliver_subscription(&user.jid, kind, contact, Some(sent)));
        }
        if outcome.announce == Announce::Available {
            self.announce_to(user, contact, outcome.announce);
        }
        ticket
    }

    /// Takes a subscription stanza of `from` to the account `to` (RFC 6121 §3, inbound).
    pub(crate) fn deliver_subscription(
        &self,
        from: &BareJid,
        kind: SubscriptionKind,
        to: &BareJid,
        sent: Option<&Presence>,
    ) -> Ticket {
        let Some(cell) = self.resident(to) else {
            // RFC 6121 §3.1.3: nobody of this name; the one who asked is told so.
            if kind == SubscriptionKind::Subscribe && self.serves(to.domain()) {
                return self.deliver_subscription(to, SubscriptionKind::Unsubscribed, from, None);
            }
            return Ticket::NONE;
        };
        let element = match sent {
            Some(sent) if sent.kind.as_str() == kind.as_str() => {
                element_of(sent, from.as_str(), Some(to.as_str()))
            }
            Some(_) | None => subscription_element(kind, from.as_str(), to.as_str()),
        };
        if !self.hears_from(&cell.lock(), from) {
            return Ticket::NONE;
        }
        let change = |state| subscription::inbound(state, kind);
        let (mut ticket, outcome) = self.change_subscription(&cell, from, change, Some(&element));
        let Some(outcome) = outcome else { return ticket };
        if outcome.announce == Announce::Unavailable {
            self.announce_to(&cell, from, outcome.announce);
        }
        if let Some(reply) = outcome.auto_reply {
            ticket = ticket.max(self.deliver_subscription(to, reply, from, None));
        }
        if outcome.announce == Announce::Available {
            self.announce_to(&cell, from, outcome.announce);
        }
        ticket
    }

    /// One side's state machine: the roster item, its push, and what its devices see of the stanza.
    fn change_subscription(
        &self,
        cell: &Cell,
        peer: &BareJid,
        change: impl FnOnce(subscription::SubscriptionState) -> Outcome,
        stanza: Option<&Element>,
    ) -> (Ticket, Option<Outcome>) {
        let mut account = cell.lock();
        let known = account.roster.get(peer);
        if known.is_none() && account.roster.len() >= ITEMS_MAX {
            return (Ticket::NONE, None);
        }
        let mut item =
            known.cloned().unwrap_or_else(|| RosterItem { removed: true, ..RosterItem::new(peer.clone()) });
        let outcome = change(item.state);
        let mut ticket = Ticket::NONE;
        let changed = item.state != outcome.state;
        if item.state.pending_in != outcome.state.pending_in {
            let request =
                stanza.filter(|_| outcome.state.pending_in).map(|stanza| stanza.to_string_in(&CLIENT_SCOPE));
            let write = account.set_request(peer, request);
            ticket = self.commit(&mut account, vec![write]);
        }
        item.state = outcome.state;
        if outcome.push {
            item.removed = false;
        }
        if let Some(stanza) = stanza.filter(|_| outcome.deliver) {
            // §3.1.3: before the push. A request waits for the next device, anything else for nobody.
            self.to_interested(&mut account, stanza);
        }
        if outcome.push {
            ticket = ticket.max(self.store_and_push(&mut account, item));
        } else if changed {
            let write = Write::RosterItem { account: account.id, item: item.clone() };
            account.roster.insert(peer.clone(), item);
            ticket = ticket.max(self.commit(&mut account, vec![write]));
        }
        (ticket, Some(outcome))
    }

    /// A contact gains or loses the sight of a user's resources.
    pub(crate) fn announce_to(&self, user: &Cell, contact: &BareJid, announce: Announce) {
        let Some(cell) = self.resident(contact) else { return };
        let mut pair = Pair::lock(user, &cell);
        for news in pair.seen().news() {
            let news = if announce == Announce::Available { news } else { News::gone(&news.from) };
            self.queue_news(&mut pair, &news, &contact.clone().into());
        }
    }

    fn to_interested(&self, account: &mut Account, stanza: &Element) {
        // RFC 6121 §3.1.3: all available resources that asked for the roster; more reach nobody else.
        for session in account.sessions.iter_mut().filter(|session| session.is_available()) {
            session.queue(Entry::stanza(stanza.clone()), &self.registry.filter);
            session.wake();
        }
    }
}

/// A request that waits, as it came.
pub(super) fn request_of(account: &Account, contact: &BareJid) -> Element {
    let kept = account.requests.get(contact);
    let kept = kept.and_then(|text| Element::parse(text, &CLIENT_SCOPE, &Limits::default()).ok());
    let (from, to) = (contact.as_str(), account.jid.as_str());
    kept.unwrap_or_else(|| subscription_element(SubscriptionKind::Subscribe, from, to))
}

fn subscription_element(kind: SubscriptionKind, from: &str, to: &str) -> Element {
    Element::builder("presence", NS_CLIENT)
        .attr("from", from)
        .attr("to", to)
        .attr("type", kind.as_str())
        .build()
}
