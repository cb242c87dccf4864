//! What a message says, as a device writes it and as a device reads it.

use crate::xml::{Element, NS_CLIENT, escape};

const NS_CORRECTION: &str = "urn:xmpp:message-correct:0";
const NS_RETRACTION: &str = "urn:xmpp:message-retract:1";
const NS_REACTIONS: &str = "urn:xmpp:reactions:0";
const NS_MARKERS: &str = "urn:xmpp:chat-markers:0";
const NS_RECEIPTS: &str = "urn:xmpp:receipts";
const NS_CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
const NS_HINTS: &str = "urn:xmpp:hints";
pub(super) const NS_STANZA_IDS: &str = "urn:xmpp:sid:0";

/// The `id` of a message, which is its origin-id, too: no other message of the run has it.
pub type Id = String;

/// The part of a message that makes a difference to what a device shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Text {
        body: String,
        /// Whoever gets it says so (XEP-0184).
        asks_receipt: bool,
    },
    /// XEP-0308
    Correction { of: Id, body: String },
    /// XEP-0424
    Retraction { of: Id },
    /// XEP-0444: all that the sender now thinks of a message.
    Reactions { to: Id, emojis: Vec<String> },
    /// XEP-0333: read up to here.
    Displayed { upto: Id },
    /// XEP-0184
    Receipt { of: Id },
    /// What is left of a message that was retracted (XEP-0424 §4).
    Tombstone,
    /// Nothing of these.
    Other(String),
}

impl Content {
    /// The message that this one is about.
    pub fn about(&self) -> Option<&Id> {
        match self {
            Self::Correction { of, .. } | Self::Retraction { of } | Self::Receipt { of } => Some(of),
            Self::Reactions { to, .. } => Some(to),
            Self::Displayed { upto } => Some(upto),
            Self::Text { .. } | Self::Tombstone | Self::Other(_) => None,
        }
    }

    /// The stanza as it is sent. What has no body asks to be stored, as clients do.
    pub(super) fn message(&self, to: &str, id: &str) -> String {
        let payload = match self {
            Self::Text { body, asks_receipt } => {
                let request = if *asks_receipt {
                    format!("<request xmlns='{NS_RECEIPTS}'/><markable xmlns='{NS_MARKERS}'/>")
                } else {
                    String::new()
                };
                format!("<body>{}</body>{request}", escape(body))
            }
            Self::Correction { of, body } => {
                format!("<body>{}</body><replace xmlns='{NS_CORRECTION}' id='{}'/>", escape(body), escape(of))
            }
            Self::Retraction { of } => format!(
                "<retract xmlns='{NS_RETRACTION}' id='{}'/><fallback xmlns='urn:xmpp:fallback:0' for='{NS_RETRACTION}'/>\
                 <body>took a message back</body><store xmlns='{NS_HINTS}'/>",
                escape(of)
            ),
            Self::Reactions { to, emojis } => {
                let emojis: Vec<String> =
                    emojis.iter().map(|emoji| format!("<reaction>{}</reaction>", escape(emoji))).collect();
                let emojis = emojis.concat();
                format!(
                    "<reactions xmlns='{NS_REACTIONS}' id='{}'>{emojis}</reactions><store xmlns='{NS_HINTS}'/>",
                    escape(to)
                )
            }
            Self::Displayed { upto } => {
                format!("<displayed xmlns='{NS_MARKERS}' id='{}'/><store xmlns='{NS_HINTS}'/>", escape(upto))
            }
            Self::Receipt { of } => {
                format!("<received xmlns='{NS_RECEIPTS}' id='{}'/><store xmlns='{NS_HINTS}'/>", escape(of))
            }
            Self::Tombstone => String::new(),
            Self::Other(xml) => xml.clone(),
        };
        format!(
            "<message to='{}' type='chat' id='{id}'>{payload}<origin-id xmlns='{NS_STANZA_IDS}' id='{id}'/></message>",
            escape(to),
            id = escape(id)
        )
    }

    /// A typing state: nothing that anybody keeps.
    pub(super) fn composing(to: &str) -> String {
        format!("<message to='{}' type='chat'><composing xmlns='{NS_CHAT_STATES}'/></message>", escape(to))
    }

    /// What a message says, if it is one that matters.
    pub(super) fn read(message: &Element) -> Option<Self> {
        if message.attribute("type") == Some("error") {
            // It tells of a message, and is none.
            return None;
        }
        let id_of = |element: &Element| element.attribute("id").unwrap_or_default().to_owned();
        let body = message.child(NS_CLIENT, "body").map(Element::text);
        if message.child(NS_RETRACTION, "retracted").is_some() {
            return Some(Self::Tombstone);
        }
        if let Some(retract) = message.child(NS_RETRACTION, "retract") {
            return Some(Self::Retraction { of: id_of(retract) });
        }
        if let Some(replace) = message.child(NS_CORRECTION, "replace") {
            return Some(Self::Correction { of: id_of(replace), body: body.unwrap_or_default() });
        }
        if let Some(reactions) = message.child(NS_REACTIONS, "reactions") {
            let emojis = reactions.children().map(Element::text).collect();
            return Some(Self::Reactions { to: id_of(reactions), emojis });
        }
        if let Some(displayed) = message.child(NS_MARKERS, "displayed") {
            return Some(Self::Displayed { upto: id_of(displayed) });
        }
        if let Some(received) = message.child(NS_RECEIPTS, "received") {
            return Some(Self::Receipt { of: id_of(received) });
        }
        if let Some(body) = body {
            let asks_receipt = message.child(NS_RECEIPTS, "request").is_some();
            return Some(Self::Text { body, asks_receipt });
        }
        let is_state = |child: &Element| child.ns == NS_CHAT_STATES;
        let is_nothing = message.children().all(is_state) || message.attribute("id").is_none();
        (!is_nothing).then(|| Self::Other(message.children().map(ToString::to_string).collect()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;
    use crate::xml::fragment;

    #[test]
    fn what_is_written_is_read() {
        for content in [
            Content::Text { body: "a < b & 'c'".into(), asks_receipt: true },
            Content::Text { body: String::new(), asks_receipt: false },
            Content::Correction { of: "m1".into(), body: "better".into() },
            Content::Retraction { of: "m1".into() },
            Content::Reactions { to: "m1".into(), emojis: vec!["👍".into(), "🎉".into()] },
            Content::Reactions { to: "m1".into(), emojis: vec![] },
            Content::Displayed { upto: "m1".into() },
            Content::Receipt { of: "m1".into() },
        ] {
            let message = fragment(&content.message("bob@example.org", "m2")).unwrap().remove(0);
            assert_eq!(Content::read(&message), Some(content));
            assert_eq!(message.attribute("id"), Some("m2"));
        }
    }

    #[test]
    fn what_is_no_part_of_the_conversation_is_left_out() {
        for (xml, want) in [
            (Content::composing("bob@example.org"), None),
            ("<message/>".to_owned(), None),
            ("<message id='1' type='error'><body>lost</body></message>".to_owned(), None),
            ("<message><x xmlns='urn:x'/></message>".to_owned(), None),
            (
                "<message id='1'><x xmlns='urn:x'/></message>".to_owned(),
                Some(Content::Other("<x xmlns='urn:x'/>".into())),
            ),
            (
                "<message id='1'><retracted xmlns='urn:xmpp:message-retract:1' id='2'/></message>".to_owned(),
                Some(Content::Tombstone),
            ),
        ] {
            let message = fragment(&xml).unwrap().remove(0);
            assert_eq!(Content::read(&message), want, "{xml}");
        }
    }
}
