#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::time::SystemTime;

use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, Error, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::{TlsConnector, client};

use self::forger::{APPLICATION_DATA, Forger, HANDSHAKE};
use super::super::{CertStore, TlsIdentity, accept, client_config, self_signed};
use super::*;
use crate::ration::{Rationed, Source as _};

mod forger;

const NAME: &str = "a.example";

/// Both ends of a connection on which so many bytes can be on their way.
async fn connected(bytes: usize) -> (TlsStream<DuplexStream>, client::TlsStream<DuplexStream>) {
    connected_by(bytes, &[&TLS13]).await
}

async fn connected_by(
    bytes: usize,
    versions: &[&'static SupportedProtocolVersion],
) -> (TlsStream<DuplexStream>, client::TlsStream<DuplexStream>) {
    let (near, far) = tokio::io::duplex(bytes);
    both_ends(near, far, versions).await
}

async fn both_ends<IO: AsyncRead + AsyncWrite + Unpin>(
    near: IO,
    far: DuplexStream,
    versions: &[&'static SupportedProtocolVersion],
) -> (TlsStream<IO>, client::TlsStream<DuplexStream>) {
    let made = self_signed(&[NAME.to_owned()], SystemTime::now()).unwrap();
    let identity = TlsIdentity::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes()).unwrap();
    let store = CertStore::of_identity(identity);
    let mut config = client_config(&made.certificate_pem, versions).unwrap();
    config.enable_secret_extraction = true;
    let connecting = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME).unwrap(), far);
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
    let record = [&[0x17, 3, 3, 0, 24][..], &[7; 24]].concat();
    for (forged, want, alert) in [
        (&record[..], "decrypt", AlertDescription::BadRecordMac),
        (&[0x17, 3, 3, 0xff, 0xff], "corrupt", AlertDescription::DecodeError),
        (b"<presence/>", "corrupt", AlertDescription::DecodeError),
    ] {
        let (mut near, far) = connected(1 << 16).await;
        let (mut far, mut client) = far.into_inner();
        far.write_all(forged).await.unwrap();
        for _ in 0..2 {
            let error = near.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(want), "{error}");
        }
        assert!(near.write_all(b"more").await.is_err());
        near.shutdown().await.unwrap();
        drop(near);
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).await.unwrap();
        client.read_tls(&mut answer.as_slice()).unwrap();
        assert_eq!(client.process_new_packets().unwrap_err(), Error::AlertReceived(alert));
    }
}

/// What came before the error is read, and then the error.
#[tokio::test]
async fn an_error_hides_nothing_that_came_before() {
    let (mut near, far) = connected(1 << 16).await;
    let (mut far, mut forger) = Forger::of(far);
    let good = forger.record(APPLICATION_DATA, b"last words");
    far.write_all(&[&good[..], b"<presence/>"].concat()).await.unwrap();
    let mut read = [0; 64];
    let count = near.read(&mut read).await.unwrap();
    assert_eq!(&read[..count], b"last words");
    assert!(near.read(&mut read).await.is_err());
}

/// A record and a message of TLS itself that come in two parts, with something written between them.
#[tokio::test]
async fn what_is_half_read_waits_while_something_is_written() {
    let (mut near, far) = connected(1 << 16).await;
    let (mut far, mut forger) = Forger::of(far);
    let mut read = [0; 64];
    let half = forger.record(APPLICATION_DATA, b"in two parts");
    let (one, two) = half.split_at(9);
    // A request to change keys (RFC 8446 §4.6.3) with its last byte in a record of its own.
    let key_update = [forger.record(HANDSHAKE, &[24, 0, 0, 1]), forger.record(HANDSHAKE, &[0])];
    for part in [one, two, &key_update[0], &key_update[1]] {
        far.write_all(part).await.unwrap();
        let reading =
            poll_fn(|cx| Poll::Ready(Pin::new(&mut near).poll_read(cx, &mut ReadBuf::new(&mut read))));
        assert_eq!(reading.await.is_ready(), part == two);
        near.write_all(b"meanwhile").await.unwrap();
        near.flush().await.unwrap();
    }
    assert_eq!(&read[..12], b"in two parts");
    assert_eq!(near.held(), 0);
}

/// Messages of TLS itself that are never complete, with something good between them.
#[tokio::test]
async fn what_makes_no_sense_is_held_for_a_record_at_most() {
    for (is_known, bound) in [(false, 8 * 1024), (true, INCOMPLETE_BYTES_MAX + READ_BYTES)] {
        for padding in [0, 2000] {
            let (near, far) = tokio::io::duplex(1 << 20);
            let (mut near, far) = both_ends(Rationed::new(near), far, &[&TLS13]).await;
            let (mut far, mut forger) = Forger::of(far);
            let (mut held, mut read) = (0, [0; 64]);
            loop {
                near.go_on(is_known);
                let nothing = forger.padded(HANDSHAKE, b"", padding);
                far.write_all(&[nothing, forger.record(APPLICATION_DATA, b" ")].concat()).await.unwrap();
                if near.read(&mut read).await.is_err() {
                    break;
                }
                assert!(near.held() > held, "it is not understood");
                held = near.held();
                assert!(held <= bound, "{held} bytes are held, padded by {padding}");
            }
        }
    }
}

/// The end is written even where there is no room for it yet.
#[tokio::test]
async fn an_end_waits_for_room() {
    let (mut near, mut far) = connected_by(1, &[&TLS12]).await;
    let mut read = Vec::new();
    let (ended, received) = tokio::join!(
        async {
            near.write_all(b"farewell").await?;
            near.shutdown().await
        },
        far.read_to_end(&mut read)
    );
    ended.unwrap();
    received.unwrap();
    assert_eq!(read, b"farewell");
}
