//! A message as it is recorded: once, whatever the number of logs and devices that it concerns.

use std::sync::{Arc, OnceLock};

use compact_str::CompactString;
use unisono_xml::{Element, Node, XmlError};

use crate::ids::{AccountId, DeviceId, LogPosition, SessionId};
use crate::jid::{BareJid, Jid};
use crate::stanza::{CLIENT_SCOPE, Message, MessageType, OUR_LIMITS};

/// The children of a stanza, parsed once and serialised once, shared by all copies.
#[derive(Clone, Debug)]
pub struct Payload(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    elements: OnceLock<Vec<Element>>,
    text: OnceLock<Box<str>>,
}

impl Payload {
    /// A payload from parsed children.
    pub fn from_elements(elements: Vec<Element>) -> Self {
        Self(Arc::new(Inner { elements: elements.into(), text: OnceLock::new() }))
    }

    /// A payload from its stored text. The text is ours, so it is not parsed until somebody asks.
    pub fn from_text(text: impl Into<Box<str>>) -> Self {
        Self(Arc::new(Inner { elements: OnceLock::new(), text: text.into().into() }))
    }

    /// The children, in order.
    pub fn elements(&self) -> &[Element] {
        self.0.elements.get_or_init(|| {
            parse_elements(self.text()).unwrap_or_else(|error| {
                tracing::error!(%error, "cannot parse a stored payload");
                Vec::new()
            })
        })
    }

    /// The serialised children, as they stand in a stanza of `jabber:client`.
    pub fn text(&self) -> &str {
        self.0.text.get_or_init(|| {
            let mut out = Vec::with_capacity(256);
            for element in self.elements_or_none() {
                element.write_into(&mut out, &CLIENT_SCOPE);
            }
            String::from_utf8(out).unwrap_or_default().into_boxed_str()
        })
    }

    /// The first child of this name.
    pub fn child(&self, name: &str, ns: &str) -> Option<&Element> {
        self.elements().iter().find(|child| child.is(name, ns))
    }

    /// Whether there is a child of this name.
    pub fn has(&self, name: &str, ns: &str) -> bool {
        self.child(name, ns).is_some()
    }

    /// The first child in a namespace.
    pub fn in_ns(&self, ns: &str) -> Option<&Element> {
        self.elements().iter().find(|child| child.ns() == ns)
    }

    fn elements_or_none(&self) -> &[Element] {
        self.0.elements.get().map_or(&[], Vec::as_slice)
    }
}

fn parse_elements(text: &str) -> Result<Vec<Element>, XmlError> {
    let nodes = Element::parse_fragment(text, &CLIENT_SCOPE, &OUR_LIMITS)?;
    Ok(nodes
        .into_iter()
        .filter_map(|node| if let Node::Element(e) = node { Some(e) } else { None })
        .collect())
}

/// What a log keeps of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// Shown in the archive, and delivered to devices that come back.
    Archive,
    /// Delivered to devices that come back, never shown in the archive (XEP-0334 §5.2, XEP-0441).
    UntilDelivered,
    /// Not recorded in this log.
    Nothing,
}

/// The entry of one message in one log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub account: AccountId,
    pub position: LogPosition,
    pub keep: Keep,
    /// The resumable sessions that this entry was queued for, each with the number that XEP-0198 counts.
    /// After a crash they tell from a client's `h` which entries it had received.
    pub deliveries: Vec<(SessionId, u32)>,
}

/// Who sent a message, if it was a device of this server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    pub device: DeviceId,
    /// The session, where it counts stanzas (XEP-0198), and how many it had sent with this one.
    pub session: Option<(SessionId, u32)>,
}

/// One recorded message, with its entry in the log of each account of this server that it concerns.
#[derive(Clone, Debug)]
pub struct MessageRecord {
    /// The full JID of the sender.
    pub from: Jid,
    pub to: Jid,
    pub id: Option<CompactString>,
    pub kind: MessageType,
    pub lang: Option<CompactString>,
    pub payload: Payload,
    /// The entry in the sender's log.
    pub sent: Option<Place>,
    /// The entry in the recipient's log. Of a message to oneself there is only this one.
    pub received: Option<Place>,
    pub origin: Option<Origin>,
    /// Whether it says something new that is to be read (XEP-0430 §4), as the extensions see it.
    pub speaks: bool,
    /// Tells a message from a repetition of itself, within the sender's account: a hash of
    /// recipient, origin-id (or id) and content. Zero where there is no id to go by.
    pub fingerprint: i64,
}

/// Which way a message went, as seen from one log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Sent,
    Received,
}

impl MessageRecord {
    /// A message that no log keeps. Without an address it is for the account of its sender.
    pub(crate) fn unrecorded(message: Message, sender: &BareJid) -> Self {
        let Message { header, kind, payload } = message;
        Self {
            from: header.from,
            to: header.to.unwrap_or_else(|| Jid::from(sender.clone())),
            id: header.id,
            kind,
            lang: header.lang,
            payload,
            sent: None,
            received: None,
            origin: None,
            speaks: false,
            fingerprint: 0,
        }
    }

    /// The entry in an account's log, and the direction.
    pub fn place(&self, account: AccountId) -> Option<(&Place, Direction)> {
        let received = self.received.as_ref().filter(|place| place.account == account);
        let sent = self.sent.as_ref().filter(|place| place.account == account);
        received.map(|place| (place, Direction::Received)).or(sent.map(|place| (place, Direction::Sent)))
    }

    /// The other party, as seen from the given direction.
    pub fn peer(&self, direction: Direction) -> &Jid {
        match direction {
            Direction::Sent => &self.to,
            Direction::Received => &self.from,
        }
    }
}
