//! Simulation: the convergence checker with the server inside of the process. One thread, paused time, links in memory,
//! a disk that is slow, fails, cannot be read now and then, lets the server die in the middle of a write, and keeps what
//! it likes of what it was writing then. A seed decides all of it, so that a seed that fails replays exactly.
//!
//! `UNISONO_SIM_SEEDS` says how many seeds are run, `UNISONO_SIM_SEED` which is the first, and with `UNISONO_SIM_TRACE`
//! all that happened in the shortest story is printed. Many seeds want an optimised build:
//!
//! ```text
//! UNISONO_SIM_SEEDS=10000 cargo test --profile measure --test stories simulation::every
//! ```

mod desk;
mod disk;
mod faults;
mod link;
mod run;
mod world;

use std::io::{Write as _, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use unisono_conformance::converge::{Promise, Rule};

use faults::Fault;
use run::{Run, plan_of};

/// Seeds that are run if nobody says how many.
const SEEDS: u64 = 100;
/// Seeds within which a planted fault must be found.
const SEEDS_OF_A_FAULT: u64 = 200;
/// Seeds that are run twice.
const SEEDS_TWICE: u64 = 20;
/// After so many seeds that failed no more are run; their stories are told.
const STORIES_MAX: usize = 5;
/// How often a long run says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
}

#[test]
fn every_seed_keeps_the_promises() {
    let first = variable("UNISONO_SIM_SEED", 1);
    let count = variable("UNISONO_SIM_SEEDS", SEEDS);
    let (start, told) = (Instant::now(), Mutex::new(Instant::now()));
    let next = AtomicU64::new(0);
    let failed: Mutex<Vec<(u64, Run)>> = Mutex::default();
    let work = || {
        while failed.lock().unwrap().len() < STORIES_MAX {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let seed = first.wrapping_add(number);
            let run = Run::new(plan_of(seed), Fault::Nothing);
            if run.has_failed() {
                failed.lock().unwrap().push((seed, run));
            }
            let mut told = told.lock().unwrap();
            if told.elapsed() > TELL_EVERY {
                *told = Instant::now();
                let (done, failed) = (number + 1, failed.lock().unwrap().len());
                let rate = done * 60 / start.elapsed().as_secs().max(1);
                // Not by `eprintln!`, of which nothing is seen until the test is over.
                writeln!(stderr(), "{done} of {count} seeds, {failed} failed, {rate} a minute").unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_by_key(|(seed, _)| *seed);
    let seeds: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
    for (seed, run) in &failed {
        eprintln!("seed {seed}: {}", run.reason());
    }
    for (_, run) in failed {
        eprintln!("{}", run.blame(Fault::Nothing));
    }
    let done = next.into_inner().min(count);
    assert!(seeds.is_empty(), "{} of {done} seeds break promises: {seeds:?}", seeds.len());
}

#[test]
fn a_seed_decides_all_that_happens() {
    for seed in 1..=SEEDS_TWICE {
        let run = || Run::new(plan_of(seed), Fault::Nothing);
        let (one, other) = (run(), run());
        let lines = |run: &Run| String::from_utf8_lossy(&run.trace).lines().map(str::to_owned).collect();
        let (told, again): (Vec<String>, Vec<String>) = (lines(&one), lines(&other));
        let differs = told.iter().zip(&again).position(|(one, other)| one != other);
        assert_eq!(differs.map(|line| (&told[line], &again[line])), None, "seed {seed}, line {differs:?}");
        assert_eq!(told.len(), again.len(), "seed {seed}");
        assert_eq!(one.history, other.history, "seed {seed}");
    }
}

#[test]
fn each_planted_fault_is_found_by_the_promise_that_it_breaks() {
    for (fault, promise, rule) in [
        (Fault::AckBeforeCommit, Promise::P2, Rule::LostAfterAck),
        (Fault::IdByClock, Promise::P1, Rule::ReorderedOnDevice),
        (Fault::NoDedup, Promise::P3, Rule::DoubledInLog),
        (Fault::ResumeQueueLost, Promise::P4, Rule::LostInResumption),
        // What the log shows is not what was sent. A device that shows less than the log is `Rule::MarkerBack`, and the
        // toy of the checker's own tests has that fault.
        (Fault::MarkerByArrival, Promise::P5, Rule::ContentDiffers),
    ] {
        assert_eq!(rule.promise(), promise);
        let breaks = |seed| Run::new(plan_of(seed), fault).rules().contains(&rule);
        let found = (1..=SEEDS_OF_A_FAULT).find(|seed| breaks(*seed));
        let seed = found.unwrap_or_else(|| panic!("{fault:?} is not found as {rule:?}"));
        let clean = Run::new(plan_of(seed), Fault::Nothing).rules();
        assert!(clean.is_empty(), "seed {seed} breaks {clean:?} without {fault:?}, too");
    }
}

/// A story is told as short as it can be, and it is still the same story.
#[test]
fn a_planted_fault_is_told_in_short() {
    let fault = Fault::NoDedup;
    let runs = (1..=SEEDS_OF_A_FAULT).map(|seed| Run::new(plan_of(seed), fault));
    let run = runs.into_iter().find(Run::has_failed).expect("it is found");
    let short = run.shortest(fault);
    assert!(short.steps.len() * 2 < run.plan.steps.len(), "{} steps are left", short.steps.len());
    assert_eq!(Run::new(short, fault).rules().first(), run.rules().first());
}
