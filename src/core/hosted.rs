//! Services of this server that have a domain of their own, such as one for nodes (XEP-0060 §5). What a service keeps, it
//! keeps like an account, under its domain; an extension says what it does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::account::Cell;
use crate::error::{Condition, StanzaError};
use crate::extension::{Entity, Refusal, Registry, Side};
use crate::hub::{Hub, SessionRef};
use crate::ids::Ticket;
use crate::jid::{BareJid, Jid};
use crate::receive::{Receipt, error_reply};
use crate::stanza::{Iq, IqType, Message, MessageType, Presence, Stanza};
use crate::storage::{BoxFuture, StoreError};

/// A service of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosted {
    /// Its domain.
    pub jid: BareJid,
    /// What it is, as extensions know it ([`Entity::Service`]).
    pub kind: &'static str,
    /// Who may set something up there.
    pub makers: Makers,
}

/// Who may set something up at a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Makers {
    /// Who has an account on this server.
    Users,
    Everybody,
    Nobody,
}

/// A message to a service.
pub struct Letter {
    pub hub: Arc<Hub>,
    /// The service.
    pub cell: Arc<Cell>,
    pub message: Message,
}

/// What becomes of a message to a service of a kind.
pub type Read = fn(Letter) -> BoxFuture<'static, Result<Ticket, StanzaError>>;

/// A device has come: it sent available presence to everybody, and was not available before. What has to be read for it
/// is read before anything else that it sends.
pub type Arrive = fn(&Arc<Hub>, &SessionRef, &Presence) -> Option<BoxFuture<'static, ()>>;

/// What is kept of the services while the server runs: there are few, so they stay in memory.
#[derive(Default)]
pub(crate) struct Open(Mutex<HashMap<BareJid, Arc<Cell>>>);

impl Registry {
    /// Reads the messages to services of a kind. Errors go back to who sent them.
    pub fn letters(&mut self, kind: &'static str, read: Read) -> &mut Self {
        self.letters.push((kind, read));
        self
    }

    /// Stage `deliver`, for what no contact sends: a device has come.
    pub fn arrived(&mut self, handler: Arrive) -> &mut Self {
        self.arrived.push(handler);
        self
    }
}

impl Hosted {
    /// As requests are registered for it.
    pub fn entity(&self) -> Entity {
        Entity::Service(self.kind)
    }
}

impl Hub {
    /// The service with this domain, if it is one of ours.
    pub fn hosted(&self, domain: &str) -> Option<&Hosted> {
        self.settings.hosted.iter().find(|hosted| hosted.jid.as_str() == domain)
    }

    /// Whether somebody may set something up at a service.
    pub fn may_make(&self, service: &BareJid, who: &BareJid) -> bool {
        self.hosted(service.as_str()).is_some_and(|hosted| match hosted.makers {
            Makers::Users => who.local().is_some() && self.serves(who.domain()),
            Makers::Everybody => true,
            Makers::Nobody => false,
        })
    }

    /// What a service keeps. It is made when somebody first needs it.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn service(&self, service: &BareJid) -> Result<Arc<Cell>, StoreError> {
        if let Some(cell) = self.services().get(service) {
            return Ok(cell.clone());
        }
        match self.store.create(service, &[], self.clock.now_micros()).await {
            Ok(_) | Err(StoreError::Exists) => {}
            Err(error) => return Err(error),
        }
        let stored = self.stored(service).await?.ok_or(StoreError::NotFound)?;
        // Who comes second takes what the first one has.
        Ok(self.services().entry(service.clone()).or_insert(stored).clone())
    }

    /// The last commit of all services.
    pub(crate) fn services_written(&self) -> Ticket {
        let cells: Vec<_> = self.services().values().cloned().collect();
        cells.iter().map(|cell| cell.lock().last_ticket).max().unwrap_or(Ticket::NONE)
    }

    fn services(&self) -> MutexGuard<'_, HashMap<BareJid, Arc<Cell>>> {
        self.services.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request of a device to a service.
    pub(crate) fn ask_service(
        self: &Arc<Self>,
        origin: &SessionRef,
        iq: Iq,
        to: &Jid,
        service: &Hosted,
    ) -> Receipt {
        if matches!(iq.kind, IqType::Result | IqType::Error) {
            return Receipt::Done(self.settle(origin, Ticket::NONE, None));
        }
        if *to != Jid::from(service.jid.clone()) {
            let unavailable = StanzaError::new(Condition::ServiceUnavailable);
            return Receipt::Done(self.refuse_iq(origin, &iq, &unavailable));
        }
        let (hub, origin, jid, entity) =
            (self.clone(), origin.clone(), service.jid.clone(), service.entity());
        Receipt::Later(Box::pin(async move {
            match hub.service(&jid).await {
                Ok(cell) => match hub.ask(&origin, iq, entity, Some(cell)) {
                    Receipt::Done(ticket) => ticket,
                    Receipt::Later(answer) => answer.await,
                },
                Err(error) => hub.refuse_iq(&origin, &iq, &error.into()),
            }
        }))
    }

    /// A message of a device to a service. It is no conversation, so no log has it.
    pub(crate) fn write_to_service(
        self: &Arc<Self>,
        origin: &SessionRef,
        message: Message,
        service: &Hosted,
    ) -> Receipt {
        let admitted = self.admits(&Stanza::Message(message.clone()), &origin.cell.lock(), Side::Sender);
        if let Err(refusal) = admitted {
            let error = if let Refusal::Error(error) = refusal { Some(*error) } else { None };
            return Receipt::Done(self.letter_read(origin, &message, error.map_or(Ok(Ticket::NONE), Err)));
        }
        let (hub, origin, service) = (self.clone(), origin.clone(), service.clone());
        Receipt::Later(Box::pin(async move {
            let read = hub.read_letter(&service, message.clone()).await;
            hub.letter_read(&origin, &message, read)
        }))
    }

    fn letter_read(
        &self,
        origin: &SessionRef,
        message: &Message,
        read: Result<Ticket, StanzaError>,
    ) -> Ticket {
        let (ticket, error) = match read {
            Ok(ticket) => (ticket, None),
            Err(error) => (Ticket::NONE, Some(error)),
        };
        let error = error.filter(|_| message.kind != MessageType::Error);
        let reply = error.map(|error| error_reply("message", &message.header, &error));
        self.settle(origin, ticket, reply)
    }

    /// A message to a service, from wherever.
    pub(crate) async fn read_letter(
        self: &Arc<Self>,
        service: &Hosted,
        message: Message,
    ) -> Result<Ticket, StanzaError> {
        let is_for_it = message.header.to == Some(Jid::from(service.jid.clone()));
        let reader = self.registry.letters.iter().find(|(kind, _)| *kind == service.kind);
        match reader.filter(|_| is_for_it) {
            Some((_, read)) => {
                let cell = self.service(&service.jid).await?;
                read(Letter { hub: self.clone(), cell, message }).await
            }
            None => Err(StanzaError::new(Condition::ServiceUnavailable)),
        }
    }

    /// What extensions have to read for a device that has come.
    pub(crate) fn arrivals(
        self: &Arc<Self>,
        origin: &SessionRef,
        presence: &Presence,
    ) -> Vec<BoxFuture<'static, ()>> {
        self.registry.arrived.iter().filter_map(|handler| handler(self, origin, presence)).collect()
    }
}
