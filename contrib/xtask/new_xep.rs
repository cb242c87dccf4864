//! `cargo xtask new-xep`: everything that a new extension needs, in one go.

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use unisono_core::extension::Spec;

use crate::catalogue::{self, Entry, Module};
use crate::header::Header;
use crate::root::Root;
use crate::template::Blanks;
use crate::{generated, names};

/// Stands in the header until somebody fills it in; `cargo xtask tidy` refuses it.
pub(crate) const NO_VERSION: &str = "0.0.0";
const NO_DATE: &str = "0000-00-00";
const LIST: &str = "xeps/lib.rs";

/// A new extension.
#[derive(Debug, Clone, Args)]
pub(crate) struct NewXep {
    /// The number of the XEP with four digits, such as 0333
    #[arg(value_parser = number)]
    number: u16,
    /// The name of the module after the number, such as markers or stream_management
    #[arg(value_parser = name)]
    name: String,
    /// The title of the XEP [default: from the name]
    #[arg(long)]
    title: Option<String>,
    /// The version that is followed, such as 1.0.0
    #[arg(long, default_value = NO_VERSION)]
    version: String,
    /// The day of that version, as YYYY-MM-DD
    #[arg(long, default_value = NO_DATE)]
    date: String,
    /// Its namespace [default: urn:xmpp:NAME:0]
    #[arg(long)]
    ns: Option<String>,
}

fn number(text: &str) -> Result<u16, &'static str> {
    names::number(text).ok_or("the number of a XEP has four digits, such as 0333")
}

fn name(text: &str) -> Result<String, &'static str> {
    let good = names::is_name(text).then(|| text.to_owned());
    good.ok_or("the name of a module has small letters, digits and single _, such as stream_management")
}

impl NewXep {
    /// Writes the files, and says what is left to do.
    pub(crate) fn run(&self, root: &Root, specs: &[Spec]) -> Result<ExitCode> {
        let written = self.write(root, specs)?;
        for path in &written {
            println!("wrote {path}");
        }
        println!(
            "\nNext: fill in the header of {}, write its handlers and tests, move its line",
            self.module_path()
        );
        println!("in {LIST} to its place in the order, and write scripts beside the specification.");
        println!("`cargo xtask tidy` and `cargo xtask xeps` tell whether all agree.");
        Ok(ExitCode::SUCCESS)
    }

    /// Writes the files and gives their paths. Nothing is written where something is in the way.
    pub(crate) fn write(&self, root: &Root, specs: &[Spec]) -> Result<Vec<String>> {
        let is_taken = |module: &Module| module.number == self.number;
        if let Some(module) = Module::all(root)?.iter().find(|module| is_taken(module)) {
            bail!("XEP-{:04} is there already: {}", self.number, module.path);
        }
        let blanks = self.blanks();
        let module = blanks.module();
        let header = Header::parse(&module)
            .map_err(|wrong| anyhow::anyhow!("the title, version or date makes no good header: {wrong}"))?;
        let (module_path, script_path) = (self.module_path(), self.script_path());
        let list = add_to_list(&root.read(LIST)?, &self.module_name(), &blanks.type_name)?;
        let mut entries = catalogue::entries(root, specs)?;
        entries.push(Entry { path: module_path.clone(), header, spec: self.spec() });
        entries.sort_by_key(|entry| entry.spec.number);
        let generated = generated::differing(root, &entries)?;

        let files = [(module_path, module), (script_path, blanks.script()), (LIST.to_owned(), list)];
        let files =
            files.into_iter().chain(generated.into_iter().map(|(path, text)| (path.to_owned(), text)));
        files
            .map(|(path, text)| {
                root.write(&path, &text)?;
                Ok(path)
            })
            .collect()
    }

    fn module_name(&self) -> String {
        format!("xep{:04}_{}", self.number, self.name)
    }

    fn module_path(&self) -> String {
        format!("xeps/{}.rs", self.module_name())
    }

    fn script_path(&self) -> String {
        format!("conformance/scripts/xep{:04}/passes_through.script", self.number)
    }

    fn blanks(&self) -> Blanks {
        Blanks {
            number: self.number,
            title: self.title.clone().unwrap_or_else(|| names::title(&self.name)),
            version: self.version.clone(),
            date: self.date.clone(),
            namespace: self
                .ns
                .clone()
                .unwrap_or_else(|| format!("urn:xmpp:{}:0", self.name.replace('_', "-"))),
            type_name: names::type_name(&self.name),
        }
    }

    /// What `spec()` of the new module will say.
    fn spec(&self) -> Spec {
        // A command writes one module and ends, so the text may live until then.
        let version: &'static str = Box::leak(self.version.clone().into_boxed_str());
        Spec::xep(self.number, version).partial("everything")
    }
}

/// Adds a module to the text of `xeps/lib.rs`: declared in its place, last in the order.
fn add_to_list(text: &str, module: &str, type_name: &str) -> Result<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let declaration = format!("pub mod {module};");
    ensure!(!lines.contains(&declaration), "{LIST} declares {module} already");
    let is_later = |line: &String| line.starts_with("pub mod xep") && *line > declaration;
    let after_last = || {
        let last = lines.iter().rposition(|line| line.starts_with("pub mod "))?;
        last.checked_add(1)
    };
    let place = lines.iter().position(is_later).or_else(after_last);
    lines.insert(place.with_context(|| format!("{LIST} has no line `pub mod …;`"))?, declaration);

    let start = lines.iter().position(|line| line.starts_with("pub const ALL"));
    let start = start.with_context(|| format!("{LIST} has no list ALL"))?;
    let end = lines.iter().skip(start).position(|line| line == "];").and_then(|n| n.checked_add(start));
    let end = end.with_context(|| format!("the list ALL in {LIST} has no end"))?;
    lines.insert(end, format!("    &{module}::{type_name},"));
    lines.push(String::new());
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests;
