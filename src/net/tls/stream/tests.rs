#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::time::SystemTime;

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::{TlsConnector, client};

use super::super::{CertStore, TlsIdentity, accept, client_config, self_signed};
use super::*;

const NAME: &str = "a.example";

/// Both ends of a connection on which so many bytes can be on their way.
async fn connected(bytes: usize) -> (TlsStream<DuplexStream>, client::TlsStream<DuplexStream>) {
    connected_by(bytes, &[&TLS13]).await
}

async fn connected_by(
    bytes: usize,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (TlsStream<DuplexStream>, client::TlsStream<DuplexStream>) {
    let made = self_signed(&[NAME.to_owned()], SystemTime::now()).unwrap();
    let identity = TlsIdentity::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes()).unwrap();
    let store = CertStore::of_identity(identity);
    let config: Arc<ClientConfig> = Arc::new(client_config(&made.certificate_pem, versions).unwrap());
    let (near, far) = tokio::io::duplex(bytes);
    let connecting = TlsConnector::from(config).connect(ServerName::try_from(NAME).unwrap(), far);
    let (near, far) = tokio::join!(accept(&store, None, near), connecting);
    (near.unwrap().stream, far.unwrap())
}

fn text(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

#[tokio::test]
async fn what_one_side_writes_the_other_reads() {
    for (on_the_way, length, versions) in [
        (1 << 16, 1, &[&TLS13]),
        (500, 700, &[&TLS13]), // in small pieces, the handshake too
        (1, 700, &[&TLS12]),   // a byte at a time
        (1000, 200_000, &[&TLS13]),
        (1000, 200_000, &[&TLS12]),
        (1 << 20, RECORD_BYTES_MAX, &[&TLS13]),
        (1 << 20, WRITE_BYTES, &[&TLS13]),
        (1 << 20, WRITE_BYTES + 1, &[&TLS12]),
    ] {
        let (mut near, mut far) = connected_by(on_the_way, versions).await;
        let sent = text(length);
        let mut read = vec![0; length];
        let (written, received) = tokio::join!(
            async {
                near.write_all(&sent).await?;
                near.flush().await
            },
            far.read_exact(&mut read)
        );
        written.unwrap();
        received.unwrap();
        assert!(read == sent, "{length} bytes, {on_the_way} on their way");

        let mut read = vec![0; length];
        let (written, received) = tokio::join!(
            async {
                far.write_all(&sent).await?;
                far.flush().await
            },
            near.read_exact(&mut read)
        );
        written.unwrap();
        received.unwrap();
        assert!(read == sent, "{length} bytes back, {on_the_way} on their way");
    }
}

/// What is read in small pieces, and with records that are larger, is whole.
#[tokio::test]
async fn what_does_not_fit_is_read_later() {
    let (mut near, mut far) = connected(1 << 20).await;
    let sent = text(40_000);
    far.write_all(&sent).await.unwrap();
    far.shutdown().await.unwrap();
    let mut read = Vec::new();
    let mut piece = [0; 7];
    loop {
        match near.read(&mut piece).await.unwrap() {
            0 => break,
            count => read.extend_from_slice(&piece[..count]),
        }
    }
    assert!(read == sent);
    assert_eq!(near.read(&mut piece).await.unwrap(), 0, "the end stays the end");
}

#[tokio::test]
async fn an_idle_connection_has_no_buffers() {
    let (mut near, mut far) = connected(1 << 20).await;
    far.write_all(&text(20_000)).await.unwrap();
    near.read_exact(&mut vec![0; 20_000]).await.unwrap();
    near.write_all(&text(100_000)).await.unwrap();
    near.flush().await.unwrap();
    assert_eq!(
        (near.incoming.capacity(), near.session.plain.capacity(), near.session.outgoing.capacity()),
        (0, 0, 0)
    );
}

/// RFC 8446 §6.1: the end is said, or else something is missing.
#[tokio::test]
async fn an_end_is_told_from_a_cut() {
    let (mut near, mut far) = connected(1 << 16).await;
    far.write_all(b"last words").await.unwrap();
    far.shutdown().await.unwrap();
    let mut read = Vec::new();
    near.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"last words");
    // The other direction goes on, until it ends, too.
    near.write_all(b"farewell").await.unwrap();
    near.shutdown().await.unwrap();
    assert!(near.write_all(b"one more thing").await.is_err());
    let mut read = Vec::new();
    far.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"farewell");

    let (mut near, far) = connected(1 << 16).await;
    drop(far.into_inner().0);
    let error = near.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

/// RFC 8446 §4.6.3: keys change, asked for by the client, and both directions go on.
#[tokio::test]
async fn keys_are_renewed() {
    let (mut near, mut far) = connected(1 << 16).await;
    for _ in 0..3 {
        far.get_mut().1.refresh_traffic_keys().unwrap();
        far.write_all(b"from new keys").await.unwrap();
        far.flush().await.unwrap();
        let mut read = [0; 13];
        near.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"from new keys");
        near.write_all(b"to new keys").await.unwrap();
        near.flush().await.unwrap();
        let mut read = [0; 11];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"to new keys");
    }
}

/// RFC 8446 §6.2: what is not TLS ends the connection, with the alert that says why.
#[tokio::test]
async fn what_is_forged_ends_the_connection() {
    for (forged, want) in [
        (
            &[0x17, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20][..],
            "decrypt",
        ),
        (&[0x17, 3, 3, 0xff, 0xff], "corrupt"),
        (b"<presence/>", "corrupt"),
    ] {
        let (mut near, far) = connected(1 << 16).await;
        let mut far = far.into_inner().0;
        // What the handshake left: the ticket.
        let mut left = vec![0; 4096];
        let length = far.read(&mut left).await.unwrap();
        assert!(length > 0);
        far.write_all(forged).await.unwrap();
        let error = near.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains(want), "{error}");
        assert!(near.read(&mut [0; 8]).await.is_err());
        near.shutdown().await.unwrap();
        drop(near);
        let mut alert = Vec::new();
        far.read_to_end(&mut alert).await.unwrap();
        assert!(alert.starts_with(&[0x17, 3, 3]), "{alert:?}");
    }
}
