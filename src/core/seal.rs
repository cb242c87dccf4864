//! Ids on the wire: two numbers, enciphered as one block.
//!
//! XEP-0313 §11 asks for ids that nobody can guess, XEP-0198 §5 for the same. A sealed id is short, needs no
//! table to be resolved, and says nothing about order, time or traffic. A forged or foreign one shows itself
//! when it is opened: its second number is not the one that its place demands.

use aes::Aes128;
use aes::cipher::{Block, BlockDecrypt, BlockEncrypt, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use compact_str::CompactString;

/// Length of a sealed id in characters.
pub const SEALED_LEN: usize = 22;

/// A key for ids of one kind.
pub struct Seal(Aes128);

impl Seal {
    /// A seal from a secret that the store keeps.
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut key = [0_u8; 16];
        key.copy_from_slice(secret.split_at(16).0);
        Self(Aes128::new(&key.into()))
    }

    /// The id for two numbers.
    pub fn seal(&self, what: i64, whose: i64) -> CompactString {
        let mut bytes = [0_u8; 16];
        let (high, low) = bytes.split_at_mut(8);
        high.copy_from_slice(&what.to_be_bytes());
        low.copy_from_slice(&whose.to_be_bytes());
        let mut block = Block::<Aes128>::from(bytes);
        self.0.encrypt_block(&mut block);
        let mut text = [0_u8; SEALED_LEN];
        let written = URL_SAFE_NO_PAD.encode_slice(block, &mut text).unwrap_or(0);
        CompactString::from_utf8_lossy(text.split_at(written).0)
    }

    /// The two numbers of an id, or `None` if this is not an id at all.
    pub fn open(&self, id: &str) -> Option<(i64, i64)> {
        let mut bytes = [0_u8; 18];
        let length =
            (id.len() == SEALED_LEN).then(|| URL_SAFE_NO_PAD.decode_slice(id, &mut bytes).ok())??;
        let bytes: [u8; 16] = bytes.split_at_checked(length)?.0.try_into().ok()?;
        let mut block = Block::<Aes128>::from(bytes);
        self.0.decrypt_block(&mut block);
        let (high, low) = block.split_at_checked(8)?;
        Some((i64::from_be_bytes(high.try_into().ok()?), i64::from_be_bytes(low.try_into().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_opens_to_what_was_sealed() {
        let seal = Seal::new(&[7; 32]);
        for (what, whose) in [(0, 0), (1, 2), (i64::MAX, i64::MIN), (1_790_000_000_000_000, 42)] {
            let id = seal.seal(what, whose);
            assert_eq!(id.len(), SEALED_LEN);
            assert_eq!(seal.open(&id), Some((what, whose)));
        }
    }

    #[test]
    fn a_wrong_id_opens_to_nothing_that_fits() {
        let seal = Seal::new(&[7; 32]);
        let foreign = Seal::new(&[8; 32]).seal(5, 42);
        assert!(seal.open(&foreign).is_none_or(|(_, whose)| whose != 42));
        let mut forged = seal.seal(5, 42).to_string();
        forged.replace_range(0..1, if forged.starts_with('A') { "B" } else { "A" });
        assert!(seal.open(&forged).is_none_or(|(_, whose)| whose != 42));
        for id in [
            "",
            "5",
            "not an id at all, far too",
            "ääääääääääÄ",
            "AAAAAAAAAAAAAAAAAAAAA=",
            "AAAAAAAAAAAAAAAAAAAAAB",
        ] {
            let opened = seal.open(id);
            assert!(opened.is_none_or(|(_, whose)| whose != 42), "{id}");
        }
    }
}
