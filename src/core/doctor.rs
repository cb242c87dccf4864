//! Whether the devices of an account agree: what the operator is told (DESIGN.md §1).

use std::sync::Arc;
use std::time::Duration;

use crate::account::Cell;
use crate::hub::Hub;
use crate::ids::LogPosition;
use crate::session::Session;
use crate::storage::{DeviceRecord, LogQuery, StoreError};

/// Entries that are looked at for one device; behind more, the count is only a lower bound.
const LOOK_AT_MAX: usize = 2_000;

/// How far one device is.
#[derive(Clone, Debug)]
pub struct DeviceHealth {
    pub device: DeviceRecord,
    /// The resource of its session and whether there is a connection.
    pub session: Option<(String, bool)>,
    /// Entries that the device should have and did not acknowledge.
    pub gap: u64,
    /// There may be more than that.
    pub gap_is_more: bool,
    /// Entries up to here were purged before the device had acknowledged them.
    pub purged: Option<LogPosition>,
}

impl Hub {
    /// How far each device of an account has its log. A message that the device sent itself is not missing there.
    pub async fn doctor(&self, cell: &Arc<Cell>) -> Result<(LogPosition, Vec<DeviceHealth>), StoreError> {
        let (head, ticket, devices) = {
            let account = cell.lock();
            let devices: Vec<_> = account
                .devices
                .iter()
                .map(|device| {
                    let session = account.sessions.iter().find(|session| session.device == device.id);
                    let has_all = session.is_some_and(Session::has_all);
                    let session =
                        session.map(|session| (session.jid.resource().to_owned(), session.is_connected()));
                    (device.clone(), session, has_all)
                })
                .collect();
            (account.head, account.last_ticket, devices)
        };
        if ticket > self.store.durable() && self.store.failing().is_none() {
            self.store.wait(ticket).await;
        }
        let purged = self.store.purged(cell.id).await?;
        let mut report = Vec::new();
        for (mut device, session, has_all) in devices {
            if has_all {
                device.cursor = head;
            }
            let (gap, gap_is_more) = self.gap(cell, &device).await?;
            let purged = Some(purged).filter(|purged| device.cursor < *purged);
            if gap == 0 {
                device.cursor = head;
            }
            report.push(DeviceHealth { device, session, gap, gap_is_more, purged });
        }
        Ok((head, report))
    }

    async fn gap(&self, cell: &Arc<Cell>, device: &DeviceRecord) -> Result<(u64, bool), StoreError> {
        let query = LogQuery {
            after: Some(device.cursor),
            limit: LOOK_AT_MAX,
            include_unarchived: true,
            ..LogQuery::default()
        };
        let page = self.store.page(cell.id, &query).await?;
        let own = |origin: &crate::record::Origin| origin.device == device.id;
        let missing = page.entries.iter().filter(|entry| !entry.record.origin.as_ref().is_some_and(own));
        Ok((missing.count() as u64, !page.complete))
    }
}

/// The hub at a glance.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// Accounts in memory.
    pub accounts: usize,
    pub connected: usize,
    /// Sessions that wait to be resumed.
    pub detached: usize,
    /// For how long devices with a session, connected or not, have not acknowledged what is in their logs, ascending.
    lags: Vec<Duration>,
}

impl Overview {
    /// The lag that this share of the devices with a session does not exceed; 1 is the largest. The lag of a device is the
    /// age of the oldest message that was queued for it from its log and that it has not acknowledged. A device that
    /// fetches its log by itself has none until it is sent something.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into a list of sessions, rounded on purpose"
    )]
    pub fn lag(&self, share: f64) -> Duration {
        let last = self.lags.len().saturating_sub(1);
        self.lags.get((last as f64 * share).ceil() as usize).copied().unwrap_or_default()
    }
}

impl Hub {
    /// Counts what is in memory.
    pub fn overview(&self) -> Overview {
        let mut overview = Overview::default();
        let now = self.clock.now_micros();
        for cell in self.residents() {
            overview.accounts = overview.accounts.saturating_add(1);
            let account = cell.lock();
            for session in &account.sessions {
                let count =
                    if session.is_connected() { &mut overview.connected } else { &mut overview.detached };
                *count = count.saturating_add(1);
                let age = session.oldest_queued().map_or(0, |oldest| now.saturating_sub(oldest.0));
                overview.lags.push(Duration::from_micros(u64::try_from(age).unwrap_or(0)));
            }
        }
        overview.lags.sort_unstable();
        overview
    }
}
