//! The client's side of SCRAM (RFC 5802), on its own.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::{Engine as _, engine::general_purpose::STANDARD};

const NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";

pub(crate) struct Scram<'a> {
    /// `SCRAM-SHA-256`, or the same with `-PLUS`.
    pub(crate) mechanism: &'a str,
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
}

impl<'a> Scram<'a> {
    pub(crate) fn new(mechanism: &'a str, user: &'a str, password: &'a str) -> Self {
        Self { mechanism, user, password }
    }

    fn flag(&self) -> &'static str {
        if self.mechanism.ends_with("-PLUS") { "p=tls-exporter,," } else { "n,," }
    }

    fn bare(&self) -> String {
        format!("n={},r={NONCE}", self.user)
    }

    pub(crate) fn first(&self) -> String {
        self.flag().to_owned() + &self.bare()
    }

    /// The final message, and what the server must answer to it.
    pub(crate) fn last(&self, challenge: &str, exporter: &[u8]) -> (String, String) {
        let value = |key: &str| challenge.split(',').find_map(|part| part.strip_prefix(key)).unwrap();
        let mut binding = self.flag().as_bytes().to_vec();
        if self.mechanism.ends_with("-PLUS") {
            binding.extend_from_slice(exporter);
        }
        let without_proof = format!("c={},r={}", STANDARD.encode(binding), value("r="));
        let auth = format!("{},{challenge},{without_proof}", self.bare());
        let rounds: NonZeroU32 = value("i=").parse().unwrap();
        let salt = STANDARD.decode(value("s=")).unwrap();
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, self.password.as_bytes(), &mut salted);
        let sign = |key: &[u8], data: &[u8]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
        };
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let signature = sign(stored_key.as_ref(), auth.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let server = sign(&sign(&salted, b"Server Key"), auth.as_bytes());
        (format!("{without_proof},p={}", STANDARD.encode(proof)), format!("v={}", STANDARD.encode(server)))
    }
}

/// What RFC 9266 binds to.
pub(crate) fn exporter(connection: &rustls::ClientConnection) -> [u8; 32] {
    connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap()
}
