//! # XEP-0030: Service Discovery
//!
//! Follows 2.5.0 (2024-04-30). What the server and its accounts are, and what they can do.
//!
//! - The features stand beside their handlers, in the extensions; this module only tells them.
//! - The items of an account are its resources, for those who may see them (§4.1, §8), and its nodes (XEP-0060), for those
//!   who may read them. Who may not see the account sees nodes that are open to everybody. The items of the server are the
//!   services and components below its domain; those of a service are its nodes.
//! - Other nodes are those of entity capabilities (XEP-0115), and what extensions hand over as [`Nodes`].

use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::hub::Hub;
use unisono_core::jid::Jid;
use unisono_core::session::Session;
use unisono_core::stanza::IqType;
use unisono_xml::{Element, ElementBuilder, XML_NS};

use crate::xep0059_result_sets::Wanted;
use crate::{xep0060_pubsub, xep0092_version, xep0115_caps, xep0390_caps2};

pub const NS_INFO: &str = "http://jabber.org/protocol/disco#info";
pub const NS_ITEMS: &str = "http://jabber.org/protocol/disco#items";

pub struct Disco;

impl Extension for Disco {
    fn spec(&self) -> Spec {
        Spec::xep(30, "2.5.0")
    }

    fn register(&self, on: &mut Registry) {
        let service = Entity::Service(xep0060_pubsub::SERVICE);
        for entity in [Entity::Server, Entity::OwnAccount, Entity::OtherAccount, service] {
            on.feature(entity, NS_INFO).feature(entity, NS_ITEMS);
            on.iq(entity, IqType::Get, (NS_INFO, "query"), info);
            on.iq_later(entity, IqType::Get, (NS_ITEMS, "query"), |request| Box::pin(items(request)));
        }
        // §8, rule 2: even who does not exist has no items.
        on.iq_later(Entity::Nobody, IqType::Get, (NS_ITEMS, "query"), |request| Box::pin(items(request)));
    }
}

/// What an entity is (§3.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity {
    pub category: &'static str,
    pub kind: &'static str,
    /// Empty if the name is of no language.
    pub lang: &'static str,
    /// Empty if it has none.
    pub name: &'static str,
}

impl Identity {
    fn to_element(self) -> Element {
        let element =
            Element::builder("identity", NS_INFO).attr("category", self.category).attr("type", self.kind);
        let element = match self.lang {
            "" => element,
            lang => element.attr_ns(XML_NS, "lang", lang),
        };
        element.attr_opt("name", Some(self.name).filter(|name| !name.is_empty())).build()
    }
}

/// What there is to say about an entity.
pub struct Info {
    pub identities: Vec<Identity>,
    pub features: Vec<&'static str>,
    /// XEP-0128.
    pub forms: Vec<Element>,
}

impl Info {
    /// As it is answered (§3.1), with the node that was asked for.
    pub(crate) fn to_query(&self, node: Option<&str>) -> Element {
        let identities = self.identities.iter().map(|identity| identity.to_element());
        let feature = |ns: &&'static str| Element::builder("feature", NS_INFO).attr("var", *ns).build();
        Element::builder("query", NS_INFO)
            .attr_opt("node", node)
            .children(identities)
            .children(self.features.iter().map(feature))
            .children(self.forms.iter().cloned())
            .build()
    }

    /// Whether this is the node of an announced hash (XEP-0115 §6.2, XEP-0390 §4.3).
    fn is_announced_as(&self, node: &str) -> bool {
        node == xep0115_caps::node(self) || xep0390_caps2::nodes(self).any(|announced| announced == node)
    }
}

/// A node of an entity.
#[derive(Default)]
pub struct Node {
    pub identities: Vec<Identity>,
    pub features: Vec<&'static str>,
    /// `<item/>`s, as [`item`] makes them.
    pub items: Vec<Element>,
    /// It is there, and not for who asks.
    pub is_forbidden: bool,
}

/// Nodes of an entity, for those who may see it (handed over by [`Registry::hand`]): finds one for who asks.
pub struct Nodes {
    pub of: Entity,
    pub find: fn(&Request, &str) -> Option<Node>,
}

/// An item that is a node.
pub fn item(jid: &str, node: &str, name: &str) -> Element {
    Element::builder("item", NS_ITEMS).attr("jid", jid).attr("node", node).attr("name", name).build()
}

/// The node that is asked for.
fn node_of(request: &Request, node: &str) -> Option<Node> {
    let finders = request.hub.registry.handed::<Nodes>().filter(|nodes| nodes.of == request.entity);
    finders.map(|nodes| nodes.find).find_map(|find| find(request, node))
}

/// All there is to say about an entity.
pub fn info_of(hub: &Hub, entity: Entity) -> Info {
    let identity = match entity {
        Entity::Server => Some(Identity {
            category: "server",
            kind: "im",
            name: xep0092_version::NAME,
            ..Identity::default()
        }),
        Entity::OwnAccount | Entity::OtherAccount | Entity::Nobody => {
            Some(Identity { category: "account", kind: "registered", ..Identity::default() })
        }
        // What it is, it says itself.
        Entity::Service(_) => None,
    };
    let mut features: Vec<_> = hub.registry.features_of(entity).collect();
    features.sort_unstable();
    features.dedup();
    let more = hub.registry.identities_of(entity);
    let more = more.map(|(category, kind)| Identity { category, kind, ..Identity::default() });
    let identities = identity.into_iter().chain(more).collect();
    Info { identities, features, forms: hub.registry.forms_of(entity, hub) }
}

/// §3
fn info(request: &Request) -> Answer {
    if let (Some(cell), Some(node)) = (&request.account, request.payload.attr("node")) {
        let info = xep0060_pubsub::node_info(&cell.lock(), &request.from().to_bare(), node);
        return match info {
            Err(error) if may_see(request) => Err(error),
            Err(_) => Err(StanzaError::new(Condition::ServiceUnavailable)),
            Ok(info) => Ok(Reply::with(info)),
        };
    }
    if !may_see(request) {
        // §8, rule 1: to a stranger, an account looks like one that does not exist.
        return Err(StanzaError::new(Condition::ServiceUnavailable));
    }
    let node = request.payload.attr("node");
    let found = node.and_then(|node| node_of(request, node));
    let is_found = found.is_some();
    let info = match found {
        Some(Node { is_forbidden: true, .. }) => return Err(StanzaError::new(Condition::Forbidden)),
        Some(Node { identities, features, .. }) => Info { identities, features, forms: Vec::new() },
        None => info_of(&request.hub, request.entity),
    };
    let is_of_caps = |node| request.entity == Entity::Server && info.is_announced_as(node);
    if !is_found && !node.is_none_or(is_of_caps) {
        return Err(StanzaError::new(Condition::ItemNotFound));
    }
    Ok(Reply::with(info.to_query(node)))
}

/// §4
async fn items(request: Request) -> Answer {
    let node = request.payload.attr("node");
    let query = Element::builder("query", NS_ITEMS).attr_opt("node", node);
    if let (Some(_), Some(node)) = (&request.account, node) {
        return match xep0060_pubsub::node_items(&request, node).await {
            Err(error) if may_see(&request) => Err(error),
            // §8, rule 2: a stranger finds nothing, whatever the account is asked for, but what is open to everybody.
            Err(_) => Ok(Reply::with(query.build())),
            Ok(items) => Ok(Reply::with(items)),
        };
    }
    if let Some(node) = node.filter(|_| may_see(&request)) {
        let found = node_of(&request, node).ok_or(StanzaError::new(Condition::ItemNotFound))?;
        return Ok(Reply::with(query.children(found.items).build()));
    }
    let mut found = match request.entity {
        Entity::OwnAccount | Entity::OtherAccount if may_see(&request) => resources(&request)?,
        Entity::Server => services(&request),
        Entity::Service(_) => return nodes_of_service(&request, query),
        Entity::Nobody | Entity::OwnAccount | Entity::OtherAccount => Vec::new(),
    };
    if let Some(cell) = &request.account {
        found.extend(xep0060_pubsub::nodes(&cell.lock(), &request.from().to_bare()));
    }
    Ok(Reply::with(query.children(found).build()))
}

/// §4: the services of this server below the domain that is asked, and the components that are connected.
fn services(request: &Request) -> Vec<Element> {
    let hub = &request.hub;
    let domain = request.iq.header.to.as_ref().map_or_else(|| request.from().domain(), Jid::domain);
    let below = format!(".{domain}");
    let hosted = hub.settings.hosted.iter().map(|hosted| hosted.jid.as_str().to_owned());
    let found = hosted.chain(hub.routes.of_house()).filter(|name| name.ends_with(&below));
    found.map(|name| Element::builder("item", NS_ITEMS).attr("jid", name).build()).collect()
}

/// The nodes of a service, page by page.
fn nodes_of_service(request: &Request, query: ElementBuilder) -> Answer {
    let wanted = Wanted::parse(&request.payload)?;
    let account = request.account()?;
    let (items, set) = xep0060_pubsub::service_nodes(&account, &request.from().to_bare(), &wanted)?;
    Ok(Reply::with(query.children(items).child_opt(set).build()))
}

/// §4.1: the available resources of an account; to itself, those that are merely connected, too.
fn resources(request: &Request) -> Result<Vec<Element>, StanzaError> {
    let is_own = request.entity == Entity::OwnAccount;
    let account = request.account()?;
    let shown = account
        .sessions()
        .filter(|session: &&Session| session.is_available() || (is_own && session.is_connected()));
    Ok(shown
        .map(|session| Element::builder("item", NS_ITEMS).attr("jid", session.jid().as_str()).build())
        .collect())
}

/// §8: whether the one who asks may know that the account exists, and what it has.
fn may_see(request: &Request) -> bool {
    match request.entity {
        Entity::Server | Entity::OwnAccount | Entity::Service(_) => true,
        Entity::OtherAccount => {
            request.account().is_ok_and(|account| account.is_seen_by(&request.from().to_bare()))
        }
        Entity::Nobody => false,
    }
}
