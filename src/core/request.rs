//! What a handler is asked and what it answers: requests (RFC 6120 §8.2.3), and elements of a stream that are no stanzas.

use std::sync::{Arc, MutexGuard};

use unisono_xml::Element;

use crate::account::{Account, Cell};
use crate::error::{Condition, StanzaError};
use crate::extension::Entity;
use crate::hub::{Hub, SessionRef};
use crate::ids::{AccountId, LogPosition, SessionId, Ticket};
use crate::jid::{BareJid, Jid};
use crate::outbox::Item;
use crate::session::Session;
use crate::stanza::Iq;
use crate::storage::BoxFuture;

/// An iq, and everything a handler may need to answer it.
pub struct Request {
    pub hub: Arc<Hub>,
    pub iq: Iq,
    /// The child of the iq.
    pub payload: Element,
    pub entity: Entity,
    /// The session of the one who asks, if it is of this server.
    pub session: Option<SessionRef>,
    /// The account that is asked; none for the server.
    pub account: Option<Arc<Cell>>,
}

impl Request {
    /// Who asks.
    pub fn from(&self) -> &Jid {
        &self.iq.header.from
    }

    /// Works on the session of the one who asks, if it is of this server.
    pub fn with_session<T>(&self, work: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let origin = self.session.as_ref()?;
        let mut account = origin.cell.lock();
        account.session_mut(origin.id).map(work)
    }

    /// The account that is asked. The lock is for decisions only.
    pub fn account(&self) -> Result<MutexGuard<'_, Account>, StanzaError> {
        let cell = self.account.as_ref().ok_or(StanzaError::new(Condition::ItemNotFound))?;
        Ok(cell.lock())
    }

    /// The number of the account that is asked.
    pub fn account_id(&self) -> Result<AccountId, StanzaError> {
        self.account.as_ref().map(|cell| cell.id).ok_or(StanzaError::new(Condition::ItemNotFound))
    }
}

/// An answer to an iq.
#[derive(Default)]
pub struct Reply {
    /// The child of the result.
    pub payload: Option<Element>,
    /// Stanzas that go to the one who asks before the result.
    pub before: Vec<Item>,
    /// Stanzas that go to the one who asks after the result.
    pub after: Vec<Item>,
    /// What must be durable before the answer goes out.
    pub ticket: Ticket,
    /// With the answer, the device has its log up to here.
    pub covers: Option<LogPosition>,
    /// Makes the answer itself, under the lock under which it is queued.
    pub locked: Option<Locked>,
}

/// An answer made of the account of the one who asks, while it is locked: nothing overtakes it that changes what it
/// tells.
pub type Locked = Box<dyn FnOnce(&mut Account, SessionId) -> Answer + Send>;

impl Reply {
    /// A result without a child.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A result with a child.
    pub fn with(payload: Element) -> Self {
        Self { payload: Some(payload), ..Self::default() }
    }

    /// The answer is made when it is queued, so that no push comes between the two.
    pub fn locked(make: impl FnOnce(&mut Account, SessionId) -> Answer + Send + 'static) -> Self {
        Self { locked: Some(Box::new(make)), ..Self::default() }
    }

    /// Waits for a commit.
    #[must_use]
    pub fn after(mut self, ticket: Ticket) -> Self {
        self.ticket = self.ticket.max(ticket);
        self
    }
}

pub type Answer = Result<Reply, StanzaError>;
/// Handles an iq at once, or as a future where it has to read the store.
#[derive(Clone, Copy)]
pub enum IqHandler {
    Now(fn(&Request) -> Answer),
    Later(fn(Request) -> BoxFuture<'static, Answer>),
}

/// An element of a client's stream that is not a stanza.
pub struct NonzaRequest {
    pub hub: Arc<Hub>,
    pub element: Element,
    pub stream: StreamState,
}

/// Where the stream is that a nonza arrived on.
#[derive(Clone)]
pub enum StreamState {
    /// It is not known who the client is.
    Unauthenticated,
    /// Authenticated, no resource bound.
    Authenticated { account: BareJid, login: Box<crate::devices::Login>, connection: crate::hub::Connection },
    /// A resource is bound.
    Bound(SessionRef),
}

/// What a nonza leads to.
#[derive(Default)]
pub struct NonzaReply {
    /// Written at once, in order.
    pub write: Vec<Element>,
    /// The stream is now bound to this session (XEP-0198 resumption).
    pub session: Option<SessionRef>,
    /// The stream ends with this error; the second is an application-specific condition.
    pub error: Option<(crate::error::StreamCondition, Option<Element>)>,
    /// What was submitted for it, so that a device cannot ask for more than a store that fails takes.
    pub ticket: Ticket,
}
