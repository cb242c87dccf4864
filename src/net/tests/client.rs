//! A client that sends text and reads text.

use std::sync::Arc;
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client::TlsStream};
use unisono_net::tls::client_config;

use crate::scram::{Scram, exporter};
use crate::server::{DOMAIN, PASSWORD};

const NS_SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const NS_BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// Long enough for a slow machine, and for deadlines under paused time.
const PATIENCE: Duration = Duration::from_secs(3600);

pub(crate) struct Client<IO> {
    pub(crate) io: IO,
    /// Read, and not yet asked for.
    buffer: String,
}

/// A stream header for a host.
pub(crate) fn header(to: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream to='{to}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    )
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Client<IO> {
    pub(crate) fn new(io: IO) -> Self {
        Self { io, buffer: String::new() }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.io.write_all(text.as_bytes()).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// Sends what may come too late.
    pub(crate) async fn try_send(&mut self, text: &str) {
        let _sent = self.io.write_all(text.as_bytes()).await;
        let _flushed = self.io.flush().await;
    }

    /// Reads until `end` has come, and returns everything up to and with it.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.buffer.find(end) {
                let rest = self.buffer.split_off(at + end.len());
                return std::mem::replace(&mut self.buffer, rest);
            }
            assert!(self.read().await, "the connection ended before {end:?}: {:?}", self.buffer);
        }
    }

    /// Reads until the server closes the connection.
    pub(crate) async fn rest(&mut self) -> String {
        while self.read().await {}
        std::mem::take(&mut self.buffer)
    }

    async fn read(&mut self) -> bool {
        let mut chunk = [0; 4096];
        match timeout(PATIENCE, self.io.read(&mut chunk)).await.expect("the server says nothing") {
            Ok(count @ 1..) => {
                self.buffer.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
                true
            }
            Ok(0) | Err(_) => false,
        }
    }

    /// Opens a stream and returns header and features.
    pub(crate) async fn open(&mut self) -> String {
        self.send(&header(DOMAIN)).await;
        self.until("</stream:features>").await
    }

    async fn handshake(
        io: IO,
        roots: &str,
        version: &'static SupportedProtocolVersion,
    ) -> Client<TlsStream<IO>> {
        let config = Arc::new(client_config(roots, &[version]).unwrap());
        let stream = TlsConnector::from(config).connect(DOMAIN.try_into().unwrap(), io).await.unwrap();
        Client::new(stream)
    }

    /// TLS first.
    pub(crate) async fn direct(io: IO, roots: &str) -> Client<TlsStream<IO>> {
        Self::handshake(io, roots, &TLS13).await
    }

    /// The same with an older protocol.
    pub(crate) async fn direct_tls12(io: IO, roots: &str) -> Client<TlsStream<IO>> {
        Self::handshake(io, roots, &TLS12).await
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Client<TlsStream<IO>> {
    /// Authenticates, and opens the stream that follows. Returns its features.
    pub(crate) async fn log_in(&mut self, name: &str) -> String {
        self.open().await;
        self.authenticate(&Scram::new("SCRAM-SHA-256", name, PASSWORD)).await.unwrap();
        self.open().await
    }

    /// One SCRAM exchange. The error is all of `<failure/>`.
    pub(crate) async fn authenticate(&mut self, scram: &Scram<'_>) -> Result<(), String> {
        let signature = self.send_scram(scram).await?;
        let outcome = self.until(">").await;
        if outcome.starts_with("<failure") {
            return Err(outcome + &self.until("</failure>").await);
        }
        let data = self.until("</success>").await;
        assert_eq!(data, format!("{signature}</success>"), "the server cannot prove itself");
        Ok(())
    }

    /// The client's half of a SCRAM exchange. Returns what the server will prove itself with.
    pub(crate) async fn send_scram(&mut self, scram: &Scram<'_>) -> Result<String, String> {
        let exporter = exporter(self.io.get_ref().1);
        let first = STANDARD.encode(scram.first());
        let mechanism = scram.mechanism;
        self.send(&format!("<auth xmlns='{NS_SASL}' mechanism='{mechanism}'>{first}</auth>")).await;
        let challenge = self.until(">").await + &self.until(">").await;
        if challenge.starts_with("<failure") {
            return Err(challenge + &self.until("</failure>").await);
        }
        let challenge = challenge.split_once('>').unwrap().1.split_once('<').unwrap().0;
        let challenge = String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
        let (last, signature) = scram.last(&challenge, &exporter);
        self.send(&format!("<response xmlns='{NS_SASL}'>{}</response>", STANDARD.encode(last))).await;
        Ok(STANDARD.encode(signature))
    }

    /// Binds a resource and returns the full JID.
    pub(crate) async fn bind(&mut self, resource: &str) -> String {
        self.send(&format!(
            "<iq type='set' id='bind'><bind xmlns='{NS_BIND}'><resource>{resource}</resource></bind></iq>"
        ))
        .await;
        let result = self.until("</iq>").await;
        assert!(result.starts_with("<iq type='result' id='bind'>"), "{result}");
        result.split_once("<jid>").unwrap().1.split_once("</jid>").unwrap().0.to_owned()
    }

    /// Says that it is there, and waits until the server has taken it.
    pub(crate) async fn be_available(&mut self) {
        self.send("<presence/>").await;
        self.ping().await;
    }

    /// Asks for something that is always answered. What comes before the answer is returned.
    pub(crate) async fn ping(&mut self) -> String {
        self.send("<iq type='get' id='round-trip'><none xmlns='urn:example:none'/></iq>").await;
        let answer = self.until("id='round-trip'").await;
        let end = self.until("</iq>").await;
        answer + &end
    }

    /// Makes the session count and resumable, and returns its id (XEP-0198 §3).
    pub(crate) async fn enable_management(&mut self) -> String {
        self.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        self.until("<enabled").await;
        let attributes = self.until("/>").await;
        attributes.split_once(" id='").unwrap().1.split_once('\'').unwrap().0.to_owned()
    }
}
