//! What a client sends again, because it never saw an acknowledgement (promise P3).

use std::collections::VecDeque;

use crate::storage::RECENT_FINGERPRINTS;

/// What an account sent last, as fingerprints ([`MessageRecord::fingerprint`](crate::record::MessageRecord)), each with
/// the connection that it came by.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    fingerprints: VecDeque<i64>,
    connections: VecDeque<u64>,
}

impl Recent {
    /// What the store knows of earlier runs.
    pub(crate) fn of_earlier_runs(fingerprints: Vec<i64>) -> Self {
        // No connection of this run has the number 0.
        Self { connections: fingerprints.iter().map(|_| 0).collect(), fingerprints: fingerprints.into() }
    }

    /// Whether a message with this fingerprint came by another connection. On one connection nothing is repeated, so
    /// equal messages are meant.
    pub(crate) fn repeats(&self, fingerprint: i64, connection: u64) -> bool {
        // Hardly ever: the quick look at all of them comes first.
        fingerprint != 0
            && self.fingerprints.contains(&fingerprint)
            && self
                .fingerprints
                .iter()
                .zip(&self.connections)
                .any(|(known, by)| *known == fingerprint && *by != connection)
    }

    /// A message was taken that may be sent again.
    pub(crate) fn add(&mut self, fingerprint: i64, connection: u64) {
        if fingerprint == 0 {
            return;
        }
        if self.fingerprints.len() >= RECENT_FINGERPRINTS {
            self.fingerprints.pop_front();
            self.connections.pop_front();
        }
        self.fingerprints.push_back(fingerprint);
        self.connections.push_back(connection);
    }

    /// The client closed its stream, so what it says next is meant, though it may count its ids from the beginning.
    /// An origin-id is no such number (XEP-0359 §3.1): with that, it did not see its acknowledgement.
    pub(crate) fn closed(&mut self, connection: u64) {
        let entries =
            std::mem::take(&mut self.fingerprints).into_iter().zip(std::mem::take(&mut self.connections));
        let stay = entries.filter(|(fingerprint, by)| *by != connection || has_origin_id(*fingerprint));
        (self.fingerprints, self.connections) = stay.unzip();
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

    const PLAIN: [i64; 2] = [2, 4];
    const WITH_ORIGIN_ID: i64 = 7;

    #[test]
    fn a_repetition_comes_by_another_connection() {
        let mut recent = Recent::of_earlier_runs(vec![10]);
        recent.add(PLAIN[0], 1);
        recent.add(0, 1); // no id, so it is never the same
        for (fingerprint, connection, repeats) in
            [(PLAIN[0], 1, false), (PLAIN[0], 2, true), (PLAIN[1], 2, false), (0, 2, false), (10, 1, true)]
        {
            assert_eq!(recent.repeats(fingerprint, connection), repeats, "{fingerprint} by {connection}");
        }
    }

    #[test]
    fn a_closed_stream_leaves_what_an_origin_id_tells_apart() {
        let mut recent = Recent::default();
        recent.add(PLAIN[0], 1);
        recent.add(WITH_ORIGIN_ID, 1);
        recent.add(PLAIN[1], 2);
        recent.closed(1);
        assert!(!recent.repeats(PLAIN[0], 3));
        assert!(recent.repeats(WITH_ORIGIN_ID, 3));
        assert!(recent.repeats(PLAIN[1], 3));
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
        for number in 1..=i64::try_from(RECENT_FINGERPRINTS).unwrap_or(0).saturating_add(1) {
            recent.add(number, 1);
        }
        assert!(!recent.repeats(1, 2));
        assert!(recent.repeats(2, 2));
        assert_eq!(recent.connections.len(), RECENT_FINGERPRINTS);
    }
}
