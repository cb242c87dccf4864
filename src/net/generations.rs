//! A memory that forgets what nobody asks for.

use std::collections::HashMap;

/// Entries by their hashes. What was not asked for since as many others came is forgotten.
pub(crate) struct Generations<V> {
    recent: HashMap<u64, V>,
    older: HashMap<u64, V>,
}

impl<V> Default for Generations<V> {
    fn default() -> Self {
        Self { recent: HashMap::new(), older: HashMap::new() }
    }
}

impl<V> Generations<V> {
    /// Entries that are remembered at least; at most twice as many are.
    pub(crate) const ENTRIES: usize = 8192;

    pub(crate) fn entry(&mut self, key: u64) -> Option<&mut V> {
        if let Some(value) = self.older.remove(&key) {
            self.insert(key, value);
        }
        self.recent.get_mut(&key)
    }

    pub(crate) fn insert(&mut self, key: u64, value: V) {
        if self.recent.len() >= Self::ENTRIES && !self.recent.contains_key(&key) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, value);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.recent.len().saturating_add(self.older.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_there_is_a_bound() {
        let entries = u64::try_from(Generations::<u64>::ENTRIES).unwrap_or(0);
        let mut generations = Generations::default();
        for key in 0..entries.saturating_mul(5) {
            generations.insert(key, key);
            assert_eq!(generations.entry(0), Some(&mut 0), "{key}");
        }
        assert_eq!(generations.entry(1), None);
        assert!(generations.len() <= 2 * Generations::<u64>::ENTRIES);
    }
}
