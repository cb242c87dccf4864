//! What the server keeps instead of a password.

use std::{fmt, num::NonZeroU32, str::FromStr};

use aws_lc_rs::{constant_time, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{hash::Hash, password::Password};

/// Bytes of a new salt, the least that XEP-0438 §6.2 allows.
pub const SALT_BYTES: usize = 16;

/// The credential of one account for one hash (RFC 5802 §2.1, "authentication information").
/// Whoever reads it can guess passwords offline and play this server to its clients, but cannot log in.
///
/// The text form is that of RFC 5803 §2: `SCRAM-SHA-256$10000:<salt>$<stored key>:<server key>`.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    hash: Hash,
    iterations: NonZeroU32,
    salt: Box<[u8]>,
    stored_key: Box<[u8]>,
    server_key: Box<[u8]>,
}

impl ScramKeys {
    /// Derives the keys (RFC 5802 §3). Takes milliseconds of CPU: `iterations` rounds of PBKDF2.
    pub fn derive(password: &Password, salt: &[u8], iterations: NonZeroU32, hash: Hash) -> Self {
        let salted = hash.hmac_key(&hash.salted_password(password.as_bytes(), salt, iterations));
        let client_key = hmac::sign(&salted, b"Client Key");
        let server_key = hmac::sign(&salted, b"Server Key");
        Self {
            hash,
            iterations,
            salt: salt.into(),
            stored_key: hash.digest(client_key.as_ref()).as_ref().into(),
            server_key: server_key.as_ref().into(),
        }
    }

    /// Keys that belong to no password; `material` has at least the bytes of one hash.
    pub(super) fn of_nobody(hash: Hash, iterations: NonZeroU32, salt: &[u8], material: &[u8]) -> Self {
        let key: Box<[u8]> = material.iter().copied().take(hash.output_bytes()).collect();
        Self { hash, iterations, salt: salt.into(), stored_key: key.clone(), server_key: key }
    }

    pub fn hash(&self) -> Hash {
        self.hash
    }

    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    pub(super) fn server_key(&self) -> &[u8] {
        &self.server_key
    }

    pub(super) fn stored_key(&self) -> &[u8] {
        &self.stored_key
    }

    /// Whether these are the keys of `password`, in constant time. As slow as [`ScramKeys::derive`].
    pub fn verify(&self, password: &Password) -> bool {
        let candidate = Self::derive(password, &self.salt, self.iterations, self.hash);
        constant_time::verify_slices_are_equal(&candidate.stored_key, &self.stored_key).is_ok()
    }
}

impl fmt::Debug for ScramKeys {
    /// Without the keys: a log must not hold them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys")
            .field("hash", &self.hash)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}${}:{}${}:{}",
            self.hash.family(),
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(&self.stored_key),
            STANDARD.encode(&self.server_key)
        )
    }
}

/// A stored credential is not in the form that [`ScramKeys`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormatError {
    #[error("stored credential is not of the form FAMILY$iterations:salt$key:key")]
    Shape,
    #[error("stored credential is of an unknown mechanism family")]
    Family,
    #[error("stored credential has a wrong iteration count")]
    Iterations,
    #[error("stored credential has a salt or a key of a wrong length or encoding")]
    Bytes,
}

impl FromStr for ScramKeys {
    type Err = KeyFormatError;

    fn from_str(text: &str) -> Result<Self, KeyFormatError> {
        let mut parts = text.split('$');
        let (Some(family), Some(salting), Some(keys), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(KeyFormatError::Shape);
        };
        let (iterations, salt) = salting.split_once(':').ok_or(KeyFormatError::Shape)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(KeyFormatError::Shape)?;
        let hash = Hash::parse_family(family).ok_or(KeyFormatError::Family)?;
        let key = |text: &str| match bytes(text)? {
            key if key.len() == hash.output_bytes() => Ok(key),
            _ => Err(KeyFormatError::Bytes),
        };
        Ok(Self {
            hash,
            iterations: iterations.parse().map_err(|_| KeyFormatError::Iterations)?,
            salt: bytes(salt)?,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }
}

fn bytes(text: &str) -> Result<Box<[u8]>, KeyFormatError> {
    match STANDARD.decode(text) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes.into()),
        _ => Err(KeyFormatError::Bytes),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The password `pencil`, the salt and the count of RFC 5802 §5 and RFC 7677 §3; all three texts were
    /// computed with Python's `hashlib` and `hmac`.
    const PENCIL: [(&str, u32, &str, &str); 3] = [
        (
            "SCRAM-SHA-1",
            4096,
            "QSXCR+Q6sek8bf92",
            "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:\
             D+CSWLOshSulAsxiupA+qs2/fTE=",
        ),
        (
            "SCRAM-SHA-256",
            4096,
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
             wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        ),
        (
            "SCRAM-SHA-512",
            10_000,
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "SCRAM-SHA-512$10000:W22ZaJ0SNY7soEsUEjb6gQ==$oTENKRKM8dCIK28Bh8xQMpR/Dl39Bkkx5T7vfm2QGQpS0D75nvDvIqTIcsI+2pRTITXxT4OWJ67iUH4MJXz9sA==:\
             InFlwiMBDK+4H6y7/lNqRBFgv8V7bu/5jVxmjEjHfbT36E14uTmLYkj32bM60Co5H5sufdkfNhfLN8dvgw7LDw==",
        ),
    ];

    #[test]
    fn derived_keys_are_those_of_an_independent_implementation() {
        let password = Password::prepare("pencil").unwrap();
        for (family, iterations, salt, want) in PENCIL {
            let keys = ScramKeys::derive(
                &password,
                &STANDARD.decode(salt).unwrap(),
                NonZeroU32::new(iterations).unwrap(),
                Hash::parse_family(family).unwrap(),
            );
            assert_eq!(keys.to_string(), want);
            assert_eq!(want.parse(), Ok(keys.clone()));
            assert!(keys.verify(&password));
            for wrong in ["pencil ", "Pencil", "penci", "p"] {
                assert!(!keys.verify(&Password::prepare(wrong).unwrap()), "{wrong}");
            }
        }
    }

    #[test]
    fn a_damaged_credential_is_refused() {
        let key = STANDARD.encode([7; 32]);
        for (text, want) in [
            (String::new(), KeyFormatError::Shape),
            ("secret".into(), KeyFormatError::Shape),
            (format!("SCRAM-SHA-256$1:YQ==${key}"), KeyFormatError::Shape),
            (format!("SCRAM-SHA-256$1${key}:{key}"), KeyFormatError::Shape),
            (format!("SCRAM-SHA-256$1:YQ==${key}:{key}$"), KeyFormatError::Shape),
            (format!("SCRAM-SHA-384$1:YQ==${key}:{key}"), KeyFormatError::Family),
            (format!("SCRAM-SHA-256-PLUS$1:YQ==${key}:{key}"), KeyFormatError::Family),
            (format!("SCRAM-SHA-256$0:YQ==${key}:{key}"), KeyFormatError::Iterations),
            (format!("SCRAM-SHA-256$-1:YQ==${key}:{key}"), KeyFormatError::Iterations),
            (format!("SCRAM-SHA-256$4294967296:YQ==${key}:{key}"), KeyFormatError::Iterations),
            (format!("SCRAM-SHA-256$1:${key}:{key}"), KeyFormatError::Bytes),
            (format!("SCRAM-SHA-256$1:YQ${key}:{key}"), KeyFormatError::Bytes),
            (format!("SCRAM-SHA-256$1:YQ==$YQ==:{key}"), KeyFormatError::Bytes),
            (format!("SCRAM-SHA-256$1:YQ==${key}:YQ=="), KeyFormatError::Bytes),
            (format!("SCRAM-SHA-256$1:YQ==${key}:"), KeyFormatError::Bytes),
            (format!("SCRAM-SHA-512$1:YQ==${key}:{key}"), KeyFormatError::Bytes),
        ] {
            assert_eq!(text.parse::<ScramKeys>(), Err(want), "{text}");
        }
    }

    #[test]
    fn no_key_reaches_a_log() {
        let keys = ScramKeys::of_nobody(Hash::Sha256, NonZeroU32::MIN, b"salt", &[0xAB; 32]);
        assert_eq!(format!("{keys:?}"), "ScramKeys { hash: Sha256, iterations: 1, .. }");
    }
}
