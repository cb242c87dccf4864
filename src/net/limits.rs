//! What a client's stream may cost.

use std::time::Duration;

use unisono_xml::Limits as XmlLimits;

use crate::rate::Rate;

/// Bytes of one element before authentication, from `<` to `>`: a stream header, or a message of SASL, such as PLAIN with
/// the longest name and password. Stanzas, for which RFC 6120 §13.12 forbids a limit below 10 000, come later.
pub const STRANGER_ELEMENT_BYTES_MAX: usize = 3 * 1024;
/// Elements and attributes of such an element: what they become in memory is some ten times what they were.
const STRANGER_TOKENS_MAX: usize = 48;
/// Bytes of one element after authentication, before a resource is bound.
pub const EARLY_STANZA_BYTES_MAX: usize = 16 * 1024;

/// The limits of client streams. Each holds for one stream, except where it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one element between authentication and the binding of a resource. More ends the stream with
    /// `policy-violation`. Before authentication it is [`STRANGER_ELEMENT_BYTES_MAX`].
    pub early_stanza_bytes_max: usize,
    /// Bytes of one element of a bound stream; announced by XEP-0478.
    pub stanza_bytes_max: usize,
    /// From the first byte of the connection until the client has proven who it is, whatever it sends meanwhile.
    pub authenticate_within: Duration,
    /// From there until a resource is bound or a session resumed.
    pub bind_within: Duration,
    /// Connections before authentication, of all addresses together. More are closed at once. There may be as many
    /// again between authentication and the binding of a resource.
    pub unauthenticated_max: usize,
    /// The same for one IPv4 address or one IPv6 network of 64 bits; for one of 48 bits it is eight times as many.
    pub unauthenticated_per_address_max: usize,
    /// Attempts to authenticate that may fail (RFC 6120 §6.4.5: three to six).
    pub sasl_attempts_max: u32,
    /// How long a failure to authenticate keeps the client waiting for its answer.
    pub sasl_failure_delay: Duration,
    /// How long an attempt to authenticate waits at most where many failed before: from the same network, or for the
    /// same account. It is never more than a third of `authenticate_within`, so that a login remains possible.
    pub sasl_delay_max: Duration,
    /// Attempts to bind a resource that may fail (RFC 6120 §7.7.3: five to ten).
    pub bind_attempts_max: u32,
    /// Requests to extensions before a resource is bound, such as to resume a stream (XEP-0198 §5), that may fail.
    pub early_requests_max: u32,
    /// Iqs that are answered before authentication (XEP-0077 §3.1.1).
    pub early_iqs_max: u32,
    /// How long somebody may take to register and to authenticate, from the first of them that has a result.
    pub register_within: Duration,
    /// Connections that begin, of one IPv4 address or one IPv6 network of 64 bits, and eight times as many of one of 48
    /// bits. More are closed at once.
    pub connection_rate: Rate,
    /// Stanzas of a bound stream. What is more is read later.
    pub stanza_rate: Rate,
    /// Bytes of a bound stream. What is more is read later.
    pub byte_rate: Rate,
    /// Stanzas that are not durable yet, above which nothing more is read.
    pub window: usize,
    /// Silence of the client after which the server asks for a sign of life, and asks again; announced by XEP-0478.
    pub idle_after: Duration,
    /// How long a client that counts stanzas (XEP-0198) may take to answer when asked so.
    pub answer_within: Duration,
    /// How long TCP may fail to bring what was written to the client, until the connection is given up (on Linux). So a
    /// client whose network is dead is gone after `idle_after` and this time, whether it counts stanzas or not.
    pub unacknowledged_within: Duration,
    /// How long a connection that is being closed may take to pass on what is due to it.
    pub close_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            early_stanza_bytes_max: EARLY_STANZA_BYTES_MAX,
            stanza_bytes_max: 256 * 1024,
            authenticate_within: Duration::from_secs(10),
            bind_within: Duration::from_secs(30),
            unauthenticated_max: 10_000,
            unauthenticated_per_address_max: 100,
            sasl_attempts_max: 4,
            sasl_failure_delay: Duration::from_secs(1),
            sasl_delay_max: Duration::from_secs(3),
            bind_attempts_max: 5,
            early_requests_max: 3,
            early_iqs_max: 12,
            register_within: Duration::from_secs(180),
            connection_rate: Rate { units: 3_000, every: Duration::from_secs(60) },
            stanza_rate: Rate { units: 5_000, every: Duration::from_secs(10) },
            byte_rate: Rate { units: 10 * 1024 * 1024, every: Duration::from_secs(10) },
            window: 64,
            idle_after: Duration::from_secs(300),
            answer_within: Duration::from_secs(60),
            unacknowledged_within: Duration::from_secs(120),
            close_within: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// What is read before authentication.
    pub(crate) fn stranger_xml(&self) -> XmlLimits {
        let least = self.early_stanza_bytes_max.min(STRANGER_ELEMENT_BYTES_MAX);
        XmlLimits { element_bytes_max: least, tokens_max: STRANGER_TOKENS_MAX, ..self.early_xml() }
    }

    /// What is read before a resource is bound: a header and a few small elements.
    pub(crate) fn early_xml(&self) -> XmlLimits {
        XmlLimits {
            element_bytes_max: self.early_stanza_bytes_max,
            depth_max: 8,
            attributes_max: 32,
            children_max: 64,
            name_bytes_max: 256,
            namespaces_max: 32,
            namespace_bytes_max: 256,
            tokens_max: 256,
        }
    }

    /// What is read from a bound stream.
    pub(crate) fn xml(&self) -> XmlLimits {
        XmlLimits { element_bytes_max: self.stanza_bytes_max, ..XmlLimits::default() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

    use bytes::BytesMut;
    use unisono_core::stanza::CLIENT_SCOPE;
    use unisono_xml::{StreamEvent, StreamReader, XmlError};

    use super::*;

    /// Bytes of one stranger's element while it is read.
    const BUDGET: u64 = 16 * 1024;

    fn read(element: &str) -> (u64, Result<(), XmlError>) {
        let mut result = Ok(());
        let cost = allocation_counter::measure(|| {
            let mut reader = StreamReader::new(Limits::default().stranger_xml());
            let mut input = BytesMut::from("<r xmlns='jabber:client'>");
            input.extend(element.bytes().take(STRANGER_ELEMENT_BYTES_MAX + 1));
            result = reader.next(&mut input).and_then(|_| reader.next(&mut input)).map(|_| ());
        });
        (cost.bytes_max, result)
    }

    #[test]
    fn what_a_stranger_sends_fits_the_budget() {
        for (piece, most) in [
            ("<a/>", STRANGER_TOKENS_MAX - 1),
            ("<a/>x", STRANGER_TOKENS_MAX - 1),
            ("<a b='1234567890123456789012345'/>", STRANGER_TOKENS_MAX / 2 - 1),
            ("<a b='' c='' d=''/>x", STRANGER_TOKENS_MAX / 4 - 1),
            ("x", STRANGER_ELEMENT_BYTES_MAX - 7),
            ("\r", STRANGER_ELEMENT_BYTES_MAX - 7),
        ] {
            let element = |count: usize| format!("<a>{}</a>", piece.repeat(count));
            let (bytes, result) = read(&element(most));
            assert!(result.is_ok(), "{piece:?} {result:?}");
            assert!(bytes <= BUDGET, "{piece:?} takes {bytes}");
            let (bytes, result) = read(&element(STRANGER_ELEMENT_BYTES_MAX));
            assert!(result.is_err(), "{piece:?}");
            assert!(bytes <= BUDGET, "{piece:?} takes {bytes} until it is refused");
        }
    }

    /// What comes with a request of XEP-0388 is kept until the client has proven who it is: beside its next message.
    #[test]
    fn what_a_stranger_asks_for_fits_the_budget() {
        let wish = |piece: &str, count: usize| format!("<a><bind>{}</bind></a>", piece.repeat(count));
        for element in [
            wish("<a b='1234567890123456789012345'/>", STRANGER_TOKENS_MAX / 2 - 2),
            wish("<a/>", STRANGER_TOKENS_MAX - 2),
            wish("<a/>x", STRANGER_TOKENS_MAX - 2),
            wish("x", STRANGER_ELEMENT_BYTES_MAX - 20),
        ] {
            let cost = allocation_counter::measure(|| {
                let mut reader = StreamReader::new(Limits::default().stranger_xml());
                let mut input = BytesMut::from("<r xmlns='jabber:client'>");
                input.extend(element.bytes());
                reader.next(&mut input).unwrap();
                let request = reader.next(&mut input).unwrap();
                let Some(StreamEvent::Element(request)) = request else { panic!("{element}") };
                let kept =
                    request.first_child().map(|kept| kept.to_string_in(&CLIENT_SCOPE).into_boxed_str());
                drop((request, std::mem::take(&mut input)));
                input.extend(element.bytes());
                reader.next(&mut input).unwrap();
                drop(kept);
            });
            assert!(cost.bytes_max <= BUDGET, "{} bytes for {element}", cost.bytes_max);
        }
    }

    #[test]
    fn what_a_client_sends_to_log_in_fits_the_limits() {
        // More than any client asks for in one request: XEP-0388 with XEP-0386, 0198, 0280, 0352 and 0484.
        let login = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-256-PLUS'>\
            <initial-response>cD10bHMtZXhwb3J0ZXIsLG49dXNlcixyPTEyQzRDRDVDLUUzOEUtNEE5OC04RjZELTE1QzM4RjUxQ0NDNg==\
            </initial-response><user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>A client</software>\
            <device>A phone</device></user-agent><fast xmlns='urn:xmpp:fast:0' count='1'/>\
            <request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-EXPR'/>\
            <bind xmlns='urn:xmpp:bind:0'><tag>A client</tag><enable xmlns='urn:xmpp:sm:3' resume='true' max='600'/>\
            <enable xmlns='urn:xmpp:carbons:2'/><inactive xmlns='urn:xmpp:csi:0'/></bind>\
            <resume xmlns='urn:xmpp:sm:3' h='12' previd='some-long-sm-id'/></authenticate>";
        assert_eq!(read(login).1, Ok(()));
    }
}
