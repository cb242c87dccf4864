//! # XEP-0492: Chat Notification Settings
//!
//! Follows 0.2.0 (2025-10-25). Of which conversations the owner wants to be told, the same on all devices.
//!
//! - Stage: none. Clients keep the settings with the bookmarks of rooms ([XEP-0402](crate::xep0402_bookmarks)), whose
//!   rule lets this module see each of them. State: the settings of each conversation, so that whoever wakes a device
//!   need not read the store.
//! - Ours: what cannot be understood is no setting; the bookmark keeps it as it is (§3).
//! - Left out: `<advanced/>` (§2.3) means something to clients alone.

use compact_str::CompactString;
use unisono_core::account::Account;
use unisono_core::extension::{Extension, KeyedState, Registry, Spec};
use unisono_core::storage::Write;
use unisono_xml::Element;

pub const NS: &str = "urn:xmpp:notification-settings:1";

/// Conversations with settings; as many as there are bookmarks.
const CONVERSATIONS_MAX: usize = 10_000;
/// Settings of one conversation that count; what is more is for clients.
const SETTINGS_MAX: usize = 32;
/// Bytes of the name of a kind of device.
const NAME_BYTES_MAX: usize = 64;

pub struct NotificationSettings;

impl Extension for NotificationSettings {
    fn spec(&self) -> Spec {
        Spec::xep(492, "0.2.0")
    }

    fn register(&self, on: &mut Registry) {
        on.keyed_state::<Notify>();
    }
}

/// §2.1: of what the owner wants to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    Always,
    OnMention,
    Never,
}

impl Setting {
    const ALL: [Self; 3] = [Self::Always, Self::OnMention, Self::Never];

    fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::OnMention => "on-mention",
            Self::Never => "never",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.as_str() == name)
    }
}

/// What the owner said of a conversation (a bare JID), for a device of this identity (XEP-0030 §3.1, such as `client` and
/// `phone`). `None` if nothing: then it depends on the kind of conversation (§3).
pub fn setting(account: &Account, conversation: &str, (category, kind): (&str, &str)) -> Option<Setting> {
    account.keyed::<Notify>(conversation)?.of(category, kind)
}

/// The settings of a conversation, for kinds of devices (§2.2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Notify(Vec<(Setting, CompactString, CompactString)>);

impl Notify {
    /// §3: the most specific one.
    fn of(&self, category: &str, kind: &str) -> Option<Setting> {
        let find =
            |category: &str, kind: &str| self.0.iter().find(|(_, of, with)| of == category && with == kind);
        let found = find(category, kind).or_else(|| find(category, "")).or_else(|| find("", ""));
        found.map(|(setting, ..)| *setting)
    }

    fn read(notify: &Element) -> Self {
        let read = |child: &Element| {
            let setting = Setting::parse(child.name()).filter(|_| child.ns() == NS)?;
            let category = child.attr("identity-category").unwrap_or_default();
            let kind = child.attr("identity-type").unwrap_or_default();
            // §2.2: "You MUST NOT add the 'identity-type' attribute without an accompanying 'identity-category'"
            let is_valid = (kind.is_empty() || !category.is_empty())
                && [category, kind]
                    .iter()
                    .all(|name| name.len() <= NAME_BYTES_MAX && !name.contains(char::is_whitespace));
            is_valid.then(|| (setting, category.into(), kind.into()))
        };
        Self(notify.children().filter_map(read).take(SETTINGS_MAX).collect())
    }
}

impl KeyedState for Notify {
    const KIND: &'static str = "notification-settings";

    fn decode(text: &str) -> Option<Self> {
        let read = |line: &str| {
            let mut words = line.split(' ');
            let setting = Setting::parse(words.next()?)?;
            Some((setting, words.next()?.into(), words.next()?.into()))
        };
        text.lines().map(read).collect::<Option<_>>().map(Self)
    }

    fn encode(&self) -> String {
        let lines =
            self.0.iter().map(|(setting, category, kind)| format!("{} {category} {kind}", setting.as_str()));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A conversation has these extensions now, in this commit; or none, because its bookmark is gone.
pub(crate) fn changed(
    account: &mut Account,
    conversation: &str,
    extensions: Option<&Element>,
    writes: &mut Vec<Write>,
) {
    let notify = extensions.and_then(|extensions| extensions.child("notify", NS)).map(Notify::read);
    let is_room = account.keyed::<Notify>(conversation).is_some()
        || account.all_keyed::<Notify>().count() < CONVERSATIONS_MAX;
    let notify = notify.filter(|notify| !notify.0.is_empty() && is_room);
    if account.keyed::<Notify>(conversation) != notify.as_ref() {
        account.set_keyed(conversation, notify, writes);
    }
}

/// All bookmarks are gone.
pub(crate) fn emptied(account: &mut Account, writes: &mut Vec<Write>) {
    let all: Vec<_> = account.all_keyed::<Notify>().map(|(conversation, _)| conversation.clone()).collect();
    for conversation in all {
        account.set_keyed::<Notify>(&conversation, None, writes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{account, element};

    const ROOM: &str = "room@c.example";
    const PHONE: (&str, &str) = ("client", "phone");

    fn with(settings: &str) -> Account {
        let mut account = account();
        let text = format!("<extensions xmlns='urn:x'><notify xmlns='{NS}'>{settings}</notify></extensions>");
        changed(&mut account, ROOM, Some(&element(&text)), &mut Vec::new());
        account
    }

    #[test]
    fn the_most_specific_setting_counts() {
        let several = "<never identity-category='client' identity-type='pc'/>\
            <on-mention identity-category='client' identity-type='phone'/>\
            <on-mention identity-category='gateway'/><always><advanced><x xmlns='urn:x'/></advanced></always>";
        for (settings, identity, want) in [
            ("<never/>", PHONE, Some(Setting::Never)),
            ("<never/><always identity-category='client'/>", PHONE, Some(Setting::Always)), // §3, rule 2
            (several, PHONE, Some(Setting::OnMention)),                                     // example 2
            (several, ("client", "pc"), Some(Setting::Never)),
            (several, ("client", "web"), Some(Setting::Always)), // §3, rule 3
            (several, ("gateway", "x"), Some(Setting::OnMention)),
            ("<never identity-category='client' identity-type='pc'/>", PHONE, None),
            ("<never identity-type='phone'/><always/>", PHONE, Some(Setting::Always)), // §2.2
            ("<sometimes/>", PHONE, None),
            ("<never xmlns='urn:other'/>", PHONE, None),
            ("<never identity-category='a b'/>", ("a b", "c"), None),
            ("", PHONE, None),
        ] {
            assert_eq!(setting(&with(settings), ROOM, identity), want, "{settings}");
        }
    }

    #[test]
    fn settings_are_read_back_and_go() {
        let mut account = with("<never/><always identity-category='client' identity-type='phone'/>");
        let notify = account.keyed::<Notify>(ROOM).unwrap().clone();
        assert_eq!(Notify::decode(&notify.encode()), Some(notify));
        assert_eq!(Notify::decode("often  "), None);
        let mut writes = Vec::new();
        changed(&mut account, ROOM, None, &mut writes);
        changed(&mut account, ROOM, None, &mut writes);
        assert_eq!((setting(&account, ROOM, PHONE), writes.len()), (None, 1));
        let mut account = with("<never/>");
        emptied(&mut account, &mut writes);
        assert_eq!(setting(&account, ROOM, PHONE), None);
    }
}
