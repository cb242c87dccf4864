//! What is known of announced capabilities, for the whole server (§8.2): nothing that was not verified.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use compact_str::CompactString;
use unisono_core::hub::SessionRef;
use unisono_core::ids::SessionId;

use super::Hash;

/// Kinds of clients that are remembered, and the bytes that the names of their nodes may take together. Of more, those
/// go that were seen longest ago.
const KNOWN_MAX: usize = 4096;
const KNOWN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Devices that are asked one after another; of those that come after so many failed, each is asked.
const TRIES: u32 = 3;
/// Who comes so long after a device was asked does not wait for its answer alone.
const PATIENCE: Duration = Duration::from_secs(5);

/// The memory, behind its lock, which is held for a few lines and never together with that of an account.
#[derive(Default)]
pub(super) struct Memory(Mutex<Inner>);

#[derive(Default)]
pub(super) struct Inner {
    known: HashMap<Hash, Known>,
    bytes: usize,
    /// Grows with each use.
    now: u64,
    open: HashMap<Hash, Open>,
}

/// The nodes that all devices with one hash are interested in.
struct Known {
    nodes: Arc<[CompactString]>,
    used: u64,
}

/// A hash that devices are asked about.
struct Open {
    /// They have not answered yet; the last was asked then.
    asked: HashMap<SessionId, SessionRef>,
    since: Duration,
    failures: u32,
    /// They announced the same, and want to know what it is.
    waiting: Vec<SessionRef>,
}

/// What is to be done for a session that announces a hash.
pub(super) enum Next {
    Known(Arc<[CompactString]>),
    /// It is asked.
    Ask,
    /// Another one is asked.
    Wait,
}

impl Memory {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What a hash stands for, if it is known.
    pub(super) fn known(&mut self, hash: &Hash) -> Option<Arc<[CompactString]>> {
        self.now = self.now.saturating_add(1);
        let known = self.known.get_mut(hash)?;
        known.used = self.now;
        Some(known.nodes.clone())
    }

    /// A session announces a hash.
    pub(super) fn announced(&mut self, hash: &Hash, session: &SessionRef, now: Duration) -> Next {
        if let Some(nodes) = self.known(hash) {
            return Next::Known(nodes);
        }
        let open = self.open.entry(*hash).or_insert_with(|| Open {
            asked: HashMap::new(),
            since: now,
            failures: 0,
            waiting: Vec::new(),
        });
        if !open.asked.is_empty() && now.saturating_sub(open.since) < PATIENCE {
            open.waiting.push(session.clone());
            return Next::Wait;
        }
        open.asked.insert(session.id, session.clone());
        open.since = now;
        Next::Ask
    }

    /// A device told what a hash stands for, and it is true. Returns who wants to know.
    pub(super) fn learned(&mut self, hash: Hash, nodes: Arc<[CompactString]>) -> Vec<SessionRef> {
        self.now = self.now.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size(&nodes));
        let known = Known { nodes, used: self.now };
        if let Some(old) = self.known.insert(hash, known) {
            self.bytes = self.bytes.saturating_sub(size(&old.nodes));
        }
        while self.known.len() > KNOWN_MAX || self.bytes > KNOWN_BYTES_MAX {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.used).map(|(hash, _)| *hash);
            let Some(gone) = oldest.and_then(|hash| self.known.remove(&hash)) else { break };
            self.bytes = self.bytes.saturating_sub(size(&gone.nodes));
        }
        let Some(Open { asked, mut waiting, .. }) = self.open.remove(&hash) else { return Vec::new() };
        waiting.extend(asked.into_values());
        waiting
    }

    /// A device that was asked, or was to be, told nothing that is true of others. Returns who is asked instead: another,
    /// or all where several have failed, so that nobody who announces what is not his keeps the rest waiting.
    pub(super) fn failed(&mut self, hash: &Hash, session: &SessionRef, now: Duration) -> Vec<SessionRef> {
        let Some(open) = self.open.get_mut(hash) else { return Vec::new() };
        open.failures = open.failures.saturating_add(1);
        open.asked.remove(&session.id);
        let count = if open.failures < TRIES { 1 } else { usize::MAX };
        let next: Vec<_> = open.waiting.drain(..open.waiting.len().min(count)).collect();
        open.asked.extend(next.iter().map(|session| (session.id, session.clone())));
        open.since = now;
        if open.asked.is_empty() {
            self.open.remove(hash);
        }
        next
    }
}

/// Bytes that an entry takes, about.
fn size(nodes: &[CompactString]) -> usize {
    let names = nodes.iter().map(|node| size_of::<CompactString>().saturating_add(node.len()));
    names.fold(size_of::<(Hash, Known)>(), usize::saturating_add)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Scheme;
    use super::*;

    fn hash(n: u32) -> Hash {
        Hash::new(Scheme::Sha1, &n.to_be_bytes())
    }

    fn nodes(name: &str) -> Arc<[CompactString]> {
        vec![CompactString::from(name)].into()
    }

    #[test]
    fn what_was_not_seen_for_long_is_forgotten() {
        let mut memory = Inner::default();
        for n in 0..=u32::try_from(KNOWN_MAX).unwrap() {
            memory.learned(hash(n), nodes("n"));
            assert!(memory.known(&hash(0)).is_some(), "it is seen all the time");
        }
        assert_eq!(memory.known.len(), KNOWN_MAX);
        assert!(memory.known(&hash(1)).is_none());
        assert!(memory.known(&hash(2)).is_some());
        let is_other = Hash { scheme: Scheme::Caps2Sha256, ..hash(2) };
        assert!(memory.known(&is_other).is_none(), "each kind of hash is for itself");
    }

    #[test]
    fn the_names_of_nodes_take_so_many_bytes_and_no_more() {
        let mut memory = Inner::default();
        let long = "n".repeat(100_000);
        for n in 0..100 {
            memory.learned(hash(n), nodes(&long));
            memory.learned(hash(n), nodes(&long));
        }
        assert!(memory.bytes <= KNOWN_BYTES_MAX && memory.bytes > KNOWN_BYTES_MAX - 200_000);
        let bytes: usize = memory.known.values().map(|known| size(&known.nodes)).sum();
        assert_eq!(memory.bytes, bytes);
    }
}
