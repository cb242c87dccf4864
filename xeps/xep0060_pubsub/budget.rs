//! How much the items of an account, or of a service, take together.

use std::time::Duration;

use unisono_core::account::{Account, Cell};
use unisono_core::error::ErrorType;
use unisono_core::extension::KeyedState;
use unisono_core::hub::Hub;
use unisono_core::storage::{ITEM_BYTES, NodeItem, StoreError, Write};

use super::change::Undecided;
use super::errors::too_much;
use super::node::is_service;

/// A service has as much room as so many accounts.
const OF_SERVICE: u64 = 16;
/// An account is not counted again before so long.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// What the items take, in memory alone: counted when somebody first publishes, and then no less than it is.
#[derive(Clone, Copy, Debug)]
struct Taken {
    bytes: u64,
    counted: Duration,
    /// Nothing has changed since it was counted.
    is_exact: bool,
}

impl KeyedState for Taken {
    const KIND: &'static str = "pubsub-taken";

    fn decode(_: &str) -> Option<Self> {
        None
    }

    fn encode(&self) -> String {
        String::new()
    }
}

/// Whether there is room for an item with so many bytes of payload and id.
///
/// # Errors
///
/// There is none, or it has to be counted before that is known.
pub(super) fn has_room(hub: &Hub, account: &Account, bytes: usize) -> Result<(), Undecided> {
    let times = if is_service(account.jid()) { OF_SERVICE } else { 1 };
    let max = hub.settings.items_bytes_max.saturating_mul(times);
    if max == 0 {
        return Ok(());
    }
    let taken = account.keyed::<Taken>("").ok_or(Undecided::Uncounted)?;
    if taken.bytes.saturating_add(with_rest(bytes)) <= max {
        return Ok(());
    }
    if taken.is_exact || hub.clock.elapsed() < taken.counted.saturating_add(COUNT_EVERY) {
        return Err(too_much("the items take too much").with_type(ErrorType::Wait).into());
    }
    Err(Undecided::Uncounted)
}

/// Counts what the items take.
pub(super) async fn count(hub: &Hub, cell: &Cell) -> Result<(), StoreError> {
    let ticket = cell.lock().last_ticket();
    hub.store.wait(ticket).await;
    let taken =
        Taken { bytes: hub.store.items_bytes(cell.id).await?, counted: hub.clock.elapsed(), is_exact: true };
    cell.lock().hold_keyed("", Some(taken));
    Ok(())
}

/// Something changes: what comes is counted in, and what goes is found by counting again.
pub(super) fn note(account: &mut Account, writes: &[Write]) {
    let Some(taken) = account.keyed_mut::<Taken>("") else { return };
    for write in writes {
        match write {
            Write::Item { item, .. } => {
                taken.bytes = taken.bytes.saturating_add(with_rest(bytes_of(item)));
                taken.is_exact = false;
            }
            Write::ItemRetracted { .. } | Write::NodePurged { .. } => taken.is_exact = false,
            _ => {}
        }
    }
}

fn bytes_of(item: &NodeItem) -> usize {
    item.payload.len().saturating_add(item.id.len())
}

fn with_rest(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(u64::from(ITEM_BYTES))
}
