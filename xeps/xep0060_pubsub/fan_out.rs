//! How many copies one who publishes may cause. What is more waits, and of each node goes out together: the last item, and
//! what was deleted.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use compact_str::CompactString;
use unisono_core::account::Cell;
use unisono_core::extension::Moment;
use unisono_core::hub::Hub;
use unisono_core::ids::{AccountId, Ticket};
use unisono_core::jid::Jid;
use unisono_core::sharing::Shared;

use super::node::{Meta, Node};
use super::notify::{Delivered, deliver, is_full};

/// Who has caused no more than what takes so long may cause more at once, however many copies that makes.
const AHEAD: Duration = Duration::from_secs(1);
/// Deletions of one node that wait. The older ones are not told.
const DELETIONS_MAX: usize = 64;
/// Bytes that wait for one who publishes, about. What is more is left out, node by node.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Whom it is counted for at most. With more, those are forgotten who owe nothing, and if that is nobody, all.
const PAYERS_MAX: usize = 16_384;

/// What an event is to those that wait for the same node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// The last one tells enough.
    Item,
    Deletion,
    Configuration,
    /// What came before is of no interest any more.
    End,
    /// Nobody is told. What waits to be told of that item, or of all, is over.
    Untold,
}

/// An event on its way to those who are not of the account.
#[derive(Clone)]
pub(super) struct Notice {
    pub(super) stanza: Arc<Shared>,
    pub(super) ticket: Ticket,
    pub(super) kind: Kind,
}

/// Events of one node that wait.
struct Waiting {
    cell: Arc<Cell>,
    meta: Arc<Meta>,
    notices: Vec<Notice>,
    /// Who published last.
    payer: CompactString,
    since: Duration,
}

/// A node, and the address elsewhere for which alone it waits, because there is no room on the way to there.
type Key = (AccountId, CompactString, Option<Jid>);

/// What all have caused, and what waits.
#[derive(Default)]
pub(super) struct FanOut(Mutex<Ledger>);

#[derive(Default)]
struct Ledger {
    /// When each has paid for all.
    paid: HashMap<CompactString, Duration>,
    waiting: BTreeMap<Key, Waiting>,
}

/// Who pays for what somebody publishes: a user of this server, or all of another domain, where users cost nothing.
pub(super) fn payer(hub: &Hub, by: &Jid) -> CompactString {
    if hub.serves(by.domain()) { by.to_bare().as_str().into() } else { by.domain().into() }
}

impl Ledger {
    fn may(&self, payer: &str, now: Duration) -> bool {
        self.paid.get(payer).is_none_or(|paid| *paid <= now.saturating_add(AHEAD))
    }

    fn charge(&mut self, payer: CompactString, copies: u32, rate: u32, now: Duration) {
        if self.paid.len() >= PAYERS_MAX && !self.paid.contains_key(&payer) {
            self.paid.retain(|_, paid| *paid > now);
            if self.paid.len() >= PAYERS_MAX {
                self.paid.clear();
            }
        }
        let cost = Duration::from_secs(u64::from(copies)).checked_div(rate).unwrap_or_default();
        let paid = self.paid.entry(payer).or_default();
        *paid = (*paid).max(now).saturating_add(cost);
    }

    /// What waits of a node leaves out what is not told any more.
    fn leave_out(&mut self, node: &Key, untold: &[Notice]) {
        if untold.is_empty() {
            return;
        }
        let of_node = self.waiting.range_mut(node.clone()..);
        let mut over = Vec::new();
        for (key, waiting) in of_node.take_while(|(key, _)| (key.0, &key.1) == (node.0, &node.1)) {
            for notice in untold {
                collapse(&mut waiting.notices, notice.clone());
            }
            if waiting.notices.is_empty() {
                over.push(key.clone());
            }
        }
        for key in over {
            self.waiting.remove(&key);
        }
    }

    /// Adds events to those that wait.
    fn wait(&mut self, key: Key, batch: &Batch<'_>, payer: &CompactString, now: Duration) {
        let waiting = self.waiting.entry(key).or_insert_with(|| Waiting {
            cell: batch.cell.clone(),
            meta: batch.meta.clone(),
            notices: Vec::new(),
            payer: payer.clone(),
            since: now,
        });
        (waiting.meta, waiting.payer) = (batch.meta.clone(), payer.clone());
        for notice in &batch.notices {
            collapse(&mut waiting.notices, notice.clone());
        }
    }

    /// Keeps the memory of one payer in bounds: what waits in the node that is first goes.
    fn make_room(&mut self, payer: &str) {
        loop {
            let own = self.waiting.iter().filter(|(_, waiting)| waiting.payer == payer);
            let bytes = own.clone().map(|(_, waiting)| bytes(&waiting.notices));
            if bytes.fold(0, usize::saturating_add) <= WAITING_BYTES_MAX {
                return;
            }
            let Some(first) = own.map(|(key, _)| key.clone()).next() else { return };
            self.waiting.remove(&first);
        }
    }
}

fn bytes(notices: &[Notice]) -> usize {
    const EACH: usize = 500;
    let bytes = notices.iter().map(|notice| notice.stanza.bytes().saturating_add(EACH));
    bytes.fold(EACH, usize::saturating_add)
}

/// Adds an event to those that wait, in the place of what it makes old.
fn collapse(waiting: &mut Vec<Notice>, new: Notice) {
    let is_same_topic = |old: &Notice| {
        old.stanza.topic.is_some() && old.stanza.topic == new.stanza.topic && old.kind != Kind::Configuration
    };
    waiting.retain(|old| match new.kind {
        Kind::End => false,
        Kind::Item => old.kind != Kind::Item && !is_same_topic(old),
        Kind::Configuration => old.kind != Kind::Configuration,
        Kind::Untold if new.stanza.topic.is_none() => old.kind == Kind::End,
        Kind::Deletion | Kind::Untold => !is_same_topic(old),
    });
    if new.kind == Kind::Untold {
        return;
    }
    let deletions = waiting.iter().filter(|old| old.kind == Kind::Deletion).count();
    if new.kind == Kind::Deletion
        && deletions >= DELETIONS_MAX
        && let Some(first) = waiting.iter().position(|old| old.kind == Kind::Deletion)
    {
        waiting.remove(first);
    }
    waiting.push(new);
}

/// Events of a node, on their way.
pub(super) struct Batch<'a> {
    pub(super) cell: &'a Arc<Cell>,
    pub(super) node: &'a str,
    pub(super) meta: &'a Arc<Meta>,
    pub(super) notices: Vec<Notice>,
}

/// Tells those who are not of the account, now or later. The order of the node ([`Cell::publishing`]) is held.
pub(super) fn spread(hub: &Hub, by: &Jid, mut batch: Batch<'_>) {
    let Some(FanOut(ledger)) = hub.server_state::<FanOut>() else { return };
    let rate = hub.settings.notifications_per_second;
    let (payer, now) = (payer(hub, by), hub.clock.elapsed());
    let key = (batch.cell.id, CompactString::from(batch.node), None);
    {
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let (untold, notices) =
            batch.notices.into_iter().partition::<Vec<_>, _>(|notice| notice.kind == Kind::Untold);
        batch.notices = notices;
        ledger.leave_out(&key, &untold);
        let may = rate == 0 || ledger.may(&payer, now);
        if !batch.notices.is_empty() && (!may || ledger.waiting.contains_key(&key)) {
            ledger.wait(key.clone(), &batch, &payer, now);
            if !may {
                ledger.make_room(&payer);
                return;
            }
            batch.notices = ledger.waiting.remove(&key).map(|waiting| waiting.notices).unwrap_or_default();
        }
    }
    if !batch.notices.is_empty() {
        tell(hub, ledger, &batch, None, &payer);
    }
}

/// Tells those who are not of the account, or only one address elsewhere. What there is no room for waits for that.
fn tell(hub: &Hub, ledger: &Mutex<Ledger>, batch: &Batch<'_>, only: Option<&Jid>, payer: &CompactString) {
    let lock = || ledger.lock().unwrap_or_else(PoisonError::into_inner);
    let (rate, now) = (hub.settings.notifications_per_second, hub.clock.elapsed());
    let key = |to: &Jid| (batch.cell.id, CompactString::from(batch.node), Some(to.clone()));
    let waits = |to: &Jid| lock().waiting.contains_key(&key(to));
    let Delivered { copies, late } =
        deliver(hub, batch.cell, (batch.node, batch.meta), &batch.notices, only, waits);
    let mut ledger = lock();
    for (to, notices) in late {
        ledger.wait(key(&to), &Batch { notices, ..*batch }, payer, now);
        ledger.make_room(payer);
    }
    if rate > 0 {
        ledger.charge(payer.clone(), copies, rate, now);
    }
}

/// Whether somebody may cause so many messages about subscriptions now, which cannot wait. Then they are charged.
pub(super) fn may_cause(hub: &Hub, by: &Jid, copies: usize) -> bool {
    let rate = hub.settings.notifications_per_second;
    let Some(FanOut(ledger)) = hub.server_state::<FanOut>().filter(|_| rate > 0) else { return true };
    let (payer, now) = (payer(hub, by), hub.clock.elapsed());
    let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    let may = ledger.may(&payer, now);
    if may {
        ledger.charge(payer, u32::try_from(copies).unwrap_or(u32::MAX), rate, now);
    }
    may
}

/// Tells what waits of those who may cause more by now, and of all when the server stops.
pub(super) fn go_on(hub: &Arc<Hub>, moment: Moment) {
    let Some(FanOut(ledger)) = hub.server_state::<FanOut>() else { return };
    let lock = || ledger.lock().unwrap_or_else(PoisonError::into_inner);
    let now = hub.clock.elapsed();
    let may = |ledger: &Ledger, payer: &str| moment == Moment::Last || ledger.may(payer, now);
    let ready: Vec<_> = {
        let ledger = lock();
        let ready = ledger.waiting.iter().filter(|(_, waiting)| may(&ledger, &waiting.payer));
        let ready = ready.filter(|(key, _)| key.2.as_ref().is_none_or(|to| !is_full(hub, to)));
        let mut ready: Vec<_> =
            ready.map(|(key, waiting)| (waiting.since, key.clone(), waiting.cell.clone())).collect();
        // Whatever is published most does not keep the rest waiting.
        ready.sort_by_key(|(since, ..)| *since);
        ready
    };
    for (_, key, cell) in ready {
        let _order = cell.publishing();
        let waiting = {
            let mut ledger = lock();
            let may = ledger.waiting.get(&key).is_some_and(|waiting| may(&ledger, &waiting.payer));
            if may { ledger.waiting.remove(&key) } else { None }
        };
        let Some(Waiting { meta, mut notices, payer, .. }) = waiting else { continue };
        // It is told as the node is by now: of one that is gone, that it is.
        let present = cell.lock().keyed::<Node>(&key.1).map(|node| node.meta.clone());
        match &present {
            Some(meta) if !meta.config.deliver_notifications => continue,
            Some(_) => {}
            None => notices.retain(|notice| notice.kind == Kind::End),
        }
        if !notices.is_empty() {
            let meta = present.unwrap_or(meta);
            let batch = Batch { cell: &cell, node: &key.1, meta: &meta, notices };
            tell(hub, ledger, &batch, key.2.as_ref(), &payer);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use unisono_core::stanza::MessageType;

    use super::*;

    fn notice(kind: Kind, topic: &str) -> Notice {
        let from = "alice@example.org".parse().unwrap();
        let topic = Some(CompactString::from(topic)).filter(|topic| !topic.is_empty());
        let stanza = Shared::message(&from, MessageType::Headline, "m", topic, &[]);
        Notice { stanza: Arc::new(stanza), ticket: Ticket::NONE, kind }
    }

    #[test]
    fn what_waits_is_the_last_item_and_what_was_deleted() {
        use Kind::{Configuration, Deletion, End, Item, Untold};
        for (events, want) in [
            (&[(Item, "a"), (Item, "b"), (Item, "c")][..], &["c"][..]),
            (&[(Item, "a"), (Deletion, "a")], &["a"]), // it is gone before anybody heard of it
            (&[(Deletion, "a"), (Item, "b"), (Deletion, "c")], &["a", "b", "c"]),
            (&[(Deletion, "a"), (Item, "a")], &["a"]),
            (&[(Configuration, ""), (Item, "a"), (Configuration, "")], &["a", ""]),
            (&[(Item, "a"), (Deletion, "b"), (End, "")], &[""]),
            (&[(End, ""), (Item, "a")], &["", "a"]),
            (&[(Deletion, "b"), (Item, "a"), (Untold, "a")], &["b"]),
            (&[(Deletion, "b"), (Item, "a"), (Untold, "")], &[]),
            (&[(End, ""), (Item, "a"), (Untold, "")], &[""]),
        ] {
            let mut waiting = Vec::new();
            for (kind, topic) in events {
                collapse(&mut waiting, notice(*kind, topic));
            }
            let left: Vec<_> =
                waiting.iter().map(|notice| notice.stanza.topic.as_deref().unwrap_or("")).collect();
            assert_eq!(left, want, "{events:?}");
        }
        let mut waiting = Vec::new();
        for n in 0..10 * DELETIONS_MAX {
            collapse(&mut waiting, notice(Deletion, &n.to_string()));
        }
        assert_eq!(waiting.len(), DELETIONS_MAX);
    }

    #[test]
    fn who_has_caused_much_waits_until_it_is_paid() {
        let (mut ledger, at) = (Ledger::default(), Duration::from_secs);
        ledger.charge("alice".into(), 5_000, 1_000, at(10));
        for (who, when, may) in
            [("alice", 10, false), ("bob", 10, true), ("alice", 13, false), ("alice", 14, true)]
        {
            assert_eq!(ledger.may(who, at(when)), may, "{who} {when}");
        }
        for n in 0..2 * PAYERS_MAX {
            ledger.charge(n.to_string().into(), 1, 1, at(20));
        }
        assert!(ledger.paid.len() <= PAYERS_MAX);
    }
}
