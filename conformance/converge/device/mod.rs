//! A device: what comes from the server goes in, what is to be sent and what it learned comes out.
//!
//! It opens no connection and waits for nothing: whoever drives it gives it a stream of bytes, real or not.
//!
//! ```text
//!   Away ─ connected ─▶ Opening ─▶ Authenticating ─▶ Reopening ─┬─▶ Resuming ──────────────┬─▶ Online ─▶ Leaving
//!                                                               └─▶ Binding ─▶ Enabling ───┘
//! ```

mod archive;
mod hearing;
mod keeping;
mod management;
mod negotiation;
mod writing;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::cast::{Kind, Part, UserNo};
use super::content::Id;
use super::history::{End, Fact};
use crate::xml::{Element, Event};
use archive::Paging;
use keeping::Keeping;
use management::Management;
use writing::Letter;

/// The accounts of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    pub domain: String,
    /// In the order of the cast's people.
    pub users: Vec<Account>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub local: String,
    pub password: String,
}

impl Accounts {
    /// The bare JID of a person.
    pub fn jid(&self, user: UserNo) -> String {
        let local = self.users.get(user.0).map_or("nobody", |account| account.local.as_str());
        format!("{local}@{}", self.domain)
    }
}

/// What a device wants from whoever drives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Send(String),
    /// The next byte of the server begins a new XML document.
    Reopen,
    /// The connection is over.
    HangUp,
    /// It calls again by itself.
    Return,
    Learned(Fact),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Away,
    Opening,
    Authenticating,
    Reopening,
    Resuming,
    Binding,
    Enabling,
    Online,
    Leaving,
}

/// How far a device is with waiting until nothing is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Settling {
    No,
    /// As soon as everything is written.
    Wanted,
    /// The answer to this request comes after everything else.
    Asked(Id),
    /// It came; what was written has to be acknowledged.
    Answered,
    Done,
}

/// One device.
#[derive(Debug)]
pub struct Device {
    accounts: Arc<Accounts>,
    part: Part,
    stage: Stage,
    outputs: VecDeque<Output>,
    /// Survives the death of the app: what it wrote and does not know to be taken.
    outbox: VecDeque<Letter>,
    /// Survives, too: the messages that it has.
    known: BTreeSet<Id>,
    /// Survives, too: the last entry of the archive before which it misses nothing.
    last_id: Option<String>,
    receipts: u32,
    requests: u32,
    /// Requests, each with the messages that were written before it: its answer says that they are taken.
    probes: VecDeque<(Id, Vec<Id>)>,
    features: Option<Element>,
    management: Option<Management>,
    paging: Option<Paging>,
    /// It has said that it is not there, or not for everything: what passes it, it catches up with.
    is_aside: bool,
    keeping: Keeping,
    /// It pages once more, for it was not there when it began.
    pages_again: bool,
    /// The request whose answer says that the device counts as there.
    arrival: Option<Id>,
    is_established: bool,
    settling: Settling,
    /// The stream error that the server gave.
    error: Option<String>,
}

impl Device {
    pub fn new(part: Part, accounts: Arc<Accounts>) -> Self {
        Self {
            accounts,
            part,
            stage: Stage::Away,
            outputs: VecDeque::new(),
            outbox: VecDeque::new(),
            known: BTreeSet::new(),
            last_id: None,
            receipts: 0,
            requests: 0,
            probes: VecDeque::new(),
            features: None,
            management: None,
            paging: None,
            is_aside: false,
            keeping: Keeping::default(),
            pages_again: false,
            arrival: None,
            is_established: false,
            settling: Settling::No,
            error: None,
        }
    }

    /// What it wants next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// It has a new connection, secured as it has to be.
    pub fn connected(&mut self) {
        self.forget_connection();
        self.stage = Stage::Opening;
        self.learn(Fact::Connected);
        self.open_stream();
    }

    /// Something arrived.
    pub fn read(&mut self, event: Event) {
        match event {
            Event::Open(_) => {}
            Event::Element(element) => self.element(element),
            Event::Close => self.closed(),
        }
    }

    /// The connection is gone, without a word.
    pub fn disconnected(&mut self) {
        if self.stage != Stage::Away {
            let error = self.error.take();
            self.end(End::Broken(error));
        }
    }

    /// The device gives its connection up and goes away.
    pub fn drop_connection(&mut self) {
        if self.stage != Stage::Away {
            self.end(End::Dropped);
        }
    }

    /// The app is killed: what is not on disk is lost.
    pub fn die(&mut self) {
        self.drop_connection();
        self.start_afresh();
    }

    /// It will not try to resume.
    pub fn start_afresh(&mut self) {
        self.management = None;
        self.keeping.forget();
        self.paging = None;
    }

    /// It closes its stream as it should be done.
    pub fn leave(&mut self) {
        match self.stage {
            Stage::Away | Stage::Leaving => {}
            Stage::Online => {
                self.end_management();
                self.send("</stream:stream>");
                self.stage = Stage::Leaving;
            }
            _ => self.drop_connection(),
        }
    }

    /// From now on it waits until all that is on its way has arrived, both ways.
    pub fn settle(&mut self) {
        self.settling = Settling::Wanted;
        self.advance();
    }

    /// Nothing is on its way, as far as the device can know.
    pub fn is_settled(&self) -> bool {
        self.stage == Stage::Away || self.settling == Settling::Done
    }

    /// It has a connection, or tries to have a session on one.
    pub fn is_connected(&self) -> bool {
        self.stage != Stage::Away
    }

    /// It takes part.
    pub fn is_online(&self) -> bool {
        self.stage == Stage::Online && self.is_established && self.paging.is_none()
    }

    /// Something that the server has to answer is not answered.
    pub fn is_waiting(&self) -> bool {
        match self.stage {
            Stage::Away => false,
            Stage::Online => !self.is_online() || !matches!(self.settling, Settling::No | Settling::Done),
            _ => true,
        }
    }

    /// What it waits for, in words.
    pub fn state(&self) -> String {
        let paging = if self.paging.is_some() { ", reads the archive" } else { "" };
        let unacknowledged = self.management.as_ref().map_or(0, Management::unacknowledged);
        format!("{:?}, {} to send, {unacknowledged} not acknowledged{paging}", self.stage, self.outbox.len())
    }

    fn kind(&self) -> Kind {
        self.part.kind
    }

    fn own_jid(&self) -> String {
        self.accounts.jid(self.part.user)
    }

    fn send(&mut self, xml: impl Into<String>) {
        self.outputs.push_back(Output::Send(xml.into()));
    }

    fn learn(&mut self, fact: Fact) {
        self.outputs.push_back(Output::Learned(fact));
    }

    fn odd(&mut self, what: impl Into<String>) {
        self.learn(Fact::Odd { what: what.into() });
    }

    fn next_request(&mut self, name: &str) -> Id {
        self.requests = self.requests.saturating_add(1);
        format!("{name}-{}", self.requests)
    }

    fn closed(&mut self) {
        let is_leaving = self.stage == Stage::Leaving;
        if !is_leaving {
            self.send("</stream:stream>");
        }
        let end = match self.error.take() {
            // A server that was about to end the stream by an error may have read no good-bye.
            None if is_leaving => End::Left,
            error => End::Closed(error),
        };
        self.end(end);
    }

    fn end(&mut self, end: End) {
        let is_servers_fault = self.stage != Stage::Leaving
            && matches!(&end, End::Closed(Some(error)) if error == "internal-server-error");
        self.forget_connection();
        self.learn(Fact::Ended(end));
        self.outputs.push_back(Output::HangUp);
        if is_servers_fault {
            self.outputs.push_back(Output::Return);
        }
    }

    fn forget_connection(&mut self) {
        self.stage = Stage::Away;
        self.features = None;
        self.arrival = None;
        // A resumed session goes on with the page that it was reading.
        if self.management.is_none() {
            self.keeping.forget();
            self.paging = None;
        }
        self.probes.clear();
        self.is_established = false;
        self.error = None;
        if self.settling != Settling::No {
            self.settling = Settling::Wanted;
        }
        self.forget_fire_and_forget();
    }
}
