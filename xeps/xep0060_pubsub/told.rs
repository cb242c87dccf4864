//! Which state of a node a device has seen, for nodes of which that decides what its next change means.

use std::collections::BTreeMap;

use compact_str::CompactString;
use unisono_core::account::Account;
use unisono_core::ids::LogPosition;
use unisono_core::session::Session;

use super::rules;

/// States of one node that are remembered until the device has acknowledged them. The older ones say less.
const PENDING_MAX: usize = 16;

/// What a session was told, in memory alone: after a restart it has seen nothing, until it is told again.
#[derive(Default)]
struct Told(BTreeMap<CompactString, Vec<Sent>>);

/// A state of a node, and the stanza that told of it; none if the device does not acknowledge what it gets, and is
/// believed to have it.
struct Sent {
    state: LogPosition,
    stanza: Option<u32>,
}

/// The state of a node that a device has seen for certain, because it acknowledged what told it of that (XEP-0198).
pub(crate) fn has_seen(session: &Session, node: &str) -> LogPosition {
    let sent = session.existing_state::<Told>().and_then(|told| told.0.get(node)).into_iter().flatten();
    let has = |sent: &&Sent| sent.stanza.is_none_or(|stanza| session.has_acknowledged(stanza));
    sent.filter(has).map(|sent| sent.state).max().unwrap_or(LogPosition::START)
}

/// Remembers that the next stanza tells a device of a node, if that will matter.
pub(super) fn note(session: &mut Session, node: &str, state: LogPosition) {
    if rules::of(node).is_some_and(rules::Rule::asks_who_saw) {
        let stanza = session.next_stanza();
        put(session, node, Sent { state, stanza });
    }
}

/// Does what queues something for devices, and remembers whom it told of a node.
pub(super) fn noting<T>(account: &mut Account, node: &str, tell: impl FnOnce(&mut Account) -> T) -> T {
    let state = account.keyed::<super::node::Node>(node).map(|node| node.changed);
    let Some(state) = state.filter(|_| rules::of(node).is_some_and(rules::Rule::asks_who_saw)) else {
        return tell(account);
    };
    let before: Vec<_> =
        account.sessions().map(|session| (session.id(), session.queued(), session.next_stanza())).collect();
    let result = tell(account);
    for (id, queued, stanza) in before {
        if let Some(session) = account.session_mut(id).filter(|session| session.queued() > queued) {
            put(session, node, Sent { state, stanza });
        }
    }
    result
}

fn put(session: &mut Session, node: &str, sent: Sent) {
    let seen = has_seen(session, node);
    let pending = session.state::<Told>().0.entry(node.into()).or_default();
    pending.retain(|old| old.state >= seen);
    if pending.len() >= PENDING_MAX {
        pending.remove(0);
    }
    pending.push(sent);
}
