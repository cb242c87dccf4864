//! What happened in a run, in the order in which it happened: all that is judged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cast::{Cast, DeviceNo};
use super::content::{Content, Id};
use super::keeping::{ChangeNo, Topic};

/// By which road a device came to see a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It was sent to the device.
    Live(Form),
    /// It was read in the archive.
    Archive,
}

/// The form of a message that is sent to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Original,
    /// XEP-0280: another device of the account sent it.
    CarbonSent,
    /// XEP-0280: another device of the account received it.
    CarbonReceived,
}

/// A message as a device saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    pub id: Id,
    /// The sender, as the message says.
    pub from: String,
    pub to: String,
    pub way: Way,
    /// The id in the device's own archive: of `<stanza-id/>`, or of the archive's result.
    pub stanza_id: Option<String>,
    /// The number that XEP-0198 gives it in this session.
    pub number: Option<u32>,
    pub content: Content,
    /// The stanza as it came.
    pub xml: Arc<str>,
}

/// How a stream came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The device closed it, and the server closed its side after everything else.
    Left,
    /// The server closed it, with this error, if there was one.
    Closed(Option<String>),
    /// The connection was gone, after this error, if there was one.
    Broken(Option<String>),
    /// The device gave it up.
    Dropped,
}

/// What a device did, or learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A message was given to a connection, not for the first time perhaps.
    Sent {
        id: Id,
        to: String,
        content: Content,
        xml: Arc<str>,
    },
    /// The server took the message: XEP-0198 counted it.
    Acknowledged {
        id: Id,
    },
    /// The message came back as an error.
    Refused {
        id: Id,
        xml: Arc<str>,
    },
    Saw(Sight),
    /// There is a connection to the server.
    Connected,
    /// A new session began.
    Bound,
    /// The session went on, on another connection.
    Resumed,
    /// It could not; the server counts `handled` stanzas of the device, if it says.
    NotResumed {
        handled: Option<u32>,
    },
    /// The server counts less than it acknowledged, or more than it was sent.
    WrongCount {
        handled: u32,
        acknowledged: u32,
        sent: u32,
    },
    /// The device counts as there from now on: what is sent reaches it.
    Established,
    /// All pages of the archive were read.
    CaughtUp,
    /// The archive does not know an id that the server gave the device.
    Forgotten {
        stanza_id: String,
    },
    /// The server was told that the device has all stanzas of the session up to this number.
    Told {
        number: u32,
    },
    /// Something that the account keeps was asked to change; no value takes it away.
    Changing {
        number: ChangeNo,
        topic: Topic,
        key: String,
        value: Option<String>,
    },
    /// The server said that it has changed.
    Kept {
        number: ChangeNo,
    },
    /// The server said that it has not.
    NotKept {
        number: ChangeNo,
    },
    /// All of this kind that the device found.
    Holds {
        topic: Topic,
        entries: BTreeMap<String, String>,
    },
    /// All that was on its way has arrived.
    Settled,
    Ended(End),
    /// The server broke a protocol.
    Odd {
        what: String,
    },
    /// The server could not do what it was asked, and said so. The device asks again.
    Failed {
        what: String,
    },
    /// Something that was asked for did not come.
    Stuck {
        what: String,
    },
    /// The server does not offer what the device needs.
    Lacks {
        what: &'static str,
    },
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Device(DeviceNo, Fact),
    /// The network of a device fails from here on.
    NetworkLost(DeviceNo),
    /// Devices begin to wait until nothing is on its way.
    SettleBegan,
    ServerKilled,
    ServerStopping,
    ServerStarted,
    /// What the server asked its store could not be read.
    StoreFailed,
}

/// Everything, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    pub events: Vec<Event>,
}

/// Writes a history. Cheap to clone; all clones write one.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    events: Arc<Mutex<Vec<Event>>>,
}

impl Recorder {
    pub fn add(&self, event: Event) {
        self.lock().push(event);
    }

    /// Messages sent and seen until now: while this grows, something is on its way.
    pub(super) fn traffic(&self) -> usize {
        let is_traffic = |event: &&Event| matches!(event, Event::Device(_, Fact::Sent { .. } | Fact::Saw(_)));
        self.lock().iter().filter(is_traffic).count()
    }

    /// What happened until now.
    pub fn history(&self) -> History {
        History { events: self.lock().clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is long is not told whole.
pub(super) fn brief(text: &str) -> String {
    const MAX: usize = 600;
    match text.char_indices().nth(MAX) {
        Some((at, _)) => format!("{} … ({} bytes)", text.get(..at).unwrap_or_default(), text.len()),
        None => text.to_owned(),
    }
}

impl Event {
    /// The event in words.
    pub fn say(&self, cast: &Cast) -> String {
        match self {
            Self::Device(device, fact) => format!("{} {}", cast.name(*device), fact.say()),
            Self::NetworkLost(device) => format!("the network of {} fails", cast.name(*device)),
            Self::SettleBegan => "everybody begins to wait".to_owned(),
            Self::ServerKilled => "the server is killed".to_owned(),
            Self::ServerStopping => "the server is asked to stop".to_owned(),
            Self::ServerStarted => "the server is there again".to_owned(),
            Self::StoreFailed => "the store cannot be read for a moment".to_owned(),
        }
    }
}

impl Fact {
    fn say(&self) -> String {
        match self {
            Self::Sent { id, xml, .. } => format!("sends {id}: {}", brief(xml)),
            Self::Acknowledged { id } => format!("has {id} acknowledged"),
            Self::Refused { id, .. } => format!("gets {id} back"),
            Self::Saw(sight) => {
                let stanza_id = sight.stanza_id.as_deref().unwrap_or("none");
                let content = format!("{:?}", sight.content);
                format!("sees {} ({:?}), id {stanza_id}: {}", sight.id, sight.way, brief(&content))
            }
            Self::Connected => "has a connection".to_owned(),
            Self::Bound => "begins a session".to_owned(),
            Self::Resumed => "resumes its session".to_owned(),
            Self::NotResumed { handled: Some(handled) } => format!("cannot resume, {handled} were handled"),
            Self::NotResumed { handled: None } => "cannot resume".to_owned(),
            Self::WrongCount { handled, acknowledged, sent } => {
                format!(
                    "is told that {handled} were handled, of {sent}, of which {acknowledged} were acknowledged"
                )
            }
            Self::Established => "is there".to_owned(),
            Self::CaughtUp => "has caught up".to_owned(),
            Self::Forgotten { stanza_id } => {
                format!("asks after {stanza_id}, which the archive does not know")
            }
            Self::Told { number } => format!("says that it has {number}"),
            Self::Changing { number, topic, key, value } => {
                format!("asks for k{}: in the {} {key} is {value:?}", number.0, topic.as_str())
            }
            Self::Kept { number } => format!("has k{} acknowledged", number.0),
            Self::NotKept { number } => format!("gets k{} refused", number.0),
            Self::Holds { topic, entries } => {
                format!("finds {}: {}", topic.as_str(), brief(&format!("{entries:?}")))
            }
            Self::Settled => "has all that was on its way".to_owned(),
            Self::Ended(end) => format!("has no connection any more: {end:?}"),
            Self::Odd { what } | Self::Failed { what } | Self::Stuck { what } => what.clone(),
            Self::Lacks { what } => format!("is not offered {what}"),
        }
    }
}
