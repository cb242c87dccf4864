//! Stanzas (RFC 6120 §8) as the server works with them: a parsed header, and the children shared.

use compact_str::CompactString;
use unisono_xml::{Attribute, Element, Limits, Scope, XML_NS, escape_attr_into};

use crate::error::{Condition, StanzaError};
use crate::jid::Jid;
use crate::record::Payload;

pub const NS_CLIENT: &str = "jabber:client";
/// XEP-0359: ids that the sender and the archives give a message.
pub const NS_STANZA_IDS: &str = "urn:xmpp:sid:0";
/// XEP-0203.
pub const NS_DELAY: &str = "urn:xmpp:delay";
pub const NS_STREAMS: &str = "http://etherx.jabber.org/streams";

/// What a client's stream declares, and what serialised payloads take for granted.
pub const CLIENT_SCOPE: Scope<'static> = Scope { default_ns: NS_CLIENT, prefixes: &[("stream", NS_STREAMS)] };

/// For what the server wrote itself: what came within the limits of a stream may have grown beyond them when it was
/// written, or wrapped.
pub const OUR_LIMITS: Limits = Limits {
    element_bytes_max: usize::MAX,
    depth_max: Limits::DEPTH_CEILING,
    attributes_max: usize::MAX,
    children_max: usize::MAX,
    name_bytes_max: usize::MAX,
    namespaces_max: usize::MAX,
    namespace_bytes_max: usize::MAX,
    tokens_max: usize::MAX,
};

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// The value of the `type` attribute; empty where the attribute is left out.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The type of this name.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

kinds! {
    /// RFC 6121 §5.2.2.
    MessageType { Normal = "normal", Chat = "chat", Groupchat = "groupchat", Headline = "headline", Error = "error" }
}

impl MessageType {
    /// Whether messages of this type are what people write to each other (XEP-0313 §6.1.1, XEP-0160 §3).
    pub fn is_conversation(self) -> bool {
        matches!(self, Self::Normal | Self::Chat)
    }
}

kinds! {
    /// RFC 6121 §4.7.1.
    PresenceType {
        Available = "", Unavailable = "unavailable", Subscribe = "subscribe", Subscribed = "subscribed",
        Unsubscribe = "unsubscribe", Unsubscribed = "unsubscribed", Probe = "probe", Error = "error",
    }
}
kinds! {
    /// RFC 6120 §8.2.3.
    IqType { Get = "get", Set = "set", Result = "result", Error = "error" }
}

/// The attributes that all stanzas have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    pub from: Jid,
    pub to: Option<Jid>,
    pub id: Option<CompactString>,
    pub lang: Option<CompactString>,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub header: Header,
    pub kind: MessageType,
    pub payload: Payload,
}

#[derive(Clone, Debug)]
pub struct Presence {
    pub header: Header,
    pub kind: PresenceType,
    /// Those that the header does not hold. Presence is passed on whole (RFC 6121 §4.3.2, on "full XML").
    pub others: Box<[Attribute]>,
    pub payload: Payload,
}

#[derive(Clone, Debug)]
pub struct Iq {
    pub header: Header,
    pub kind: IqType,
    pub payload: Payload,
}

#[derive(Clone, Debug)]
pub enum Stanza {
    Message(Message),
    Presence(Presence),
    Iq(Iq),
}

impl Stanza {
    /// Reads a stanza that a client sent. `from` is the sender's full JID, whatever the element says: the
    /// stream checks a `from` before (RFC 6120 §8.1.2.1).
    pub fn parse(element: &Element, from: Jid) -> Result<Self, StanzaError> {
        let to = match element.attr("to") {
            Some(text) => Some(text.parse().map_err(|_| StanzaError::new(Condition::JidMalformed))?),
            None => None,
        };
        let header = Header {
            from,
            to,
            id: element.attr("id").map(CompactString::from),
            lang: element.attr_ns(XML_NS, "lang").map(CompactString::from),
        };
        let payload = Payload::from_elements(element.children().cloned().collect());
        let kind = element.attr("type");
        match element.name() {
            // RFC 6121 §5.2.2: an unknown type is `normal`.
            "message" => {
                let kind = kind.and_then(MessageType::parse).unwrap_or(MessageType::Normal);
                Ok(Self::Message(Message { header, kind, payload }))
            }
            "presence" => {
                let kind = PresenceType::parse(kind.unwrap_or("")).filter(|_| kind != Some(""));
                let kind = kind.or(if element.attr("type").is_none() {
                    Some(PresenceType::Available)
                } else {
                    None
                });
                let kind = kind.ok_or(StanzaError::new(Condition::BadRequest))?;
                Ok(Self::Presence(Presence { header, kind, others: others(element), payload }))
            }
            "iq" => Self::parse_iq(header, kind, payload),
            _ => Err(StanzaError::new(Condition::BadRequest)),
        }
    }

    /// RFC 6120 §8.2.3: an iq has an id, a known type, and exactly one child if it asks.
    fn parse_iq(header: Header, kind: Option<&str>, payload: Payload) -> Result<Self, StanzaError> {
        let kind = kind.and_then(IqType::parse).ok_or(StanzaError::new(Condition::BadRequest))?;
        let asks = matches!(kind, IqType::Get | IqType::Set);
        if header.id.is_none() || (asks && payload.elements().len() != 1) {
            return Err(StanzaError::new(Condition::BadRequest));
        }
        Ok(Self::Iq(Iq { header, kind, payload }))
    }
}

/// The attributes that are not in a header.
fn others(element: &Element) -> Box<[Attribute]> {
    let of_header = |attr: &&Attribute| match attr.ns() {
        "" => matches!(attr.name(), "from" | "to" | "id" | "type"),
        ns => ns == XML_NS && attr.name() == "lang",
    };
    element.attrs().iter().filter(|attr| !of_header(attr)).cloned().collect()
}

/// Appends the start of a stanza, up to and without the `>` of its start tag. Attributes that are `None` or
/// empty are left out.
pub fn write_head(out: &mut Vec<u8>, name: &str, attributes: &[(&str, Option<&str>)]) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    for (key, value) in attributes {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            out.push(b' ');
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"='");
            escape_attr_into(out, value);
            out.push(b'\'');
        }
    }
}
