//! A connection that sends any bytes, and reads elements.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use minidom::Element;
use minidom::rxml::{Parse as _, RawEvent, RawParser, error::EndOrError};
use minidom::tree_builder::TreeBuilder;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{DOMAIN, NS_CLIENT, NS_STREAMS};

const NS_TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// Long enough for a machine that does much else. A story that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(40);

/// What arrives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Arrival {
    /// The server's stream header.
    Open(Element),
    Element(Element),
    /// `</stream:stream>`
    Close,
    /// The connection ended.
    End,
}

trait Socket: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Socket for T {}

/// What ties a login to a TLS connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bindings {
    pub(crate) exporter: Vec<u8>,
    pub(crate) end_point: Vec<u8>,
}

pub(crate) struct Wire {
    io: Pin<Box<dyn Socket>>,
    incoming: Vec<u8>,
    parser: RawParser,
    builder: TreeBuilder,
    is_open: bool,
    pub(crate) bindings: Bindings,
    /// Whom a stream is opened to.
    pub(crate) domain: &'static str,
}

/// A client configuration that trusts this certificate and no other.
pub(crate) fn trusting(certificate: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// The handshake, and what ties a login to it.
pub(crate) async fn handshake<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    config: Arc<ClientConfig>,
) -> io::Result<(TlsStream<IO>, Bindings)> {
    let tls = TlsConnector::from(config).connect(ServerName::try_from(DOMAIN).unwrap(), io).await?;
    let session = tls.get_ref().1;
    // RFC 9266 §2, and RFC 5929 §4 for a certificate that is signed with SHA-256.
    let exporter = session.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
    let certificate = &session.peer_certificates().unwrap()[0];
    let bindings = Bindings {
        exporter: exporter.unwrap().to_vec(),
        end_point: digest(&SHA256, certificate).as_ref().to_vec(),
    };
    Ok((tls, bindings))
}

impl Wire {
    /// In the clear.
    pub(crate) fn plain(tcp: TcpStream) -> Self {
        Self::over(Box::pin(tcp), Bindings::default())
    }

    /// Inside of TLS.
    pub(crate) async fn direct(tcp: TcpStream, config: Arc<ClientConfig>) -> io::Result<Self> {
        let (tls, bindings) = handshake(tcp, config).await?;
        Ok(Self::over(Box::pin(tls), bindings))
    }

    /// STARTTLS on a stream that offers it (RFC 6120 §5.4.2), and the handshake.
    pub(crate) async fn start_tls(mut self, config: Arc<ClientConfig>) -> io::Result<Self> {
        self.send(&format!("<starttls xmlns='{NS_TLS}'/>")).await;
        let answer = self.element().await;
        assert!(answer.is("proceed", NS_TLS), "{answer:?}");
        assert!(self.incoming.is_empty(), "bytes in the clear before the handshake");
        let (tls, bindings) = handshake(self.io, config).await?;
        Ok(Self::over(Box::pin(tls), bindings))
    }

    fn over(io: Pin<Box<dyn Socket>>, bindings: Bindings) -> Self {
        let (parser, builder) = (RawParser::new(), TreeBuilder::new());
        Self { io, incoming: Vec::new(), parser, builder, is_open: false, bindings, domain: DOMAIN }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.try_send(text).await.unwrap();
    }

    /// Sends what may come too late.
    pub(crate) async fn try_send(&mut self, text: &str) -> io::Result<()> {
        self.io.write_all(text.as_bytes()).await?;
        self.io.flush().await
    }

    /// What arrives next.
    pub(crate) async fn next(&mut self) -> Arrival {
        loop {
            if let Some(arrival) = self.parse() {
                return arrival;
            }
            let mut bytes = [0; 8192];
            let read = timeout(PATIENCE, self.io.read(&mut bytes)).await.expect("the server says nothing");
            match read {
                Ok(count @ 1..) => self.incoming.extend_from_slice(&bytes[..count]),
                Ok(0) | Err(_) => return Arrival::End,
            }
        }
    }

    /// The next element; nothing else may come.
    pub(crate) async fn element(&mut self) -> Element {
        match self.next().await {
            Arrival::Element(element) => element,
            other => panic!("no element came but {other:?}"),
        }
    }

    /// Opens a stream, and returns what the server offers.
    pub(crate) async fn open(&mut self) -> Element {
        self.header(&format!("to='{}' version='1.0'", self.domain)).await;
        let Arrival::Open(_) = self.next().await else { panic!("no stream header came") };
        self.element().await
    }

    /// Sends a stream header with these attributes and forgets the stream before it.
    pub(crate) async fn header(&mut self, attributes: &str) {
        self.restart();
        self.send(&format!(
            "<?xml version='1.0'?><stream:stream {attributes} xmlns='{NS_CLIENT}' xmlns:stream='{NS_STREAMS}'>"
        ))
        .await;
    }

    /// What comes now is a new document.
    pub(crate) fn restart(&mut self) {
        (self.parser, self.builder, self.is_open) = (RawParser::new(), TreeBuilder::new(), false);
    }

    fn parse(&mut self) -> Option<Arrival> {
        let mut rest = self.incoming.as_slice();
        let mut arrival = None;
        while arrival.is_none() {
            match self.parser.parse(&mut rest, false) {
                Ok(Some(event)) => arrival = build(&mut self.builder, &mut self.is_open, event),
                Err(EndOrError::NeedMoreData) => break,
                Ok(None) => panic!("the document ended"),
                Err(EndOrError::Error(error)) => panic!("the server sent bad XML: {error}"),
            }
        }
        self.incoming = rest.to_vec();
        arrival
    }
}

/// Adds an event to the tree; a finished first-level element leaves it.
fn build(builder: &mut TreeBuilder, is_open: &mut bool, event: RawEvent) -> Option<Arrival> {
    let is_foot = matches!(event, RawEvent::ElementFoot(_));
    builder.process_event(event).unwrap();
    match builder.depth() {
        0 if is_foot => Some(Arrival::Close),
        1 if is_foot => builder.unshift_child().map(Arrival::Element),
        1 if !*is_open => {
            *is_open = true;
            builder.top().cloned().map(Arrival::Open)
        }
        _ => None,
    }
}
