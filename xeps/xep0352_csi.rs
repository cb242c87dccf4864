//! # XEP-0352: Client State Indication
//!
//! Follows 1.0.0 (2020-10-14). What can wait does not wake a phone that nobody looks at.
//!
//! - Stage: `filter`. Presence waits, the newest of each sender, and so does what nodes tell (XEP-0060), the newest of each
//!   item; a typing state is left out; all else goes out at once, and takes what waits with it, so that the order is kept.
//! - Ours: what is recorded is never held back. The operator can switch it off (§3.2): `clients.when_inactive`.

use unisono_core::bind2::{JustBound, Settled};
use unisono_core::error::StreamCondition;
use unisono_core::extension::{Extension, Holding, NonzaReply, NonzaRequest, Registry, Spec, StreamState};
use unisono_core::outbox::Item;
use unisono_core::session::Session;
use unisono_core::stanza::NS_CLIENT;
use unisono_core::storage::BoxFuture;
use unisono_xml::Element;

use crate::{xep0085_chat_states, xep0280_carbons, xep0297_forwarding};

pub const NS: &str = "urn:xmpp:csi:0";

pub struct ClientState;

impl Extension for ClientState {
    fn spec(&self) -> Spec {
        Spec::xep(352, "1.0.0")
    }

    fn register(&self, on: &mut Registry) {
        on.stream_feature(|_| Element::new("csi", NS));
        on.nonza((NS, "active"), |request| switch(&request, false));
        on.nonza((NS, "inactive"), |request| switch(&request, true));
        on.at_bind(Some(NS), begin);
        on.filter(hold);
    }
}

/// §4.2: there is no answer.
fn switch(request: &NonzaRequest, inactive: bool) -> BoxFuture<'static, NonzaReply> {
    let mut reply = NonzaReply::default();
    match &request.stream {
        StreamState::Bound(session) => {
            // §3.2: the operator decides whether it makes a difference.
            request.hub.set_inactive(session, inactive && request.hub.settings.spares_inactive);
        }
        StreamState::Authenticated { .. } => {}
        StreamState::Unauthenticated => reply.error = Some((StreamCondition::NotAuthorized, None)),
    }
    Box::pin(std::future::ready(reply))
}

/// XEP-0386 §3.2: the session begins in the state that the client names; without a word it is active (§4.2).
fn begin(bound: &mut JustBound<'_>) -> Settled {
    let is_spared = bound.hub.settings.spares_inactive;
    if bound.request.has_child("inactive", NS)
        && let Some(session) = bound.account.session_mut(bound.session)
    {
        session.set_inactive(is_spared);
    }
    Settled::Nothing
}

/// §3.2
fn hold(item: &Item, _: &Session) -> Option<Holding> {
    match item {
        Item::Stanza { element, .. } => judge(element),
        // What nodes tell waits like presence (XEP-0060); what a newer one says as well makes way for it.
        Item::Shared { .. } => Some(Holding::Replaceable),
        Item::Logged { .. } | Item::Text(_) => None,
    }
}

fn judge(element: &Element) -> Option<Holding> {
    match (element.name(), element.attr("type")) {
        ("presence", None | Some("unavailable")) => Some(Holding::Replaceable),
        ("message", Some("error")) => None,
        ("message", _) => {
            let element = forwarded(element).unwrap_or(element);
            xep0085_chat_states::is_standalone(element.children()).then_some(Holding::Drop)
        }
        _ => None,
    }
}

/// The message in a copy of one (XEP-0280).
fn forwarded(element: &Element) -> Option<&Element> {
    let copy =
        element.child("sent", xep0280_carbons::NS).or(element.child("received", xep0280_carbons::NS))?;
    copy.child("forwarded", xep0297_forwarding::NS)?.child("message", NS_CLIENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::element;

    #[test]
    fn what_waits() {
        for (text, verdict) in [
            ("<presence from='bob@example.org/a'/>", Some(Holding::Replaceable)),
            ("<presence from='bob@example.org/a' type='unavailable'/>", Some(Holding::Replaceable)),
            ("<presence from='bob@example.org' type='subscribe'/>", None),
            ("<presence from='bob@example.org/a' type='error'/>", None),
            ("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>", None),
            (
                "<message type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
                Some(Holding::Drop),
            ),
            (
                "<message><body>hi</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>",
                None,
            ),
            (
                "<message><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
                 <message xmlns='jabber:client'><active xmlns='http://jabber.org/protocol/chatstates'/></message>\
                 </forwarded></received></message>",
                Some(Holding::Drop),
            ),
            ("<message type='error'><paused xmlns='http://jabber.org/protocol/chatstates'/></message>", None),
            ("<message/>", None),
        ] {
            assert_eq!(judge(&element(text)), verdict, "{text}");
        }
    }

    /// What clients add to a typing state does not make it worth waking a phone.
    #[test]
    fn typing_states_as_clients_send_them() {
        let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        for (client, beside) in [
            ("Conversations", "<no-store xmlns='urn:xmpp:hints'/><no-storage xmlns='urn:xmpp:hints'/>"),
            (
                "Gajim",
                "<no-store xmlns='urn:xmpp:hints'/><origin-id xmlns='urn:xmpp:sid:0' id='1'/><thread>t</thread>",
            ),
            (
                "Gajim, in a room",
                "<no-store xmlns='urn:xmpp:hints'/><x xmlns='http://jabber.org/protocol/muc#user'/>",
            ),
            ("Dino", "<no-copy xmlns='urn:xmpp:hints'/><no-store xmlns='urn:xmpp:hints'/>"),
            ("Monal", "<no-store xmlns='urn:xmpp:hints'/>"),
            (
                "a room",
                "<stanza-id xmlns='urn:xmpp:sid:0' id='1'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='2'/>",
            ),
        ] {
            for text in [format!("{state}{beside}"), format!("{beside}{state}")] {
                let message = format!("<message type='chat' id='1'>{text}</message>");
                assert_eq!(judge(&element(&message)), Some(Holding::Drop), "{client}");
                let body = format!("<message type='chat' id='1'>{text}<body>hi</body></message>");
                assert_eq!(judge(&element(&body)), None, "{client}");
            }
        }
    }
}
