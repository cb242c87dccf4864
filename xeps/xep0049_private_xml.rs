//! # XEP-0049: Private XML Storage
//!
//! Follows 1.2 (2004-03-01). Elements that the clients of one account keep on the server.
//!
//! - State: one document for each name and namespace.

use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::stanza::{CLIENT_SCOPE, IqType, NS_CLIENT};
use unisono_core::storage::Write;
use unisono_xml::{Element, Limits};

pub const NS: &str = "jabber:iq:private";
/// Documents of this kind, under the name and namespace of their element.
const KIND: &str = "private";
/// Bytes of one stored element.
const BYTES_MAX: usize = 128 * 1024;

pub struct PrivateXml;

impl Extension for PrivateXml {
    fn spec(&self) -> Spec {
        Spec::xep(49, "1.2")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS).feature(Entity::OwnAccount, NS);
        on.iq(Entity::OwnAccount, IqType::Set, (NS, "query"), set);
        on.iq_later(Entity::OwnAccount, IqType::Get, (NS, "query"), |request| Box::pin(get(request)));
        // §2.3: somebody else's storage is forbidden, not merely absent.
        on.iq(Entity::OtherAccount, IqType::Set, (NS, "query"), |_| {
            Err(StanzaError::new(Condition::Forbidden))
        });
        on.iq(Entity::OtherAccount, IqType::Get, (NS, "query"), |_| {
            Err(StanzaError::new(Condition::Forbidden))
        });
    }
}

fn key(element: &Element) -> String {
    format!("{{{}}}{}", element.ns(), element.name())
}

/// §2.1: one element or more, each in a namespace of its own.
fn set(request: &Request) -> Answer {
    let elements: Vec<_> = request.payload.children().collect();
    if elements.is_empty() {
        return Err(StanzaError::new(Condition::BadRequest));
    }
    let mut account = request.account()?;
    let mut writes = Vec::new();
    for element in elements {
        // §2.3: the protocol's own namespaces are not for storing.
        if element.ns().is_empty() || element.ns() == NS_CLIENT || element.ns() == NS {
            return Err(StanzaError::new(Condition::NotAcceptable));
        }
        let value = element.to_string_in(&CLIENT_SCOPE);
        if value.len() > BYTES_MAX {
            return Err(StanzaError::new(Condition::ResourceConstraint));
        }
        let (kind, key) = (KIND.into(), key(element).into());
        writes.push(Write::Document { account: account.id(), kind, key, value: Some(value) });
    }
    let ticket = request.hub.commit(&mut account, writes);
    Ok(Reply::empty().after(ticket))
}

/// §2.2: what was stored, or the empty element that was asked for.
async fn get(request: Request) -> Answer {
    let mut children = request.payload.children();
    let (Some(wanted), None) = (children.next(), children.next()) else {
        return Err(StanzaError::new(Condition::BadRequest));
    };
    let ticket = request.account()?.last_ticket();
    request.hub.store.wait(ticket).await;
    let stored = request.hub.store.document(request.account_id()?, KIND, &key(wanted)).await?;
    let stored = stored.and_then(|text| Element::parse(&text, &CLIENT_SCOPE, &Limits::default()).ok());
    let element = stored.unwrap_or_else(|| Element::new(wanted.name(), wanted.ns()));
    Ok(Reply::with(Element::builder("query", NS).child(element).build()))
}
