//! A small disk that can be full.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::geteuid;
use tempfile::TempDir;

/// A file system in memory, in a mount namespace that a process keeps in being. That needs Linux, `unshare`, `nsenter`
/// and the right to use them.
#[derive(Debug)]
pub(crate) struct Disk {
    keeper: Child,
    place: TempDir,
    /// The database on it.
    pub(crate) url: String,
}

impl Disk {
    /// A disk of so many MiB; where there can be none that is said on the standard error.
    pub(crate) fn of_mib(size: u32) -> Option<Self> {
        let made = Self::mount(size);
        if let Err(reason) = &made {
            eprintln!("SKIPPED, no disk of our own: {reason}");
        }
        made.ok()
    }

    fn mount(size: u32) -> Result<Self, String> {
        let place = tempfile::tempdir().unwrap();
        let script =
            format!("mount -t tmpfs -o size={size}m,mode=700 tmpfs \"$0\" && echo up && exec sleep 900");
        let mut command = Command::new("unshare");
        if !geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let mut keeper = command
            .args(["--mount", "--", "sh", "-c", &script])
            .arg(place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot run unshare: {error}"))?;
        let mut line = String::new();
        let _read = BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line);
        let url = format!("sqlite:{}/unisono.db", place.path().display());
        let disk = Self { keeper, place, url };
        if line.trim() == "up" { Ok(disk) } else { Err("a file system cannot be mounted here".to_owned()) }
    }

    /// What makes a command run where the disk is.
    pub(crate) fn inside(&self) -> Vec<String> {
        let mut words = vec!["nsenter".to_owned(), "--target".to_owned(), self.keeper.id().to_string()];
        if !geteuid().is_root() {
            words.extend(["--user", "--preserve-credentials"].map(str::to_owned));
        }
        words.extend(["--mount", "--"].map(str::to_owned));
        words
    }

    /// Fills it, but for so many KiB.
    pub(crate) fn fill(&self, left_kib: u64) {
        let mut file = File::create(self.ballast()).unwrap();
        for chunk in [1 << 16, 1] {
            let error = loop {
                if let Err(error) = file.write_all(&vec![0; chunk]) {
                    break error;
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        }
        let bytes = file.metadata().unwrap().len();
        file.set_len(bytes - left_kib * 1024).unwrap();
    }

    pub(crate) fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    /// As seen from here.
    fn ballast(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.place.path().strip_prefix("/").unwrap()).join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = self.keeper.kill().and_then(|()| self.keeper.wait());
    }
}
