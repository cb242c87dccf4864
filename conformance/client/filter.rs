//! What the client does by itself with an element that arrives, before a script sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::{NS_BIND2, NS_SASL, NS_SM, NS_TLS};
use crate::xml::{Element, NS_CLIENT, escape};

/// Ids of the runner's own pings begin so.
pub(crate) const SYNC_PREFIX: &str = "sync-";

/// The counters of XEP-0198 of one session. They outlive its connections.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    is_sending: AtomicBool,
    is_receiving: AtomicBool,
    sent: AtomicU32,
    received: AtomicU32,
}

impl Counters {
    /// Stanzas sent since `<enable/>`.
    pub(crate) fn sent(&self) -> u32 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Stanzas received since `<enabled/>`.
    pub(crate) fn received(&self) -> u32 {
        self.received.load(Ordering::SeqCst)
    }

    /// Counts what is about to be sent.
    pub(crate) fn on_send(&self, element: &Element) {
        let inline = element.child(NS_BIND2, "bind").and_then(|bind| bind.child(NS_SM, "enable"));
        if element.is(NS_SM, "enable") || inline.is_some() {
            self.sent.store(0, Ordering::SeqCst);
            self.is_sending.store(true, Ordering::SeqCst);
        } else if element.is_stanza() && self.is_sending.load(Ordering::SeqCst) {
            self.sent.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn on_receive(&self, element: &Element) {
        let inline = element.child(NS_BIND2, "bound").and_then(|bound| bound.child(NS_SM, "enabled"));
        if element.is(NS_SM, "enabled") || inline.is_some() {
            self.received.store(0, Ordering::SeqCst);
            self.is_receiving.store(true, Ordering::SeqCst);
        } else if element.is_stanza() && self.is_receiving.load(Ordering::SeqCst) {
            self.received.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// What becomes of an element.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Show,
    /// As `Show`, and the server's next byte begins a new XML document.
    ShowAndRestart,
    Hide,
    Answer(String),
    /// The answer to one of our own pings.
    Synced(String),
}

pub(super) struct Filter {
    pub(super) counters: Arc<Counters>,
    pub(super) answers_acks: bool,
}

impl Filter {
    pub(super) fn judge(&self, element: &Element) -> Verdict {
        self.counters.on_receive(element);
        if element.is(NS_SASL, "success") || element.is(NS_TLS, "proceed") {
            return Verdict::ShowAndRestart;
        }
        if element.is(NS_SM, "r") {
            return if self.answers_acks {
                Verdict::Answer(format!("<a xmlns='{NS_SM}' h='{}'/>", self.counters.received()))
            } else {
                Verdict::Hide
            };
        }
        let id = element.attribute("id").unwrap_or_default();
        if !element.is(NS_CLIENT, "iq") || !id.starts_with(SYNC_PREFIX) {
            return Verdict::Show;
        }
        match element.attribute("type") {
            Some("get") => {
                let to = element.attribute("from").map_or(String::new(), |f| format!(" to='{}'", escape(f)));
                Verdict::Answer(format!("<iq type='result' id='{}'{to}/>", escape(id)))
            }
            _ => Verdict::Synced(id.to_owned()),
        }
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
    fn our_own_traffic_is_hidden_and_nothing_else() {
        let filter = Filter { counters: Arc::default(), answers_acks: true };
        for (text, want) in [
            ("<iq type='get' id='ping-1' from='a'/>", Verdict::Show),
            (
                "<iq type='get' id='sync-1' from='a'/>",
                Verdict::Answer("<iq type='result' id='sync-1' to='a'/>".to_owned()),
            ),
            ("<iq type='error' id='sync-2'/>", Verdict::Synced("sync-2".to_owned())),
            ("<message id='sync-3'/>", Verdict::Show),
            ("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", Verdict::ShowAndRestart),
            ("<a xmlns='urn:xmpp:sm:3' h='0'/>", Verdict::Show),
        ] {
            assert_eq!(filter.judge(&fragment(text).unwrap()[0]), want, "{text}");
        }
    }

    #[test]
    fn stanzas_are_counted_from_the_moment_the_protocol_says() {
        let filter = Filter { counters: Arc::default(), answers_acks: true };
        let receive = |text: &str| filter.judge(&fragment(text).unwrap()[0]);
        receive("<message/>");
        receive("<enabled xmlns='urn:xmpp:sm:3'/>");
        receive("<message/>");
        receive("<presence/>");
        receive("<a xmlns='urn:xmpp:sm:3' h='0'/>");
        assert_eq!(
            receive("<r xmlns='urn:xmpp:sm:3'/>"),
            Verdict::Answer("<a xmlns='urn:xmpp:sm:3' h='2'/>".to_owned())
        );
        let send = |text: &str| filter.counters.on_send(&fragment(text).unwrap()[0]);
        send("<iq/>");
        send("<enable xmlns='urn:xmpp:sm:3'/>");
        send("<iq/>");
        send("<r xmlns='urn:xmpp:sm:3'/>");
        assert_eq!(filter.counters.sent(), 1);
    }
}
