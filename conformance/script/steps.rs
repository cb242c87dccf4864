//! A script as data.

use std::collections::BTreeSet;
use std::fmt;

use super::{Pattern, Template};

/// One behaviour: what is set up, what each side sends and what must arrive.
#[derive(Debug)]
pub(crate) struct Script {
    /// The section that is proven, as in `RFC 6121 §2.1.6`.
    pub(crate) spec: String,
    /// The behaviour in one sentence.
    pub(crate) says: String,
    pub(crate) needs: Vec<Need>,
    /// Accounts that exist.
    pub(crate) accounts: BTreeSet<String>,
    /// Accounts that are named and do not exist.
    pub(crate) ghosts: BTreeSet<String>,
    /// The names that get a value from outside: accounts, devices, counters.
    pub(crate) variables: BTreeSet<String>,
    pub(crate) steps: Vec<Step>,
}

/// What a server must announce for the script to make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) place: Place,
    pub(crate) feature: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Anywhere,
    /// Service discovery on the domain.
    Server,
    /// Service discovery on the bare JID of an account.
    Account,
    /// Service discovery on the service of nodes: the domain with `pubsub.` before it.
    Pubsub,
    /// The namespace of a stream feature.
    Stream,
    /// The name of a SASL mechanism.
    Mechanism,
}

#[derive(Debug)]
pub(crate) struct Step {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) action: Action,
}

#[derive(Debug)]
pub(crate) enum Action {
    /// `reader` sees the presence of `writer`.
    Subscribe {
        reader: String,
        writer: String,
    },
    Connect(DeviceName, Connect),
    Send {
        device: DeviceName,
        times: u32,
        text: Template,
    },
    SendRaw {
        device: DeviceName,
        text: Template,
    },
    Receive {
        device: DeviceName,
        times: u32,
        patterns: Vec<Pattern>,
        choice: Choice,
    },
    ReceiveNothing(DeviceName),
    Ignore {
        device: DeviceName,
        patterns: Vec<Pattern>,
    },
    OpenStream(DeviceName),
    /// `<starttls/>`, `<proceed/>` and the handshake.
    StartTls(DeviceName),
    /// The handshake alone. `may_fail`: the server may also refuse it; then the script is over.
    Handshake {
        device: DeviceName,
        may_fail: bool,
    },
    /// SASL up to the server's last word, which is left to be received.
    Try {
        device: DeviceName,
        mechanism: String,
        has_wrong_password: bool,
        /// The authorization identity, where one is sent.
        on_behalf_of: Option<Template>,
    },
    CloseStream(DeviceName),
    Drop(DeviceName),
    StreamIsClosed(DeviceName),
    ConnectionEnds(DeviceName),
    Check {
        left: Template,
        comparison: Comparison,
        right: Template,
    },
}

/// How what arrives is held against several patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Element after element, pattern after pattern.
    InOrder,
    /// As many elements as patterns, each pattern once.
    AnyOrder,
    /// One element, which matches one of the patterns.
    OneOf,
}

/// How far a connection goes before the script takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option that a script may name")]
pub(crate) struct Connect {
    pub(crate) level: Level,
    /// Enables XEP-0280.
    pub(crate) has_carbons: bool,
    /// Enables XEP-0198 with resumption.
    pub(crate) has_sm: bool,
    /// Does not answer `<r/>` by itself.
    pub(crate) has_manual_acks: bool,
    /// Asks for the roster before the first presence, and so is "interested".
    pub(crate) wants_roster: bool,
    pub(crate) priority: Option<i8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Tcp,
    /// A stream in the clear, its features read.
    Stream,
    /// A stream inside TLS, its features read.
    Tls,
    /// Authenticated, the new stream opened, its features read.
    Login,
    /// A resource is bound.
    Bound,
    /// Available, and everything that follows from it has arrived.
    Online,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Is,
    IsNot,
    Less,
    LessOrEqual,
}

/// `alice/phone`; a second connection with the same resource is `alice/phone#2`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DeviceName(String);

impl DeviceName {
    /// `None` if the text is no name of a device.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (account, resource) = text.split_once('/')?;
        let resource = resource
            .split_once('#')
            .map_or(resource, |(resource, number)| if number.parse::<u8>().is_ok() { resource } else { "" });
        let is_resource = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (is_account(account) && !resource.is_empty() && resource.chars().all(is_resource))
            .then(|| Self(text.to_owned()))
    }

    pub(crate) fn account(&self) -> &str {
        self.0.split_once('/').map_or("", |(account, _)| account)
    }

    pub(crate) fn resource(&self) -> &str {
        let resource = self.0.split_once('/').map_or("", |(_, resource)| resource);
        resource.split_once('#').map_or(resource, |(resource, _)| resource)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether this may be the name of an account in a script.
pub(crate) fn is_account(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase())
}

impl Action {
    /// Steps that prepare; what they cause has arrived before the first other step runs.
    pub(crate) fn is_setup(&self) -> bool {
        match self {
            Self::Subscribe { .. } | Self::Ignore { .. } => true,
            Self::Connect(_, connect) => connect.level == Level::Online,
            _ => false,
        }
    }

    /// The device that acts.
    pub(crate) fn device(&self) -> Option<&DeviceName> {
        match self {
            Self::Subscribe { .. } | Self::Check { .. } => None,
            Self::Connect(device, _)
            | Self::Send { device, .. }
            | Self::SendRaw { device, .. }
            | Self::Receive { device, .. }
            | Self::ReceiveNothing(device)
            | Self::Ignore { device, .. }
            | Self::OpenStream(device)
            | Self::StartTls(device)
            | Self::Handshake { device, .. }
            | Self::Try { device, .. }
            | Self::CloseStream(device)
            | Self::Drop(device)
            | Self::StreamIsClosed(device)
            | Self::ConnectionEnds(device) => Some(device),
        }
    }
}
