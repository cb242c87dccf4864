//! Every Rust file is built: a module declares it or a manifest names it. A file of tests that nobody declares never runs,
//! and nobody notices.

use std::collections::BTreeSet;

use super::Problem;
use super::tree::{File, Tree};

pub(super) fn problems(tree: &Tree) -> Vec<Problem> {
    let declared = tree.files.iter().flat_map(|file| file.declared(|_| true));
    let named = tree.files.iter().filter(|file| file.path.ends_with("Cargo.toml")).flat_map(targets);
    let built: BTreeSet<String> = declared.chain(named).collect();
    let is_orphan = |file: &&File| file.has_extension("rs") && !built.contains(&file.path);
    let told = |file: &File| {
        Problem::new(&file.path, 0, "is built by nobody: no module declares it, no manifest names it")
    };
    tree.files.iter().filter(is_orphan).map(told).collect()
}

/// The files that a manifest names: of its library, programs, tests and benchmarks.
fn targets(manifest: &File) -> Vec<String> {
    let folder = manifest.path.trim_end_matches("Cargo.toml");
    // What is wrong with a manifest is Cargo's to tell.
    let Ok(table) = manifest.text.parse::<toml::Table>() else { return Vec::new() };
    let lib = table.get("lib").and_then(|lib| lib.get("path")?.as_str()).map(str::to_owned);
    let kinds = [("bin", "bin"), ("test", "tests"), ("bench", "benches"), ("example", "examples")];
    let others = kinds.iter().flat_map(|(kind, home)| {
        let targets = table.get(*kind).and_then(toml::Value::as_array).into_iter().flatten();
        targets.filter_map(move |target| {
            let of = |key: &str| target.get(key).and_then(toml::Value::as_str);
            of("path").map(str::to_owned).or_else(|| Some(format!("{home}/{}.rs", of("name")?)))
        })
    });
    lib.into_iter().chain(others).map(|path| format!("{folder}{path}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_built_is_found() {
        let tree = Tree::of(&[
            (
                "Cargo.toml",
                "[lib]\npath = 'src/server/lib.rs'\n[[bin]]\nname = 'a'\npath = 'src/server/main.rs'\n",
            ),
            ("src/server/lib.rs", "//! .\nmod here;\nmod folder;\nmod api { mod inline; }"),
            ("src/server/api/inline.rs", "//! ."),
            ("src/server/main.rs", "//! ."),
            ("src/server/here.rs", "//! .\n#[cfg(test)]\nmod tests;"),
            ("src/server/here/tests.rs", "//! ."),
            ("src/server/tests.rs", "//! ."),
            ("src/server/folder/mod.rs", "//! .\nmod inner;"),
            ("src/server/folder/inner.rs", "//! ."),
            ("src/server/folder/lost.rs", "//! ."),
            (
                "src/net/Cargo.toml",
                "[[test]]\nname = 'streams'\npath = 'tests/main.rs'\n[[bench]]\nname = 'login'\n",
            ),
            ("src/net/benches/login.rs", "//! ."),
            ("src/net/tests/main.rs", "//! ."),
        ]);
        let found: Vec<_> = problems(&tree).into_iter().map(|problem| problem.path).collect();
        assert_eq!(found, ["src/server/folder/lost.rs", "src/server/tests.rs"]);
    }
}
