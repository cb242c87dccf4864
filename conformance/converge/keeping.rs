//! What an account keeps besides messages: what devices change of it, and what they find at the end.

use super::cast::UserNo;

/// The kinds of state that devices change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// The roster (RFC 6121 §2): names of contacts.
    Contacts,
    /// The block list (XEP-0191).
    Blocked,
    /// Bookmarks (XEP-0402): names of rooms.
    Bookmarks,
    /// The list of devices (XEP-0384): who is on it.
    Devices,
    /// How far conversations were read (XEP-0490): the archive id of a message.
    Read,
}

impl Topic {
    pub const ALL: [Self; 5] = [Self::Contacts, Self::Blocked, Self::Bookmarks, Self::Devices, Self::Read];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Contacts => "contacts",
            Self::Blocked => "block list",
            Self::Bookmarks => "bookmarks",
            Self::Devices => "list of devices",
            Self::Read => "read positions",
        }
    }
}

/// The number of a change; it makes what is changed unlike all else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangeNo(pub u32);

/// What a device changes. The numbers of contacts, rooms and people to block are small, so that devices meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Contact(u8),
    NoContact(u8),
    Block(u8),
    Unblock(u8),
    Bookmark(u8),
    NoBookmark(u8),
    /// The device puts itself on the list of devices, beside those that it finds there.
    Announce,
    /// The device has displayed what came last from somebody.
    Read(UserNo),
}

impl Change {
    pub fn topic(self) -> Topic {
        match self {
            Self::Contact(_) | Self::NoContact(_) => Topic::Contacts,
            Self::Block(_) | Self::Unblock(_) => Topic::Blocked,
            Self::Bookmark(_) | Self::NoBookmark(_) => Topic::Bookmarks,
            Self::Announce => Topic::Devices,
            Self::Read(_) => Topic::Read,
        }
    }

    /// What it does, in words.
    pub(super) fn say(self, number: ChangeNo) -> String {
        let number = number.0;
        match self {
            Self::Contact(slot) => format!("names contact {slot} k{number}"),
            Self::NoContact(slot) => format!("removes contact {slot} (k{number})"),
            Self::Block(slot) => format!("blocks {slot} (k{number})"),
            Self::Unblock(slot) => format!("unblocks {slot} (k{number})"),
            Self::Bookmark(slot) => format!("bookmarks room {slot} as k{number}"),
            Self::NoBookmark(slot) => format!("removes the bookmark of room {slot} (k{number})"),
            Self::Announce => format!("announces itself (k{number})"),
            Self::Read(_) => format!("has read what came (k{number})"),
        }
    }
}
