//! # XEP-0030: Service Discovery
//!
//! Follows 2.5.0 (2024-04-30). What the server and its accounts are, and what they can do.
//!
//! - The features stand beside their handlers, in the extensions; this module only tells them.
//! - Left out: nodes other than those of entity capabilities (XEP-0115): there are none yet.

use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::hub::Hub;
use unisono_core::stanza::IqType;
use unisono_xml::Element;

use crate::xep0115_caps;

pub const NS_INFO: &str = "http://jabber.org/protocol/disco#info";
pub const NS_ITEMS: &str = "http://jabber.org/protocol/disco#items";

pub struct Disco;

impl Extension for Disco {
    fn spec(&self) -> Spec {
        Spec::xep(30, "2.5.0")
    }

    fn register(&self, on: &mut Registry) {
        for entity in [Entity::Server, Entity::OwnAccount, Entity::OtherAccount] {
            on.feature(entity, NS_INFO).feature(entity, NS_ITEMS);
            on.iq(entity, IqType::Get, (NS_INFO, "query"), info);
            on.iq(entity, IqType::Get, (NS_ITEMS, "query"), items);
        }
    }
}

/// What an entity is.
pub struct Info {
    /// Category, type and name (XEP-0030 §3.1).
    pub identities: Vec<(&'static str, &'static str, &'static str)>,
    pub features: Vec<&'static str>,
    pub forms: Vec<Element>,
}

/// All there is to say about an entity.
pub fn info_of(hub: &Hub, entity: Entity) -> Info {
    let identities = match entity {
        Entity::Server => vec![("server", "im", "Unisono")],
        Entity::OwnAccount | Entity::OtherAccount => vec![("account", "registered", "")],
    };
    let mut features: Vec<_> = hub.registry.features_of(entity).collect();
    features.sort_unstable();
    features.dedup();
    Info { identities, features, forms: hub.registry.forms_of(entity, hub) }
}

/// §3
fn info(request: &Request) -> Answer {
    may_ask(request)?;
    let info = info_of(&request.hub, request.entity);
    let node = request.payload.attr("node");
    if node.is_some_and(|node| request.entity != Entity::Server || node != xep0115_caps::node(&info)) {
        return Err(StanzaError::new(Condition::ItemNotFound));
    }
    let identities = info.identities.iter().map(|(category, kind, name)| {
        let name = Some(*name).filter(|name| !name.is_empty());
        Element::builder("identity", NS_INFO)
            .attr("category", *category)
            .attr("type", *kind)
            .attr_opt("name", name)
            .build()
    });
    let features =
        info.features.iter().map(|ns| Element::builder("feature", NS_INFO).attr("var", *ns).build());
    let query =
        Element::builder("query", NS_INFO).attr_opt("node", node).children(identities).children(features);
    Ok(Reply::with(query.children(info.forms).build()))
}

/// §4: neither the server nor an account has items of its own yet.
fn items(request: &Request) -> Answer {
    may_ask(request)?;
    if request.payload.attr("node").is_some() {
        return Err(StanzaError::new(Condition::ItemNotFound));
    }
    Ok(Reply::with(Element::new("query", NS_ITEMS)))
}

/// §8: to a stranger, an account looks like one that does not exist.
fn may_ask(request: &Request) -> Result<(), StanzaError> {
    if request.entity == Entity::OtherAccount && !request.account()?.is_seen_by(&request.from().to_bare()) {
        return Err(StanzaError::new(Condition::ServiceUnavailable));
    }
    Ok(())
}
