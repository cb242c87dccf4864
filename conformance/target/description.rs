//! The TOML file of a target.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::script::Pattern;
use crate::xml::fragment;

/// How to run a server, or how to reach one that runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    pub(crate) name: String,
    /// The domain of the accounts.
    pub(crate) domain: String,
    /// Where it listens: `host:port`, or the name of one of `start.ports`.
    pub(crate) starttls: Option<String>,
    pub(crate) direct_tls: Option<String>,
    /// Absent for a server that runs already.
    pub(crate) start: Option<Start>,
    pub(crate) accounts: AccountsDescription,
    /// Features that it has though it does not announce them, as `needs:` names them.
    #[serde(default)]
    pub(crate) offers: Vec<String>,
    #[serde(default)]
    pub(crate) not_offered: Vec<NotOffered>,
    /// Elements that this server sends on its own, anywhere.
    #[serde(default)]
    pub(crate) ignore: Vec<String>,
    /// What is different when the server is measured.
    #[serde(default)]
    pub(crate) bench: Bench,
}

/// A target that is another one with some changes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    name: String,
    /// The other one.
    like: String,
    /// Changes of its `start.files`.
    replace: Vec<Replace>,
}

/// What a file may hold.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Variant(Variant),
    /// Read once more, for an error that says where it is.
    Whole(serde::de::IgnoredAny),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bench {
    /// In place of `start.binary`.
    pub(crate) binary: Option<String>,
    /// Changes of `start.files`.
    #[serde(default)]
    pub(crate) replace: Vec<Replace>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replace {
    pub(crate) file: String,
    /// Must be there.
    pub(crate) old: String,
    pub(crate) new: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    pub(crate) command: Vec<String>,
    /// What `command` ends with for each `{setting}` of the command line.
    #[serde(default)]
    pub(crate) set: Vec<String>,
    /// What `{binary}` is where the command line gives no other; `{target_dir}` is Cargo's.
    pub(crate) binary: Option<String>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// Names of free ports to find; `{port.NAME}` in the files.
    #[serde(default)]
    pub(crate) ports: Vec<String>,
    /// Written into the temporary folder, placeholders filled.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// Whether the server has a clock that can be moved, in place of the machine's.
    #[serde(skip)]
    pub(crate) has_own_clock: bool,
    /// How long it may take until it answers.
    #[serde(default = "default_ready_seconds")]
    pub(crate) ready_seconds: u64,
}

fn default_ready_seconds() -> u64 {
    30
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountsDescription {
    /// By in-band registration (XEP-0077).
    #[serde(default)]
    pub(crate) in_band: bool,
    /// By a command, with `{local}`, `{jid}` and `{password}`.
    pub(crate) command: Option<Vec<String>>,
    /// What the command reads.
    #[serde(default)]
    pub(crate) input: String,
    /// Seconds after which a new account survives a crash of the server, where that is not at once.
    #[serde(default)]
    pub(crate) durable_after: u64,
}

/// Scripts that do not apply to a server, though it announces what they need.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotOffered {
    /// The path of a script or the beginning of one.
    pub(crate) scripts: String,
    pub(crate) reason: String,
}

impl Variant {
    fn of(&self, mut other: Description) -> Result<Description> {
        other.name.clone_from(&self.name);
        for replace in &self.replace {
            let file = other.start.as_mut().and_then(|start| start.files.get_mut(&replace.file));
            replace.within(file.context("there is no such file")?)?;
        }
        Ok(other)
    }
}

impl Replace {
    fn within(&self, text: &mut String) -> Result<()> {
        let Self { file, old, new } = self;
        if !text.contains(old) {
            bail!("there is no {old:?} in {file:?} to be replaced");
        }
        *text = text.replace(old, new);
        Ok(())
    }
}

impl Description {
    /// Reads `NAME.toml` in the folder, or the file itself when `target` is a path.
    pub(crate) fn load(folder: &Path, target: &str) -> Result<Self> {
        let path = match Path::new(target) {
            path if path.extension().is_some_and(|extension| extension == "toml") => path.to_owned(),
            _ => folder.join(format!("{target}.toml")),
        };
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let wrong = || format!("{} is wrong", path.display());
        match toml::from_str(&text).with_context(wrong)? {
            Written::Variant(variant) => variant.of(Self::load(folder, &variant.like)?).with_context(wrong),
            Written::Whole(_) => Self::parse(&text).with_context(wrong),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let description: Self = toml::from_str(text)?;
        if description.starttls.is_none() && description.direct_tls.is_none() {
            bail!("one of starttls and direct_tls is needed");
        }
        if description.accounts.in_band == description.accounts.command.is_some() {
            bail!("accounts need either in_band or a command");
        }
        description.ignored()?;
        for Replace { file, old, .. } in &description.bench.replace {
            let text = description.start.as_ref().and_then(|start| start.files.get(file));
            if !text.is_some_and(|text| text.contains(old)) {
                bail!("there is no {old:?} in {file:?} to be replaced");
            }
        }
        Ok(description)
    }

    /// The server as it is measured: optimised, and without limits that would be measured in its place.
    pub(crate) fn for_bench(self) -> Self {
        let mut optimised = self.optimised();
        if let Some(start) = &mut optimised.start {
            for Replace { file, old, new } in &optimised.bench.replace {
                start.files.entry(file.clone()).and_modify(|text| *text = text.replace(old, new));
            }
        }
        optimised
    }

    /// The program that is measured, with the configuration that all others see.
    pub(crate) fn optimised(mut self) -> Self {
        if let Some(start) = &mut self.start
            && self.bench.binary.is_some()
        {
            start.binary.clone_from(&self.bench.binary);
        }
        self
    }

    /// The server with a clock that can be moved.
    pub(crate) fn with_own_clock(mut self) -> Result<Self> {
        let start = self.start.as_mut().context("the clock of a server that is not ours cannot be moved")?;
        start.has_own_clock = true;
        Ok(self)
    }

    /// The server with further settings on its command line.
    pub(crate) fn with_settings(mut self, settings: &[String]) -> Result<Self> {
        for setting in settings {
            let start = self.start.as_mut().filter(|start| !start.set.is_empty());
            let start = start.context("this target does not say how it takes a setting (start.set)")?;
            start.command.extend(start.set.iter().map(|word| word.replace("{setting}", setting)));
        }
        Ok(self)
    }

    /// The patterns of `ignore`.
    pub(crate) fn ignored(&self) -> Result<Vec<Pattern>> {
        let mut patterns = Vec::new();
        for text in &self.ignore {
            let elements = fragment(text).map_err(anyhow::Error::msg).context("in ignore")?;
            for element in elements {
                patterns.push(Pattern::new(&element).map_err(anyhow::Error::msg).context("in ignore")?);
            }
        }
        Ok(patterns)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;

    #[test]
    fn every_target_file_is_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("targets");
        let mut count = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            Description::load(&folder, path.to_str().unwrap()).unwrap();
            count += 1;
        }
        assert!(count >= 3, "{count} targets");
    }

    #[test]
    fn a_setting_stands_on_the_command_line() {
        let text =
            "name='x'\ndomain='d'\nstarttls='h:1'\n[accounts]\nin_band=true\n[start]\ncommand=['server']\n";
        let settings = ["a=1".to_owned(), "b=2".to_owned()];
        let set = format!("{text}set=['--set', '{{setting}}']\n");
        let description = Description::parse(&set).unwrap().with_settings(&settings).unwrap();
        assert_eq!(description.start.unwrap().command, ["server", "--set", "a=1", "--set", "b=2"]);
        assert!(Description::parse(text).unwrap().with_settings(&[]).is_ok());
        assert!(Description::parse(text).unwrap().with_settings(&settings).is_err());
    }

    #[test]
    fn a_variant_is_another_target_with_changes() {
        let base = "name='x'\ndomain='d'\nstarttls='h:1'\n[accounts]\nin_band=true\n[start]\ncommand=['x']\nfiles={f='a b'}\n";
        let of = |changes: &str| {
            let text = format!("name='y'\nlike='x'\n[[replace]]\n{changes}");
            let Written::Variant(variant) = toml::from_str(&text).unwrap() else { panic!("{text}") };
            variant.of(Description::parse(base).unwrap())
        };
        let description = of("file='f'\nold='b'\nnew='c'").unwrap();
        assert_eq!((description.name.as_str(), description.domain.as_str()), ("y", "d"));
        assert_eq!(description.start.unwrap().files["f"], "a c");
        assert!(of("file='f'\nold='d'\nnew='c'").is_err());
        assert!(of("file='g'\nold='b'\nnew='c'").is_err());
    }

    #[test]
    fn a_wrong_file_says_why() {
        let good = "name='x'\ndomain='d'\nstarttls='h:1'\n";
        for (text, words) in [
            (format!("{good}[accounts]\n"), "either"),
            (format!("{good}ignore=['<a']\n[accounts]\nin_band=true\n"), "ignore"),
            ("name='x'\ndomain='d'\n[accounts]\nin_band=true\n".to_owned(), "starttls"),
            (format!("{good}color='red'\n[accounts]\nin_band=true\n"), "color"),
            (
                format!("{good}[[bench.replace]]\nfile='f'\nold='a'\nnew='b'\n[accounts]\nin_band=true\n"),
                "replaced",
            ),
        ] {
            let error = format!("{:#}", Description::parse(&text).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }
}
