//! The handshake.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::server::Acceptor;
use rustls::{ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::exporter::Exporter;
use super::identity::TlsIdentity;
use super::session::RECORD_BYTES_MAX;
use super::store::CertStore;
use super::stream::TlsStream;
use crate::incoming::poll_read_sparingly;
use crate::sasl::{ChannelBindings, TlsVersion};

/// Bytes that are read at a time: more than the first message of most clients.
const READ_BYTES: usize = 2 * 1024;

/// A connection after its handshake.
#[derive(Debug)]
pub struct Secured<IO> {
    pub stream: TlsStream<IO>,
    /// What the client authenticated the server by, now or in the session that it resumed.
    pub identity: Arc<TlsIdentity>,
    /// For SASL. Computed here, because they need the handshake.
    pub bindings: ChannelBindings,
}

/// Makes the server's side of a handshake on `io`. The name in the client's first message chooses the
/// identity, else `domain`: with STARTTLS the stream's `to` is known already. The caller sets the
/// deadline. If the handshake fails, the peer gets an alert and the caller an error to log.
pub async fn accept<IO>(certs: &CertStore, domain: Option<&str>, mut io: IO) -> io::Result<Secured<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let hello = read_hello(&mut io).await?;
    // Chosen here and not in a resolver within rustls, so that a reload between this moment and the end
    // of the handshake cannot make us bind to another certificate than the one that was sent.
    let identity = certs.select(hello.server_name.as_deref(), domain);
    let exporter = Arc::new(Exporter::default());
    let mut config = ServerConfig::clone(identity.server_config());
    config.key_log = exporter.clone();
    let stream = TlsStream::accept(Arc::new(config), io, hello.bytes).await?;
    let version = match stream.agreed().protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
        _ => TlsVersion::Tls12,
    };
    let bindings = ChannelBindings {
        version,
        exporter: exporter.channel_binding(stream.agreed()),
        end_point: Arc::clone(identity.end_point()),
    };
    Ok(Secured { stream, identity, bindings })
}

/// The client's first message.
struct Hello {
    bytes: BytesMut,
    /// The name in it (RFC 6066 §3).
    server_name: Option<String>,
}

/// Bytes of the records that are complete: of a part of one, rustls would only keep another copy. Of what is no record,
/// all; let rustls say so.
fn whole_records(bytes: &[u8]) -> usize {
    const HANDSHAKE: u8 = 22;
    let mut whole = 0_usize;
    loop {
        match bytes.get(whole..).unwrap_or_default() {
            [HANDSHAKE, _, _, high, low, rest @ ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                if rest.len() < length.min(RECORD_BYTES_MAX) {
                    return whole;
                }
                whole = whole.saturating_add(5).saturating_add(length);
            }
            [HANDSHAKE, ..] | [] => return whole.min(bytes.len()),
            _ => return bytes.len(),
        }
    }
}

/// Reads the first message as far as to know the name in it. It is understood a second time once the identity, which the
/// handshake needs from its beginning, is known.
async fn read_hello<IO: AsyncRead + AsyncWrite + Unpin>(io: &mut IO) -> io::Result<Hello> {
    let mut bytes = BytesMut::new();
    let mut acceptor = None;
    let mut seen = 0;
    loop {
        if poll_fn(|cx| poll_read_sparingly::<READ_BYTES, _>(io, cx, &mut bytes)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let new = bytes.get(seen..).unwrap_or_default();
        let (mut whole, _) = new.split_at(whole_records(new));
        if whole.is_empty() {
            continue;
        }
        seen = seen.saturating_add(whole.len());
        let acceptor = acceptor.get_or_insert_with(Acceptor::default);
        while !whole.is_empty() {
            acceptor.read_tls(&mut whole)?;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let server_name = accepted.client_hello().server_name().map(str::to_owned);
                return Ok(Hello { bytes, server_name });
            }
            Err((error, mut alert)) => {
                let mut said = Vec::new();
                alert.write_all(&mut said)?;
                io.write_all(&said).await?;
                io.flush().await?;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
}

#[cfg(test)]
mod tests;
