//! The client's two messages (RFC 5802 §7). The order of attributes is fixed; unknown ones are allowed
//! at the places that the grammar names, and ignored.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::super::failure::{Refusal, SaslFailure};

const MALFORMED: SaslFailure = SaslFailure::MalformedRequest;

/// §7 `gs2-cbind-flag`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BindingFlag<'a> {
    /// `n`: the client has no channel binding.
    Lacks,
    /// `y`: the client has it, and believes that the server has not.
    SawNone,
    /// `p=`: the client uses this one.
    Uses(&'a str),
}

/// `client-first-message`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFirst<'a> {
    /// `gs2-header`, with the comma at its end.
    pub(super) header: &'a str,
    pub(super) flag: BindingFlag<'a>,
    /// Empty if there is none.
    pub(super) authzid: String,
    /// `client-first-message-bare`.
    pub(super) bare: &'a str,
    pub(super) username: String,
    pub(super) nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    pub(super) fn parse(input: &'a [u8]) -> Result<Self, Refusal> {
        let text = text(input)?;
        let (flag, rest) = text.split_once(',').ok_or(MALFORMED.because("no GS2 header"))?;
        let (authzid, bare) = rest.split_once(',').ok_or(MALFORMED.because("no GS2 header"))?;
        let header = text.strip_suffix(bare).ok_or(MALFORMED.because("no GS2 header"))?;
        let mut attributes = bare.split(',');
        let username = name(attribute(attributes.next(), "n=")?)?;
        let nonce = attribute(attributes.next(), "r=")?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(MALFORMED.because("nonce is not printable"));
        }
        extensions(attributes)?;
        let authzid = if authzid.is_empty() { String::new() } else { name(attribute(Some(authzid), "a=")?)? };
        Ok(Self { header, flag: binding_flag(flag)?, authzid, bare, username, nonce })
    }
}

/// `client-final-message`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFinal<'a> {
    /// `client-final-message-without-proof`.
    pub(super) without_proof: &'a str,
    /// The value of `c=`, in base64: it is compared, not read.
    pub(super) binding: &'a str,
    pub(super) nonce: &'a str,
    pub(super) proof: Vec<u8>,
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(input: &'a [u8]) -> Result<Self, Refusal> {
        let text = text(input)?;
        let (without_proof, proof) = text.rsplit_once(',').ok_or(MALFORMED.because("no proof"))?;
        let proof = attribute(Some(proof), "p=")?;
        let proof = STANDARD.decode(proof).map_err(|_| MALFORMED.because("proof is not base64"))?;
        let mut attributes = without_proof.split(',');
        let binding = attribute(attributes.next(), "c=")?;
        let nonce = attribute(attributes.next(), "r=")?;
        extensions(attributes)?;
        Ok(Self { without_proof, binding, nonce, proof })
    }
}

fn text(input: &[u8]) -> Result<&str, Refusal> {
    match std::str::from_utf8(input) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(MALFORMED.because("message is not UTF-8 without NUL")),
    }
}

fn binding_flag(flag: &str) -> Result<BindingFlag<'_>, Refusal> {
    match (flag, flag.strip_prefix("p=")) {
        ("n", _) => Ok(BindingFlag::Lacks),
        ("y", _) => Ok(BindingFlag::SawNone),
        (_, Some(name)) if is_binding_name(name) => Ok(BindingFlag::Uses(name)),
        _ => Err(MALFORMED.because("no channel binding flag")),
    }
}

/// §7 `cb-name`.
fn is_binding_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

fn attribute<'a>(part: Option<&'a str>, key: &str) -> Result<&'a str, Refusal> {
    let part = part.unwrap_or_default();
    if part.starts_with("m=") {
        return Err(MALFORMED.because("mandatory extension"));
    }
    part.strip_prefix(key).ok_or(MALFORMED.because("attribute missing or in a wrong place"))
}

/// §7 `saslname`: `,` and `=` come as `=2C` and `=3D`, and no other `=` is allowed (§5.1, `n`).
fn name(escaped: &str) -> Result<String, Refusal> {
    let mut pieces = escaped.split('=');
    let mut name = String::from(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (character, rest) = match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(MALFORMED.because("unknown escape in a name")),
        };
        name.push(character);
        name.push_str(rest);
    }
    if name.is_empty() { Err(MALFORMED.because("name is empty")) } else { Ok(name) }
}

/// §7 `extensions`: unknown attributes are ignored; `m`, and those that have a place elsewhere, are not.
fn extensions<'a>(parts: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    for part in parts {
        match part.as_bytes() {
            [b'm', b'=', ..] => return Err(MALFORMED.because("mandatory extension")),
            [b'a' | b'n' | b'r' | b'c' | b's' | b'i' | b'p' | b'v' | b'e', b'=', ..] => {
                return Err(MALFORMED.because("attribute twice or in a wrong place"));
            }
            [key, b'=', _, ..] if key.is_ascii_alphabetic() => {}
            _ => return Err(MALFORMED.because("extension is no attribute")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn first_messages_are_read() {
        for (input, header, flag, authzid, username, nonce) in [
            // RFC 5802 §5
            (
                "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
                "n,,",
                BindingFlag::Lacks,
                "",
                "user",
                "fyko+d2lbbFgONRv9qkxdawL",
            ),
            ("y,,n=user,r=x", "y,,", BindingFlag::SawNone, "", "user", "x"),
            // XEP-0474 §6.3
            (
                "p=tls-exporter,,n=user,r=12C4CD5C-E38E",
                "p=tls-exporter,,",
                BindingFlag::Uses("tls-exporter"),
                "",
                "user",
                "12C4CD5C-E38E",
            ),
            ("n,a=u@d,n=u,r=x", "n,a=u@d,", BindingFlag::Lacks, "u@d", "u", "x"),
            // §5.1: escapes, in both names
            ("n,a==2C=3D,n=a=2Cb=3Dc,r=x", "n,a==2C=3D,", BindingFlag::Lacks, ",=", "a,b=c", "x"),
            ("n,,n==3D2C,r=x", "n,,", BindingFlag::Lacks, "", "=2C", "x"),
            // §7: extensions, and what the alphabet of a nonce allows
            ("n,,n=caf\u{e9},r=!=~,X=1,d=a=b", "n,,", BindingFlag::Lacks, "", "caf\u{e9}", "!=~"),
        ] {
            let message = ClientFirst::parse(input.as_bytes()).unwrap();
            assert_eq!((message.header, message.flag), (header, flag), "{input}");
            assert_eq!((message.authzid.as_str(), message.username.as_str()), (authzid, username), "{input}");
            assert_eq!(message.nonce, nonce, "{input}");
            assert_eq!(message.header.to_owned() + message.bare, input);
        }
    }

    #[test]
    fn wrong_first_messages_are_malformed() {
        for input in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n=user",
            "n,,r=x,n=user",     // §5.1: the order is fixed
            "n,,n=user,x=1,r=x", // §7: no extension before the nonce
            "n=user,r=x",        // §5: no header
            ",,n=user,r=x",      // §5: the flag is n, y or p
            "N,,n=user,r=x",
            "x,,n=user,r=x",
            "nn,,n=user,r=x",
            "p,,n=user,r=x",
            "p=,,n=user,r=x",
            "p=tls_unique,,n=user,r=x", // §7: cb-name
            "p=tls unique,,n=user,r=x",
            "F,n,,n=user,r=x",   // §7: no non-standard flag of GS2
            "n,user,n=user,r=x", // §7: the authzid is a=
            "n,a=,n=user,r=x",
            "n,a=a=b,n=user,r=x",
            "n,b=x,n=user,r=x",
            "n,,n=,r=x",
            "n,,n=a=b,r=x",  // §5.1: = but not an escape
            "n,,n=a=2c,r=x", // §5.1: escapes are upper case
            "n,,n=a=,r=x",
            "n,,n=a=2,r=x",
            "n,,N=user,r=x", // §5.1: attributes are case-sensitive
            "n,,n=user,r=",
            "n,,n=user,r=a b", // §7: printable
            "n,,n=user,r=a\u{e9}",
            "n,,n=user,r=a\u{7f}",
            "n,,m=1,n=user,r=x", // §5.1: mandatory extension
            "n,,n=user,r=x,m=1",
            "n,,n=user,m=1,r=x",
            "n,,n=user,r=x,",
            "n,,n=user,r=x,1=2",
            "n,,n=user,r=x,xx=2",
            "n,,n=user,r=x,x=",
            "n,,n=user,r=x,r=y",
            "n,,n=user,r=x,n=admin",
            "n,,n=us\0er,r=x",
        ] {
            let refusal = ClientFirst::parse(input.as_bytes()).unwrap_err();
            assert_eq!(refusal.failure, SaslFailure::MalformedRequest, "{input}");
        }
        assert!(ClientFirst::parse(b"n,,n=us\xffer,r=x").is_err());
    }

    #[test]
    fn final_messages_are_read() {
        let message = ClientFinal::parse(b"c=biws,r=abc,x=19C6532F,p=AAEC").unwrap();
        assert_eq!(message.without_proof, "c=biws,r=abc,x=19C6532F");
        assert_eq!((message.binding, message.nonce), ("biws", "abc"));
        assert_eq!(message.proof, [0, 1, 2]);
    }

    #[test]
    fn wrong_final_messages_are_malformed() {
        for input in [
            "",
            "p=AAEC",
            "c=biws,p=AAEC",
            "r=abc,p=AAEC",
            "r=abc,c=biws,p=AAEC", // §7: the order is fixed
            "c=biws,r=abc",
            "c=biws,r=abc,",
            "c=biws,r=abc,p",
            "c=biws,r=abc,P=AAEC",
            "c=biws,r=abc,p=AAE", // §2.1: base64 in its canonical form
            "c=biws,r=abc,p=AAECAB==",
            "c=biws,r=abc,p=AA EC",
            "c=biws,r=abc,p=AA-_",
            "c=biws,r=abc,p=AAEC,x=1", // §7: the proof is last
            "c=biws,r=abc,p=AAEC,p=AAEC",
            "c=biws,r=abc,m=1,p=AAEC", // §5.1: mandatory extension
            "m=1,c=biws,r=abc,p=AAEC",
            "c=biws,r=abc,,p=AAEC",
            "c=biws,r=abc,c=biws,p=AAEC",
            "n,,c=biws,r=abc,p=AAEC",
        ] {
            let refusal = ClientFinal::parse(input.as_bytes()).unwrap_err();
            assert_eq!(refusal.failure, SaslFailure::MalformedRequest, "{input}");
        }
        assert!(ClientFinal::parse(b"c=biws,r=\xff,p=AAEC").is_err());
    }
}
