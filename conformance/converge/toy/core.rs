//! The state of the toy: what is stored, what will be, and who is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::keeping::Kept;
use super::session::Session;
use super::{Connection, Connections, Fault, Outgoing};
use crate::xml::{Element, Event, NS_STREAM};

/// An entry of an account's log.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) stanza_id: String,
    pub(super) from: String,
    pub(super) message: Arc<Element>,
    /// What it is sorted by.
    pub(super) time: u64,
}

/// Everything that survives a crash, as far as it was committed.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) logs: BTreeMap<String, Vec<Arc<Entry>>>,
    /// How many entries of the log a device was given, by its full JID.
    pub(super) cursors: BTreeMap<String, usize>,
    /// Devices that page the archive.
    pub(super) pagers: BTreeSet<String>,
    pub(super) sessions: BTreeMap<String, Session>,
    /// Sender and id of what was taken.
    pub(super) taken: BTreeSet<(String, String)>,
    pub(super) last_session: u64,
    /// What each account keeps besides.
    pub(super) kept: BTreeMap<String, Kept>,
}

/// Where a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    Fresh,
    /// The bare JID.
    Authenticated(String),
    /// The id of the session.
    Bound(String),
}

pub(super) struct Core {
    pub(super) fault: Fault,
    pub(super) state: State,
    stored: State,
    is_up: bool,
    generation: u64,
    pub(super) connections: Connections,
    pub(super) stages: BTreeMap<u64, Stage>,
    last_connection: u64,
    /// Counts what a fault chooses from.
    pub(super) turns: u64,
}

impl Core {
    pub(super) fn new(fault: Fault) -> Self {
        Self {
            fault,
            state: State::default(),
            stored: State::default(),
            is_up: true,
            generation: 0,
            connections: Connections::new(),
            stages: BTreeMap::new(),
            last_connection: 0,
            turns: 0,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    /// The fault strikes in this of so many cases.
    pub(super) fn strikes(&mut self, fault: Fault, one_in: u64) -> bool {
        if self.fault != fault {
            return false;
        }
        self.turns += 1;
        self.turns.is_multiple_of(one_in)
    }

    pub(super) fn connected(&mut self, connection: Connection) -> u64 {
        self.last_connection += 1;
        self.connections.insert(self.last_connection, connection);
        self.stages.insert(self.last_connection, Stage::Fresh);
        self.last_connection
    }

    /// The connection is gone without a word.
    pub(super) fn disconnected(&mut self, number: u64) {
        self.connections.remove(&number);
        let Some(Stage::Bound(id)) = self.stages.remove(&number) else { return };
        let Some(session) = self.state.sessions.get_mut(&id).filter(|all| all.connection == Some(number))
        else {
            return;
        };
        session.connection = None;
        if !session.is_managed {
            self.end_session(&id);
        }
    }

    pub(super) fn send(&self, number: u64, xml: impl Into<String>) {
        if let Some(connection) = self.connections.get(&number) {
            let _ = connection.outgoing.send(Outgoing::Xml(xml.into()));
        }
    }

    /// The last that a connection is sent.
    pub(super) fn send_last(&mut self, number: u64, xml: &str) {
        if let Some(connection) = self.connections.get(&number) {
            let _ = connection.outgoing.send(Outgoing::Last(xml.to_owned()));
        }
    }

    /// Something arrived. If it has to be committed, the generation in which that counts.
    pub(super) fn handle(&mut self, number: u64, event: Event) -> Option<u64> {
        if !self.is_up {
            return None;
        }
        match (event, self.stages.get(&number).cloned()?) {
            (Event::Open(_), stage) => self.features(number, &stage),
            (Event::Element(element), Stage::Fresh) => self.authenticate(number, &element),
            (Event::Element(element), Stage::Authenticated(jid)) => self.begin(number, &jid, &element),
            (Event::Element(element), Stage::Bound(id)) => self.stanza(number, &id, &element),
            (Event::Close, Stage::Bound(id)) => self.close(number, &id),
            (Event::Close, _) => self.send_last(number, "</stream:stream>"),
        }
        Some(self.generation)
    }

    fn features(&mut self, number: u64, stage: &Stage) {
        let features = match stage {
            Stage::Fresh => {
                "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
            }
            _ => {
                "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/><csi xmlns='urn:xmpp:csi:0'/>"
            }
        };
        self.send(
            number,
            format!(
                "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='{NS_STREAM}' id='1'>\
                 <stream:features>{features}</stream:features>"
            ),
        );
    }

    fn authenticate(&mut self, number: u64, auth: &Element) {
        use base64::Engine as _;
        let message = base64::engine::general_purpose::STANDARD.decode(auth.text()).unwrap();
        let name = String::from_utf8(message).unwrap().split('\0').nth(1).unwrap().to_owned();
        self.stages.insert(number, Stage::Authenticated(format!("{name}@toy.test")));
        self.send(number, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    }

    /// All that was handled is stored, and then said.
    pub(super) fn commit(&mut self, generation: u64) {
        if generation == self.generation {
            self.release_all();
        }
    }

    pub(super) fn release_all(&mut self) {
        let ids: Vec<String> = self.state.sessions.keys().cloned().collect();
        let released: Vec<_> = ids.iter().map(|id| self.release(id)).collect();
        if self.fault != Fault::DeliveryBeforeCommit {
            self.store();
        }
        for (connection, xml) in released {
            if let Some(number) = connection.filter(|_| !xml.is_empty()) {
                self.send(number, xml);
            }
        }
    }

    pub(super) fn store(&mut self) {
        self.stored = self.state.clone();
    }

    /// Nothing but what is stored is left.
    pub(super) fn crash(&mut self) {
        self.go_down();
        self.state = self.stored.clone();
        self.detach_all();
    }

    /// Everything is stored, everybody is told.
    pub(super) fn stop(&mut self) {
        self.release_all();
        let numbers: Vec<u64> = self.connections.keys().copied().collect();
        for number in numbers {
            self.send_last(
                number,
                "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\
                 </stream:stream>",
            );
        }
        self.is_up = false;
        self.detach_all();
        self.store();
    }

    fn detach_all(&mut self) {
        let ids: Vec<String> = self.state.sessions.keys().cloned().collect();
        for id in ids {
            let session = self.state.sessions.get_mut(&id).unwrap();
            session.connection = None;
            if !session.is_managed {
                self.end_session(&id);
            }
        }
    }

    pub(super) fn start(&mut self) {
        self.go_down();
        if self.fault == Fault::SessionsForgotten {
            let ids: Vec<String> = self.state.sessions.keys().cloned().collect();
            for id in ids {
                self.end_session(&id);
            }
        }
        self.is_up = true;
    }

    fn go_down(&mut self) {
        self.is_up = false;
        self.generation += 1;
        self.connections.clear();
        self.stages.clear();
    }
}
