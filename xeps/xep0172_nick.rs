//! # XEP-0172: User Nickname
//!
//! Follows 1.1 (2012-03-21). How a user wants to be called: in a node of the account, in messages, in requests to subscribe.
//!
//! - Stage: none; a rule of the node. Messages and requests pass it on as they are.
//! - Ours: what is no nickname is not taken by the node. It is not made equal to the nicknames of a vCard, of which there
//!   may be several and which others may see: the text only says that they mean the same (§3).

use unisono_core::error::StanzaError;
use unisono_core::extension::{Extension, Registry, Spec};

use crate::xep0060_pubsub::{Action, Change, Rule, Scene, invalid_payload};

pub const NS: &str = "http://jabber.org/protocol/nick";

pub struct Nickname;

impl Extension for Nickname {
    fn spec(&self) -> Spec {
        Spec::xep(172, "1.1")
    }

    fn register(&self, _: &mut Registry) {}
}

/// The rule of the node (§4.3).
pub(crate) struct OfNickname;

impl Rule for OfNickname {
    fn follow(&self, action: &mut Action, _: &Scene<'_>) -> Result<Vec<Change>, StanzaError> {
        match action {
            Action::Publish { payload, .. } if !payload.is("nick", NS) => Err(invalid_payload()),
            Action::Publish { .. } | Action::Retract { .. } => Ok(Vec::new()),
        }
    }
}
