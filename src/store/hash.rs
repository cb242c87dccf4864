//! The keyed hash that stands for addresses and stanza ids in the index: SipHash-2-4.
//!
//! An index of numbers is a fraction of one of texts. The hash is keyed, with a key that each store draws
//! for itself, so that nobody can choose addresses that collide. Where a collision would matter, the record
//! itself decides.

/// A key for [`Hasher::hash`], and the hash.
#[derive(Clone, Copy)]
pub(crate) struct Hasher {
    keys: [u64; 2],
}

impl Hasher {
    /// Uses the first 16 bytes of a secret.
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self { keys: [word(secret), word(secret.get(8..).unwrap_or_default())] }
    }

    /// The hash of a text; never zero, which stands for "none".
    pub(crate) fn hash(self, text: &str) -> i64 {
        match self.siphash(text.as_bytes()).cast_signed() {
            0 => 1,
            hash => hash,
        }
    }

    fn siphash(self, bytes: &[u8]) -> u64 {
        let [k0, k1] = self.keys;
        let mut state = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        let mut words = bytes.chunks_exact(8);
        for chunk in &mut words {
            absorb(&mut state, word(chunk));
        }
        // The last word has the bytes that are left, and the length in its highest byte.
        let length = bytes.len().to_le_bytes()[0];
        absorb(&mut state, word(words.remainder()) | u64::from(length) << 56);
        state[2] ^= 0xff;
        for _ in 0..4 {
            round(&mut state);
        }
        state[0] ^ state[1] ^ state[2] ^ state[3]
    }
}

/// Up to eight bytes as a number, the first byte lowest.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn absorb(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    round(state);
    round(state);
    state[0] ^= word;
}

fn round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *c = c.wrapping_add(*d);
    *b = b.rotate_left(13) ^ *a;
    *d = d.rotate_left(16) ^ *c;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*b);
    *a = a.wrapping_add(*d);
    *b = b.rotate_left(17) ^ *c;
    *d = d.rotate_left(21) ^ *a;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;

    /// Appendix A of the SipHash paper: key 00…0f, message 00…0e; and the first of its authors' vectors.
    #[test]
    fn the_vectors_of_the_paper() {
        let secret: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let message: Vec<u8> = (0..15).collect();
        assert_eq!(Hasher::new(&secret).siphash(&message), 0xa129_ca61_49be_45e5);
        assert_eq!(Hasher::new(&secret).siphash(&[]), 0x726f_db47_dd0e_0e31);
    }
}
