//! Each extension is one place, and its header is right.

use std::collections::BTreeMap;

use anyhow::Result;
use unisono_core::extension::Spec;

use super::Problem;
use crate::catalogue::Module;
use crate::header::Header;
use crate::new_xep::NO_VERSION;
use crate::root::Root;
use crate::streams;

pub(super) fn problems(root: &Root, specs: &[Spec]) -> Result<Vec<Problem>> {
    let modules = Module::all(root)?;
    let list = root.read("xeps/lib.rs")?;
    let mut problems = Vec::new();
    for module in &modules {
        header(root, module, specs, &mut problems)?;
        let scripts = format!("conformance/scripts/xep{:04}", module.number);
        if !root.has(&scripts) {
            problems.push(Problem::new(&module.path, 0, format!("has no scripts in {scripts}")));
        }
        if !list.lines().any(|line| line == format!("pub mod {};", module.name)) {
            problems.push(Problem::new(
                "xeps/lib.rs",
                0,
                format!("does not declare `pub mod {};`", module.name),
            ));
        }
    }
    numbers(&modules, specs, &mut problems);
    strangers(root, &mut problems)?;
    declarations_in_order(&list, &mut problems);
    below_the_road(root, &mut problems);
    Ok(problems)
}

/// The header can be read and says what `spec()` says.
fn header(root: &Root, module: &Module, specs: &[Spec], problems: &mut Vec<Problem>) -> Result<()> {
    let path = module.path.as_str();
    let header = match Header::parse(&root.read(path)?) {
        Ok(header) => header,
        Err(wrong) => {
            problems.push(Problem::new(path, wrong.line, wrong.what));
            return Ok(());
        }
    };
    if header.number != module.number {
        problems.push(Problem::new(path, 1, format!("the header is of XEP-{:04}", header.number)));
    }
    if header.version == NO_VERSION || header.date.starts_with("0000") {
        problems.push(Problem::new(path, 3, "the header waits for a version and its date"));
    }
    let Some(spec) = specs.iter().find(|spec| spec.number == module.number) else {
        let what = format!("no extension of the list ALL has the number {} in its spec()", module.number);
        problems.push(Problem::new(path, 0, what));
        return Ok(());
    };
    if spec.version != header.version {
        let what = format!("the header follows {}, spec() {}", header.version, spec.version);
        problems.push(Problem::new(path, 3, what));
    }
    Ok(())
}

/// One module and one entry of the list for each number.
fn numbers(modules: &[Module], specs: &[Spec], problems: &mut Vec<Problem>) {
    let mut by_number: BTreeMap<u16, (usize, usize)> = BTreeMap::new();
    for module in modules {
        let (count, _) = by_number.entry(module.number).or_default();
        *count = count.saturating_add(1);
    }
    for spec in specs {
        let (_, count) = by_number.entry(spec.number).or_default();
        *count = count.saturating_add(1);
    }
    for (number, (modules, entries)) in by_number {
        if modules != 1 || entries > 1 {
            let what = format!(
                "XEP-{number:04} has {modules} modules and {entries} entries in ALL, not one of each"
            );
            problems.push(Problem::new("xeps/lib.rs", 0, what));
        }
    }
}

/// The folder holds extensions and what their tests share, nothing else.
fn strangers(root: &Root, problems: &mut Vec<Problem>) -> Result<()> {
    for path in root.files("xeps")? {
        let inside = path.trim_start_matches("xeps/");
        let is_known =
            matches!(inside, "lib.rs" | "testing.rs" | "Cargo.toml" | "README.md" | ".clippy.toml");
        if !is_known && !inside.starts_with("xep") {
            problems.push(Problem::new(&path, 0, "is no extension: its name is not xepNNNN_name"));
        }
    }
    Ok(())
}

fn declarations_in_order(list: &str, problems: &mut Vec<Problem>) {
    let declarations: Vec<_> =
        (1..).zip(list.lines()).filter(|(_, line)| line.starts_with("pub mod ")).collect();
    for pair in declarations.windows(2) {
        if let [(_, before), (line, after)] = pair
            && before > after
        {
            problems.push(Problem::new("xeps/lib.rs", *line, format!("`{after}` stands after `{before}`")));
        }
    }
}

/// What has no module in `xeps/` is still where the table says.
fn below_the_road(root: &Root, problems: &mut Vec<Problem>) {
    for below in streams::ALL {
        let name = format!("XEP-{:04}", below.number);
        if !root.read(below.home).is_ok_and(|text| text.contains(&name)) {
            let what = format!("does not name {name}, though contrib/xtask/streams.rs says that it does it");
            problems.push(Problem::new(below.home, 0, what));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PING: &str = "//! # XEP-0199: XMPP Ping\n//!\n//! Follows 2.0.1 (2019-03-26). Answers pings.\n";
    const LIST: &str = "//! All.\npub mod xep0199_ping;\n";

    /// What is found in a checkout of these files; the homes of what is below the road are as they should be.
    fn found(files: &[(&str, &str)], specs: &[Spec]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path()).unwrap();
        for below in streams::ALL {
            let before = root.read(below.home).unwrap_or_default();
            root.write(below.home, &format!("{before}XEP-{:04}\n", below.number)).unwrap();
        }
        for (path, text) in
            [("conformance/scripts/xep0199/a.script", ""), ("conformance/scripts/xep0004/a.script", "")]
        {
            root.write(path, text).unwrap();
        }
        for (path, text) in files {
            root.write(path, text).unwrap();
        }
        problems(&root, specs).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_folder_has_no_problems() {
        let files = [("xeps/lib.rs", LIST), ("xeps/xep0199_ping.rs", PING)];
        assert_eq!(found(&files, &[Spec::xep(199, "2.0.1")]), Vec::<String>::new());
    }

    #[test]
    fn each_problem_is_named() {
        let ping = Spec::xep(199, "2.0.1");
        let module = ("xeps/xep0199_ping.rs", PING);
        let list = ("xeps/lib.rs", LIST);
        let (first, unversioned) = (PING.replace("//! #", "//!"), PING.replace("2.0.1", "0.0.0"));
        let other = PING.replace("0199", "0198");
        let unordered = "//! All.\npub mod xep0199_ping;\npub mod xep0004_forms;\n";
        let forms = "//! # XEP-0004: Data Forms\n//!\n//! Follows 2.13.2 (2024-08-30). Forms.\n";
        for (files, specs, want) in [
            (vec![list, ("xeps/xep0199_ping.rs", &first)], vec![ping], "starts with"),
            (vec![list, ("xeps/xep0199_ping.rs", &unversioned)], vec![Spec::xep(199, "0.0.0")], "waits for"),
            (vec![list, ("xeps/xep0199_ping.rs", &other)], vec![ping], "the header is of XEP-0198"),
            (vec![list, module], vec![Spec::xep(199, "2.0.2")], "follows 2.0.1, spec() 2.0.2"),
            (vec![list, module], vec![], "no extension of the list"),
            (vec![list, module], vec![ping, ping], "2 entries"),
            (vec![list, module], vec![ping, Spec::xep(4, "2.13.2")], "XEP-0004 has 0 modules"),
            (vec![("xeps/lib.rs", "//! All.\n"), module], vec![ping], "does not declare"),
            (vec![list, module, ("xeps/helpers.rs", "//! Help.")], vec![ping], "is no extension"),
            (
                vec![("xeps/lib.rs", unordered), module, ("xeps/xep0004_forms.rs", forms)],
                vec![ping, Spec::xep(4, "2.13.2")],
                "stands after",
            ),
            (
                vec![
                    ("xeps/lib.rs", "//! All.\npub mod xep0092_version;\n"),
                    ("xeps/xep0092_version.rs", &PING.replace("0199", "0092")),
                ],
                vec![Spec::xep(92, "2.0.1")],
                "has no scripts in conformance/scripts/xep0092",
            ),
            (vec![list, module, ("src/net/limits.rs", "//! None.")], vec![ping], "does not name XEP-0478"),
        ] {
            let found = found(&files, &specs);
            assert_eq!(found.len(), 1, "{want}: {found:#?}");
            assert!(found.iter().any(|problem| problem.contains(want)), "{want}: {found:#?}");
        }
    }
}
