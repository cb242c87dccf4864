//! The floor: a relay that passes bytes from one TLS connection to another, and knows nothing of them.
//!
//! No server can carry a message for less. It runs as a process of its own, so that its cost is seen apart.
//! A connection says its number and a line end; the two with the same number are joined.

use std::collections::HashMap;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};

use anyhow::{Context as _, Result};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The name in the relay's certificate.
pub(super) const DOMAIN: &str = "relay.test";

/// What both sides are told when they are joined.
const JOINED: &[u8] = b"<joined/>";

const READ_BYTES: usize = 16 * 1024;

/// Connections that wait for their other half.
type Waiting = Arc<Mutex<HashMap<String, Halves>>>;
type Halves = (ReadHalf<TlsStream<TcpStream>>, WriteHalf<TlsStream<TcpStream>>);

/// Listens on a free port and prints it, then relays until its standard input ends.
pub(crate) async fn run() -> Result<()> {
    let (address, serve) = listen().await?;
    println!("{}", address.port());
    let starter_is_gone = async {
        let mut input = tokio::io::stdin();
        let mut byte = [0];
        while tokio::io::AsyncReadExt::read(&mut input, &mut byte).await.is_ok_and(|length| length > 0) {}
    };
    tokio::select! {
        result = serve => result,
        () = starter_is_gone => Ok(()),
    }
}

/// The address, and what is to be run to serve there.
pub(super) async fn listen() -> Result<(SocketAddr, impl Future<Output = Result<()>>)> {
    let acceptor = acceptor()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen")?;
    let address = listener.local_addr().context("cannot listen")?;
    let serve = async move {
        let waiting = Waiting::default();
        loop {
            let (tcp, _) = listener.accept().await.context("cannot accept")?;
            let (acceptor, waiting) = (acceptor.clone(), Arc::clone(&waiting));
            // A connection that fails or ends is nobody else's concern.
            tokio::spawn(async move { greet(tcp, acceptor, waiting).await.ok() });
        }
    };
    Ok((address, serve))
}

fn acceptor() -> Result<TlsAcceptor> {
    let key = rcgen::KeyPair::generate().context("cannot make a key")?;
    let params =
        rcgen::CertificateParams::new(vec![DOMAIN.to_owned()]).context("cannot name a certificate")?;
    let certificate = params.self_signed(&key).context("cannot make a certificate")?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("cannot set TLS up")?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .context("cannot set TLS up")?;
    config.alpn_protocols = vec![b"xmpp-client".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn greet(tcp: TcpStream, acceptor: TlsAcceptor, waiting: Waiting) -> Result<()> {
    tcp.set_nodelay(true)?;
    let (mut from, mut to) = tokio::io::split(acceptor.accept(tcp).await?);
    let mut number = Vec::new();
    while number.last() != Some(&b'\n') {
        anyhow::ensure!(number.len() < 32, "too long for a number");
        read(&mut from, &mut number).await?;
    }
    let number = String::from_utf8(number).context("no number")?;
    let other = {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(other) = waiting.remove(&number) else {
            waiting.insert(number, (from, to));
            return Ok(());
        };
        other
    };
    let (other_from, mut other_to) = other;
    for side in [&mut to, &mut other_to] {
        side.write_all(JOINED).await?;
        side.flush().await?;
    }
    tokio::spawn(async move { forward(other_from, to).await.ok() });
    forward(from, other_to).await
}

async fn forward(
    mut from: ReadHalf<TlsStream<TcpStream>>,
    mut to: WriteHalf<TlsStream<TcpStream>>,
) -> Result<()> {
    let mut bytes = Vec::new();
    loop {
        read(&mut from, &mut bytes).await?;
        to.write_all(&bytes).await?;
        to.flush().await?;
        bytes.clear();
    }
}

/// Appends what is there, or waits for it, without a buffer meanwhile.
async fn read(from: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> Result<()> {
    let length = poll_fn(|context| {
        let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *from).poll_read(context, &mut buffer))?;
        bytes.extend_from_slice(buffer.filled());
        Poll::Ready(std::io::Result::Ok(buffer.filled().len()))
    });
    anyhow::ensure!(length.await? > 0, "the connection ended");
    Ok(())
}
