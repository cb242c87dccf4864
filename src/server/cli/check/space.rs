//! Room for data.

use std::path::Path;

use rustix::fs::statvfs;

use super::Finding;
use crate::config::Size;

/// With less than this, somebody should make room.
const LOW: u64 = 1 << 30;
/// With less than this, the server will stop acknowledging soon.
const EMPTY: u64 = 64 << 20;

/// How much room there is where the data directory is, or will be.
pub(super) fn check(data_dir: &Path) -> Finding {
    let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let existing = absolute.ancestors().find(|above| above.exists()).unwrap_or(&absolute);
    match statvfs(existing) {
        Ok(room) => judge(data_dir, room.f_bavail.saturating_mul(room.f_frsize)),
        Err(error) => Finding::problem("disk space", format!("{}: {error}", data_dir.display())),
    }
}

fn judge(data_dir: &Path, free: u64) -> Finding {
    const MIB: u64 = 1 << 20;
    let rounded = if free < MIB { free } else { free.saturating_sub(free.checked_rem(MIB).unwrap_or(0)) };
    let detail = format!("{}: {} free", data_dir.display(), Size::bytes(rounded));
    match free {
        0..EMPTY => Finding::problem("disk space", detail),
        EMPTY..LOW => Finding::warning("disk space", detail),
        _ => Finding::ok("disk space", detail),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn little_room_is_told() {
        for (free, status, detail) in [
            (1_000, Status::Problem, "data: 1KB free"),
            (EMPTY, Status::Warning, "data: 64MiB free"),
            (LOW, Status::Ok, "data: 1GiB free"),
            (5_000_000_000, Status::Ok, "data: 4768MiB free"),
        ] {
            let finding = judge(Path::new("data"), free);
            assert_eq!((finding.status, finding.detail.as_str()), (status, detail));
        }
    }
}
