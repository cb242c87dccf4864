//! §8.6: owners are asked whether somebody may subscribe, and answer.

use std::sync::Arc;

use unisono_core::account::Cell;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::hosted::Letter;
use unisono_core::hub::{Hub, SessionRef};
use unisono_core::ids::Ticket;
use unisono_core::jid::{BareJid, Jid};
use unisono_core::sharing::Shared;
use unisono_core::stanza::{Message, MessageType};
use unisono_core::storage::{BoxFuture, StoreError};

use super::errors::{forbidden, malformed, not_found};
use super::node::{Affiliation, Meta, Node, State};
use super::notify::{tell_owners, tell_subscriber};
use super::subscribe::state_event;
use super::{access, last_items, manage};
use crate::xep0004_forms::{self as forms, Submitted};

const NS_AUTHORIZATION: &str = "http://jabber.org/protocol/pubsub#subscribe_authorization";
const NODE: &str = "pubsub#node";
const SUBSCRIBER: &str = "pubsub#subscriber_jid";
const ALLOW: &str = "pubsub#allow";

/// The question about one who wants to subscribe.
pub(super) fn question(hub: &Hub, from: &BareJid, node: &str, subscriber: &Jid) -> Shared {
    let text = |name: &str, kind: &'static str, label: &str, value: &str| {
        forms::field(name, kind, [value]).to_builder().attr("label", label).build()
    };
    let form = forms::form("form", NS_AUTHORIZATION)
        .child(text(NODE, "text-single", "The node", node))
        .child(text(SUBSCRIBER, "jid-single", "Who wants to subscribe", subscriber.as_str()))
        .child(text(ALLOW, "boolean", "Whether to allow that", "0"))
        .build();
    Shared::message(from, MessageType::Normal, &hub.random_name(), None, &[form])
}

/// Asks all owners of a node that are there. The others are asked when they come.
pub(super) fn ask_owners(hub: &Hub, cell: &Cell, node: &str, meta: &Meta, subscriber: &Jid, ticket: Ticket) {
    let question = || question(hub, &cell.jid, node, subscriber);
    tell_owners(hub, cell, meta, question, (subscriber, ticket));
}

/// What an owner answered.
struct Verdict {
    node: String,
    subscriber: Jid,
    allow: bool,
}

impl Verdict {
    /// Reads a message; `None` if it is no answer, or one that decides nothing.
    fn read(message: &Message) -> Option<Result<Option<Self>, StanzaError>> {
        let form = message.payload.child("x", forms::NS)?;
        let is_cancelled = form.attr("type") == Some("cancel");
        let Some(form) = Submitted::parse(form, NS_AUTHORIZATION) else {
            return is_cancelled.then_some(Ok(None));
        };
        let incomplete = || malformed("the form does not say who may subscribe to what");
        let subscriber = form.value(SUBSCRIBER).and_then(|jid| jid.parse().ok());
        let allow = form.value(ALLOW).and_then(super::config::flag);
        let verdict = form.value(NODE).map(str::to_owned).zip(subscriber).zip(allow);
        let verdict = verdict.map(|((node, subscriber), allow)| Some(Self { node, subscriber, allow }));
        Some(verdict.ok_or_else(incomplete))
    }
}

/// A message to a service: the answer of an owner, or nothing for us. What comes back of notifications is not counted.
pub(super) fn read_letter(letter: Letter) -> BoxFuture<'static, Result<Ticket, StanzaError>> {
    Box::pin(async move {
        let Letter { hub, cell, message } = letter;
        if message.kind == MessageType::Error {
            return Ok(Ticket::NONE);
        }
        let who = message.header.from.to_bare();
        match Verdict::read(&message) {
            None => Err(StanzaError::new(Condition::ServiceUnavailable)),
            Some(verdict) => match verdict? {
                Some(verdict) => decide(&hub, &cell, &who, &verdict).await,
                None => Ok(Ticket::NONE),
            },
        }
    })
}

/// A message to an account may answer a question about one of its nodes. It goes its way in any case, so that the other
/// devices of the owner see that it is answered; who may not decide learns nothing.
pub(super) fn prepare(
    hub: &Arc<Hub>,
    origin: &SessionRef,
    message: &Message,
) -> Option<BoxFuture<'static, Result<(), StoreError>>> {
    let verdict = Verdict::read(message)?.ok()??;
    let to = message.header.to.as_ref().map_or_else(|| origin.cell.jid.clone(), Jid::to_bare);
    let (hub, who) = (hub.clone(), origin.cell.jid.clone());
    Some(Box::pin(async move {
        if let Some(cell) = hub.account(&to).await?
            && let Ok(ticket) = decide(&hub, &cell, &who, &verdict).await
        {
            hub.store.wait(ticket).await;
        }
        Ok(())
    }))
}

/// An owner allows a subscription that waits for that, or does not. Who is allowed is sent the last item (§12.10).
async fn decide(
    hub: &Arc<Hub>,
    cell: &Arc<Cell>,
    who: &BareJid,
    verdict: &Verdict,
) -> Result<Ticket, StanzaError> {
    let (ticket, allowed) = settle(hub, cell, who, verdict)?;
    if let Some(meta) = allowed {
        let node = (verdict.node.as_str(), &*meta);
        let to = std::slice::from_ref(&verdict.subscriber);
        last_items::send_on_approval(hub, cell, node, to, &who.clone().into()).await?;
    }
    Ok(ticket)
}

/// Returns the node, if somebody may subscribe to it now.
fn settle(
    hub: &Hub,
    cell: &Cell,
    who: &BareJid,
    verdict: &Verdict,
) -> Result<(Ticket, Option<Arc<Meta>>), StanzaError> {
    let Verdict { node: name, subscriber, allow } = verdict;
    let _order = cell.publishing();
    let mut account = cell.lock();
    let node = account.keyed::<Node>(name).ok_or_else(not_found)?;
    if access::affiliation(&account, &node.meta, who) != Affiliation::Owner {
        return Err(forbidden());
    }
    let mut meta = Meta::clone(&node.meta);
    let Some(found) = meta.subscriptions.get_mut(subscriber).filter(|found| found.state == State::Pending)
    else {
        // Somebody else was faster, or nobody waits any more.
        return Ok((account.last_ticket(), None));
    };
    let state = if *allow {
        found.state = State::Subscribed;
        Some(State::Subscribed)
    } else {
        meta.subscriptions.remove(subscriber);
        None
    };
    let mut writes = Vec::new();
    let meta = manage::replace(&mut account, name, meta, &mut writes)?;
    let ticket = hub.commit(&mut account, writes);
    drop(account);
    tell_subscriber(hub, cell, &meta, subscriber, (state_event(name, subscriber, state), ticket));
    Ok((ticket, Some(meta).filter(|_| *allow)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::message;

    #[test]
    fn what_owners_answer() {
        let field = |name: &str, value: &str| format!("<field var='{name}'><value>{value}</value></field>");
        let whole = |allow: &str| {
            field("FORM_TYPE", NS_AUTHORIZATION)
                + &field(NODE, "n")
                + &field(SUBSCRIBER, "b@example.org")
                + &field(ALLOW, allow)
        };
        for (kind, fields, want) in [
            ("submit", whole("1"), Some(Ok(Some(true)))), // §8.6
            ("submit", whole("true"), Some(Ok(Some(true)))),
            ("submit", whole("0"), Some(Ok(Some(false)))),
            ("submit", whole("perhaps"), Some(Err(()))),
            ("submit", field("FORM_TYPE", NS_AUTHORIZATION), Some(Err(()))),
            ("submit", field("FORM_TYPE", "urn:x"), None),
            ("cancel", field("FORM_TYPE", NS_AUTHORIZATION), Some(Ok(None))),
            ("form", whole("1"), None),
        ] {
            let text = format!("<x xmlns='jabber:x:data' type='{kind}'>{fields}</x>");
            let read = Verdict::read(&message("normal", &text));
            let read = read.map(|read| read.map(|verdict| verdict.map(|verdict| verdict.allow)));
            assert_eq!(read.map(|read| read.map_err(|_| ())), want, "{kind} {fields}");
        }
        assert!(Verdict::read(&message("chat", "<body>hello</body>")).is_none());
    }
}
