//! Guessing passwords takes time.
//!
//! Where many attempts to authenticate have failed, the next ones wait before they are looked at. It is the attempt
//! that waits and not its failure, so that nobody learns from a missing answer, or by leaving early, what it would have
//! been. Two things count: where attempts come from, and the account that they are for. The networks of one site count
//! together as well: whoever has one has thousands of them.
//!
//! - The wait grows with the failures and has a bound: whoever knows the password comes in, also from behind the address
//!   that the attacker shares, and also to an account that strangers attack.
//! - Only a few attempts wait at a time, or many connections would guess as often as they like together. The others are
//!   told to come again. Those with one account are counted for each network: strangers do not take the places of its
//!   owner, wherever he is.
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

use crate::admission::{NETWORKS_OF_SITE, network, site};
use crate::generations::Generations;
use crate::tally::Tally;

/// What each failure beyond the free ones adds to the wait.
const STEP: Duration = Duration::from_millis(100);

/// How failures of one kind count.
struct Measure {
    /// So many cost nothing.
    free: u32,
    /// So many are remembered.
    max: u32,
    /// In this time one is forgotten.
    forget_after: Duration,
    /// So many attempts wait at a time, once there are more failures than are free.
    waiting_max: usize,
}

/// Many people may share it.
const NETWORK: Measure =
    Measure { free: 20, max: 100, forget_after: Duration::from_secs(20), waiting_max: 4 };

/// [`NETWORKS_OF_SITE`] networks.
const SITE: Measure = Measure {
    free: 8 * NETWORK.free,
    max: 8 * NETWORK.max,
    forget_after: Duration::from_millis(20_000 / 8),
    waiting_max: NETWORKS_OF_SITE * NETWORK.waiting_max,
};

const ACCOUNT: Measure = Measure { free: 10, ..NETWORK };

/// All failures that are remembered.
pub(crate) struct Guessing {
    delay_max: Duration,
    hasher: RandomState,
    memory: Mutex<Memory>,
}

/// For each network, site and account, when its last failure will be forgotten.
#[derive(Default)]
struct Memory {
    networks: Generations<Instant>,
    sites: Generations<Instant>,
    accounts: Generations<Instant>,
    /// Accounts with a network from which their owners came in.
    at_home: Generations<()>,
    /// Attempts that wait, of networks and sites that have failed more than is free, and of networks with accounts.
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
    keys: [Option<u64>; 3],
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
    /// Some of its network failed lately.
    is_suspect: bool,
    has_failed: bool,
}

/// What its entries are called. They are keyed, so that nobody can choose what meets in one of them.
#[derive(Clone, Copy)]
struct Keys {
    network: u64,
    /// Of IPv6 alone.
    site: Option<u64>,
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
            site: site(address).map(|site| self.hasher.hash_one(("site", site))),
            account: self.hasher.hash_one(name),
            home: self.hasher.hash_one((from, name)),
        };
        let mut memory = self.memory();
        let is_at_home = memory.at_home.entry(keys.home).is_some();
        let of_network = memory.networks.beyond(now, keys.network, &NETWORK);
        let of_site = keys.site.map_or(0, |site| memory.sites.beyond(now, site, &SITE));
        let of_account = if is_at_home { 0 } else { memory.accounts.beyond(now, keys.account, &ACCOUNT) };
        let is_suspect = !is_at_home && memory.networks.failures(now, keys.network, &NETWORK) > 0;
        let most = of_network.max(of_site).max(of_account);
        let delay = STEP.saturating_mul(most).min(self.delay_max);
        let wait = if delay.is_zero() {
            Wait::None
        } else {
            // Where the owner came in before, neighbours do not take his places.
            let counted = [
                (Some(keys.network), of_network > 0 && !is_at_home, &NETWORK),
                (keys.site, of_site > 0 && !is_at_home, &SITE),
                (Some(keys.home), of_account > 0 || is_at_home, &ACCOUNT),
            ];
            let keys = counted.map(|(key, is_counted, _)| key.filter(|_| is_counted));
            let bounds = counted.map(|(_, _, measure)| measure.waiting_max);
            let places = keys.into_iter().zip(bounds).filter_map(|(key, bound)| Some((key?, bound)));
            let has_room = memory.waiting.take(places);
            if has_room { Wait::For(delay, Turn { guessing: Arc::clone(self), keys }) } else { Wait::TooMany }
        };
        drop(memory);
        let guessing = Arc::clone(self);
        (Attempt { guessing, from, account: account.clone(), keys, is_suspect, has_failed: true }, wait)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// Whose it is to be.
    pub(crate) fn account(&self) -> &BareJid {
        &self.account
    }

    /// Whether others of its network have failed lately, and its owner never came in from there.
    pub(crate) fn is_suspect(&self) -> bool {
        self.is_suspect
    }

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
        let (of_network, of_site, of_account) = {
            let now = Instant::now();
            let mut memory = self.guessing.memory();
            (
                memory.networks.fail(now, self.keys.network, &NETWORK),
                self.keys.site.map_or(0, |site| memory.sites.fail(now, site, &SITE)),
                memory.accounts.fail(now, self.keys.account, &ACCOUNT),
            )
        };
        // Told when it begins, not for each.
        if of_network == NETWORK.free.saturating_add(1) {
            tracing::warn!(network = %self.from, "many logins failed from one network, the next have to wait");
        }
        if of_site == SITE.free.saturating_add(1) {
            tracing::warn!(network = %self.from, "many logins failed from one site, the next have to wait");
        }
        if of_account == ACCOUNT.free.saturating_add(1) {
            tracing::warn!(account = %self.account, "many logins to one account failed, the next have to wait");
        }
    }
}

impl Generations<Instant> {
    /// How many failures are not forgotten yet.
    fn failures(&mut self, now: Instant, key: u64, measure: &Measure) -> u32 {
        let left = self.entry(key).map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let count = left.as_millis().div_ceil(measure.forget_after.as_millis());
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// How many more there are than are free.
    fn beyond(&mut self, now: Instant, key: u64, measure: &Measure) -> u32 {
        self.failures(now, key, measure).saturating_sub(measure.free)
    }

    /// Adds a failure, and returns how many there are now.
    fn fail(&mut self, now: Instant, key: u64, measure: &Measure) -> u32 {
        let before = self.failures(now, key, measure);
        let until = match self.entry(key) {
            Some(until) if *until > now => *until,
            _ => now,
        };
        let count = before.saturating_add(1);
        if count <= measure.max {
            self.insert(key, until.checked_add(measure.forget_after).unwrap_or(until));
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
        tokio::time::advance(NETWORK.forget_after * 70).await;
        assert_eq!(wait(&guessing, "192.0.2.1", "carol"), step(10));
        tokio::time::advance(NETWORK.forget_after * 10).await;
        assert_eq!(wait(&guessing, "192.0.2.1", "carol"), Duration::ZERO);
        fail(&guessing, "192.0.2.1", "carol", 1);
        assert_eq!(wait(&guessing, "192.0.2.1", "erin"), step(1)); // a little is remembered for longer
        tokio::time::advance(NETWORK.forget_after * 21).await;
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
    async fn the_many_networks_of_one_site_count_together() {
        let guessing = Guessing::new(MAX);
        let network = |n: u32| format!("2001:db8:7:{n:x}::1");
        for n in 0..SITE.free {
            fail(&guessing, &network(n), &format!("user{n}"), 1);
        }
        assert_eq!(wait(&guessing, &network(9999), "alice"), Duration::ZERO);
        for n in 0..7 {
            fail(&guessing, &network(1000 + n), "nobody", 1);
        }
        assert_eq!(wait(&guessing, &network(9999), "alice"), STEP * 7);
        assert_eq!(wait(&guessing, "2001:db8:8::1", "alice"), Duration::ZERO); // another site
        for n in 0..2 * SITE.max {
            fail(&guessing, &network(2000 + n), &format!("nobody{n}"), 1);
        }
        assert_eq!(wait(&guessing, &network(9999), "alice"), MAX);
        // It is as many networks' worth also in what waits at a time, and in what is forgotten.
        let begin = |n: u32| begin(&guessing, &network(3000 + n), &format!("other{n}")).1;
        let waiting: Vec<_> = (0..100).map(begin).filter(|wait| matches!(wait, Wait::For(..))).collect();
        assert_eq!(waiting.len(), SITE.waiting_max);
        drop(waiting);
        assert_eq!(SITE.waiting_max, NETWORKS_OF_SITE * NETWORK.waiting_max);
        tokio::time::advance(NETWORK.forget_after * (NETWORK.max - NETWORK.free)).await;
        assert_eq!(wait(&guessing, &network(9999), "alice"), Duration::ZERO);
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
        // Of one network, with one account, and with whatever account.
        let of_account: Vec<_> = (0..64).filter_map(|_| waits("203.0.113.1", "alice")).collect();
        assert_eq!(of_account.len(), ACCOUNT.waiting_max);
        let of_network: Vec<_> = (0..64).filter_map(|n| waits("192.0.2.8", &format!("user{n}"))).collect();
        assert_eq!(of_network.len(), NETWORK.waiting_max);
        // However many they are elsewhere, the owner has her place also where she never was.
        let _strangers: Vec<_> =
            (2..64).map(|n| waits(&format!("203.0.113.{n}"), "alice").unwrap()).collect();
        assert!(waits("203.0.113.99", "alice").is_some());
        // Others do not notice, nor does the owner where she came in before.
        assert_eq!(wait(&guessing, "203.0.113.99", "bob"), Duration::ZERO);
        assert_eq!(wait(&guessing, "192.0.2.7", "alice"), Duration::ZERO);
        fail(&guessing, "192.0.2.7", "nobody", 25);
        let _others: Vec<_> = (0..64).filter_map(|n| waits("192.0.2.7", &format!("user{n}"))).collect();
        assert!(waits("192.0.2.7", "alice").is_some());
        // Nor does that let anybody there guess at her account as often as he likes.
        let at_home: Vec<_> = (0..64).filter_map(|_| waits("192.0.2.7", "alice")).collect();
        assert_eq!(at_home.len(), ACCOUNT.waiting_max);
        // A place that is given up is another's.
        drop(of_account);
        assert!(waits("203.0.113.1", "alice").is_some());
        drop(of_network);
        assert!(waits("192.0.2.8", "carol").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_there_are_the_memory_is_bounded_and_holds_the_recent_ones() {
        let guessing = Guessing::new(MAX);
        let network = |n: usize| format!("2001:{:x}:{:x}::1", n / 0x1_0000, n % 0x1_0000);
        fail(&guessing, &network(0), "victim", 30);
        for n in 1..=5 * Generations::<Instant>::ENTRIES {
            fail(&guessing, &network(n), &format!("user{n}"), 1);
            if n % 1000 == 0 {
                assert_eq!(wait(&guessing, &network(0), "somebody"), STEP * 10); // is asked for all the time
            }
        }
        let memory = guessing.memory();
        for entries in [&memory.networks, &memory.sites, &memory.accounts] {
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
