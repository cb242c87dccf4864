//! Presence and subscriptions (RFC 6121 §3 and §4).

mod broadcast;
mod deal;
mod directed;
mod pair;
mod probe;
mod remote;
mod shown;
mod sight;
mod subscribe;

use std::sync::Arc;

use unisono_xml::{Element, XML_NS};

use crate::account::Account;
use crate::error::{Condition, StanzaError};
use crate::extension::{Refusal, Side};
use crate::hub::{Hub, SessionRef};
use crate::ids::Ticket;
use crate::jid::FullJid;
use crate::outbox::{Entry, Item};
use crate::receive::{Receipt, error_reply};
use crate::stanza::{CLIENT_SCOPE, NS_CLIENT, Presence, PresenceType, Stanza};
use crate::subscription::SubscriptionKind;

pub(crate) use deal::Who;
pub use shown::Restate;
pub use sight::Sight;
pub use subscribe::{Vouch, Voucher};

/// Bytes of a presence. It goes to everybody in a roster, and stays in memory while its device is there.
const PRESENCE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a request to subscribe, which is kept whole until it is answered (§3.1.3, security warning).
const REQUEST_BYTES_MAX: usize = 4 * 1024;

fn bytes_max(kind: PresenceType) -> usize {
    if kind == PresenceType::Subscribe { REQUEST_BYTES_MAX } else { PRESENCE_BYTES_MAX }
}

impl Hub {
    pub(crate) fn receive_presence(self: &Arc<Self>, origin: &SessionRef, presence: Presence) -> Receipt {
        if presence_element(&presence, None).is_longer_than(bytes_max(presence.kind), &CLIENT_SCOPE) {
            let error = StanzaError::new(Condition::PolicyViolation);
            return Receipt::Done(self.refuse_presence(origin, &presence, Refusal::Error(Box::new(error))));
        }
        let stanza = Stanza::Presence(presence.clone());
        let admitted = self.admits(&stanza, &origin.cell.lock(), Side::Sender);
        if let Err(refusal) = admitted {
            return Receipt::Done(self.refuse_presence(origin, &presence, refusal));
        }
        let Some(to) = presence.header.to.clone() else {
            return match presence.kind {
                PresenceType::Available => self.available(origin, presence),
                PresenceType::Unavailable => {
                    let ticket = self.unavailable(origin, &presence);
                    Receipt::Done(self.settle(origin, ticket, None))
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
        if self.hosted(to.domain()).is_some() {
            // A service of ours sees who is there, and agrees on nothing.
            return Receipt::Done(self.settle(origin, Ticket::NONE, None));
        }
        if !self.serves(to.domain()) && self.routes.find(to.domain()).is_none_or(|route| !route.has_room()) {
            return Receipt::Done(self.refuse_remote(origin, &presence));
        }
        match presence.kind {
            PresenceType::Available | PresenceType::Unavailable | PresenceType::Error => {
                Receipt::Done(match self.directed(origin, &presence, &to) {
                    Ok(()) => self.settle(origin, Ticket::NONE, None),
                    Err(error) => self.refuse_presence(origin, &presence, Refusal::Error(Box::new(error))),
                })
            }
            PresenceType::Probe => self.probe(origin, presence, &to),
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
}

/// What a device lets others know of itself.
pub(crate) struct News {
    from: FullJid,
    kind: PresenceType,
    element: Element,
    /// What must be durable before anybody learns it.
    ticket: Ticket,
}

impl News {
    /// What a device says, as it is shown to others.
    fn of(hub: &Hub, account: &Account, presence: &Presence, from: &FullJid) -> Self {
        let element = hub.shown(account, presence);
        Self { from: from.clone(), kind: presence.kind, element, ticket: Ticket::NONE }
    }

    /// It is gone, without a word of its own.
    pub(crate) fn gone(from: &FullJid) -> Self {
        let kind = PresenceType::Unavailable;
        let element = plain_presence(from.as_str(), kind.as_str());
        Self { from: from.clone(), kind, element, ticket: Ticket::NONE }
    }
}

fn entry_to(element: Element, to: Option<FullJid>) -> Entry {
    Entry::new(Item::Stanza { element, to }, Ticket::NONE)
}

/// A presence as it goes out, `from` the full JID of its device.
pub(crate) fn presence_element(presence: &Presence, to: Option<&str>) -> Element {
    element_of(presence, presence.header.from.as_str(), to)
}

/// A presence, whole, between these two.
fn element_of(presence: &Presence, from: &str, to: Option<&str>) -> Element {
    with_children(presence, from, to, presence.payload.elements().iter().cloned())
}

fn with_children(
    presence: &Presence,
    from: &str,
    to: Option<&str>,
    children: impl IntoIterator<Item = Element>,
) -> Element {
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
    builder.children(children).build()
}

/// A presence without content.
pub(crate) fn plain_presence(from: &str, kind: &str) -> Element {
    Element::builder("presence", NS_CLIENT).attr("from", from).attr("type", kind).build()
}
