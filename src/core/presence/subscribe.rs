//! Subscription stanzas (RFC 6121 §3): from the device of a user to both rosters, in one commit.

use std::sync::Arc;

use compact_str::CompactString;
use unisono_xml::Element;

use super::deal::{Deal, Who};
use crate::account::{Account, Cell, lock_pair};
use crate::error::{Condition, StanzaError};
use crate::extension::Refusal;
use crate::hub::{Hub, SessionRef};
use crate::ids::Ticket;
use crate::invitations::{Claim, INVITED_BY};
use crate::jid::BareJid;
use crate::receive::Receipt;
use crate::record::Payload;
use crate::stanza::{CLIENT_SCOPE, Header, OUR_LIMITS, Presence, PresenceType};
use crate::storage::{BoxFuture, StoreError, Write};
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
        let vouched = self.vouch(origin, kind, contact, &presence);
        if let (None, Some(cell)) = (&vouched, self.resident(contact)) {
            return Receipt::Done(self.subscribe_now(origin, kind, contact, Some(&cell), &presence));
        }
        let (hub, origin, contact) = (self.clone(), origin.clone(), contact.clone());
        Receipt::Later(Box::pin(async move {
            let claim = match vouched {
                Some(vouched) => vouched.await,
                None => None,
            };
            match (hub.account(&contact).await, claim) {
                // One commit: whatever ends here, no invitation is used up for nothing.
                (Ok(Some(cell)), Some(claim)) => {
                    match hub.befriend_and(&origin.cell, &cell, vec![claim.write()]) {
                        Ok(ticket) => {
                            claim.used(ticket);
                            hub.settle(&origin, ticket, None)
                        }
                        Err(error) => {
                            hub.refuse_presence(&origin, &presence, Refusal::Error(Box::new(error)))
                        }
                    }
                }
                (Ok(cell), _) => hub.subscribe_now(&origin, kind, &contact, cell.as_ref(), &presence),
                (Err(error), _) => hub.cannot_take(&origin, error).unwrap_or_else(|error| {
                    hub.refuse_presence(&origin, &presence, Refusal::Error(Box::new(error)))
                }),
            }
        }))
    }

    /// The invitation by which the contact has agreed already, if an extension knows one.
    fn vouch(
        self: &Arc<Self>,
        origin: &SessionRef,
        kind: SubscriptionKind,
        contact: &BareJid,
        presence: &Presence,
    ) -> Option<BoxFuture<'static, Option<Claim>>> {
        let mut vouchers = self.registry.handed::<Voucher>().filter(|_| kind == SubscriptionKind::Subscribe);
        vouchers.find_map(|voucher| (voucher.0)(self, &origin.cell.jid, contact, presence))
    }

    /// Makes two accounts of this server contacts of each other, as if each had asked and the other agreed.
    ///
    /// # Errors
    ///
    /// `resource-constraint` if a roster is full, `item-not-found` if the contact's account is being removed. Then nothing
    /// has changed.
    pub fn befriend(&self, user: &Cell, contact: &Arc<Cell>) -> Result<Ticket, StanzaError> {
        self.befriend_and(user, contact, Vec::new())
    }

    /// The same, with more in the same commit.
    fn befriend_and(
        &self,
        user: &Cell,
        contact: &Arc<Cell>,
        writes: Vec<Write>,
    ) -> Result<Ticket, StanzaError> {
        self.agree(user, &contact.jid, Some(contact), |deal| {
            if !deal.is_between_two() {
                return Err(StanzaError::new(Condition::ItemNotFound));
            }
            if !(deal.has_room(Who::User) && deal.has_room(Who::Contact)) {
                return Err(StanzaError::new(Condition::ResourceConstraint));
            }
            let before = [Who::User, Who::Contact].map(|who| (who, deal.is_approved(who)));
            for (who, kind) in [
                // Agreed to beforehand (RFC 6121 §3.4), the request is granted at once.
                (Who::Contact, SubscriptionKind::Subscribed),
                (Who::User, SubscriptionKind::Subscribe),
                (Who::User, SubscriptionKind::Subscribed),
                (Who::Contact, SubscriptionKind::Subscribe),
            ] {
                let (from, to) = if who == Who::User { (user, &**contact) } else { (&**contact, user) };
                deal.send(who, kind, &sent(kind, &from.jid, &to.jid))?;
            }
            // Whoever has the name some day has not been agreed to.
            for (who, _) in before.into_iter().filter(|(_, was_approved)| !was_approved) {
                deal.take_approval_back(who);
            }
            deal.also(writes);
            Ok(())
        })
    }

    /// An account that was made by an invitation becomes a contact of who invited it (XEP-0401 §5.5), when it is first
    /// loaded. That is forgotten in the commit in which it comes to pass, or cannot any more.
    pub(crate) async fn meet_inviter(&self, cell: &Arc<Cell>, inviter: &BareJid) {
        let (kind, key) = (CompactString::const_new(INVITED_BY), CompactString::default());
        let done = Write::Document { account: cell.id, kind, key, value: None };
        let met = match self.account(inviter).await {
            Ok(Some(other)) => self.befriend_and(cell, &other, vec![done.clone()]),
            Ok(None) => Err(StanzaError::new(Condition::ItemNotFound)),
            Err(StoreError::Unavailable(error)) => {
                tracing::error!(account = %cell.jid, %inviter, error, "an invited account is no contact yet");
                return;
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = met {
            tracing::warn!(account = %cell.jid, %inviter, %error, "an invited account has not become a contact");
            self.commit(&mut cell.lock(), vec![done]);
        }
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
    /// What `terms` refuses. Then nothing has changed. `not-allowed` if the user's account is being removed; a contact's is
    /// as if it were not there any more.
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
        if user.is_gone || self.is_leaving(&user.jid) {
            return Err(StanzaError::new(Condition::NotAllowed));
        }
        let leaves = other.as_ref().is_some_and(|other| other.is_gone) || self.is_leaving(contact);
        let mut deal = match other.as_deref_mut().filter(|_| !leaves) {
            None if leaves => Deal::new(self, &mut user, contact, None).with_leaving_contact(),
            other => Deal::new(self, &mut user, contact, other),
        };
        terms(&mut deal)?;
        Ok(deal.close())
    }

    /// An account that is being removed takes back what was agreed with somebody, and nobody after it finds an approval.
    pub(crate) fn take_leave(&self, user: &Cell, contact: &BareJid, cell: Option<&Arc<Cell>>) -> Ticket {
        let (mut user, mut other) = match cell {
            Some(cell) => lock_pair(user, cell),
            None => (user.lock(), None),
        };
        let mut deal = Deal::new(self, &mut user, contact, other.as_deref_mut());
        deal.leave(Who::User);
        deal.close()
    }
}

/// Tells by which invitation a contact has agreed already to a request of `user` (handed over by [`crate::extension::Registry::hand`]);
/// `None` if the request says nothing of that.
pub struct Voucher(pub Vouch);

/// The hub, the user, the contact and the request.
pub type Vouch = fn(&Arc<Hub>, &BareJid, &BareJid, &Presence) -> Option<BoxFuture<'static, Option<Claim>>>;

/// A subscription stanza without content, as if a device had sent it.
fn sent(kind: SubscriptionKind, from: &BareJid, to: &BareJid) -> Presence {
    let header = Header { from: from.clone().into(), to: Some(to.clone().into()), id: None, lang: None };
    let kind = PresenceType::parse(kind.as_str()).unwrap_or(PresenceType::Error);
    Presence { header, kind, others: Box::default(), payload: Payload::from_elements(Vec::new()) }
}

/// A request that waits, as it came.
pub(super) fn request_of(account: &Account, contact: &BareJid) -> Element {
    let kept = account.requests.get(contact);
    let kept = kept.and_then(|text| Element::parse(text, &CLIENT_SCOPE, &OUR_LIMITS).ok());
    kept.unwrap_or_else(|| super::deal::plain(SubscriptionKind::Subscribe, contact, &account.jid))
}
