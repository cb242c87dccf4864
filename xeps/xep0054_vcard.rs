//! # XEP-0054: vcard-temp
//!
//! Follows 1.3.0 (2024-06-27). What a user tells about himself.
//!
//! - State: one document. Everybody may read it (§3.3), only its owner may write it (§3.2).
//! - Ours: who tries to write somebody else's learns no more than who tries to read one that is not there (§3.3), so that
//!   nobody finds out which accounts there are. §3.2 would rather have `forbidden`.

use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::stanza::{CLIENT_SCOPE, IqType, OUR_LIMITS};
use unisono_core::storage::Write;
use unisono_xml::Element;

pub const NS: &str = "vcard-temp";
const KIND: &str = "vcard";
/// Bytes of a vCard; the picture in it is the most.
const BYTES_MAX: usize = 192 * 1024;

pub struct VCards;

impl Extension for VCards {
    fn spec(&self) -> Spec {
        Spec::xep(54, "1.3.0")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS).account_feature(NS);
        on.iq_later(Entity::OwnAccount, IqType::Get, (NS, "vCard"), |request| Box::pin(get(request)));
        on.iq_later(Entity::OtherAccount, IqType::Get, (NS, "vCard"), |request| Box::pin(get(request)));
        on.iq(Entity::OwnAccount, IqType::Set, (NS, "vCard"), set);
    }
}

/// §3.1 and §3.3
async fn get(request: Request) -> Answer {
    let ticket = request.account()?.last_ticket();
    request.hub.store.wait(ticket).await;
    let stored = request.hub.store.document(request.account_id()?, KIND, "").await?;
    let card = stored.and_then(|text| Element::parse(&text, &CLIENT_SCOPE, &OUR_LIMITS).ok());
    match (card, request.entity) {
        (Some(card), _) => Ok(Reply::with(card)),
        (None, Entity::OwnAccount) => Ok(Reply::with(Element::new("vCard", NS))),
        // Whether there is such an account is not to be seen.
        (None, _) => Err(StanzaError::new(Condition::ServiceUnavailable)),
    }
}

/// §3.2
fn set(request: &Request) -> Answer {
    let value = request.payload.to_string_in(&CLIENT_SCOPE);
    if value.len() > BYTES_MAX {
        return Err(StanzaError::new(Condition::ResourceConstraint));
    }
    let mut account = request.account()?;
    let write =
        Write::Document { account: account.id(), kind: KIND.into(), key: "".into(), value: Some(value) };
    let ticket = request.hub.commit(&mut account, vec![write]);
    Ok(Reply::empty().after(ticket))
}
