//! Hashed tokens: HT-* (draft-schmaus-kitten-sasl-ht-09), for XEP-0484.
//!
//! The client shows in one message that it has a token, and the server answers success with the proof that it has it, too.
//! Both are bound to the channel, in the mechanisms that are. Left out: `UNIQ`, which TLS 1.3 does not have.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};

use super::{
    channel_binding::BindingType,
    failure::{Refusal, SaslFailure},
    hash::Hash,
    offer::Offer,
};

/// A mechanism for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenMechanism {
    Sha512Exporter,
    Sha512EndPoint,
    Sha512Unbound,
    Sha256Exporter,
    Sha256EndPoint,
    Sha256Unbound,
}

impl TokenMechanism {
    /// All of them, the strongest first. XEP-0484 §3.1: some are bound to the channel, and some are not.
    pub const ALL: [Self; 6] = [
        Self::Sha512Exporter,
        Self::Sha256Exporter,
        Self::Sha512EndPoint,
        Self::Sha256EndPoint,
        Self::Sha512Unbound,
        Self::Sha256Unbound,
    ];

    /// The name as it is announced.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha512Exporter => "HT-SHA-512-EXPR",
            Self::Sha512EndPoint => "HT-SHA-512-ENDP",
            Self::Sha512Unbound => "HT-SHA-512-NONE",
            Self::Sha256Exporter => "HT-SHA-256-EXPR",
            Self::Sha256EndPoint => "HT-SHA-256-ENDP",
            Self::Sha256Unbound => "HT-SHA-256-NONE",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.as_str() == name)
    }

    /// What it is bound to.
    pub const fn binding(self) -> Option<BindingType> {
        match self {
            Self::Sha512Exporter | Self::Sha256Exporter => Some(BindingType::TlsExporter),
            Self::Sha512EndPoint | Self::Sha256EndPoint => Some(BindingType::TlsServerEndPoint),
            Self::Sha512Unbound | Self::Sha256Unbound => None,
        }
    }

    const fn hash(self) -> Hash {
        match self {
            Self::Sha512Exporter | Self::Sha512EndPoint | Self::Sha512Unbound => Hash::Sha512,
            Self::Sha256Exporter | Self::Sha256EndPoint | Self::Sha256Unbound => Hash::Sha256,
        }
    }
}

/// What a client sent to show that it has a token.
pub struct TokenProof {
    mechanism: TokenMechanism,
    binding: Box<[u8]>,
    hashed: Box<[u8]>,
}

/// What shows the client that the server has the token, too. Only the right token makes one.
pub struct Responder(Vec<u8>);

impl TokenProof {
    /// Reads the message, `authcid NUL hashed token`. Returns the user name in it as well.
    pub(super) fn read<'a>(
        offer: &Offer,
        mechanism: TokenMechanism,
        message: &'a [u8],
    ) -> Result<(Self, &'a str), Refusal> {
        let malformed = |reason| SaslFailure::MalformedRequest.because(reason);
        let end = message.iter().position(|byte| *byte == 0);
        let parts = end.and_then(|end| message.split_at_checked(end));
        let (name, rest) = parts.ok_or(malformed("message has no user name"))?;
        let name = std::str::from_utf8(name).map_err(|_| malformed("user name is not UTF-8"))?;
        let hashed = rest.split_first().map(|(_, hashed)| hashed).unwrap_or_default();
        if name.is_empty() || hashed.len() != mechanism.hash().output_bytes() {
            return Err(malformed("user name is empty, or hash of a wrong length"));
        }
        let binding = match mechanism.binding() {
            None => &[],
            Some(kind) => offer
                .channel_data(kind)
                .ok_or(SaslFailure::InvalidMechanism.because("no channel binding here"))?,
        };
        Ok((Self { mechanism, binding: binding.into(), hashed: hashed.into() }, name))
    }

    pub fn mechanism(&self) -> TokenMechanism {
        self.mechanism
    }

    /// Whether it shows this token. Takes as long for one as for another.
    pub fn check(&self, token: &str) -> Option<Responder> {
        let key = self.mechanism.hash().hmac_key(token.as_bytes());
        let sign = |role: &str| {
            let mut context = hmac::Context::with_key(&key);
            context.update(role.as_bytes());
            context.update(&self.binding);
            context.sign()
        };
        let responder = Responder(sign("Responder").as_ref().to_vec());
        let expected = sign("Initiator");
        constant_time::verify_slices_are_equal(expected.as_ref(), &self.hashed).is_ok().then_some(responder)
    }
}

impl Responder {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for TokenProof {
    /// Without the proof: a log must not hold it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenProof").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder(..)")
    }
}
