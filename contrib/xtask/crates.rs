//! `cargo xtask crates`: what `cargo deny` would say of licences, sources and banned crates, by the same rules
//! (`.cargo/deny.toml`). CI runs it everywhere, as building `cargo deny` takes longer than building the server.

use std::collections::BTreeSet;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::root::Root;

const RULES: &str = ".cargo/deny.toml";

/// The part of `.cargo/deny.toml` that is read here.
#[derive(Debug, Deserialize)]
struct Rules {
    licenses: Licences,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// More that is allowed for one crate.
#[derive(Debug, Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    name: String,
    reason: String,
}

/// A crate that is built.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
    /// Where it comes from, if that is not the registry: a folder or a repository.
    source: Option<String>,
}

/// Prints what is wrong.
pub(crate) fn run(root: &Root) -> Result<ExitCode> {
    let rules: Rules = toml::from_str(&root.read(RULES)?).with_context(|| format!("cannot read {RULES}"))?;
    let packages = packages(root)?;
    let problems: Vec<String> = packages.iter().flat_map(|package| rules.problems(package)).collect();
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() {
        println!("{} crates, all as {RULES} wants them", packages.len());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// All crates that any of ours needs, for its tests too. `cargo metadata` would name those as well that no feature
/// brings in.
fn packages(root: &Root) -> Result<BTreeSet<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--workspace", "--target", "x86_64-unknown-linux-gnu"])
        .args(["--prefix", "none", "--format", "{p}\t{l}"])
        .current_dir(root.path(""))
        .output()
        .context("cannot run cargo tree")?;
    ensure!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).context("cargo tree says what is no text")?;
    let lines = said.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| Package::parse(line).with_context(|| format!("cannot read {line:?} of cargo tree")))
        .collect()
}

impl Package {
    /// `name v1.2.3 (proc-macro)<tab>MIT (*)`
    fn parse(line: &str) -> Option<Self> {
        let (package, licence) = line.split_once('\t')?;
        let (name, rest) = package.split_once(" v")?;
        let (version, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut notes = rest.split(") ").map(|note| note.trim_matches(['(', ')']));
        let source = notes.find(|note| !note.is_empty() && *note != "proc-macro").map(str::to_owned);
        let licence = licence.trim_end_matches("(*)").trim();
        Some(Self { name: name.to_owned(), version: version.to_owned(), licence: licence.to_owned(), source })
    }

    fn is_ours(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.starts_with('/'))
    }
}

impl Rules {
    fn problems(&self, package: &Package) -> Vec<String> {
        let name = format!("{} {}", package.name, package.version);
        let mut problems = Vec::new();
        if let Some(ban) = self.bans.deny.iter().find(|ban| ban.name == package.name) {
            problems.push(format!("{name}: {}", ban.reason));
        }
        if let Some(source) = package.source.as_ref().filter(|_| !package.is_ours()) {
            problems.push(format!("{name}: comes from {source}, not from the registry"));
        }
        if !self.allows(&package.name, &package.licence) {
            problems.push(format!("{name}: its licence {:?} is not allowed in {RULES}", package.licence));
        }
        problems
    }

    /// Whether an SPDX expression leaves a choice that is allowed.
    fn allows(&self, name: &str, expression: &str) -> bool {
        let exceptions = self.licenses.exceptions.iter().filter(|exception| exception.name == name);
        let allowed: Vec<&String> =
            self.licenses.allow.iter().chain(exceptions.flat_map(|exception| &exception.allow)).collect();
        let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let mut words = spaced.split_whitespace().peekable();
        let verdict = any(&mut words, &|licence| allowed.iter().any(|allowed| *allowed == licence));
        verdict == Some(true) && words.next().is_none()
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// `A OR B`. None for what is no expression.
fn any(words: &mut Words<'_>, is_allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut verdict = all(words, is_allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        let next = all(words, is_allowed)?;
        verdict |= next;
    }
    Some(verdict)
}

/// `A AND B`, which binds closer.
fn all(words: &mut Words<'_>, is_allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut verdict = one(words, is_allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        let next = one(words, is_allowed)?;
        verdict &= next;
    }
    Some(verdict)
}

/// A licence, with an exception of its own perhaps, or an expression in brackets.
fn one(words: &mut Words<'_>, is_allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let word = words.next()?;
    if word == "(" {
        let verdict = any(words, is_allowed)?;
        return words.next_if_eq(&")").map(|_| verdict);
    }
    if words.next_if_eq(&"WITH").is_some() {
        return Some(is_allowed(&format!("{word} WITH {}", words.next()?)));
    }
    Some(is_allowed(word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "
        [licenses]
        allow = ['MIT', 'ISC', 'Apache-2.0 WITH LLVM-exception']
        exceptions = [{ crate = 'jid', allow = ['MPL-2.0'] }]
        [bans]
        deny = [{ name = 'ring', reason = 'one provider' }]
    ";

    #[test]
    fn licences_are_weighed() {
        let rules: Rules = toml::from_str(TEXT).unwrap();
        for (name, expression, want) in [
            ("a", "MIT", true),
            ("a", "GPL-3.0", false),
            ("a", "GPL-3.0 OR MIT", true),
            ("a", "GPL-3.0/MIT", true),
            ("a", "GPL-3.0 AND MIT", false),
            ("a", "MIT AND ISC", true),
            ("a", "MIT AND GPL-3.0 OR ISC", true),
            ("a", "MIT AND (GPL-3.0 OR ISC)", true),
            ("a", "(MIT OR ISC) AND GPL-3.0", false),
            ("a", "Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
            ("a", "Apache-2.0", false),
            ("a", "MPL-2.0", false),
            ("jid", "MPL-2.0", true),
            ("a", "", false),
            ("a", "(MIT", false),
            ("a", "MIT ISC", false),
            ("a", "MIT OR", false),
        ] {
            assert_eq!(rules.allows(name, expression), want, "{name} {expression}");
        }
    }

    #[test]
    fn crates_that_may_not_come_in_are_told() {
        let rules: Rules = toml::from_str(TEXT).unwrap();
        for (line, want) in [
            ("a v1.0.0\tMIT", None),
            ("a v1.0.0 (proc-macro)\tMIT (*)", None),
            ("ours v0.1.0 (/there/src/xml)\tMIT (*)", None),
            ("ours v0.1.0 (proc-macro) (/there/src/xml)\tMIT", None),
            ("ring v1.0.0\tMIT", Some("ring 1.0.0: one provider")),
            ("a v1.0.0 (https://example.org/a#1234)\tMIT", Some("not from the registry")),
            ("a v1.0.0 (registry `other`)\tMIT", Some("not from the registry")),
            ("a v1.0.0\t", Some("its licence \"\" is not allowed")),
            ("a v1.0.0\tGPL-3.0 (*)", Some("its licence \"GPL-3.0\" is not allowed")),
        ] {
            let problems = rules.problems(&Package::parse(line).unwrap());
            assert_eq!(problems.len(), want.iter().count(), "{line} {problems:?}");
            assert!(
                problems.iter().all(|problem| problem.contains(want.unwrap_or_default())),
                "{problems:?}"
            );
        }
        for line in ["", "a v1.0.0", "a\tMIT"] {
            assert_eq!(Package::parse(line), None, "{line}");
        }
    }

    #[test]
    fn our_rules_can_be_read() {
        let root = Root::of_this_checkout().unwrap();
        let rules: Rules = toml::from_str(&root.read(RULES).unwrap()).unwrap();
        assert!(rules.allows("a", "MIT OR Apache-2.0"));
        assert!(rules.allows("webpki-roots", "CDLA-Permissive-2.0"));
        assert!(!rules.allows("a", "CDLA-Permissive-2.0"));
        assert!(!rules.allows("webpki-roots", "GPL-3.0"));
    }
}
