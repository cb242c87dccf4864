//! Simulation: the convergence checker with the server inside of the process. One thread, paused time, links in memory,
//! a disk that is slow, fails, and keeps what it likes of what it was writing when the server died. A seed decides all of
//! it, so that a seed that fails replays exactly.
//!
//! `UNISONO_SIM_SEEDS` says how many seeds are run, `UNISONO_SIM_SEED` which is the first, and with `UNISONO_SIM_TRACE`
//! all that happened in the shortest story is printed.

mod disk;
mod faults;
mod link;
mod run;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use unisono_conformance::converge::Promise;

use faults::Fault;
use run::{Run, plan_of};

/// Seeds that are run if nobody says how many.
const SEEDS: u64 = 100;
/// Seeds within which a planted fault must be found.
const SEEDS_OF_A_FAULT: u64 = 40;
/// Seeds that are run twice.
const SEEDS_TWICE: u64 = 10;
/// Stories of failed seeds that are looked for; of more, the numbers are told.
const STORIES_MAX: usize = 5;

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
}

#[test]
fn every_seed_keeps_the_promises() {
    let first = variable("UNISONO_SIM_SEED", 1);
    let count = variable("UNISONO_SIM_SEEDS", SEEDS);
    let next = AtomicU64::new(0);
    let failed: Mutex<Vec<(u64, Run)>> = Mutex::default();
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let seed = first.wrapping_add(number);
            let run = Run::new(plan_of(seed), Fault::Nothing);
            if run.has_failed() {
                failed.lock().unwrap().push((seed, run));
            }
            if (number + 1).is_multiple_of(500) {
                eprintln!("{} of {count} seeds, {} failed", number + 1, failed.lock().unwrap().len());
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
    for (_, run) in failed.into_iter().take(STORIES_MAX) {
        eprintln!("{}", run.blame(Fault::Nothing));
    }
    assert!(seeds.is_empty(), "{} of {count} seeds break promises: {seeds:?}", seeds.len());
}

#[test]
fn a_seed_decides_all_that_happens() {
    for seed in 1..=SEEDS_TWICE {
        let run = || Run::new(plan_of(seed), Fault::Nothing).history;
        let (one, other) = (run(), run());
        let differs = one.events.iter().zip(&other.events).position(|(one, other)| one != other);
        let events = |moment: usize| (&one.events[moment], &other.events[moment]);
        assert_eq!(differs.map(events), None, "seed {seed}, event {differs:?}");
        assert_eq!(one.events.len(), other.events.len(), "seed {seed}");
    }
}

#[test]
fn each_planted_fault_is_found_by_the_promise_that_it_breaks() {
    for (fault, promise) in [
        (Fault::AckBeforeCommit, Promise::P2),
        (Fault::IdByClock, Promise::P1),
        (Fault::NoDedup, Promise::P3),
        (Fault::ResumeQueueLost, Promise::P4),
        (Fault::MarkerByArrival, Promise::P5),
    ] {
        let breaks = |seed| Run::new(plan_of(seed), fault).promises().contains(&promise);
        let found = (1..=SEEDS_OF_A_FAULT).find(|seed| breaks(*seed));
        let seed = found.unwrap_or_else(|| panic!("{fault:?} is not found as {promise:?}"));
        let clean = Run::new(plan_of(seed), Fault::Nothing).promises();
        assert!(clean.is_empty(), "seed {seed} breaks {clean:?} without {fault:?}, too");
    }
}
