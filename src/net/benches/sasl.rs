//! What it takes to refuse somebody. An unknown user must take what a wrong password takes: who compares the lines that
//! this prints should find no difference beyond their spread. That the work is the same is a test; a time is none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use unisono_core::jid::BareJid;
use unisono_net::sasl::{
    Account, Authenticator, Channel, ChannelBindings, Credentials, Decoys, Hash, ITERATIONS, Offer, Password,
    Policy, ScramKeys, ServerNonce, Standing, Step, TlsVersion,
};

/// An address, as the streams have it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Jid(BareJid);

impl Account for Jid {
    fn parse(local: &str, domain: &str) -> Option<Self> {
        BareJid::new(Some(local), domain).ok().map(Self)
    }
}

impl std::fmt::Display for Jid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// One account, as the store has it.
struct Stored {
    hash: Hash,
    text: String,
}

impl Stored {
    fn new(hash: Hash) -> Self {
        let password = Password::prepare("correct horse").expect("a password");
        let keys = ScramKeys::derive(&password, &[7; 16], ITERATIONS, hash);
        Self { hash, text: keys.to_string() }
    }

    /// What is read for an account: `alice` is the only one.
    fn credentials(&self, account: &Jid, hash: Hash) -> Option<Credentials> {
        let is_known = account.0.local() == Some("alice") && hash == self.hash;
        let keys = is_known.then(|| self.text.parse().expect("it was written like this"))?;
        Some(Credentials { keys, standing: Standing::Active, passwords: 0 })
    }
}

struct Server {
    offer: Offer,
    decoys: Arc<Decoys>,
    stored: Stored,
}

impl Server {
    fn new(hash: Hash) -> Self {
        let bindings = ChannelBindings {
            version: TlsVersion::Tls13,
            exporter: Some([1; 32]),
            end_point: [2; 32].into(),
        };
        Self {
            offer: Offer::new(&Policy::default(), Channel::Tls(bindings)),
            decoys: Arc::new(Decoys::new(&[3; 32], &[])),
            stored: Stored::new(hash),
        }
    }

    /// An attempt from the first message to the refusal. The proof of SCRAM is wrong for everybody.
    fn refuse(&self, mechanism: &str, first: &str) {
        let mut sasl = Authenticator::<Jid>::new("example.org", self.offer.clone(), Arc::clone(&self.decoys));
        let nonce = ServerNonce::from_random(&[5; 18]);
        let Ok(Step::NeedCredentials { account, hash, .. }) =
            sasl.begin(mechanism, Some(first.as_bytes()), nonce)
        else {
            panic!("no credentials are asked for");
        };
        match sasl.provide(self.stored.credentials(&account, hash)) {
            Ok(Step::Challenge(challenge)) => {
                let challenge = String::from_utf8(challenge).expect("text");
                let nonce = challenge.split(',').next().expect("a nonce");
                let proof = "A".repeat(43);
                assert!(sasl.respond(format!("c=biws,{nonce},p={proof}=").as_bytes()).is_err());
            }
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => drop(black_box(refusal)),
        }
    }
}

/// The middle of all times, and the bounds of its half.
fn quartiles(times: &mut [Duration]) -> [Duration; 3] {
    times.sort_unstable();
    [1, 2, 3].map(|quarter| times[times.len() * quarter / 4])
}

fn main() {
    assert_eq!(ITERATIONS.get(), 10_000);
    let server = Server::new(Hash::Sha256);
    for (mechanism, attempts) in [("SCRAM-SHA-256", 20_000), ("PLAIN", 400)] {
        let users = [("wrong password", "alice"), ("unknown user", "aloce")];
        let first = users.map(|(_, user)| match mechanism {
            "PLAIN" => format!("\0{user}\0wrong horse"),
            _ => format!("n,,n={user},r=fyko+d2lbbFgONRv9qkxdawL"),
        });
        // By turns, so that what else the machine does meets both.
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..attempts {
            for (first, times) in first.iter().zip(&mut times) {
                let began = Instant::now();
                server.refuse(mechanism, black_box(first));
                times.push(began.elapsed());
            }
        }
        for ((what, _), times) in users.iter().zip(&mut times) {
            let [low, middle, high] = quartiles(times);
            println!("{mechanism:14} {what:15} {middle:>10.2?}   half of them: {low:.2?} to {high:.2?}");
        }
    }
}
