//! What waits to be written to a device, and what was written and not yet acknowledged: one queue.
//!
//! ```text
//!   acknowledged │ written, may be lost │ durable, to be written │ not yet durable
//!                 front              written                                    back
//! ```
//!
//! An entry is written when its ticket is durable. `<a h='n'/>` (XEP-0198 §4) removes entries from the front; a
//! resumed stream moves the write cursor back to the front. Without stream management an entry is gone when it is
//! written. Recorded messages are kept as positions, their content only while it is fresh.

use std::collections::VecDeque;
use std::sync::Arc;

use unisono_xml::{Element, Node};

use crate::ids::{LogPosition, Ticket};
use crate::jid::FullJid;
use crate::record::MessageRecord;
use crate::sharing::Shared;
use crate::stanza::{CLIENT_SCOPE, OUR_LIMITS};

/// Bytes of recorded messages that an outbox holds before it lets go of them: the log can give them back.
pub const FRESH_BYTES_MAX: usize = 64 * 1024;
/// What is written soon keeps its content beyond that: so many entries,
const SOON: usize = 20;
/// and so many bytes.
const SOON_BYTES_MAX: usize = 256 * 1024;
/// A stanza that takes more than this as a tree is kept as text, where that is smaller by half.
const TREE_BYTES_MAX: usize = 8 * 1024;
/// Positions that are read from the log at once.
const READ_MAX: usize = 50;

/// How a recorded message looks on one device.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// As it was sent.
    Original,
    /// Inside of elements that say why this device has it (XEP-0280).
    Wrapped(&'static Wrapping),
}

/// The elements around a forwarded message.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrapping {
    /// Names the wrapping in saved sessions.
    pub name: &'static str,
    /// Opening tags, with their namespaces.
    pub open: &'static str,
    /// The closing tags.
    pub close: &'static str,
}

impl PartialEq for Form {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Original, Self::Original) => true,
            (Self::Wrapped(a), Self::Wrapped(b)) => a.name == b.name,
            (Self::Original, Self::Wrapped(_)) | (Self::Wrapped(_), Self::Original) => false,
        }
    }
}

/// One stanza for one device.
#[derive(Clone, Debug)]
pub enum Item {
    /// A message of the account's log.
    Logged { position: LogPosition, record: Option<Arc<MessageRecord>>, form: Form, late: bool },
    /// Any other stanza; `to` replaces its address where one stanza goes to many.
    Stanza { element: Element, to: Option<FullJid> },
    /// A stanza that was serialised already.
    Text(Box<str>),
    /// One that goes to many, serialised once, but for the address of this device.
    Shared { stanza: Arc<Shared>, to: FullJid },
}

/// A stanza and the conditions on it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub item: Item,
    /// Written only when this is durable.
    pub ticket: Ticket,
    /// When the device acknowledges this entry, it has all of the log up to here.
    pub covers: Option<LogPosition>,
    /// Others were given it as well: as long as there are such, nobody has to be told if this device does not get it.
    pub shared: bool,
}

impl Entry {
    /// A stanza that waits for nothing.
    pub fn stanza(element: Element) -> Self {
        Self::new(Item::Stanza { element, to: None }, Ticket::NONE)
    }

    /// One that waits for a commit.
    pub fn new(item: Item, ticket: Ticket) -> Self {
        Self { item, ticket, covers: None, shared: false }
    }

    /// About what the entry takes in memory, but for what the log can give back.
    pub(crate) fn bytes(&self) -> usize {
        let content = match &self.item {
            Item::Logged { .. } => 0,
            Item::Stanza { element, .. } => weight(element),
            Item::Text(text) => text.len(),
            // Of many queues, one may be the last that holds it.
            Item::Shared { stanza, .. } => stanza.bytes(),
        };
        content.saturating_add(size_of::<Queued>())
    }

    /// Where it stands in the log.
    pub(crate) fn position(&self) -> Option<LogPosition> {
        match self.item {
            Item::Logged { position, .. } => Some(position),
            Item::Stanza { .. } | Item::Text(_) | Item::Shared { .. } => None,
        }
    }

    /// The stanza, where the log does not have it.
    pub(crate) fn element(&self) -> Option<Element> {
        match &self.item {
            Item::Logged { .. } => None,
            Item::Stanza { element, .. } => Some(element.clone()),
            Item::Text(text) => Element::parse(text, &CLIENT_SCOPE, &OUR_LIMITS).ok(),
            Item::Shared { stanza, to } => Element::parse(&stanza.text(to), &CLIENT_SCOPE, &OUR_LIMITS).ok(),
        }
    }

    /// The stanza as text, where that is a smaller form of what takes so many bytes.
    fn compacted(&self, bytes: usize) -> Option<Item> {
        let Item::Stanza { element, to } = &self.item else { return None };
        if bytes <= TREE_BYTES_MAX {
            return None;
        }
        let mut text = Vec::new();
        write_to(element, to.as_ref(), &mut text);
        String::from_utf8(text).ok().filter(|text| text.len() < bytes / 2).map(|text| Item::Text(text.into()))
    }
}

/// Writes a stanza, with another address if there is one.
pub(crate) fn write_to(element: &Element, to: Option<&FullJid>, out: &mut Vec<u8>) {
    match to {
        None => element.write_into(out, &CLIENT_SCOPE),
        Some(to) => element.to_builder().attr("to", to.as_str()).build().write_into(out, &CLIENT_SCOPE),
    }
}

/// About what the content of a message of the log takes in memory.
fn content_bytes(record: &MessageRecord) -> usize {
    record.payload.text().len().saturating_add(200)
}

/// An entry in the queue.
#[derive(Debug)]
struct Queued {
    entry: Entry,
    /// What it takes, but for what the log can give back.
    bytes: usize,
    /// What its content takes that the log has as well, once that was seen.
    content: usize,
}

impl Queued {
    fn new(mut entry: Entry) -> Self {
        let mut bytes = entry.bytes();
        if let Some(item) = entry.compacted(bytes) {
            entry.item = item;
            bytes = entry.bytes();
        }
        let content = match &entry.item {
            Item::Logged { record: Some(record), .. } => content_bytes(record),
            Item::Logged { record: None, .. } | Item::Stanza { .. } | Item::Text(_) | Item::Shared { .. } => {
                0
            }
        };
        Self { entry, bytes, content }
    }

    /// The content that is held here and could be let go, in bytes.
    fn fresh(&self) -> usize {
        if matches!(self.entry.item, Item::Logged { record: Some(_), .. }) { self.content } else { 0 }
    }

    /// Lets go of content that the log holds too. Returns how many bytes that frees.
    fn forget_content(&mut self) -> usize {
        let fresh = self.fresh();
        if let Item::Logged { record, .. } = &mut self.entry.item {
            *record = None;
        }
        fresh
    }
}

/// About what a tree takes in memory, or written: names, values and texts, and something for each part.
fn weight(element: &Element) -> usize {
    const PART: usize = 48;
    let attrs = element.attrs().iter().map(|attr| {
        attr.name()
            .len()
            .saturating_add(attr.ns().len())
            .saturating_add(attr.value().len())
            .saturating_add(PART)
    });
    let nodes = element.nodes().iter().map(|node| match node {
        Node::Element(child) => weight(child),
        Node::Text(text) => text.len().saturating_add(PART),
    });
    let own = element.name().len().saturating_add(element.ns().len()).saturating_add(PART);
    attrs.chain(nodes).fold(own, usize::saturating_add)
}

/// What the connection finds when it wants to write.
#[derive(Debug)]
pub enum Next<'a> {
    /// Write this, then call [`Outbox::wrote`].
    Write(&'a Entry),
    /// The content of these positions has to be read from the log first.
    Read(Vec<LogPosition>),
    /// Nothing can be written at the moment.
    Wait,
}

/// Why an acknowledgement is wrong (XEP-0198 §4, `handled-count-too-high`).
#[derive(Debug, PartialEq, Eq)]
pub struct HandledTooHigh {
    pub handled: u32,
    pub sent: u32,
}

/// The queue of one session.
#[derive(Debug, Default)]
pub struct Outbox {
    entries: VecDeque<Queued>,
    /// How many of `entries` were written.
    written: usize,
    /// Stanzas acknowledged since stream management was enabled: the number of the entry before the front.
    acknowledged: u32,
    /// Entries stay until they are acknowledged.
    counted: bool,
    /// What the log cannot give back, in bytes,
    bytes: usize,
    /// and what it can.
    fresh: usize,
}

impl Outbox {
    /// Appends an entry and returns the number that XEP-0198 gives it.
    pub fn push(&mut self, entry: Entry) -> u32 {
        let number = self.next_number();
        let mut queued = Queued::new(entry);
        let waiting = self.entries.len().saturating_sub(self.written);
        let fresh_max = match waiting {
            0 => usize::MAX,
            1..SOON => SOON_BYTES_MAX,
            _ => FRESH_BYTES_MAX,
        };
        if self.fresh.saturating_add(queued.fresh()) > fresh_max {
            queued.forget_content();
        }
        self.bytes = self.bytes.saturating_add(queued.bytes);
        self.fresh = self.fresh.saturating_add(queued.fresh());
        self.entries.push_back(queued);
        number
    }

    /// From now on entries are counted and kept (XEP-0198 §3). Nothing that was written before counts.
    pub fn start_counting(&mut self) {
        self.counted = true;
        self.acknowledged = 0;
    }

    /// What comes next.
    pub fn next(&self, durable: Ticket) -> Next<'_> {
        match self.entries.get(self.written).map(|queued| &queued.entry) {
            Some(entry) if entry.ticket > durable => Next::Wait,
            Some(entry) if matches!(entry.item, Item::Logged { record: None, .. }) => {
                Next::Read(self.missing(durable))
            }
            Some(entry) => Next::Write(entry),
            None => Next::Wait,
        }
    }

    /// The entry at the write cursor is on its way. Returns how far the device has the log, where that is
    /// settled by writing alone.
    pub fn wrote(&mut self) -> Option<LogPosition> {
        if self.counted {
            if self.fresh > FRESH_BYTES_MAX / 2
                && let Some(queued) = self.entries.get_mut(self.written)
            {
                self.fresh = self.fresh.saturating_sub(queued.forget_content());
            }
            self.written = self.written.saturating_add(1).min(self.entries.len());
            return None;
        }
        self.pop_front().and_then(|entry| entry.covers)
    }

    /// `<a h='handled'/>`: removes what the device has. Returns how far that is in the log.
    pub fn acknowledge(&mut self, handled: u32) -> Result<Option<LogPosition>, HandledTooHigh> {
        let newly = handled.wrapping_sub(self.acknowledged) as usize;
        if newly > self.written {
            let sent = self.acknowledged.wrapping_add(u32::try_from(self.written).unwrap_or(u32::MAX));
            return Err(HandledTooHigh { handled, sent });
        }
        let mut covers = None;
        for _ in 0..newly {
            let entry = self.pop_front();
            covers = covers.max(entry.and_then(|entry| entry.covers));
        }
        self.written = self.written.saturating_sub(newly);
        self.acknowledged = handled;
        Ok(covers)
    }

    /// A resumed stream: all that was not acknowledged is written again.
    pub fn rewind(&mut self) {
        self.written = 0;
    }

    /// Puts the content of positions that [`Next::Read`] asked for in its place, as much as there is room for, and that
    /// of the first in any case. What the log does not have any more is dropped from the queue.
    pub fn fill(&mut self, records: &[(LogPosition, Arc<MessageRecord>)], asked: &[LogPosition]) {
        let mut lost = Vec::new();
        let mut left = asked.len();
        let mut filled: usize = 0;
        for (index, queued) in self.entries.iter_mut().enumerate().skip(self.written) {
            if left == 0 {
                break;
            }
            let Item::Logged { position, record, .. } = &mut queued.entry.item else { continue };
            if record.is_some() || !asked.contains(position) {
                continue;
            }
            left = left.saturating_sub(1);
            let found = records.binary_search_by_key(position, |(at, _)| *at).ok();
            let Some((_, found)) = found.and_then(|found| records.get(found)) else {
                lost.push(index);
                continue;
            };
            queued.content = content_bytes(found);
            if filled == 0 || filled.saturating_add(queued.content) <= SOON_BYTES_MAX {
                *record = Some(found.clone());
                filled = filled.saturating_add(queued.content);
            }
        }
        self.fresh = self.fresh.saturating_add(filled);
        for index in lost.into_iter().rev() {
            let lost = self.entries.remove(index);
            self.bytes = self.bytes.saturating_sub(lost.map_or(0, |lost| lost.bytes));
        }
    }

    /// The number that the next entry gets.
    pub fn next_number(&self) -> u32 {
        let queued = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.acknowledged.wrapping_add(queued).wrapping_add(1)
    }

    /// Stanzas that were written and not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.written
    }

    /// The XEP-0198 number of the last acknowledged entry.
    pub fn acknowledged(&self) -> u32 {
        self.acknowledged
    }

    /// About the bytes that the queue takes, but for what the log can give back.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Entries that were not written, or not acknowledged.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|queued| &queued.entry)
    }

    /// Takes the queue up again after a restart of the server. Any of the entries may have been written, until
    /// [`rewind`](Self::rewind) begins anew.
    pub fn restore(acknowledged: u32, entries: Vec<Entry>) -> Self {
        let mut outbox = Self { acknowledged, counted: true, ..Self::default() };
        for entry in entries {
            outbox.push(entry);
        }
        outbox.written = outbox.entries.len();
        outbox
    }

    /// Positions without content from the write cursor on, as many as are read at once.
    fn missing(&self, durable: Ticket) -> Vec<LogPosition> {
        let waiting = self.entries.iter().skip(self.written);
        let durable = waiting.take_while(|queued| queued.entry.ticket <= durable);
        let missing = durable.filter_map(|queued| match queued.entry.item {
            Item::Logged { position, record: None, .. } => Some((position, queued.content)),
            Item::Logged { .. } | Item::Stanza { .. } | Item::Text(_) | Item::Shared { .. } => None,
        });
        let mut bytes: usize = 0;
        let fits = |(_, content): &(LogPosition, usize)| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(*content);
            is_first || bytes <= SOON_BYTES_MAX
        };
        missing.take(READ_MAX).take_while(fits).map(|(position, _)| position).collect()
    }

    fn pop_front(&mut self) -> Option<Entry> {
        let queued = self.entries.pop_front()?;
        self.bytes = self.bytes.saturating_sub(queued.bytes);
        self.fresh = self.fresh.saturating_sub(queued.fresh());
        if self.entries.is_empty() {
            // An idle device keeps no buffer.
            self.entries = VecDeque::new();
            (self.bytes, self.fresh) = (0, 0);
        }
        Some(queued.entry)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]
    use super::*;

    /// An entry that holds no content.
    fn emptied(n: i64) -> Entry {
        let position = LogPosition(n);
        let item = Item::Logged { position, record: None, form: Form::Original, late: false };
        Entry { covers: Some(position), ..Entry::new(item, Ticket::NONE) }
    }

    fn entry(ticket: u64, covers: i64) -> Entry {
        let item = Item::Text(format!("<message id='{covers}'/>").into());
        Entry { covers: Some(LogPosition(covers)), ..Entry::new(item, Ticket(ticket)) }
    }

    fn write_all(outbox: &mut Outbox, durable: u64) -> usize {
        let mut count = 0;
        while let Next::Write(_) = outbox.next(Ticket(durable)) {
            outbox.wrote();
            count += 1;
        }
        count
    }

    #[test]
    fn nothing_is_written_before_it_is_durable() {
        let mut outbox = Outbox::default();
        outbox.push(entry(0, 1));
        outbox.push(entry(5, 2));
        outbox.push(entry(0, 3)); // waits behind the entry before it: the order is kept
        assert_eq!(write_all(&mut outbox, 4), 1);
        assert_eq!(write_all(&mut outbox, 5), 2);
    }

    #[test]
    fn without_stream_management_writing_settles() {
        let mut outbox = Outbox::default();
        outbox.push(entry(0, 7));
        assert_eq!(outbox.wrote(), Some(LogPosition(7)));
        assert_eq!(outbox.entries().count(), 0);
    }

    #[test]
    fn an_acknowledgement_trims_and_a_resumption_writes_the_rest_again() {
        let mut outbox = Outbox::default();
        outbox.start_counting();
        for n in 1..=5 {
            assert_eq!(outbox.push(entry(0, n)), u32::try_from(n).unwrap());
        }
        assert_eq!(write_all(&mut outbox, 0), 5);
        assert_eq!(outbox.acknowledge(2), Ok(Some(LogPosition(2))));
        assert_eq!(outbox.acknowledge(2), Ok(None));
        outbox.rewind();
        assert_eq!(write_all(&mut outbox, 0), 3);
        assert_eq!(outbox.acknowledge(5), Ok(Some(LogPosition(5))));
    }

    #[test]
    fn a_wrong_acknowledgement_is_refused_and_changes_nothing() {
        let mut outbox = Outbox::default();
        outbox.start_counting();
        outbox.push(entry(0, 1));
        outbox.push(entry(9, 2));
        assert_eq!(write_all(&mut outbox, 0), 1);
        for handled in [2, 3, u32::MAX] {
            assert_eq!(outbox.acknowledge(handled), Err(HandledTooHigh { handled, sent: 1 }));
        }
        assert_eq!(outbox.acknowledge(1), Ok(Some(LogPosition(1))));
        assert_eq!(outbox.acknowledge(0), Err(HandledTooHigh { handled: 0, sent: 1 }));
    }

    #[test]
    fn numbers_wrap_as_the_specification_says() {
        let mut outbox = Outbox::restore(u32::MAX, vec![entry(0, 1), entry(0, 2)]);
        outbox.rewind();
        assert_eq!(write_all(&mut outbox, 0), 2);
        assert_eq!(outbox.acknowledge(1), Ok(Some(LogPosition(2))));
    }

    #[test]
    fn after_a_restart_a_client_may_have_any_of_it() {
        let restored = || Outbox::restore(7, vec![entry(0, 1), entry(0, 2)]);
        for (handled, covers, left) in
            [(7, None, 2), (8, Some(LogPosition(1)), 1), (9, Some(LogPosition(2)), 0)]
        {
            let mut outbox = restored();
            assert_eq!(outbox.acknowledge(handled), Ok(covers));
            outbox.rewind();
            assert_eq!(write_all(&mut outbox, 0), left);
        }
        assert_eq!(restored().acknowledge(10), Err(HandledTooHigh { handled: 10, sent: 9 }));
    }

    #[test]
    fn content_that_the_log_has_is_asked_for_again() {
        let mut outbox = Outbox::restore(0, vec![emptied(1), emptied(2)]);
        outbox.rewind();
        let Next::Read(asked) = outbox.next(Ticket(0)) else { panic!("wants to read") };
        assert_eq!(asked, [LogPosition(1), LogPosition(2)]);
        outbox.fill(&[], &asked); // both were purged
        assert!(matches!(outbox.next(Ticket(0)), Next::Wait));
    }

    #[test]
    fn a_stanza_counts_with_its_size_and_is_forgotten_with_it() {
        let mut outbox = Outbox::default();
        let element = Element::builder("iq", "jabber:client").text("x".repeat(100_000)).build();
        outbox.push(Entry::stanza(element));
        assert!(outbox.bytes() > 100_000);
        write_all(&mut outbox, 0);
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn bytes_are_right_through_refills_and_acknowledgements() {
        let mut outbox = Outbox::restore(0, (1..=3).map(emptied).collect());
        outbox.rewind();
        let before = outbox.bytes();
        let Next::Read(asked) = outbox.next(Ticket(0)) else { panic!("wants to read") };
        outbox.fill(&[(LogPosition(2), Arc::new(record()))], &asked);
        assert_eq!(outbox.entries().count(), 1);
        assert!(outbox.bytes() < before + record().payload.text().len() + 200);
        assert_eq!(write_all(&mut outbox, 0), 1);
        assert_eq!(outbox.acknowledge(1), Ok(Some(LogPosition(2))));
        assert_eq!(outbox.bytes(), 0);
    }

    fn record() -> MessageRecord {
        MessageRecord {
            from: "alice@example.org/phone".parse().unwrap(),
            to: "bob@example.org".parse().unwrap(),
            id: None,
            kind: crate::stanza::MessageType::Chat,
            lang: None,
            payload: crate::record::Payload::from_text("<body>hi</body>"),
            sent: None,
            received: None,
            origin: None,
            speaks: false,
            fingerprint: 0,
        }
    }
}
