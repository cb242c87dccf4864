//! # XEP-0054: vcard-temp
//!
//! Follows 1.3.0 (2024-06-27). What a user tells about himself.
//!
//! - State: one document, of what nothing else knows. Only the owner may write it (§3.2).
//! - The rest is that of [XEP-0292](crate::xep0292_vcard4), and seen by who sees that: by everybody (§3.3), unless the
//!   owner closes the node.
//! - The picture is that of [XEP-0084](crate::xep0084_avatar), and seen by who sees that
//!   ([XEP-0398](crate::xep0398_avatar_conversion)).
//! - Ours: who tries to write somebody else's learns no more than who tries to read one that is not there (§3.3), so that
//!   nobody finds out which accounts there are. §3.2 would rather have `forbidden`.

use std::sync::Arc;

use compact_str::CompactString;
use unisono_core::account::{Account, Cell};
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::hub::Hub;
use unisono_core::ids::LogPosition;
use unisono_core::jid::BareJid;
use unisono_core::stanza::{CLIENT_SCOPE, IqType, OUR_LIMITS};
use unisono_core::storage::Write;
use unisono_xml::Element;

use crate::xep0060_pubsub::{changed, is_readable, keeps_items, make_for_owner};
use crate::xep0292_vcard4 as vcard4;
use crate::xep0398_avatar_conversion::{self as conversion, Photo};

pub const NS: &str = "vcard-temp";
const KIND: &str = "vcard";
/// Bytes of a vCard without its picture, with which it still fits into a stanza.
const BYTES_MAX: usize = 56 * 1024;
/// How often a vCard is read that changes meanwhile.
const READ_MAX: usize = 3;

pub struct VCards;

impl Extension for VCards {
    fn spec(&self) -> Spec {
        Spec::xep(54, "1.3.0")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS).account_feature(NS);
        on.iq_later(Entity::OwnAccount, IqType::Get, (NS, "vCard"), |request| Box::pin(get(request)));
        on.iq_later(Entity::OtherAccount, IqType::Get, (NS, "vCard"), |request| Box::pin(get(request)));
        on.iq_later(Entity::OwnAccount, IqType::Set, (NS, "vCard"), |request| Box::pin(set(request)));
    }
}

/// §3.1 and §3.3
async fn get(request: Request) -> Answer {
    match (read(&request).await?, request.entity) {
        (Some(card), _) => Ok(Reply::with(card)),
        (None, Entity::OwnAccount) => Ok(Reply::with(Element::new("vCard", NS))),
        // Whether there is such an account is not to be seen.
        (None, _) => Err(StanzaError::new(Condition::ServiceUnavailable)),
    }
}

/// What of an account who asks may see.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Look {
    photo: Option<(CompactString, CompactString)>,
    /// When the node of XEP-0292 last changed.
    changed: Option<LogPosition>,
    is_open: bool,
}

impl Look {
    fn of(account: &Account, who: &BareJid) -> Self {
        let changed = changed(account, vcard4::NODE);
        let is_open = changed.is_none() || is_readable(account, vcard4::NODE, who);
        Self { photo: conversion::item_for(account, who), changed, is_open }
    }
}

/// The vCard as who asks may see it, all of it from one moment.
async fn read(request: &Request) -> Result<Option<Element>, StanzaError> {
    let Some(cell) = &request.account else { return Ok(None) };
    let (hub, who) = (&request.hub, request.from().to_bare());
    let mut card = None;
    for _ in 0..READ_MAX {
        let (look, ticket) = {
            let account = cell.lock();
            (Look::of(&account, &who), account.last_ticket())
        };
        hub.store.wait(ticket).await;
        let stored = if look.is_open { text(hub, cell, &look).await? } else { None };
        let photo = match look.photo.clone() {
            Some(item) => conversion::photo(hub, cell, item).await?,
            None => None,
        };
        card = with_photo(stored, photo);
        if Look::of(&cell.lock(), &who) == look {
            break;
        }
    }
    Ok(card)
}

/// The vCard without its picture.
async fn text(hub: &Hub, cell: &Cell, look: &Look) -> Result<Option<Element>, StanzaError> {
    let parse = |text: &str| Element::parse(text, &CLIENT_SCOPE, &OUR_LIMITS).ok();
    let stored = hub.store.document(cell.id, KIND, "").await?;
    let item = match look.changed {
        Some(_) => hub.store.last_items(cell.id, &[vcard4::NODE]).await?.pop().flatten(),
        None => None,
    };
    let (stored, item) = (stored.as_deref().and_then(parse), item.and_then(|item| parse(&item.payload)));
    Ok(vcard4::to_temp(stored.as_ref(), item.as_ref()))
}

/// A vCard with this picture. A picture elsewhere, to which it points, is not shown beside it.
fn with_photo(card: Option<Element>, photo: Option<Element>) -> Option<Element> {
    let Some(photo) = photo else { return card };
    let card = card.unwrap_or_else(|| Element::new("vCard", NS)).to_builder();
    Some(card.retain_children(|child| !child.is("PHOTO", NS)).child(photo).build())
}

/// §3.2
async fn set(request: Request) -> Answer {
    let cell: Arc<Cell> = request.account.clone().ok_or_else(|| StanzaError::new(Condition::ItemNotFound))?;
    let photo = Photo::of_card(&request.payload)?;
    // A picture that is here has its own place; one that is elsewhere is only pointed to.
    let is_kept = |child: &Element| {
        !child.is("PHOTO", NS) || (child.has_child("EXTVAL", NS) && !child.has_child("BINVAL", NS))
    };
    let card = request.payload.to_builder().retain_children(is_kept).build();
    let value = card.to_string_in(&CLIENT_SCOPE);
    if value.len() > BYTES_MAX {
        return Err(StanzaError::new(Condition::ResourceConstraint));
    }
    let new = request.hub.random_name();
    let ticket = make_for_owner(&request.hub, &cell, request.from(), &[vcard4::NODE], |account, seen| {
        let (kind, value) = (KIND.into(), Some(value.clone()));
        let write = Write::Document { account: account.id(), kind, key: "".into(), value };
        let mut changes = conversion::changes(account, photo.as_ref(), &new);
        changes.extend(vcard4::change(seen, &card));
        if !changes.iter().all(|change| keeps_items(account, change.node)) {
            return Err(
                StanzaError::new(Condition::Conflict).with_text("a node of the profile keeps no items")
            );
        }
        Ok((changes, vec![write]))
    });
    Ok(Reply::empty().after(ticket.await?))
}
