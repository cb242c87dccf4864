#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::{collections::HashSet, task::Poll, time::SystemTime};

use rustls::crypto::aws_lc_rs::{
    self,
    cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256},
};
use rustls::{
    ClientConfig, HandshakeKind, NamedGroup, RootCertStore, SupportedProtocolVersion,
    crypto::CryptoProvider,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::TlsConnector;

use super::{
    super::{ALPN_XMPP_CLIENT, CertFiles, SelfSigned, client_config, self_signed, tls_server_end_point},
    *,
};

type ClientStream = tokio_rustls::client::TlsStream<DuplexStream>;

/// A store with files, and the certificates that a client must trust.
struct Server {
    folder: TempDir,
    store: CertStore,
    roots: String,
    /// By name, what [`Server::renew`] puts into the files.
    next: Vec<(String, SelfSigned)>,
}

impl Server {
    fn new(names: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let make = |name: &&str| {
            let made = self_signed(&[(*name).to_owned()], SystemTime::now()).unwrap();
            ((*name).to_owned(), made)
        };
        let [first, next]: [Vec<_>; 2] = [(), ()].map(|()| names.iter().map(make).collect());
        let roots = first.iter().chain(&next).map(|(_, made)| made.certificate_pem.as_str()).collect();
        let files = first.iter().map(|(name, made)| write(&folder, name, made)).collect();
        Self { store: CertStore::load(files, SystemTime::now()).unwrap(), folder, roots, next }
    }

    /// New certificates for all names; clients trust them already.
    fn renew(&self) {
        for (name, made) in &self.next {
            write(&self.folder, name, made);
        }
        assert_eq!(self.store.reload_if_changed(SystemTime::now()).replaced, self.next.len());
    }

    fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        Arc::new(client_config(&self.roots, versions).unwrap())
    }

    async fn connect(
        &self,
        client: &Arc<ClientConfig>,
        name: &str,
    ) -> (io::Result<Secured<DuplexStream>>, io::Result<ClientStream>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        tokio::join!(
            accept(&self.store, None, near),
            TlsConnector::from(Arc::clone(client)).connect(name, far)
        )
    }

    /// A connection that both sides have used, so that the client has its ticket.
    async fn established(
        &self,
        client: &Arc<ClientConfig>,
        name: &str,
    ) -> (Secured<DuplexStream>, ClientStream) {
        let (near, far) = self.connect(client, name).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        let mut byte = [0];
        far.write_all(b"<").await.unwrap();
        near.stream.read_exact(&mut byte).await.unwrap();
        near.stream.write_all(b">").await.unwrap();
        far.read_exact(&mut byte).await.unwrap();
        (near, far)
    }
}

fn write(folder: &TempDir, name: &str, made: &SelfSigned) -> CertFiles {
    let files = CertFiles {
        domains: vec![name.to_owned()],
        chain: folder.path().join(format!("{name}.crt")),
        key: folder.path().join(format!("{name}.key")),
    };
    std::fs::write(&files.chain, &made.certificate_pem).unwrap();
    std::fs::write(&files.key, &made.key_pem).unwrap();
    files
}

/// What the client itself would put into SASL.
fn client_bindings(stream: &ClientStream) -> ([u8; 32], Vec<u8>) {
    let connection = stream.get_ref().1;
    let exporter =
        connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
    (exporter, tls_server_end_point(&connection.peer_certificates().unwrap()[0]))
}

fn assert_same_bindings(near: &Secured<DuplexStream>, far: &ClientStream) {
    let (exporter, end_point) = client_bindings(far);
    let is_unique = near.bindings.version == TlsVersion::Tls13;
    assert_eq!(near.bindings.exporter, is_unique.then_some(exporter));
    assert_eq!(*near.bindings.end_point, *end_point);
}

#[tokio::test]
async fn both_versions_give_both_sides_the_same_bindings() {
    let server = Server::new(&["a.example", "b.example"]);
    for (versions, want) in [
        (&[&TLS13][..], TlsVersion::Tls13),
        (&[&TLS12], TlsVersion::Tls12),
        (&[&TLS12, &TLS13], TlsVersion::Tls13),
    ] {
        let client = server.client(versions);
        let mut exporters = HashSet::new();
        for (name, other) in
            [("a.example", "b.example"), ("b.example", "a.example"), ("a.example", "b.example")]
        {
            let (near, far) = server.established(&client, name).await;
            assert_same_bindings(&near, &far);
            assert_eq!(near.bindings.version, want);
            assert!(near.identity.info().covers(name) && !near.identity.info().covers(other));
            assert_eq!(near.stream.agreed().alpn_protocol(), Some(ALPN_XMPP_CLIENT));
            exporters.insert(near.bindings.exporter);
        }
        let count = if want == TlsVersion::Tls13 { 3 } else { 1 };
        assert_eq!(exporters.len(), count); // RFC 9266 §4.1: unique; and none for TLS 1.2
    }
}

/// RFC 8446 §7.5: with the hash of the cipher suite.
#[tokio::test]
async fn every_cipher_suite_gives_both_sides_the_same_bindings() {
    let server = Server::new(&["a.example"]);
    for suite in [TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256] {
        let provider = CryptoProvider { cipher_suites: vec![suite], ..aws_lc_rs::default_provider() };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(server.roots.as_bytes()).flatten());
        let client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = server.established(&Arc::new(client), "a.example").await;
        assert_eq!(near.stream.agreed().negotiated_cipher_suite(), Some(suite));
        assert_same_bindings(&near, &far);
    }
}

#[tokio::test]
async fn the_key_exchange_is_post_quantum_where_the_client_has_it() {
    let server = Server::new(&["a.example"]);
    let (near, _far) = server.established(&server.client(&[&TLS13]), "a.example").await;
    let group = near.stream.agreed().negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn a_session_resumes_with_the_certificate_that_it_began_with() {
    for version in [&TLS13, &TLS12] {
        let server = Server::new(&["a.example", "b.example"]);
        let client = server.client(&[version]);
        let connect = async |name: &str| {
            let (near, far) = server.established(&client, name).await;
            assert_same_bindings(&near, &far);
            (near.stream.agreed().handshake_kind().unwrap(), near.bindings.end_point)
        };
        let (kind, first) = connect("a.example").await;
        assert_eq!(kind, HandshakeKind::Full);
        assert_eq!(connect("a.example").await, (HandshakeKind::Resumed, Arc::clone(&first)));
        assert_eq!(connect("b.example").await.0, HandshakeKind::Full); // RFC 6066 §3

        // With a new certificate the old session is over: its client would bind to the old one.
        server.renew();
        let (kind, renewed) = connect("a.example").await;
        assert_eq!(kind, HandshakeKind::Full);
        assert_ne!(renewed, first);
        assert_eq!(connect("a.example").await, (HandshakeKind::Resumed, renewed));
    }
}

/// A handshake that began before a reload ends with the certificate, and the binding, that it began with.
#[tokio::test]
async fn a_reload_during_a_handshake_changes_nothing_for_it() {
    let server = Server::new(&["a.example"]);
    let client = server.client(&[&TLS13]);
    let (near, far) = tokio::io::duplex(1 << 16);
    let name = ServerName::try_from("a.example").unwrap();
    let mut handshake = std::pin::pin!(accept(&server.store, None, near));
    let mut connecting = std::pin::pin!(TlsConnector::from(client).connect(name, far));
    // The client's first message is on its way, then read and answered; the client's second is not.
    assert!(poll_once(connecting.as_mut()).await.is_none());
    assert!(poll_once(handshake.as_mut()).await.is_none());
    server.renew();
    let (near, far) = tokio::join!(handshake, connecting);
    let (near, far) = (near.unwrap(), far.unwrap());
    assert_same_bindings(&near, &far);
    assert_ne!(near.bindings.end_point, *server.store.select(None, None).end_point());
}

async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn without_a_name_the_streams_domain_chooses() {
    let server = Server::new(&["a.example", "b.example"]);
    let mut client = client_config(&server.roots, &[&TLS13]).unwrap();
    client.enable_sni = false;
    let connector = TlsConnector::from(Arc::new(client));
    for (domain, name) in
        [(None, "a.example"), (Some("b.example"), "b.example"), (Some("elsewhere"), "a.example")]
    {
        let (near, far) = tokio::io::duplex(1 << 16);
        let to = ServerName::try_from(name).unwrap();
        let (near, far) = tokio::join!(accept(&server.store, domain, near), connector.connect(to, far));
        assert_same_bindings(&near.unwrap(), &far.unwrap());
    }
}

#[tokio::test]
async fn a_client_that_means_another_service_is_refused() {
    let server = Server::new(&["a.example"]);
    for (protocols, want) in [
        (&[][..], true), // STARTTLS, and direct TLS of older clients
        (&["xmpp-client"], true),
        (&["h2", "xmpp-client"], true),
        (&["xmpp-server"], false),
        (&["h2", "http/1.1"], false),
    ] {
        let mut client = client_config(&server.roots, &[&TLS13]).unwrap();
        client.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (near, far) = server.connect(&Arc::new(client), "a.example").await;
        assert_eq!((near.is_ok(), far.is_ok()), (want, want), "{protocols:?}");
    }
}

/// RFC 7677 §4: channel bindings of TLS 1.2 are sound with the extended master secret only.
#[tokio::test]
async fn tls_1_2_needs_the_extended_master_secret() {
    let server = Server::new(&["a.example"]);
    let groups = [0, 10, 0, 4, 0, 2, 0, 0x1d];
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
    let extended_master_secret = [0, 23, 0, 0];
    for (extensions, want) in [
        ([&groups[..], &signatures].concat(), "ExtendedMasterSecret"),
        ([&groups[..], &signatures, &extended_master_secret].concat(), "end of file"),
    ] {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        far.write_all(&hello_1_2(&extensions)).await.unwrap();
        far.shutdown().await.unwrap();
        let error = accept(&server.store, None, near).await.unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}

/// RFC 5246 §7.4.1.2, with TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 alone.
fn hello_1_2(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0, 0, u8::try_from(extensions.len()).unwrap()]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
}

#[tokio::test]
async fn whoever_speaks_no_tls_gets_an_error_and_an_alert() {
    let server = Server::new(&["a.example"]);
    // A version that ended: a first message of TLS 1.0 without the extension of TLS 1.3.
    let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    for input in [&hello[..], b"<stream:stream xmlns='jabber:client'", b"GET / HTTP/1.1\r\n\r\n", &[0; 64]] {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        far.write_all(input).await.unwrap();
        assert!(accept(&server.store, None, near).await.is_err());
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.first(), Some(&0x15), "{input:?}"); // RFC 8446 §6: an alert
    }
    // The peer goes away.
    let (near, far) = tokio::io::duplex(64);
    drop(far);
    assert!(accept(&server.store, None, near).await.is_err());
}
