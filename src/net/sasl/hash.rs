//! The hash functions of SCRAM and what SCRAM builds from them.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};

/// The hash of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// RFC 5802, mandatory in RFC 6120 §13.8.1. SHA-1 is still sound inside HMAC and PBKDF2.
    Sha1,
    /// RFC 7677.
    Sha256,
    /// As RFC 7677 with SHA-512.
    Sha512,
}

impl Hash {
    /// All of them, the strongest first.
    pub const ALL: [Self; 3] = [Self::Sha512, Self::Sha256, Self::Sha1];

    /// The mechanism family, the name under which a store keeps the credential.
    pub const fn family(self) -> &'static str {
        match self {
            Self::Sha1 => "SCRAM-SHA-1",
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// The inverse of [`Hash::family`].
    pub fn parse_family(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.family() == name)
    }

    /// Bytes of its result: of a proof, a stored key and a server key.
    pub const fn output_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// `H(data)` of RFC 5802 §2.2.
    pub(super) fn digest(self, data: &[u8]) -> digest::Digest {
        #[cfg(test)]
        work::add(|done| &mut done.digests, 1);
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, data)
    }

    /// A key for `HMAC(key, …)` of RFC 5802 §2.2.
    pub(super) fn hmac_key(self, key: &[u8]) -> hmac::Key {
        #[cfg(test)]
        work::add(|done| &mut done.keys, 1);
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::Key::new(algorithm, key)
    }

    /// `Hi(password, salt, iterations)` of RFC 5802 §2.2. The only slow function here.
    pub(super) fn salted_password(self, password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Vec<u8> {
        #[cfg(test)]
        work::add(|done| &mut done.rounds, iterations.get());
        let algorithm = match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let mut salted = vec![0; self.output_bytes()];
        pbkdf2::derive(algorithm, iterations, salt, password, &mut salted);
        salted
    }
}

/// What this thread has computed, so that a test can tell whether two ways cost the same.
#[cfg(test)]
pub(super) mod work {
    use std::cell::Cell;

    #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
    pub(in crate::sasl) struct Work {
        /// Rounds of PBKDF2.
        pub(in crate::sasl) rounds: u32,
        pub(in crate::sasl) digests: u32,
        /// Keys that were set up for HMAC.
        pub(in crate::sasl) keys: u32,
    }

    thread_local! {
        static DONE: Cell<Work> = Cell::default();
    }

    pub(super) fn add(count: impl FnOnce(&mut Work) -> &mut u32, more: u32) {
        let mut done = DONE.get();
        let count = count(&mut done);
        *count = count.saturating_add(more);
        DONE.set(done);
    }

    /// Does something, and tells what was computed for it.
    pub(in crate::sasl) fn during<T>(work: impl FnOnce() -> T) -> (T, Work) {
        let before = DONE.take();
        let result = work();
        let done = DONE.replace(before);
        (result, done)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn families_are_read_back_and_lengths_are_those_of_the_functions() {
        for hash in Hash::ALL {
            assert_eq!(Hash::parse_family(hash.family()), Some(hash));
            assert_eq!(hash.digest(b"").as_ref().len(), hash.output_bytes());
            let once = NonZeroU32::new(1).unwrap();
            assert_eq!(hash.salted_password(b"a", b"b", once).len(), hash.output_bytes());
        }
        for name in ["", "SCRAM-SHA-224", "scram-sha-256", "SCRAM-SHA-256-PLUS", "SHA-1"] {
            assert_eq!(Hash::parse_family(name), None, "{name}");
        }
    }
}
