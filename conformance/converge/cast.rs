//! Who takes part: people, and their devices of several kinds.

use std::fmt;

use super::random::Random;

/// What a kind of client can do, and so what can be promised to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Carbons (XEP-0280) and nothing that catches up. What it is away for, it misses.
    Carbons,
    /// Carbons, and the archive (XEP-0313) paged from the last id it knows.
    Mam,
    /// Carbons, stream management with resumption (XEP-0198), and the archive where it cannot resume.
    Sm,
    /// Stream management with resumption, and offline messages where it cannot resume. No carbons, no archive.
    SmOffline,
    /// Offline messages alone (XEP-0160): what RFC 6121 gives to everybody.
    Legacy,
    /// As `Sm`, and nobody looks at it most of the time (XEP-0352).
    Csi,
    /// Reads the archive as a whole when all is over, and is never seen by anybody.
    Auditor,
}

impl Kind {
    /// The kinds that take part in conversations.
    pub const ALL: [Self; 6] = [Self::Carbons, Self::Mam, Self::Sm, Self::SmOffline, Self::Legacy, Self::Csi];

    /// As it stands in the names of devices.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Carbons => "carbons",
            Self::Mam => "mam",
            Self::Sm => "sm",
            Self::SmOffline => "smoffline",
            Self::Legacy => "legacy",
            Self::Csi => "csi",
            Self::Auditor => "auditor",
        }
    }

    /// It gets copies of what the account's other devices send and receive.
    pub fn has_carbons(self) -> bool {
        matches!(self, Self::Carbons | Self::Mam | Self::Sm | Self::Csi)
    }

    /// It counts stanzas and resumes broken streams.
    pub fn has_sm(self) -> bool {
        matches!(self, Self::Sm | Self::SmOffline | Self::Csi)
    }

    /// It pages the archive when it comes back.
    pub fn pages(self) -> bool {
        matches!(self, Self::Mam | Self::Sm | Self::Csi | Self::Auditor)
    }

    /// It takes part: others see it, and messages reach it live.
    pub fn is_available(self) -> bool {
        self != Self::Auditor
    }

    /// It can know of a message that it was taken: by an acknowledgement, or by finding it in the archive.
    pub fn resends(self) -> bool {
        self.has_sm() || self == Self::Mam
    }

    /// What its own account's other devices send reaches it somehow.
    pub fn sees_sent(self) -> bool {
        self.has_carbons() || self.pages()
    }
}

/// A device of the cast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which of the people has it.
    pub user: UserNo,
    pub kind: Kind,
    /// The resource that it binds, the same each time.
    pub resource: String,
}

/// The people and devices of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cast {
    /// Names of the people.
    pub users: Vec<String>,
    /// The devices of all of them; their index is their number.
    pub parts: Vec<Part>,
}

/// The device of this number in a cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceNo(pub usize);

/// The person of this number in a cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserNo(pub usize);

const NAMES: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];

impl Cast {
    /// Draws the kinds of the devices: each kind once before any comes twice.
    pub(super) fn draw(random: &mut Random, users: usize, devices: usize) -> Self {
        let users = users.max(1);
        let mut parts = Vec::new();
        let mut left: Vec<Kind> = Vec::new();
        for user in 0..users {
            for number in 1..=devices.max(1) {
                if left.is_empty() {
                    left = Kind::ALL.to_vec();
                    random.shuffle(&mut left);
                }
                let kind = left.pop().unwrap_or(Kind::Sm);
                parts.push(Part {
                    user: UserNo(user),
                    kind,
                    resource: format!("{}-{number}", kind.as_str()),
                });
            }
        }
        let name =
            |number: usize| NAMES.get(number).map_or_else(|| format!("user{number}"), ToString::to_string);
        Self { users: (0..users).map(name).collect(), parts }
    }

    /// The same with somebody who reads the archive of each account.
    pub fn with_auditors(&self) -> Self {
        let mut cast = self.clone();
        let auditor = |user| Part { user: UserNo(user), kind: Kind::Auditor, resource: "auditor".to_owned() };
        cast.parts.extend((0..self.users.len()).map(auditor));
        cast
    }

    pub fn part(&self, device: DeviceNo) -> Option<&Part> {
        self.parts.get(device.0)
    }

    /// All devices, in the order of their numbers.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceNo, &Part)> {
        self.parts.iter().enumerate().map(|(number, part)| (DeviceNo(number), part))
    }

    /// As in `alice/sm-1`.
    pub fn name(&self, device: DeviceNo) -> String {
        self.part(device).map_or_else(
            || format!("device {}", device.0),
            |part| format!("{}/{}", self.user(part.user), part.resource),
        )
    }

    pub fn user(&self, user: UserNo) -> &str {
        self.users.get(user.0).map_or("nobody", String::as_str)
    }
}

impl fmt::Display for Cast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.devices().map(|(device, _)| self.name(device)).collect();
        f.write_str(&names.join(", "))
    }
}
