//! What follows from a message in each account that it concerns, in the commit that records it.

use std::sync::Arc;

use unisono_xml::Element;

use crate::account::Account;
use crate::hub::{Hub, SessionRef};
use crate::ids::Ticket;
use crate::record::{Direction, MessageRecord};
use crate::stanza::Message;
use crate::storage::{BoxFuture, StoreError, Write};

/// Makes known what the road of a message will ask for, where that has to be read from the store. `None` if it is known
/// already, as it is most of the time. The device that sends it sends nothing more meanwhile.
pub type Prepare = fn(&Arc<Hub>, &SessionRef, &Message) -> Option<BoxFuture<'static, Result<(), StoreError>>>;
/// What follows from a message in one account.
pub type Follow = fn(&mut Following<'_>);
/// What is queued for devices behind the commit.
pub(crate) type Then = Box<dyn FnOnce(&Hub, &mut Account, Ticket)>;

/// A message on its road, with the account of its sender, or that of its recipient; of a message to oneself, once, as
/// received. The account is locked, and what changes is durable together with the message.
pub struct Following<'a> {
    pub hub: &'a Hub,
    pub account: &'a mut Account,
    pub record: &'a MessageRecord,
    pub direction: Direction,
    /// What the message said to the server alone ([`crate::extension::Child::Take`]).
    pub taken: &'a [Element],
    /// The device that sent it, if it is one of this account.
    pub origin: Option<&'a SessionRef>,
    pub writes: &'a mut Vec<Write>,
    pub(crate) then: Vec<Then>,
}

impl Following<'_> {
    /// Queues something for devices of the account when the copies of the message are queued, behind the same commit.
    pub fn then(&mut self, work: impl FnOnce(&Hub, &mut Account, Ticket) + 'static) {
        self.then.push(Box::new(work));
    }
}
