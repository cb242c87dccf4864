//! Writing a plan, inside a transaction.

use std::sync::RwLock;

use sqlx::AnyConnection;
use unisono_core::ids::{AccountId, DeviceId, LogPosition, SessionId};
use unisono_core::jid::BareJid;
use unisono_core::roster::RosterItem;
use unisono_core::storage::{Access, DeviceRecord, SessionRecord};

use super::bulk::{Binding, Bulk};
use super::database::Kind;
use super::error::CommitError;
use super::plan::{NewMessage, Plan};
use super::tail::Tail;
use super::{documents, inbox, retract};
use crate::access;
use crate::hash::Hasher;
use crate::pack::storable;

/// Writes all of a plan. The tail is that of what was durable before.
pub(super) async fn write(
    connection: &mut AnyConnection,
    kind: Kind,
    hasher: Hasher,
    plan: &Plan<'_>,
    tail: &RwLock<Tail>,
) -> Result<(), CommitError> {
    remove_devices_and_sessions(connection, kind, plan).await?;
    put_devices(connection, kind, plan).await?;
    put_accesses(connection, kind, plan).await?;
    put_sessions(connection, kind, plan).await?;
    put_roster(connection, kind, plan).await?;
    put_documents(connection, kind, hasher, plan).await?;
    plan.publishing.write(connection, kind, hasher).await?;
    use_invitations(connection, kind, plan).await?;
    append_messages(connection, kind, plan).await?;
    inbox::put_displayed(connection, kind, plan, tail).await?;
    for retraction in &plan.retractions {
        retract::retract(connection, kind, retraction, tail).await?;
    }
    // A retraction before it found what is delivered now, and knows itself what was delivered before it.
    mark_delivered(connection, kind, plan).await?;
    Ok(())
}

/// Whether [`write`] takes one statement, which needs no transaction around it.
pub(super) fn is_one_statement(plan: &Plan<'_>) -> bool {
    plan.has_messages_only() && Bulk::is_one_statement(&plan.messages, NewMessage::bytes)
}

/// Appends messages. Of a message nothing else is written before it is acknowledged.
async fn append_messages(connection: &mut AnyConnection, kind: Kind, plan: &Plan<'_>) -> sqlx::Result<u64> {
    static APPEND: Bulk = Bulk::new(
        "INSERT INTO message (id, sender, sent_at, recipient, received_at, flags, sent_to, received_from, \
         stanza, fingerprint, session, handled, record) VALUES ",
        13,
        "",
    );
    let bind = |query: Binding, message: &NewMessage<'_>| {
        let columns = &message.columns;
        query
            .bind(columns.id)
            .bind(columns.sender)
            .bind(columns.sent_at)
            .bind(columns.recipient)
            .bind(columns.received_at)
            .bind(columns.flags)
            .bind(columns.sent_to)
            .bind(columns.received_from)
            .bind(columns.stanza)
            .bind(columns.fingerprint)
            .bind(columns.session)
            .bind(columns.handled)
            .bind(message.packed())
    };
    APPEND.run_large(connection, kind, &plan.messages, NewMessage::bytes, bind).await
}

async fn remove_devices_and_sessions(
    connection: &mut AnyConnection,
    kind: Kind,
    plan: &Plan<'_>,
) -> sqlx::Result<()> {
    static SESSIONS_OF: Bulk = Bulk::new("DELETE FROM session WHERE device IN (VALUES ", 1, ")");
    static DEVICES: Bulk = Bulk::new("DELETE FROM device WHERE id IN (VALUES ", 1, ")");
    static ACCESSES: Bulk = Bulk::new("DELETE FROM access WHERE device IN (VALUES ", 1, ")");
    static SESSIONS: Bulk = Bulk::new("DELETE FROM session WHERE id IN (VALUES ", 1, ")");
    let devices: Vec<DeviceId> = plan.devices_removed.iter().copied().collect();
    let ended: Vec<SessionId> = plan.sessions_ended.iter().copied().collect();
    SESSIONS_OF.run(connection, kind, &devices, |query, device| query.bind(device.0)).await?;
    ACCESSES.run(connection, kind, &devices, |query, device| query.bind(device.0)).await?;
    DEVICES.run(connection, kind, &devices, |query, device| query.bind(device.0)).await?;
    SESSIONS.run(connection, kind, &ended, |query, session| query.bind(session.0)).await?;
    Ok(())
}

async fn put_devices(connection: &mut AnyConnection, kind: Kind, plan: &Plan<'_>) -> sqlx::Result<u64> {
    static PUT: Bulk = Bulk::new(
        "INSERT INTO device (id, account, key, cursor, pages_archive, last_seen) VALUES ",
        6,
        " ON CONFLICT (id) DO UPDATE SET account = excluded.account, key = excluded.key, \
         cursor = excluded.cursor, pages_archive = excluded.pages_archive, last_seen = excluded.last_seen",
    );
    let devices: Vec<_> = plan.devices.values().copied().collect();
    let bind = |query: Binding, (account, device): &(AccountId, &DeviceRecord)| {
        query
            .bind(device.id.0)
            .bind(account.0)
            .bind(storable(&device.key).into_owned())
            .bind(device.cursor.0)
            .bind(i64::from(device.pages_archive))
            .bind(device.last_seen)
    };
    PUT.run(connection, kind, &devices, bind).await
}

/// Writes the accesses of devices that are there: one that was forgotten before must not leave any behind.
async fn put_accesses(connection: &mut AnyConnection, kind: Kind, plan: &Plan<'_>) -> sqlx::Result<u64> {
    static PUT: Bulk = Bulk::new(
        "INSERT INTO access (device, value) SELECT v.column1, v.column2 FROM (VALUES ",
        2,
        ") AS v JOIN device ON device.id = v.column1 WHERE TRUE \
         ON CONFLICT (device) DO UPDATE SET value = excluded.value",
    );
    let accesses: Vec<_> = plan.accesses.iter().map(|(device, access)| (*device, *access)).collect();
    let bind = |query: Binding, (device, value): &(DeviceId, &Access)| {
        query.bind(device.0).bind(access::pack(value))
    };
    PUT.run(connection, kind, &accesses, bind).await
}

/// Writes sessions, then the numbers of those that are only counted on. A number never falls.
async fn put_sessions(connection: &mut AnyConnection, kind: Kind, plan: &Plan<'_>) -> sqlx::Result<()> {
    static PUT: Bulk = Bulk::new(
        "INSERT INTO session (id, account, device, resource, handled, snapshot) VALUES ",
        6,
        " ON CONFLICT (id) DO UPDATE SET account = excluded.account, device = excluded.device, \
         resource = excluded.resource, snapshot = excluded.snapshot, \
         handled = CASE WHEN excluded.handled > session.handled THEN excluded.handled ELSE session.handled END",
    );
    static HANDLED: Bulk = Bulk::new(
        "UPDATE session SET handled = v.column2 FROM (VALUES ",
        2,
        ") AS v WHERE session.id = v.column1 AND session.handled < v.column2",
    );
    let sessions: Vec<_> = plan.sessions.values().copied().collect();
    let bind = |query: Binding, (account, session, handled): &(AccountId, &SessionRecord, u32)| {
        query
            .bind(session.id.0)
            .bind(account.0)
            .bind(session.device.0)
            .bind(storable(&session.resource).into_owned())
            .bind(i64::from(*handled))
            .bind(session.snapshot.as_deref().map(|snapshot| storable(snapshot).into_owned()))
    };
    let bytes = |(_, session, _): &(_, &SessionRecord, _)| session.snapshot.as_ref().map_or(0, String::len);
    PUT.run_large(connection, kind, &sessions, bytes, bind).await?;
    let handled: Vec<_> = plan.handled.iter().map(|(session, handled)| (*session, *handled)).collect();
    let bind = |query: Binding, (session, handled): &(SessionId, u32)| {
        query.bind(session.0).bind(i64::from(*handled))
    };
    HANDLED.run(connection, kind, &handled, bind).await?;
    Ok(())
}

async fn put_roster(connection: &mut AnyConnection, kind: Kind, plan: &Plan<'_>) -> sqlx::Result<u64> {
    static PUT: Bulk = Bulk::new(
        "INSERT INTO roster (account, jid, item) VALUES ",
        3,
        " ON CONFLICT (account, jid) DO UPDATE SET item = excluded.item",
    );
    static FORGET: Bulk = Bulk::new("DELETE FROM roster WHERE (account, jid) IN (VALUES ", 2, ")");
    let (mut put, mut forgotten) = (Vec::new(), Vec::new());
    for ((account, jid), item) in &plan.roster {
        match item {
            Some(item) => put.push((*account, *item)),
            None => forgotten.push((*account, *jid)),
        }
    }
    let bind = |query: Binding, (account, jid): &(AccountId, &BareJid)| {
        query.bind(account.0).bind(jid.as_str().to_owned())
    };
    let gone = FORGET.run(connection, kind, &forgotten, bind).await?;
    let bind = |query: Binding, (account, item): &(AccountId, &RosterItem)| {
        query.bind(account.0).bind(item.jid.as_str().to_owned()).bind(documents::pack_item(item))
    };
    Ok(PUT.run(connection, kind, &put, bind).await?.saturating_add(gone))
}

async fn put_documents(
    connection: &mut AnyConnection,
    kind: Kind,
    hasher: Hasher,
    plan: &Plan<'_>,
) -> sqlx::Result<()> {
    static REMOVE: Bulk = Bulk::new("DELETE FROM document WHERE (account, kind, name) IN (VALUES ", 3, ")");
    static PUT: Bulk = Bulk::new(
        "INSERT INTO document (account, kind, name, key, value) VALUES ",
        5,
        " ON CONFLICT (account, kind, name) DO UPDATE SET value = excluded.value",
    );
    let (mut put, mut removed) = (Vec::new(), Vec::new());
    for ((account, kind, key), value) in &plan.documents {
        match value {
            Some(value) => put.push((*account, *kind, *key, *value)),
            None => removed.push((*account, *kind, *key)),
        }
    }
    let bind = |query: Binding, (account, kind, key): &(AccountId, &str, &str)| {
        query.bind(account.0).bind((*kind).to_owned()).bind(hasher.hash(key))
    };
    REMOVE.run(connection, kind, &removed, bind).await?;
    let bind = |query: Binding, (account, kind, key, value): &(AccountId, &str, &str, &str)| {
        query
            .bind(account.0)
            .bind((*kind).to_owned())
            .bind(hasher.hash(key))
            .bind(storable(key).into_owned())
            .bind(storable(value).into_owned())
    };
    PUT.run_large(connection, kind, &put, |(_, _, _, value)| value.len(), bind).await?;
    Ok(())
}

async fn use_invitations(connection: &mut AnyConnection, kind: Kind, plan: &Plan<'_>) -> sqlx::Result<u64> {
    static USED: Bulk = Bulk::new("DELETE FROM invitation WHERE token IN (VALUES ", 1, ")");
    let used: Vec<&str> = plan.invitations_used.iter().copied().collect();
    USED.run(connection, kind, &used, |query, token| query.bind((*token).to_owned())).await
}

/// Readers skip waiting entries up to the mark. The indexer removes them.
async fn mark_delivered(connection: &mut AnyConnection, kind: Kind, plan: &Plan<'_>) -> sqlx::Result<u64> {
    static MARK: Bulk = Bulk::new(
        "INSERT INTO mark (account, delivered) VALUES ",
        2,
        " ON CONFLICT (account) DO UPDATE SET delivered = excluded.delivered \
         WHERE excluded.delivered > mark.delivered",
    );
    let delivered: Vec<_> = plan.delivered.iter().map(|(account, upto)| (*account, *upto)).collect();
    let bind =
        |query: Binding, (account, upto): &(AccountId, LogPosition)| query.bind(account.0).bind(upto.0);
    MARK.run(connection, kind, &delivered, bind).await
}
