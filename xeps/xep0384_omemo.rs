//! # XEP-0384: OMEMO Encryption
//!
//! Follows 0.9.1 (2026-04-06). The list of the devices of an account, each of which others encrypt for.
//!
//! - Stage: none; a rule of the nodes with the list, that of this version and that of the one before it, which clients use.
//!   State: who put which device on the list, and when.
//! - Ours: two devices that announce themselves at once do not take each other off the list (§5.3.1 names the race). What a
//!   publication leaves out stays on the list if it was put there by another session, later than what the publishing one
//!   has seen of the list for certain: what it was told or fetched, and has acknowledged (XEP-0198), or when a device that
//!   it names was first on it, be it not its own. Such a session did not know of it. It is told of the list as it is now;
//!   when it leaves the same out again, it means it, and it goes. A session without acknowledgements is believed to have
//!   what was sent to it. Whatever is deleted or purged is gone.
//! - Left out: nothing else is asked of a server; bundles (§5.3.2) are items like others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use unisono_core::account::Account;
use unisono_core::error::StanzaError;
use unisono_core::extension::{Extension, KeyedState, Registry, Spec};
use unisono_core::hub::Hub;
use unisono_core::ids::{LogPosition, SessionId};
use unisono_core::session::Session;
use unisono_core::storage::Write;
use unisono_xml::Element;

use crate::xep0060_pubsub::{Action, Change, Publication, Rule, Scene, has_seen};

/// §5.3.1
pub const NS_DEVICES: &str = "urn:xmpp:omemo:2:devices";
pub const NS: &str = "urn:xmpp:omemo:2";
/// The list of version 0.3, which most clients still use.
pub const NS_OLD_DEVICES: &str = "eu.siacs.conversations.axolotl.devicelist";
pub const NS_OLD: &str = "eu.siacs.conversations.axolotl";

/// Devices of one list that are put back at most.
const DEVICES_MAX: usize = 256;
/// Devices that are on a list, or were, and are remembered.
const REMEMBERED_MAX: usize = 512;

pub struct Omemo;

impl Extension for Omemo {
    fn spec(&self) -> Spec {
        Spec::xep(384, "0.9.1")
    }

    fn register(&self, on: &mut Registry) {
        on.keyed_state::<Added>();
    }
}

/// The rule of a node with a list of devices.
pub(crate) struct OfDevices {
    pub(crate) node: &'static str,
    /// The only node that has to be seen.
    pub(crate) nodes: &'static [&'static str],
    pub(crate) ns: &'static str,
    /// The name of the list.
    pub(crate) list: &'static str,
}

/// The list of this version,
pub(crate) const NEW: OfDevices =
    OfDevices { node: NS_DEVICES, nodes: &[NS_DEVICES], ns: NS, list: "devices" };
/// and that of the one before.
pub(crate) const OLD: OfDevices =
    OfDevices { node: NS_OLD_DEVICES, nodes: &[NS_OLD_DEVICES], ns: NS_OLD, list: "list" };

/// The devices that are on a list, or were.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Added(BTreeMap<u32, Listed>);

/// How a device came to be on a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Listed {
    /// When it was there for the first time: whoever names it, and is not it, has seen the list since.
    first: LogPosition,
    /// When it was put there last, and by which session.
    at: LogPosition,
    by: SessionId,
    is_there: bool,
}

impl KeyedState for Added {
    const KIND: &'static str = "omemo-devices";

    fn decode(text: &str) -> Option<Self> {
        let mut added = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let mut number = || words.next()?.parse::<i64>().ok();
            let id = u32::try_from(number()?).ok()?;
            let (first, at) = (LogPosition(number()?), LogPosition(number()?));
            let (by, is_there) = (SessionId(number()?), number()? == 1);
            added.0.insert(id, Listed { first, at, by, is_there });
        }
        Some(added)
    }

    fn encode(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (id, listed)| {
            let Listed { first, at, by, is_there } = listed;
            _ = writeln!(text, "{id} {} {} {} {}", first.0, at.0, by.0, u8::from(*is_there));
            text
        })
    }
}

impl Added {
    /// The list names these devices now.
    fn list(&mut self, ids: impl Iterator<Item = u32>, at: LogPosition, by: SessionId) {
        let ids: Vec<_> = ids.take(DEVICES_MAX).collect();
        for (id, listed) in &mut self.0 {
            listed.is_there &= ids.contains(id);
        }
        for id in ids {
            let new = Listed { first: at, at, by, is_there: true };
            let listed = self.0.entry(id).or_insert(new);
            if !listed.is_there {
                *listed = Listed { first: listed.first, ..new };
            }
        }
        while self.0.len() > REMEMBERED_MAX {
            let gone = self.0.iter().filter(|(_, listed)| !listed.is_there);
            let Some((oldest, _)) = gone.min_by_key(|(_, listed)| listed.first) else { break };
            let oldest = *oldest;
            self.0.remove(&oldest);
        }
    }
}

impl OfDevices {
    /// The devices on a list. What has no number is no device.
    fn devices<'a>(&self, list: &'a Element) -> impl Iterator<Item = (u32, &'a Element)> {
        let devices = list.children().filter(|child| child.is("device", self.ns));
        devices.filter_map(|device| Some((device.attr("id")?.parse().ok()?, device)))
    }

    /// The devices that a session left out because it did not know of them.
    fn unknown_to(
        &self,
        session: Option<&Session>,
        account: &Account,
        (now, new): (&Element, &Element),
    ) -> Vec<Element> {
        let Some(Added(added)) = account.keyed(self.node) else { return Vec::new() };
        let is_others = |listed: &Listed| Some(listed.by) != session.map(Session::id);
        let named: BTreeSet<u32> = self.devices(new).map(|(id, _)| id).collect();
        // One of those that it names may be the publisher's own, which proves nothing: the latest does not count.
        let mut shown: Vec<_> =
            named.iter().filter_map(|id| added.get(id)).map(|listed| listed.first).collect();
        shown.sort_unstable();
        let shown = shown.into_iter().rev().nth(1);
        let told = session.map(|session| has_seen(session, self.node));
        let seen = shown.max(told).unwrap_or(LogPosition::START);
        let is_unknown = |id: u32| added.get(&id).is_some_and(|listed| listed.at > seen && is_others(listed));
        let is_left_out = |id: u32| !named.contains(&id);
        let unknown = self.devices(now).filter(|(id, _)| is_left_out(*id) && is_unknown(*id));
        unknown.map(|(_, device)| device.clone()).take(DEVICES_MAX).collect()
    }
}

impl Rule for OfDevices {
    fn reads(&self) -> &'static [&'static str] {
        self.nodes
    }

    fn asks_who_saw(&self) -> bool {
        true
    }

    fn follow(&self, action: &mut Action, scene: &Scene<'_>) -> Result<Vec<Change>, StanzaError> {
        let Action::Publish { payload, .. } = action else { return Ok(Vec::new()) };
        let now = scene.seen.items(self.node).map(|(_, list)| list).next_back();
        if let Some(now) = now.filter(|_| payload.is(self.list, self.ns)) {
            let unknown = self.unknown_to(scene.by, scene.account, (&now, payload));
            *payload = payload.to_builder().children(unknown).build();
        }
        Ok(Vec::new())
    }

    fn published(&self, hub: &Hub, account: &mut Account, made: &Publication<'_>, writes: &mut Vec<Write>) {
        let old = account.keyed::<Added>(self.node).cloned().unwrap_or_default();
        let now = account.next_position(hub.clock.now_micros());
        let mut added = old.clone();
        added.list(self.devices(made.payload).map(|(id, _)| id), now, made.by.unwrap_or(SessionId(0)));
        if added != old {
            account.set_keyed(self.node, Some(added), writes);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{account, element};

    #[test]
    fn what_is_remembered_is_read_back() {
        let mut added = Added::default();
        added.list([1, 4_294_967_295].into_iter(), LogPosition(17), SessionId(3));
        added.list([1].into_iter(), LogPosition(18), SessionId(4));
        assert_eq!(Added::decode(&added.encode()), Some(added));
        for broken in ["x", "1 2", "1 2 x 4 1", "-1 2 3 4 1", "4294967296 2 3 4 1"] {
            assert_eq!(Added::decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn who_comes_back_is_new_and_was_there_before() {
        let mut added = Added::default();
        added.list([1, 2].into_iter(), LogPosition(10), SessionId(1));
        added.list([1].into_iter(), LogPosition(20), SessionId(1));
        added.list([1, 2].into_iter(), LogPosition(30), SessionId(2));
        let listed = *added.0.get(&2).unwrap();
        assert_eq!((listed.first, listed.at, listed.by), (LogPosition(10), LogPosition(30), SessionId(2)));
        added.list(1..1_000, LogPosition(40), SessionId(3));
        added.list(1_000..2_000, LogPosition(50), SessionId(3));
        added.list(2_000..3_000, LogPosition(60), SessionId(3));
        assert_eq!(added.0.len(), REMEMBERED_MAX);
        assert_eq!(added.0.values().filter(|listed| listed.is_there).count(), DEVICES_MAX);
    }

    #[test]
    fn what_is_put_back() {
        let (new, old) = (NEW, OLD);
        let mut account = account();
        let mut added = Added::default();
        for (at, ids) in [(10, &[1][..]), (20, &[1, 2]), (30, &[1, 2, 3])] {
            added.list(ids.iter().copied(), LogPosition(at), SessionId(at));
        }
        account.set_keyed(new.node, Some(added), &mut Vec::new());
        let list = |ids: &[&str]| {
            let device = |id: &&str| Element::builder("device", NS).attr("id", *id).build();
            Element::builder("devices", NS).children(ids.iter().map(device)).build()
        };
        let put_back = |now: &[&str], new_list: &[&str]| {
            let (now, new_list) = (list(now), list(new_list));
            let found = new.unknown_to(None, &account, (&now, &new_list));
            found.iter().map(|device| device.attr("id").unwrap().to_owned()).collect::<Vec<_>>()
        };
        for (now, published, want) in [
            (&["1", "2"][..], &["1", "2", "3"][..], &[][..]),
            (&["1", "2", "3"], &[], &["1", "2", "3"]), // who has seen nothing takes nobody off
            (&["1", "2", "3"], &["3"], &["1", "2"]),   // that may be its own
            (&["1", "2", "3"], &["2", "3"], &[]),      // one of the two is not, so it has seen 1
            (&["1", "2", "3"], &["1", "3"], &["2"]),   // 3 may be its own, and 1 was there before 2
            (&["1", "4"], &[], &["1"]),                // 4 was there before anybody remembered
            (&["1", "x", ""], &["1"], &[]),            // no devices
            (&[], &["1"], &[]),
        ] {
            assert_eq!(put_back(now, published), want, "{now:?} {published:?}");
        }
        let other = element(&format!("<list xmlns='{NS_OLD}'><device id='1'/></list>"));
        assert_eq!(old.devices(&other).count(), 1);
        assert_eq!(new.devices(&other).count(), 0);
    }
}
