//! External components (XEP-0114, version 1.6): programs that serve a domain of their own through this server.
//!
//! - The method `accept`: a component connects to us, and shows that it shares a secret. There is no TLS, so that we listen
//!   at loopback addresses alone (the configuration sees to it).
//! - What goes to its domain waits in a queue with a bound, behind the commit that it depends on; what comes from it is
//!   taken one by one, so that TCP slows a component down that is too fast.
//! - Ours: another connection with a name that is connected already is refused with `conflict`, after the handshake.
//! - What waits when a component goes comes back to its senders; what was on the wire does not, and what waited when the
//!   server was killed is in the senders' logs alone: the protocol knows no acknowledgements.
//! - Left out: the method `connect`.

mod queue;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{constant_time, digest};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use unisono_core::error::StreamCondition;
use unisono_core::hub::Hub;
use unisono_core::jid::Jid;
use unisono_core::stanza::{CLIENT_SCOPE, NS_CLIENT, NS_STREAMS, OUR_LIMITS};
use unisono_xml::{Element, Limits as XmlLimits, Node, StreamEvent, StreamReader, escape_attr_into};

use crate::ending::close;
use crate::error::{CLOSE, StreamError};
use crate::server::C2s;

use queue::Queue;

/// §3
pub const NS_ACCEPT: &str = "jabber:component:accept";
/// From the connection to the handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an element before it.
const EARLY_BYTES_MAX: usize = 4 * 1024;
/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;
/// Bytes that are read at a time.
const READ_BYTES: usize = 16 * 1024;

/// The components that may connect: domain and secret.
pub type Secrets = HashMap<String, String>;

impl C2s {
    /// Listens for components on `address` until [`C2s::stop`]. Port 0 lets the system choose; the answer is the real
    /// address.
    ///
    /// # Errors
    ///
    /// The address cannot be had.
    pub fn listen_for_components(
        self: &Arc<Self>,
        address: SocketAddr,
        secrets: Arc<Secrets>,
    ) -> io::Result<SocketAddr> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let local = listener.local_addr()?;
        tracing::info!(address = %local, "listening for components");
        self.tasks.spawn(Arc::clone(self).accept_components(listener, secrets));
        Ok(local)
    }

    async fn accept_components(self: Arc<Self>, listener: TcpListener, secrets: Arc<Secrets>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            // Whatever is wrong with one connection, or with the machine for a while, the next may be better.
            let Ok((stream, peer)) = accepted else {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let (c2s, secrets) = (Arc::clone(&self), Arc::clone(&secrets));
            self.tasks.spawn(async move {
                c2s.serve_component(stream, peer, &secrets).await;
                drop(place);
            });
        }
    }

    async fn serve_component(&self, stream: TcpStream, peer: SocketAddr, secrets: &Secrets) {
        let limits = XmlLimits { element_bytes_max: EARLY_BYTES_MAX, ..self.terms.limits.early_xml() };
        let (read, write) = stream.into_split();
        let mut incoming = Incoming { read, reader: StreamReader::new(limits), buffer: BytesMut::new() };
        let mut outgoing = Outgoing { write, is_open: false, id: self.stream_id() };
        let served = self.run_component(&mut incoming, &mut outgoing, secrets).await;
        let mut last_words = Vec::new();
        match served {
            Ok(()) => last_words.extend_from_slice(CLOSE),
            Err(None) => return,
            Err(Some(condition)) => {
                tracing::info!(%peer, condition = condition.as_str(), "the stream of a component ends");
                if !outgoing.is_open {
                    // RFC 6120 §4.9.1.2: an error has its header.
                    last_words.extend_from_slice(header("", &outgoing.id).as_bytes());
                }
                StreamError::Extension(condition, None).write_into(&mut last_words);
            }
        }
        if let Ok(mut stream) = incoming.read.reunite(outgoing.write) {
            close(&mut stream, &last_words, self.terms.limits.close_within).await;
        }
    }

    /// A stream from its header to its end; `None` where the connection broke.
    async fn run_component(
        &self,
        incoming: &mut Incoming,
        outgoing: &mut Outgoing,
        secrets: &Secrets,
    ) -> Result<(), Option<StreamCondition>> {
        let greeting = timeout(HANDSHAKE_WITHIN, greet(incoming, outgoing, secrets));
        let name = greeting.await.map_err(|_| Some(StreamCondition::ConnectionTimeout))??;
        let queue = Arc::new(Queue::default());
        if !self.hub.routes.open(&name, Arc::<Queue>::clone(&queue)) {
            return Err(Some(StreamCondition::Conflict));
        }
        let open = Open { hub: &self.hub, name: &name };
        let end = self.serve_open(incoming, outgoing, &name, &queue).await;
        drop(open);
        tracing::info!(component = name, "a component has gone");
        // What did not go out comes back.
        for stanza in queue.close() {
            if let Ok(stanza) = Element::parse(&stanza, &CLIENT_SCOPE, &OUR_LIMITS) {
                self.hub.return_to_sender(&stanza).await;
            }
        }
        end
    }

    async fn serve_open(
        &self,
        incoming: &mut Incoming,
        outgoing: &mut Outgoing,
        name: &str,
        queue: &Queue,
    ) -> Result<(), Option<StreamCondition>> {
        outgoing.write.write_all(b"<handshake/>").await.map_err(|_| None)?;
        tracing::info!(component = name, "a component has connected");
        incoming.reader.set_limits(self.terms.limits.xml());
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Err(Some(StreamCondition::SystemShutdown)),
            () = queue.overfull() => Err(Some(StreamCondition::ResourceConstraint)),
            // Before what comes: who sends much gets his answers meanwhile.
            end = pass_on(&self.hub, &mut outgoing.write, queue) => end,
            end = take_in(&self.hub, incoming, name, queue) => end,
        }
    }

    fn stream_id(&self) -> String {
        unisono_core::invitations::Invitation::token(self.hub.random.as_ref())
    }
}

/// A way that is open, until this is dropped.
struct Open<'a> {
    hub: &'a Hub,
    name: &'a str,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.hub.routes.close(self.name);
    }
}

struct Incoming {
    read: OwnedReadHalf,
    reader: StreamReader,
    buffer: BytesMut,
}

impl Incoming {
    async fn next(&mut self) -> Result<StreamEvent, Option<StreamCondition>> {
        loop {
            let event = self.reader.next(&mut self.buffer);
            if let Some(event) = event.map_err(|error| Some(StreamError::from(error).condition()))? {
                return Ok(event);
            }
            self.buffer.reserve(READ_BYTES);
            if self.read.read_buf(&mut self.buffer).await.map_err(|_| None)? == 0 {
                return Err(None);
            }
        }
    }
}

struct Outgoing {
    write: OwnedWriteHalf,
    /// Whether our header is out.
    is_open: bool,
    id: String,
}

/// §3, Example 2.
fn header(name: &str, id: &str) -> String {
    let mut from = Vec::new();
    escape_attr_into(&mut from, name);
    let from = String::from_utf8_lossy(&from);
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='{NS_ACCEPT}' xmlns:stream='{NS_STREAMS}' from='{from}' id='{id}'>"
    )
}

/// §3, Examples 1 to 4, but for the last word. Returns the name of the component.
async fn greet(
    incoming: &mut Incoming,
    outgoing: &mut Outgoing,
    secrets: &Secrets,
) -> Result<String, Option<StreamCondition>> {
    let StreamEvent::Open(opened) = incoming.next().await? else {
        return Err(Some(StreamCondition::BadFormat));
    };
    let root = opened.element();
    if !root.is("stream", NS_STREAMS) || opened.default_ns() != NS_ACCEPT {
        return Err(Some(StreamCondition::InvalidNamespace));
    }
    let name = root.attr("to").and_then(|to| to.parse::<Jid>().ok()).map(|to| to.as_str().to_owned());
    let known = name.and_then(|name| secrets.get(&name).map(|secret| (name, secret)));
    let (name, secret) = known.ok_or(Some(StreamCondition::HostUnknown))?;
    outgoing.is_open = true;
    let opening = header(&name, &outgoing.id);
    outgoing.write.write_all(opening.as_bytes()).await.map_err(|_| None)?;
    match incoming.next().await? {
        StreamEvent::Element(element) if element.is("handshake", NS_ACCEPT) => {
            let shown = element.text().trim().to_owned();
            if is_proven(&shown, &outgoing.id, secret) {
                Ok(name)
            } else {
                Err(Some(StreamCondition::NotAuthorized))
            }
        }
        StreamEvent::Element(_) => Err(Some(StreamCondition::NotAuthorized)),
        StreamEvent::Open(_) | StreamEvent::Close => Err(Some(StreamCondition::BadFormat)),
    }
}

/// §3: SHA-1 of the stream's id and the secret, in lower-case hexadecimal digits.
fn is_proven(shown: &str, id: &str, secret: &str) -> bool {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{id}{secret}").as_bytes());
    let digits = hexadecimal(hash.as_ref());
    constant_time::verify_slices_are_equal(digits.as_bytes(), shown.as_bytes()).is_ok()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
}

/// Takes what the component sends, one stanza after the other.
async fn take_in(
    hub: &Arc<Hub>,
    incoming: &mut Incoming,
    name: &str,
    queue: &Queue,
) -> Result<(), Option<StreamCondition>> {
    loop {
        match incoming.next().await? {
            StreamEvent::Element(element) => {
                let from = sender(&element, name).map_err(Some)?;
                hub.receive_from_afar(&translated(&element), from).await;
                if !queue.is_empty() {
                    tokio::task::yield_now().await;
                }
            }
            StreamEvent::Close => return Ok(()),
            StreamEvent::Open(_) => return Err(Some(StreamCondition::BadFormat)),
        }
    }
}

/// §3: a stanza has a `to`, and a `from` of the component's domain.
fn sender(element: &Element, name: &str) -> Result<Jid, StreamCondition> {
    if element.is("error", NS_STREAMS) {
        return Err(StreamCondition::UndefinedCondition);
    }
    if element.ns() != NS_ACCEPT || !matches!(element.name(), "message" | "presence" | "iq") {
        return Err(StreamCondition::UnsupportedStanzaType);
    }
    let (Some(from), Some(_)) = (element.attr("from"), element.attr("to")) else {
        return Err(StreamCondition::ImproperAddressing);
    };
    let from: Jid = from.parse().map_err(|_| StreamCondition::ImproperAddressing)?;
    if from.domain() == name { Ok(from) } else { Err(StreamCondition::InvalidFrom) }
}

/// The same in the namespace of a client's stream. Limits on what is read bound the depth.
fn translated(element: &Element) -> Element {
    let ns = if element.ns() == NS_ACCEPT { NS_CLIENT } else { element.ns() };
    let mut builder = Element::builder(element.name(), ns);
    for attr in element.attrs() {
        builder = builder.attr_ns(attr.ns(), attr.name(), attr.value());
    }
    let builder = element.nodes().iter().fold(builder, |builder, node| match node {
        Node::Element(child) => builder.child(translated(child)),
        Node::Text(text) => builder.text(text.as_str()),
    });
    builder.build()
}

/// Writes what waits, each when what it depends on is durable (promise P2).
async fn pass_on(
    hub: &Hub,
    write: &mut OwnedWriteHalf,
    queue: &Queue,
) -> Result<(), Option<StreamCondition>> {
    loop {
        hub.store.wait(queue.first().await).await;
        if let Some(stanza) = queue.pop() {
            write.write_all(stanza.as_bytes()).await.map_err(|_| None)?;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use unisono_xml::Scope;

    use super::*;

    fn element(text: &str) -> Element {
        let text = text.replacen(' ', &format!(" xmlns='{NS_ACCEPT}' "), 1);
        Element::parse(&text, &Scope::EMPTY, &XmlLimits::default()).unwrap()
    }

    #[test]
    fn the_proof_is_the_hash_of_id_and_secret() {
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, b"3BF96D32secret");
        let digits = hexadecimal(hash.as_ref());
        assert!(is_proven(&digits, "3BF96D32", "secret"));
        for wrong in ["", "secret", &digits.to_uppercase()] {
            assert!(!is_proven(wrong, "3BF96D32", "secret"), "{wrong}");
        }
        assert!(!is_proven(&digits, "3BF96D33", "secret"));
    }

    #[test]
    fn a_stanza_is_from_the_domain_of_the_component() {
        for (text, want) in [
            ("<message from='plays.test' to='a@b'/>", Ok("plays.test")),
            ("<message from='x@plays.test/y' to='a@b'/>", Ok("x@plays.test/y")),
            ("<message to='a@b'/>", Err(StreamCondition::ImproperAddressing)),
            ("<message from='plays.test'/>", Err(StreamCondition::ImproperAddressing)),
            ("<message from='@' to='a@b'/>", Err(StreamCondition::ImproperAddressing)),
            ("<message from='other.test' to='a@b'/>", Err(StreamCondition::InvalidFrom)),
            ("<message from='x.plays.test' to='a@b'/>", Err(StreamCondition::InvalidFrom)),
            ("<handshake from='plays.test' to='a@b'/>", Err(StreamCondition::UnsupportedStanzaType)),
        ] {
            let found = sender(&element(text), "plays.test").map(|from| from.as_str().to_owned());
            assert_eq!(found, want.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_stanza_is_the_same_in_the_namespace_of_clients() {
        let sent = element("<message from='p' to='a@b'><body>hi</body><x xmlns='urn:x'><y/></x></message>");
        let want = "<message from='p' to='a@b'><body>hi</body><x xmlns='urn:x'><y/></x></message>";
        assert_eq!(translated(&sent).to_string_in(&CLIENT_SCOPE), want);
    }
}
