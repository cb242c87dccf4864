//! A page of results (§4.2 and §4.3), from the store to the wire.

use std::sync::Arc;

use unisono_core::account::Cell;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Reply, Request};
use unisono_core::hub::{Hub, SessionRef};
use unisono_core::ids::{LogPosition, Ticket};
use unisono_core::jid::{BareJid, FullJid, Jid};
use unisono_core::outbox::Item;
use unisono_core::render::{Delay, Renderer};
use unisono_core::stanza::{NS_CLIENT, write_head};
use unisono_core::storage::{LogEntry, LogPage, LogQuery, StoreError};
use unisono_xml::{Element, escape_attr_into};

use super::NS;
use super::query::Query;
use crate::xep0059_result_sets::Page;
use crate::xep0297_forwarding as forwarding;

/// §4: the results, and then that they were all.
pub(super) async fn answer(request: Request) -> Answer {
    let hub = &request.hub;
    let cell = request.account.as_ref().ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let origin = request.session.as_ref().ok_or(StanzaError::new(Condition::Forbidden))?;
    let query = Query::parse(&request.payload, &|id| hub.position(cell.id, id))?;
    let head = cell.lock().head();
    // COMPAT(Profanity 0.13): looks up conversations here and waits for offline messages all the same.
    let is_catch_up = query.is_catch_up();
    if is_catch_up {
        hub.asks_archive(origin);
    }
    hub.settled(cell).await;

    let log = Log { hub, cell, query: &query };
    let read = log.page().await?;
    let ticket = if is_catch_up { hub.pages_archive(origin) } else { Ticket::NONE };
    let count = log.count(&read).await?;
    // A device takes a few such pages before it is too far behind.
    let bytes_max = hub.settings.outbox_bytes_max / 4;
    let renderer = hub.renderer(cell);
    let opening = Opening::new(&query, &cell.jid, &origin.jid);
    let shown = Shown::render(&read, &query, &renderer, &opening, bytes_max);

    let covers = covered(hub, origin, &query, &shown, head);
    let fin = shown.fin(&renderer, count);
    Ok(Reply { before: shown.results, covers, ticket, ..Reply::with(fin) })
}

/// How far the asking device has the log, if with this page it was shown all that it missed: forwards to the end, or
/// back from there.
fn covered(
    hub: &Hub,
    origin: &SessionRef,
    query: &Query,
    shown: &Shown<'_>,
    head: LogPosition,
) -> Option<LogPosition> {
    let end = shown.entries.last().map_or(head, |last| last.position.max(head));
    let cursor = cursor_of(origin);
    let is_whole = shown.is_complete && query.begins_by(cursor) && query.index.is_none_or(|index| index == 0);
    if !query.from_end {
        if query.is_catch_up() && query.index.is_none() {
            let last = shown.entries.last().map(|last| last.position);
            let upto = if shown.is_complete && query.reaches_end() { Some(end) } else { last };
            let from = query.since.max(query.after).unwrap_or(LogPosition::START);
            if let Some(upto) = upto {
                hub.shown_on(origin, from, upto);
            }
        }
        return (is_whole && query.reaches_end()).then_some(end);
    }
    let first = shown.entries.first().map_or(end, |first| first.position);
    let end = query.is_catch_up().then(|| hub.shown_back(origin, first, query.newest(), end)).flatten();
    end.filter(|_| is_whole || first <= cursor)
}

/// How far the asking device has the log.
fn cursor_of(origin: &SessionRef) -> LogPosition {
    let account = origin.cell.lock();
    let device = account.session(origin.id).and_then(|session| account.device(session.device()));
    device.map_or(LogPosition::START, |device| device.cursor)
}

/// How many results there are, and where the page lies among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) all: u64,
    pub(super) index: Option<u64>,
}

/// XEP-0059 §2.6: what is not counted has no indexes.
const UNCOUNTED: StanzaError = StanzaError::new(Condition::FeatureNotImplemented);

/// The log that is asked.
struct Log<'a> {
    hub: &'a Arc<Hub>,
    cell: &'a Arc<Cell>,
    query: &'a Query,
}

impl Log<'_> {
    async fn page(&self) -> Result<LogPage, StanzaError> {
        let mut wanted = self.query.in_log();
        if let Some(index) = self.query.index {
            if self.query.with.as_ref().is_some_and(Jid::is_full) {
                return Err(UNCOUNTED);
            }
            let one = LogQuery { limit: 1, ..wanted.clone() };
            let total = self.hub.store.page(self.cell.id, &one).await?.count;
            let total = total.ok_or(UNCOUNTED)?;
            match self.before_index(index as u64, total).await? {
                Some(before) => wanted.after = wanted.after.max(Some(before)),
                None => return Ok(LogPage { complete: true, count: Some(total), ..LogPage::default() }),
            }
        }
        Ok(self.hub.store.page(self.cell.id, &wanted).await?)
    }

    /// XEP-0059 §2.2 counts what the query's form lets through; the store counts the log. `None` where a client named
    /// its results.
    async fn count(&self, page: &LogPage) -> Result<Option<Count>, StoreError> {
        let Query { since, until, .. } = *self.query;
        let Some(total) = page.count else { return Ok(None) };
        if since.is_none() && until.is_none() {
            return Ok(Some(Count { all: total, index: page.index }));
        }
        let starts = self.query.after.is_none() && self.query.before.is_none() && self.query.index.is_none();
        if starts && page.complete {
            let all = page.entries.len() as u64;
            return Ok(Some(Count { all, index: (all > 0).then_some(0) }));
        }
        let (first, end) = self.range(total).await?;
        let index = page.index.map(|index| index.saturating_sub(first));
        Ok(Some(Count { all: end.saturating_sub(first), index }))
    }

    /// The places of the form's range in the log: its first, and the first behind it.
    async fn range(&self, total: u64) -> Result<(u64, u64), StoreError> {
        let first = match self.query.since {
            Some(since) => self.place_after(since).await?.unwrap_or(total),
            None => 0,
        };
        let end = match self.query.until {
            Some(until) => self.place_after(LogPosition(until.0.saturating_sub(1))).await?.unwrap_or(total),
            None => total,
        };
        Ok((first, end))
    }

    /// The place in the log of the first entry after a position.
    async fn place_after(&self, position: LogPosition) -> Result<Option<u64>, StoreError> {
        let next = LogQuery {
            after: Some(position),
            with: self.query.with.clone(),
            limit: 1,
            counted: true,
            ..LogQuery::default()
        };
        Ok(self.hub.store.page(self.cell.id, &next).await?.index)
    }

    /// XEP-0059 §2.6: a position right before the result of this index; `None` if there are not so many. Halves the
    /// archive until it is found, so that the cost grows with its logarithm.
    async fn before_index(&self, index: u64, total: u64) -> Result<Option<LogPosition>, StoreError> {
        let Some((oldest, newest)) = self.hub.store.bounds(self.cell.id).await? else { return Ok(None) };
        let (first, end) = self.range(total).await?;
        let place = first.saturating_add(index);
        if place >= end {
            return Ok(None);
        }
        let (mut below, mut above) = (oldest.0.saturating_sub(1), newest.0);
        while above.saturating_sub(below) > 1 {
            let middle = below.midpoint(above);
            match self.place_after(LogPosition(middle)).await? {
                Some(found) if found == place => return Ok(Some(LogPosition(middle))),
                Some(found) if found < place => below = middle,
                Some(_) | None => above = middle,
            }
        }
        Ok(Some(LogPosition(below)))
    }
}

/// What all results of a page begin with.
pub(super) struct Opening(Vec<u8>);

impl Opening {
    pub(super) fn new(query: &Query, owner: &BareJid, to: &FullJid) -> Self {
        let mut out = Vec::with_capacity(200);
        write_head(&mut out, "message", &[("from", Some(owner.as_str())), ("to", Some(to.as_str()))]);
        out.extend_from_slice(b"><result xmlns='");
        out.extend_from_slice(NS.as_bytes());
        if let Some(id) = &query.id {
            out.extend_from_slice(b"' queryid='");
            escape_attr_into(&mut out, id);
        }
        out.extend_from_slice(b"' id='");
        Self(out)
    }
}

/// The part of what was read that goes out.
pub(super) struct Shown<'a> {
    /// Oldest first.
    pub(super) entries: &'a [LogEntry],
    /// In the order in which they go out.
    pub(super) results: Vec<Item>,
    pub(super) is_complete: bool,
    /// Entries that were read before the first of these.
    skipped: usize,
    /// Where the client goes on, if there is no result to go on from.
    searched_to: Option<LogPosition>,
}

impl<'a> Shown<'a> {
    /// Writes the results, those that the client asked for first until they are as many bytes as it may have at once.
    pub(super) fn render(
        read: &'a LogPage,
        query: &Query,
        renderer: &Renderer<'_>,
        opening: &Opening,
        bytes_max: usize,
    ) -> Self {
        let entries = if query.max == 0 { &[] } else { read.entries.as_slice() };
        let mut results = Vec::with_capacity(entries.len());
        let mut text = Vec::with_capacity(2_048);
        let mut bytes = 0_usize;
        let mut is_room = |entry: &LogEntry, results: &mut Vec<Item>| {
            text.clear();
            write_result(&mut text, entry, renderer, opening);
            bytes = bytes.saturating_add(text.len());
            let is_room = results.is_empty() || bytes <= bytes_max;
            if is_room {
                results.push(Item::Text(str::from_utf8(&text).unwrap_or_default().into()));
            }
            is_room
        };
        let split = if query.from_end {
            entries.iter().rev().position(|entry| !is_room(entry, &mut results))
        } else {
            entries.iter().position(|entry| !is_room(entry, &mut results))
        };
        let shown = split.unwrap_or(entries.len());
        let left_out = entries.len().saturating_sub(shown);
        let entries = if query.from_end { entries.get(left_out..) } else { entries.get(..shown) };
        // §4.3.4: in reverse, seen from the order of the archive.
        if query.from_end != query.flipped {
            results.reverse();
        }
        let is_all = left_out == 0 && (query.max > 0 || read.entries.is_empty());
        Self {
            entries: entries.unwrap_or_default(),
            results,
            is_complete: read.complete && is_all,
            skipped: if query.from_end { left_out } else { 0 },
            searched_to: read.searched_to.filter(|_| read.entries.is_empty() && query.max > 0),
        }
    }

    /// §4.3.2
    pub(super) fn fin(&self, renderer: &Renderer<'_>, count: Option<Count>) -> Element {
        let id = |entry: Option<&LogEntry>| {
            entry.map(|entry| entry.position).or(self.searched_to).map(|position| renderer.id(position))
        };
        let ends = (id(self.entries.first()), id(self.entries.last()));
        let page = Page {
            ends: ends.0.as_deref().zip(ends.1.as_deref()),
            index: count.and_then(|count| count.index?.checked_add(self.skipped as u64)),
            count: count.map(|count| count.all),
        };
        Element::builder("fin", NS)
            .attr_opt("complete", self.is_complete.then_some("true"))
            .child(page.to_element())
            .build()
    }
}

/// §4.2: one result.
fn write_result(out: &mut Vec<u8>, entry: &LogEntry, renderer: &Renderer<'_>, opening: &Opening) {
    out.extend_from_slice(&opening.0);
    out.extend_from_slice(renderer.id(entry.position).as_bytes());
    out.extend_from_slice(b"'>");
    forwarding::write(out, entry.position.0, |out| {
        renderer.message(out, &entry.record, Some(NS_CLIENT), Delay::Elsewhere);
    });
    out.extend_from_slice(b"</result></message>");
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]
    use unisono_core::extension::Registry;
    use unisono_core::record::{Direction, Keep, MessageRecord, Place};
    use unisono_core::seal::Seal;

    use super::*;
    use crate::testing::{ALICE, element, record};

    /// Something that renders alice's archive.
    struct World {
        registry: Registry,
        ids: Seal,
        owner: BareJid,
        device: FullJid,
    }

    impl World {
        fn new() -> Self {
            Self {
                registry: Registry::new(crate::ALL),
                ids: Seal::new(&[7; 32]),
                owner: "alice@example.org".parse().unwrap(),
                device: "alice@example.org/phone".parse().unwrap(),
            }
        }

        fn renderer(&self) -> Renderer<'_> {
            Renderer { registry: &self.registry, ids: &self.ids, account: ALICE, owner: &self.owner }
        }

        fn id(&self, position: i64) -> String {
            self.renderer().id(LogPosition(position)).to_string()
        }

        fn shown<'a>(&self, read: &'a LogPage, query: &Query, bytes_max: usize) -> Shown<'a> {
            let opening = Opening::new(query, &self.owner, &self.device);
            Shown::render(read, query, &self.renderer(), &opening, bytes_max)
        }
    }

    fn entry(position: i64) -> LogEntry {
        let position = LogPosition(position);
        let place = Place { account: ALICE, position, keep: Keep::Archive, deliveries: Vec::new() };
        let record = MessageRecord { sent: Some(place), ..record("chat", "<body>hi &amp; bye</body>") };
        LogEntry { position, direction: Direction::Sent, record: Arc::new(record) }
    }

    fn read(positions: impl IntoIterator<Item = i64>, complete: bool) -> LogPage {
        LogPage {
            entries: positions.into_iter().map(entry).collect(),
            complete,
            count: Some(80),
            index: Some(20),
            searched_to: None,
        }
    }

    fn query() -> Query {
        Query { max: 50, ..Query::default() }
    }

    fn text(item: &Item) -> &str {
        let Item::Text(text) = item else { panic!("a result is written once: {item:?}") };
        text
    }

    #[test]
    fn a_result_is_the_message_as_it_was() {
        let world = World::new();
        let read = read([1_278_803_305_000_000], true);
        let id = world.id(1_278_803_305_000_000);
        for (queryid, attribute) in [
            (None, ""),
            (Some("f27".to_owned()), " queryid='f27'"),
            (Some("'<".into()), " queryid='&apos;&lt;'"),
        ] {
            let query = Query { id: queryid, ..query() };
            let shown = world.shown(&read, &query, usize::MAX);
            let [result] = shown.results.as_slice() else { panic!("one result") };
            let expected = format!(
                "<message from='alice@example.org' to='alice@example.org/phone'>\
                 <result xmlns='urn:xmpp:mam:2'{attribute} id='{id}'>\
                 <forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2010-07-10T23:08:25.000000Z'/>\
                 <message xmlns='jabber:client' from='alice@example.org/phone' to='bob@example.org' type='chat' id='m1'>\
                 <body>hi &amp; bye</body><stanza-id xmlns='urn:xmpp:sid:0' by='alice@example.org' id='{id}'/></message>\
                 </forwarded></result></message>"
            );
            assert_eq!(text(result), expected);
        }
    }

    #[test]
    fn the_order_of_results_and_where_a_large_page_is_cut() {
        let world = World::new();
        let one = text(&world.shown(&read([1], true), &query(), usize::MAX).results[0]).len();
        for (from_end, flipped, results, bytes_max, order, is_complete) in [
            (false, false, 4, usize::MAX, vec![1, 2, 3, 4], true),
            (false, true, 4, usize::MAX, vec![4, 3, 2, 1], true), // §4.3.4
            (true, false, 4, usize::MAX, vec![1, 2, 3, 4], true), // §4.3.3
            (true, true, 4, usize::MAX, vec![4, 3, 2, 1], true),
            (false, false, 4, one * 2, vec![1, 2], false), // §4.3.1
            (false, true, 4, one * 2, vec![2, 1], false),
            (true, false, 4, one * 2, vec![3, 4], false),
            (true, true, 4, one * 2, vec![4, 3], false),
            (false, false, 4, one * 3 - 1, vec![1, 2], false),
            (false, false, 4, 0, vec![1], false), // one always goes out
            (true, false, 4, 0, vec![4], false),
            (true, false, 0, 0, vec![], true),
        ] {
            let read = read(1..=results, true);
            let query = Query { from_end, flipped, ..query() };
            let shown = world.shown(&read, &query, bytes_max);
            let ids: Vec<_> = order.iter().map(|position| format!("id='{}'", world.id(*position))).collect();
            assert_eq!(shown.results.len(), ids.len());
            for (result, id) in shown.results.iter().zip(&ids) {
                assert!(text(result).contains(id), "{order:?}");
            }
            assert_eq!(shown.is_complete, is_complete, "{order:?}");
            let fin = shown
                .fin(&world.renderer(), Some(Count { all: 80, index: read.index.filter(|_| results > 0) }));
            let (Some(first), Some(last)) = (order.iter().min(), order.iter().max()) else {
                assert_eq!(
                    fin,
                    element(
                        "<fin xmlns='urn:xmpp:mam:2' complete='true'><set xmlns='http://jabber.org/protocol/rsm'><count>80</count></set></fin>"
                    )
                );
                continue;
            };
            // §4.3.2: the oldest is the first, whatever the order.
            let complete = if is_complete { " complete='true'" } else { "" };
            let expected = format!(
                "<fin xmlns='urn:xmpp:mam:2'{complete}><set xmlns='http://jabber.org/protocol/rsm'>\
                 <first index='{}'>{}</first><last>{}</last><count>80</count></set></fin>",
                20 + first - 1,
                world.id(*first),
                world.id(*last),
            );
            assert_eq!(fin, element(&expected), "{order:?}");
        }
    }

    /// A search that ended before it found anything says where to go on; else a client would think that it has all, or
    /// ask the same for ever.
    #[test]
    fn a_search_that_ended_says_where() {
        let world = World::new();
        for (entries, max, ends) in
            [(vec![], 50, Some((7, 7))), (vec![3, 5], 50, Some((3, 5))), (vec![], 0, None)]
        {
            let read = LogPage { searched_to: Some(LogPosition(7)), count: None, ..read(entries, false) };
            let fin = world.shown(&read, &Query { max, ..query() }, usize::MAX).fin(&world.renderer(), None);
            let ends = ends.map_or(String::new(), |(first, last)| {
                format!("<first>{}</first><last>{}</last>", world.id(first), world.id(last))
            });
            let expected = format!(
                "<fin xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'>{ends}</set></fin>"
            );
            assert_eq!(fin, element(&expected));
        }
    }

    #[test]
    fn a_page_of_nothing_tells_how_much_there_is() {
        let world = World::new();
        for (entries, complete) in [(vec![1], false), (vec![], true)] {
            let read = read(entries, true);
            let query = Query { max: 0, ..query() };
            let shown = world.shown(&read, &query, usize::MAX);
            assert!(shown.results.is_empty() && shown.entries.is_empty());
            assert_eq!(shown.is_complete, complete, "XEP-0059 §2.7");
        }
        // A page that the store cut is not complete, whatever is left out here.
        assert!(!world.shown(&read([1, 2], false), &query(), usize::MAX).is_complete);
        let fin = world.shown(&read([], false), &query(), usize::MAX).fin(&world.renderer(), None);
        assert_eq!(
            fin,
            element("<fin xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'/></fin>")
        );
    }
}
