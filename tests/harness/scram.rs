//! SCRAM (RFC 5802, RFC 7677) and PLAIN (RFC 4616), the client's side.

use std::num::NonZeroU32;

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use aws_lc_rs::{hmac, pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mechanism {
    /// As the server offers it.
    pub(crate) name: &'static str,
    /// What ties the proof to the connection (RFC 5056).
    pub(crate) binding: Option<&'static str>,
}

impl Mechanism {
    pub(crate) const USUAL: Self = Self::new("SCRAM-SHA-1", None);

    pub(crate) const fn new(name: &'static str, binding: Option<&'static str>) -> Self {
        Self { name, binding }
    }

    /// The digest of its hash.
    pub(crate) fn digest(self, data: &[u8]) -> Vec<u8> {
        digest(self.hash().0, data).as_ref().to_vec()
    }

    fn hash(self) -> (&'static Algorithm, hmac::Algorithm, pbkdf2::Algorithm) {
        if self.name.contains("512") {
            (&SHA512, hmac::HMAC_SHA512, pbkdf2::PBKDF2_HMAC_SHA512)
        } else if self.name.contains("256") {
            (&SHA256, hmac::HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA256)
        } else {
            let mac = hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
            (&SHA1_FOR_LEGACY_USE_ONLY, mac, pbkdf2::PBKDF2_HMAC_SHA1)
        }
    }
}

/// One exchange.
pub(crate) struct Exchange {
    mechanism: Mechanism,
    gs2: String,
    bare: String,
    password: String,
    /// What the server must say at the end.
    signature: String,
}

impl Exchange {
    pub(crate) fn new(mechanism: Mechanism, name: &str, password: &str) -> Self {
        let mut nonce = [0; 18];
        rand::fill(&mut nonce).unwrap();
        let gs2 = mechanism.binding.map_or("n,,".to_owned(), |binding| format!("p={binding},,"));
        let bare = format!("n={name},r={}", STANDARD.encode(nonce));
        Self { mechanism, gs2, bare, password: password.to_owned(), signature: String::new() }
    }

    /// With another header (RFC 5802 §7) than the one that fits the mechanism.
    pub(crate) fn says(mut self, gs2: &str) -> Self {
        gs2.clone_into(&mut self.gs2);
        self
    }

    /// With an authorisation identity, if it is one.
    pub(crate) fn acting_for(mut self, whom: &str) -> Self {
        if !whom.is_empty() {
            self.gs2 = format!("{},a={whom},", self.gs2.trim_end_matches(','));
        }
        self
    }

    /// The client's first message, in base64.
    pub(crate) fn first(&self) -> String {
        STANDARD.encode(format!("{}{}", self.gs2, self.bare))
    }

    /// The client's last message for the server's first one, both in base64.
    pub(crate) fn last(&mut self, challenge: &str, binding: &[u8]) -> String {
        let challenge = String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
        let part = |key: &str| challenge.split(',').find_map(|part| part.strip_prefix(key)).unwrap();
        let (digest_of, mac_of, derive_by) = self.mechanism.hash();
        let mac = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(mac_of, key), data).as_ref().to_vec();

        let (nonce, salt) = (part("r="), STANDARD.decode(part("s=")).unwrap());
        let rounds: NonZeroU32 = part("i=").parse().unwrap();
        let mut salted = vec![0; digest_of.output_len()];
        pbkdf2::derive(derive_by, rounds, &salt, self.password.as_bytes(), &mut salted);
        let channel = STANDARD.encode([self.gs2.as_bytes(), binding].concat());
        let without_proof = format!("c={channel},r={nonce}");
        let signed = format!("{},{challenge},{without_proof}", self.bare);

        let key = mac(&salted, b"Client Key");
        let signature = mac(digest(digest_of, &key).as_ref(), signed.as_bytes());
        let proof: Vec<u8> = key.iter().zip(signature).map(|(key, bits)| key ^ bits).collect();
        let of_server = mac(&mac(&salted, b"Server Key"), signed.as_bytes());
        self.signature = format!("v={}", STANDARD.encode(of_server));
        STANDARD.encode(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    /// Whether the server knows the password, too.
    pub(crate) fn is_proven(&self, last: &str) -> bool {
        STANDARD.decode(last).is_ok_and(|said| said == self.signature.as_bytes())
    }
}

/// The one message of PLAIN, in base64.
pub(crate) fn plain(whom: &str, name: &str, password: &str) -> String {
    STANDARD.encode(format!("{whom}\0{name}\0{password}"))
}
