//! Guessing passwords takes time.
//!
//! Where many attempts to authenticate have failed, the next ones wait before they are looked at. It is the attempt
//! that waits and not its failure, so that nobody learns from a missing answer, or by leaving early, what it would have
//! been. Two things count: the network from which attempts come, and the account that they are for.
//!
//! - The wait grows with the failures and has a bound: whoever knows the password comes in, also from behind the address
//!   that the attacker shares, and also to an account that strangers attack.
//! - Only a few attempts wait at a time, or many connections would guess as often as they like together. The others are
//!   told to come again. Where the owner of an account came in before, he always may wait.
//! - A success takes no failure away, or an attacker with an account of his own would go free. But where the owner of an
//!   account came in before, failures elsewhere do not make him wait.
//! - Failures are forgotten one by one as time passes, and by the thousand when there are too many to remember.
//! - An account that does not exist counts as one that does.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use unisono_core::jid::BareJid;

use crate::admission::network;
use crate::generations::Generations;
use crate::tally::Tally;

/// In this time one failure is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(20);
/// Failures of one network that cost nothing: many people may share it.
const FREE_OF_NETWORK: u32 = 20;
/// Failures with one account that cost nothing.
const FREE_OF_ACCOUNT: u32 = 10;
/// What each further failure adds to the wait.
const STEP: Duration = Duration::from_millis(100);
/// Failures that are remembered of one network or account.
const FAILURES_MAX: u32 = 100;
/// Attempts of one network, or with one account, that wait at a time.
const WAITING_MAX: usize = 4;

/// All failures that are remembered.
pub(crate) struct Guessing {
    delay_max: Duration,
    hasher: RandomState,
    memory: Mutex<Memory>,
}

/// For each network and each account, when its last failure will be forgotten.
#[derive(Default)]
struct Memory {
    networks: Generations<Instant>,
    accounts: Generations<Instant>,
    /// Accounts with a network from which their owners came in.
    at_home: Generations<()>,
    /// Attempts that wait, of networks and with accounts that have failed more than is free.
    waiting: Tally<u64>,
}

/// What an attempt has to do before it is looked at.
pub(crate) enum Wait {
    None,
    /// For so long, and meanwhile it keeps its place.
    For(Duration, Turn),
    /// Too many wait already.
    TooMany,
}

/// A place among those who wait, given back when it is dropped.
pub(crate) struct Turn {
    guessing: Arc<Guessing>,
    keys: [Option<u64>; 2],
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guessing.memory().waiting.give_back(self.keys.into_iter().flatten());
    }
}

/// An attempt to authenticate. Dropped without a word about its end, it has failed.
pub(crate) struct Attempt {
    guessing: Arc<Guessing>,
    from: IpAddr,
    account: BareJid,
    keys: Keys,
    has_failed: bool,
}

/// What its entries are called. They are keyed, so that nobody can choose what meets in one of them.
#[derive(Clone, Copy)]
struct Keys {
    network: u64,
    account: u64,
    home: u64,
}

impl Guessing {
    /// No attempt waits for longer than `delay_max`. That has to leave time for a login.
    pub(crate) fn new(delay_max: Duration) -> Arc<Self> {
        Arc::new(Self { delay_max, hasher: RandomState::new(), memory: Mutex::default() })
    }

    /// An attempt that begins now, from `address`, to come in as `account`; and whether it has to wait.
    pub(crate) fn attempt(
        self: &Arc<Self>,
        now: Instant,
        address: IpAddr,
        account: &BareJid,
    ) -> (Attempt, Wait) {
        let (from, name) = (network(address), account.as_str());
        let keys = Keys {
            network: self.hasher.hash_one(from),
            account: self.hasher.hash_one(name),
            home: self.hasher.hash_one((from, name)),
        };
        let mut memory = self.memory();
        let is_at_home = memory.at_home.entry(keys.home).is_some();
        let of_network = failures(now, memory.networks.entry(keys.network).as_deref());
        let of_account =
            if is_at_home { 0 } else { failures(now, memory.accounts.entry(keys.account).as_deref()) };
        let of_network = of_network.saturating_sub(FREE_OF_NETWORK);
        let of_account = of_account.saturating_sub(FREE_OF_ACCOUNT);
        let delay = STEP.saturating_mul(of_network.max(of_account)).min(self.delay_max);
        let wait = if delay.is_zero() {
            Wait::None
        } else {
            let counted = [(keys.network, of_network), (keys.account, of_account)];
            let keys = counted.map(|(key, beyond)| (beyond > 0 && !is_at_home).then_some(key));
            let has_room = memory.waiting.take(keys.into_iter().flatten().map(|key| (key, WAITING_MAX)));
            if has_room { Wait::For(delay, Turn { guessing: Arc::clone(self), keys }) } else { Wait::TooMany }
        };
        drop(memory);
        let guessing = Arc::clone(self);
        (Attempt { guessing, from, account: account.clone(), keys, has_failed: true }, wait)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// It was right.
    pub(crate) fn succeeded(mut self) {
        self.has_failed = false;
        self.guessing.memory().at_home.insert(self.keys.home, ());
    }

    /// It could not be judged, and the client is not to blame.
    pub(crate) fn withdraw(mut self) {
        self.has_failed = false;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.has_failed {
            return;
        }
        let (of_network, of_account) = {
            let now = Instant::now();
            let mut memory = self.guessing.memory();
            (memory.networks.fail(now, self.keys.network), memory.accounts.fail(now, self.keys.account))
        };
        // Told when it begins, not for each.
        if of_network == FREE_OF_NETWORK.saturating_add(1) {
            tracing::warn!(network = %self.from, "many logins failed from one network, the next have to wait");
        }
        if of_account == FREE_OF_ACCOUNT.saturating_add(1) {
            tracing::warn!(account = %self.account, "many logins to one account failed, the next have to wait");
        }
    }
}

/// How many failures are not forgotten yet.
fn failures(now: Instant, until: Option<&Instant>) -> u32 {
    let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
    let count = left.as_millis().div_ceil(FORGET_AFTER.as_millis());
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Generations<Instant> {
    /// Adds a failure, and returns how many there are now.
    fn fail(&mut self, now: Instant, key: u64) -> u32 {
        let before = failures(now, self.entry(key).as_deref());
        let until = match self.entry(key) {
            Some(until) if *until > now => *until,
            _ => now,
        };
        let count = before.saturating_add(1);
        if count <= FAILURES_MAX {
            self.insert(key, until.checked_add(FORGET_AFTER).unwrap_or(until));
        }
        count
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]
    use super::*;

    const MAX: Duration = Duration::from_secs(3);

    fn begin(guessing: &Arc<Guessing>, address: &str, account: &str) -> (Attempt, Wait) {
        let account = BareJid::new(Some(account), "example.org").unwrap();
        guessing.attempt(Instant::now(), address.parse().unwrap(), &account)
    }

    fn wait(guessing: &Arc<Guessing>, address: &str, account: &str) -> Duration {
        let (attempt, wait) = begin(guessing, address, account);
        attempt.withdraw();
        match wait {
            Wait::None => Duration::ZERO,
            Wait::For(delay, _) => delay,
            Wait::TooMany => panic!("nobody else waits"),
        }
    }

    fn fail(guessing: &Arc<Guessing>, address: &str, account: &str, times: usize) {
        (0..times).for_each(|_| drop(begin(guessing, address, account)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_grows_with_the_failures_up_to_a_bound_and_is_forgotten() {
        let guessing = Guessing::new(MAX);
        let step = |count| STEP * count;
        fail(&guessing, "192.0.2.1", "alice", 10);
        assert_eq!(wait(&guessing, "192.0.2.1", "alice"), Duration::ZERO);
        fail(&guessing, "192.0.2.1", "alice", 1);
        assert_eq!(wait(&guessing, "192.0.2.1", "alice"), step(1)); // the account
        assert_eq!(wait(&guessing, "192.0.2.1", "bob"), Duration::ZERO);
        fail(&guessing, "192.0.2.1", "bob", 10);
        assert_eq!(wait(&guessing, "192.0.2.1", "carol"), step(1)); // the network
        fail(&guessing, "192.0.2.1", "dave", 500);
        assert_eq!(wait(&guessing, "192.0.2.1", "carol"), MAX);
        assert_eq!(wait(&guessing, "192.0.2.2", "carol"), Duration::ZERO);
        // Of a hundred failures, seventy are forgotten.
        tokio::time::advance(FORGET_AFTER * 70).await;
        assert_eq!(wait(&guessing, "192.0.2.1", "carol"), step(10));
        tokio::time::advance(FORGET_AFTER * 10).await;
        assert_eq!(wait(&guessing, "192.0.2.1", "carol"), Duration::ZERO);
        fail(&guessing, "192.0.2.1", "carol", 1);
        assert_eq!(wait(&guessing, "192.0.2.1", "erin"), step(1)); // a little is remembered for longer
        tokio::time::advance(FORGET_AFTER * 21).await;
        fail(&guessing, "192.0.2.1", "carol", 1);
        assert_eq!(wait(&guessing, "192.0.2.1", "erin"), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_is_one_ipv4_address_or_64_bits_of_ipv6() {
        let guessing = Guessing::new(MAX);
        for n in 0..30 {
            fail(&guessing, &format!("2001:db8::{n}"), &format!("user{n}"), 1);
        }
        assert_eq!(wait(&guessing, "2001:db8::ffff:0:0:1", "alice"), STEP * 10);
        assert_eq!(wait(&guessing, "2001:db8:0:1::1", "alice"), Duration::ZERO);
        fail(&guessing, "::ffff:192.0.2.1", "bob", 30);
        assert_eq!(wait(&guessing, "192.0.2.1", "alice"), STEP * 10);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_do_not_make_an_owner_wait_where_he_came_in_before() {
        let guessing = Guessing::new(MAX);
        begin(&guessing, "192.0.2.7", "alice").0.succeeded();
        for n in 0..90 {
            fail(&guessing, &format!("198.51.100.{n}"), "alice", 1);
        }
        assert_eq!(wait(&guessing, "192.0.2.7", "alice"), Duration::ZERO);
        assert_eq!(wait(&guessing, "203.0.113.1", "alice"), MAX); // and is not locked out elsewhere
        // Who came in with one account has no rights with another, and takes no failure away.
        assert_eq!(wait(&guessing, "192.0.2.7", "bob"), Duration::ZERO);
        fail(&guessing, "192.0.2.7", "bob", 25);
        begin(&guessing, "192.0.2.7", "mallory").0.succeeded();
        assert_eq!(wait(&guessing, "192.0.2.7", "mallory"), STEP * 5);
        assert_eq!(wait(&guessing, "192.0.2.7", "bob"), STEP * 15);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_few_wait_at_a_time() {
        let guessing = Guessing::new(MAX);
        begin(&guessing, "192.0.2.7", "alice").0.succeeded();
        for n in 0..20 {
            fail(&guessing, &format!("198.51.100.{n}"), "alice", 1);
        }
        fail(&guessing, "192.0.2.8", "nobody", 25);
        let waits = |address: &str, account: &str| {
            let (attempt, wait) = begin(&guessing, address, account);
            attempt.withdraw();
            match wait {
                Wait::For(_, turn) => Some(turn),
                Wait::TooMany => None,
                Wait::None => panic!("it does not wait"),
            }
        };
        // With one account, from wherever; and of one network, with whatever account.
        let of_account: Vec<_> = (0..64).filter_map(|n| waits(&format!("203.0.113.{n}"), "alice")).collect();
        assert_eq!(of_account.len(), WAITING_MAX);
        let of_network: Vec<_> = (0..64).filter_map(|n| waits("192.0.2.8", &format!("user{n}"))).collect();
        assert_eq!(of_network.len(), WAITING_MAX);
        // Others do not notice, nor does the owner where she came in before.
        assert_eq!(wait(&guessing, "203.0.113.99", "bob"), Duration::ZERO);
        assert_eq!(wait(&guessing, "192.0.2.7", "alice"), Duration::ZERO);
        fail(&guessing, "192.0.2.7", "nobody", 25);
        let _others: Vec<_> = (0..64).filter_map(|n| waits("192.0.2.7", &format!("user{n}"))).collect();
        assert!(waits("192.0.2.7", "alice").is_some());
        // A place that is given up is another's.
        drop(of_account);
        assert!(waits("203.0.113.1", "alice").is_some());
        drop(of_network);
        assert!(waits("192.0.2.8", "carol").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_there_are_the_memory_is_bounded_and_holds_the_recent_ones() {
        let guessing = Guessing::new(MAX);
        let network = |n: usize| format!("2001:db8:{:x}:{:x}::1", n / 0x1_0000, n % 0x1_0000);
        fail(&guessing, &network(0), "victim", 30);
        for n in 1..=5 * Generations::<Instant>::ENTRIES {
            fail(&guessing, &network(n), &format!("user{n}"), 1);
            if n % 1000 == 0 {
                assert_eq!(wait(&guessing, &network(0), "somebody"), STEP * 10); // is asked for all the time
            }
        }
        let memory = guessing.memory();
        for entries in [&memory.networks, &memory.accounts] {
            assert!(entries.len() <= 2 * Generations::<Instant>::ENTRIES);
        }
        drop(memory);
        assert_eq!(wait(&guessing, "203.0.113.1", "victim"), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn where_no_wait_is_wanted_there_is_none() {
        let guessing = Guessing::new(Duration::ZERO);
        fail(&guessing, "192.0.2.1", "alice", 500);
        assert_eq!(wait(&guessing, "192.0.2.1", "alice"), Duration::ZERO);
    }
}
