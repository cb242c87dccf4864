//! What the command writes is right, builds, and passes every test that ours has to pass.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use clap::Parser;

use super::*;
use crate::tidy;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    new: NewXep,
}

fn parse(line: &str) -> Result<NewXep, clap::Error> {
    let words = std::iter::once("new-xep").chain(line.split_whitespace());
    Line::try_parse_from(words).map(|line| line.new)
}

#[test]
fn wrong_arguments_are_refused() {
    for line in
        ["", "0333", "333 markers", "0333 Markers", "0333 ../markers", "markers 0333", "0333 mark-ers"]
    {
        assert!(parse(line).is_err(), "{line}");
    }
    for line in ["0333 markers", "0333 markers --version 1.0.0 --date 2024-04-17 --title Markers --ns urn:x"]
    {
        assert!(parse(line).is_ok(), "{line}");
    }
}

const LIST_TEXT: &str = "//! List.

pub mod xep0004_forms;
pub mod xep0280_carbons;

#[cfg(test)]
mod testing;

pub const ALL: &[&dyn Extension] = &[
    &xep0280_carbons::Carbons,
    &xep0004_forms::Forms,
];
";

#[test]
fn the_list_keeps_its_order() {
    for (module, type_name, declared_after) in [
        ("xep0001_first", "First", "//! List.\n\n"),
        ("xep0030_disco", "Disco", "pub mod xep0004_forms;\n"),
        ("xep0333_markers", "Markers", "pub mod xep0280_carbons;\n"),
    ] {
        let text = add_to_list(LIST_TEXT, module, type_name).unwrap();
        assert!(text.contains(&format!("{declared_after}pub mod {module};\n")), "{text}");
        assert!(
            text.ends_with(&format!("    &xep0004_forms::Forms,\n    &{module}::{type_name},\n];\n")),
            "{text}"
        );
    }
    for (from, to) in [("pub mod xep", "mod xep"), ("pub const ALL", "const ALL"), ("];", "]")] {
        assert!(add_to_list(&LIST_TEXT.replace(from, to), "xep0333_markers", "Markers").is_err(), "{to}");
    }
    assert!(add_to_list(LIST_TEXT, "xep0280_carbons", "Carbons").is_err());
}

/// A copy of this checkout, and what its extensions say.
fn copy(folder: &Path) -> Root {
    let ours = Root::of_this_checkout().unwrap();
    let copy = Root::new(folder).unwrap();
    for path in ours.files("").unwrap() {
        let to = copy.path(&path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(ours.path(&path), to).unwrap();
    }
    copy
}

/// A target folder beside the one of this test: what it keeps makes the next run fast.
fn target_folder() -> std::path::PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists()).unwrap();
    target.join("new-xep")
}

/// Runs Cargo in a checkout, and gives what it says on its standard output.
fn cargo(root: &Root, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        // What is built here runs once: it need not be fast, and nobody debugs it.
        .args(["--config", "profile.dev.package.'*'.opt-level=0", "--config", "profile.dev.debug=false"])
        .args(arguments)
        .current_dir(root.path(""))
        .env("CARGO_TARGET_DIR", target_folder())
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {}\n{said}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_is_written_builds_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let root = copy(folder.path());
    let specs = catalogue::specs();
    let new = parse("9999 new_thing --title New_Thing --version 1.2.3 --date 2026-01-02").unwrap();
    let before = tidy::problems(&root, &specs).unwrap();
    let mut written = new.write(&root, &specs).unwrap();
    written.sort();
    assert_eq!(
        written,
        [
            "conformance/scripts/xep9999/passes_through.script",
            "contrib/doap.xml",
            "xeps/README.md",
            "xeps/lib.rs",
            "xeps/xep9999_new_thing.rs",
        ]
    );

    let specs: Vec<Spec> = specs.into_iter().chain([new.spec()]).collect();
    let problems = tidy::problems(&root, &specs).unwrap();
    let added: Vec<_> = problems.iter().filter(|problem| !before.contains(problem)).collect();
    assert!(added.is_empty(), "{added:#?}");
    let entries = catalogue::entries(&root, &specs).unwrap();
    assert!(generated::differing(&root, &entries).unwrap().is_empty());
    assert!(new.write(&root, &specs).is_err(), "a second time there is something in the way");

    cargo(&root, &["fmt", "--check", "--package", "unisono-xeps"]);
    cargo(
        &root,
        &[
            "clippy",
            "--offline",
            "--no-deps",
            "--package",
            "unisono-xeps",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    );
    let said =
        cargo(&root, &["test", "--offline", "--package", "unisono-xeps", "--lib", "xep9999_new_thing"]);
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn blanks_that_are_left_are_found_by_tidy() {
    let folder = tempfile::tempdir().unwrap();
    let root = copy(folder.path());
    let specs = catalogue::specs();
    let new = parse("9999 new_thing").unwrap();
    new.write(&root, &specs).unwrap();
    let specs: Vec<Spec> = specs.into_iter().chain([new.spec()]).collect();
    let problems = tidy::problems(&root, &specs).unwrap();
    assert!(problems.iter().any(|problem| problem.path.contains("xep9999")), "{problems:#?}");
}

#[test]
fn the_module_says_what_the_table_says() {
    let new = parse("0333 markers --version 1.0.0 --date 2024-04-17").unwrap();
    let header = Header::parse(&new.blanks().module()).unwrap();
    assert_eq!((header.number, header.title.as_str(), header.version.as_str()), (333, "Markers", "1.0.0"));
    assert_eq!(header.left_out, new.spec().missing);
    let bad = parse("0333 markers --version 1.0.0 --date yesterday").unwrap();
    assert!(Header::parse(&bad.blanks().module()).is_err());
}
