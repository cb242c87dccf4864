//! What devices are interested in (XEP-0163 §4.3), and that they are told of it what there is.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use compact_str::CompactString;

use crate::account::{Account, Cell};
use crate::extension::{Interest, Interested};
use crate::hub::{Hub, SessionRef};
use crate::ids::LogPosition;
use crate::jid::{BareJid, Jid};
use crate::session::Session;
use crate::storage::StoreError;

/// A device is told what there is so many times at once,
const TELL_BURST: u32 = 8;
/// and once more each time that this has passed: who comes and goes all the time makes the server read all contacts each
/// time.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Contacts that came into sight and are told of one by one. With more, all are.
const SEEN_MAX: usize = 100;

/// Lists of nodes, each held once, however many devices have it. Sessions of one client software have the same.
#[derive(Default)]
pub(crate) struct Lists {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    lists: HashSet<Arc<[CompactString]>>,
    /// At this size, those that nobody has any more are forgotten.
    clean_at: usize,
}

impl Lists {
    /// The list of these nodes, sorted.
    fn shared(&self, mut nodes: Vec<CompactString>) -> Arc<[CompactString]> {
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.is_empty() {
            return Arc::default();
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = known.lists.get(nodes.as_slice()) {
            return list.clone();
        }
        if known.lists.len() >= known.clean_at {
            known.lists.retain(|list| Arc::strong_count(list) > 1);
            known.clean_at = known.lists.len().saturating_mul(2).max(64);
        }
        let list = Arc::<[CompactString]>::from(nodes);
        known.lists.insert(list.clone());
        list
    }
}

impl Hub {
    /// These nodes as a list for [`Session::set_interests`]: sorted, and in memory once for all who have the same.
    pub fn interest_list(&self, nodes: Vec<CompactString>) -> Arc<[CompactString]> {
        self.interests.shared(nodes)
    }

    /// Lets the extensions tell a device what there is of the nodes that it became interested in, as much as there is room
    /// for. Its connection goes on when that is written, so that nobody can make more come at once than a device may have
    /// waiting.
    pub(crate) async fn tell_interests(self: &Arc<Self>, origin: &SessionRef) -> Result<(), StoreError> {
        while let Some(part) = self.part_to_tell(origin) {
            let rest = (part.teller)(self.clone(), origin.clone(), part.interest.clone()).await?;
            let mut account = origin.cell.lock();
            let Some(session) = account.session_mut(origin.id) else { return Ok(()) };
            // Else all is told anew, or nothing any more.
            if session.telling.front().is_some_and(|front| Arc::ptr_eq(front, &part)) {
                session.telling.pop_front();
                if let Some(interest) = rest {
                    session.telling.push_front(Arc::new(Part { interest, ..*part }));
                }
            }
        }
        Ok(())
    }

    /// What a device is to be told next, if there is room for it.
    fn part_to_tell(&self, origin: &SessionRef) -> Option<Arc<Part>> {
        let mut account = origin.cell.lock();
        let session = account.session_mut(origin.id)?;
        let now = self.clock.elapsed();
        if session.connection_number() != Some(origin.connection)
            || session.tells_in(now) != Some(Duration::ZERO)
        {
            return None;
        }
        if session.telling.is_empty() {
            session.told_until = session.told_until.max(now).saturating_add(TELL_EVERY);
            let interests = session.take_interests();
            session.telling = self.parts(&interests).collect();
        }
        session.telling.front().cloned()
    }

    fn parts(&self, interests: &[Interest]) -> impl Iterator<Item = Arc<Part>> {
        interests.iter().flat_map(|interest| {
            let part = |teller: &Interested| Arc::new(Part { teller: *teller, interest: interest.clone() });
            self.registry.interested.iter().map(part)
        })
    }

    /// Has a device told what there is of these nodes of somebody, whatever interests it, when there is room for it.
    pub fn tell_of(&self, session: &mut Session, of: BareJid, nodes: Vec<CompactString>) {
        let interest = Interest { nodes, of: Some(vec![of]), from: None };
        session.telling.extend(self.parts(&[interest]));
        session.wake();
    }
}

/// What one extension has to tell a device.
pub(crate) struct Part {
    teller: Interested,
    pub(crate) interest: Interest,
}

impl SessionRef {
    /// A session while there is a connection that writes what is queued for it.
    pub fn of(cell: &Arc<Cell>, session: &Session) -> Option<Self> {
        let connection = session.connection_number()?;
        Some(Self { cell: cell.clone(), id: session.id, jid: session.jid.clone(), connection })
    }
}

impl Account {
    /// The account sees a contact now that it did not see before: those of its devices that this is said of are told what
    /// there is of the contact's nodes (XEP-0060 §12.2).
    pub(crate) fn comes_to_see(&mut self, contact: &BareJid, concerns: impl Fn(&Jid) -> bool) {
        for session in self.sessions.iter_mut().filter(|session| session.is_available()) {
            if concerns(&session.jid().clone().into()) {
                let nodes = session.interests.to_vec();
                session.gains(Interest { nodes, of: Some(vec![contact.clone()]), from: None });
            }
        }
    }
}

impl Session {
    /// Whether the device is interested in a node, whoever's it is (XEP-0163 §4.3).
    pub fn is_interested_in(&self, node: &str) -> bool {
        self.interests.binary_search_by(|interest| interest.as_str().cmp(node)).is_ok()
    }

    /// The nodes that the device is interested in, sorted.
    pub fn interests(&self) -> &Arc<[CompactString]> {
        &self.interests
    }

    /// Replaces what the device is interested in by a list of [`Hub::interest_list`]. While it is available, its
    /// connection goes on with telling it what there is of the nodes that come in.
    pub fn set_interests(&mut self, nodes: Arc<[CompactString]>) {
        let before = std::mem::replace(&mut self.interests, nodes);
        let gained = self.interests.iter().filter(|node| before.binary_search(node).is_err());
        let gained = gained.cloned().collect();
        self.becomes_interested(gained);
    }

    /// The device was not available before: of everything that interests it, it is told what there is.
    pub(crate) fn begins_interests(&mut self) {
        self.becomes_interested(self.interests.to_vec());
    }

    /// What was published up to here, the device may have from an earlier session; what came after it, it has not.
    pub fn knows_nodes(&self) -> LogPosition {
        self.knows_nodes
    }

    /// Whether there is room for what can wait until the device has more of what is queued.
    pub fn has_room(&self) -> bool {
        self.closing.is_none() && self.outbox.bytes() < self.bytes_max / 4
    }

    /// In which time the device is to be told what there is of nodes; none if there is nothing to tell.
    pub(crate) fn tells_in(&self, now: Duration) -> Option<Duration> {
        if !self.telling.is_empty() || !self.has_room() {
            return Some(Duration::ZERO).filter(|_| self.has_room());
        }
        if self.newly_interested.is_empty() && self.newly_seen.is_empty() {
            return None;
        }
        let spent = self.told_until.saturating_sub(now).saturating_add(TELL_EVERY);
        Some(spent.saturating_sub(TELL_EVERY.saturating_mul(TELL_BURST)))
    }

    /// A device that is not available is told nothing.
    pub(crate) fn forget_interests(&mut self) {
        self.interests = Arc::default();
        self.newly_interested = Vec::new();
        self.newly_seen = Vec::new();
        self.telling = VecDeque::new();
    }

    /// What the device is to be told of. Who came into sight is told of with the rest where that is all.
    fn take_interests(&mut self) -> Vec<Interest> {
        let (nodes, seen) =
            (std::mem::take(&mut self.newly_interested), std::mem::take(&mut self.newly_seen));
        let of_seen: Vec<_> = self.interests.iter().filter(|node| !nodes.contains(node)).cloned().collect();
        let of_seen = Interest { nodes: of_seen, of: Some(seen), from: None };
        let all = [Interest { nodes, of: None, from: None }, of_seen];
        let is_something = |interest: &Interest| {
            !interest.nodes.is_empty() && interest.of.as_ref().is_none_or(|seen| !seen.is_empty())
        };
        all.into_iter().filter(is_something).collect()
    }

    fn gains(&mut self, Interest { nodes, of, .. }: Interest) {
        let Some(seen) = of else { return self.becomes_interested(nodes) };
        if nodes.is_empty() {
            return;
        }
        self.newly_seen.extend(seen);
        self.newly_seen.sort_unstable();
        self.newly_seen.dedup();
        if self.newly_seen.len() > SEEN_MAX {
            self.newly_seen = Vec::new();
            return self.becomes_interested(self.interests.to_vec());
        }
        self.wake();
    }

    fn becomes_interested(&mut self, gained: Vec<CompactString>) {
        let mut newly = std::mem::take(&mut self.newly_interested);
        newly.extend(gained);
        // So it is never longer than the list of interests.
        newly.retain(|node| self.is_available() && self.is_interested_in(node));
        newly.sort_unstable();
        newly.dedup();
        self.newly_interested = newly;
        if !self.newly_interested.is_empty() {
            self.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_are_one_and_go_with_the_last_who_has_them() {
        let lists = Lists::default();
        let list =
            |names: &[&str]| lists.shared(names.iter().map(|name| CompactString::from(*name)).collect());
        let first = list(&["b", "a", "b"]);
        assert_eq!(*first, ["a", "b"]);
        assert!(Arc::ptr_eq(&first, &list(&["a", "b"])));
        assert!(!Arc::ptr_eq(&first, &list(&["a"])));
        assert_eq!(*list(&[]), [] as [&str; 0]);
        for n in 0..1000 {
            list(&[&n.to_string()]);
        }
        assert!(lists.known.lock().is_ok_and(|known| known.lists.len() <= 128));
        assert!(Arc::ptr_eq(&first, &list(&["a", "b"])));
    }
}
