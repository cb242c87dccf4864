//! SASL PLAIN (RFC 4616) and SCRAM (RFC 5802, RFC 7677), the client's side.

use std::num::NonZeroU32;

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Connection, NS_SASL};
use crate::xml::Element;

/// The mechanisms that the client speaks, the best first.
pub(super) const MECHANISMS: [&str; 3] = ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"];

/// Who logs in; `authzid` is empty, or whom they want to act as.
pub(super) struct Credentials<'a> {
    pub(super) username: &'a str,
    pub(super) password: &'a str,
    pub(super) authzid: &'a str,
}

/// Runs one mechanism and returns the server's last word, `<success/>` or `<failure/>`.
/// A server that cannot prove that it knows the password is an error.
pub(super) async fn run(
    connection: &mut Connection,
    mechanism: &str,
    credentials: &Credentials<'_>,
) -> Result<Element> {
    match mechanism {
        "PLAIN" => {
            let Credentials { username, password, authzid } = credentials;
            let message = BASE64.encode(format!("{authzid}\0{username}\0{password}"));
            connection.send(&format!("<auth xmlns='{NS_SASL}' mechanism='PLAIN'>{message}</auth>"))?;
            last_word(connection.next_element().await?)
        }
        "SCRAM-SHA-1" => scram(connection, &SHA1, credentials).await,
        "SCRAM-SHA-256" => scram(connection, &SHA256, credentials).await,
        _ => bail!("the client does not speak {mechanism}"),
    }
}

fn last_word(element: Element) -> Result<Element> {
    if element.is(NS_SASL, "success") || element.is(NS_SASL, "failure") {
        Ok(element)
    } else {
        bail!("SASL was answered with {element}")
    }
}

struct Hash {
    mechanism: &'static str,
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

static SHA1: Hash = Hash {
    mechanism: "SCRAM-SHA-1",
    digest: &digest::SHA1_FOR_LEGACY_USE_ONLY,
    hmac: hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
    pbkdf2: pbkdf2::PBKDF2_HMAC_SHA1,
};

static SHA256: Hash = Hash {
    mechanism: "SCRAM-SHA-256",
    digest: &digest::SHA256,
    hmac: hmac::HMAC_SHA256,
    pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256,
};

/// What proves the password, and what the server must prove.
struct Proof {
    message: String,
    server_signature: Vec<u8>,
}

async fn scram(connection: &mut Connection, hash: &Hash, credentials: &Credentials<'_>) -> Result<Element> {
    let escape = |name: &str| name.replace('=', "=3D").replace(',', "=2C");
    let header = match credentials.authzid {
        "" => "n,,".to_owned(),
        authzid => format!("n,a={},", escape(authzid)),
    };
    let mut nonce = [0; 18];
    rand::fill(&mut nonce).ok().context("no randomness")?;
    let nonce = BASE64.encode(nonce);
    let bare = format!("n={},r={nonce}", escape(credentials.username));
    let first = BASE64.encode(format!("{header}{bare}"));
    connection.send(&format!("<auth xmlns='{NS_SASL}' mechanism='{}'>{first}</auth>", hash.mechanism))?;

    let challenge = connection.next_element().await?;
    if !challenge.is(NS_SASL, "challenge") {
        return last_word(challenge);
    }
    let proof = answer(hash, &header, &bare, &nonce, &decode(&challenge)?, credentials.password)?;
    connection.send(&format!("<response xmlns='{NS_SASL}'>{}</response>", BASE64.encode(proof.message)))?;

    let last = last_word(connection.next_element().await?)?;
    if last.name == "success" {
        let message = decode(&last)?;
        let verifier = message.strip_prefix("v=").with_context(|| format!("no verifier in {message:?}"))?;
        let verifier = BASE64.decode(verifier).context("the verifier is not base64")?;
        constant_time::verify_slices_are_equal(&verifier, &proof.server_signature)
            .ok()
            .context("the server's signature is wrong")?;
    }
    Ok(last)
}

fn decode(element: &Element) -> Result<String> {
    text(&element.text()).with_context(|| format!("in {element}"))
}

/// The client's final message for the server's first one (RFC 5802 §3).
fn answer(
    hash: &Hash,
    header: &str,
    bare: &str,
    nonce: &str,
    challenge: &str,
    password: &str,
) -> Result<Proof> {
    let salted = salt(hash, challenge, password)?;
    prove(hash, header, bare, nonce, challenge, &salted)
}

fn part<'a>(challenge: &'a str, key: &str) -> Result<&'a str> {
    let part = challenge.split(',').find_map(|part| part.strip_prefix(key));
    part.with_context(|| format!("no {key} in the challenge {challenge:?}"))
}

/// The salted password, the costly part, which a client may keep (RFC 5802 §3).
fn salt(hash: &Hash, challenge: &str, password: &str) -> Result<Vec<u8>> {
    let salt = BASE64.decode(part(challenge, "s=")?).context("the salt is not base64")?;
    let count: NonZeroU32 = part(challenge, "i=")?.parse().context("the iteration count is no number")?;
    let mut salted = vec![0; hash.digest.output_len()];
    pbkdf2::derive(hash.pbkdf2, count, &salt, password.as_bytes(), &mut salted);
    Ok(salted)
}

fn prove(
    hash: &Hash,
    header: &str,
    bare: &str,
    nonce: &str,
    challenge: &str,
    salted: &[u8],
) -> Result<Proof> {
    let server_nonce = part(challenge, "r=")?;
    if !server_nonce.starts_with(nonce) || server_nonce.len() == nonce.len() {
        bail!("the server's nonce does not extend ours");
    }
    let without_proof = format!("c={},r={server_nonce}", BASE64.encode(header));
    let signed = format!("{bare},{challenge},{without_proof}");
    let client_key = mac(hash, salted, b"Client Key");
    let stored_key = digest::digest(hash.digest, &client_key);
    let signature = mac(hash, stored_key.as_ref(), signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, bit)| key ^ bit).collect();
    let server_key = mac(hash, salted, b"Server Key");
    Ok(Proof {
        message: format!("{without_proof},p={}", BASE64.encode(proof)),
        server_signature: mac(hash, &server_key, signed.as_bytes()),
    })
}

/// SCRAM-SHA-1 in its three messages, for a client that keeps what is costly and has its own transport.
pub(crate) struct ScramSha1 {
    bare: String,
    nonce: String,
    server_signature: Vec<u8>,
}

impl ScramSha1 {
    pub(crate) const NAME: &str = "SCRAM-SHA-1";

    pub(crate) fn new(username: &str) -> Result<Self> {
        let mut nonce = [0; 18];
        rand::fill(&mut nonce).ok().context("no randomness")?;
        let nonce = BASE64.encode(nonce);
        Ok(Self { bare: format!("n={username},r={nonce}"), nonce, server_signature: Vec::new() })
    }

    /// In base64, as all of them.
    pub(crate) fn first(&self) -> String {
        BASE64.encode(format!("n,,{}", self.bare))
    }

    /// What the password becomes under the salt of this challenge.
    pub(crate) fn salted(challenge: &str, password: &str) -> Result<Vec<u8>> {
        salt(&SHA1, &text(challenge)?, password)
    }

    pub(crate) fn last(&mut self, challenge: &str, salted: &[u8]) -> Result<String> {
        let proof = prove(&SHA1, "n,,", &self.bare, &self.nonce, &text(challenge)?, salted)?;
        self.server_signature = proof.server_signature;
        Ok(BASE64.encode(proof.message))
    }

    /// Whether the server knows the password too.
    pub(crate) fn is_proven(&self, success: &str) -> bool {
        let verifier = text(success).ok();
        let verifier = verifier.as_deref().and_then(|text| BASE64.decode(text.strip_prefix("v=")?).ok());
        verifier.is_some_and(|verifier| verifier == self.server_signature)
    }
}

/// Base64 around text.
fn text(data: &str) -> Result<String> {
    String::from_utf8(BASE64.decode(data).context("SASL data is not base64")?)
        .context("SASL data is not UTF-8")
}

fn mac(hash: &Hash, key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hash.hmac, key), data).as_ref().to_vec()
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

    #[test]
    fn the_examples_of_the_rfcs_come_out() {
        // RFC 5802 §5 and RFC 7677 §3.
        for (hash, nonce, challenge, message, verifier) in [
            (
                &SHA1,
                "fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            (
                &SHA256,
                "rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        ] {
            let proof =
                answer(hash, "n,,", &format!("n=user,r={nonce}"), nonce, challenge, "pencil").unwrap();
            assert_eq!(proof.message, message);
            assert_eq!(BASE64.encode(proof.server_signature), verifier);
        }
    }

    #[test]
    fn a_challenge_that_is_not_ours_is_refused() {
        for challenge in ["r=other,s=QSXC,i=4096", "r=ours,s=QSXC,i=4096", "r=oursx,s=QSXC,i=0", "s=QSXC"] {
            assert!(answer(&SHA1, "n,,", "n=u,r=ours", "ours", challenge, "p").is_err(), "{challenge}");
        }
    }
}
