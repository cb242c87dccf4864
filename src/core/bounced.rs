//! What its sender is told of a message that comes back, on all devices that saw it.

use unisono_xml::Element;

use crate::account::Account;
use crate::error::StanzaError;
use crate::hub::Hub;
use crate::ids::{AccountId, SessionId, Ticket};
use crate::jid::BareJid;
use crate::outbox::{Entry, Form};
use crate::record::{Direction, MessageRecord, Payload};
use crate::render::Renderer;
use crate::road::copy;
use crate::session::Session;
use crate::stanza::{CLIENT_SCOPE, MessageType, NS_CLIENT, OUR_LIMITS};

impl Hub {
    /// A message that no log keeps, in its form for one device.
    pub(crate) fn live_copy(
        &self,
        record: &MessageRecord,
        form: Form,
        (account, owner): &(AccountId, BareJid),
        session: &Session,
    ) -> Element {
        let renderer = Renderer { registry: &self.registry, ids: &self.ids, account: *account, owner };
        let mut text = Vec::new();
        renderer.copy(&mut text, record, form, &session.jid, false);
        let text = String::from_utf8(text).unwrap_or_default();
        let element = Element::parse(&text, &CLIENT_SCOPE, &OUR_LIMITS);
        element.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read a message of our own");
            Element::new("message", NS_CLIENT)
        })
    }

    /// The devices that were shown a message as sent by another one learn that it came back, as they would from an
    /// error of the recipient (XEP-0280 §6.1).
    pub(crate) fn copy_error(
        &self,
        sender: &mut Account,
        sent: &MessageRecord,
        origin: SessionId,
        error: &StanzaError,
        ticket: Ticket,
    ) {
        let answer = MessageRecord {
            from: sent.to.clone(),
            to: sent.from.clone(),
            kind: MessageType::Error,
            lang: None,
            payload: Payload::from_elements(vec![error.to_element()]),
            sent: None,
            received: None,
            origin: None,
            ..sent.clone()
        };
        let owner = (sender.id, sender.jid.clone());
        let shown = sender.sessions.iter().filter(|session| session.id != origin);
        let shown = shown.filter(|session| sent.sent.is_none() || !sender.owes(session));
        let shown: Vec<_> = shown.map(|session| session.id).collect();
        for id in shown {
            let Some(session) = sender.session_mut(id) else { continue };
            let was_shown =
                copy(&self.registry.reflect, sent, Direction::Sent, session, &self.settings).is_some();
            let copied = copy(&self.registry.deliver, &answer, Direction::Received, session, &self.settings);
            let Some((_, form)) = copied.filter(|_| was_shown) else { continue };
            let element = self.live_copy(&answer, form, &owner, session);
            session.queue(Entry { ticket, ..Entry::stanza(element) }, &self.registry.filter);
            session.wake();
        }
    }
}
