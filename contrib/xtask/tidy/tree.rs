//! All text files of the checkout, read once.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Problem;
use crate::root::Root;
use crate::rust::{Outer, Source};

/// A text file of ours.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
    /// What is in it, if it is Rust.
    pub(super) source: Option<Source>,
    /// Whether all of it is for tests, benchmarks or tools, and none of it in the server.
    pub(super) is_test: bool,
}

impl File {
    /// The lines with their numbers, counted from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    pub(super) fn has_extension(&self, extension: &str) -> bool {
        has_extension(&self.path, extension)
    }
}

impl File {
    /// Where the modules can be that this file declares, of those that are wanted.
    pub(super) fn declared(&self, is_wanted: impl Fn(&Outer) -> bool) -> Vec<String> {
        let Some(source) = &self.source else { return Vec::new() };
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs" | "mod.rs")) => folder.to_owned(),
            _ => self.path.trim_end_matches(".rs").to_owned(),
        };
        let names = source.outer.iter().filter(|outer| is_wanted(outer)).map(|outer| &outer.name);
        names.flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")]).collect()
    }
}

/// All of them.
pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

impl Tree {
    /// Reads them; a Rust file that cannot be parsed is a problem.
    pub(super) fn read(root: &Root) -> Result<(Self, Vec<Problem>)> {
        let mut problems = Vec::new();
        let mut files = Vec::new();
        for path in root.files("")? {
            // Pictures and test vectors of bytes are no text of ours; neither are files that others wrote.
            let Ok(text) = root.read(&path) else { continue };
            if matches!(path.as_str(), "Cargo.lock" | "LICENSE") {
                continue;
            }
            let source = if has_extension(&path, "rs") { Some(Source::parse(&text)) } else { None };
            let source = source.transpose().unwrap_or_else(|error| {
                let line = error.span().start().line;
                problems.push(Problem::new(&path, line, format!("cannot parse: {error}")));
                None
            });
            files.push(File { is_test: is_beside_the_server(&path), path, text, source });
        }
        let mut tree = Self { files };
        tree.find_tests();
        Ok((tree, problems))
    }

    /// A tree of these files, for the tests of what looks at it.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        #![allow(clippy::expect_used)]
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Root::new(folder.path()).expect("it is there");
        for (path, text) in files {
            root.write(path, text).expect("it is ours");
        }
        let (tree, problems) = Self::read(&root).expect("it can be read");
        assert_eq!(problems, [], "the files of a test are Rust");
        tree
    }

    /// Marks the files that are declared by a module for tests, and all that they declare.
    fn find_tests(&mut self) {
        let paths: BTreeSet<String> = self.files.iter().map(|file| file.path.clone()).collect();
        loop {
            let tests: BTreeSet<String> =
                self.files.iter().flat_map(declared_tests).filter(|path| paths.contains(path)).collect();
            let mut found = false;
            for file in self.files.iter_mut().filter(|file| !file.is_test && tests.contains(&file.path)) {
                file.is_test = true;
                found = true;
            }
            if !found {
                return;
            }
        }
    }
}

fn has_extension(path: &str, extension: &str) -> bool {
    std::path::Path::new(path).extension().is_some_and(|found| found == extension)
}

/// What judges the server, and what developers run.
fn is_beside_the_server(path: &str) -> bool {
    ["tests/", "conformance/", "contrib/"].iter().any(|folder| path.starts_with(folder))
        || ["/tests/", "/benches/"].iter().any(|folder| path.contains(folder))
}

/// Where the modules for tests can be that a file declares.
fn declared_tests(file: &File) -> Vec<String> {
    file.declared(|outer| outer.is_test || file.is_test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_for_tests_are_found_through_their_declarations() {
        let tree = Tree::of(&[
            ("xeps/lib.rs", "//! .\nmod one;\n#[cfg(test)]\nmod testing;"),
            ("xeps/testing.rs", "//! .\nmod more;"),
            ("xeps/testing/more.rs", "//! ."),
            ("xeps/one.rs", "//! .\n#[cfg(test)]\nmod tests;"),
            ("xeps/one/tests.rs", "//! ."),
            ("conformance/main.rs", "//! ."),
            ("src/xml/benches/message.rs", "//! ."),
            ("src/net/tests/main.rs", "//! ."),
        ]);
        let server: Vec<_> =
            tree.files.iter().filter(|file| !file.is_test).map(|file| file.path.as_str()).collect();
        assert_eq!(server, ["xeps/lib.rs", "xeps/one.rs"]);
    }
}
