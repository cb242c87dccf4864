//! What the kernel tells about processes and the machine, from `/proc`.

use std::collections::HashMap;
use std::{fmt, fs};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::numbers::float;

/// Linux reports times to programs in this unit on every architecture (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// One line of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time, of the process and of its children that have ended.
    ticks: u64,
}

/// The fields are counted from behind the name, which may hold spaces and brackets.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.get(text.rfind(')')?.checked_add(1)?..)?.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let mut ticks = 0_u64;
    for index in 11..=14 {
        ticks = ticks.saturating_add(number(index)?);
    }
    Some(Stat { parent: u32::try_from(number(1)?).ok()?, ticks })
}

/// A value of `/proc/PID/smaps_rollup`, in KiB.
fn parse_smaps(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Time that the processors spent on work, and in all, from the first line of `/proc/stat`.
fn parse_processors(text: &str) -> Option<(u64, u64)> {
    let fields = text.lines().next()?.strip_prefix("cpu")?.split_whitespace();
    let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).take(8).collect();
    let total: u64 = ticks.iter().sum();
    let idle = ticks.get(3)?.saturating_add(*ticks.get(4)?);
    Some((total.saturating_sub(idle), total))
}

/// A process and everything below it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree {
    root: u32,
}

/// Memory of a tree of processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Proportional set size: shared pages count in part. KiB.
    pub(super) pss: u64,
    /// Resident set size. KiB.
    pub(super) rss: u64,
}

impl Tree {
    pub(super) fn new(root: u32) -> Self {
        Self { root }
    }

    /// This process, without its children: the load.
    pub(super) fn own_seconds() -> Result<f64> {
        let text = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
        let end = text.rfind(')').context("/proc/self/stat is strange")?;
        let fields = text.get(end..).unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(12).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(float(ticks) / TICKS_PER_SECOND)
    }

    fn members(self) -> Result<Vec<(u32, Stat)>> {
        let mut all = HashMap::new();
        for entry in fs::read_dir("/proc").context("cannot read /proc")? {
            let name = entry.context("cannot read /proc")?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // It may have ended since.
            let Ok(text) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
            if let Some(stat) = parse_stat(&text) {
                all.insert(id, stat);
            }
        }
        anyhow::ensure!(all.contains_key(&self.root), "the server has ended");
        let is_below = |id: u32| {
            let chain = std::iter::successors(Some(id), |id| all.get(id).map(|stat| stat.parent));
            chain.take(64).any(|ancestor| ancestor == self.root)
        };
        Ok(all.iter().filter(|(id, _)| is_below(**id)).map(|(id, stat)| (*id, *stat)).collect())
    }

    /// Processor time used so far, in seconds.
    pub(super) fn seconds(self) -> Result<f64> {
        let ticks: u64 = self.members()?.iter().map(|(_, stat)| stat.ticks).sum();
        Ok(float(ticks) / TICKS_PER_SECOND)
    }

    pub(super) fn memory(self) -> Result<Memory> {
        let mut memory = Memory::default();
        for (id, _) in self.members()? {
            let Ok(text) = fs::read_to_string(format!("/proc/{id}/smaps_rollup")) else { continue };
            memory.pss = memory.pss.saturating_add(parse_smaps(&text, "Pss").unwrap_or(0));
            memory.rss = memory.rss.saturating_add(parse_smaps(&text, "Rss").unwrap_or(0));
        }
        anyhow::ensure!(memory.pss > 0, "the memory of the server cannot be read");
        Ok(memory)
    }
}

/// Work and all time of the processors so far, in seconds, summed over them.
pub(super) fn processors() -> Result<(f64, f64)> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let (busy, total) = parse_processors(&text).context("/proc/stat is strange")?;
    Ok((float(busy) / TICKS_PER_SECOND, float(total) / TICKS_PER_SECOND))
}

/// The three load averages as the kernel prints them.
pub(super) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// What the figures were measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
}

impl Machine {
    /// The machine that this runs on.
    pub(crate) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = after(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: u64 = memory.trim_end_matches("kB").trim().parse().unwrap_or(0);
        Self {
            processor: after(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, memory_mib, kernel } = self;
        write!(f, "{processor} ({cores} cores, {memory_mib} MiB, Linux {kernel})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_kernel_s_lines_are_read() {
        let line = "42 (a (b) c) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 9 0 5 6 7";
        assert_eq!(parse_stat(line), Some(Stat { parent: 7, ticks: 124 }));
        assert_eq!(parse_stat("42 (a) S 7"), None);
        let smaps =
            "5f-7f ---p 00000000 00:00 0  [rollup]\nRss:    2048 kB\nPss:     512 kB\nPss_Anon: 1 kB\n";
        assert_eq!(parse_smaps(smaps, "Pss"), Some(512));
        assert_eq!(parse_smaps(smaps, "Rss"), Some(2048));
        assert_eq!(parse_smaps(smaps, "Swap"), None);
        let stat = "cpu  10 1 5 100 4 0 1 2 9 9\ncpu0 1 1 1 1\n";
        assert_eq!(parse_processors(stat), Some((19, 123)));
    }

    #[test]
    fn a_process_sees_itself_and_its_children() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let tree = Tree::new(std::process::id());
        let members = tree.members().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(members.iter().any(|(id, _)| *id == child.id()), "{members:?}");
        assert!(members.iter().any(|(id, _)| *id == std::process::id()));
        assert!(!members.iter().any(|(id, _)| *id == 1));
        assert!(tree.memory().unwrap().rss > 100);
        assert!(Tree::new(u32::MAX).seconds().is_err());
    }
}
