//! # XEP-0490: Message Displayed Synchronization
//!
//! Follows 1.0.1 (2024-11-20). How far the owner of an account has read each conversation, the same on all devices.
//!
//! - Stages: `annotate` (§4.5.3: what is for the server is taken out), `record` (the position moves in the commit of the
//!   message that moves it); a rule of the node. State: a position of the log for each conversation, and its item.
//! - Ours: a position moves forward only, in the order of the log (promise P5). Who publishes an older one learns the newer:
//!   the item keeps it, and is told again. The position follows displayed markers (XEP-0333) that any device sends to a
//!   contact. It follows what the owner writes, too, up to the last message that the writing device has acknowledged, as
//!   soon as some client of the account uses the node. What a room counts has an order that only the room knows: the last
//!   that is published stays.
//! - A node that others may read is left alone by what is no publication (§7).
//! - What is left of a message that assists goes on, be it nothing: the text says that it is processed normally (§4.5.3), and
//!   that stanzas are not dropped (§10.2). A client does not send such a message.
//! - Left out: a device that knows markers alone is not told of what is published, since nobody sent a marker (§7: the
//!   contact is not to learn it).

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use unisono_core::account::Account;
use unisono_core::error::StanzaError;
use unisono_core::extension::{Child, Entity, Extension, Following, KeyedState, Registry, Spec};
use unisono_core::hub::{Hub, SessionRef, Settings};
use unisono_core::ids::LogPosition;
use unisono_core::jid::{BareJid, Jid};
use unisono_core::record::{Direction, Keep, Payload};
use unisono_core::session::Session;
use unisono_core::stanza::{Message, NS_CLIENT, NS_STANZA_IDS};
use unisono_core::storage::{BoxFuture, LogQuery, ReadUpto, StoreError, Write};
use unisono_xml::Element;

use crate::xep0060_pubsub::{
    Action, Change, Publication, Rule, Scene, has_node, invalid_payload, is_private, know, knows_items,
    publish_within,
};
use crate::xep0280_carbons::NS_MUC_USER;
use crate::{xep0333_markers, xep0380_encryption, xep0444_reactions};

pub const NS: &str = "urn:xmpp:mds:displayed:0";
pub const NS_ASSIST: &str = "urn:xmpp:mds:server-assist:0"; // §4.5.2

/// How the node is made that nobody has made yet (§5.2, §7, XEP-0223).
const OPTIONS: &[(&str, &str)] = &[
    ("pubsub#persist_items", "true"),
    ("pubsub#max_items", "max"),
    ("pubsub#send_last_published_item", "never"),
    ("pubsub#access_model", "whitelist"),
];
/// Conversations of an account with a position; with one more, that goes which was read longest ago.
const CONVERSATIONS_MAX: usize = 10_000;
/// Bytes of the name of a conversation that has one: that of an item (XEP-0060).
const KEY_BYTES_MAX: usize = 1_023;
/// Bytes of all names together. With more, it is as with too many.
const KEYS_BYTES_MAX: usize = 256 * 1024;
/// Messages of a conversation that are remembered to find what a marker names.
const RECENT_MAX: usize = 8;
/// Entries that are read at once to find one that is not remembered,
const READ_MAX: usize = 50;
/// and how often. A marker for an older one is none that anybody waits for.
const READS_MAX: u32 = 40;
/// A session may make the server read so often at once,
const SESSION_READS_MAX: u32 = 120;
/// and once more each time that this has passed. A message that was received lately is found by the first.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Messages that a session named and that are not there, as far as they are remembered.
const MISSED_MAX: usize = 64;

pub struct DisplayedSync;

impl Extension for DisplayedSync {
    fn spec(&self) -> Spec {
        Spec::xep(490, "1.0.1")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::OwnAccount, NS_ASSIST);
        on.keyed_state::<Reading>();
        on.annotate(take);
        on.prepare(prepare);
        on.follow(follow);
    }
}

/// Up to where a conversation was read by the owner of the account, as far as that is known: on some device, or by an
/// answer. A conversation is named as in §4.1.
pub fn displayed(account: &Account, conversation: &str) -> Option<LogPosition> {
    account.keyed::<Reading>(conversation)?.displayed
}

/// What is known of reading one conversation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Reading {
    displayed: Option<LogPosition>,
    /// The last messages that were received behind that, oldest first, each with the hash of its id.
    recent: Vec<(u64, LogPosition)>,
    /// There are no others than `recent` among the last that were received.
    is_known: bool,
    /// An older one that was looked for.
    found: Option<(u64, LogPosition)>,
}

impl KeyedState for Reading {
    const KIND: &'static str = "displayed";

    fn decode(text: &str) -> Option<Self> {
        Some(Self { displayed: Some(LogPosition(text.parse().ok()?)), ..Self::default() })
    }

    fn encode(&self) -> String {
        self.displayed.unwrap_or(LogPosition::START).0.to_string()
    }
}

impl Reading {
    /// A message was received.
    fn received(&mut self, id: Option<u64>, position: LogPosition) {
        if self.recent.len() >= RECENT_MAX {
            self.recent.remove(0);
        }
        self.recent.push((id.unwrap_or(0), position));
    }

    /// The message of this id.
    fn find(&self, id: u64) -> Option<LogPosition> {
        let remembered = self.recent.iter().rev().chain(&self.found);
        remembered.into_iter().find(|(known, _)| *known == id).map(|(_, position)| *position)
    }

    /// The last message up to here.
    fn newest(&self, upto: LogPosition) -> Option<LogPosition> {
        self.recent.iter().rev().map(|(_, position)| *position).find(|position| *position <= upto)
    }

    /// What was read, oldest first, came before all that is remembered, or is the same.
    fn came_before(&mut self, read: Vec<(u64, LogPosition)>) {
        let first = self.recent.first().map(|(_, position)| *position);
        let older = read.into_iter().filter(|(_, position)| first.is_none_or(|first| *position < first));
        self.recent.splice(0..0, older);
        let over = self.recent.len().saturating_sub(RECENT_MAX);
        self.recent.drain(..over);
        self.is_known = true;
    }
}

/// What a session made the server look for.
#[derive(Default)]
struct Looked {
    /// What is not there: the hash of the conversation, and that of the id.
    missed: VecDeque<(u64, u64)>,
    /// When it may look for as much at once as at first.
    until: Duration,
}

impl Looked {
    fn has_missed(session: Option<&Session>, key: &str, id: u64) -> bool {
        let looked = session.and_then(|session| session.existing_state::<Self>());
        looked.is_some_and(|looked| looked.missed.contains(&(hash(key), id)))
    }

    /// How often the store may be read for it now: once in any case.
    fn reads(&self, now: Duration) -> u32 {
        let spent = self.until.saturating_sub(now).as_secs().checked_div(READ_EVERY.as_secs());
        let spent = u32::try_from(spent.unwrap_or(0)).unwrap_or(u32::MAX);
        SESSION_READS_MAX.saturating_sub(spent).clamp(1, READS_MAX)
    }

    /// It was read so often, and that was not found.
    fn has_read(&mut self, now: Duration, reads: u32, missed: Option<(&str, u64)>) {
        let all = READ_EVERY.saturating_mul(SESSION_READS_MAX);
        let until = self.until.max(now).saturating_add(READ_EVERY.saturating_mul(reads));
        self.until = until.min(now.saturating_add(all));
        if let Some((key, id)) = missed {
            if self.missed.len() >= MISSED_MAX {
                self.missed.pop_front();
            }
            self.missed.push_back((hash(key), id));
        }
    }
}

/// What a message of a device says of how far its owner has read.
enum Said<'a> {
    /// §4.5.3
    Assisted(&'a Element),
    /// XEP-0333, with the id of the message.
    Marker(&'a str),
    /// An answer.
    Reply,
}

impl<'a> Said<'a> {
    fn of(message: &'a Payload, taken: &'a [Element]) -> Option<Self> {
        let mut all = message.elements().iter().chain(taken);
        // What is malformed says nothing, and hides nothing.
        if let Some(element) = all.find(|child| is_well_formed(child)) {
            return Some(Self::Assisted(element));
        }
        if let Some(marker) = message.child("displayed", xep0333_markers::NS) {
            return marker.attr("id").map(Self::Marker);
        }
        (says_something(message) || xep0444_reactions::is_part(message)).then_some(Self::Reply)
    }
}

/// Whether devices show a message as one that can be read: no marker, no receipt, no exchange of keys.
fn says_something(payload: &Payload) -> bool {
    payload.has("body", NS_CLIENT) || payload.has("encryption", xep0380_encryption::NS)
}

/// §4.1: what names a conversation. An occupant of a room is somebody of its own.
pub(crate) fn conversation(peer: &Jid, payload: &Payload, settings: &Settings) -> CompactString {
    if payload.has("x", NS_MUC_USER) && !settings.serves(peer.domain()) {
        return peer.as_str().into();
    }
    peer.to_bare().as_str().into()
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    // None has the hash of those that have no id.
    hasher.finish().max(1)
}

/// Whether what the owner writes moves positions: some client wants to know, or has a part in it.
fn is_used(account: &Account) -> bool {
    has_node(account, NS) || account.sessions().any(|session| session.is_interested_in(NS))
}

/// §4.5.3: "MUST strip"
fn take(child: &Element, _: &Jid, _: &Settings) -> Child {
    if child.is("displayed", NS) { Child::Take } else { Child::Keep }
}

/// Reads what is not in memory: the last messages of the conversation, and which items the node has.
fn prepare(
    hub: &Arc<Hub>,
    origin: &SessionRef,
    message: &Message,
) -> Option<BoxFuture<'static, Result<(), StoreError>>> {
    let said = Said::of(&message.payload, &[])?;
    let to = message.header.to.as_ref().filter(|to| to.to_bare() != origin.cell.jid);
    let account = origin.cell.lock();
    let key = to.map(|to| conversation(to, &message.payload, account.settings())).unwrap_or_default();
    if key.len() > KEY_BYTES_MAX {
        return None;
    }
    let reading = account.keyed::<Reading>(&key);
    let is_known = reading.is_some_and(|reading| reading.is_known);
    let wanted = match said {
        Said::Marker(id) if to.is_some() && message.kind.is_conversation() => Some(hash(id)),
        Said::Assisted(_) | Said::Marker(_) | Said::Reply => None,
    };
    let looks_back = match said {
        Said::Assisted(_) => false,
        Said::Marker(_) => wanted.is_some_and(|id| {
            reading.is_none_or(|reading| reading.find(id).is_none())
                && !Looked::has_missed(account.session(origin.id), &key, id)
        }),
        Said::Reply => to.is_some() && message.kind.is_conversation() && !is_known && is_used(&account),
    };
    if !looks_back && (matches!(said, Said::Reply) || knows_items(&account, NS)) {
        return None;
    }
    drop(account);
    let (hub, origin) = (hub.clone(), origin.clone());
    let with = to.cloned().filter(|_| looks_back);
    Some(Box::pin(async move {
        if let Some(with) = with {
            look_back(&hub, &origin, &key, &with, wanted).await?;
        }
        know(&hub, &origin.cell, NS).await
    }))
}

/// Finds the last messages of a conversation, and one with this id, behind what was read.
async fn look_back(
    hub: &Hub,
    origin: &SessionRef,
    key: &CompactString,
    with: &Jid,
    wanted: Option<u64>,
) -> Result<(), StoreError> {
    let (cell, now) = (&origin.cell, hub.clock.elapsed());
    let (ticket, after, reads_max) = {
        let mut account = cell.lock();
        // From now on, what is received is remembered.
        let reading = account.keyed::<Reading>(key).cloned().unwrap_or_default();
        let after = reading.displayed;
        forget_unread(&mut account, key);
        account.hold_keyed(key, Some(reading));
        let looked = account.session_mut(origin.id).map(Session::state::<Looked>);
        let reads_max = looked.map_or(1, |looked| looked.reads(now));
        (account.last_ticket(), after, reads_max)
    };
    hub.store.wait(ticket).await;
    let with = if key.contains('/') { with.clone() } else { with.to_bare().into() };
    let mut query =
        LogQuery { with: Some(with), after, limit: READ_MAX, from_end: true, ..LogQuery::default() };
    let (mut read, mut found) = (Vec::new(), None);
    let (mut reads, mut is_all) = (0_u32, false);
    while reads < reads_max {
        reads = reads.saturating_add(1);
        let page = hub.store.page(cell.id, &query).await?;
        for entry in page.entries.iter().rev().filter(|entry| entry.direction == Direction::Received) {
            let id = entry.record.id.as_deref().map_or(0, hash);
            if found.is_none() && wanted == Some(id) {
                found = Some((id, entry.position));
            }
            if read.len() < RECENT_MAX && says_something(&entry.record.payload) {
                read.push((id, entry.position));
            }
        }
        let is_enough = match wanted {
            Some(_) => found.is_some(),
            None => read.len() >= RECENT_MAX,
        };
        query.before = page.searched_to.or(page.entries.first().map(|entry| entry.position));
        is_all = page.complete || query.before.is_none();
        if is_enough || is_all {
            break;
        }
    }
    read.reverse();
    let mut account = cell.lock();
    if let Some(session) = account.session_mut(origin.id) {
        let missed = wanted.filter(|_| found.is_none() && (is_all || reads == READS_MAX));
        session.state::<Looked>().has_read(now, reads, missed.map(|id| (key.as_str(), id)));
    }
    let mut reading = account.keyed::<Reading>(key).cloned().unwrap_or_default();
    reading.came_before(read);
    reading.found = found;
    account.hold_keyed(key, Some(reading));
    Ok(())
}

fn follow(following: &mut Following<'_>) {
    let record = following.record;
    let Some(origin) = following.origin else { return remember(following) };
    let is_to_oneself = following.direction == Direction::Received;
    let is_conversation = record.kind.is_conversation() && !is_to_oneself;
    let taken = following.taken;
    match Said::of(&record.payload, taken) {
        // §5.1: "the server will use the verbatim 'to' attribute as the item ID"
        Some(Said::Assisted(element)) => {
            let key = CompactString::from(record.to.as_str());
            let newer = newer(following.hub, following.account, &key, element);
            publish(following, origin, key, newer.unwrap_or_else(|| element.clone()));
        }
        Some(Said::Marker(id)) if is_conversation => {
            let key = conversation(&record.to, &record.payload, following.account.settings());
            let reading = following.account.keyed::<Reading>(&key);
            let position = reading.and_then(|reading| reading.find(hash(id)));
            advance(following, origin, key, position);
        }
        Some(Said::Reply) if is_conversation && is_used(following.account) => {
            let account = &following.account;
            let key = conversation(&record.to, &record.payload, account.settings());
            let device = account.session(origin.id).and_then(|session| account.device(session.device()));
            let reading = account.keyed::<Reading>(&key);
            let position = reading.zip(device).and_then(|(reading, device)| reading.newest(device.cursor));
            advance(following, origin, key, position);
        }
        Some(Said::Marker(_) | Said::Reply) | None => {}
    }
}

/// What is received in a conversation of which somebody wants to know is remembered.
fn remember(following: &mut Following<'_>) {
    let record = following.record;
    let Some((place, Direction::Received)) = record.place(following.account.id()) else { return };
    if place.keep != Keep::Archive || !record.kind.is_conversation() {
        return;
    }
    let key = conversation(&record.from, &record.payload, following.account.settings());
    if let Some(reading) = following.account.keyed_mut::<Reading>(&key)
        && says_something(&record.payload)
    {
        reading.received(record.id.as_deref().map(hash), place.position);
    }
}

/// The owner has read so far.
fn advance(
    following: &mut Following<'_>,
    origin: &SessionRef,
    key: CompactString,
    position: Option<LogPosition>,
) {
    if let Some(position) = position.filter(|_| position > displayed(following.account, &key)) {
        let payload = element(following.hub, following.account, position);
        publish(following, origin, key, payload);
    }
}

/// Publishes an item in the commit of the message. No lock is needed but that of the account, see [`publish_within`].
fn publish(following: &mut Following<'_>, origin: &SessionRef, key: CompactString, payload: Element) {
    let Following { hub, account, writes, .. } = following;
    if key.len() > KEY_BYTES_MAX {
        return; // No item can have that id.
    }
    if !is_private(account, NS) {
        let publication = Publication { id: &key, payload: &payload, by: None };
        OfDisplayed.published(hub, account, &publication, writes);
        return;
    }
    let publisher = origin.jid.clone().into();
    let change = Change { node: NS, action: Action::Publish { id: key, payload }, options: OPTIONS };
    if let Some(published) = publish_within(hub, account, &publisher, change, writes) {
        following.then(move |hub, account, ticket| published.tell(hub, account, ticket));
    }
}

/// The payload that stands for a position (§4.1).
fn element(hub: &Hub, account: &Account, position: LogPosition) -> Element {
    let id = Element::builder("stanza-id", NS_STANZA_IDS)
        .attr("by", account.jid().as_str())
        .attr("id", hub.archive_id(account.id(), position))
        .build();
    Element::builder("displayed", NS).child(id).build()
}

/// §4.1: "MUST contain exactly one Unique and Stable Stanza IDs (XEP-0359) `<stanza-id/>` element"
fn is_well_formed(payload: &Element) -> bool {
    let mut ids = payload.children().filter(|child| child.is("stanza-id", NS_STANZA_IDS));
    let (Some(id), None) = (ids.next(), ids.next()) else { return false };
    payload.is("displayed", NS) && id.attr("id").is_some() && id.attr("by").is_some()
}

/// What a payload names.
enum Named {
    /// A place in the log of the account.
    Own(LogPosition),
    /// Nothing in it, though it says so. §5.2 lets that pass.
    Unknown,
    /// What others count.
    Foreign,
}

fn named(hub: &Hub, account: &Account, payload: &Element) -> Named {
    let id = payload.child("stanza-id", NS_STANZA_IDS);
    let by = id.and_then(|id| id.attr("by")?.parse::<BareJid>().ok());
    if by.as_ref() != Some(account.jid()) {
        return Named::Foreign;
    }
    let position = id.and_then(|id| hub.position(account.id(), id.attr("id")?));
    position.map_or(Named::Unknown, Named::Own)
}

/// What an item has to say instead of a payload that is behind it. What is no id of ours is behind each that is.
fn newer(hub: &Hub, account: &Account, key: &str, payload: &Element) -> Option<Element> {
    let known = displayed(account, key)?;
    let is_behind = match named(hub, account, payload) {
        Named::Own(position) => position < known,
        Named::Unknown => true,
        Named::Foreign => false,
    };
    is_behind.then(|| element(hub, account, known))
}

/// The rule of the node: positions move forward.
pub(crate) struct OfDisplayed;

impl Rule for OfDisplayed {
    fn follow(&self, action: &mut Action, scene: &Scene<'_>) -> Result<Vec<Change>, StanzaError> {
        if let Action::Publish { id, payload } = action {
            if !is_well_formed(payload) {
                return Err(invalid_payload());
            }
            if let Some(newer) = newer(scene.hub, scene.account, id, payload) {
                *payload = newer;
            }
        }
        Ok(Vec::new())
    }

    fn published(&self, hub: &Hub, account: &mut Account, made: &Publication<'_>, writes: &mut Vec<Write>) {
        let Publication { id, payload, .. } = *made;
        let Named::Own(position) = named(hub, account, payload) else { return };
        if displayed(account, id) >= Some(position) {
            return;
        }
        make_room(account, id, writes);
        let old = account.keyed::<Reading>(id).cloned().unwrap_or_default();
        let recent = old.recent.into_iter().filter(|(_, received)| *received > position).collect();
        let reading = Reading { displayed: Some(position), recent, found: None, ..old };
        account.set_keyed(id, Some(reading), writes);
        // What counts unread messages goes by the same position.
        if let Ok(peer) = id.parse() {
            let (account, upto) = (account.id(), ReadUpto::Position(position));
            writes.push(Write::Displayed { account, peer, upto });
        }
    }
}

/// Makes room for one more conversation with a position.
fn make_room(account: &mut Account, key: &str, writes: &mut Vec<Write>) {
    forget_unread(account, key);
    while is_full(account, key) {
        let oldest = account.all_keyed::<Reading>().min_by_key(|(_, reading)| reading.displayed);
        let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return };
        account.set_keyed::<Reading>(&oldest, None, writes);
    }
}

/// What is in memory alone makes room, and is read again when somebody asks.
fn forget_unread(account: &mut Account, key: &str) {
    if !is_full(account, key) {
        return;
    }
    let unread = account.all_keyed::<Reading>().filter(|(_, reading)| reading.displayed.is_none());
    let unread: Vec<_> = unread.map(|(key, _)| key.clone()).collect();
    for key in unread {
        account.hold_keyed::<Reading>(&key, None);
    }
}

fn is_full(account: &Account, key: &str) -> bool {
    let known = account.all_keyed::<Reading>().map(|(key, _)| key.len());
    let sum = |(count, bytes): (usize, usize), more| (count.saturating_add(1), bytes.saturating_add(more));
    let (count, bytes) = known.fold((0, key.len()), sum);
    account.keyed::<Reading>(key).is_none() && (count >= CONVERSATIONS_MAX || bytes > KEYS_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::account;

    #[test]
    fn conversations_have_a_number_and_a_size() {
        for (length, most) in [(20, CONVERSATIONS_MAX), (1_000, KEYS_BYTES_MAX / 1_000)] {
            let mut account = account();
            for n in (0_i64..).take(most) {
                let reading = Reading { displayed: Some(LogPosition(1_000 + n)), ..Reading::default() };
                account.set_keyed(&format!("{n:0length$}"), Some(reading), &mut Vec::new());
            }
            assert!(is_full(&account, &"x".repeat(length)));
            assert!(!is_full(&account, &format!("{:0length$}", 7)), "it is there already");
            let mut writes = Vec::new();
            make_room(&mut account, &"x".repeat(length), &mut writes);
            assert_eq!((account.all_keyed::<Reading>().count(), writes.len()), (most - 1, 1));
            assert!(account.keyed::<Reading>(&format!("{:0length$}", 0)).is_none(), "the oldest");
        }
    }
}
