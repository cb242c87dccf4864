//! A device with a bound resource: what a client keeps of its session, and what it waits for.

use std::collections::VecDeque;
use std::io;

use minidom::Element;

use super::login::iq;
use super::message::{Said, said};
use super::{Arrival, Login, NS_CLIENT, NS_SM, NS_STREAMS, Wire};

/// What a client counts of its stream (XEP-0198).
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts {
    /// What the server calls the session.
    pub(crate) id: String,
    /// Stanzas received.
    pub(crate) handled: u32,
    /// Stanzas that the server acknowledged.
    pub(crate) acked: u32,
    sent: Vec<String>,
}

impl Counts {
    /// Stanzas sent.
    pub(crate) fn sent(&self) -> u32 {
        u32::try_from(self.sent.len()).unwrap()
    }

    /// What was sent after the first `handled` stanzas.
    pub(crate) fn after(&self, handled: u32) -> Vec<String> {
        self.sent[handled as usize..].to_vec()
    }
}

pub(crate) struct Device {
    pub(crate) wire: Wire,
    /// The full JID.
    pub(crate) jid: String,
    pub(crate) counts: Option<Counts>,
    /// Whether the server's requests for acknowledgements are answered.
    pub(crate) answers: bool,
    /// What arrived while something else was waited for.
    waiting: VecDeque<Element>,
    requests: u32,
}

/// What is left of a device whose connection is gone.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    pub(crate) jid: String,
    pub(crate) counts: Counts,
}

/// What came of an attempt to resume.
pub(crate) enum Resumption {
    Resumed(Device),
    /// The stream is authenticated and can be bound.
    Failed {
        login: Login,
        /// How many stanzas the server says it has.
        handled: Option<u32>,
        /// What the client sent and the server has not.
        unacked: Vec<String>,
    },
}

impl Device {
    pub(crate) fn new(wire: Wire, jid: String) -> Self {
        Self { wire, jid, counts: None, answers: true, waiting: VecDeque::new(), requests: 0 }
    }

    /// The bare JID.
    pub(crate) fn bare(&self) -> &str {
        self.jid.split('/').next().unwrap()
    }

    /// Sends one stanza.
    pub(crate) async fn send(&mut self, stanza: &str) {
        self.try_send(stanza).await.unwrap();
    }

    /// Sends one stanza on a connection that may be gone.
    pub(crate) async fn try_send(&mut self, stanza: &str) -> io::Result<()> {
        if let Some(counts) = &mut self.counts {
            counts.sent.push(stanza.to_owned());
        }
        self.wire.try_send(stanza).await
    }

    /// Asks for carbons, and says that it is there.
    pub(crate) async fn be_online(&mut self) {
        self.set("<enable xmlns='urn:xmpp:carbons:2'/>").await;
        self.send("<presence/>").await;
        self.settle().await;
    }

    /// Waits until the server has handled everything that was sent.
    pub(crate) async fn settle(&mut self) {
        self.ask("get", Some("example.org"), "<ping xmlns='urn:xmpp:ping'/>").await;
    }

    /// Sends a request to the own account and returns its result.
    pub(crate) async fn set(&mut self, payload: &str) -> Element {
        self.done("set", payload).await
    }

    /// The same for something that is only looked at.
    pub(crate) async fn get(&mut self, payload: &str) -> Element {
        self.done("get", payload).await
    }

    async fn done(&mut self, kind: &str, payload: &str) -> Element {
        let answer = self.ask(kind, None, payload).await;
        assert_eq!(answer.attr("type"), Some("result"), "{payload}: {}", String::from(&answer));
        answer
    }

    /// Sends a request and returns its answer. What arrives before it is kept for later.
    pub(crate) async fn ask(&mut self, kind: &str, to: Option<&str>, payload: &str) -> Element {
        self.requests += 1;
        let id = format!("request-{}", self.requests);
        self.send(&iq(kind, &id, to, payload)).await;
        self.keep_until(|element| element.name() == "iq" && element.attr("id") == Some(&id)).await
    }

    /// The next request of the server. What arrives before it is kept for later.
    pub(crate) async fn question(&mut self) -> Element {
        self.keep_until(|element| element.name() == "iq" && element.attr("type") == Some("get")).await
    }

    /// Turns on stream management with resumption.
    pub(crate) async fn enable(&mut self) {
        self.wire.send(&format!("<enable xmlns='{NS_SM}' resume='true'/>")).await;
        let enabled = self.keep_until(|element| element.ns() == NS_SM).await;
        assert_eq!((enabled.name(), enabled.attr("resume")), ("enabled", Some("true")), "{enabled:?}");
        self.counts = Some(Counts { id: enabled.attr("id").unwrap().to_owned(), ..Counts::default() });
    }

    /// Asks what the server has, and waits for the answer.
    pub(crate) async fn acknowledged(&mut self) -> u32 {
        self.wire.send(&format!("<r xmlns='{NS_SM}'/>")).await;
        self.keep_until(|element| element.is("a", NS_SM)).await;
        self.counts.as_ref().unwrap().acked
    }

    /// Waits until the server has acknowledged everything that was sent.
    pub(crate) async fn recorded(&mut self) {
        let sent = self.counts.as_ref().unwrap().sent();
        while self.acknowledged().await < sent {}
    }

    /// Tells the server what has arrived.
    pub(crate) async fn acknowledge(&mut self) {
        let handled = self.counts.as_ref().unwrap().handled;
        self.wire.send(&format!("<a xmlns='{NS_SM}' h='{handled}'/>")).await;
    }

    /// The connection is gone from one moment to the next.
    pub(crate) fn lose(self) -> Lost {
        Lost { jid: self.jid, counts: self.counts.unwrap_or_default() }
    }

    /// Reads what was underway when the server died, then the same as [`Self::lose`]. The elements are in the order in
    /// which they came.
    pub(crate) async fn outlive(mut self) -> (Vec<Element>, Lost) {
        let mut last = Vec::from(std::mem::take(&mut self.waiting));
        while let Arrival::Element(element) = self.wire.next().await {
            self.count(&element);
            last.push(element);
        }
        (last, self.lose())
    }

    /// Closes the stream as a client should.
    pub(crate) async fn close(mut self) {
        self.wire.send("</stream:stream>").await;
        while self.wire.next().await != Arrival::End {}
    }

    /// The next element that is not about counting.
    pub(crate) async fn next(&mut self) -> Element {
        if let Some(element) = self.waiting.pop_front() {
            return element;
        }
        loop {
            let element = self.receive().await;
            if !element.is("r", NS_SM) && !element.is("a", NS_SM) {
                return element;
            }
        }
    }

    /// The next element that fits; what came before is dropped.
    pub(crate) async fn find(&mut self, fits: impl Fn(&Element) -> bool) -> Element {
        loop {
            let element = self.next().await;
            if fits(&element) {
                return element;
            }
        }
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> Element {
        self.find(|element| element.name() == "message").await
    }

    /// The message with this body. A message with another body must not come before it.
    pub(crate) async fn hears(&mut self, body: &str) -> Said {
        let account = self.bare().to_owned();
        loop {
            if let Some(said) = said(&self.next().await, &account) {
                assert_eq!(said.body, body);
                return said;
            }
        }
    }

    /// All messages with a body up to the one with this body.
    pub(crate) async fn hears_until(&mut self, body: &str) -> Vec<Said> {
        let account = self.bare().to_owned();
        let mut heard = Vec::new();
        loop {
            heard.extend(said(&self.next().await, &account));
            if heard.last().is_some_and(|said| said.body == body) {
                return heard;
            }
        }
    }

    /// The stream error that ends the stream; everything before it is dropped.
    pub(crate) async fn error(&mut self) -> String {
        let error = self.find(|element| element.is("error", NS_STREAMS)).await;
        error.children().next().unwrap().name().to_owned()
    }

    /// Takes what fits out of what has arrived and was not asked for.
    pub(crate) fn take_waiting(&mut self, fits: impl Fn(&Element) -> bool) -> VecDeque<Element> {
        let (taken, kept) = std::mem::take(&mut self.waiting).into_iter().partition(fits);
        self.waiting = kept;
        taken
    }

    /// What arrived before and does not fit is kept for [`Self::next`].
    async fn keep_until(&mut self, fits: impl Fn(&Element) -> bool) -> Element {
        loop {
            let element = self.receive().await;
            if fits(&element) {
                return element;
            }
            if !element.is("r", NS_SM) && !element.is("a", NS_SM) {
                self.waiting.push_back(element);
            }
        }
    }

    /// Reads an element. Requests for acknowledgements are answered, answers noted.
    async fn receive(&mut self) -> Element {
        let element = match self.wire.next().await {
            Arrival::Element(element) => element,
            other => panic!("{}: no element came but {other:?}", self.jid),
        };
        self.count(&element);
        if self.answers && element.is("r", NS_SM) {
            self.acknowledge().await;
        }
        element
    }

    fn count(&mut self, element: &Element) {
        let Some(counts) = &mut self.counts else { return };
        if element.ns() == NS_CLIENT {
            counts.handled += 1;
        } else if element.is("a", NS_SM) {
            counts.acked = element.attr("h").unwrap().parse().unwrap();
        }
    }
}
