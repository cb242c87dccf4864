//! What happens in a run, one step after the other, each readable as one line.

use std::time::Duration;

use super::cast::{Cast, DeviceNo, UserNo};
use super::keeping::{Change, ChangeNo};

/// The number of a message that a plan lets somebody write; its id on the wire is `m` and this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageNo(pub u32);

impl MessageNo {
    pub fn id(self) -> String {
        format!("m{}", self.0)
    }
}

/// What somebody writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// `filler`: bytes that make it as long as what some people paste.
    Text {
        asks_receipt: bool,
        filler: usize,
    },
    Correct(MessageNo),
    Retract(MessageNo),
    React(MessageNo, Emoji),
    Mark(MessageNo),
}

/// A reaction; none takes an earlier one back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emoji {
    None,
    Thumb,
    Heart,
}

impl Emoji {
    pub(super) fn all(self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::Thumb => vec!["👍".to_owned()],
            Self::Heart => vec!["❤".to_owned()],
        }
    }
}

/// What a device with a stream says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Available,
    /// It is there, and what is for nobody in particular is not for it (RFC 6121 §8.5.2.1.1).
    Negative,
    Unavailable,
}

/// How a connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Both sides learn of it at once: the connection is reset.
    Reset,
    /// Both sides see the end of the connection, in the middle of the stream.
    Cut,
    /// Nothing passes, and neither side is told.
    BlackHole,
    /// What the device sends arrives, what the server sends does not.
    Deaf,
    /// The device has given the connection up, the server knows nothing of it.
    HalfOpen,
}

impl Loss {
    pub(super) const ALL: [Self; 5] = [Self::Reset, Self::Cut, Self::BlackHole, Self::Deaf, Self::HalfOpen];

    /// The device learns of it at once.
    pub fn is_noticed(self) -> bool {
        matches!(self, Self::Reset | Self::Cut | Self::HalfOpen)
    }
}

/// When a server is killed that is armed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// In the moment in which the device gets an acknowledgement of a message.
    Acknowledged,
    /// In the moment in which the device sees a message.
    Seen,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Write {
        by: DeviceNo,
        to: UserNo,
        number: MessageNo,
        act: Act,
    },
    /// Something changes that the account keeps, if the device is there.
    Keep {
        by: DeviceNo,
        number: ChangeNo,
        change: Change,
    },
    /// A typing state, which nobody has to see.
    Compose {
        by: DeviceNo,
        to: UserNo,
    },
    /// The device asks for an acknowledgement (XEP-0198 §4).
    Ask {
        by: DeviceNo,
    },
    /// Nobody looks at the device any more, or again (XEP-0352).
    LookAway {
        by: DeviceNo,
    },
    Look {
        by: DeviceNo,
    },
    /// The device says on the stream that it has whether it is there (RFC 6121 §4).
    Show {
        by: DeviceNo,
        presence: Presence,
    },
    Lose {
        by: DeviceNo,
        how: Loss,
    },
    /// From now on each piece of what passes takes this much longer.
    Delay {
        by: DeviceNo,
        time: Duration,
    },
    /// The app is killed: the stream is gone, what was written and not acknowledged is kept.
    Die {
        by: DeviceNo,
    },
    /// The stream is closed as it should be.
    Leave {
        by: DeviceNo,
    },
    /// Back on a network that works; `afresh` without a try to resume.
    Return {
        by: DeviceNo,
        afresh: bool,
    },
    /// The server will be killed when this happens to the device.
    Arm {
        by: DeviceNo,
        trigger: Trigger,
    },
    /// `kill -9`, at once; if it is armed, when that has happened or nobody expects it any more.
    Kill,
    /// The server is asked to stop.
    Stop,
    Start,
    /// The server's clock jumps by so many seconds.
    StepClock {
        seconds: i64,
    },
    /// Everybody who has a connection waits until nothing more is on its way.
    Settle,
    Pause {
        time: Duration,
    },
}

impl Step {
    /// The device that does it.
    pub fn device(&self) -> Option<DeviceNo> {
        match self {
            Self::Write { by, .. }
            | Self::Keep { by, .. }
            | Self::Compose { by, .. }
            | Self::Ask { by }
            | Self::LookAway { by }
            | Self::Look { by }
            | Self::Show { by, .. }
            | Self::Lose { by, .. }
            | Self::Delay { by, .. }
            | Self::Die { by }
            | Self::Leave { by }
            | Self::Return { by, .. }
            | Self::Arm { by, .. } => Some(*by),
            Self::Kill
            | Self::Stop
            | Self::Start
            | Self::StepClock { .. }
            | Self::Settle
            | Self::Pause { .. } => None,
        }
    }

    /// The step in words.
    pub fn say(&self, cast: &Cast) -> String {
        let who = self.device().map(|device| cast.name(device)).unwrap_or_default();
        match self {
            Self::Write { to, number, act, .. } => {
                format!("{who} {} to {}", act.say(*number), cast.user(*to))
            }
            Self::Keep { number, change, .. } => format!("{who} {}", change.say(*number)),
            Self::Compose { to, .. } => format!("{who} is typing to {}", cast.user(*to)),
            Self::Ask { .. } => format!("{who} asks for an acknowledgement"),
            Self::LookAway { .. } => format!("{who} becomes inactive"),
            Self::Look { .. } => format!("{who} becomes active"),
            Self::Show { presence, .. } => format!("{who} says that it is {}", presence.say()),
            Self::Lose { how, .. } => format!("{who} loses its network: {}", how.say()),
            Self::Delay { time, .. } => format!("{who} has a slow network: {time:?}"),
            Self::Die { .. } => format!("{who} is killed"),
            Self::Leave { .. } => format!("{who} closes its stream"),
            Self::Return { afresh: true, .. } => format!("{who} comes back afresh"),
            Self::Return { afresh: false, .. } => format!("{who} comes back"),
            Self::Arm { trigger, .. } => format!("the server will die when {who} {}", trigger.say()),
            Self::Kill => "the server is killed".to_owned(),
            Self::Stop => "the server is stopped".to_owned(),
            Self::Start => "the server is started".to_owned(),
            Self::StepClock { seconds } => format!("the server's clock is moved by {seconds} s"),
            Self::Settle => "everybody waits until nothing more is on its way".to_owned(),
            Self::Pause { time } => format!("{time:?} pass"),
        }
    }
}

impl Act {
    fn say(self, number: MessageNo) -> String {
        let id = number.id();
        match self {
            Self::Text { asks_receipt, filler } => {
                let asks = if asks_receipt { " and asks for a receipt" } else { "" };
                let long = if filler > 0 { format!(", {filler} bytes longer") } else { String::new() };
                format!("writes {id}{long}{asks}")
            }
            Self::Correct(of) => format!("corrects {} with {id}", of.id()),
            Self::Retract(of) => format!("retracts {} with {id}", of.id()),
            Self::React(to, Emoji::None) => format!("takes its reactions to {} back with {id}", to.id()),
            Self::React(to, emoji) => format!("reacts {} to {} with {id}", emoji.all().concat(), to.id()),
            Self::Mark(upto) => format!("marks {} as displayed with {id}", upto.id()),
        }
    }
}

impl Presence {
    fn say(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Negative => "there, with a negative priority",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Loss {
    fn say(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Cut => "cut",
            Self::BlackHole => "black hole",
            Self::Deaf => "deaf, what it sends still arrives",
            Self::HalfOpen => "half-open",
        }
    }
}

impl Trigger {
    fn say(self) -> &'static str {
        match self {
            Self::Acknowledged => "gets an acknowledgement",
            Self::Seen => "sees a message",
        }
    }
}
