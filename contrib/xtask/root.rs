//! The checkout that the commands work on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The top folder of a checkout. Paths that it gives and takes are relative to it, with `/` between their parts.
#[derive(Debug, Clone)]
pub(crate) struct Root(PathBuf);

impl Root {
    /// The checkout that this program was built in.
    pub(crate) fn of_this_checkout() -> Result<Self> {
        Self::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
    }

    /// A checkout in this folder.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let folder = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// Where a file of the checkout is.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    pub(crate) fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.path(path)).with_context(|| format!("cannot read {path}"))
    }

    /// Writes a file and the folders that it needs.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        let full = self.path(path);
        if let Some(folder) = full.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make the folder of {path}"))?;
        }
        fs::write(full, text).with_context(|| format!("cannot write {path}"))
    }

    /// All files below a folder (`""` for the checkout), sorted, without what is built, stored or Git's own.
    pub(crate) fn files(&self, below: &str) -> Result<Vec<String>> {
        let mut files = Vec::new();
        self.walk(below, &mut files)?;
        files.sort();
        Ok(files)
    }

    fn walk(&self, folder: &str, files: &mut Vec<String>) -> Result<()> {
        let entries = fs::read_dir(self.path(folder)).with_context(|| format!("cannot list {folder:?}"))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() && !is_built_or_stored(&name, &entry.path()) {
                self.walk(&path, files)?;
            } else if kind.is_file() {
                files.push(path);
            }
        }
        Ok(())
    }
}

fn is_built_or_stored(name: &str, full: &Path) -> bool {
    // Cargo marks the folders it builds in; a crate may have a module named `target`.
    matches!(name, ".git" | "unisono-data") || full.join("CACHEDIR.TAG").exists()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn built_and_stored_files_are_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path()).unwrap();
        for path in ["b.rs", "a/target/mod.rs", "target/CACHEDIR.TAG", "target/x.rs", ".git/HEAD", ".ci/run"]
        {
            root.write(path, "").unwrap();
        }
        assert_eq!(root.files("").unwrap(), [".ci/run", "a/target/mod.rs", "b.rs"]);
        assert_eq!(root.files("a").unwrap(), ["a/target/mod.rs"]);
    }
}
