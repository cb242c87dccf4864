//! PLAIN (RFC 4616).

use super::failure::{Refusal, SaslFailure};

/// The message of §2: `[authzid] NUL authcid NUL passwd`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) authzid: &'a str,
    pub(super) username: &'a str,
    pub(super) password: &'a str,
}

impl<'a> Message<'a> {
    pub(super) fn parse(input: &'a [u8]) -> Result<Self, Refusal> {
        let malformed = SaslFailure::MalformedRequest;
        let text = std::str::from_utf8(input).map_err(|_| malformed.because("message is not UTF-8"))?;
        let mut parts = text.split('\0');
        let (Some(authzid), Some(username), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed.because("message is not three parts"));
        };
        if username.is_empty() || password.is_empty() {
            return Err(malformed.because("user name or password is empty"));
        }
        Ok(Self { authzid, username, password })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        for (input, authzid, username, password) in [
            ("\0tim\0tanstaaftanstaaf", "", "tim", "tanstaaftanstaaf"), // §4
            ("Ursel\0Kurt\0xipj3plmq", "Ursel", "Kurt", "xipj3plmq"),   // §4
            ("\0juliet\0r0m30myr0m30", "", "juliet", "r0m30myr0m30"),   // RFC 6120 §6.4.2
            ("\0caf\u{e9}\0\u{1f511} key", "", "caf\u{e9}", "\u{1f511} key"),
        ] {
            assert_eq!(Message::parse(input.as_bytes()).unwrap(), Message { authzid, username, password });
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        for input in [
            &b""[..],
            b"\0",
            b"\0\0",
            b"tim",
            b"tim\0secret",
            b"\0tim\0",
            b"\0\0secret",
            b"a\0\0",
            b"\0tim\0secret\0",
            b"\0tim\0sec\0ret",
            b"\0tim\0\xff\xfe",
            b"\0t\xc3\x28m\0secret",
            b"\0t\xed\xa0\x80m\0secret", // a surrogate
            b"\0t\xc1\xa9m\0secret",     // an overlong form
        ] {
            assert_eq!(
                Message::parse(input).unwrap_err().failure,
                SaslFailure::MalformedRequest,
                "{input:?}"
            );
        }
    }
}
