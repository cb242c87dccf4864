//! How many there are of each, while there are any.

use std::collections::HashMap;
use std::hash::Hash;

/// Counts by key. A key that nobody holds takes no room.
pub(crate) struct Tally<K>(HashMap<K, usize>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Tally<K> {
    /// Counts one more under each of these keys, if each has fewer than its bound.
    pub(crate) fn take(&mut self, keys: impl Iterator<Item = (K, usize)> + Clone) -> bool {
        let has_room = |(key, bound)| self.0.get(&key).copied().unwrap_or(0) < bound;
        if !keys.clone().all(has_room) {
            return false;
        }
        for (key, _) in keys {
            let count = self.0.entry(key).or_default();
            *count = count.saturating_add(1);
        }
        true
    }

    /// One of those counted under each of these keys is gone.
    pub(crate) fn give_back(&mut self, keys: impl Iterator<Item = K>) {
        for key in keys {
            match self.0.get_mut(&key) {
                Some(count) if *count > 1 => *count = count.saturating_sub(1),
                _ => {
                    self.0.remove(&key);
                }
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
