//! A clock of its own for a server: libfaketime, loaded before it, adds what a file says to the time of day.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

/// Where Debian's package `faketime` has it; the linker knows what `$LIB` is on this machine.
const LIBRARY: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";

/// What a check moves the clock by.
const CHECKED_BY: Duration = Duration::from_secs(100_000);

/// The clock of one server, set while it is down.
#[derive(Debug, Clone)]
pub(super) struct OwnClock {
    file: PathBuf,
}

impl OwnClock {
    /// A clock that is right. The folder is the server's.
    ///
    /// # Errors
    ///
    /// If programs do not follow it: the library is not there, or cannot be loaded.
    pub(super) async fn new(folder: &Path) -> Result<Self> {
        let clock = Self { file: folder.join("clock") };
        clock.set(i64::try_from(CHECKED_BY.as_secs())?)?;
        let shown = clock.shown().await.context("cannot ask what a moved clock shows")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        if shown.saturating_sub(now) < Duration::from_secs(50_000) {
            bail!("the clock of a server cannot be moved here: Debian's package faketime is needed");
        }
        clock.set(0)?;
        Ok(clock)
    }

    /// What makes a process follow it. Only the time of day is moved: nobody waits longer or shorter.
    pub(super) fn env(&self) -> [(String, String); 3] {
        [
            ("LD_PRELOAD".to_owned(), LIBRARY.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE".to_owned(), self.file.display().to_string()),
            ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
        ]
    }

    /// Moves it by so many seconds from where it is, for the next start.
    pub(super) fn step(&self, seconds: i64) -> Result<()> {
        let offset = std::fs::read_to_string(&self.file).context("cannot read the clock")?;
        let offset: i64 = offset.trim().parse().context("the clock's file is not a number")?;
        self.set(offset.saturating_add(seconds))
    }

    fn set(&self, offset: i64) -> Result<()> {
        std::fs::write(&self.file, format!("{offset:+}\n")).context("cannot set the clock")
    }

    async fn shown(&self) -> Result<Duration> {
        let output =
            Command::new("date").arg("+%s").envs(self.env()).stderr(Stdio::null()).output().await?.stdout;
        Ok(Duration::from_secs(String::from_utf8(output)?.trim().parse()?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_process_follows_its_own_clock() {
        let folder = tempfile::tempdir().unwrap();
        let clock = match OwnClock::new(folder.path()).await {
            Ok(clock) => clock,
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "{error:#}");
                return eprintln!("not tried: {error:#}");
            }
        };
        let off = async || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let shown = clock.shown().await.unwrap();
            i64::try_from(shown.as_secs()).unwrap() - i64::try_from(now.as_secs()).unwrap()
        };
        for (step, about) in [(0, 0), (-3_000, -3_000), (1_000, -2_000), (5_000, 3_000)] {
            clock.step(step).unwrap();
            assert!((off().await - about).abs() < 100, "after {step} s");
        }
    }
}
