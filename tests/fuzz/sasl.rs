//! SASL: the messages of every mechanism, in any order, from anybody.
//!
//! An input is a dialogue, a line for each message: `>PLAIN` begins an exchange, `>PLAIN …` does so with an initial
//! response, `!abort` gives it up, `!clear` and `!end-point` say what the connection has, and any other line is a
//! response. So that changes of a right login come far, `$r` stands for the nonce of the last challenge, `$c` and `$x`
//! for the right and for other data of the channel binding, `$P` and `$p` for the proof by the right and by a wrong
//! password.
//!
//! - Nobody comes in except by a message that holds the right password or its proof, over exactly what was said, on this
//!   connection, for the account that it names; a wish to be somebody else is never granted.
//! - Who does not know a password cannot tell an account that exists from one that does not.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use unisono_core::jid::BareJid;
use unisono_net::sasl::{
    Authenticator, Channel, ChannelBindings, Credentials, Decoys, Hash, Mechanism, Offer, Password, Policy,
    Refusal, SALT_BYTES, SaslFailure, ScramKeys, ServerNonce, Standing, Step, TlsVersion,
};

const DOMAIN: &str = "example.org";
const EXPORTER: [u8; 32] = [0xEE; 32];
const END_POINT: [u8; 32] = [0xDD; 32];
const ITERATIONS: NonZeroU32 = NonZeroU32::new(3).unwrap();
const ACCOUNTS: [(&str, &str, Standing); 4] = [
    ("alice", "secret", Standing::Active),
    ("bob", "hunter2", Standing::Active),
    ("disabled", "secret", Standing::Disabled),
    ("expired", "secret", Standing::Expired),
];

/// What one message led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Length, and which attributes it has.
    Challenge(usize, String),
    Failure(SaslFailure),
    /// The password was right.
    Success,
}

pub(crate) fn target(data: &[u8]) -> u64 {
    let real = converse(data, true);
    let nobody = converse(data, false);
    for (real, nobody) in real.iter().zip(&nobody) {
        match real {
            Said::Success | Said::Failure(SaslFailure::AccountDisabled | SaslFailure::CredentialsExpired) => {
                break;
            }
            Said::Challenge(..) | Said::Failure(_) => {
                assert_eq!(real, nobody, "an account that exists can be told");
            }
        }
    }
    assert!(!nobody.contains(&Said::Success), "nobody came in");
    real.iter().fold(real.len().min(8) as u64, |sum, said| {
        let kind = match said {
            Said::Challenge(length, _) => u64::from(*length > 0),
            Said::Success => 2,
            Said::Failure(failure) => {
                3 + SaslFailure::ALL.iter().position(|one| one == failure).unwrap() as u64
            }
        };
        sum.wrapping_mul(17).wrapping_add(kind)
    })
}

/// The dialogue with a server that has these accounts, or none.
pub(crate) fn converse(data: &[u8], has_accounts: bool) -> Vec<Said> {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let exporter = (!lines.contains(&b"!end-point".as_slice())).then_some(EXPORTER);
    let bindings = ChannelBindings { version: TlsVersion::Tls13, exporter, end_point: Arc::from(END_POINT) };
    let channel = if lines.contains(&b"!clear".as_slice()) { Channel::Clear } else { Channel::Tls(bindings) };
    let decoys = Arc::new(Decoys::new(&[9; 32], &[ITERATIONS]));
    let offer = Offer::new(&Policy::default(), channel.clone());
    let mut client = Client::new(channel);
    let mut server = Authenticator::<BareJid>::new(DOMAIN, offer, decoys);
    let mut said = Vec::new();
    for (line, number) in lines.into_iter().zip(0_u8..=255) {
        let step = if line == b"!clear" || line == b"!end-point" {
            continue;
        } else if line == b"!abort" {
            Err(server.abort())
        } else if let Some(begin) = line.strip_prefix(b">") {
            let (name, message) = match begin.iter().position(|byte| *byte == b' ') {
                Some(at) => (&begin[..at], Some(&begin[at + 1..])),
                None => (begin, None),
            };
            let name = String::from_utf8_lossy(name);
            client.begin(&name, message);
            server.begin(&name, message, ServerNonce::from_random(&[number; 18]))
        } else {
            server.respond(&client.respond(line))
        };
        let step = settle(&mut server, step, has_accounts);
        said.push(client.hear(step));
    }
    said
}

/// Looks credentials up where they are asked for.
fn settle(
    server: &mut Authenticator<BareJid>,
    step: Result<Step<BareJid>, Refusal>,
    has_accounts: bool,
) -> Result<Step<BareJid>, Refusal> {
    match step? {
        Step::NeedCredentials { account, hash, .. } => {
            server.provide(credentials(&account, hash).filter(|_| has_accounts))
        }
        other => Ok(other),
    }
}

fn credentials(account: &BareJid, hash: Hash) -> Option<Credentials> {
    static ALL: OnceLock<Vec<(BareJid, Credentials)>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let of = |(name, password, standing): (&str, &str, Standing), hash| {
            let keys =
                ScramKeys::derive(&Password::prepare(password).unwrap(), &salt(name), ITERATIONS, hash);
            (BareJid::new(Some(name), DOMAIN).unwrap(), Credentials { keys, standing, passwords: 0 })
        };
        ACCOUNTS.into_iter().flat_map(|account| Hash::ALL.map(|hash| of(account, hash))).collect()
    });
    let found = all.iter().find(|(jid, credentials)| jid == account && credentials.keys.hash() == hash);
    found.map(|(_, credentials)| credentials.clone())
}

fn salt(name: &str) -> [u8; SALT_BYTES] {
    let mut salt = [7; SALT_BYTES];
    salt.iter_mut().zip(name.bytes()).for_each(|(salt, byte)| *salt ^= byte);
    salt
}

/// The other side, which shares no code with the server. It knows what was said, and judges a success.
struct Client {
    channel: Channel,
    mechanism: String,
    /// The client's first message.
    first: Vec<u8>,
    challenge: Option<String>,
    last: Vec<u8>,
}

impl Client {
    fn new(channel: Channel) -> Self {
        Self { channel, mechanism: String::new(), first: Vec::new(), challenge: None, last: Vec::new() }
    }

    fn begin(&mut self, mechanism: &str, message: Option<&[u8]>) {
        mechanism.clone_into(&mut self.mechanism);
        self.first = message.unwrap_or_default().to_vec();
        self.challenge = None;
    }

    /// What is sent for a line.
    fn respond(&mut self, line: &[u8]) -> Vec<u8> {
        let Some(challenge) = &self.challenge else {
            self.first = line.to_vec();
            return line.to_vec();
        };
        let nonce = attribute(challenge, "r=").unwrap_or_default();
        let (header, data) = self.binding();
        let mut message = replace(line, "$r", nonce);
        message = replace(&message, "$c", &STANDARD.encode([header.clone(), data].concat()));
        message = replace(&message, "$x", &STANDARD.encode([header, vec![0xAA; 32]].concat()));
        for (mark, password) in [("$p", "wrong"), ("$P", "secret")] {
            let proof = STANDARD.encode(self.proof(challenge, without_proof(&message), password));
            message = replace(&message, mark, &proof);
        }
        self.last.clone_from(&message);
        message
    }

    fn hear(&mut self, step: Result<Step<BareJid>, Refusal>) -> Said {
        match step {
            Ok(Step::Challenge(message)) => {
                let text = String::from_utf8(message).unwrap();
                let is_fixed = |part: &&str| !part.starts_with("r=") && !part.starts_with("s=");
                let fixed = text.split(',').filter(is_fixed).collect::<Vec<_>>().join(",");
                let length = text.len();
                self.challenge = Some(text).filter(|text| !text.is_empty());
                Said::Challenge(length, fixed)
            }
            Ok(Step::Success { peer, .. }) => {
                assert_eq!(peer.mechanism().as_str(), self.mechanism);
                self.judge(peer.account());
                self.challenge = None;
                Said::Success
            }
            Ok(Step::NeedCredentials { .. } | Step::NeedToken { .. }) => panic!("they were handed in"),
            Err(refusal) => {
                self.challenge = None;
                Said::Failure(refusal.failure)
            }
        }
    }

    /// Whether this account may come in after what was said.
    fn judge(&self, account: &BareJid) {
        assert_eq!(account.domain(), DOMAIN);
        let known = ACCOUNTS.into_iter().find(|(name, ..)| account.local() == Some(*name));
        let (_, password, standing) = known.expect("there is no such account");
        assert_eq!(standing, Standing::Active);
        if self.mechanism == "PLAIN" {
            assert_ne!(self.channel, Channel::Clear);
            let parts: Vec<&[u8]> = self.first.split(|byte| *byte == 0).collect();
            let [authzid, name, said] = parts[..] else { panic!("{} parts", parts.len()) };
            assert_eq!(said, password.as_bytes());
            return is_own(account, str(name), str(authzid));
        }
        let (header, bare) = self.headers();
        let (flag, authzid) = header.split_once(',').unwrap();
        let authzid = authzid.strip_prefix("a=").unwrap_or_default().trim_end_matches(',');
        is_own(account, &unescaped(attribute(bare, "n=").unwrap()), &unescaped(authzid));
        let is_plus = self.mechanism.ends_with("-PLUS");
        assert_eq!(is_plus, flag.starts_with("p="), "{flag}");
        assert!(flag != "y" || self.channel == Channel::Clear, "somebody took -PLUS out");
        let challenge = self.challenge.as_ref().expect("a challenge was sent");
        let last = str(&self.last);
        let (header, data) = self.binding();
        assert_eq!(STANDARD.decode(attribute(last, "c=").unwrap()).unwrap(), [header, data].concat());
        assert_eq!(attribute(last, "r="), attribute(challenge, "r="));
        let (_, proof) = last.rsplit_once(",p=").unwrap();
        let right = self.proof(challenge, without_proof(&self.last), password);
        assert_eq!(STANDARD.decode(proof).unwrap(), right);
    }

    /// RFC 5802 §7: the GS2 header with its comma, and the rest of the first message.
    fn headers(&self) -> (&str, &str) {
        let text = std::str::from_utf8(&self.first).unwrap_or_default();
        let commas = text.match_indices(',').nth(1);
        text.split_at(commas.map_or(0, |(at, _)| at + 1))
    }

    /// The header, and the data of the binding that it names.
    fn binding(&self) -> (Vec<u8>, Vec<u8>) {
        let (header, _) = self.headers();
        let data = match header.split(',').next() {
            Some("p=tls-exporter") => EXPORTER.to_vec(),
            Some("p=tls-server-end-point") => END_POINT.to_vec(),
            _ => Vec::new(),
        };
        (header.as_bytes().to_vec(), data)
    }

    /// RFC 5802 §3
    fn proof(&self, challenge: &str, without_proof: &str, password: &str) -> Vec<u8> {
        let salt = STANDARD.decode(attribute(challenge, "s=").unwrap()).unwrap();
        let rounds: NonZeroU32 = attribute(challenge, "i=").unwrap().parse().unwrap();
        let (rounds_by, sign_by, hash_by) = if self.mechanism.contains("SHA-512") {
            (pbkdf2::PBKDF2_HMAC_SHA512, hmac::HMAC_SHA512, &digest::SHA512)
        } else if self.mechanism.contains("SHA-256") {
            (pbkdf2::PBKDF2_HMAC_SHA256, hmac::HMAC_SHA256, &digest::SHA256)
        } else {
            (pbkdf2::PBKDF2_HMAC_SHA1, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA1_FOR_LEGACY_USE_ONLY)
        };
        let mut salted = vec![0; hash_by.output_len()];
        pbkdf2::derive(rounds_by, rounds, &salt, password.as_bytes(), &mut salted);
        let sign =
            |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(sign_by, key), data).as_ref().to_vec();
        let client_key = sign(&salted, b"Client Key");
        let stored = digest::digest(hash_by, &client_key);
        let (_, bare) = self.headers();
        let signature = sign(stored.as_ref(), format!("{bare},{challenge},{without_proof}").as_bytes());
        client_key.iter().zip(signature).map(|(one, other)| one ^ other).collect()
    }
}

/// RFC 6120 §6.3.8: a user name of this domain, and nobody else's address beside it.
fn is_own(account: &BareJid, name: &str, authzid: &str) {
    assert_eq!(BareJid::new(Some(name), DOMAIN).as_ref(), Ok(account), "{name:?}");
    assert!(authzid.is_empty() || authzid.parse::<BareJid>().as_ref() == Ok(account), "{authzid:?}");
}

fn attribute<'a>(message: &'a str, key: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(key))
}

fn without_proof(message: &[u8]) -> &str {
    let text = std::str::from_utf8(message).unwrap_or_default();
    text.rsplit_once(",p=").map_or(text, |(without, _)| without)
}

fn unescaped(name: &str) -> String {
    name.replace("=2C", ",").replace("=3D", "=")
}

fn str(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn replace(bytes: &[u8], mark: &str, with: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark.as_bytes()) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(with.as_bytes());
        rest = &rest[at + mark.len()..];
    }
    [out, rest.to_vec()].concat()
}

/// Else the rules above would judge nothing.
#[test]
fn the_owner_comes_in() {
    let mut logins = 0;
    for mechanism in Mechanism::ALL {
        let name = mechanism.as_str();
        let flags: &[&str] = match mechanism {
            Mechanism::Plain => &[""],
            Mechanism::Scram(_) => &["n,,", "n,a=alice@example.org,"],
            Mechanism::ScramPlus(_) => &["p=tls-exporter,,", "p=tls-server-end-point,,"],
            Mechanism::Token(_) => &[],
        };
        for flag in flags {
            let dialogue = match mechanism {
                Mechanism::Plain => ">PLAIN \0alice\0secret".to_owned(),
                _ => format!(">{name} {flag}n=alice,r=abc\nc=$c,r=$r,p=$P"),
            };
            assert_eq!(converse(dialogue.as_bytes(), true).last(), Some(&Said::Success), "{dialogue}");
            let refused = [Said::Failure(SaslFailure::NotAuthorized)];
            let wrong = dialogue.replace("secret", "wrong").replace("$P", "$p");
            assert_eq!(converse(wrong.as_bytes(), true).last(), refused.first(), "{wrong}");
            assert_eq!(converse(dialogue.as_bytes(), false).last(), refused.first(), "{dialogue}");
            logins += 1;
        }
    }
    assert_eq!(logins, 13);
}
