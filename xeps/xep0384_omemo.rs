//! # XEP-0384: OMEMO Encryption
//!
//! Follows 0.9.1 (2026-04-06). The list of the devices of an account, each of which others encrypt for.
//!
//! - Stage: none; a rule of the nodes with the list, that of this version and that of the one before it, which clients use.
//!   State: who put which device on the list, and when.
//! - Ours: two devices that announce themselves at once do not take each other off the list (§5.3.1 names the race). What a
//!   publication leaves out stays on the list if it was put there by another session, later than what the publishing one
//!   has seen of the list for certain: what it was told or fetched, and has acknowledged (XEP-0198). Such a session did not
//!   know of it. It is told of the list as it is now; when it leaves the same out again, it means it, and it goes. A
//!   session without acknowledgements is believed to have what was sent to it. Whatever is deleted or purged is gone.
//! - Left out: nothing else is asked of a server; bundles (§5.3.2) are items like others.

use std::collections::BTreeMap;
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

/// When each device was put on a list, and by which session.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Added(BTreeMap<u32, (LogPosition, SessionId)>);

impl KeyedState for Added {
    const KIND: &'static str = "omemo-devices";

    fn decode(text: &str) -> Option<Self> {
        let mut added = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let (id, at, by) = (words.next()?, words.next()?, words.next()?);
            let (at, by) = (LogPosition(at.parse().ok()?), SessionId(by.parse().ok()?));
            added.0.insert(id.parse().ok()?, (at, by));
        }
        Some(added)
    }

    fn encode(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (id, (at, by))| {
            _ = writeln!(text, "{id} {} {}", at.0, by.0);
            text
        })
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
        let seen = session.map_or(LogPosition::START, |session| has_seen(session, self.node));
        let added = account.keyed::<Added>(self.node);
        let is_unknown = |id: u32| {
            let added = added.and_then(|added| added.0.get(&id));
            added.is_some_and(|(at, by)| *at > seen && Some(*by) != session.map(Session::id))
        };
        let is_left_out = |id: u32| !self.devices(new).any(|(listed, _)| listed == id);
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
        let by = made.by.unwrap_or(SessionId(0));
        let listed = self.devices(made.payload).map(|(id, _)| id).take(DEVICES_MAX);
        let added = listed.map(|id| (id, old.0.get(&id).copied().unwrap_or((now, by))));
        let added = Added(added.collect());
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
        let added = Added(BTreeMap::from([
            (1, (LogPosition(17), SessionId(3))),
            (4_294_967_295, (LogPosition(18), SessionId(0))),
        ]));
        assert_eq!(Added::decode(&added.encode()), Some(added));
        for broken in ["x", "1 2", "1 2 x", "-1 2 3"] {
            assert_eq!(Added::decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn what_is_put_back() {
        let (new, old) = (NEW, OLD);
        let mut account = account();
        let added = [(1, 10), (2, 20), (3, 30)];
        let added = added.map(|(id, at)| (id, (LogPosition(at), SessionId(id.into()))));
        account.set_keyed(new.node, Some(Added(added.into())), &mut Vec::new());
        let list = |ids: &[&str]| {
            let devices = ids.iter().map(|id| format!("<device id='{id}'/>")).collect::<String>();
            element(&format!("<devices xmlns='{NS}'>{devices}</devices>"))
        };
        let put_back = |now: &[&str], new_list: &[&str]| {
            let (now, new_list) = (list(now), list(new_list));
            let found = new.unknown_to(None, &account, (&now, &new_list));
            found.iter().map(|device| device.attr("id").unwrap().to_owned()).collect::<Vec<_>>()
        };
        for (now, published, want) in [
            (&["1", "2"][..], &["1", "2", "3"][..], &[][..]),
            (&["1", "2", "3"], &["2"], &["1", "3"]), // who has seen nothing takes nobody off
            (&["1", "4"], &[], &["1"]),              // 4 was there before anybody remembered
            (&["1", "x", ""], &["1"], &[]),          // no devices
            (&[], &["1"], &[]),
        ] {
            assert_eq!(put_back(now, published), want, "{now:?} {published:?}");
        }
        let other = element(&format!("<list xmlns='{NS_OLD}'><device id='1'/></list>"));
        assert_eq!(old.devices(&other).count(), 1);
        assert_eq!(new.devices(&other).count(), 0);
    }
}
