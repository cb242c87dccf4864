//! Conversations and what is unread of them: one row for each, kept by the indexer, and the tail that it has not come to.
//!
//! What is unread is not counted but subtracted. Each entry of the index knows how many there were to read before it in its
//! conversation, so the number after a place is that of the end less that of the first entry behind the place.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::AnyConnection;
use unisono_core::ids::{AccountId, LogPosition};
use unisono_core::storage::{Conversation, Inbox, InboxQuery, LogEntry, StoreError};

use super::Shared;
use super::bulk::{Binding, Bulk};
use super::database::Kind;
use super::error::read_error;
use super::index;
use super::page::entry;
use super::plan::Plan;
use super::tail::{Row, Tail, View, Voice};
use crate::pack::Unpacker;

/// Account $1, watermark $2, the position at which the tail begins $3. Of a conversation where nothing waits for an answer
/// nothing has to be looked for.
pub(super) const READ: &str = "\
    SELECT (SELECT coalesce(string_agg(concat(c.peer, ';', c.position, ';', c.message, ';', c.heard, ';', \
        c.unanswered, ';', c.spoken, ';', c.upto, ';', coalesce(d.position, 0), ';', \
        CASE WHEN c.unanswered = 0 THEN -1 ELSE coalesce((SELECT heard FROM log AS l WHERE l.account = $1 \
            AND l.peer = c.peer AND l.position > coalesce(d.position, 0) AND l.message <= $2 \
            ORDER BY l.position LIMIT 1), -1) END, ';'), ''), '') \
        FROM conversation AS c LEFT JOIN displayed AS d ON d.account = $1 AND d.peer = c.peer \
        WHERE c.account = $1), \
    (SELECT coalesce(string_agg(concat(peer, ';', position, ';'), ''), '') \
        FROM displayed WHERE account = $1 AND position >= $3), \
    coalesce((SELECT purged FROM mark WHERE account = $1), 0)";

/// A conversation on its way.
#[derive(Clone, Copy, Default)]
struct Found {
    peer: i64,
    position: i64,
    message: i64,
    heard: i64,
    unanswered: i64,
    spoken: i64,
    /// All messages up to this one are in it.
    upto: i64,
    displayed: i64,
    /// How many there were to read before the first entry of the index that is not displayed.
    before: Option<i64>,
    /// Entries to read of the tail that are not displayed.
    in_tail: i64,
}

impl Found {
    fn unpack(packed: &mut Unpacker<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            peer: packed.number()?,
            position: packed.number()?,
            message: packed.number()?,
            heard: packed.number()?,
            unanswered: packed.number()?,
            spoken: packed.number()?,
            upto: packed.number()?,
            displayed: packed.number()?,
            before: Some(packed.number()?).filter(|before| *before >= 0),
            in_tail: 0,
        })
    }

    /// Takes an entry of the tail in, which its row may have already.
    fn add(&mut self, row: &Row) {
        let is_heard = i64::from(row.voice == Voice::Heard);
        if row.position > self.displayed {
            self.in_tail = self.in_tail.saturating_add(is_heard);
        }
        if row.message <= self.upto {
            return;
        }
        (self.position, self.message) = (row.position, row.message);
        self.heard = self.heard.saturating_add(is_heard);
        self.unanswered = self.unanswered.saturating_add(is_heard);
        if row.voice == Voice::Said {
            self.unanswered = 0;
        }
        if row.voice != Voice::Silent {
            self.spoken = row.message;
        }
    }

    /// What lies behind the place that is displayed and behind the last answer.
    fn unread(&self) -> u64 {
        let undisplayed = self.before.map_or(self.in_tail, |before| self.heard.saturating_sub(before));
        u64::try_from(undisplayed.min(self.unanswered)).unwrap_or(0)
    }
}

/// Reads a page of conversations.
pub(super) async fn inbox(
    shared: &Shared,
    account: AccountId,
    query: &InboxQuery,
) -> Result<Inbox, StoreError> {
    // Before the database: what the indexer takes from the one to the other meanwhile is seen twice, and not missed.
    let view = shared.tail().view(account, false);
    let read = async |connection: &mut AnyConnection| {
        let (all, purged) = read(connection, account, &view).await?;
        let all = all.into_iter().map(|found| (LogPosition(found.position), found.unread(), found));
        let (mut inbox, page) = query.select(all.collect());
        inbox.conversations = conversations(connection, account, query, &page, purged).await?;
        Ok(inbox)
    };
    shared.database.read(read).await
}

/// All conversations, and the newest entry that was ever purged.
async fn read(
    connection: &mut AnyConnection,
    account: AccountId,
    view: &View,
) -> Result<(Vec<Found>, LogPosition), StoreError> {
    let read = sqlx::query_as::<_, (String, String, i64)>(READ);
    let read = read.bind(account.0).bind(view.watermark).bind(view.start);
    let (packed, displayed, purged) = read.fetch_one(connection).await.map_err(read_error)?;
    let found = Unpacker::new(&packed).all(Found::unpack)?;
    let mut found: HashMap<i64, Found> = found.into_iter().map(|found| (found.peer, found)).collect();
    if !view.rows.is_empty() {
        let displayed = Unpacker::new(&displayed).all(|packed| Ok((packed.number()?, packed.number()?)))?;
        let displayed: HashMap<i64, i64> = displayed.into_iter().collect();
        for row in &view.rows {
            let new = || Found {
                peer: row.peer,
                displayed: displayed.get(&row.peer).copied().unwrap_or(0),
                ..Found::default()
            };
            found.entry(row.peer).or_insert_with(new).add(row);
        }
    }
    Ok((found.into_values().collect(), LogPosition(purged)))
}

/// Reads what was said last in each of them, or what came last where that is gone: only messages know addresses.
async fn conversations(
    connection: &mut AnyConnection,
    account: AccountId,
    query: &InboxQuery,
    page: &[Found],
    purged: LogPosition,
) -> Result<Vec<Conversation>, StoreError> {
    let wanted =
        |found: &Found| if query.messages && found.spoken > 0 { found.spoken } else { found.message };
    let wanted: Vec<i64> = page.iter().map(wanted).collect();
    let mut known = entries(connection, account, &wanted).await?;
    let gone = page.iter().zip(&wanted).filter(|(_, wanted)| !known.contains_key(wanted));
    let gone: Vec<i64> = gone.map(|(found, _)| found.message).collect();
    known.extend(entries(connection, account, &gone).await?);
    let conversations = page.iter().zip(&wanted).filter_map(|(found, wanted)| {
        let last = known.get(wanted).or(known.get(&found.message))?;
        // The other party may still have what this log has not.
        let said = known.get(&found.spoken).filter(|said| query.messages && said.position > purged);
        Some(Conversation {
            peer: last.record.peer(last.direction).to_bare(),
            last: LogPosition(found.position),
            unread: found.unread(),
            message: said.cloned(),
        })
    });
    Ok(conversations.collect())
}

/// Messages by their numbers, as entries of this log.
async fn entries(
    connection: &mut AnyConnection,
    account: AccountId,
    ids: &[i64],
) -> Result<HashMap<i64, LogEntry>, StoreError> {
    let records = index::numbered(connection, ids).await?;
    records.into_iter().map(|(id, record)| Ok((id, entry(account, Arc::new(record))?))).collect()
}

/// What the indexer adds to a conversation.
#[derive(Clone, Copy)]
pub(super) struct Change {
    account: AccountId,
    peer: i64,
    last: Row,
    heard: i64,
    unanswered: i64,
    /// The account said something: what was unanswered before is not any more.
    is_answered: bool,
    spoken: i64,
}

/// What entries, sorted by account and position, change: of each conversation once; and how many there were to read before
/// each, given the same of what is indexed.
pub(super) fn changes(
    entries: &[(AccountId, Row)],
    indexed: &HashMap<(i64, i64), i64>,
) -> (Vec<Change>, Vec<i64>) {
    let mut places: HashMap<(AccountId, i64), usize> = HashMap::new();
    let mut changes: Vec<Change> = Vec::new();
    let mut before = Vec::with_capacity(entries.len());
    for (account, row) in entries {
        if row.waits {
            before.push(0);
            continue;
        }
        let place = *places.entry((*account, row.peer)).or_insert_with(|| {
            let (account, peer) = (*account, row.peer);
            changes.push(Change {
                account,
                peer,
                last: *row,
                heard: 0,
                unanswered: 0,
                is_answered: false,
                spoken: 0,
            });
            changes.len().saturating_sub(1)
        });
        let Some(change) = changes.get_mut(place) else { continue };
        let known = indexed.get(&(account.0, row.peer)).copied().unwrap_or(0);
        before.push(known.saturating_add(change.heard));
        change.last = *row;
        match row.voice {
            Voice::Silent => {}
            Voice::Heard => {
                change.heard = change.heard.saturating_add(1);
                change.unanswered = change.unanswered.saturating_add(1);
            }
            Voice::Said => (change.unanswered, change.is_answered) = (0, true),
        }
        if row.voice != Voice::Silent {
            change.spoken = row.message;
        }
    }
    (changes, before)
}

/// Writes changes that bring the conversations up to a message. Those that are further are left alone.
pub(super) async fn put_changes(
    connection: &mut AnyConnection,
    kind: Kind,
    changes: &[Change],
    upto: i64,
) -> sqlx::Result<()> {
    const fn put(tail: &'static str) -> Bulk {
        Bulk::new(
            "INSERT INTO conversation (account, peer, position, message, heard, unanswered, spoken, upto) VALUES ",
            8,
            tail,
        )
    }
    static ANSWERED: Bulk = put(
        " ON CONFLICT (account, peer) DO UPDATE SET position = excluded.position, message = excluded.message, \
         heard = conversation.heard + excluded.heard, unanswered = excluded.unanswered, spoken = excluded.spoken, \
         upto = excluded.upto WHERE conversation.upto < excluded.upto",
    );
    static UNANSWERED: Bulk = put(
        " ON CONFLICT (account, peer) DO UPDATE SET position = excluded.position, message = excluded.message, \
         heard = conversation.heard + excluded.heard, \
         unanswered = conversation.unanswered + excluded.unanswered, \
         spoken = CASE WHEN excluded.spoken > 0 THEN excluded.spoken ELSE conversation.spoken END, \
         upto = excluded.upto WHERE conversation.upto < excluded.upto",
    );
    let bind = |query: Binding, change: &Change| {
        let query = query.bind(change.account.0).bind(change.peer).bind(change.last.position);
        let query = query.bind(change.last.message).bind(change.heard).bind(change.unanswered);
        query.bind(change.spoken).bind(upto)
    };
    let (answered, unanswered): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.is_answered);
    ANSWERED.run(connection, kind, &answered, bind).await?;
    UNANSWERED.run(connection, kind, &unanswered, bind).await?;
    Ok(())
}

/// How far conversations were read: places that are known, and messages that are to be found. It only grows.
pub(super) async fn put_displayed(
    connection: &mut AnyConnection,
    kind: Kind,
    plan: &Plan<'_>,
    tail: &std::sync::RwLock<Tail>,
) -> sqlx::Result<()> {
    const FIND: &str = "SELECT coalesce((SELECT position FROM log WHERE account = $1 AND stanza = $2 AND peer = $3 \
        ORDER BY message DESC LIMIT 1), 0)";
    static PUT: Bulk = Bulk::new(
        "INSERT INTO displayed (account, peer, position) VALUES ",
        3,
        " ON CONFLICT (account, peer) DO UPDATE SET position = excluded.position \
         WHERE excluded.position > displayed.position",
    );
    let mut displayed = plan.displayed.clone();
    for (account, peer, stanza) in &plan.displayed_messages {
        let in_tail = {
            let tail = tail.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            let mut rows = tail.rows(*account).iter().rev();
            rows.find(|row| row.peer == *peer && row.stanza == *stanza && !row.waits).map(|row| row.position)
        };
        let position = if let Some(position) = in_tail {
            position
        } else {
            let find = sqlx::query_scalar::<_, i64>(FIND).bind(account.0).bind(*stanza).bind(*peer);
            find.fetch_one(&mut *connection).await?
        };
        if position > 0 {
            let known = displayed.entry((*account, *peer)).or_insert(position);
            *known = (*known).max(position);
        }
    }
    let displayed: Vec<_> = displayed.into_iter().collect();
    let bind = |query: Binding, ((account, peer), position): &((AccountId, i64), i64)| {
        query.bind(account.0).bind(*peer).bind(*position)
    };
    PUT.run(connection, kind, &displayed, bind).await?;
    Ok(())
}
