//! SASL, the server's side: who is at the other end of a stream.
//!
//! Follows RFC 4422, RFC 5802 and RFC 7677 (SCRAM with and without channel binding), RFC 4616 (PLAIN),
//! RFC 9266 and RFC 5929 (channel bindings), draft-schmaus-kitten-sasl-ht-09 (tokens), XEP-0438 (how passwords are kept), XEP-0474 and XEP-0515
//! (protection against downgrades). SCRAM-SHA-512 is not in an RFC; it differs from SCRAM-SHA-256 in its
//! hash alone.
//!
//! - Nothing here reads, writes, waits or draws a random number, and nothing knows XML or base64 of the
//!   outer layer: the same [`Authenticator`] serves the profile of RFC 6120 §6 and that of XEP-0388.
//! - Credentials are asked for ([`Step::NeedCredentials`]) and handed in ([`Authenticator::provide`]).
//! - Only success makes an [`Authenticated`].
//! - Ours: passwords are prepared with OpaqueString (RFC 8265 §4.2), the successor of the SASLprep that
//!   RFC 5802 names. They differ for passwords with compatibility characters only, such as ligatures and
//!   full-width letters.
//! - Left out: `tls-unique` (RFC 5929 §3), which TLS 1.3 does not have; server errors within the data
//!   (RFC 5802 §7, `e=`), which XMPP says with conditions.

mod authenticator;
mod channel_binding;
mod decoy;
mod failure;
mod hash;
mod keys;
mod mechanism;
mod offer;
mod password;
mod plain;
mod scram;
#[cfg(test)]
mod test_client;
mod token;

pub use authenticator::{
    Account, Authenticated, Authenticator, Cost, Credentials, Standing, Step, TokenOutcome,
};
pub use channel_binding::{BindingType, Channel, ChannelBindings, TlsVersion};
pub use decoy::Decoys;
pub use failure::{Refusal, SaslFailure};
pub use hash::Hash;
pub use keys::{KeyFormatError, SALT_BYTES, ScramKeys};
pub use mechanism::Mechanism;
pub use offer::{Offer, Policy};
pub use password::{ITERATIONS, PASSWORD_BYTES_MAX, Password, PasswordError, fresh_keys};
pub use scram::ServerNonce;
pub use token::{Responder, TokenMechanism, TokenProof};
