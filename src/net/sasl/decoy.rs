//! Credentials for users who do not exist.
//!
//! Whoever asks for an unknown user gets what he would get for a known one: a salt and a count that stay
//! the same from one try to the next, and after that the failure of a wrong password. Both come from a
//! secret of the server, so nobody else can tell them from real ones.

use std::num::NonZeroU32;

use aws_lc_rs::hmac;

use super::{
    hash::Hash,
    keys::{SALT_BYTES, ScramKeys},
};

/// Makes credentials of nobody.
pub struct Decoys {
    key: hmac::Key,
    iterations: Box<[NonZeroU32]>,
}

impl Decoys {
    /// `secret` is drawn once and kept with the accounts: where it changes, salts of unknown users change
    /// and betray them. `iterations` are the counts that real credentials have; an unknown user gets one
    /// of them (a count may stand there twice to be twice as likely). An empty list means
    /// [`super::ITERATIONS`].
    pub fn new(secret: &[u8; 32], iterations: &[NonZeroU32]) -> Self {
        let iterations = if iterations.is_empty() { &[super::ITERATIONS] } else { iterations };
        Self { key: hmac::Key::new(hmac::HMAC_SHA512, secret), iterations: iterations.into() }
    }

    /// The keys of nobody for `account`, which is in its canonical form.
    pub(super) fn keys(&self, account: &str, hash: Hash) -> ScramKeys {
        let visible = self.draw("salt", account, hash);
        let (salt, rest) = visible.as_ref().split_at(SALT_BYTES);
        let pick = rest.iter().take(4).fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        let iterations = pick
            .checked_rem(self.iterations.len())
            .and_then(|index| self.iterations.get(index))
            .copied()
            .unwrap_or(super::ITERATIONS);
        ScramKeys::of_nobody(hash, iterations, salt, self.draw("keys", account, hash).as_ref())
    }

    fn draw(&self, purpose: &str, account: &str, hash: Hash) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [purpose, hash.family(), account] {
            context.update(part.as_bytes());
            context.update(b"\0");
        }
        context.sign()
    }
}

impl std::fmt::Debug for Decoys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoys(..)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_unknown_user_has_one_salt_for_each_hash() {
        let decoys = Decoys::new(&[1; 32], &[]);
        let again = Decoys::new(&[1; 32], &[]);
        let mut salts = HashSet::new();
        for account in ["alice@example.org", "bob@example.org", "alice@example.net"] {
            for hash in Hash::ALL {
                let keys = decoys.keys(account, hash);
                assert_eq!(keys, again.keys(account, hash));
                assert_eq!((keys.hash(), keys.iterations()), (hash, super::super::ITERATIONS));
                assert_eq!(keys.stored_key().len(), hash.output_bytes());
                assert_eq!(keys.salt().len(), SALT_BYTES);
                salts.insert(keys.salt().to_vec());
            }
        }
        assert_eq!(salts.len(), 9);
        let other = Decoys::new(&[2; 32], &[]).keys("alice@example.org", Hash::Sha256);
        assert!(!salts.contains(other.salt()));
    }

    #[test]
    fn counts_are_drawn_from_those_in_use() {
        let counts = [4096, 10_000, 20_000].map(|count| NonZeroU32::new(count).unwrap());
        let decoys = Decoys::new(&[1; 32], &counts);
        let drawn: HashSet<_> = (0..64)
            .map(|user| decoys.keys(&format!("user{user}@example.org"), Hash::Sha256).iterations())
            .collect();
        assert_eq!(drawn, HashSet::from(counts));
    }
}
