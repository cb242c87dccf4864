//! The extension API: how a module of `xeps/` hangs itself on the road of a message.
//!
//! An extension registers handlers and the features that announce them, side by side. Handlers are functions of
//! what they are given; they do not send, store or wait, except for those that answer an iq later. The order of
//! the handlers of a stage is the order of the list of extensions.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use compact_str::CompactString;
use unisono_xml::Element;

use crate::account::Account;
use crate::bind2::AtBind;
use crate::error::{Condition, StanzaError};
use crate::hub::{Hub, SessionRef, Settings};
use crate::ids::LogPosition;
use crate::jid::{BareJid, Jid};
use crate::outbox::{Form, Item};
use crate::record::{Direction, Keep, MessageRecord, Payload};
use crate::session::Session;
use crate::stanza::{IqType, Message, Presence, Stanza};
use crate::storage::{BoxFuture, DeviceRecord, StoreError, Write};

pub use crate::following::{Follow, Following, Prepare};
pub use crate::keeping::{AccountState, KeyedState};
pub use crate::presence::{Restate, Sight, Vouch, Voucher};
pub use crate::request::{Answer, IqHandler, Locked, NonzaReply, NonzaRequest, Reply, Request, StreamState};
pub use crate::upkeep::{Begin, Moment, Sweep};

/// One extension.
pub trait Extension: Sync {
    /// What it implements.
    fn spec(&self) -> Spec;
    /// Hangs its handlers up.
    fn register(&self, on: &mut Registry);
}

/// Which specification a module follows, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The number of the XEP.
    pub number: u16,
    pub version: &'static str,
    /// What is missing; empty if nothing is.
    pub missing: &'static str,
}

impl Spec {
    /// A XEP of this number and version, implemented as far as a server can.
    pub const fn xep(number: u16, version: &'static str) -> Self {
        Self { number, version, missing: "" }
    }

    /// Says what is missing.
    #[must_use]
    pub const fn partial(self, missing: &'static str) -> Self {
        Self { missing, ..self }
    }
}

/// Whose address a request or a feature is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Entity {
    /// The domain.
    Server,
    /// The account of the one who asks: its bare JID, or no `to` at all.
    OwnAccount,
    /// The bare JID of somebody else.
    OtherAccount,
    /// A bare JID of ours without an account. What is not answered for it is `service-unavailable` (RFC 6121 §8.5.1).
    Nobody,
    /// A service of this kind, of ours, which has a domain of its own ([`crate::hosted`]).
    Service(&'static str),
}

/// The stations of the road (DESIGN.md §3), in their order. Handlers are hung up by the method of the same name of
/// [`Registry`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    Admit,
    Annotate,
    Record,
    Reflect,
    Deliver,
    Filter,
}

/// The side of the road on which a handler runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    Sender,
    Recipient,
}

/// Why a stanza does not go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The sender learns it.
    Error(Box<StanzaError>),
    /// Nobody learns it.
    Silent,
}

/// What becomes of a child of a stanza that passes `annotate`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Child {
    Keep,
    /// Only we may say it.
    Remove,
    /// It was said to us alone: [`Registry::follow`] gets it, nobody else.
    Take,
}

/// What a stanza meets when it is queued for a device that is not looking (XEP-0352).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holding {
    /// Goes out at once, and with it all that is held.
    Pass,
    /// Waits until something passes; a newer stanza of the same kind from the same sender replaces it.
    Replaceable,
    /// Is left out.
    Drop,
}

/// What a device is to be told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interest {
    /// Sorted.
    pub nodes: Vec<CompactString>,
    /// Of these contacts, which came into its sight, or of these services; none stands for the account itself and all
    /// contacts.
    pub of: Option<Vec<BareJid>>,
    /// Of what comes before this, it was told.
    pub from: Option<Place>,
}

/// How far a device was told what there is: the account itself comes first, then others in the order of their addresses, and
/// of each the nodes in that of their names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub owner: BareJid,
    pub node: CompactString,
    /// Of this node, it was told up to here.
    pub upto: LogPosition,
}

/// One copy of a recorded message, about to be written.
#[derive(Clone, Copy, Debug)]
pub struct Copy<'a> {
    /// Whose log it is from.
    pub owner: &'a BareJid,
    /// Its archive id, if the archive shows it.
    pub id: Option<&'a str>,
    /// When it was recorded, in microseconds since 1970, if that was not just now.
    pub delayed: Option<i64>,
    /// What it carries; none for what is wrapped around it.
    pub payload: Option<&'a Payload>,
}

pub type Admit = fn(&Stanza, &Account, Side) -> Result<(), Refusal>;
pub type AdmitAbsent = fn(&Stanza) -> Result<(), Refusal>;
/// What becomes of a child of a message from this address.
pub type Annotate = fn(&Element, &Jid, &Settings) -> Child;
pub type Record = fn(&Message, &Account, Side) -> Option<Keep>;
/// Whether a message says something new that is to be read.
pub type Speaks = fn(&Message) -> bool;
/// What the owner of a log allows of what was voted for.
pub type Restrict = fn(Keep, &Message, &Account, Side) -> Keep;
pub type Apply = fn(&MessageRecord, &Account, Direction, &mut Vec<Write>);
pub type Deliver = fn(&MessageRecord, Direction, &Session, &Settings) -> Option<Form>;
pub type Stamp = fn(&mut Vec<u8>, &Copy<'_>);
pub type Filter = fn(&Item, &Session) -> Option<Holding>;
pub type Left = fn(&mut Account, &Element, i64, &mut Vec<Write>);
/// An account is about to be removed from the store.
pub type Removed = fn(Arc<Hub>, BareJid) -> BoxFuture<'static, Result<(), StoreError>>;
/// What an extension keeps for a device ends with it.
pub type DeviceEnded = fn(&mut Account, &DeviceRecord, &mut Vec<Write>);
/// When the last device of an account left, in microseconds since 1970.
pub type LastSeen = fn(&Account) -> Option<i64>;
/// What becomes of an available presence that a device sent to everybody, beside that it is shown.
pub type Present = fn(&Arc<Hub>, &SessionRef, &Presence);
/// A device is to be told what there is of nodes, as long as [`Session::has_room`]. Returns what it is to be told when it has
/// again.
pub type Interested =
    fn(Arc<Hub>, SessionRef, Interest) -> BoxFuture<'static, Result<Option<Interest>, StoreError>>;
pub type Nonza = fn(NonzaRequest) -> BoxFuture<'static, NonzaReply>;

/// A feature of the stream, offered once a client is authenticated.
pub type StreamFeature = fn(&Hub) -> Element;

/// A form about an entity (XEP-0128).
pub type ExtendedInfo = fn(&Hub) -> Option<Element>;

type MakeState = fn() -> Box<dyn Any + Send + Sync>;
pub(crate) type Decode = fn(&str, &str) -> Box<dyn Any + Send>;
pub(crate) type DecodeKeyed = fn(&str) -> Option<Box<dyn Any + Send>>;

/// Everything that the extensions registered. Built once, at start.
#[derive(Default)]
pub struct Registry {
    pub(crate) features: Vec<(Entity, &'static str)>,
    pub(crate) extended: Vec<(Entity, ExtendedInfo)>,
    pub(crate) iqs: HashMap<&'static str, Vec<(Entity, IqType, &'static str, IqHandler)>>,
    pub(crate) nonzas: HashMap<(&'static str, &'static str), Nonza>,
    pub(crate) stream_features: Vec<StreamFeature>,
    pub(crate) at_login: Vec<((&'static str, &'static str), StreamFeature)>,
    pub(crate) at_bind: Vec<(Option<&'static str>, AtBind)>,
    pub(crate) admit: Vec<Admit>,
    pub(crate) admit_absent: Vec<AdmitAbsent>,
    pub(crate) annotate: Vec<Annotate>,
    pub(crate) record: Vec<Record>,
    pub(crate) restrict: Vec<Restrict>,
    pub(crate) speaks: Vec<Speaks>,
    pub(crate) prepare: Vec<Prepare>,
    pub(crate) apply: Vec<Apply>,
    pub(crate) follow: Vec<Follow>,
    pub(crate) reflect: Vec<Deliver>,
    pub(crate) deliver: Vec<Deliver>,
    pub(crate) stamp: Vec<Stamp>,
    pub(crate) filter: Vec<Filter>,
    pub(crate) left: Vec<Left>,
    pub(crate) present: Vec<Present>,
    pub(crate) restate: Vec<Restate>,
    pub(crate) interested: Vec<Interested>,
    pub(crate) server_states: Vec<(TypeId, MakeState)>,
    pub(crate) device_ended: Vec<DeviceEnded>,
    pub(crate) removed: Vec<Removed>,
    pub(crate) begin: Vec<Begin>,
    pub(crate) last_seen: Option<LastSeen>,
    pub(crate) ack_writer: Option<fn(&mut Vec<u8>, u32)>,
    pub(crate) request_writer: Option<fn(&mut Vec<u8>)>,
    pub(crate) wrappings: Vec<&'static crate::outbox::Wrapping>,
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) states: HashMap<&'static str, (TypeId, Decode)>,
    pub(crate) slots: crate::slots::Slots,
    pub(crate) early: crate::early::Early,
    pub(crate) keyed: HashMap<&'static str, (TypeId, DecodeKeyed)>,
    pub(crate) identities: Vec<(Entity, &'static str, &'static str)>,
    pub(crate) letters: Vec<(&'static str, crate::hosted::Read)>,
    pub(crate) arrived: Vec<crate::hosted::Arrive>,
    pub(crate) sweep: Vec<Sweep>,
}

impl Registry {
    /// Registers all extensions of a list, in its order.
    pub fn new(extensions: &[&dyn Extension]) -> Self {
        let mut registry = Self::default();
        crate::binding::register(&mut registry);
        crate::roster::register(&mut registry);
        registry.kinds.extend([
            crate::account::REQUESTS,
            crate::account::ROSTER_FLOOR,
            crate::invitations::INVITED_BY,
            crate::repetition::MEANT,
        ]);
        for extension in extensions {
            extension.register(&mut registry);
        }
        registry
    }

    /// Announces a feature of an entity (XEP-0030 §3.1).
    pub fn feature(&mut self, entity: Entity, ns: &'static str) -> &mut Self {
        self.features.push((entity, ns));
        self
    }

    /// Announces a feature of an account to its owner and to others.
    pub fn account_feature(&mut self, ns: &'static str) -> &mut Self {
        self.feature(Entity::OwnAccount, ns).feature(Entity::OtherAccount, ns)
    }

    /// Adds a form to the information about an entity (XEP-0128).
    pub fn extended_info(&mut self, entity: Entity, form: ExtendedInfo) -> &mut Self {
        self.extended.push((entity, form));
        self
    }

    /// Handles an iq with this child at once.
    pub fn iq(
        &mut self,
        entity: Entity,
        kind: IqType,
        (ns, name): (&'static str, &'static str),
        handler: fn(&Request) -> Answer,
    ) -> &mut Self {
        self.iqs.entry(ns).or_default().push((entity, kind, name, IqHandler::Now(handler)));
        self
    }

    /// Forbids requests with this child to all but the owner of an account. Whether there is the account does not show.
    pub fn forbid_others(&mut self, name: (&'static str, &'static str)) -> &mut Self {
        for entity in [Entity::OtherAccount, Entity::Nobody] {
            for kind in [IqType::Get, IqType::Set] {
                self.iq(entity, kind, name, |_| Err(StanzaError::new(Condition::Forbidden)));
            }
        }
        self
    }

    /// Handles an iq with this child by a future. The stream takes no further stanza until it is answered, so
    /// that the order is kept.
    pub fn iq_later(
        &mut self,
        entity: Entity,
        kind: IqType,
        (ns, name): (&'static str, &'static str),
        handler: fn(Request) -> BoxFuture<'static, Answer>,
    ) -> &mut Self {
        self.iqs.entry(ns).or_default().push((entity, kind, name, IqHandler::Later(handler)));
        self
    }

    /// Handles a top-level element that is not a stanza.
    pub fn nonza(&mut self, (ns, name): (&'static str, &'static str), handler: Nonza) -> &mut Self {
        self.nonzas.insert((ns, name), handler);
        self
    }

    /// Adds a stream feature, offered after authentication.
    pub fn stream_feature(&mut self, feature: StreamFeature) -> &mut Self {
        self.stream_features.push(feature);
        self
    }

    /// Lets a nonza come within the request to authenticate (XEP-0388 §2.3), and announces that. It is handled when the
    /// client is known; what it is answered with is told together with the success.
    pub fn at_login(&mut self, name: (&'static str, &'static str), feature: StreamFeature) -> &mut Self {
        self.at_login.push((name, feature));
        self
    }

    /// Takes part when a resource is bound together with the login (XEP-0386 §3.2). `feature` announces what a client
    /// may ask for; without one, nothing has to be asked.
    pub fn at_bind(&mut self, feature: Option<&'static str>, handler: AtBind) -> &mut Self {
        self.at_bind.push((feature, handler));
        self
    }

    /// Stage `admit`, both sides: may this stanza pass? The first refusal decides.
    pub fn admit(&mut self, handler: Admit) -> &mut Self {
        self.admit.push(handler);
        self
    }

    /// The same for a request to a resource of an account that does not exist: whoever refuses strangers has to refuse
    /// here with the same words, or they learn which accounts there are.
    pub fn admit_absent(&mut self, handler: AdmitAbsent) -> &mut Self {
        self.admit_absent.push(handler);
        self
    }

    /// Stage `annotate`: looks at each child of a message and removes what only we may say, or what is for us alone.
    pub fn annotate(&mut self, handler: Annotate) -> &mut Self {
        self.annotate.push(handler);
        self
    }

    /// Stage `record`, both sides: what does this log keep of the message? The first answer decides; without one,
    /// nothing is kept.
    pub fn record(&mut self, handler: Record) -> &mut Self {
        self.record.push(handler);
        self
    }

    /// Stage `record`, both sides, after the votes: what may the log keep of what was voted for?
    pub fn restrict(&mut self, handler: Restrict) -> &mut Self {
        self.restrict.push(handler);
        self
    }

    /// Stage `record`: is there something new to read in what the logs keep? One who says so is enough.
    pub fn speaks(&mut self, handler: Speaks) -> &mut Self {
        self.speaks.push(handler);
        self
    }

    /// Stage `record`, once for each log that keeps the message: further writes in the same commit.
    pub fn apply(&mut self, handler: Apply) -> &mut Self {
        self.apply.push(handler);
        self
    }

    /// Stage `reflect`: does another device of the sender get a copy?
    pub fn reflect(&mut self, handler: Deliver) -> &mut Self {
        self.reflect.push(handler);
        self
    }

    /// Stage `deliver`: does a device that the message is not addressed to get a copy?
    pub fn deliver(&mut self, handler: Deliver) -> &mut Self {
        self.deliver.push(handler);
        self
    }

    /// Stage `deliver`: what the server adds to each copy of a recorded message.
    pub fn stamp(&mut self, handler: Stamp) -> &mut Self {
        self.stamp.push(handler);
        self
    }

    /// Stage `filter`: what happens to a stanza for a device that is not looking? The first answer decides.
    pub fn filter(&mut self, handler: Filter) -> &mut Self {
        self.filter.push(handler);
        self
    }

    /// The last available device of an account left, with this presence, at this time (in microseconds since 1970).
    pub fn left(&mut self, handler: Left) -> &mut Self {
        self.left.push(handler);
        self
    }

    /// A device sent available presence to everybody, its first or another. It is shown to those who see it already, and
    /// no account is locked.
    pub fn presence(&mut self, handler: Present) -> &mut Self {
        self.present.push(handler);
        self
    }

    /// A device became interested in nodes that it was not interested in before ([`Session::set_interests`]), or became
    /// available with what interests it, or came to see a contact: it is to be told what there is of them. The connection
    /// of the device waits for the handler before it goes on, so it may read the store. What several changes bring together comes at once, sorted,
    /// each node once; the device may have lost interest, or left, meanwhile. After an error the connection ends, and what
    /// comes next to the session tells again; so the same node may come twice.
    pub fn interested(&mut self, handler: Interested) -> &mut Self {
        self.interested.push(handler);
        self
    }

    /// Keeps a value of type `T` for the whole server, in memory, found by [`Hub::server_state`].
    pub fn server_state<T: Any + Send + Sync + Default>(&mut self) -> &mut Self {
        self.server_states.push((TypeId::of::<T>(), || Box::<T>::default()));
        self
    }

    /// A device is forgotten or taken back: what is kept for it goes in the same commit.
    pub fn device_ended(&mut self, handler: DeviceEnded) -> &mut Self {
        self.device_ended.push(handler);
        self
    }

    /// An account is about to be removed, and nobody can use it any more: others forget what it was to them, before somebody
    /// else has its address. What is left when that fails comes again when it is removed again.
    pub fn removed(&mut self, handler: Removed) -> &mut Self {
        self.removed.push(handler);
        self
    }

    /// Who knows when the last device of an account left.
    pub fn last_seen(&mut self, handler: LastSeen) -> &mut Self {
        self.last_seen = Some(handler);
        self
    }

    /// How an acknowledgement and the request for one are written (XEP-0198 §4).
    pub fn acknowledgements(&mut self, ack: fn(&mut Vec<u8>, u32), request: fn(&mut Vec<u8>)) -> &mut Self {
        self.ack_writer = Some(ack);
        self.request_writer = Some(request);
        self
    }

    /// Declares a wrapping, so that saved sessions can name it.
    pub fn wrapping(&mut self, wrapping: &'static crate::outbox::Wrapping) -> &mut Self {
        self.wrappings.push(wrapping);
        self
    }

    /// Says what an entity is, beside what it is in any case (XEP-0030 §3.1): category and type.
    pub fn identity(&mut self, entity: Entity, category: &'static str, kind: &'static str) -> &mut Self {
        self.identities.push((entity, category, kind));
        self
    }

    /// What an entity is beside what it is in any case: category and type.
    pub fn identities_of(&self, entity: Entity) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.identities
            .iter()
            .filter(move |(of, ..)| *of == entity)
            .map(|(_, category, kind)| (*category, *kind))
    }

    /// What an entity announces, in order of registration.
    pub fn features_of(&self, entity: Entity) -> impl Iterator<Item = &'static str> + '_ {
        self.features.iter().filter(move |(of, _)| *of == entity).map(|(_, ns)| *ns)
    }

    /// A namespace that some extension announces, as it does.
    pub(crate) fn known_namespace(&self, ns: &str) -> Option<&'static str> {
        self.features.iter().map(|(_, known)| *known).find(|known| *known == ns)
    }

    /// The forms that extend the information about an entity.
    pub fn forms_of(&self, entity: Entity, hub: &Hub) -> Vec<Element> {
        self.extended.iter().filter(|(of, _)| *of == entity).filter_map(|(_, form)| form(hub)).collect()
    }

    /// The features of a stream after authentication.
    pub fn stream_features<'a>(&'a self, hub: &'a Hub) -> impl Iterator<Item = Element> + 'a {
        self.stream_features.iter().map(move |feature| feature(hub))
    }

    /// What a client may ask for together with authentication (XEP-0388 §2.1).
    pub fn inline_features(&self, hub: &Hub) -> Vec<Element> {
        let at_login = self.at_login.iter().map(|(_, feature)| feature(hub));
        std::iter::once(self.bind_feature()).chain(at_login).collect()
    }

    /// The elements that may come within the request to authenticate, by namespace and name.
    pub fn inline_nonzas(&self) -> Vec<(&'static str, &'static str)> {
        self.at_login.iter().map(|(name, _)| *name).collect()
    }

    /// Stage `record`: what the log of an account keeps of a message.
    pub fn keep(&self, message: &Message, account: &Account, side: Side) -> Keep {
        let mut votes = self.record.iter();
        let keep = votes.find_map(|vote| vote(message, account, side)).unwrap_or(Keep::Nothing);
        self.restrict.iter().fold(keep, |keep, restrict| restrict(keep, message, account, side))
    }

    /// The handler of a nonza.
    pub fn nonza_handler(&self, element: &Element) -> Option<Nonza> {
        self.nonzas.iter().find(|((ns, name), _)| element.is(name, ns)).map(|(_, handler)| *handler)
    }

    pub(crate) fn iq_handler(&self, entity: Entity, kind: IqType, payload: &Element) -> Option<IqHandler> {
        let handlers = self.iqs.get(payload.ns())?;
        let found = handlers
            .iter()
            .find(|(of, with, name, _)| *of == entity && *with == kind && payload.name() == *name);
        found.map(|(.., handler)| *handler)
    }
}
