//! Errors of stanzas and streams as values (RFC 6120 §4.9 and §8.3).

mod stanza;
mod stream;

pub use stanza::{Condition, ErrorType, StanzaError};
pub use stream::StreamCondition;

/// Qualifies the conditions and the text of a stanza error (RFC 6120 §8.3.2).
pub const NS_STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

/// Qualifies the conditions and the text of a stream error (RFC 6120 §4.9.2).
pub const NS_STREAMS_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";

/// The language of the texts that the server writes.
const TEXT_LANG: &str = "en";

#[cfg(test)]
mod tests;
