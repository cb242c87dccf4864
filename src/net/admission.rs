//! How many connections that are not done with logging in there may be at a time, and how many may begin.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::generations::Generations;
use crate::rate::Rate;

/// Counts connections that have not authenticated, or that have not bound a resource.
pub(crate) struct Admission {
    total_max: usize,
    per_address_max: usize,
    strangers: Mutex<Strangers>,
}

#[derive(Default)]
struct Strangers {
    total: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// One place among the strangers, given back when it is dropped.
pub(crate) struct Place {
    admission: Arc<Admission>,
    network: IpAddr,
}

impl Admission {
    pub(crate) fn new(total_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { total_max, per_address_max, strangers: Mutex::default() })
    }

    /// A place for a connection from `address`, if there is one left.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut strangers = self.strangers();
        let here = strangers.by_network.get(&network).copied().unwrap_or(0);
        if strangers.total >= self.total_max || here >= self.per_address_max {
            return None;
        }
        strangers.total = strangers.total.saturating_add(1);
        strangers.by_network.insert(network, here.saturating_add(1));
        Some(Place { admission: Arc::clone(self), network })
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut strangers = self.admission.strangers();
        strangers.total = strangers.total.saturating_sub(1);
        match strangers.by_network.get_mut(&self.network) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            _ => {
                strangers.by_network.remove(&self.network);
            }
        }
    }
}

/// How often somebody connects.
pub(crate) struct Frequency {
    rate: Rate,
    hasher: RandomState,
    networks: Mutex<Generations<Instant>>,
}

impl Frequency {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, hasher: RandomState::new(), networks: Mutex::default() }
    }

    /// Whether `address` may connect once more.
    pub(crate) fn admits(&self, now: Instant, address: IpAddr) -> bool {
        if self.rate.units == 0 {
            return true;
        }
        let key = self.hasher.hash_one(network(address));
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(even) = networks.entry(key) {
            return self.rate.allows(even, now);
        }
        let mut even = now;
        let is_allowed = self.rate.allows(&mut even, now);
        networks.insert(key, even);
        is_allowed
    }
}

/// What one customer has: an IPv4 address, or an IPv6 network of 64 bits.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_network_and_all_together_have_their_bound() {
        let admission = Admission::new(5, 2);
        let admit = |address: &str| admission.admit(address.parse().unwrap());
        let first = admit("192.0.2.1").unwrap();
        let _second = admit("::ffff:192.0.2.1").unwrap(); // one machine, whichever socket it came by
        assert!(admit("192.0.2.1").is_none());
        let _third = admit("2001:db8::1").unwrap();
        let _fourth = admit("2001:db8::2").unwrap();
        assert!(admit("2001:db8:0:0:ffff::").is_none()); // the same 64 bits
        let fifth = admit("2001:db8:0:1::1").unwrap();
        assert!(admit("192.0.2.2").is_none()); // all places are taken
        drop(fifth);
        drop(first);
        assert!(admit("192.0.2.1").is_some());
        assert_eq!(admission.strangers().by_network.len(), 2);
    }

    #[test]
    fn each_network_may_come_so_often() {
        let second = Duration::from_secs(1);
        let frequency = Frequency::new(Rate { units: 3, every: second });
        let now = Instant::now();
        let admits = |now, address: &str| frequency.admits(now, address.parse().unwrap());
        for address in ["2001:db8::1", "2001:db8::2", "2001:db8::3"] {
            assert!(admits(now, address));
        }
        assert!(!admits(now, "2001:db8::4"));
        assert!(admits(now, "2001:db8:0:1::1"));
        assert!(admits(now + second / 3, "2001:db8::4"));
        assert!(!admits(now + second / 3, "2001:db8::4"));
    }
}
