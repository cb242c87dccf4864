//! All extensions: the headers of their modules, and what `spec()` says.

use anyhow::{Result, bail};
use unisono_core::extension::Spec;

use crate::header::Header;
use crate::names;
use crate::root::Root;

/// The module of an extension, found by its file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Module {
    pub(crate) number: u16,
    /// The name of the module, such as `xep0280_carbons`.
    pub(crate) name: String,
    /// The file that holds the header.
    pub(crate) path: String,
}

impl Module {
    /// All modules of `xeps/`, by number.
    pub(crate) fn all(root: &Root) -> Result<Vec<Self>> {
        let files = root.files("xeps")?;
        let mut modules: Vec<Self> = files.iter().filter_map(|path| Self::from_path(path)).collect();
        modules.sort();
        Ok(modules)
    }

    /// `xeps/xepNNNN_name.rs` or `xeps/xepNNNN_name/mod.rs`.
    fn from_path(path: &str) -> Option<Self> {
        let inside = path.strip_prefix("xeps/")?;
        let name = inside.strip_suffix("/mod.rs").or_else(|| inside.strip_suffix(".rs"))?;
        let (number, word) = name.strip_prefix("xep")?.split_once('_')?;
        let number = names::number(number)?;
        names::is_name(word).then(|| Self { number, name: name.to_owned(), path: path.to_owned() })
    }
}

/// One extension: what the table and the DOAP file tell of it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The file of the module, from the top folder.
    pub(crate) path: String,
    pub(crate) header: Header,
    pub(crate) spec: Spec,
}

/// What all registered extensions implement.
pub(crate) fn specs() -> Vec<Spec> {
    unisono_xeps::ALL.iter().map(|extension| extension.spec()).collect()
}

/// All extensions, by number. Fails where module and list do not fit together; `cargo xtask tidy` says more.
pub(crate) fn entries(root: &Root, specs: &[Spec]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for module in Module::all(root)? {
        let header = match Header::parse(&root.read(&module.path)?) {
            Ok(header) => header,
            Err(wrong) => bail!("cannot read the header of {}: {wrong}", module.path),
        };
        let Some(spec) = specs.iter().find(|spec| spec.number == module.number) else {
            bail!(
                "no extension of the list ALL in xeps/lib.rs says that it is XEP-{:04} ({})",
                module.number,
                module.path
            );
        };
        entries.push(Entry { path: module.path, header, spec: *spec });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn modules_are_found_by_their_names() {
        for (path, want) in [
            ("xeps/xep0280_carbons.rs", Some((280, "xep0280_carbons"))),
            ("xeps/xep0045_muc/mod.rs", Some((45, "xep0045_muc"))),
            ("xeps/xep0045_muc/history.rs", None),
            ("xeps/lib.rs", None),
            ("xeps/testing.rs", None),
            ("xeps/xep280_carbons.rs", None),
            ("xeps/xep0280.rs", None),
        ] {
            let found = Module::from_path(path);
            assert_eq!(found.as_ref().map(|m| (m.number, m.name.as_str())), want, "{path}");
        }
    }

    #[test]
    fn a_module_without_a_specification_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path()).unwrap();
        let header = "//! # XEP-0199: XMPP Ping\n//!\n//! Follows 2.0.1 (2019-03-26). Answers pings.\n";
        root.write("xeps/xep0199_ping.rs", header).unwrap();
        assert!(entries(&root, &[]).unwrap_err().to_string().contains("XEP-0199"));
        let entries = entries(&root, &[Spec::xep(199, "2.0.1")]).unwrap();
        assert_eq!(entries.len(), 1);
    }
}
