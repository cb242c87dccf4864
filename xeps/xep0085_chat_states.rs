//! # XEP-0085: Chat State Notifications
//!
//! Follows 2.1 (2009-09-23). That somebody types is news for a moment, and never recorded.
//!
//! - Stage: `record`.

use unisono_core::account::Account;
use unisono_core::extension::{Extension, Registry, Side, Spec};
use unisono_core::record::Keep;
use unisono_core::stanza::Message;

use crate::xep0184_receipts::NS as NS_RECEIPTS;
use crate::xep0334_hints::NS as NS_HINTS;

pub const NS: &str = "http://jabber.org/protocol/chatstates";

pub struct ChatStates;

impl Extension for ChatStates {
    fn spec(&self) -> Spec {
        Spec::xep(85, "2.1")
    }

    fn register(&self, on: &mut Registry) {
        on.record(keep);
    }
}

/// §5.1 and XEP-0313 §5.1.1: a state without anything else is not part of the conversation.
fn keep(message: &Message, _: &Account, _: Side) -> Option<Keep> {
    let children = message.payload.elements();
    let is_state = |ns: &str| ns == NS;
    let is_beside = |ns: &str| [NS_HINTS, NS_RECEIPTS].contains(&ns);
    let only = children
        .iter()
        .all(|child| is_state(child.ns()) || is_beside(child.ns()) || child.name() == "thread");
    (children.iter().any(|child| is_state(child.ns())) && only).then_some(Keep::Nothing)
}
