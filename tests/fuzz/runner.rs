//! Runs a target over its corpus and what becomes of it.

use std::cell::Cell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Once;
use std::time::{Duration, Instant};

use unisono_conformance::converge::Random;

/// Inputs with an outcome of their own that are kept in memory.
const POOL_MAX: usize = 4_000;
/// Runs of a target that may go into making a failing input smaller.
const SMALLER_MAX: usize = 4_000;
/// No input takes so long, on any machine.
const SLOW: Duration = Duration::from_secs(30);
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// A target, and how it is run.
pub(super) struct Fuzz {
    /// The folder of its corpus.
    pub(super) name: &'static str,
    /// Panics where a rule is broken. Says what came of the input, as a number: inputs with new ones are worth changing.
    pub(super) target: fn(&[u8]) -> u64,
    /// A change to an input, which may bring in something of another one.
    pub(super) change: fn(&mut Random, &[u8], &[u8]) -> Vec<u8>,
    pub(super) bytes_max: usize,
    /// Inputs that are tried if nobody says for how long.
    pub(super) cases: u64,
}

impl Fuzz {
    /// All of the corpus, and then what chance makes of it: so many cases, or for `UNISONO_FUZZ_SECONDS`.
    pub(super) fn run(&self) {
        let seed = variable("UNISONO_FUZZ_SEED").unwrap_or(1);
        let seconds = variable("UNISONO_FUZZ_SECONDS").map(Duration::from_secs);
        let mut random = Random::new(seed);
        let mut outcomes = HashSet::new();
        let mut pool: Vec<Vec<u8>> = Vec::new();
        for (name, input) in self.corpus() {
            match self.outcome(&input) {
                Ok(outcome) => outcomes.insert(outcome),
                Err(why) => panic!("{name} of the corpus of {}: {why}", self.name),
            };
            pool.push(input);
        }
        assert!(!pool.is_empty(), "{} has no corpus", self.name);
        let start = Instant::now();
        let mut told = start;
        let mut case = 0;
        while seconds.map_or(case < self.cases, |seconds| start.elapsed() < seconds) {
            case += 1;
            let input = self.next(&mut random, &pool);
            match self.outcome(&input) {
                Ok(outcome) => {
                    if outcomes.insert(outcome) {
                        keep(&mut random, &mut pool, input);
                    }
                }
                Err(why) => self.fail(seed, case, &input, &why),
            }
            if seconds.is_some() && told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                let rate = case / start.elapsed().as_secs().max(1);
                eprintln!("{}: {case} cases, {rate} a second, {} outcomes", self.name, outcomes.len());
            }
        }
        if seconds.is_some() {
            eprintln!(
                "{}: seed {seed}, {case} cases, {} outcomes, no rule is broken",
                self.name,
                outcomes.len()
            );
        }
    }

    fn next(&self, random: &mut Random, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut input = random.pick(pool).unwrap().clone();
        let changes = random.between(1, 6);
        for _ in 0..random.between(1, changes) {
            let other = random.pick(pool).unwrap();
            input = (self.change)(random, &input, other);
            input.truncate(self.bytes_max);
        }
        input
    }

    /// What came of an input, or which rule it broke.
    fn outcome(&self, input: &[u8]) -> Result<u64, String> {
        let start = Instant::now();
        let outcome = quietly(|| (self.target)(input))?;
        let took = start.elapsed();
        if took > SLOW { Err(format!("it took {took:?}")) } else { Ok(outcome) }
    }

    /// Puts the smallest input that fails into the corpus, where each later run finds it first.
    fn fail(&self, seed: u64, case: u64, input: &[u8], why: &str) -> ! {
        let small = smallest(input, |smaller| self.outcome(smaller).is_err());
        let why_small = self.outcome(&small).err().unwrap_or_default();
        let path = self.folder().join(format!("found-{:016x}", hash(&small)));
        let written = std::fs::write(&path, &small);
        panic!(
            "{}, seed {seed}, case {case}, {} bytes: {why}\n\nsmallest, {} bytes: {why_small}\n{}\n\n{} ({written:?}); \
             the next run of this test begins with it\n",
            self.name,
            input.len(),
            small.len(),
            small.escape_ascii(),
            path.display(),
        );
    }

    /// By name, so that all runs are alike.
    fn corpus(&self) -> Vec<(String, Vec<u8>)> {
        let files = std::fs::read_dir(self.folder()).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<PathBuf> = files.collect();
        files.sort();
        files.into_iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(self.name)
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
}

/// Small inputs are changed often, and large ones seldom.
fn keep(random: &mut Random, pool: &mut Vec<Vec<u8>>, input: Vec<u8>) {
    if pool.len() < POOL_MAX {
        pool.push(input);
    } else {
        let place = random.below(POOL_MAX);
        pool[place] = input;
    }
}

/// Takes out what the failure does not need: pieces of half the input, then of a quarter, down to single bytes.
fn smallest(input: &[u8], mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut small = input.to_vec();
    let mut left = SMALLER_MAX;
    let mut piece = small.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        let mut has_shrunk = false;
        while at < small.len() && left > 0 {
            let mut without = small.clone();
            without.drain(at..(at + piece).min(small.len()));
            left -= 1;
            if fails(&without) {
                small = without;
                has_shrunk = true;
            } else {
                at += piece;
            }
        }
        // Single bytes are tried until none can go.
        piece = if piece == 1 && has_shrunk && left > 0 { 1 } else { piece / 2 };
    }
    small
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// A panic as a text, which is printed by whoever wants to.
fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IS_QUIET.get() {
                LAST.set(info.location().map(ToString::to_string).unwrap_or_default());
            } else {
                usual(info);
            }
        }));
    });
    thread_local! {
        static LAST: Cell<String> = const { Cell::new(String::new()) };
    }
    LAST.take();
    IS_QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_QUIET.set(false);
    let place = LAST.take();
    match result {
        Ok(done) if place.is_empty() => Ok(done),
        // The server ends one stream and goes on.
        Ok(_) => Err(format!("somebody caught a panic at {place}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Err(format!("{} at {place}", text.unwrap_or_default()))
        }
    }
}

/// FNV-1a: the same on every machine.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn a_broken_rule_is_found_and_made_small() {
    // What no element of the corpus has, and one change after the other leads to.
    let breaks = |input: &[u8]| input.windows(2).any(|two| two == b"zz");
    let target = |input: &[u8]| {
        assert!(!input.windows(2).any(|two| two == b"zz"), "two of them");
        u64::from(input.contains(&b'z'))
    };
    let change = |random: &mut Random, input: &[u8], _: &[u8]| {
        let mut input = input.to_vec();
        input.insert(random.below(input.len() + 1), *random.pick(b"xyz").unwrap());
        input
    };
    let fuzz = Fuzz { name: "xml", target, change, bytes_max: 1_000, cases: 0 };
    let mut random = Random::new(1);
    let pool = [b"one, two and three".to_vec()];
    let found =
        (0..100_000).map(|_| fuzz.next(&mut random, &pool)).find(|input| fuzz.outcome(input).is_err());
    let found = found.expect("it is found");
    assert_eq!(smallest(&found, breaks), b"zz");
    let why = fuzz.outcome(&found).unwrap_err();
    assert!(why.contains("two of them") && why.contains("runner.rs"), "{why}");
    assert_eq!(fuzz.outcome(b"z-z"), Ok(1));
    let caught = Fuzz { target: |_| u64::from(catch_unwind(|| panic!("inside")).is_err()), ..fuzz };
    assert!(caught.outcome(b"").is_err_and(|why| why.contains("runner.rs")));
}

#[test]
fn what_fails_is_made_as_small_as_it_gets() {
    for (input, needs) in [("abcdefgh", "aeh"), ("aaaaaaaab", "b"), ("x", ""), ("abc", "abc")] {
        // It fails as long as it has these bytes in this order.
        let fails = |input: &[u8]| {
            let mut bytes = input.iter();
            needs.bytes().all(|need| bytes.any(|byte| *byte == need))
        };
        assert_eq!(smallest(input.as_bytes(), fails), needs.as_bytes(), "{input}");
    }
}
