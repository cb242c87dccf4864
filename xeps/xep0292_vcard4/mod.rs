//! # XEP-0292: vCard4 Over XMPP
//!
//! Follows 0.12.0 (2023-03-14). What a user tells about himself, in the format of RFC 6351, as an item of a node.
//!
//! - Stage: none; a rule of the node. What vcard-temp ([XEP-0054](crate::xep0054_vcard)) has as well is in the node alone:
//!   it is put into the older form when somebody asks for that, and a vCard that is set changes the node in the commit
//!   that stores the rest. So the two never differ.
//! - Ours: what one form does not know of the other stays where it is, also within a field that nobody changes. Units of an
//!   organisation are kept (RFC 6350 §6.6.4; §11.3.3 leaves them out). Who may not read the node sees no vCard either: a
//!   node that is closed is not opened by the older form. A node that is made for a vCard is open (§4.1), and tells without
//!   payload (§4.2.2).
//! - Left out: the picture, which has nodes of its own (XEP-0084). Fields that clients hardly have (`TZ`, `GEO`, `LOGO`,
//!   `SOUND`, `KEY`, `CATEGORIES`, `UID`, `REV`, `PRODID`, `SORT-STRING`, `AGENT`) stay in the form in which they were set.

mod mapping;

use unisono_core::error::StanzaError;
use unisono_core::extension::{Entity, Extension, Registry, Spec};
use unisono_xml::Element;

use crate::xep0060_pubsub::{Action, Change, Rule, Scene, Seen, invalid_payload};

pub(crate) use mapping::{Form, Profile};

pub const NS: &str = "urn:ietf:params:xml:ns:vcard-4.0";
/// §4.1
pub const NODE: &str = "urn:xmpp:vcard4";
/// The item of a node that has none yet.
const ITEM: &str = "current";
/// How the node is made that nobody has made yet (§4.1, §4.2.2).
const OPTIONS: &[(&str, &str)] = &[
    ("pubsub#persist_items", "true"),
    ("pubsub#max_items", "1"),
    ("pubsub#access_model", "open"),
    ("pubsub#deliver_payloads", "false"),
];

pub struct VCard4;

impl Extension for VCard4 {
    fn spec(&self) -> Spec {
        Spec::xep(292, "0.12.0")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS).account_feature(NS); // §7
    }
}

/// What makes the node say what a vCard says; nothing if it does.
pub(crate) fn change(seen: &Seen, card: &Element) -> Option<Change> {
    let said = Profile::read(card, Form::Temp);
    let last = seen.items(NODE).next_back();
    let old = last.as_ref().map(|(_, payload)| payload).filter(|payload| payload.is("vcard", NS));
    if old.is_none() && said.is_empty() {
        return None;
    }
    let new = said.write(old, Form::Four);
    let id = last.as_ref().map_or_else(|| ITEM.into(), |(id, _)| (*id).clone());
    (old != Some(&new)).then(|| Change {
        node: NODE,
        action: Action::Publish { id, payload: new },
        options: OPTIONS,
    })
}

/// A vCard that says what the node says, made of what is stored of it besides; none if that is nothing.
pub(crate) fn to_temp(stored: Option<&Element>, item: Option<&Element>) -> Option<Element> {
    let item = item.filter(|item| item.is("vcard", NS));
    let said = item.map_or_else(Profile::empty, |item| Profile::read(item, Form::Four));
    (stored.is_some() || !said.is_empty()).then(|| said.write(stored, Form::Temp))
}

/// The rule of the node.
pub(crate) struct OfVCard;

impl Rule for OfVCard {
    fn follow(&self, action: &mut Action, _: &Scene<'_>) -> Result<Vec<Change>, StanzaError> {
        match action {
            Action::Publish { payload, .. } if !payload.is("vcard", NS) => Err(invalid_payload()),
            Action::Publish { .. } | Action::Retract { .. } => Ok(Vec::new()),
        }
    }
}
