//! One TCP connection. A task owns the socket; the script talks to it through queues.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::filter::{Counters, Filter, Verdict};
use super::{Sabotage, Trace, tls};
use crate::xml::{Document, Element, Event, Reader, fragment};

/// What arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// The server's stream header.
    Open(Element),
    Element(Element),
    /// `</stream:stream>`
    Close,
    /// The connection ended, or what came was not XML; the text says how.
    End(String),
}

pub(crate) struct Options {
    /// The name of the device in traces.
    pub(crate) name: String,
    pub(crate) counters: Arc<Counters>,
    pub(crate) answers_acks: bool,
    pub(crate) trace: Trace,
    pub(crate) sabotage: Sabotage,
    pub(crate) timeout: Duration,
}

pub(crate) struct Connection {
    commands: mpsc::UnboundedSender<Command>,
    incoming: mpsc::UnboundedReceiver<Incoming>,
    synced: mpsc::UnboundedReceiver<String>,
    counters: Arc<Counters>,
    timeout: Duration,
}

enum Command {
    Send(Vec<u8>),
    StartTls { domain: String, done: oneshot::Sender<Result<()>> },
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

impl Connection {
    /// Connects to a port on this machine; `direct_tls` names the domain for a handshake at once.
    pub(crate) async fn open(address: &str, direct_tls: Option<&str>, options: Options) -> Result<Self> {
        let tcp =
            TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        tcp.set_nodelay(true)?;
        let socket: Box<dyn Socket> = match direct_tls {
            None => Box::new(tcp),
            Some(domain) => Box::new(handshake(tcp, domain, true).await?),
        };
        let (commands, command_queue) = mpsc::unbounded_channel();
        let (incoming_queue, incoming) = mpsc::unbounded_channel();
        let (sync_queue, synced) = mpsc::unbounded_channel();
        let counters = Arc::clone(&options.counters);
        let (reading, writing) = tokio::io::split(socket);
        let task = Task {
            reading,
            writing,
            outgoing: Vec::new(),
            needs_flush: false,
            has_closed: false,
            reader: Reader::new(Document::Stream),
            filter: Filter { counters: options.counters, answers_acks: options.answers_acks },
            incoming: incoming_queue,
            synced: sync_queue,
            name: options.name,
            trace: options.trace,
            sabotage: options.sabotage,
        };
        tokio::spawn(task.run(command_queue));
        Ok(Self { commands, incoming, synced, counters, timeout: options.timeout })
    }

    /// Sends bytes as they are. An ended connection shows when something is expected from it.
    pub(crate) fn send_raw(&self, bytes: Vec<u8>) {
        // The task is gone when the connection has ended; then the bytes have no road.
        let _ = self.commands.send(Command::Send(bytes));
    }

    /// Sends elements, and counts the stanzas among them.
    pub(crate) fn send(&self, xml: &str) -> Result<()> {
        for element in fragment(xml).map_err(|why| anyhow!("cannot send {xml}: {why}"))? {
            self.counters.on_send(&element);
        }
        self.send_raw(xml.as_bytes().to_vec());
        Ok(())
    }

    pub(crate) async fn start_tls(&self, domain: &str) -> Result<()> {
        let (done, result) = oneshot::channel();
        let _ = self.commands.send(Command::StartTls { domain: domain.to_owned(), done });
        let result = tokio::time::timeout(self.timeout, result).await.context("no TLS handshake in time")?;
        result.context("the connection ended before the TLS handshake")?
    }

    /// What arrives next, or `None` after the timeout.
    pub(crate) async fn next(&mut self) -> Option<Incoming> {
        tokio::time::timeout(self.timeout, self.incoming.recv()).await.ok().map(|incoming| {
            incoming.unwrap_or_else(|| Incoming::End("the connection has ended before".to_owned()))
        })
    }

    /// What has arrived already.
    pub(crate) fn try_next(&mut self) -> Option<Incoming> {
        self.incoming.try_recv().ok()
    }

    /// The next element; anything else is an error.
    pub(crate) async fn next_element(&mut self) -> Result<Element> {
        match self.next().await {
            Some(Incoming::Element(element)) => Ok(element),
            Some(Incoming::Open(_)) => bail!("a stream header where an element was expected"),
            Some(Incoming::Close) => bail!("the server closed the stream"),
            Some(Incoming::End(why)) => bail!("{why}"),
            None => bail!("nothing came within {:?}", self.timeout),
        }
    }

    /// Waits for the answer to the runner's ping of this id.
    pub(crate) async fn synced(&mut self, id: &str) -> Result<()> {
        let wait = async {
            while let Some(got) = self.synced.recv().await {
                if got == id {
                    return Ok(());
                }
            }
            Err(anyhow!("the connection ended before a ping was answered"))
        };
        tokio::time::timeout(self.timeout, wait).await.context("a ping was not answered in time")?
    }
}

async fn handshake<S: Socket>(
    socket: S,
    domain: &str,
    is_direct: bool,
) -> Result<tokio_rustls::client::TlsStream<S>> {
    let name = ServerName::try_from(domain.to_owned()).context("the domain is no host name")?;
    let connector = tls::connector(is_direct).context("cannot set TLS up")?;
    connector.connect(name, socket).await.context("the TLS handshake failed")
}

/// Writes some of the bytes, or flushes when there are none. Nothing is lost when it is cancelled.
async fn push(writing: &mut WriteHalf<Box<dyn Socket>>, bytes: &[u8]) -> std::io::Result<usize> {
    if bytes.is_empty() { writing.flush().await.map(|()| 0) } else { writing.write(bytes).await }
}

struct Task {
    reading: ReadHalf<Box<dyn Socket>>,
    writing: WriteHalf<Box<dyn Socket>>,
    outgoing: Vec<u8>,
    needs_flush: bool,
    has_closed: bool,
    reader: Reader,
    filter: Filter,
    incoming: mpsc::UnboundedSender<Incoming>,
    synced: mpsc::UnboundedSender<String>,
    name: String,
    trace: Trace,
    sabotage: Sabotage,
}

impl Task {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let ended = tokio::select! {
                command = commands.recv() => match command {
                    None => return self.finish().await,
                    Some(Command::Send(bytes)) => {
                        self.queue(&bytes);
                        None
                    }
                    Some(Command::StartTls { domain, done }) => {
                        let Some(secured) = self.start_tls(&domain, done).await else { return };
                        self = secured;
                        None
                    }
                },
                written = push(&mut self.writing, &self.outgoing), if self.wants_to_write() => {
                    if let Ok(length) = written {
                        self.outgoing.drain(..length);
                        self.needs_flush = length > 0;
                    } else {
                        // What the server said before it hung up is still to be read.
                        self.outgoing.clear();
                        self.needs_flush = false;
                    }
                    None
                }
                read = self.reading.read(&mut bytes) => match read {
                    Ok(0) => Some("the server ended the connection".to_owned()),
                    Ok(length) => self.receive(bytes.get(..length).unwrap_or_default()).err(),
                    Err(error) => Some(format!("the connection broke: {error}")),
                },
            };
            if let Some(why) = ended {
                self.show(Incoming::End(why));
                return;
            }
        }
    }

    fn wants_to_write(&self) -> bool {
        self.needs_flush || !self.outgoing.is_empty()
    }

    /// What was sent before the connection is dropped still goes out; TLS is not closed.
    async fn finish(mut self) {
        let write = async {
            self.writing.write_all(&self.outgoing).await?;
            self.writing.flush().await
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), write).await;
    }

    fn queue(&mut self, bytes: &[u8]) {
        self.trace.add(&self.name, "->", &String::from_utf8_lossy(bytes));
        self.has_closed |= bytes.ends_with(b"</stream:stream>");
        self.outgoing.extend_from_slice(bytes);
    }

    fn show(&self, incoming: Incoming) {
        match &incoming {
            Incoming::Open(element) | Incoming::Element(element) => {
                self.trace.add(&self.name, "<-", &element.to_string());
            }
            Incoming::Close => self.trace.add(&self.name, "<-", "</stream:stream>"),
            Incoming::End(why) => self.trace.add(&self.name, "<-", &format!("({why})")),
        }
        // Nobody listens any more when the script is over.
        let _ = self.incoming.send(incoming);
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.reader.feed(bytes);
        while let Some(event) = self.reader.next().map_err(|why| format!("the server sent bad XML: {why}"))? {
            match event {
                Event::Open(header) => self.show(Incoming::Open(header)),
                Event::Element(element) => self.judge(element),
                Event::Close => {
                    self.show(Incoming::Close);
                    if !self.has_closed {
                        self.queue(b"</stream:stream>");
                    }
                }
            }
        }
        Ok(())
    }

    fn judge(&mut self, element: Element) {
        match self.filter.judge(&element) {
            Verdict::Show => {
                for element in self.sabotage.spoil(element) {
                    self.show(Incoming::Element(element));
                }
            }
            Verdict::ShowAndRestart => {
                let mut reader = Reader::new(Document::Stream);
                reader.feed(self.reader.pending());
                self.reader = reader;
                self.show(Incoming::Element(element));
            }
            Verdict::Hide => {}
            Verdict::Answer(xml) => {
                self.sabotage.invent().into_iter().for_each(|element| self.show(Incoming::Element(element)));
                if let Ok(elements) = fragment(&xml) {
                    for element in &elements {
                        self.filter.counters.on_send(element);
                    }
                }
                self.queue(xml.as_bytes());
            }
            Verdict::Synced(id) => {
                self.sabotage.invent().into_iter().for_each(|element| self.show(Incoming::Element(element)));
                let _ = self.synced.send(id);
            }
        }
    }

    /// Puts TLS over the socket; `None` when that failed and the connection is over.
    async fn start_tls(mut self, domain: &str, done: oneshot::Sender<Result<()>>) -> Option<Self> {
        if !self.reader.pending().trim_ascii().is_empty() {
            let _ = done.send(Err(anyhow!("bytes in the clear before the TLS handshake")));
            return None;
        }
        let (outgoing, socket) = (std::mem::take(&mut self.outgoing), self.reading.unsplit(self.writing));
        let secured = async {
            let mut socket = socket;
            socket.write_all(&outgoing).await.context("cannot write")?;
            handshake(socket, domain, false).await
        };
        match secured.await {
            Ok(socket) => {
                let (reading, writing) = tokio::io::split(Box::new(socket) as Box<dyn Socket>);
                let _ = done.send(Ok(()));
                Some(Self { reading, writing, outgoing: Vec::new(), ..self })
            }
            Err(error) => {
                self.trace.add(&self.name, "<-", &format!("({error:#})"));
                let _ = done.send(Err(error));
                None
            }
        }
    }
}
