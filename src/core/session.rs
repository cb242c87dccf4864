//! A session: what a device has while it is connected, or may come back to (XEP-0198).

use std::any::Any;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;

use crate::asking::Asked;
use crate::catch_up::{Before, CatchUp};
use crate::delays::Moment;
use crate::error::StreamCondition;
use crate::extension::{Filter, Holding};
use crate::ids::{DeviceId, LogPosition, SessionId, Ticket};
use crate::interests::Part;
use crate::jid::{BareJid, FullJid, Jid};
use crate::outbox::{Entry, Item, Outbox};
use crate::stanza::Presence;
use crate::storage::Wake;

/// Requests of one session that may still be answered by others.
const QUESTIONS_MAX: usize = 256;
/// Stanzas held back for a device that is not looking.
const HELD_MAX: usize = 200;

/// What the operator sees of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    pub address: String,
    /// Protocol version and cipher, as for instance `TLSv1.3 AES_128_GCM`.
    pub tls: String,
    /// Microseconds since 1970.
    pub since: i64,
}

/// Whether somebody is at the other end.
pub(crate) enum Link {
    /// The connection of this number writes what the outbox holds.
    Connected { number: u64, wake: Arc<dyn Wake>, info: Box<ConnectionInfo> },
    /// The connection broke. Until the deadline the session can be resumed.
    Detached { until: Duration },
}

/// Stream management of one session.
#[derive(Default)]
pub(crate) struct Management {
    /// How long a broken session waits; zero if it is not resumable.
    pub(crate) resume_for: Duration,
    /// Stanzas of the client that were handled.
    pub(crate) handled: u32,
    /// Of these, the store was told.
    pub(crate) journaled: u32,
    /// Answers that are due.
    pub(crate) answers: VecDeque<AnswerDue>,
    /// When we asked for an acknowledgement.
    pub(crate) asked: Option<Duration>,
    /// We have none since.
    pub(crate) is_asked: bool,
    /// What was queued by catch-ups and may not be there: the number of the first entry of each stretch, and all
    /// positions.
    pub(crate) stretches: Vec<(u32, Vec<LogPosition>)>,
}

/// An answer to a device that asked what was handled.
pub(crate) struct AnswerDue {
    pub(crate) handled: u32,
    /// It waits for this commit.
    pub(crate) ticket: Ticket,
    /// Since when it may be told: the device has asked, and the commit is durable.
    pub(crate) tellable: Arc<Moment>,
}

/// What a device did with its archive in this session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ArchiveUse {
    Unknown,
    /// It was left to page what it missed, as it did before, and did not yet.
    Expected,
    Asked,
}

/// One session of a device.
#[expect(clippy::struct_excessive_bools, reason = "what a device asked for, each by itself")]
pub struct Session {
    pub(crate) id: SessionId,
    pub(crate) device: DeviceId,
    pub(crate) jid: FullJid,
    pub(crate) link: Link,
    pub(crate) presence: Option<Arc<Presence>>,
    pub(crate) priority: i8,
    /// Who got presence of this session though no subscription says so (RFC 6121 §4.6).
    pub(crate) directed: BTreeSet<Jid>,
    /// The device asked for the roster, so it gets pushes.
    pub(crate) interested: bool,
    carbons: bool,
    inactive: bool,
    /// Namespaces of what the device asked to be told about.
    pub(crate) follows: Vec<&'static str>,
    /// What was there of nodes up to here, the device may have from an earlier session.
    pub(crate) knows_nodes: LogPosition,
    /// Nodes of whose changes the device is told because its capabilities say so (XEP-0163 §4.3), sorted; shared by all
    /// devices with the same capabilities.
    pub(crate) interests: Arc<[CompactString]>,
    /// Of these it is to be told what there is.
    pub(crate) newly_interested: Vec<CompactString>,
    /// Contacts of whose nodes it is to be told what there is, because it sees them only now.
    pub(crate) newly_seen: Vec<BareJid>,
    /// What it is being told, one portion after the other.
    pub(crate) telling: VecDeque<Arc<Part>>,
    /// When it may be told as often at once as one that was told nothing yet.
    pub(crate) told_until: Duration,
    /// What the server asked the device.
    pub(crate) asked: Vec<Asked>,
    /// What extensions keep.
    states: Vec<Box<dyn Any + Send>>,
    pub(crate) outbox: Outbox,
    /// Stanzas that wait until the device looks again (XEP-0352).
    pub(crate) held: Vec<Entry>,
    pub(crate) management: Option<Box<Management>>,
    pub(crate) questions: VecDeque<u64>,
    pub(crate) catch_up: CatchUp,
    pub(crate) archive_use: ArchiveUse,
    /// The part of the archive that was shown page by page from its end: the first entry of it, and that end.
    pub(crate) shown_back: Option<(LogPosition, LogPosition)>,
    /// The last commit that something this session sent waits for.
    pub(crate) last_ticket: Ticket,
    /// Bytes that the queue may take.
    pub(crate) bytes_max: usize,
    /// The operator was told of something wrong that the device sent.
    is_noted: bool,
    /// Why the connection has to end.
    pub(crate) closing: Option<StreamCondition>,
}

impl Session {
    pub(crate) fn new(id: SessionId, device: DeviceId, jid: FullJid, link: Link, bytes_max: usize) -> Self {
        Self {
            id,
            device,
            jid,
            link,
            presence: None,
            priority: 0,
            directed: BTreeSet::new(),
            interested: false,
            carbons: false,
            inactive: false,
            follows: Vec::new(),
            knows_nodes: LogPosition::START,
            interests: Arc::default(),
            newly_interested: Vec::new(),
            newly_seen: Vec::new(),
            telling: VecDeque::new(),
            told_until: Duration::ZERO,
            asked: Vec::new(),
            states: Vec::new(),
            outbox: Outbox::default(),
            held: Vec::new(),
            management: None,
            questions: VecDeque::new(),
            catch_up: CatchUp::Before(Before::default()),
            archive_use: ArchiveUse::Unknown,
            shown_back: None,
            last_ticket: Ticket::NONE,
            bytes_max,
            is_noted: false,
            closing: None,
        }
    }

    pub fn id(&self) -> SessionId {
        self.id
    }

    pub fn device(&self) -> DeviceId {
        self.device
    }

    pub fn jid(&self) -> &FullJid {
        &self.jid
    }

    /// Whether the device sent available presence.
    pub fn is_available(&self) -> bool {
        self.presence.is_some()
    }

    /// Whether what is for nobody in particular is for this one, too (RFC 6121 §8.5.2.1.1).
    pub fn is_for_all(&self) -> bool {
        self.is_available() && self.priority >= 0 && self.closing.is_none()
    }

    /// The last available presence.
    pub fn presence(&self) -> Option<&Arc<Presence>> {
        self.presence.as_ref()
    }

    /// RFC 6121 §4.7.2.3.
    pub fn priority(&self) -> i8 {
        self.priority
    }

    /// Whom it sent its presence to though no subscription says so: the rooms that it is in, too, each with its name there.
    pub fn directed_to(&self) -> impl Iterator<Item = &Jid> {
        self.directed.iter()
    }

    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Connected { .. })
    }

    /// What is known of the connection, while there is one.
    pub fn connection(&self) -> Option<&ConnectionInfo> {
        match &self.link {
            Link::Connected { info, .. } => Some(info),
            Link::Detached { .. } => None,
        }
    }

    /// Whether the device asked for the roster and gets pushes (RFC 6121 §2.1.6).
    pub fn is_interested(&self) -> bool {
        self.interested
    }

    /// Whether the device wants copies of what the others send and receive (XEP-0280).
    pub fn wants_carbons(&self) -> bool {
        self.carbons
    }

    pub fn set_carbons(&mut self, wanted: bool) {
        self.carbons = wanted;
    }

    /// Whether the device asked to be told about changes of this kind, such as those of the block list.
    pub fn follows(&self, ns: &str) -> bool {
        self.follows.contains(&ns)
    }

    pub fn follow(&mut self, ns: &'static str) {
        if !self.follows(ns) {
            self.follows.push(ns);
        }
    }

    /// What an extension keeps with the session, in memory alone: after a restart it is the default again.
    pub fn state<T: Any + Send + Default>(&mut self) -> &mut T {
        let known = self.states.iter().position(|state| state.is::<T>());
        let index = known.unwrap_or(self.states.len());
        if known.is_none() {
            self.states.push(Box::<T>::default());
        }
        let state = self.states.get_mut(index).and_then(|state| state.downcast_mut());
        #[expect(clippy::expect_used, reason = "it was found there, or put there, a moment ago")]
        state.expect("a state of this type")
    }

    /// The same, if there is something.
    pub fn existing_state<T: Any>(&self) -> Option<&T> {
        self.states.iter().find_map(|state| state.downcast_ref())
    }

    /// The number of the next stanza for the device (XEP-0198); none if it does not acknowledge what it gets.
    pub fn next_stanza(&self) -> Option<u32> {
        self.is_managed().then(|| self.next_number())
    }

    /// Whether the device acknowledged the stanza of this number.
    pub fn has_acknowledged(&self, number: u32) -> bool {
        self.outbox.acknowledged().wrapping_sub(number) < u32::MAX / 2
    }

    /// Whether nobody looks at the device (XEP-0352).
    pub fn is_inactive(&self) -> bool {
        self.inactive
    }

    pub fn set_inactive(&mut self, inactive: bool) {
        self.inactive = inactive;
    }

    /// Whether the device acknowledges what it receives (XEP-0198).
    pub fn is_managed(&self) -> bool {
        self.management.is_some()
    }

    /// Whether the session survives its connection.
    pub fn is_resumable(&self) -> bool {
        self.management.as_ref().is_some_and(|management| !management.resume_for.is_zero())
    }

    /// Something is wrong with what the device sent. The first time the operator is told; more would flood the log.
    pub(crate) fn note(&mut self, stanza: &str, what: &str) {
        if std::mem::replace(&mut self.is_noted, true) {
            tracing::debug!(jid = %self.jid, stanza, what, "a stanza is not taken as it is");
        } else {
            tracing::info!(jid = %self.jid, stanza, what, "a stanza is not taken as it is, more of this session are not told");
        }
    }

    pub(crate) fn wake(&self) {
        if let Link::Connected { wake, .. } = &self.link {
            wake.wake();
        }
    }

    pub(crate) fn waker(&self) -> Option<Arc<dyn Wake>> {
        match &self.link {
            Link::Connected { wake, .. } => Some(wake.clone()),
            Link::Detached { .. } => None,
        }
    }

    /// The number of the connection, while there is one.
    pub(crate) fn connection_number(&self) -> Option<u64> {
        match self.link {
            Link::Connected { number, .. } => Some(number),
            Link::Detached { .. } => None,
        }
    }

    /// Remembers that a request was sent, so that its answer is let through.
    pub(crate) fn ask(&mut self, question: u64) {
        if self.questions.len() >= QUESTIONS_MAX {
            self.questions.pop_front();
        }
        self.questions.push_back(question);
    }

    /// Whether this answers a request of this session; each is answered once.
    pub(crate) fn is_answered(&mut self, question: u64) -> bool {
        let found = self.questions.iter().position(|asked| *asked == question);
        found.map(|index| self.questions.remove(index)).is_some()
    }

    /// Whether a copy of the next message moves the device's cursor, once it is acknowledged. The log ends at `head`.
    pub(crate) fn follows_log(&self, head: LogPosition) -> bool {
        match &self.catch_up {
            CatchUp::Done => true,
            CatchUp::Before(before) => before.whole == Some(head),
            CatchUp::Paging | CatchUp::Reading(_) => false,
        }
    }

    /// Stanzas that were not written, or not acknowledged.
    pub fn queued(&self) -> usize {
        self.outbox.len().saturating_add(self.held.len())
    }

    /// The oldest entry of the log among them: they are queued in its order.
    pub(crate) fn oldest_queued(&self) -> Option<LogPosition> {
        self.outbox.entries().chain(&self.held).find_map(Entry::position)
    }

    /// Whether the device has everything that was meant for it.
    pub(crate) fn has_all(&self) -> bool {
        matches!(self.catch_up, CatchUp::Done) && self.queued() == 0
    }

    /// The number that XEP-0198 gives the next stanza.
    pub(crate) fn next_number(&self) -> u32 {
        let held = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        self.outbox.next_number().wrapping_add(held)
    }

    /// Appends a stanza to what the device gets, unless nobody looks and it can wait.
    pub(crate) fn queue(&mut self, mut entry: Entry, filters: &[Filter]) {
        if let Item::Logged { position, .. } = &entry.item {
            match &mut self.catch_up {
                CatchUp::Before(before) => {
                    before.has_early(*position);
                    // What came before it may still be missing. Then it does not move the cursor.
                    entry.covers = entry.covers.filter(|_| before.whole == Some(*position));
                }
                CatchUp::Paging => entry.covers = None,
                CatchUp::Reading(replay) => {
                    // It is in the log, which is being read.
                    replay.newest = replay.newest.max(*position);
                    return;
                }
                CatchUp::Done => {}
            }
        }
        if let CatchUp::Reading(replay) = &mut self.catch_up
            && is_from_another(&entry, &self.jid)
        {
            replay.behind.push((replay.newest, entry));
            if is_full(replay.behind.iter().map(|(_, entry)| entry), self.bytes_max) {
                self.queue_behind(None, filters);
            }
            return;
        }
        self.append(entry, filters);
    }

    /// What was to come behind the catch-up comes now: what is due when all is there up to this position, or all.
    pub(crate) fn queue_behind(&mut self, upto: Option<LogPosition>, filters: &[Filter]) {
        let CatchUp::Reading(replay) = &mut self.catch_up else { return };
        let due =
            upto.map_or(replay.behind.len(), |upto| replay.behind.partition_point(|(at, _)| *at <= upto));
        let due: Vec<_> = replay.behind.drain(..due).map(|(_, entry)| entry).collect();
        self.queue_missed(due, filters);
    }

    /// Stanzas that no log has, and that the client may not have either.
    pub(crate) fn unlogged(&self) -> impl Iterator<Item = &Entry> {
        let behind = self.behind().iter().map(|(_, entry)| entry);
        let entries = self.outbox.entries().chain(&self.held).chain(behind);
        entries.filter(|entry| entry.position().is_none())
    }

    /// What comes behind the catch-up that is being read.
    pub(crate) fn behind(&self) -> &[(LogPosition, Entry)] {
        match &self.catch_up {
            CatchUp::Reading(replay) => &replay.behind,
            CatchUp::Before(_) | CatchUp::Paging | CatchUp::Done => &[],
        }
    }

    /// A stretch of what was missed.
    pub(crate) fn queue_missed(&mut self, entries: Vec<Entry>, filters: &[Filter]) {
        for entry in entries {
            self.append(entry, filters);
        }
    }

    fn append(&mut self, entry: Entry, filters: &[Filter]) {
        if self.closing.is_some() && !is_from_another(&entry, &self.jid) {
            // The session is about to end. What it is not given stays in the log, behind the cursor; what somebody
            // waits for an answer to is answered then.
            return;
        }
        if self.inactive && !matches!(entry.item, Item::Logged { .. }) {
            match filters.iter().find_map(|filter| filter(&entry.item, self)) {
                Some(Holding::Drop) => return,
                Some(Holding::Replaceable) => return self.hold(entry),
                Some(Holding::Pass) | None => {}
            }
        }
        self.release();
        self.push(entry);
    }

    /// A device keeps up if what waited before this was not too much: one stanza alone is never.
    fn push(&mut self, entry: Entry) {
        let keeps_up = self.outbox.bytes() <= self.bytes_max;
        self.outbox.push(entry);
        if !keeps_up && self.closing.is_none() {
            tracing::info!(jid = %self.jid, "device does not keep up, its session ends");
            self.closing = Some(StreamCondition::ResourceConstraint);
            self.wake();
        }
    }

    /// The device takes its presence away: what comes from now on, it misses.
    pub(crate) fn stop_following(&mut self, head: LogPosition, filters: &[Filter]) {
        self.queue_behind(None, filters);
        self.catch_up = CatchUp::Before(match std::mem::replace(&mut self.catch_up, CatchUp::Done) {
            CatchUp::Before(before) => before,
            CatchUp::Paging => Before { given: Some(head), live_after: Some(head), ..Before::default() },
            CatchUp::Reading(replay) => Before {
                given: Some(replay.read.max(replay.waiting_after)),
                paged: replay.shown_after.map(|shown| shown.max(replay.read)),
                live_after: Some(replay.live_after.max(replay.read)),
                whole: replay.shown_after.map(|_| replay.read),
                early: replay.early,
            },
            CatchUp::Done => {
                let all = Some(head);
                Before { given: all, paged: all, live_after: all, whole: all, early: Vec::new() }
            }
        });
    }

    /// While the device sends no presence: up to where it was given everything.
    pub(crate) fn given(&self) -> Option<LogPosition> {
        match &self.catch_up {
            CatchUp::Before(before) => before.given,
            CatchUp::Paging | CatchUp::Reading(_) | CatchUp::Done => None,
        }
    }

    /// The device was shown the archive up to its end. `is_all`: nothing that the archive does not show waits for it.
    pub(crate) fn paged_archive(&mut self, upto: LogPosition, is_all: bool) {
        match &mut self.catch_up {
            CatchUp::Before(before) => {
                before.paged = before.paged.max(Some(upto));
                before.live_after = before.live_after.map(|live_after| live_after.max(upto));
                before.whole = before.whole.max(Some(upto).filter(|_| is_all));
            }
            CatchUp::Reading(replay) => replay.shown_after = replay.shown_after.max(Some(upto)),
            CatchUp::Paging => self.catch_up = CatchUp::Done,
            CatchUp::Done => {}
        }
    }

    /// The device is shown the archive from its end on, which is here: what is recorded from now on is on no page.
    pub(crate) fn pages_back(&mut self, end: LogPosition) {
        if let CatchUp::Before(before) = &mut self.catch_up {
            before.live_after.get_or_insert(end);
        }
    }

    /// The device is shown the archive forwards from here, up to there. If it was shown all before that, or knows it, it
    /// is not sent that again.
    pub(crate) fn pages_on(&mut self, from: LogPosition, upto: LogPosition) {
        if let CatchUp::Before(before) = &mut self.catch_up {
            for has in [&mut before.paged, &mut before.live_after] {
                *has = has.map(|has| if from <= has { has.max(upto) } else { has });
            }
        }
    }

    /// The device was told that the archive ends here: it fetches what it lacks of that, and is sent what comes after it.
    pub(crate) fn begins_at(&mut self, end: LogPosition) {
        if let CatchUp::Before(before) = &mut self.catch_up {
            (before.paged, before.live_after) = (Some(end), Some(end));
        }
    }

    /// Everything that it missed is left to the device to page.
    pub(crate) fn leave_to_page(&mut self) {
        self.catch_up = CatchUp::Paging;
        if self.archive_use == ArchiveUse::Unknown {
            self.archive_use = ArchiveUse::Expected;
        }
    }

    /// What came up to here is not sent to the device any more.
    pub(crate) fn waive(&mut self, upto: LogPosition) {
        match &mut self.catch_up {
            CatchUp::Before(before) => {
                for has in [&mut before.given, &mut before.paged, &mut before.whole] {
                    *has = (*has).max(Some(upto));
                }
                before.live_after = before.live_after.map(|live_after| live_after.max(upto));
            }
            CatchUp::Reading(replay) => {
                replay.shown_after = replay.shown_after.max(Some(upto));
                (replay.waiting_after, replay.live_after) =
                    (replay.waiting_after.max(upto), replay.live_after.max(upto));
            }
            CatchUp::Paging | CatchUp::Done => {}
        }
    }

    /// All that was held goes out, in the order of its arrival.
    pub(crate) fn release(&mut self) {
        for entry in std::mem::take(&mut self.held) {
            self.push(entry);
        }
    }

    /// Keeps a stanza back; an older one of the same sender makes way for it.
    fn hold(&mut self, entry: Entry) {
        let key = hold_key(&entry);
        self.held.retain(|held| key.is_none() || hold_key(held) != key);
        self.held.push(entry);
        if is_full(&self.held, self.bytes_max) {
            self.release();
        }
    }
}

/// Whether no more stanzas are kept back than these. `bytes_max` is what the queue may take.
fn is_full<'a>(entries: impl IntoIterator<Item = &'a Entry>, bytes_max: usize) -> bool {
    let add = |(count, bytes): (usize, usize), entry: &Entry| {
        (count.saturating_add(1), bytes.saturating_add(entry.bytes()))
    };
    let (count, bytes) = entries.into_iter().fold((0, 0), add);
    count >= HELD_MAX || bytes > bytes_max / 4
}

/// Whether an entry is a message or a request of somebody else, be it in a copy.
fn is_from_another(entry: &Entry, own: &FullJid) -> bool {
    let element = match &entry.item {
        Item::Shared { stanza, .. } => return stanza.from.local().is_some(),
        Item::Stanza { element, .. } => element,
        Item::Logged { .. } | Item::Text(_) => return false,
    };
    let Some(from) = element.attr("from").and_then(|from| from.parse::<Jid>().ok()) else { return false };
    let is_ours = from.to_bare() == own.bare();
    from.local().is_some()
        && match element.name() {
            "message" => from.resource().is_none_or(|resource| !is_ours || resource != own.resource()),
            // What the account itself answers depends on nothing.
            "iq" => !is_ours || from.resource().is_some_and(|resource| resource != own.resource()),
            _ => false,
        }
}

/// What makes two held stanzas replace each other: kind and sender.
fn hold_key(entry: &Entry) -> Option<(String, String)> {
    match &entry.item {
        Item::Stanza { element, .. } => Some((element.name().to_owned(), element.attr("from")?.to_owned())),
        Item::Shared { stanza, .. } => Some((stanza.topic.clone()?.into(), stanza.from.to_string())),
        Item::Logged { .. } | Item::Text(_) => None,
    }
}
