//! What a client sends again, because it never saw an acknowledgement (promise P3).

use std::collections::{HashMap, VecDeque};

use compact_str::CompactString;

use crate::ids::{AccountId, SessionId};
use crate::storage::{RECENT_FINGERPRINTS, Write};

/// The document of this kind has fingerprints that the store still knows, and that tell no repetition any more.
pub(crate) const MEANT: &str = "meant-again";

/// What an account sent last, as fingerprints ([`MessageRecord::fingerprint`](crate::record::MessageRecord)), each with
/// the session and the connection that it came by.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    fingerprints: VecDeque<i64>,
    origins: VecDeque<(SessionId, u64)>,
    /// What the document has.
    meant: Vec<i64>,
}

impl Recent {
    /// What the store knows of earlier runs, and the document, if there is one. A session of an earlier run may be
    /// resumed, and be closed in this one.
    pub(crate) fn of_earlier_runs(fingerprints: Vec<(SessionId, i64)>, document: Option<&str>) -> Self {
        let listed =
            document.unwrap_or_default().split(' ').filter_map(|text| u64::from_str_radix(text, 16).ok());
        let mut times: HashMap<i64, usize> = HashMap::new();
        for fingerprint in listed.map(u64::cast_signed) {
            let times = times.entry(fingerprint).or_default();
            *times = times.saturating_add(1);
        }
        // The oldest are the ones that are listed: what was said again since may have to be told from a repetition.
        let is_listed = |(_, fingerprint): &(SessionId, i64)| match times.get_mut(fingerprint) {
            Some(times @ 1..) => {
                *times = times.saturating_sub(1);
                true
            }
            Some(0) | None => false,
        };
        let (meant, left): (Vec<_>, Vec<_>) = fingerprints.into_iter().partition(is_listed);
        // No connection of this run has the number 0.
        let (fingerprints, origins) =
            left.into_iter().map(|(session, fingerprint)| (fingerprint, (session, 0))).unzip();
        Self { fingerprints, origins, meant: meant.into_iter().map(|(_, fingerprint)| fingerprint).collect() }
    }

    /// Whether a message with this fingerprint came by another connection. On one connection nothing is repeated, so
    /// equal messages are meant. So they are where it came by what `is_another` says is another session that goes on: its
    /// client knows what arrived, or will, and this one only counts its ids as that one does.
    pub(crate) fn repeats(
        &self,
        fingerprint: i64,
        connection: u64,
        is_another: impl Fn(SessionId) -> bool,
    ) -> bool {
        // Hardly ever: the quick look at all of them comes first.
        fingerprint != 0
            && self.fingerprints.contains(&fingerprint)
            && self
                .fingerprints
                .iter()
                .zip(&self.origins)
                .filter(|(known, (_, by))| **known == fingerprint && *by != connection)
                .any(|(known, (session, _))| has_origin_id(*known) || !is_another(*session))
    }

    /// A message was taken that may be sent again.
    pub(crate) fn add(&mut self, fingerprint: i64, session: SessionId, connection: u64) {
        if fingerprint == 0 {
            return;
        }
        if self.fingerprints.len() >= RECENT_FINGERPRINTS {
            self.fingerprints.pop_front();
            self.origins.pop_front();
        }
        self.fingerprints.push_back(fingerprint);
        self.origins.push_back((session, connection));
    }

    /// What was taken last came back to its sender after all.
    pub(crate) fn take_back(&mut self, fingerprint: i64) {
        if fingerprint != 0 && self.fingerprints.back() == Some(&fingerprint) {
            self.fingerprints.pop_back();
            self.origins.pop_back();
        }
    }

    /// The client closed its stream, so what it says next is meant, though it may count its ids from the beginning.
    /// An origin-id is no such number (XEP-0359 §3.1): with that, it did not see its acknowledgement.
    pub(crate) fn closed(&mut self, account: AccountId, session: SessionId) -> Option<Write> {
        let known = self.meant.len();
        let fingerprints = std::mem::take(&mut self.fingerprints).into_iter();
        for (fingerprint, origin) in fingerprints.zip(std::mem::take(&mut self.origins)) {
            if origin.0 == session && !has_origin_id(fingerprint) {
                self.meant.push(fingerprint);
            } else {
                self.fingerprints.push_back(fingerprint);
                self.origins.push_back(origin);
            }
        }
        if self.meant.len() == known {
            return None;
        }
        // What is older than the store knows comes back no more.
        self.meant.drain(..self.meant.len().saturating_sub(RECENT_FINGERPRINTS));
        let texts: Vec<_> =
            self.meant.iter().map(|fingerprint| format!("{:x}", fingerprint.cast_unsigned())).collect();
        let (kind, key) = (CompactString::const_new(MEANT), CompactString::default());
        Some(Write::Document { account, kind, key, value: Some(texts.join(" ")) })
    }
}

/// The fingerprint of a message with this hash: its last bit says by which id.
pub(crate) fn fingerprint(hash: [u8; 8], by_origin_id: bool) -> i64 {
    let hash = i64::from_be_bytes(hash) & !1;
    if by_origin_id { hash | 1 } else { hash }
}

fn has_origin_id(fingerprint: i64) -> bool {
    fingerprint & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: AccountId = AccountId(1);
    const ONE: SessionId = SessionId(1);
    const TWO: SessionId = SessionId(2);
    const PLAIN: [i64; 2] = [2, -4];
    const WITH_ORIGIN_ID: i64 = 7;
    const GONE: fn(SessionId) -> bool = |_| false;

    #[test]
    fn a_repetition_comes_by_another_connection() {
        let mut recent = Recent::of_earlier_runs(vec![(ONE, 10)], None);
        recent.add(PLAIN[0], ONE, 1);
        recent.add(0, ONE, 1); // no id, so it is never the same
        for (fingerprint, connection, repeats) in
            [(PLAIN[0], 1, false), (PLAIN[0], 2, true), (PLAIN[1], 2, false), (0, 2, false), (10, 1, true)]
        {
            assert_eq!(
                recent.repeats(fingerprint, connection, GONE),
                repeats,
                "{fingerprint} by {connection}"
            );
        }
    }

    #[test]
    fn a_closed_stream_leaves_what_an_origin_id_tells_apart() {
        let mut recent = Recent::default();
        recent.add(PLAIN[0], ONE, 1); // it was resumed on another connection since
        recent.add(WITH_ORIGIN_ID, ONE, 3);
        recent.add(PLAIN[1], TWO, 2);
        assert!(recent.closed(ACCOUNT, ONE).is_some());
        assert!(!recent.repeats(PLAIN[0], 4, GONE));
        assert!(recent.repeats(WITH_ORIGIN_ID, 4, GONE));
        assert!(recent.repeats(PLAIN[1], 4, GONE));
        assert!(recent.closed(ACCOUNT, ONE).is_none(), "there is nothing new to write down");
    }

    #[test]
    fn a_session_that_outlived_the_server_is_closed_with_what_it_sent_before() {
        let earlier = vec![(ONE, PLAIN[0]), (ONE, WITH_ORIGIN_ID), (TWO, PLAIN[1]), (SessionId(0), 10)];
        let mut recent = Recent::of_earlier_runs(earlier, None);
        assert!(recent.repeats(PLAIN[0], 1, GONE), "it was resumed, and did not see its acknowledgement");
        recent.add(12, ONE, 1);
        assert!(recent.closed(ACCOUNT, ONE).is_some());
        for (fingerprint, repeats) in
            [(PLAIN[0], false), (12, false), (WITH_ORIGIN_ID, true), (PLAIN[1], true), (10, true)]
        {
            assert_eq!(recent.repeats(fingerprint, 2, GONE), repeats, "{fingerprint}");
        }
    }

    #[test]
    fn what_is_meant_is_known_after_the_next_start() {
        let mut recent = Recent::default();
        recent.add(PLAIN[0], ONE, 1);
        recent.add(PLAIN[1], ONE, 1);
        let Some(Write::Document { value: Some(text), .. }) = recent.closed(ACCOUNT, ONE) else { panic!() };
        let recent = Recent::of_earlier_runs(vec![(ONE, PLAIN[0]), (TWO, 10)], Some(&text));
        assert!(!recent.repeats(PLAIN[0], 4, GONE));
        assert!(recent.repeats(10, 4, GONE));
        assert_eq!(recent.meant, [PLAIN[0]], "the other is older than the store knows");
        // It was said again since, and that is no part of what was meant.
        let twice = Recent::of_earlier_runs(vec![(ONE, PLAIN[0]), (TWO, PLAIN[0])], Some(&text));
        assert!(twice.repeats(PLAIN[0], 4, GONE));
    }

    #[test]
    fn who_is_still_there_repeats_nothing() {
        let mut recent = Recent::default();
        recent.add(PLAIN[0], ONE, 1);
        recent.add(WITH_ORIGIN_ID, ONE, 1);
        let is_another = |session| session == ONE;
        assert!(!recent.repeats(PLAIN[0], 2, is_another), "two devices count their ids");
        assert!(recent.repeats(WITH_ORIGIN_ID, 2, is_another));
    }

    #[test]
    fn the_last_bit_tells_the_id() {
        for hash in [[0; 8], [255; 8], [0, 0, 0, 0, 0, 0, 0, 1]] {
            assert!(has_origin_id(fingerprint(hash, true)));
            assert!(!has_origin_id(fingerprint(hash, false)));
        }
    }

    #[test]
    fn it_has_a_size() {
        let mut recent = Recent::default();
        let size = i64::try_from(RECENT_FINGERPRINTS).unwrap_or(0);
        for number in 1..=size.saturating_add(1) {
            recent.add(number, ONE, 1);
        }
        assert!(!recent.repeats(1, 2, GONE));
        assert!(recent.repeats(2, 2, GONE));
        assert_eq!(recent.origins.len(), RECENT_FINGERPRINTS);
    }
}
