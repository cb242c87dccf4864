//! What a device lacks, as far as it matters, and whether the device sleeps.

use std::time::Duration;

use compact_str::CompactString;
use unisono_core::account::Account;
use unisono_core::ids::{DeviceId, LogPosition, SessionId};
use unisono_core::session::Session;

use crate::xep0490_displayed;

/// What one device may lack; of more, the oldest is not known any more.
pub(super) const WAITING_MAX: usize = 256;
/// What comes within this time is told by one push.
const COLLAPSE: Duration = Duration::from_secs(1);
/// A device that nobody looks at has to acknowledge within this time,
const UNLOOKED: Duration = Duration::from_secs(3);
/// and one that somebody looks at within this.
const SILENT: Duration = Duration::from_secs(20);

/// Where a message waits for a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// In the log.
    pub(super) position: Option<LogPosition>,
    /// In the queue of a session, with its number there if the device counts.
    pub(super) queued: Option<(SessionId, Option<u32>)>,
    /// The conversation that it is of, as XEP-0490 names it.
    pub(super) conversation: CompactString,
}

#[derive(Clone, Debug)]
struct Item {
    number: u64,
    place: Place,
    since: Duration,
    is_pushed: bool,
}

/// What a device lacks.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    items: Vec<Item>,
    last: u64,
}

impl Waiting {
    /// Something came, or was found that was told already. What is known does not come again.
    pub(super) fn add(&mut self, place: Place, now: Duration, is_pushed: bool) {
        let is_known = |item: &Item| place.position.is_some() && item.place.position == place.position;
        if self.items.iter().any(is_known) {
            return;
        }
        if self.items.len() >= WAITING_MAX {
            self.items.remove(0);
        }
        self.last = self.last.saturating_add(1);
        self.items.push(Item { number: self.last, place, since: now, is_pushed });
    }

    /// The owner has seen to a conversation.
    pub(super) fn forget(&mut self, conversation: &str) {
        self.items.retain(|item| item.place.conversation != conversation);
    }

    /// What was told up to this number is not told again. Returns up to where that is in the log.
    pub(super) fn pushed(&mut self, upto: u64) -> LogPosition {
        let told = self.items.iter_mut().filter(|item| item.number <= upto);
        let positions = told.filter_map(|item| {
            item.is_pushed = true;
            item.place.position
        });
        positions.max().unwrap_or(LogPosition::START)
    }

    /// What the device has by now, and what was read elsewhere, does not wait.
    pub(super) fn settle(&mut self, account: &Account, device: DeviceId) {
        let cursor = account.device(device).map_or(LogPosition::START, |device| device.cursor);
        self.items.retain(|item| is_missing(&item.place, account, cursor));
    }

    /// Whether there is something that was told, and not come for.
    pub(super) fn has_told(&self) -> bool {
        self.items.iter().any(|item| item.is_pushed)
    }

    /// How much of it there is, and the number of the last.
    pub(super) fn count(&self) -> (usize, u64) {
        (self.items.len(), self.last)
    }

    /// Whether there is something that was not told yet.
    pub(super) fn has_news(&self) -> bool {
        self.items.iter().any(|item| !item.is_pushed)
    }

    /// Whether a device that is given so much time should have taken it.
    pub(super) fn is_due(&self, now: Duration, patience: Duration) -> bool {
        let mut news = self.items.iter().filter(|item| !item.is_pushed);
        news.any(|item| now.saturating_sub(item.since) >= patience)
    }
}

fn is_missing(place: &Place, account: &Account, cursor: LogPosition) -> bool {
    if place.position.is_some_and(|position| position <= cursor || is_read(account, place, position)) {
        return false;
    }
    let queued = place.queued.and_then(|(session, number)| Some((account.session(session)?, number)));
    match queued {
        Some((session, Some(number))) => !session.has_acknowledged(number),
        // Who does not count has what was written.
        Some((session, None)) => !session.is_connected() || session.queued() > 0,
        // Its session is over: only the log still has it.
        None => place.position.is_some(),
    }
}

fn is_read(account: &Account, place: &Place, position: LogPosition) -> bool {
    xep0490_displayed::displayed(account, &place.conversation).is_some_and(|upto| position <= upto)
}

/// How long a device is given to take what comes.
pub(super) fn patience(account: &Account, device: DeviceId) -> Duration {
    let connected = |session: &&Session| session.device() == device && session.is_connected();
    let looked_at: Vec<_> =
        account.sessions().filter(connected).map(|session| !session.is_inactive()).collect();
    match (looked_at.is_empty(), looked_at.contains(&true)) {
        (true, _) => COLLAPSE,
        (false, false) => UNLOOKED,
        (false, true) => SILENT,
    }
}
