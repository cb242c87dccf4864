//! What one device has received of one sender: nothing may be missing, doubled or out of order.

/// Each message of the sender by its number.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// One bit for each number.
    seen: Vec<u64>,
    received: u64,
    next: u64,
    doubled: u64,
    disordered: u64,
}

/// What is wrong with what arrived.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Faults {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    /// Messages that came after a later one.
    pub(super) disordered: u64,
}

impl Faults {
    pub(super) fn add(&mut self, other: Self) {
        self.lost = self.lost.saturating_add(other.lost);
        self.doubled = self.doubled.saturating_add(other.doubled);
        self.disordered = self.disordered.saturating_add(other.disordered);
    }

    /// What came in addition to an earlier state of the same devices.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            lost: self.lost.saturating_sub(earlier.lost),
            doubled: self.doubled.saturating_sub(earlier.doubled),
            disordered: self.disordered.saturating_sub(earlier.disordered),
        }
    }
}

impl Tracker {
    /// Takes one message; `true` if it is new.
    pub(super) fn note(&mut self, number: u64) -> bool {
        let (word, bit) = (usize::try_from(number / 64).unwrap_or(usize::MAX), 1_u64 << (number % 64));
        if word >= self.seen.len() {
            self.seen.resize(word.saturating_add(1), 0);
        }
        let Some(word) = self.seen.get_mut(word) else { return false };
        if *word & bit != 0 {
            self.doubled = self.doubled.saturating_add(1);
            return false;
        }
        *word |= bit;
        self.received = self.received.saturating_add(1);
        if number < self.next {
            self.disordered = self.disordered.saturating_add(1);
        }
        self.next = self.next.max(number.saturating_add(1));
        true
    }

    /// How many different messages came.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// What is wrong when the sender has sent so many.
    pub(super) fn faults(&self, sent: u64) -> Faults {
        Faults {
            lost: sent.saturating_sub(self.received),
            doubled: self.doubled,
            disordered: self.disordered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_apart() {
        for (numbers, lost, doubled, disordered) in [
            (&[0, 1, 2, 3][..], 0, 0, 0),
            (&[0, 1, 3], 1, 0, 0),
            (&[0, 1, 1, 2, 3], 0, 1, 0),
            (&[0, 2, 1, 3], 0, 0, 1),
            (&[3, 0, 1, 2], 0, 0, 3),
            (&[0, 2, 1, 2], 1, 1, 1),
            (&[], 4, 0, 0),
        ] {
            let mut tracker = Tracker::default();
            for number in numbers {
                tracker.note(*number);
            }
            assert_eq!(tracker.faults(4), Faults { lost, doubled, disordered }, "{numbers:?}");
        }
    }

    #[test]
    fn far_numbers_are_kept_apart() {
        let mut tracker = Tracker::default();
        assert!((0..1000).all(|number| tracker.note(number)));
        assert!((0..1000).all(|number| !tracker.note(number)));
        assert_eq!(tracker.received(), 1000);
    }
}
