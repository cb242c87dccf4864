//! Domains that are not ours, and the ways to them: components, and one day other servers.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use unisono_xml::Element;

use crate::account::Cell;
use crate::error::{Condition, StanzaError};
use crate::extension::{Entity, IqHandler, Refusal, Reply, Request, Side};
use crate::hosted::Hosted;
use crate::hub::{Hub, SessionRef};
use crate::ids::{SessionId, Ticket};
use crate::jid::{FullJid, Jid};
use crate::outbox::Entry;
use crate::receive::{error_reply, error_reply_to, may_be_answered, passed_on, question};
use crate::stanza::{Iq, IqType, Message, MessageType, NS_CLIENT, Stanza};
use crate::storage::BoxFuture;

/// The way to a domain. It has a bound of its own, and never blocks.
pub trait Route: Send + Sync {
    /// Takes a stanza, in `jabber:client`, that goes out when `after` is durable. Whether there was room for it.
    fn send(&self, stanza: &Element, after: Ticket) -> bool;
    /// Whether there is room for one more.
    fn has_room(&self) -> bool;
    /// Whether what is there belongs to this server, as a component does.
    fn is_of_house(&self) -> bool {
        false
    }
}

/// The ways that there are, by domain.
#[derive(Default)]
pub struct Routes(RwLock<HashMap<String, Arc<dyn Route>>>);

impl Routes {
    /// Opens the way to a domain. Whether there was none.
    pub fn open(&self, domain: &str, route: Arc<dyn Route>) -> bool {
        let mut routes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if routes.contains_key(domain) {
            return false;
        }
        routes.insert(domain.to_owned(), route);
        true
    }

    /// The domains of those that belong to this server, sorted.
    pub fn of_house(&self) -> Vec<String> {
        let routes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let own = routes.iter().filter(|(_, route)| route.is_of_house());
        let mut own: Vec<_> = own.map(|(domain, _)| domain.clone()).collect();
        own.sort_unstable();
        own
    }

    /// Closes it.
    pub fn close(&self, domain: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(domain);
    }

    /// The way to a domain, if there is one.
    pub fn find(&self, domain: &str) -> Option<Arc<dyn Route>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(domain).cloned()
    }
}

/// Nobody is there, or too much waits already.
pub(crate) fn unreached(route: Option<&Arc<dyn Route>>) -> Condition {
    if route.is_some() { Condition::ResourceConstraint } else { Condition::RemoteServerNotFound }
}

impl Hub {
    /// Sends a stanza to a domain that is not ours. Whether it is on its way.
    pub(crate) fn send_away(&self, to: &Jid, stanza: &Element, after: Ticket) -> bool {
        self.routes.find(to.domain()).is_some_and(|route| route.send(stanza, after))
    }

    /// An iq of a device to an address that is not ours; its answer is let through (RFC 6120 §8.2.3).
    pub(crate) fn send_iq_away(&self, origin: &SessionRef, iq: &Iq, to: &Jid) -> Result<(), Refusal> {
        let refused = |condition| Refusal::Error(Box::new(StanzaError::new(condition)));
        let route = self.routes.find(to.domain());
        let open = route.as_ref().filter(|route| route.has_room());
        let open = open.ok_or_else(|| refused(unreached(route.as_ref())))?;
        let mut account = origin.cell.lock();
        self.admits(&Stanza::Iq(iq.clone()), &account, Side::Sender)?;
        let asks = matches!(iq.kind, IqType::Get | IqType::Set);
        if asks && let Some(session) = account.session_mut(origin.id) {
            session.ask(question(to, iq.header.id.as_deref().unwrap_or_default()));
        }
        if open.send(&passed_on(iq, to), Ticket::NONE) {
            Ok(())
        } else {
            Err(refused(Condition::ResourceConstraint))
        }
    }

    /// Takes a stanza from an address that is not ours, which the caller has checked, in `jabber:client`. What comes of it
    /// goes back the way that there is to there. The next stanza of the same way waits for it.
    pub async fn receive_from_afar(self: &Arc<Self>, element: &Element, from: Jid) {
        let stanza = match Stanza::parse(element, from.clone()) {
            Ok(stanza) => stanza,
            Err(error) => {
                if may_be_answered(element) {
                    let reply =
                        error_reply_to(element, &error).to_builder().attr("to", from.as_str()).build();
                    self.send_away(&from, &reply, Ticket::NONE);
                }
                return;
            }
        };
        let header = match &stanza {
            Stanza::Message(message) => &message.header,
            Stanza::Presence(presence) => &presence.header,
            Stanza::Iq(iq) => &iq.header,
        };
        let Some(to) = header.to.clone() else { return };
        if let Some(service) = self.hosted(to.domain()) {
            return self.serve_afar(&stanza, &to, service).await;
        }
        if !self.serves(to.domain()) {
            if !self.send_away(&to, element, Ticket::NONE) {
                let route = self.routes.find(to.domain());
                self.send_back(&stanza, &StanzaError::new(unreached(route.as_ref())));
            }
            return;
        }
        let account = match to.local() {
            Some(_) => self.account(&to.to_bare()).await,
            None => Ok(None),
        };
        let account = match account {
            Ok(account) => account,
            Err(error) => return self.send_back(&stanza, &error.into()),
        };
        let refused = match &stanza {
            Stanza::Message(message) => self.message_from_afar(message, account.as_ref()),
            Stanza::Presence(presence) => {
                match &account {
                    Some(cell) => self.presence_from_afar(presence, &to, cell),
                    None => self.nobody_is_seen(presence, &to),
                }
                Ok(())
            }
            Stanza::Iq(iq) if to.is_full() => self.iq_from_afar(iq, &to, account.as_deref()),
            Stanza::Iq(iq) => {
                self.answer_afar(iq, account, None).await;
                Ok(())
            }
        };
        if let Err(Refusal::Error(error)) = refused {
            self.send_back(&stanza, &error);
        }
    }

    /// A stanza from afar to a service of ours.
    async fn serve_afar(self: &Arc<Self>, stanza: &Stanza, to: &Jid, service: &Hosted) {
        match stanza {
            Stanza::Presence(_) => {}
            Stanza::Message(message) => {
                if let Err(error) = self.read_letter(service, message.clone()).await {
                    self.send_back(stanza, &error);
                }
            }
            Stanza::Iq(_) if *to != Jid::from(service.jid.clone()) => {
                self.send_back(stanza, &StanzaError::new(Condition::ServiceUnavailable));
            }
            Stanza::Iq(iq) => match self.service(&service.jid).await {
                Ok(cell) => self.answer_afar(iq, Some(cell), Some(service.entity())).await,
                Err(error) => self.send_back(stanza, &error.into()),
            },
        }
    }

    /// Tells who sent a stanza to another domain that it did not go out.
    pub async fn return_to_sender(self: &Arc<Self>, stanza: &Element) {
        let addresses = (stanza.attr("from").and_then(|from| from.parse().ok()), stanza.attr("to"));
        let (Some(from), Some(to)) = addresses else { return };
        let Ok(to) = to.parse::<Jid>() else { return };
        let Ok(parsed) = Stanza::parse(stanza, from) else { return };
        let error = StanzaError::new(Condition::RemoteServerTimeout);
        let reply = match &parsed {
            Stanza::Message(message) if message.kind != MessageType::Error => {
                error_reply("message", &message.header, &error)
            }
            Stanza::Iq(iq) if matches!(iq.kind, IqType::Get | IqType::Set) => {
                error_reply("iq", &iq.header, &error)
            }
            Stanza::Message(_) | Stanza::Iq(_) | Stanza::Presence(_) => return,
        };
        self.receive_from_afar(&reply, to).await;
    }

    /// Tells who sent a stanza what is wrong with it, if that may be told (RFC 6120 §8.3.1).
    fn send_back(&self, stanza: &Stanza, error: &StanzaError) {
        let (name, header, is_answer) = match stanza {
            Stanza::Message(message) => ("message", &message.header, message.kind == MessageType::Error),
            // Whether there is an account is not told by what becomes of presence.
            Stanza::Presence(_) => return,
            Stanza::Iq(iq) => ("iq", &iq.header, matches!(iq.kind, IqType::Result | IqType::Error)),
        };
        if !is_answer {
            self.send_away(&header.from, &error_reply(name, header, error), Ticket::NONE);
        }
    }

    fn message_from_afar(&self, message: &Message, account: Option<&Arc<Cell>>) -> Result<(), Refusal> {
        let unavailable = || Refusal::Error(Box::new(StanzaError::new(Condition::ServiceUnavailable)));
        let cell = account.ok_or_else(unavailable)?;
        let Ok(nobody) = cell.jid.with_resource("-") else { return Err(unavailable()) };
        self.take_in(&stranger(cell, nobody), message.clone())
    }

    /// RFC 6121 §8.5.3: a request for a device that is seen from there, or an answer that the device waits for.
    fn iq_from_afar(&self, iq: &Iq, to: &Jid, account: Option<&Cell>) -> Result<(), Refusal> {
        let unavailable = || Refusal::Error(Box::new(StanzaError::new(Condition::ServiceUnavailable)));
        let mut account = account.ok_or_else(unavailable)?.lock();
        self.admits(&Stanza::Iq(iq.clone()), &account, Side::Recipient)?;
        let from = &iq.header.from;
        let is_subscriber = account.is_seen_by(&from.to_bare());
        let found = to.resource().and_then(|resource| account.reachable(resource)).ok_or_else(unavailable)?;
        // Shared with a room, it is shared with all who are in there (RFC 6121 §8.5.3.1).
        let is_seen = is_subscriber || found.directed.iter().any(|jid| jid.to_bare() == from.to_bare());
        let asks = matches!(iq.kind, IqType::Get | IqType::Set);
        // What changes an account looks like a push of it (RFC 6121 §2.1.6).
        let is_push = iq.kind == IqType::Set && self.changes_accounts(iq);
        if asks && (!is_seen || is_push) {
            return Err(unavailable());
        }
        let id = found.id;
        let Some(session) = account.session_mut(id) else { return Err(unavailable()) };
        if asks || session.is_answered(question(from, iq.header.id.as_deref().unwrap_or_default())) {
            session.queue(Entry::stanza(passed_on(iq, to)), &self.registry.filter);
            session.wake();
        }
        Ok(())
    }

    fn changes_accounts(&self, iq: &Iq) -> bool {
        let mut elements = iq.payload.elements().iter();
        elements.any(|element| self.registry.iq_handler(Entity::OwnAccount, iq.kind, element).is_some())
    }

    /// A request to the server, to an account or to a service.
    async fn answer_afar(self: &Arc<Self>, iq: &Iq, account: Option<Arc<Cell>>, service: Option<Entity>) {
        let stanza = Stanza::Iq(iq.clone());
        let asks = matches!(iq.kind, IqType::Get | IqType::Set);
        if !asks {
            return self.take_answer_from_afar(iq);
        }
        let Some(payload) = iq.payload.elements().first().cloned() else { return };
        if let Some(cell) = &account
            && let Err(refusal) = self.admits(&stanza, &cell.lock(), Side::Recipient)
        {
            if let Refusal::Error(error) = refusal {
                self.send_back(&stanza, &error);
            }
            return;
        }
        let is_server = iq.header.to.as_ref().is_some_and(|to| to.local().is_none());
        let entity = service.unwrap_or(match (&account, is_server) {
            (_, true) => Entity::Server,
            (Some(_), false) => Entity::OtherAccount,
            (None, false) => Entity::Nobody,
        });
        let Some(handler) = self.registry.iq_handler(entity, iq.kind, &payload) else {
            return self.send_back(&stanza, &StanzaError::new(Condition::ServiceUnavailable));
        };
        let request = Request { hub: self.clone(), iq: iq.clone(), payload, entity, session: None, account };
        let answer: BoxFuture<'static, _> = match handler {
            IqHandler::Now(handler) => Box::pin(std::future::ready(handler(&request))),
            IqHandler::Later(handler) => handler(request),
        };
        match answer.await {
            // What is made under the lock of who asks is for devices of this server.
            Ok(Reply { locked: Some(_), .. }) => {
                self.send_back(&stanza, &StanzaError::new(Condition::ServiceUnavailable));
            }
            Ok(Reply { payload, ticket, .. }) => {
                let result = Element::builder("iq", NS_CLIENT)
                    .attr("type", "result")
                    .attr_opt("id", iq.header.id.as_deref())
                    .attr_opt("from", iq.header.to.as_ref().map(Jid::as_str))
                    .attr("to", iq.header.from.as_str())
                    .child_opt(payload);
                self.send_away(&iq.header.from, &result.build(), ticket);
            }
            Err(error) => self.send_back(&stanza, &error),
        }
    }
}

/// Who brings what comes from afar: no session of the account that it is for.
fn stranger(cell: &Arc<Cell>, jid: FullJid) -> SessionRef {
    SessionRef { cell: cell.clone(), id: SessionId(0), jid, connection: 0 }
}
