//! A client that encrypts what no client sends.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;
use tokio::io::DuplexStream;
use tokio_rustls::client::TlsStream;

pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// The keys of a client of TLS 1.3, which has sent `number` records with them.
pub(super) struct Forger {
    key: LessSafeKey,
    iv: [u8; 12],
    number: u64,
}

impl Forger {
    /// Goes on in the place of a client.
    pub(super) fn of(client: TlsStream<DuplexStream>) -> (DuplexStream, Self) {
        let (io, connection) = client.into_inner();
        let (number, secrets) = connection.dangerous_extract_secrets().unwrap().tx;
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            _ => panic!("another cipher"),
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).unwrap());
        (io, Self { key, iv: iv.as_ref().try_into().unwrap(), number })
    }

    /// A record of this type (RFC 8446 §5.2).
    pub(super) fn record(&mut self, content_type: u8, content: &[u8]) -> Vec<u8> {
        self.padded(content_type, content, 0)
    }

    /// The same, with so many zeros behind the content (§5.4).
    pub(super) fn padded(&mut self, content_type: u8, content: &[u8], zeros: usize) -> Vec<u8> {
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.number.to_be_bytes()) {
            *byte ^= count;
        }
        self.number += 1;
        let mut text = [content, &[content_type], &vec![0; zeros]].concat();
        let [high, low] = u16::try_from(text.len() + 16).unwrap().to_be_bytes();
        let head = [APPLICATION_DATA, 3, 3, high, low];
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(head), &mut text).unwrap();
        [&head[..], &text].concat()
    }
}
