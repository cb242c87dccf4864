//! A client of a library that other people wrote: it connects, logs in, binds, counts and resumes by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use rustls::ClientConfig;
use tokio::io::BufStream;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_xmpp::connect::ServerConnector;
use tokio_xmpp::jid::{BareJid, Jid};
use tokio_xmpp::parsers::message::{Lang, Message, MessageType};
use tokio_xmpp::parsers::presence::{Presence, Type};
use tokio_xmpp::xmlstream::{PendingFeaturesRecv, StreamHeader, Timeouts, initiate_stream};
use tokio_xmpp::{Client, Error, Event, Stanza};

use super::wire::handshake;
use super::{DOMAIN, PASSWORD, Server};

const PATIENCE: Duration = Duration::from_secs(60);

/// How the library gets to the server under test: direct TLS, trusting its certificate alone.
#[derive(Clone, Debug)]
struct Connector {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl ServerConnector for Connector {
    type Stream = BufStream<TlsStream<TcpStream>>;

    async fn connect(
        &self,
        jid: &Jid,
        ns: &'static str,
        timeouts: Timeouts,
    ) -> Result<(PendingFeaturesRecv<Self::Stream>, sasl::common::ChannelBinding), Error> {
        let tcp = TcpStream::connect(self.address).await?;
        let (tls, bindings) = handshake(tcp, self.tls.clone()).await?;
        let header = StreamHeader { to: Some(jid.domain().as_str().to_owned().into()), from: None, id: None };
        let stream = initiate_stream(BufStream::new(tls), ns, header, timeouts).await?;
        Ok((stream, sasl::common::ChannelBinding::TlsExporter(bindings.exporter)))
    }
}

pub(crate) struct Library(Client);

impl Library {
    /// A client that is online.
    pub(crate) async fn online(server: &Server, name: &str) -> Self {
        server.account(name).await;
        let jid: Jid = format!("{name}@{DOMAIN}").parse().unwrap();
        let connector = Connector { address: server.direct_tls(), tls: server.tls() };
        let mut client = Self(Client::new_with_connector(jid, PASSWORD, connector, Timeouts::default()));
        while !matches!(client.event().await, Event::Online { .. }) {}
        client.0.send_stanza(Presence::new(Type::None).into()).await.unwrap();
        client
    }

    async fn event(&mut self) -> Event {
        timeout(PATIENCE, self.0.next()).await.expect("the server says nothing").expect("the client runs")
    }

    /// Sends a chat message.
    pub(crate) async fn say(&mut self, to: &str, body: &str) {
        let to: BareJid = format!("{to}@{DOMAIN}").parse().unwrap();
        let mut message = Message::new_with_type(MessageType::Chat, Some(Jid::from(to)));
        message.bodies.insert(Lang::default(), body.to_owned());
        self.0.send_stanza(message.into()).await.unwrap();
    }

    /// The next message with a body.
    pub(crate) async fn hears(&mut self) -> String {
        loop {
            if let Event::Stanza(Stanza::Message(message)) = self.event().await
                && let Some(body) = message.bodies.into_values().next()
            {
                return body;
            }
        }
    }

    /// Closes the stream.
    pub(crate) async fn close(self) {
        self.0.send_end().await.unwrap();
    }
}
