//! How many connections that are not done with logging in there may be at a time, and how many may begin.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::generations::Generations;
use crate::rate::Rate;
use crate::tally::Tally;

/// A site has so many of the smallest networks' worth: homes have up to 256 of them, and share what they may do.
pub(crate) const NETWORKS_OF_SITE: usize = 8;

/// Counts connections that have not authenticated, or that have not bound a resource.
pub(crate) struct Admission {
    total_max: usize,
    per_address_max: usize,
    strangers: Mutex<Strangers>,
}

#[derive(Default)]
struct Strangers {
    total: usize,
    by_network: Tally<Counted>,
}

/// What places are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Counted {
    Network(IpAddr),
    Site(IpAddr),
}

/// An address as it is counted, with how many times the bound of one network holds there.
fn counted(address: IpAddr) -> impl Iterator<Item = (Counted, usize)> + Clone {
    let network = (Counted::Network(network(address)), 1);
    [Some(network), site(address).map(|site| (Counted::Site(site), NETWORKS_OF_SITE))].into_iter().flatten()
}

/// One place among the strangers, given back when it is dropped.
pub(crate) struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub(crate) fn new(total_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { total_max, per_address_max, strangers: Mutex::default() })
    }

    /// A place for a connection from `address`, if there is one left.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut strangers = self.strangers();
        let bound = |(counted, times)| (counted, self.per_address_max.saturating_mul(times));
        if strangers.total >= self.total_max || !strangers.by_network.take(counted(address).map(bound)) {
            return None;
        }
        strangers.total = strangers.total.saturating_add(1);
        Some(Place { admission: Arc::clone(self), address })
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut strangers = self.admission.strangers();
        strangers.total = strangers.total.saturating_sub(1);
        strangers.by_network.give_back(counted(self.address).map(|(counted, _)| counted));
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
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = [None; 2];
        for (place, (counted, times)) in all.iter_mut().zip(counted(address)) {
            let units = self.rate.units.saturating_mul(u64::try_from(times).unwrap_or(u64::MAX));
            let key = self.hasher.hash_one(counted);
            let mut even = networks.entry(key).copied().unwrap_or(now);
            let is_allowed = Rate { units, ..self.rate }.allows(&mut even, now);
            *place = Some((key, even));
            if !is_allowed {
                return false;
            }
        }
        // Whoever is refused costs nothing, wherever he is counted.
        all.into_iter().flatten().for_each(|(key, even)| networks.insert(key, even));
        true
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

/// What one site has at most: the 48 bits that an IPv6 address begins with.
pub(crate) fn site(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Some(IpAddr::from([a, b, c, 0, 0, 0, 0, 0]))
        }
        IpAddr::V4(_) => None,
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
        assert_eq!(admission.strangers().by_network.len(), 3); // two networks, and the site of one of them
    }

    #[test]
    fn the_many_networks_of_one_site_share_a_bound() {
        let admission = Admission::new(1000, 2);
        let admit =
            |n: u32, site: &str| admission.admit(format!("2001:db8:{site}:{n:x}::1").parse().unwrap());
        let mut places: Vec<_> = (0..256).filter_map(|n| admit(n, "0")).collect();
        assert_eq!(places.len(), 16);
        assert!(admit(256, "1").is_some());
        places.pop();
        places.extend(admit(255, "0"));
        assert_eq!(places.len(), 16);
        assert!(admit(254, "0").is_none());
        drop(places);
        assert_eq!(admission.strangers().by_network.len(), 0);

        let frequency = Frequency::new(Rate { units: 3, every: Duration::from_secs(60) });
        let now = Instant::now();
        let admits =
            |n: u32, site: &str| frequency.admits(now, format!("2001:db8:{site}:{n:x}::1").parse().unwrap());
        assert_eq!((0..256).filter(|n| admits(*n, "0")).count(), 24);
        assert!(admits(0, "1"));
        let ipv4 = |n| frequency.admits(now, format!("192.0.2.{n}").parse().unwrap());
        assert_eq!((0..256).filter(|n| ipv4(*n)).count(), 256);
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
