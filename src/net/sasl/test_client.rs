//! A scripted client and a server to talk to, for the tests of this module. The client computes its side
//! of SCRAM from RFC 5802 on its own and can be told to misbehave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::{collections::HashMap, fmt, num::NonZeroU32, sync::Arc};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;

/// An address of lower-case ASCII, in the place of the real one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TestJid(pub(super) String);

impl Account for TestJid {
    fn parse(local: &str, domain: &str) -> Option<Self> {
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-=,".contains(&b))
        };
        (is_part(local) && is_part(domain)).then(|| Self(format!("{local}@{domain}").to_ascii_lowercase()))
    }
}

impl fmt::Display for TestJid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) const DOMAIN: &str = "example.org";
pub(super) const EXPORTER: [u8; 32] = [0xEE; 32];
pub(super) const END_POINT: [u8; 32] = [0xDD; 32];

pub(super) fn bindings() -> ChannelBindings {
    ChannelBindings { version: TlsVersion::Tls13, exporter: Some(EXPORTER), end_point: Arc::from(END_POINT) }
}

/// The accounts of a server, and how to reach it.
pub(super) struct TestServer {
    accounts: HashMap<(TestJid, Hash), Credentials>,
    pub(super) policy: Policy,
    channel: Channel,
    pub(super) nonce: ServerNonce,
}

impl TestServer {
    pub(super) fn new() -> Self {
        Self {
            accounts: HashMap::new(),
            policy: Policy::default(),
            channel: Channel::Tls(bindings()),
            nonce: ServerNonce::of_vector("3rfcNHYJY1ZVvWVs7j"),
        }
    }

    pub(super) fn over(self, channel: Channel) -> Self {
        Self { channel, ..self }
    }

    /// Few rounds: the tests do many logins.
    pub(super) fn with_user(mut self, name: &str, password: &str, standing: Standing) -> Self {
        let password = Password::prepare(password).unwrap();
        for hash in Hash::ALL {
            let keys = ScramKeys::derive(&password, b"salt for testing", NonZeroU32::new(7).unwrap(), hash);
            self.insert(name, keys, standing);
        }
        self
    }

    pub(super) fn insert(&mut self, name: &str, keys: ScramKeys, standing: Standing) {
        let jid = TestJid::parse(name, DOMAIN).unwrap();
        self.accounts.insert((jid, keys.hash()), Credentials { keys, standing, passwords: 0 });
    }

    pub(super) fn open(&self) -> Authenticator<TestJid> {
        let decoys = Decoys::new(&[9; 32], &[NonZeroU32::new(7).unwrap()]);
        Authenticator::new(DOMAIN, Offer::new(&self.policy, self.channel.clone()), Arc::new(decoys))
    }

    /// Looks credentials up as often as they are asked for.
    pub(super) fn settle(
        &self,
        stream: &mut Authenticator<TestJid>,
        step: Result<Step<TestJid>, Refusal>,
    ) -> Result<Step<TestJid>, Refusal> {
        match step? {
            Step::NeedCredentials { account, hash, .. } => {
                stream.provide(self.accounts.get(&(account, hash)).cloned())
            }
            other => Ok(other),
        }
    }

    pub(super) fn begin(
        &self,
        stream: &mut Authenticator<TestJid>,
        mechanism: &str,
        message: &str,
    ) -> Result<Step<TestJid>, Refusal> {
        let step = stream.begin(mechanism, Some(message.as_bytes()), self.nonce.clone());
        self.settle(stream, step)
    }

    /// A whole PLAIN exchange.
    pub(super) fn plain(&self, message: &str) -> Result<Authenticated<TestJid>, Refusal> {
        match self.begin(&mut self.open(), "PLAIN", message)? {
            Step::Success { peer, data: None } => Ok(peer),
            other => panic!("PLAIN does not answer {other:?}"),
        }
    }

    /// A whole SCRAM exchange; panics if the server cannot prove itself.
    pub(super) fn scram(&self, client: &Client) -> Result<Authenticated<TestJid>, Refusal> {
        let mut stream = self.open();
        let challenge = challenge(self.begin(&mut stream, &client.mechanism, &client.first())?);
        let (last, signature) = client.last(&challenge);
        match stream.respond(last.as_bytes())? {
            Step::Success { peer, data: Some(data) } => {
                assert_eq!(String::from_utf8(data).unwrap(), signature);
                Ok(peer)
            }
            other => panic!("SCRAM does not answer {other:?}"),
        }
    }
}

pub(super) fn challenge(step: Step<TestJid>) -> String {
    match step {
        Step::Challenge(message) => String::from_utf8(message).unwrap(),
        other => panic!("no challenge but {other:?}"),
    }
}

/// One SCRAM login. Its fields are what it sends, however wrong.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) mechanism: String,
    pub(super) hash: Hash,
    pub(super) flag: String,
    pub(super) binding: Vec<u8>,
    pub(super) authzid: String,
    pub(super) username: String,
    pub(super) password: String,
    pub(super) nonce: String,
    /// What stands before the proof, with its comma.
    pub(super) extension: String,
}

impl Client {
    pub(super) fn new(hash: Hash, username: &str, password: &str) -> Self {
        Self {
            mechanism: hash.family().into(),
            hash,
            flag: "n".into(),
            binding: Vec::new(),
            authzid: String::new(),
            username: username.into(),
            password: password.into(),
            nonce: "fyko+d2lbbFgONRv9qkxdawL".into(),
            extension: String::new(),
        }
    }

    /// The same with channel binding.
    pub(super) fn bound(mut self, binding: BindingType, data: &[u8]) -> Self {
        self.mechanism = Mechanism::ScramPlus(self.hash).to_string();
        self.flag = format!("p={binding}");
        self.binding = data.into();
        self
    }

    fn header(&self) -> String {
        let authzid =
            if self.authzid.is_empty() { String::new() } else { format!("a={}", escape(&self.authzid)) };
        format!("{},{authzid},", self.flag)
    }

    fn bare(&self) -> String {
        format!("n={},r={}", escape(&self.username), self.nonce)
    }

    pub(super) fn first(&self) -> String {
        self.header() + &self.bare()
    }

    /// The final message for a challenge, and what the server must answer to it.
    pub(super) fn last(&self, challenge: &str) -> (String, String) {
        let value = |key: &str| challenge.split(',').find_map(|part| part.strip_prefix(key)).unwrap();
        let nonce = value("r=");
        assert!(nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len(), "{challenge}");
        let salted = self.hash.salted_password(
            self.password.as_bytes(),
            &STANDARD.decode(value("s=")).unwrap(),
            value("i=").parse().unwrap(),
        );
        let hmac = |key: &[u8], data: &[u8]| hmac::sign(&self.hash.hmac_key(key), data).as_ref().to_vec();
        let client_key = hmac(&salted, b"Client Key");
        let input = [self.header().as_bytes(), &self.binding].concat();
        let without_proof = format!("c={},r={nonce}{}", STANDARD.encode(input), self.extension);
        let auth = format!("{},{challenge},{without_proof}", self.bare());
        let stored_key = self.hash.digest(&client_key);
        let signature = hmac(stored_key.as_ref(), auth.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let verifier = hmac(&hmac(&salted, b"Server Key"), auth.as_bytes());
        (format!("{without_proof},p={}", STANDARD.encode(proof)), format!("v={}", STANDARD.encode(verifier)))
    }
}

fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}
