//! Numbers that name durable things. They never leave the server as they are: on the wire they are
//! enciphered, see [`crate::seal`].

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// An account, and with it the account's log. The store draws it.
    AccountId
}
id! {
    /// A device of an account: the durable record that outlives its streams.
    DeviceId
}
id! {
    /// One session of a device: what XEP-0198 resumes.
    SessionId
}
id! {
    /// A place in a log, in microseconds since 1970 when it was given: `max(last + 1, now)`, so it
    /// grows by at least one with every entry, even when the clock steps back. It is the entry's time
    /// where a time is shown.
    LogPosition
}

impl LogPosition {
    /// Before every entry of every log.
    pub const START: Self = Self(0);

    /// The position of the next entry in a log whose last one is `self`.
    #[must_use]
    pub fn next(self, now_micros: i64) -> Self {
        Self(self.0.saturating_add(1).max(now_micros))
    }
}

/// The place of a commit in the commit queue. Everything up to a durable ticket is durable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Nothing to wait for.
    pub const NONE: Self = Self(0);
}
