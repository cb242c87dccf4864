//! # XEP-0085: Chat State Notifications
//!
//! Follows 2.1 (2009-09-23). That somebody types is news for a moment, and never recorded.
//!
//! - Stage: `record`, the first vote (§5.8): not even a hint of the sender makes it more than that.
//! - The server makes no states of its own (§5.8). The feature is one of clients (§4).

use unisono_core::account::Account;
use unisono_core::extension::{Extension, Registry, Side, Spec};
use unisono_core::record::Keep;
use unisono_core::stanza::{Message, NS_CLIENT};
use unisono_xml::Element;

use crate::{
    xep0184_receipts, xep0203_delay, xep0280_carbons, xep0333_markers, xep0334_hints, xep0359_stanza_ids,
};

pub const NS: &str = "http://jabber.org/protocol/chatstates";

/// XEP-0421: who wrote it, by the room's word.
const NS_OCCUPANT: &str = "urn:xmpp:occupant-id:0";

pub struct ChatStates;

impl Extension for ChatStates {
    fn spec(&self) -> Spec {
        Spec::xep(85, "2.1")
    }

    fn register(&self, on: &mut Registry) {
        on.record(keep);
    }
}

fn keep(message: &Message, _: &Account, _: Side) -> Option<Keep> {
    is_standalone(message.payload.elements()).then_some(Keep::Nothing)
}

/// §5.6: a notification without a content. What clients add to any message does not make it one.
pub(crate) fn is_standalone<'a>(children: impl IntoIterator<Item = &'a Element>) -> bool {
    let mut states = 0_usize;
    let mut others = children.into_iter().filter(|child| {
        states = states.saturating_add(usize::from(is_state(child)));
        !is_state(child)
    });
    others.all(is_beside) && states > 0
}

fn is_state(child: &Element) -> bool {
    child.ns() == NS
}

fn is_beside(child: &Element) -> bool {
    child.is("thread", NS_CLIENT) // §5.6, rule 3
        || child.is("request", xep0184_receipts::NS)
        || child.is("markable", xep0333_markers::NS)
        || child.is("private", xep0280_carbons::NS)
        || child.is("x", xep0280_carbons::NS_MUC_USER) && child.nodes().is_empty() // private, in a room
        || [xep0334_hints::NS, xep0359_stanza_ids::NS, xep0203_delay::NS, NS_OCCUPANT].contains(&child.ns())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message;

    #[test]
    fn a_state_alone_is_not_recorded() {
        let state = |name: &str| format!("<{name} xmlns='{NS}'/>");
        for (payload, alone) in [
            (state("active"), true),
            (state("composing"), true),
            (state("paused"), true),
            (state("inactive"), true),
            (state("gone"), true),
            (format!("<thread>t</thread>{}", state("composing")), true),
            (format!("{}<no-store xmlns='urn:xmpp:hints'/>", state("composing")), true),
            (format!("{}<store xmlns='urn:xmpp:hints'/>", state("composing")), true),
            (format!("{}<origin-id xmlns='urn:xmpp:sid:0' id='1'/>", state("composing")), true),
            (format!("{}<request xmlns='urn:xmpp:receipts'/>", state("composing")), true),
            (format!("{}<markable xmlns='urn:xmpp:chat-markers:0'/>", state("composing")), true),
            (format!("{}<private xmlns='urn:xmpp:carbons:2'/>", state("composing")), true),
            (format!("{}<x xmlns='http://jabber.org/protocol/muc#user'/>", state("paused")), true),
            (format!("<occupant-id xmlns='urn:xmpp:occupant-id:0' id='1'/>{}", state("paused")), true),
            (
                format!("{}<x xmlns='http://jabber.org/protocol/muc#user'><invite/></x>", state("paused")),
                false,
            ),
            (format!("{}<body>hi</body>", state("active")), false),
            (format!("{}<subject>news</subject>", state("active")), false),
            (format!("{}<received xmlns='urn:xmpp:receipts' id='1'/>", state("active")), false),
            (format!("{}<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", state("active")), false),
            (format!("{}<data xmlns='urn:example'/>", state("active")), false),
            ("<thread>t</thread>".into(), false),
            ("<composing xmlns='urn:example'/>".into(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_standalone(message("chat", &payload).payload.elements()), alone, "{payload}");
        }
    }
}
