//! Passwords, between the moment they arrive and the moment they are keys.

use std::{fmt, num::NonZeroU32};

use unisono_core::jid::opaque_string;

use super::{
    hash::Hash,
    keys::{SALT_BYTES, ScramKeys},
};

/// Rounds of PBKDF2 for a new credential, the least that XEP-0438 §7 asks for. Each costs the client at a
/// SCRAM login, and the server at a PLAIN login or when a password is set; a SCRAM login costs the server
/// none. RFC 5802 §5.1 asks for 4096.
pub const ITERATIONS: NonZeroU32 = NonZeroU32::new(10_000).unwrap();

/// Bytes of a password as it arrives. XEP-0438 §8 allows a bound between 64 and 128 characters; RFC 4616
/// §2 demands 255 bytes.
pub const PASSWORD_BYTES_MAX: usize = 1023;

/// A password in the form from which keys are derived (RFC 8265 §4.2, OpaqueString).
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<str>);

/// Why a password cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("password is empty")]
    Empty,
    #[error("password is longer than {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    #[error("password has a character that RFC 8265 forbids, such as a control character")]
    Forbidden,
}

impl Password {
    /// Maps spaces to U+0020, composes (NFC), and refuses what no client could send.
    pub fn prepare(text: &str) -> Result<Self, PasswordError> {
        if text.is_empty() {
            return Err(PasswordError::Empty);
        }
        if text.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::TooLong);
        }
        opaque_string(text).map(|prepared| Self(prepared.into())).ok_or(PasswordError::Forbidden)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    /// Without the password: a log must not hold it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Keys for an account whose password is set: one credential for each hash, each with a salt of its own
/// (XEP-0438 §6.2), so that any client can log in. Takes some ten milliseconds of CPU. Fails where the
/// system has no randomness.
pub fn fresh_keys(password: &Password) -> Result<Vec<ScramKeys>, getrandom::Error> {
    Hash::ALL
        .into_iter()
        .map(|hash| {
            let mut salt = [0; SALT_BYTES];
            getrandom::fill(&mut salt)?;
            Ok(ScramKeys::derive(password, &salt, ITERATIONS, hash))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// RFC 8265 §4.3.
    #[test]
    fn the_examples_of_the_rfc_are_judged_as_it_does() {
        let prepared = |text: &str| Password::prepare(text).map(|password| password.0.into_string());
        for (number, text, want) in [
            (12, "correct horse battery staple", Ok("correct horse battery staple")),
            (13, "Correct Horse Battery Staple", Ok("Correct Horse Battery Staple")),
            (14, "\u{3c0}\u{df}\u{e5}", Ok("\u{3c0}\u{df}\u{e5}")),
            (15, "Jack of \u{2666}s", Ok("Jack of \u{2666}s")),
            (16, "foo\u{1680}bar", Ok("foo bar")),
            (17, "", Err(PasswordError::Empty)),
            (18, "my cat is a \tby", Err(PasswordError::Forbidden)),
        ] {
            assert_eq!(prepared(text), want.map(str::to_owned), "example {number}");
        }
    }

    /// What was not in the tables of Unicode 6.3, and what depends on what is beside it.
    #[test]
    fn newer_characters_are_allowed_and_contexts_are_looked_at() {
        for text in ["\u{1f98a} fox", "\u{1fae0}", "\u{644}\u{200c}\u{627}", "l\u{b7}l"] {
            assert!(Password::prepare(text).is_ok(), "{text:?}");
        }
        for text in ["a\u{200d}b", "a\u{b7}b", "\u{661}\u{6f1}"] {
            assert_eq!(Password::prepare(text), Err(PasswordError::Forbidden), "{text:?}");
        }
    }

    #[test]
    fn one_password_typed_in_two_ways_is_one_password() {
        for (typed, same) in [
            ("correct horse", "correct\u{a0}horse"), // RFC 8265 §4.2.2, rule 2: spaces
            ("correct horse", "correct\u{3000}horse"), // the same, ideographic
            ("caf\u{e9}", "cafe\u{301}"),            // rule 4: NFC
        ] {
            assert_eq!(Password::prepare(typed), Password::prepare(same), "{typed}");
        }
        for (typed, other) in [
            ("secret", "Secret"),   // rule 3: case is kept
            ("secret", " secret"),  // spaces are kept
            ("\u{fb01}sh", "fish"), // no NFKC
            ("\u{ff41}", "a"),      // rule 1: widths are kept
            ("x\u{bd}", "x1/2"),    // RFC 5802 §3 names this difference
        ] {
            assert_ne!(Password::prepare(typed), Password::prepare(other), "{typed}");
        }
    }

    #[test]
    fn what_is_no_password_is_refused() {
        for (text, want) in [
            (String::new(), PasswordError::Empty),
            ("a".repeat(PASSWORD_BYTES_MAX + 1), PasswordError::TooLong),
            ("a\0b".into(), PasswordError::Forbidden),
            ("line\n".into(), PasswordError::Forbidden),
            ("\u{7f}".into(), PasswordError::Forbidden),
            ("\u{85}".into(), PasswordError::Forbidden),
            ("\u{1100}\u{1161}".into(), PasswordError::Forbidden), // RFC 8264 §9.9: conjoining jamo
            ("\u{fdd0}".into(), PasswordError::Forbidden),         // RFC 8264 §9.7: no character
        ] {
            assert_eq!(Password::prepare(&text), Err(want), "{text:?}");
        }
        assert!(Password::prepare(&"a".repeat(PASSWORD_BYTES_MAX)).is_ok());
        assert_eq!(format!("{:?}", Password::prepare("secret").unwrap()), "Password(..)");
    }

    #[test]
    fn fresh_keys_cover_every_hash_with_salts_of_their_own() {
        let password = Password::prepare("secret").unwrap();
        let keys = fresh_keys(&password).unwrap();
        assert_eq!(keys.iter().map(ScramKeys::hash).collect::<Vec<_>>(), Hash::ALL);
        let again = fresh_keys(&password).unwrap();
        let salts: std::collections::HashSet<_> = keys.iter().chain(&again).map(ScramKeys::salt).collect();
        assert_eq!(salts.len(), 6);
        for keys in &keys {
            assert_eq!((keys.salt().len(), keys.iterations()), (SALT_BYTES, ITERATIONS));
            assert!(keys.verify(&password));
        }
    }
}
