//! `unisono sync …`

use clap::Subcommand;
use unisono_core::datetime::format_utc;

use super::admin::Admin;
use super::failure::Failure;
use super::output::Report;
use super::run::{Context, Missing};
use super::table::{count, table};
use super::user::Account;
use crate::api::types::{DeviceReport, DoctorReport};

#[derive(Debug, Subcommand)]
pub(crate) enum Sync {
    /// Show, for each device of an account, how far it has the conversation
    Doctor(Account),
}

impl Sync {
    /// Does it, on the running server or on the store.
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Report, Failure> {
        let Self::Doctor(Account { jid }) = self;
        let ask = async |admin: &dyn Admin| Ok(admin.doctor(&jid).await?);
        let report = context.with_admin(Missing::Tell, ask).await?;
        let text = describe(&report);
        Ok(Report::answer(report, text))
    }
}

fn describe(report: &DoctorReport) -> String {
    let head = format!("{}, log head {}", report.jid, position(report.log_head));
    if report.devices.is_empty() {
        return format!("{head}\nno device has logged in yet");
    }
    let headings = ["DEVICE", "KIND", "RESOURCE", "STATE", "CURSOR", "GAP", "LAST SEEN"];
    let devices = table(headings, &report.devices.iter().map(row).collect::<Vec<_>>());
    let number = count(report.devices.len(), "device");
    let end = match report.devices.iter().filter(|device| device.gap > 0).count() {
        0 => format!("{number}: everything that was sent is acknowledged"),
        behind => format!("{behind} of {number} behind; what is missing waits in the log"),
    };
    let purged = report.devices.iter().filter_map(|device| {
        let upto = position(device.purged?);
        Some(format!("\n{}: entries up to {upto} were purged before it acknowledged them", device.device))
    });
    let fetching = report.devices.iter().filter(|device| device.fetches).map(|device| {
        format!("\n{}: fetches what it missed by itself, and its cursor tells nothing of that", device.device)
    });
    format!("{head}\n{devices}\n{end}{}", purged.chain(fetching).collect::<String>())
}

fn row(device: &DeviceReport) -> [String; 7] {
    [
        device.device.clone(),
        device.kind.as_str().to_owned(),
        device.resource.clone().unwrap_or_default(),
        device.state.as_str().to_owned(),
        position(device.cursor),
        format!("{}{}", device.gap, if device.gap_is_more { "+" } else { "" }),
        device.last_seen.clone(),
    ]
}

/// A position is the time at which it was given; before all of them there is none to show.
fn position(position: i64) -> String {
    if position == 0 { "-".to_owned() } else { format_utc(position).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{DeviceKind, DeviceState};

    fn device(name: &str, cursor: i64, gap: u64, gap_is_more: bool, purged: Option<i64>) -> DeviceReport {
        DeviceReport {
            device: name.to_owned(),
            kind: DeviceKind::Resource,
            resource: (gap == 0).then(|| name.to_owned()),
            state: if gap == 0 { DeviceState::Connected } else { DeviceState::Offline },
            cursor,
            head: 1_800_000_000_000_001,
            gap,
            gap_is_more,
            fetches: purged.is_some(),
            purged,
            last_seen: "2027-01-15T08:00:00Z".to_owned(),
        }
    }

    #[test]
    fn each_device_stands_with_its_gap() {
        let devices = vec![
            device("phone", 1_800_000_000_000_001, 0, false, None),
            device("old", 0, 1000, true, Some(1_800_000_000_000_001)),
        ];
        let report = DoctorReport { jid: "a@b.org".to_owned(), log_head: 1_800_000_000_000_001, devices };
        let want = "\
a@b.org, log head 2027-01-15T08:00:00.000001Z
DEVICE  KIND      RESOURCE  STATE      CURSOR                       GAP    LAST SEEN
phone   resource  phone     connected  2027-01-15T08:00:00.000001Z  0      2027-01-15T08:00:00Z
old     resource  -         offline    -                            1000+  2027-01-15T08:00:00Z
1 of 2 devices behind; what is missing waits in the log
old: entries up to 2027-01-15T08:00:00.000001Z were purged before it acknowledged them
old: fetches what it missed by itself, and its cursor tells nothing of that";
        assert_eq!(describe(&report), want);
    }
}
