//! A file that lives in `data_dir`.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use super::setting::Text;

/// A file. A relative path starts at `data_dir`, unlike those of other keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile(PathBuf);

impl DataFile {
    /// A file of this name in `data_dir`.
    pub(crate) fn named(name: &str) -> Self {
        Self(name.into())
    }

    /// Puts it there.
    pub(crate) fn settle(&mut self, data_dir: &Path) {
        self.0 = data_dir.join(&self.0);
    }
}

impl Deref for DataFile {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Text for DataFile {
    const WHAT: &'static str = PathBuf::WHAT;

    fn parse(text: &str, _: &Path) -> Result<Self, String> {
        PathBuf::parse(text, Path::new("")).map(Self)
    }

    fn text(&self) -> String {
        self.0.text()
    }
}
