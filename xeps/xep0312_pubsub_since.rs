//! # XEP-0312: PubSub Since
//!
//! Follows 0.3 (2012-05-29). A device says with its first presence how long it was away, and gets the items of nodes that
//! came meanwhile.
//!
//! - Which items, and how many at most, is a matter of [XEP-0060](crate::xep0060_pubsub), which asks here from when on. A
//!   device that was here before gets of its own account's nodes what it missed without saying so.
//! - Ours: what was deleted, and what was replaced, is not sent (§2, rules 2 and 3). State: one position for each session.
//! - Left out: result sets (§2, rule 6), and the grace for clocks that differ (rule 4).

use std::sync::Arc;

use unisono_core::extension::{Entity, Extension, Registry, Spec};
use unisono_core::hub::{Hub, SessionRef};
use unisono_core::ids::LogPosition;
use unisono_core::session::Session;
use unisono_core::stanza::Presence;
use unisono_core::storage::BoxFuture;

use crate::xep0060_pubsub;

pub const NS: &str = "urn:xmpp:ago:0";
/// §3
const FEATURE: &str = "http://jabber.org/protocol/pubsub#since";

pub struct PubSubSince;

impl Extension for PubSubSince {
    fn spec(&self) -> Spec {
        Spec::xep(312, "0.3")
    }

    fn register(&self, on: &mut Registry) {
        on.account_feature(FEATURE).feature(Entity::Service(xep0060_pubsub::SERVICE), FEATURE);
        on.arrived(note);
    }
}

/// From when on a device misses what was published.
#[derive(Default)]
struct Since(Option<LogPosition>);

/// §2: a device that was not there before has come.
fn note(hub: &Arc<Hub>, session: &SessionRef, presence: &Presence) -> Option<BoxFuture<'static, ()>> {
    let since = ago(presence).map(|secs| LogPosition(micros_before(hub.clock.now_micros(), secs)));
    if let Some(found) = session.cell.lock().session_mut(session.id) {
        found.state::<Since>().0 = since;
    }
    None
}

fn ago(presence: &Presence) -> Option<u64> {
    let secs = presence.payload.child("ago", NS)?.attr("secs")?.trim().parse();
    secs.ok()
}

fn micros_before(now: i64, secs: u64) -> i64 {
    let micros = i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    now.saturating_sub(micros).max(LogPosition::START.0.saturating_add(1))
}

/// From when on a device misses what was published, if it said so.
pub(crate) fn since(session: &Session) -> Option<LogPosition> {
    session.existing_state::<Since>().and_then(|since| since.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_was_away_no_longer_than_there_was_time() {
        for (secs, want) in [(0, 10_000_000), (3, 7_000_000), (10, 1), (u64::MAX, 1)] {
            assert_eq!(micros_before(10_000_000, secs), want, "{secs}");
        }
    }
}
