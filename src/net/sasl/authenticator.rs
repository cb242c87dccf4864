//! One stream's way from an offer to an identity.
//!
//! ```text
//!            begin              credentials              proof
//!   Idle ──────────▶ Initial ──────────▶ Credentials ──────────▶ Proof ──▶ Idle
//!     └─────────────(message came with it)────▲  └──(PLAIN: done)────────────▲
//! ```
//! Every failure leads back to `Idle`, and so does [`Authenticator::begin`] in the middle of an exchange
//! (RFC 6120 §6.4.2).

use std::{fmt, mem, sync::Arc};

use unisono_core::devices::Proof;

use super::{
    decoy::Decoys,
    failure::{Refusal, SaslFailure},
    hash::Hash,
    keys::ScramKeys,
    mechanism::Mechanism,
    offer::Offer,
    password::Password,
    plain,
    scram::{Binding, Challenged, Claim, First, Owner, ServerNonce},
    token::{Responder, TokenMechanism, TokenProof},
};

/// The hash whose keys PLAIN is checked against. One for all accounts, so that all take the same time.
const PLAIN_HASH: Hash = Hash::Sha256;

/// The address of an account. Implemented by the address type of the layer above, which knows the rules
/// of RFC 7622: two spellings of one account are equal.
pub trait Account: Clone + Eq + fmt::Display {
    /// `local@domain`, or `None` if that is no address of an account.
    fn parse(local: &str, domain: &str) -> Option<Self>;
}

/// Proof that a peer authenticated as an account: nothing but a successful exchange makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated<A> {
    account: A,
    mechanism: Mechanism,
    proof: Proof,
}

impl<A> Authenticated<A> {
    pub fn account(&self) -> &A {
        &self.account
    }

    pub fn into_account(self) -> A {
        self.account
    }

    /// By which mechanism.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// What it has shown, which may have been taken back since.
    pub fn proof(&self) -> Proof {
        self.proof
    }
}

/// Whether an account may be used. The peer learns it only after it proved the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Active,
    /// Ends in `account-disabled`.
    Disabled,
    /// Ends in `credentials-expired`.
    Expired,
}

/// What is stored of an account.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// For the hash that [`Step::NeedCredentials`] names.
    pub keys: ScramKeys,
    pub standing: Standing,
    /// How often the password had been changed.
    pub passwords: i64,
}

/// What is known of an account until the client has proven to be its owner.
#[derive(Debug, Clone, Copy)]
struct Known {
    standing: Standing,
    /// What it will have shown then.
    proof: Proof,
}

/// What [`Authenticator::provide`] will cost in CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// SCRAM: microseconds.
    Cheap,
    /// PLAIN: milliseconds, all rounds of PBKDF2. It belongs on a thread that may block.
    Hashing,
}

/// What came of a [`TokenProof`]. The reasons are for the log.
#[derive(Debug)]
pub enum TokenOutcome {
    Right(Responder, Proof),
    /// Right, and not trusted any more (XEP-0484 §4.2).
    Expired(&'static str),
    /// Right, of an account that is switched off.
    Disabled,
    Wrong(&'static str),
}

/// What the caller does next.
#[must_use]
#[derive(Debug)]
pub enum Step<A> {
    /// Send this as a challenge, pass the response to [`Authenticator::respond`].
    Challenge(Vec<u8>),
    /// Read the credential of `account` for `hash` and pass it to [`Authenticator::provide`].
    /// If it cannot be read, answer `temporary-auth-failure` and do not come back.
    NeedCredentials { account: A, hash: Hash, cost: Cost },
    /// Look whether a token of `account` is the one that `proof` shows, and tell [`Authenticator::provide_token`].
    NeedToken { account: A, proof: Box<TokenProof> },
    /// Send success, with these data if there are any.
    Success { peer: Authenticated<A>, data: Option<Vec<u8>> },
}

/// SASL for one stream: any number of exchanges, one after the other.
#[derive(Debug)]
pub struct Authenticator<A> {
    domain: Box<str>,
    offer: Offer,
    decoys: Arc<Decoys>,
    state: State<A>,
}

#[derive(Debug)]
enum State<A> {
    Idle,
    Initial(Mechanism, ServerNonce),
    Credentials(Mechanism, A, Evidence),
    Proof(Mechanism, A, Known, Challenged),
    Token(TokenMechanism, A),
}

/// What the client sent and only the credentials can judge.
#[derive(Debug)]
enum Evidence {
    Scram(Hash, First),
    Plain(Password),
}

impl<A: Account> Authenticator<A> {
    /// `domain` is the one to which the stream was opened; it completes user names.
    pub fn new(domain: &str, offer: Offer, decoys: Arc<Decoys>) -> Self {
        Self { domain: domain.into(), offer, decoys, state: State::Idle }
    }

    /// `<auth/>` or `<authenticate/>`: `message` is the initial response if there was one. An exchange
    /// under way is given up (RFC 6120 §6.4.2). `nonce` is used once.
    pub fn begin(
        &mut self,
        mechanism: &str,
        message: Option<&[u8]>,
        nonce: ServerNonce,
    ) -> Result<Step<A>, Refusal> {
        self.state = State::Idle;
        let mechanism = self.offer.select(mechanism)?;
        if let Some(message) = message {
            return self.read(mechanism, nonce, message);
        }
        // Every mechanism here is client-first: the empty challenge asks for its message.
        self.state = State::Initial(mechanism, nonce);
        Ok(Step::Challenge(Vec::new()))
    }

    /// `<authenticate/>` with a token (XEP-0484 §3.4), which takes one message.
    pub fn begin_token(&mut self, mechanism: &str, message: Option<&[u8]>) -> Result<Step<A>, Refusal> {
        self.state = State::Idle;
        let offered = self.offer.token_mechanisms().find(|offered| offered.as_str() == mechanism);
        let mechanism =
            offered.ok_or(SaslFailure::InvalidMechanism.because("no such mechanism for tokens here"))?;
        let message = message.ok_or(SaslFailure::MalformedRequest.because("no token at once"))?;
        let (proof, name) = TokenProof::read(&self.offer, mechanism, message)?;
        let account = self.identify(name, "")?;
        self.state = State::Token(mechanism, account.clone());
        Ok(Step::NeedToken { account, proof: Box::new(proof) })
    }

    /// The answer to [`Step::NeedToken`].
    pub fn provide_token(&mut self, outcome: TokenOutcome) -> Result<Step<A>, Refusal> {
        let State::Token(mechanism, account) = mem::replace(&mut self.state, State::Idle) else {
            return Err(SaslFailure::MalformedRequest.because("nobody asked for a token"));
        };
        let (standing, data, proof) = match outcome {
            TokenOutcome::Right(responder, proof) => (Standing::Active, Some(responder.into_bytes()), proof),
            TokenOutcome::Disabled => (Standing::Disabled, None, Proof::Nothing),
            TokenOutcome::Expired(reason) => return Err(SaslFailure::CredentialsExpired.because(reason)),
            TokenOutcome::Wrong(reason) => return Err(SaslFailure::NotAuthorized.because(reason)),
        };
        succeed(account, Mechanism::Token(mechanism), Known { standing, proof }, data)
    }

    /// `<response/>`.
    pub fn respond(&mut self, message: &[u8]) -> Result<Step<A>, Refusal> {
        match mem::replace(&mut self.state, State::Idle) {
            State::Initial(mechanism, nonce) => self.read(mechanism, nonce, message),
            State::Proof(mechanism, account, known, challenged) => {
                challenged.verify(message).and_then(|data| succeed(account, mechanism, known, Some(data)))
            }
            State::Idle | State::Credentials(..) | State::Token(..) => {
                Err(SaslFailure::MalformedRequest.because("response without a challenge"))
            }
        }
    }

    /// The answer to [`Step::NeedCredentials`]: `None` if there is no such account, or none with a
    /// credential for this hash. Both take the same way as a wrong password.
    pub fn provide(&mut self, credentials: Option<Credentials>) -> Result<Step<A>, Refusal> {
        match mem::replace(&mut self.state, State::Idle) {
            State::Credentials(mechanism, account, Evidence::Plain(password)) => {
                let (keys, known, owner) = self.keys(&account, PLAIN_HASH, credentials);
                check_password(&keys, &password, owner)
                    .and_then(|()| succeed(account, mechanism, known, None))
            }
            State::Credentials(mechanism, account, Evidence::Scram(hash, first)) => {
                let (keys, known, owner) = self.keys(&account, hash, credentials);
                let (message, challenged) = first.challenge(&self.offer, keys, owner);
                self.state = State::Proof(mechanism, account, known, challenged);
                Ok(Step::Challenge(message))
            }
            State::Idle | State::Initial(..) | State::Proof(..) | State::Token(..) => {
                Err(SaslFailure::MalformedRequest.because("nobody asked for credentials"))
            }
        }
    }

    /// `<abort/>` (RFC 6120 §6.4.4).
    pub fn abort(&mut self) -> Refusal {
        self.state = State::Idle;
        SaslFailure::Aborted.because("client gave up")
    }

    /// What to announce.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The client's first message, of either kind.
    fn read(&mut self, mechanism: Mechanism, nonce: ServerNonce, message: &[u8]) -> Result<Step<A>, Refusal> {
        let (hash, binding) = match mechanism {
            Mechanism::Plain => return self.read_plain(message),
            Mechanism::Token(_) => {
                return Err(SaslFailure::InvalidMechanism.because("token without XEP-0484"));
            }
            Mechanism::Scram(hash) => (hash, Binding::Without),
            Mechanism::ScramPlus(hash) => (hash, Binding::Plus),
        };
        let (first, Claim { username, authzid }) = First::read(&self.offer, hash, binding, nonce, message)?;
        let account = self.identify(&username, &authzid)?;
        self.state = State::Credentials(mechanism, account.clone(), Evidence::Scram(hash, first));
        Ok(Step::NeedCredentials { account, hash, cost: Cost::Cheap })
    }

    fn read_plain(&mut self, message: &[u8]) -> Result<Step<A>, Refusal> {
        let message = plain::Message::parse(message)?;
        let account = self.identify(message.username, message.authzid)?;
        let password = Password::prepare(message.password)
            .map_err(|_| SaslFailure::NotAuthorized.because("password has a form that none can have"))?;
        self.state = State::Credentials(Mechanism::Plain, account.clone(), Evidence::Plain(password));
        Ok(Step::NeedCredentials { account, hash: PLAIN_HASH, cost: Cost::Hashing })
    }

    /// The account of a user name. Nobody acts for another: an authorisation identity is that account's
    /// own address, or absent (RFC 6120 §6.3.8). What is refused here depends on the message alone, so
    /// that it tells nothing about which accounts exist.
    fn identify(&self, username: &str, authzid: &str) -> Result<A, Refusal> {
        let account = A::parse(username, &self.domain)
            .ok_or(SaslFailure::NotAuthorized.because("user name is no localpart"))?;
        if authzid.is_empty() {
            return Ok(account);
        }
        match authzid.split_once('@') {
            Some((local, domain)) if A::parse(local, domain).as_ref() == Some(&account) => Ok(account),
            _ => Err(SaslFailure::InvalidAuthzid.because("authorisation identity is not the user's own")),
        }
    }

    /// The keys to go on with: the account's, or nobody's.
    fn keys(&self, account: &A, hash: Hash, found: Option<Credentials>) -> (ScramKeys, Known, Owner) {
        // The decoy is made in any case, so that both ways take the same time.
        let decoy = self.decoys.keys(&account.to_string(), hash);
        match found {
            Some(Credentials { keys, standing, passwords }) if keys.hash() == hash => {
                (keys, Known { standing, proof: Proof::Password(passwords) }, Owner::Account)
            }
            _ => (decoy, Known { standing: Standing::Active, proof: Proof::Nothing }, Owner::Nobody),
        }
    }
}

fn check_password(keys: &ScramKeys, password: &Password, owner: Owner) -> Result<(), Refusal> {
    let is_right = keys.verify(password);
    match owner {
        Owner::Account if is_right => Ok(()),
        Owner::Account => Err(SaslFailure::NotAuthorized.because("wrong password")),
        Owner::Nobody => Err(SaslFailure::NotAuthorized.because("unknown user")),
    }
}

/// The password is proven; the standing decides.
fn succeed<A>(
    account: A,
    mechanism: Mechanism,
    known: Known,
    data: Option<Vec<u8>>,
) -> Result<Step<A>, Refusal> {
    match known.standing {
        Standing::Active => {
            Ok(Step::Success { peer: Authenticated { account, mechanism, proof: known.proof }, data })
        }
        Standing::Disabled => Err(SaslFailure::AccountDisabled.because("account is disabled")),
        Standing::Expired => Err(SaslFailure::CredentialsExpired.because("credentials have expired")),
    }
}

#[cfg(test)]
mod tests;
