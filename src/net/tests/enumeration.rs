//! Nobody learns from the server whether an account exists (THREATS, "User enumeration"): not from a salt, and not from how
//! long an answer takes.
//!
//! Times are compared with each other, never with a clock's face: both kinds are measured in turns, so that what else the
//! machine does meets both alike, and only a difference that every round shows counts.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use unisono_core::jid::BareJid;
use unisono_core::storage::Accounts;
use unisono_net::sasl::{
    Authenticator, Channel, ChannelBindings, Credentials, Decoys, Hash, Offer, Password, Policy, ScramKeys,
    ServerNonce, Standing, Step, TlsVersion, fresh_keys,
};
use unisono_net::{Limits, Rate};

use crate::scram::Scram;
use crate::server::{DOMAIN, Device, PASSWORD, Server, jid};

const NS_SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// As long as each other, so that no message is longer for one of them.
const KNOWN: &str = "alice";
const UNKNOWN: &str = "aloce";
/// A difference in one round may be chance.
const ROUNDS: usize = 4;
/// The difference of two medians that is one, in percent of the smaller. The work that a careless server saves is more.
const PERCENT: f64 = 20.0;
/// Standard deviations of the rank sum by which two samples differ that are not drawn alike.
const SIGMAS: f64 = 4.0;

/// How long something took, for the known and for the unknown user, in turns.
#[derive(Default)]
struct Times {
    known: Vec<Duration>,
    unknown: Vec<Duration>,
}

impl Times {
    fn of(&mut self, user: &str) -> &mut Vec<Duration> {
        if user == KNOWN { &mut self.known } else { &mut self.unknown }
    }

    /// Whether one of them is slower, by so much that it is worth something to a stranger and by no chance.
    fn differ(&self) -> bool {
        let [known, unknown] = [&self.known, &self.unknown].map(|times| median(times).as_secs_f64());
        let percent = (known - unknown).abs() / known.min(unknown) * 100.0;
        percent > PERCENT && self.sigmas().abs() > SIGMAS
    }

    /// Mann and Whitney: how far the ranks of the one are from those of the other.
    fn sigmas(&self) -> f64 {
        let wins = |known: &Duration| {
            let half = |unknown: &Duration| match known.cmp(unknown) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
            self.unknown.iter().map(half).sum::<f64>()
        };
        let sum: f64 = self.known.iter().map(wins).sum();
        let [known, unknown] =
            [&self.known, &self.unknown].map(|times| f64::from(u32::try_from(times.len()).unwrap()));
        (sum - known * unknown / 2.0) / (known * unknown * (known + unknown + 1.0) / 12.0).sqrt()
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

/// Fails where each round of one of these measurements shows a difference.
fn assert_alike(rounds: &[Vec<(&str, Times)>]) {
    for (what, _) in &rounds[0] {
        let all: Vec<&Times> = rounds
            .iter()
            .flat_map(|round| round.iter().filter(|(name, _)| name == what))
            .map(|(_, times)| times)
            .collect();
        let shown = all.iter().map(|times| {
            format!(
                "{:?} and {:?} ({:.1} sigma)",
                median(&times.known),
                median(&times.unknown),
                times.sigmas()
            )
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        assert!(!all.iter().all(|times| times.differ()), "{what} tells who exists: {shown}");
        println!("{what}: {shown}");
    }
}

/// Keys as they are made for a new account.
fn keys() -> Vec<ScramKeys> {
    fresh_keys(&Password::prepare(PASSWORD).unwrap()).unwrap()
}

/// The steps of the exchange alone, where microseconds show.
#[test]
fn no_step_of_an_exchange_is_shorter_for_nobody() {
    let keys = keys();
    let decoys = Arc::new(Decoys::new(&[1; 32], &[]));
    let bindings = ChannelBindings {
        version: TlsVersion::Tls13,
        exporter: Some([1; 32]),
        end_point: Arc::from([2; 32]),
    };
    let offer = Offer::new(&Policy::default(), Channel::Tls(bindings));
    let found = |user: &str, hash: Hash| {
        let keys = keys.iter().find(|keys| keys.hash() == hash).filter(|_| user == KNOWN)?;
        Some(Credentials { keys: keys.clone(), standing: Standing::Active, passwords: 0 })
    };
    let open = || Authenticator::<BareJid>::new(DOMAIN, offer.clone(), decoys.clone());
    let round = || {
        let (mut challenge, mut proof, mut plain) = (Times::default(), Times::default(), Times::default());
        for turn in 0..400 {
            for user in in_turns(turn) {
                let mut sasl = open();
                let first = format!("n,,n={user},r=abc");
                let step =
                    sasl.begin("SCRAM-SHA-256", Some(first.as_bytes()), ServerNonce::from_random(&[3; 18]));
                let Ok(Step::NeedCredentials { hash, .. }) = step else { panic!("{step:?}") };
                let found = found(user, hash);
                let start = Instant::now();
                let step = black_box(sasl.provide(black_box(found)));
                challenge.of(user).push(start.elapsed());
                let Ok(Step::Challenge(message)) = step else { panic!("{step:?}") };
                let message = String::from_utf8(message).unwrap();
                let nonce = message.split(',').next().unwrap();
                let last = format!("c=biws,{nonce},p={}", STANDARD.encode([7; 32]));
                let start = Instant::now();
                let step = black_box(sasl.respond(black_box(last.as_bytes())));
                proof.of(user).push(start.elapsed());
                assert!(step.is_err());
            }
        }
        for turn in 0..30 {
            for user in in_turns(turn) {
                let mut sasl = open();
                let message = format!("\0{user}\0wrong");
                let step = sasl.begin("PLAIN", Some(message.as_bytes()), ServerNonce::from_random(&[3; 18]));
                let Ok(Step::NeedCredentials { hash, .. }) = step else { panic!("{step:?}") };
                let found = found(user, hash);
                let start = Instant::now();
                let step = black_box(sasl.provide(black_box(found)));
                plain.of(user).push(start.elapsed());
                assert!(step.is_err());
            }
        }
        vec![("the challenge of SCRAM", challenge), ("the end of SCRAM", proof), ("PLAIN", plain)]
    };
    assert_alike(&(0..ROUNDS).map(|_| round()).collect::<Vec<_>>());
}

/// All that a stranger can measure: the answers of a server with its store, behind TLS.
#[tokio::test]
async fn no_answer_comes_sooner_for_nobody() {
    let server = Server::with(Limits {
        sasl_failure_delay: Duration::ZERO,
        sasl_delay_max: Duration::ZERO,
        sasl_attempts_max: u32::MAX,
        authenticate_within: Duration::from_secs(3_600),
        connection_rate: Rate { units: 1_000, every: Duration::from_secs(1) },
        ..Limits::default()
    })
    .await;
    let credentials: Vec<_> =
        keys().iter().map(|keys| (keys.hash().family().to_owned(), keys.to_string())).collect();
    server.store.create(&jid(KNOWN), &credentials, 0).await.unwrap();
    let mut client = server.client().await;
    client.open().await;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (mut challenge, mut failure, mut plain) = (Times::default(), Times::default(), Times::default());
        for turn in 0..100 {
            for user in in_turns(turn) {
                let scram = Scram::new("SCRAM-SHA-256", user, "wrong");
                let auth = auth("SCRAM-SHA-256", &scram.first());
                let (time, said) = ask(&mut client, &auth, "</challenge>").await;
                challenge.of(user).push(time);
                // Any proof of the right length is wrong.
                let last = STANDARD.encode(format!(
                    "c=biws,r={},p={}",
                    part(&message(&said), "r="),
                    STANDARD.encode([7; 32])
                ));
                let response = format!("<response xmlns='{NS_SASL}'>{last}</response>");
                failure.of(user).push(ask(&mut client, &response, "</failure>").await.0);
            }
        }
        // By themselves, since what comes behind the work of a password finds a machine that is warm.
        for turn in 0..30 {
            for user in in_turns(turn) {
                let auth = auth("PLAIN", &format!("\0{user}\0wrong"));
                plain.of(user).push(ask(&mut client, &auth, "</failure>").await.0);
            }
        }
        rounds.push(vec![
            ("the challenge of SCRAM", challenge),
            ("the failure of SCRAM", failure),
            ("PLAIN", plain),
        ]);
    }
    assert_alike(&rounds);
}

/// THREATS: ask twice, same salt; also after a restart, and for each user and mechanism another.
#[tokio::test]
async fn an_unknown_user_keeps_its_salt() {
    let server = Server::start().await;
    let mut salts = Vec::new();
    for server in [&server, &server.restarted().await] {
        let mut client = server.client().await;
        client.open().await;
        for (mechanism, user) in
            [("SCRAM-SHA-256", "nobody"), ("SCRAM-SHA-1", "nobody"), ("SCRAM-SHA-256", "another")]
        {
            let auth = auth(mechanism, &Scram::new(mechanism, user, "wrong").first());
            let (_, said) = ask(&mut client, &auth, "</challenge>").await;
            salts.push(part(&message(&said), "s=").to_owned());
            ask(&mut client, &format!("<abort xmlns='{NS_SASL}'/>"), "</failure>").await;
        }
    }
    let (before, after) = salts.split_at(3);
    assert_eq!(before, after);
    assert!(before[0] != before[1] && before[0] != before[2] && before[1] != before[2], "{before:?}");
}

#[test]
fn a_difference_is_seen_and_chance_is_not() {
    let micros = |base: u64, n: u64| Duration::from_micros(base + n * 7 % 31);
    let times = |known, unknown| Times {
        known: (0..60).map(|n| micros(known, n)).collect(),
        unknown: (0..60).map(|n| micros(unknown, n + 5)).collect(),
    };
    for (known, unknown, differ) in
        [(100, 100, false), (1_000, 1_010, false), (100, 160, true), (160, 100, true), (3_000, 20, true)]
    {
        assert_eq!(times(known, unknown).differ(), differ, "{known} {unknown}");
    }
    // A machine that does something else now and then.
    let mut noisy = times(100, 100);
    noisy.known.iter_mut().step_by(3).for_each(|time| *time *= 50);
    assert!(!noisy.differ());
}

/// Who comes first changes from turn to turn.
fn in_turns(turn: usize) -> [&'static str; 2] {
    if turn.is_multiple_of(2) { [KNOWN, UNKNOWN] } else { [UNKNOWN, KNOWN] }
}

fn auth(mechanism: &str, message: &str) -> String {
    format!("<auth xmlns='{NS_SASL}' mechanism='{mechanism}'>{}</auth>", STANDARD.encode(message))
}

/// How long the answer takes, and what it is.
async fn ask(client: &mut Device, text: &str, end: &str) -> (Duration, String) {
    let start = Instant::now();
    client.send(text).await;
    let said = client.until(end).await;
    (start.elapsed(), said)
}

/// What a challenge holds.
fn message(challenge: &str) -> String {
    let (_, data) = challenge.split_once('>').unwrap();
    String::from_utf8(STANDARD.decode(data.strip_suffix("</challenge>").unwrap()).unwrap()).unwrap()
}

fn part<'a>(message: &'a str, key: &str) -> &'a str {
    message.split(',').find_map(|part| part.strip_prefix(key)).unwrap()
}
