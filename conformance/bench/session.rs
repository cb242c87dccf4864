//! A light client: one TLS connection, no tree of elements, no task of its own.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::ready;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::scan::{self, Piece, Scanner};
use crate::client::{NS_BIND, NS_SASL, NS_SM, ScramSha1, tls_config};
use crate::xml::{NS_CLIENT, NS_STREAM, escape};

/// How long one step of a login may take. A server that is busy with thousands of them is slow.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

const READ_BYTES: usize = 16 * 1024;

/// Where a server listens for TLS at once, and how to connect there.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) domain: String,
    address: SocketAddr,
    connector: TlsConnector,
}

impl Door {
    pub(super) fn new(domain: &str, address: SocketAddr) -> Result<Self> {
        let mut config = tls_config(true).context("cannot set TLS up")?;
        // Each handshake is a full one: nobody's login is cheaper by an earlier one.
        config.resumption = Resumption::disabled();
        Ok(Self { domain: domain.to_owned(), address, connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Connects from one of several addresses of this machine: one alone has 28,000 ports.
    async fn connect(&self, source: u8) -> Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        if source > 0 && self.address.ip().is_loopback() {
            let address = Ipv4Addr::new(127, 0, 0, source.saturating_add(1));
            socket.bind(SocketAddr::new(IpAddr::V4(address), 0)).context("cannot choose the own address")?;
        }
        let tcp = socket.connect(self.address).await.context("cannot connect")?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(self.domain.clone()).context("the domain is no host name")?;
        self.connector.connect(name, tcp).await.context("the TLS handshake failed")
    }
}

/// Somebody who can log in.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) local: String,
    pub(super) jid: String,
    pub(super) password: String,
    /// What a client keeps of its first login (RFC 5802 §3).
    salted: OnceLock<Vec<u8>>,
}

impl Account {
    pub(super) fn new(local: String, domain: &str) -> Self {
        Self {
            jid: format!("{local}@{domain}"),
            password: format!("pw-{local}"),
            local,
            salted: OnceLock::new(),
        }
    }

    pub(super) fn salted(&self, challenge: &str) -> Result<&[u8]> {
        if let Some(salted) = self.salted.get() {
            return Ok(salted);
        }
        let salted = ScramSha1::salted(challenge, &self.password)?;
        Ok(self.salted.get_or_init(|| salted))
    }
}

/// What a session has once it is bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// The roster is fetched.
    pub(super) roster: bool,
    pub(super) carbons: bool,
    /// Stream management with resumption.
    pub(super) stream_management: bool,
}

/// What is left of a session whose connection is gone.
#[derive(Debug, Clone)]
pub(super) struct Former {
    pub(super) resume_id: Option<String>,
    pub(super) received: u32,
}

pub(super) struct Session {
    stream: TlsStream<TcpStream>,
    scanner: Scanner,
    outgoing: Vec<u8>,
    /// The full JID, or nothing on a road without XMPP.
    pub(super) jid: String,
    /// The stream's features that were offered last.
    features: Vec<u8>,
    /// Stanzas received since stream management began.
    pub(super) received: Option<u32>,
    /// What the server said with `<enabled/>`.
    pub(super) resume_id: Option<String>,
}

impl Session {
    /// A connection with TLS and nothing else.
    pub(super) async fn connect(door: &Door, source: u8, scanner: Scanner) -> Result<Self> {
        let stream = within("TLS", door.connect(source)).await?;
        Ok(Self {
            stream,
            scanner,
            outgoing: Vec::new(),
            jid: String::new(),
            features: Vec::new(),
            received: None,
            resume_id: None,
        })
    }

    /// A stream before its login.
    pub(super) async fn open(door: &Door, source: u8) -> Result<Self> {
        let mut session = Self::connect(door, source, Scanner::default()).await?;
        session.open_stream(&door.domain).await?;
        Ok(session)
    }

    /// TLS, SCRAM, and the features behind it.
    pub(super) async fn authenticate(door: &Door, source: u8, account: &Account) -> Result<Self> {
        let mut session = Self::open(door, source).await?;
        session.scram(account).await?;
        session.scanner.restart();
        session.open_stream(&door.domain).await?;
        Ok(session)
    }

    /// A session that is online: bound, and with what it wants.
    pub(super) async fn log_in(
        door: &Door,
        source: u8,
        account: &Account,
        resource: &str,
        wants: Wants,
    ) -> Result<Self> {
        let mut session = Self::authenticate(door, source, account).await?;
        session.bind(resource).await?;
        session.go_online(wants).await?;
        Ok(session)
    }

    pub(super) async fn bind(&mut self, resource: &str) -> Result<()> {
        let bind = format!("<bind xmlns='{NS_BIND}'><resource>{}</resource></bind>", escape(resource));
        let answer = self.request("", "set", &bind).await?;
        let jid = scan::text(&answer, "jid").context("binding gave no JID")?;
        jid.clone_into(&mut self.jid);
        Ok(())
    }

    /// All in one write, as clients that care for a quick start do.
    pub(super) async fn go_online(&mut self, wants: Wants) -> Result<()> {
        let mut open = 0_u32;
        let mut ask = |session: &mut Self, condition: bool, text: &str| {
            if condition {
                session.queue(text.as_bytes());
                open = open.saturating_add(1);
            }
        };
        ask(self, wants.roster, "<iq type='get' id='on-roster'><query xmlns='jabber:iq:roster'/></iq>");
        ask(self, wants.carbons, "<iq type='set' id='on-carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
        ask(self, wants.stream_management, &format!("<enable xmlns='{NS_SM}' resume='true' max='600'/>"));
        self.queue(b"<presence/>");
        self.flush().await?;
        while open > 0 {
            let element = within("going online", self.next_element()).await?;
            let is_answer = scan::attribute(&element, "id").is_some_and(|id| id.starts_with("on-"));
            if is_answer {
                ensure!(scan::attribute(&element, "type") == Some("result"), "refused: {}", show(&element));
            }
            if scan::name(&element) == b"failed" {
                bail!("stream management was refused: {}", show(&element));
            }
            open = open.saturating_sub(u32::from(is_answer || scan::name(&element) == b"enabled"));
        }
        Ok(())
    }

    /// Takes up a session that lost its connection. `received` is what it had received.
    /// Returns how many of its stanzas the server has handled, or `None` when it is gone.
    pub(super) async fn resume(&mut self, id: &str, received: u32) -> Result<Option<u32>> {
        self.queue(format!("<resume xmlns='{NS_SM}' h='{received}' previd='{}'/>", escape(id)).as_bytes());
        self.received = Some(received);
        self.flush().await?;
        loop {
            let element = within("resumption", self.next_element()).await?;
            let handled = || scan::attribute(&element, "h").and_then(|h| h.parse().ok());
            match scan::name(&element) {
                b"resumed" => {
                    self.resume_id = Some(id.to_owned());
                    return handled().map(Some).context("<resumed/> has no h");
                }
                b"failed" => {
                    self.received = None;
                    return Ok(None);
                }
                _ => {}
            }
        }
    }

    /// Sends an iq and returns its result; what else arrives is dropped.
    pub(super) async fn request(&mut self, to: &str, kind: &str, payload: &str) -> Result<Vec<u8>> {
        let to = if to.is_empty() { String::new() } else { format!(" to='{}'", escape(to)) };
        self.queue(format!("<iq type='{kind}' id='ask'{to}>{payload}</iq>").as_bytes());
        self.flush().await?;
        loop {
            let element = within("an answer", self.next_element()).await?;
            if scan::name(&element) == b"iq" && scan::attribute(&element, "id") == Some("ask") {
                let is_result = scan::attribute(&element, "type") == Some("result");
                ensure!(is_result, "the request was answered with {}", show(&element));
                return Ok(element);
            }
        }
    }

    /// Ends the stream and waits for the other side to do so too.
    pub(super) async fn close(mut self) -> Result<()> {
        if let Some(received) = self.received {
            // XEP-0198 §4: else what came last is taken for undelivered, and comes again.
            self.queue(format!("<a xmlns='{NS_SM}' h='{received}'/>").as_bytes());
        }
        self.queue(b"</stream:stream>");
        self.flush().await?;
        let end = async { while self.receive().await.is_ok() {} };
        // A server that only stops to answer has closed it as well as it can.
        let _ = tokio::time::timeout(Duration::from_secs(5), end).await;
        let _ = self.stream.shutdown().await;
        Ok(())
    }

    /// Answers what the server asks until it ends the stream or the connection, and ends both.
    pub(super) async fn wait_for_the_end(mut self) -> Former {
        while self.step().await.is_ok() {}
        self.queue(b"</stream:stream>");
        // The server may be gone already.
        let _ = self.flush().await;
        let _ = self.stream.shutdown().await;
        Former { resume_id: self.resume_id, received: self.received.unwrap_or(0) }
    }

    async fn step(&mut self) -> Result<()> {
        while self.next()?.is_some() {}
        self.flush().await?;
        self.receive().await
    }

    /// Loses the connection without a word to the server's XMPP: TCP is reset.
    pub(super) fn cut(self) -> Result<()> {
        self.stream.get_ref().0.set_zero_linger().context("cannot cut the connection")
    }

    pub(super) fn queue_header(&mut self, domain: &str) {
        let header = format!(
            "<?xml version='1.0'?><stream:stream to='{}' version='1.0' xmlns='{NS_CLIENT}' \
             xmlns:stream='{NS_STREAM}'>",
            escape(domain)
        );
        self.queue(header.as_bytes());
    }

    /// Whether the stream's features say so.
    pub(super) fn offers(&self, text: &str) -> bool {
        scan::contains(&self.features, text)
    }

    /// Keying material of the connection (RFC 9266 §4.2).
    pub(super) fn exported(&self, label: &[u8]) -> Result<[u8; 32]> {
        let tls = self.stream.get_ref().1;
        Ok(tls.export_keying_material([0; 32], label, None)?)
    }

    /// Stream management that began, or went on, within the login.
    pub(super) fn goes_on(&mut self, resume_id: &str, received: u32) {
        self.resume_id = Some(resume_id.to_owned());
        self.received = Some(received);
    }

    async fn open_stream(&mut self, domain: &str) -> Result<()> {
        self.queue_header(domain);
        self.flush().await?;
        self.features = within("features", self.next_element()).await?;
        ensure!(scan::name(&self.features) == b"stream:features", "no features: {}", show(&self.features));
        Ok(())
    }

    async fn scram(&mut self, account: &Account) -> Result<()> {
        ensure!(
            self.offers(&format!(">{}<", ScramSha1::NAME)),
            "{} is not offered in {}",
            ScramSha1::NAME,
            show(&self.features)
        );
        let mut scram = ScramSha1::new(&account.local)?;
        let auth =
            format!("<auth xmlns='{NS_SASL}' mechanism='{}'>{}</auth>", ScramSha1::NAME, scram.first());
        self.queue(auth.as_bytes());
        self.flush().await?;
        let element = within("SASL", self.next_element()).await?;
        let challenge = scan::text(&element, "challenge");
        let challenge = challenge.with_context(|| format!("no challenge but {}", show(&element)))?;
        let salted = account.salted(challenge)?;
        let last = scram.last(challenge, salted)?;
        self.queue(format!("<response xmlns='{NS_SASL}'>{last}</response>").as_bytes());
        self.flush().await?;
        let element = within("SASL", self.next_element()).await?;
        let success = scan::text(&element, "success");
        let success = success.with_context(|| format!("no success but {}", show(&element)))?;
        ensure!(scram.is_proven(success), "the server's signature is wrong");
        Ok(())
    }

    /// Appends to what [`Self::flush`] writes.
    pub(super) fn queue(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    /// Where messages are written without a copy.
    pub(super) fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// Writes what is queued, as one TLS record where it fits.
    pub(super) async fn flush(&mut self) -> Result<()> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        self.stream.write_all(&self.outgoing).await.context("cannot write")?;
        self.stream.flush().await.context("cannot write")?;
        if self.outgoing.capacity() > READ_BYTES {
            self.outgoing = Vec::new();
        } else {
            self.outgoing.clear();
        }
        Ok(())
    }

    /// Reads what is there, or waits for it. Nothing is lost when this is cancelled.
    pub(super) async fn receive(&mut self) -> Result<()> {
        let (stream, scanner) = (&mut self.stream, &mut self.scanner);
        // The buffer lives on the stack of each poll: thousands of waiting sessions hold none.
        let length = poll_fn(|context| {
            let mut bytes = [const { MaybeUninit::uninit() }; READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            scanner.feed(buffer.filled());
            std::task::Poll::Ready(std::io::Result::Ok(buffer.filled().len()))
        });
        match length.await {
            Ok(0) => bail!("the server ended the connection"),
            Ok(_) => Ok(()),
            Err(error) => Err(anyhow!("the connection broke: {error}")),
        }
    }

    /// The next element of those that were read. Requests for acknowledgements and pings are answered in the queue.
    pub(super) fn next(&mut self) -> Result<Option<Range<usize>>> {
        loop {
            match self.scanner.next() {
                None => return Ok(None),
                Some(Piece::Header) => {}
                Some(Piece::Close) => bail!("the server closed the stream"),
                Some(Piece::Element(range)) => {
                    self.note(range.clone())?;
                    return Ok(Some(range));
                }
            }
        }
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.scanner.bytes(range)
    }

    fn note(&mut self, range: Range<usize>) -> Result<()> {
        let element = self.scanner.bytes(range);
        match scan::name(element) {
            b"message" | b"presence" => self.count(),
            b"iq" => {
                let is_request = scan::attribute(element, "type") == Some("get");
                let answer = is_request.then(|| answer(element)).flatten();
                self.count();
                self.outgoing.extend_from_slice(answer.unwrap_or_default().as_bytes());
            }
            b"r" => {
                let received = self.received.unwrap_or(0);
                self.outgoing.extend_from_slice(format!("<a xmlns='{NS_SM}' h='{received}'/>").as_bytes());
            }
            b"enabled" => {
                self.resume_id = scan::attribute(element, "id").map(str::to_owned);
                self.received = Some(0);
            }
            b"stream:error" => bail!("the server ended the stream: {}", show(element)),
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self) {
        self.received = self.received.map(|count| count.wrapping_add(1));
    }

    pub(super) async fn next_element(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(range) = self.next()? {
                let element = self.bytes(range).to_vec();
                self.flush().await?;
                return Ok(element);
            }
            self.receive().await?;
        }
    }
}

/// The answer to a request of the server, in practice a ping.
fn answer(element: &[u8]) -> Option<String> {
    let id = scan::attribute(element, "id")?;
    let to = scan::attribute(element, "from").map(|from| format!(" to='{from}'")).unwrap_or_default();
    Some(format!("<iq type='result' id='{id}'{to}/>"))
}

pub(super) fn show(element: &[u8]) -> String {
    String::from_utf8_lossy(element).into_owned()
}

pub(super) async fn within<T>(what: &str, step: impl Future<Output = Result<T>>) -> Result<T> {
    let step = tokio::time::timeout(STEP_TIMEOUT, step).await;
    step.with_context(|| format!("{what} took more than {STEP_TIMEOUT:?}"))?
        .with_context(|| format!("during {what}"))
}
