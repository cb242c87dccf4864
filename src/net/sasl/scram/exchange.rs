//! The exchange: a first message is answered with a challenge, and that with a proof.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    super::{
        failure::{Refusal, SaslFailure},
        hash::Hash,
        keys::ScramKeys,
        offer::Offer,
    },
    message::{BindingFlag, ClientFinal, ClientFirst},
};

/// The server's part of the nonce (§5.1, `r`). Each exchange has one of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerNonce(String);

impl ServerNonce {
    /// From 18 bytes of good randomness.
    pub fn from_random(bytes: &[u8; 18]) -> Self {
        Self(STANDARD.encode(bytes))
    }

    #[cfg(test)]
    pub(in crate::sasl) fn of_vector(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for ServerNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerNonce(..)")
    }
}

/// Whether the mechanism's name ends in `-PLUS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sasl) enum Binding {
    Without,
    Plus,
}

/// The client's first message, checked, waiting for the account's keys.
#[derive(Debug)]
pub(in crate::sasl) struct First {
    hash: Hash,
    /// What `c=` must be: the header, and the data of the channel binding if one is used.
    binding_input: Vec<u8>,
    /// The message from `n=` on, as it came.
    bare: String,
    client_nonce: String,
    server_nonce: ServerNonce,
}

/// Who the client says it is.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sasl) struct Claim {
    pub(in crate::sasl) username: String,
    pub(in crate::sasl) authzid: String,
}

impl First {
    pub(in crate::sasl) fn read(
        offer: &Offer,
        hash: Hash,
        binding: Binding,
        server_nonce: ServerNonce,
        input: &[u8],
    ) -> Result<(Self, Claim), Refusal> {
        let message = ClientFirst::parse(input)?;
        let mut binding_input = message.header.as_bytes().to_vec();
        binding_input.extend_from_slice(bound_data(offer, binding, message.flag)?);
        let first = Self {
            hash,
            binding_input,
            bare: message.bare.into(),
            client_nonce: message.nonce.into(),
            server_nonce,
        };
        Ok((first, Claim { username: message.username, authzid: message.authzid }))
    }

    /// The server's first message. `keys` are of the account, or of nobody.
    pub(in crate::sasl) fn challenge(
        self,
        offer: &Offer,
        keys: ScramKeys,
        owner: Owner,
    ) -> (Vec<u8>, Challenged) {
        let nonce = self.client_nonce + &self.server_nonce.0;
        let message = format!(
            "r={nonce},s={},i={}{}",
            STANDARD.encode(keys.salt()),
            keys.iterations(),
            offer.downgrade_attributes(self.hash)
        );
        let challenged = Challenged {
            binding: STANDARD.encode(&self.binding_input),
            auth_message: format!("{},{message},", self.bare),
            nonce,
            keys,
            owner,
        };
        (message.into_bytes(), challenged)
    }
}

/// §6: which data the flag obliges the client to include. A flag that does not fit what was offered is
/// the trace of somebody in between, or of a broken client.
fn bound_data<'a>(offer: &'a Offer, binding: Binding, flag: BindingFlag<'_>) -> Result<&'a [u8], Refusal> {
    match (binding, flag) {
        (Binding::Plus, BindingFlag::Uses(name)) => offer
            .binding_data(name)
            .ok_or(SaslFailure::NotAuthorized.because("channel binding of a type that was not offered")),
        (Binding::Plus, BindingFlag::Lacks | BindingFlag::SawNone) => {
            Err(SaslFailure::MalformedRequest.because("-PLUS mechanism without channel binding"))
        }
        (Binding::Without, BindingFlag::Uses(_)) => {
            Err(SaslFailure::MalformedRequest.because("channel binding without a -PLUS mechanism"))
        }
        (Binding::Without, BindingFlag::SawNone) if offer.has_binding() => {
            Err(SaslFailure::NotAuthorized.because("downgrade: client did not see the -PLUS mechanisms"))
        }
        (Binding::Without, BindingFlag::Lacks | BindingFlag::SawNone) => Ok(&[]),
    }
}

/// Whose the keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sasl) enum Owner {
    Account,
    /// Nobody's: the exchange takes the same way and fails at its end.
    Nobody,
}

/// The challenge is sent, the proof is awaited.
#[derive(Debug)]
pub(in crate::sasl) struct Challenged {
    binding: String,
    /// Both first messages and a comma: all of `AuthMessage` (§3) that exists so far.
    auth_message: String,
    nonce: String,
    keys: ScramKeys,
    owner: Owner,
}

impl Challenged {
    /// Checks the client's final message; gives the server's (`v=…`), which proves the server.
    pub(in crate::sasl) fn verify(mut self, input: &[u8]) -> Result<Vec<u8>, Refusal> {
        let message = ClientFinal::parse(input)?;
        if message.nonce != self.nonce {
            return Err(SaslFailure::NotAuthorized.because("nonce is not that of the challenge"));
        }
        if !are_equal(message.binding.as_bytes(), self.binding.as_bytes()) {
            return Err(SaslFailure::NotAuthorized.because("channel bindings do not match"));
        }
        if message.proof.len() != self.keys.hash().output_bytes() {
            return Err(SaslFailure::MalformedRequest.because("proof of a wrong length"));
        }
        self.auth_message.push_str(message.without_proof);
        let is_proven = self.proves(&message.proof);
        match self.owner {
            Owner::Account if is_proven => Ok(self.signature()),
            Owner::Account => Err(SaslFailure::NotAuthorized.because("wrong password")),
            Owner::Nobody => Err(SaslFailure::NotAuthorized.because("unknown user")),
        }
    }

    /// §3: the proof gives the client key back, whose hash is stored.
    fn proves(&self, proof: &[u8]) -> bool {
        let hash = self.keys.hash();
        let signature = hmac::sign(&hash.hmac_key(self.keys.stored_key()), self.auth_message.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        are_equal(hash.digest(&client_key).as_ref(), self.keys.stored_key())
    }

    fn signature(&self) -> Vec<u8> {
        let key = self.keys.hash().hmac_key(self.keys.server_key());
        let signature = hmac::sign(&key, self.auth_message.as_bytes());
        format!("v={}", STANDARD.encode(signature)).into_bytes()
    }
}

/// In constant time for slices of one length.
fn are_equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}
