//! The handshake.

use std::{io, sync::Arc};

use rustls::{ProtocolVersion, ServerConnection, server::Acceptor};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::{identity::TlsIdentity, store::CertStore};
use crate::sasl::{ChannelBindings, TlsVersion};

/// A connection after its handshake.
#[derive(Debug)]
pub struct Secured<IO> {
    pub stream: TlsStream<IO>,
    /// What the client authenticated the server by, now or in the session that it resumed.
    pub identity: Arc<TlsIdentity>,
    /// For SASL. Computed here, because they need the connection.
    pub bindings: ChannelBindings,
}

/// Makes the server's side of a handshake on `io`. The name in the client's first message chooses the
/// identity, else `domain`: with STARTTLS the stream's `to` is known already. The caller sets the
/// deadline. If the handshake fails, the peer gets an alert and the caller an error to log.
pub async fn accept<IO>(certs: &CertStore, domain: Option<&str>, io: IO) -> io::Result<Secured<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let hello = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
    // Chosen here and not in a resolver within rustls, so that a reload between this moment and the end
    // of the handshake cannot make us bind to another certificate than the one that was sent.
    let identity = certs.select(hello.client_hello().server_name(), domain);
    let stream = hello.into_stream(Arc::clone(identity.server_config())).await?;
    let connection = stream.get_ref().1;
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
        _ => TlsVersion::Tls12,
    };
    let bindings = ChannelBindings {
        version,
        exporter: tls_exporter(connection),
        end_point: Arc::clone(identity.end_point()),
    };
    Ok(Secured { stream, identity, bindings })
}

/// `tls-exporter` (RFC 9266 §2). `None` before the handshake ends, and for TLS 1.2: there, the context of
/// length zero that the RFC asks for differs from no context (RFC 5705 §4), which is what one gets from
/// common libraries without asking. A login that fails would be worse than the other channel binding.
pub fn tls_exporter(connection: &ServerConnection) -> Option<[u8; 32]> {
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => {
            connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
