//! How often the log tells of the same.
//!
//! Whoever can connect can make the server write a line. So of one network and for one reason there are a few lines a
//! minute, of one site a few more, and the next one after that says how many were left out. The metrics count all of
//! them.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::admission::{network, site};
use crate::generations::Generations;

/// Lines of one network and one reason.
const LINES_MAX: u32 = 10;
/// Lines of one site and one reason: as many as of `NETWORKS_OF_SITE` networks.
const LINES_OF_SITE_MAX: u32 = 8 * LINES_MAX;
/// In this time.
const WITHIN: Duration = Duration::from_secs(60);

/// What the log has told of late.
#[derive(Default)]
pub(crate) struct Sampling {
    hasher: RandomState,
    told: Mutex<Generations<Told>>,
}

/// Of one network or site, for one reason.
struct Told {
    since: Instant,
    count: u32,
}

/// A line that may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// How many were left out before it, if any were.
    pub(crate) left_out: Option<u32>,
    /// The next ones will be left out.
    pub(crate) is_last: bool,
}

impl Line {
    /// After the line: whether the next ones are left out.
    pub(crate) fn note_last(self, peer: IpAddr, reason: &str) {
        if self.is_last {
            tracing::info!(%peer, reason, "the next ones are counted, and not told for a minute");
        }
    }
}

impl Sampling {
    /// Whether a line about `address` for `reason` is to be written.
    pub(crate) fn line(&self, now: Instant, address: IpAddr, reason: &str) -> Option<Line> {
        let of_network = self.hasher.hash_one((network(address), reason));
        let of_site = site(address).map(|site| self.hasher.hash_one(("site", site, reason)));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let line = told.line(now, of_network, LINES_MAX)?;
        let Some(of_site) = of_site else { return Some(line) };
        let other = told.line(now, of_site, LINES_OF_SITE_MAX)?;
        let left_out = line.left_out.unwrap_or(0).saturating_add(other.left_out.unwrap_or(0));
        let is_last = line.is_last || other.is_last;
        Some(Line { left_out: Some(left_out).filter(|count| *count > 0), is_last })
    }
}

impl Generations<Told> {
    fn line(&mut self, now: Instant, key: u64, lines_max: u32) -> Option<Line> {
        let Some(Told { since, count }) = self.entry(key) else {
            self.insert(key, Told { since: now, count: 1 });
            return Some(Line { left_out: None, is_last: false });
        };
        let mut left_out = None;
        if now.saturating_duration_since(*since) >= WITHIN {
            left_out = Some(count.saturating_sub(lines_max)).filter(|count| *count > 0);
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        (*count <= lines_max).then_some(Line { left_out, is_last: *count == lines_max })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::*;

    #[test]
    fn a_few_are_told_and_the_others_are_counted() {
        let sampling = Sampling::default();
        let (here, there) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let now = Instant::now();
        for n in 1..=LINES_MAX {
            let line = sampling.line(now, here, "a").unwrap();
            assert_eq!(line, Line { left_out: None, is_last: n == LINES_MAX });
        }
        for _ in 0..7 {
            assert_eq!(sampling.line(now, here, "a"), None);
        }
        // Others are not left out for that.
        assert!(sampling.line(now, here, "b").is_some());
        assert!(sampling.line(now, there, "a").is_some());
        let line = sampling.line(now + WITHIN, here, "a").unwrap();
        assert_eq!(line, Line { left_out: Some(7), is_last: false });
        assert_eq!(sampling.line(now + WITHIN, here, "a").unwrap().left_out, None);
        // All of one network are one.
        for n in 0..LINES_MAX {
            let address = format!("2001:db8::{n}").parse().unwrap();
            assert!(sampling.line(now, address, "a").is_some());
        }
        assert_eq!(sampling.line(now, "2001:db8::ffff".parse().unwrap(), "a"), None);
    }

    /// Whoever has one has thousands of networks.
    #[test]
    fn the_networks_of_one_site_are_told_together() {
        let sampling = Sampling::default();
        let now = Instant::now();
        let line = |now, n: u32| sampling.line(now, format!("2001:db8:7:{n:x}::1").parse().unwrap(), "a");
        let told: Vec<_> = (0..1000).filter_map(|n| line(now, n)).collect();
        assert_eq!(told.len(), 8 * 10);
        assert_eq!(told.iter().filter(|line| line.is_last).count(), 1);
        assert!(sampling.line(now, "2001:db8:8::1".parse().unwrap(), "a").is_some()); // another site
        assert_eq!(line(now + WITHIN, 2000).unwrap().left_out, Some(920));
    }
}
