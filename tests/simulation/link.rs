//! The two ends of a connection: the server's can be torn away, the device's has logged in already.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use unisono_conformance::converge::DeviceNo;

use super::world::{DOMAIN, PASSWORD};
use crate::harness::{Exchange, Mechanism, NS_CLIENT, NS_SASL, NS_STREAMS};

/// The mechanism with which the world logs devices in: unlike PLAIN it leaves the server no work for another thread.
const MECHANISM: Mechanism = Mechanism::new("SCRAM-SHA-256", None);

/// All that devices said and heard behind their logins, byte for byte, and when.
#[derive(Clone)]
pub(super) struct Trace {
    start: Instant,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Trace {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), bytes: Arc::default() }
    }

    fn note(&self, device: DeviceNo, does: &str, said: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap();
        let line = format!("\n{:?} device {} {does} ", self.start.elapsed(), device.0);
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(said);
    }

    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.bytes.lock().unwrap())
    }
}

/// The server's end of a connection.
#[derive(Clone)]
pub(super) struct Plug(Arc<Mutex<Socket>>);

struct Socket {
    /// `None` when it is torn away.
    io: Option<DuplexStream>,
    wakers: Vec<Waker>,
}

impl Plug {
    pub(super) fn new(io: DuplexStream) -> Self {
        Self(Arc::new(Mutex::new(Socket { io: Some(io), wakers: Vec::new() })))
    }

    /// As if the process were gone: what was written arrives, and nothing else.
    pub(super) fn tear(&self) {
        let (io, wakers) = {
            let mut socket = self.0.lock().unwrap();
            (socket.io.take(), std::mem::take(&mut socket.wakers))
        };
        drop(io);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut DuplexStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut socket = self.0.lock().unwrap();
        let Some(io) = &mut socket.io else { return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())) };
        let polled = poll(Pin::new(io), cx);
        if polled.is_pending() && !socket.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            socket.wakers.push(cx.waker().clone());
        }
        polled
    }
}

impl AsyncRead for Plug {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(cx, |io, cx| io.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Plug {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, AsyncWrite::poll_shutdown)
    }
}

/// The device's end. Devices log in by PLAIN, for which the server calls another thread, and then no run would be like
/// another. So the world logs in by SCRAM, and tells the device what it expects to hear.
pub(super) struct LoggedIn {
    io: TlsStream<DuplexStream>,
    device: DeviceNo,
    trace: Trace,
    stage: Stage,
    /// What the device said and is not answered yet.
    heard: Vec<u8>,
    /// What it is told.
    said: Vec<u8>,
    reader: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    Authenticating,
    /// All else is between the device and the server.
    Through,
}

impl LoggedIn {
    /// Logs in as this person.
    pub(super) async fn new(
        mut io: TlsStream<DuplexStream>,
        name: &str,
        device: DeviceNo,
        trace: Trace,
    ) -> io::Result<Self> {
        let mut exchange = Exchange::new(MECHANISM, name, PASSWORD);
        let header = format!(
            "<?xml version='1.0'?><stream:stream to='{DOMAIN}' version='1.0' xmlns='{NS_CLIENT}' \
             xmlns:stream='{NS_STREAMS}'>"
        );
        io.write_all(header.as_bytes()).await?;
        until(&mut io, &["</stream:features>"]).await?;
        let auth =
            format!("<auth xmlns='{NS_SASL}' mechanism='{}'>{}</auth>", MECHANISM.name, exchange.first());
        let challenge = loop {
            io.write_all(auth.as_bytes()).await?;
            let answer = until(&mut io, &["</challenge>", "</failure>"]).await?;
            if answer.ends_with("</challenge>") {
                break answer;
            }
            // RFC 6120 §6.5.10: the server could not read who this is.
            assert!(answer.contains("<temporary-auth-failure"), "{answer}");
        };
        let last = exchange.last(text_of(&challenge), &[]);
        let response = format!("<response xmlns='{NS_SASL}'>{last}</response>");
        io.write_all(response.as_bytes()).await?;
        let success = until(&mut io, &["</success>", "</failure>"]).await?;
        assert!(exchange.is_proven(text_of(&success)), "{success}");
        let (stage, heard, said) = (Stage::Opening, Vec::new(), Vec::new());
        Ok(Self { io, device, trace, stage, heard, said, reader: None })
    }

    /// Answers the device as a server would that it logs in to.
    fn hear(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
        let heard = String::from_utf8_lossy(&self.heard);
        match self.stage {
            Stage::Opening if heard.ends_with('>') && heard.contains("<stream:stream") => {
                self.said = format!(
                    "<?xml version='1.0'?><stream:stream id='0' from='{DOMAIN}' version='1.0' \
                     xmlns='{NS_CLIENT}' xmlns:stream='{NS_STREAMS}'><stream:features>\
                     <mechanisms xmlns='{NS_SASL}'><mechanism>PLAIN</mechanism></mechanisms></stream:features>"
                )
                .into_bytes();
                self.stage = Stage::Authenticating;
            }
            Stage::Authenticating if heard.ends_with("</auth>") => {
                let message = STANDARD.decode(text_of(&heard)).unwrap();
                assert!(message.ends_with(PASSWORD.as_bytes()));
                self.said = format!("<success xmlns='{NS_SASL}'/>").into_bytes();
                self.stage = Stage::Through;
            }
            Stage::Opening | Stage::Authenticating | Stage::Through => return,
        }
        self.heard.clear();
        self.reader.take().into_iter().for_each(Waker::wake);
    }
}

/// Reads up to the end of one of these elements.
async fn until(io: &mut TlsStream<DuplexStream>, ends: &[&str]) -> io::Result<String> {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !ends.iter().any(|end| text.ends_with(end)) {
        let length = io.read(&mut bytes).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        text.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
    }
    Ok(text)
}

/// The text of the last element.
fn text_of(xml: &str) -> &str {
    let (before, _) = xml.rsplit_once("</").unwrap();
    before.rsplit_once('>').unwrap().1
}

impl AsyncRead for LoggedIn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.said.is_empty() {
            let length = self.said.len().min(buffer.remaining());
            buffer.put_slice(&self.said[..length]);
            self.said.drain(..length);
            return Poll::Ready(Ok(()));
        }
        self.reader = Some(cx.waker().clone());
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        if polled.is_ready() {
            self.trace.note(self.device, "hears", &buffer.filled()[before..]);
        }
        polled
    }
}

impl AsyncWrite for LoggedIn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.stage == Stage::Through {
            let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
            if let Poll::Ready(Ok(length)) = polled {
                self.trace.note(self.device, "says", &bytes[..length]);
            }
            return polled;
        }
        self.hear(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
