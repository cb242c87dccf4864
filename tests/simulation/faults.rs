//! Faults that a test switches on: each breaks one promise, in what the server is given and not in the server itself, so
//! that it is known that the checker finds them there.

use std::collections::HashMap;

use unisono_core::ids::{AccountId, LogPosition};
use unisono_core::jid::BareJid;
use unisono_core::record::{MessageRecord, Payload};
use unisono_core::storage::{AccountData, Commit, LogPage, Write};

const NS_MARKERS: &str = "urn:xmpp:chat-markers:0";

/// What the store does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Nothing,
    /// It calls durable what waits to be written (promise P2).
    AckBeforeCommit,
    /// After a restart it does not know the last position of a log, so that the clock alone gives the next one, and it
    /// may have stepped back (promise P1).
    IdByClock,
    /// It does not know what an account sent before the restart (promise P3).
    NoDedup,
    /// The queue of a session does not outlive a clean stop, the session does (promise P4).
    ResumeQueueLost,
    /// How far somebody read is what came last, even if it points further back (promise P5).
    MarkerByArrival,
}

/// A fault, and what it has to remember.
pub(super) struct Planted {
    fault: Fault,
    /// By the log and the reader: the last marker that came.
    markers: HashMap<(AccountId, BareJid), Payload>,
}

impl Planted {
    pub(super) fn new(fault: Fault) -> Self {
        Self { fault, markers: HashMap::new() }
    }

    pub(super) fn acknowledges_early(&self) -> bool {
        self.fault == Fault::AckBeforeCommit
    }

    /// Sees what is to be stored.
    pub(super) fn submitted(&mut self, commit: &Commit) {
        for write in &commit.writes {
            if let Write::Message(record) = write
                && record.payload.has("displayed", NS_MARKERS)
            {
                for place in record.sent.iter().chain(&record.received) {
                    let name = (place.account, record.from.to_bare());
                    self.markers.insert(name, record.payload.clone());
                }
            }
        }
    }

    /// Spoils what is read of an account.
    pub(super) fn loaded(&self, mut account: AccountData) -> AccountData {
        match self.fault {
            Fault::IdByClock => account.head = LogPosition::START,
            Fault::NoDedup => account.recent.clear(),
            Fault::ResumeQueueLost => {
                for session in &mut account.sessions {
                    session.snapshot = session.snapshot.take().map(|text| without_queue(&text));
                }
            }
            Fault::Nothing | Fault::AckBeforeCommit | Fault::MarkerByArrival => {}
        }
        account
    }

    /// Spoils a page of a log.
    pub(super) fn paged(&self, account: AccountId, mut page: LogPage) -> LogPage {
        if self.fault == Fault::MarkerByArrival {
            for entry in &mut page.entries {
                if let Some(last) = self.markers.get(&(account, entry.record.from.to_bare()))
                    && entry.record.payload.has("displayed", NS_MARKERS)
                {
                    let record = MessageRecord { payload: last.clone(), ..(*entry.record).clone() };
                    entry.record = record.into();
                }
            }
        }
        page
    }
}

/// A saved session whose queue is empty.
fn without_queue(snapshot: &str) -> String {
    match snapshot.find("<entry") {
        Some(at) => format!("{}</session>", &snapshot[..at]),
        None => snapshot.to_owned(),
    }
}
