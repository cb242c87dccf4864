//! Subscription stanzas (RFC 6121 §3): from the device of a user to both rosters, in one commit.

use std::sync::Arc;

use unisono_xml::Element;

use super::deal::{Deal, Who};
use crate::account::{Account, Cell, lock_pair};
use crate::error::StanzaError;
use crate::extension::Refusal;
use crate::hub::{Hub, SessionRef};
use crate::ids::Ticket;
use crate::jid::BareJid;
use crate::receive::Receipt;
use crate::stanza::{CLIENT_SCOPE, OUR_LIMITS, Presence};
use crate::subscription::SubscriptionKind;

impl Hub {
    /// RFC 6121 §3: a subscription stanza, on both sides. Nobody is told whether the contact exists: an account that
    /// does not looks like one that has not answered yet.
    pub(super) fn subscribe(
        self: &Arc<Self>,
        origin: &SessionRef,
        kind: SubscriptionKind,
        contact: &BareJid,
        presence: Presence,
    ) -> Receipt {
        if let Some(cell) = self.resident(contact) {
            return Receipt::Done(self.subscribe_now(origin, kind, contact, Some(&cell), &presence));
        }
        let (hub, origin, contact) = (self.clone(), origin.clone(), contact.clone());
        Receipt::Later(Box::pin(async move {
            match hub.account(&contact).await {
                Ok(cell) => hub.subscribe_now(&origin, kind, &contact, cell.as_ref(), &presence),
                Err(error) => hub.cannot_take(&origin, error).unwrap_or_else(|error| {
                    hub.refuse_presence(&origin, &presence, Refusal::Error(Box::new(error)))
                }),
            }
        }))
    }

    fn subscribe_now(
        &self,
        origin: &SessionRef,
        kind: SubscriptionKind,
        contact: &BareJid,
        cell: Option<&Arc<Cell>>,
        presence: &Presence,
    ) -> Ticket {
        let agreed = self.agree(&origin.cell, contact, cell, |deal| deal.send(Who::User, kind, presence));
        match agreed {
            Ok(ticket) => self.settle(origin, ticket, None),
            Err(error) => self.refuse_presence(origin, presence, Refusal::Error(Box::new(error))),
        }
    }

    /// Lets a user and a contact come to terms: under both locks, and in one commit.
    ///
    /// # Errors
    ///
    /// What `terms` refuses. Then nothing has changed.
    pub(crate) fn agree(
        &self,
        user: &Cell,
        contact: &BareJid,
        cell: Option<&Arc<Cell>>,
        terms: impl FnOnce(&mut Deal<'_>) -> Result<(), StanzaError>,
    ) -> Result<Ticket, StanzaError> {
        let (mut user, mut other) = match cell {
            Some(cell) => lock_pair(user, cell),
            None => (user.lock(), None),
        };
        let mut deal = Deal::new(self, &mut user, contact, other.as_deref_mut());
        terms(&mut deal)?;
        Ok(deal.close())
    }
}

/// A request that waits, as it came.
pub(super) fn request_of(account: &Account, contact: &BareJid) -> Element {
    let kept = account.requests.get(contact);
    let kept = kept.and_then(|text| Element::parse(text, &CLIENT_SCOPE, &OUR_LIMITS).ok());
    kept.unwrap_or_else(|| super::deal::plain(SubscriptionKind::Subscribe, contact, &account.jid))
}
