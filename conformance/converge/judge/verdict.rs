//! What is told of a broken promise.

use std::fmt;

use super::super::cast::DeviceNo;
use super::super::content::Id;

/// The promises of the design. The sixth is about the first round trip of newer clients, which these are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// One order: what every device sees, each message with one id.
    P1,
    /// What is acknowledged is recorded, and what is delivered.
    P2,
    /// Once.
    P3,
    /// Sessions outlive connections.
    P4,
    /// The same state on all devices.
    P5,
    /// No promise of ours, but what the protocols say.
    Protocol,
}

impl Promise {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
            Self::P4 => "P4",
            Self::P5 => "P5",
            Self::Protocol => "protocol",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::P1 => "one order",
            Self::P2 => "acknowledged is recorded",
            Self::P3 => "once",
            Self::P4 => "sessions outlive connections",
            Self::P5 => "same state",
            Self::Protocol => "what the protocols say",
        }
    }
}

/// What exactly is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    LostAfterAck,
    DeliveredNotRecorded,
    UnknownId,
    WrongCount,
    DoubledInLog,
    DoubledOnDevice,
    Invented,
    IdDiffers,
    IdMissing,
    IdShared,
    ReorderedOnDevice,
    ReorderedOnPage,
    ReorderedInLog,
    Missed,
    LostInResumption,
    NotResumed,
    NoCount,
    Ended,
    Stuck,
    StateDiffers,
    MarkerBack,
    ContentDiffers,
    Refused,
    Odd,
}

impl Rule {
    /// The promise that it belongs to.
    pub fn promise(self) -> Promise {
        match self {
            Self::IdDiffers
            | Self::IdMissing
            | Self::IdShared
            | Self::ReorderedOnDevice
            | Self::ReorderedOnPage
            | Self::ReorderedInLog
            | Self::Missed => Promise::P1,
            Self::LostAfterAck | Self::DeliveredNotRecorded | Self::UnknownId | Self::WrongCount => {
                Promise::P2
            }
            Self::DoubledInLog | Self::DoubledOnDevice | Self::Invented => Promise::P3,
            Self::LostInResumption | Self::NotResumed | Self::NoCount | Self::Ended | Self::Stuck => {
                Promise::P4
            }
            Self::StateDiffers | Self::MarkerBack | Self::ContentDiffers => Promise::P5,
            Self::Refused | Self::Odd => Promise::Protocol,
        }
    }

    /// The name for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LostAfterAck => "lost-after-ack",
            Self::DeliveredNotRecorded => "delivered-not-recorded",
            Self::UnknownId => "unknown-id",
            Self::WrongCount => "wrong-count",
            Self::DoubledInLog => "doubled-in-log",
            Self::DoubledOnDevice => "doubled-on-device",
            Self::Invented => "invented",
            Self::IdDiffers => "id-differs",
            Self::IdMissing => "id-missing",
            Self::IdShared => "id-shared",
            Self::ReorderedOnDevice => "reordered-on-device",
            Self::ReorderedOnPage => "reordered-on-page",
            Self::ReorderedInLog => "reordered-in-log",
            Self::Missed => "missed",
            Self::LostInResumption => "lost-in-resumption",
            Self::NotResumed => "not-resumed",
            Self::NoCount => "no-count",
            Self::Ended => "ended",
            Self::Stuck => "stuck",
            Self::StateDiffers => "state-differs",
            Self::MarkerBack => "marker-back",
            Self::ContentDiffers => "content-differs",
            Self::Refused => "refused",
            Self::Odd => "odd",
        }
    }
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    /// The device that shows it, if it is one.
    pub device: Option<DeviceNo>,
    /// The messages that it is about.
    pub messages: Vec<Id>,
    /// In words.
    pub text: String,
    /// What was sent and seen of these messages, as lines.
    pub evidence: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let promise = self.rule.promise();
        write!(f, "{} ({}), {}: {}", promise.as_str(), promise.title(), self.rule.as_str(), self.text)
    }
}
