//! Presence and subscriptions (RFC 6121 §3 and §4).

mod broadcast;
mod directed;
mod probe;
mod subscribe;

use std::sync::Arc;

use unisono_xml::{Element, XML_NS};

use crate::account::Account;
use crate::error::{Condition, StanzaError};
use crate::extension::{Refusal, Side};
use crate::hub::{Hub, SessionRef};
use crate::ids::{SessionId, Ticket};
use crate::jid::{BareJid, FullJid, Jid};
use crate::outbox::{Entry, Item};
use crate::receive::{Receipt, error_reply};
use crate::stanza::{Header, NS_CLIENT, Presence, PresenceType, Stanza};
use crate::subscription::SubscriptionKind;

impl Hub {
    pub(crate) fn receive_presence(self: &Arc<Self>, origin: &SessionRef, presence: Presence) -> Receipt {
        let stanza = Stanza::Presence(presence.clone());
        let admitted = self.admits(&stanza, &origin.cell.lock(), Side::Sender);
        if let Err(refusal) = admitted {
            return Receipt::Done(self.refuse_presence(origin, &presence, refusal));
        }
        let Some(to) = presence.header.to.clone() else {
            return match presence.kind {
                PresenceType::Available => self.available(origin, presence),
                PresenceType::Unavailable => {
                    self.unavailable(origin, &presence);
                    Receipt::Done(self.settle(origin, Ticket::NONE, None))
                }
                // Nobody is asked, and there is nothing to agree on.
                PresenceType::Subscribe
                | PresenceType::Subscribed
                | PresenceType::Unsubscribe
                | PresenceType::Unsubscribed
                | PresenceType::Probe
                | PresenceType::Error => Receipt::Done(self.settle(origin, Ticket::NONE, None)),
            };
        };
        if !self.serves(to.domain()) {
            return Receipt::Done(self.refuse_remote(origin, &presence));
        }
        match presence.kind {
            PresenceType::Available | PresenceType::Unavailable | PresenceType::Error => {
                self.directed(origin, &presence, &to);
                Receipt::Done(self.settle(origin, Ticket::NONE, None))
            }
            PresenceType::Probe => {
                self.ask_presence(&origin.cell, origin.id, &to.to_bare());
                Receipt::Done(self.settle(origin, Ticket::NONE, None))
            }
            kind @ (PresenceType::Subscribe
            | PresenceType::Subscribed
            | PresenceType::Unsubscribe
            | PresenceType::Unsubscribed) => match SubscriptionKind::parse(kind.as_str()) {
                // Everybody sees one's own presence (§4.2.2): there is nothing to agree on.
                Some(kind) if to.to_bare() != origin.cell.jid => {
                    self.subscribe(origin, kind, &to.to_bare(), presence)
                }
                Some(_) | None => Receipt::Done(self.settle(origin, Ticket::NONE, None)),
            },
        }
    }

    /// No other server is reached (RFC 6120 §10.4).
    fn refuse_remote(&self, origin: &SessionRef, presence: &Presence) -> Ticket {
        // RFC 6121 §4.3: a probe alone is no reason for an error.
        let tells = presence.kind != PresenceType::Probe;
        let error = StanzaError::new(Condition::RemoteServerNotFound);
        let refusal = if tells { Refusal::Error(Box::new(error)) } else { Refusal::Silent };
        self.refuse_presence(origin, presence, refusal)
    }

    fn refuse_presence(&self, origin: &SessionRef, presence: &Presence, refusal: Refusal) -> Ticket {
        let reply = match refusal {
            // RFC 6120 §8.3.1: an error is not answered.
            Refusal::Error(error) if presence.kind != PresenceType::Error => {
                Some(error_reply("presence", &presence.header, &error))
            }
            Refusal::Error(_) | Refusal::Silent => None,
        };
        self.settle(origin, Ticket::NONE, reply)
    }

    fn to_available(&self, account: &mut Account, element: &Element, ticket: Ticket) {
        let own = account.jid.clone();
        for session in account.sessions.iter_mut().filter(|session| session.is_available()) {
            let element = element.to_builder().attr("to", own.as_str()).build();
            session.queue(Entry { ticket, ..Entry::stanza(element) }, &self.registry.filter);
        }
        self.wake_if_durable(account, ticket);
    }

    fn to_own_sessions(&self, account: &mut Account, from: SessionId, element: &Element, own_too: bool) {
        for session in account.sessions.iter_mut().filter(|session| session.is_available()) {
            if own_too || session.id != from {
                let to = session.jid.clone();
                session.queue(entry_to(element.clone(), Some(to)), &self.registry.filter);
                session.wake();
            }
        }
    }

    fn blocked(&self, account: &Account, element: &Element) -> bool {
        let Some(Ok(from)) = element.attr("from").map(str::parse::<Jid>) else { return false };
        let header = Header { from, to: None, id: None, lang: None };
        let kind = PresenceType::parse(element.attr("type").unwrap_or("")).unwrap_or(PresenceType::Available);
        let payload = crate::record::Payload::from_elements(Vec::new());
        let stanza = Stanza::Presence(Presence { header, kind, others: Box::default(), payload });
        self.admits(&stanza, account, Side::Recipient).is_err()
    }

    /// Whether the account itself lets its presence go to a contact.
    fn may_send_presence(&self, account: &Account, contact: &BareJid) -> bool {
        let header = Header {
            from: Jid::from(account.jid.clone()),
            to: Some(Jid::from(contact.clone())),
            id: None,
            lang: None,
        };
        let payload = crate::record::Payload::from_elements(Vec::new());
        let (kind, others) = (PresenceType::Available, Box::default());
        let stanza = Stanza::Presence(Presence { header, kind, others, payload });
        self.admits(&stanza, account, Side::Sender).is_ok()
    }

    /// Tells all devices of an account that follow a matter. Each gets its own address and an id.
    pub fn push_to_followers(&self, account: &mut Account, ns: &str, iq: &Element, ticket: Ticket) {
        let iq = iq.to_builder().attr("id", format!("push-{}", self.draw_id())).build();
        for session in account.sessions.iter_mut().filter(|session| session.follows(ns)) {
            let item = Item::Stanza { element: iq.clone(), to: Some(session.jid.clone()) };
            session.queue(Entry { item, ticket, covers: None }, &self.registry.filter);
        }
        self.wake_if_durable(account, ticket);
    }
}

fn entry_to(element: Element, to: Option<FullJid>) -> Entry {
    Entry { item: Item::Stanza { element, to }, ticket: Ticket::NONE, covers: None }
}

/// A presence as it goes out, `from` the full JID of its device.
pub(crate) fn presence_element(presence: &Presence, to: Option<&str>) -> Element {
    element_of(presence, presence.header.from.as_str(), to)
}

/// A presence, whole, between these two.
fn element_of(presence: &Presence, from: &str, to: Option<&str>) -> Element {
    let mut builder = Element::builder("presence", NS_CLIENT)
        .attr("from", from)
        .attr_opt("to", to)
        .attr_opt("id", presence.header.id.as_deref())
        .attr_opt("type", Some(presence.kind.as_str()).filter(|kind| !kind.is_empty()));
    if let Some(lang) = &presence.header.lang {
        builder = builder.attr_ns(XML_NS, "lang", lang.as_str());
    }
    for attr in &presence.others {
        builder = builder.attr_ns(attr.ns(), attr.name(), attr.value());
    }
    builder.children(presence.payload.elements().iter().cloned()).build()
}

/// A presence without content.
pub(crate) fn plain_presence(from: &str, kind: &str) -> Element {
    Element::builder("presence", NS_CLIENT).attr("from", from).attr("type", kind).build()
}
