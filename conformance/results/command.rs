//! `unisono-conformance results …`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;

use super::page::Page;
use super::part::{Folder, Kind, Part};
use crate::bench::{self, FLOOR, Subject};
use crate::converge;
use crate::run;
use crate::target::{Description, interrupted, target_dir};

/// Scripts at once.
const SCRIPTS_AT_ONCE: usize = 8;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Files of the targets folder without their `.toml`, or paths of such; the first is compared with the others
    #[arg(long, value_delimiter = ',', required = true)]
    target: Vec<String>,
    /// What to run; all by default
    #[arg(long, value_delimiter = ',', value_enum, conflicts_with = "render")]
    part: Vec<Kind>,
    /// Run nothing, put together what is there
    #[arg(long)]
    render: bool,
    /// The page; the plot lies beside it
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS.md"), hide_default_value = true)]
    out: PathBuf,
    /// Folder in which the parts are kept [default: the folder `results` of Cargo's target folder]
    #[arg(long)]
    parts: Option<PathBuf>,
    /// Convergence runs at once
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Unisono's program, in place of the optimised one that the target names
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Folder of the scripts
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts"), hide_default_value = true)]
    scripts: PathBuf,
    /// Folder of the targets
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/targets"), hide_default_value = true)]
    targets: PathBuf,
    #[command(flatten, next_help_heading = "How much is tried by convergence runs")]
    converge: converge::Amount,
    #[command(flatten, next_help_heading = "How much is measured by the benchmark")]
    bench: bench::Amount,
}

impl Arguments {
    /// Runs what they say, writes the page after each part, and says whether all was possible.
    pub(crate) async fn run(mut self) -> Result<ExitCode> {
        self.binary = self.binary.as_deref().map(std::path::absolute).transpose()?;
        let folder =
            Folder(self.parts.clone().unwrap_or_else(|| PathBuf::from(target_dir()).join("results")));
        if self.render {
            self.write(&folder)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut is_whole = true;
        for (kind, name) in self.plan()? {
            eprintln!("{} {name}: begins", kind.name());
            let start = Instant::now();
            let result = tokio::select! {
                result = self.make(kind, &name, &folder) => result,
                () = interrupted() => anyhow::bail!("interrupted; what was finished is kept"),
            };
            let seconds = start.elapsed().as_secs();
            match result {
                Ok(()) => eprintln!("{} {name}: done in {seconds} s", kind.name()),
                Err(error) => {
                    is_whole = false;
                    eprintln!("{} {name}: not possible: {error:#}", kind.name());
                }
            }
            self.write(&folder)?;
        }
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What is to be made: of which kind, and for which target or scenario.
    fn plan(&self) -> Result<Vec<(Kind, String)>> {
        let is_wanted = |kind: &Kind| self.part.is_empty() || self.part.contains(kind);
        let mut plan = Vec::new();
        for kind in Kind::ALL.into_iter().filter(is_wanted) {
            let names = match kind {
                // The floor knows no accounts and no messages.
                Kind::Scripts | Kind::Converge => {
                    self.target.iter().filter(|name| *name != FLOOR).cloned().collect()
                }
                Kind::Bench => self.bench.names()?,
            };
            plan.extend(names.into_iter().map(|name| (kind, name)));
        }
        Ok(plan)
    }

    async fn make(&self, kind: Kind, name: &str, folder: &Folder) -> Result<()> {
        let binary = self.binary.as_deref();
        if kind == Kind::Bench {
            let mut targets = self.target.clone();
            if !targets.iter().any(|target| target == FLOOR) {
                targets.push(FLOOR.to_owned());
            }
            let report = bench::measure(&self.targets, &targets, binary, &self.bench, name).await?;
            let subject = Subject { name: name.to_owned(), title: String::new(), version: String::new() };
            return folder.keep(kind, name, &Part::new(subject, self.bench.options(), report));
        }
        let description = Description::load(&self.targets, name)?.optimised();
        let version = run::version(&description, binary).await?.unwrap_or_default();
        let (title, short) = (description.name.clone(), short(name));
        let subject = Subject { name: name.to_owned(), title, version };
        if kind == Kind::Scripts {
            let found = run::measure(&self.scripts, name, &description, binary, SCRIPTS_AT_ONCE).await?;
            folder.keep(kind, &short, &Part::new(subject, String::new(), found))
        } else {
            let (amount, binary) = (self.converge.clone(), self.binary.clone());
            let options = amount.options();
            let found =
                converge::measure(name, amount.target(description)?, binary, amount, self.jobs).await?;
            folder.keep(kind, &short, &Part::new(subject, options, found))
        }
    }

    /// Puts together what is there.
    fn write(&self, folder: &Folder) -> Result<()> {
        let targets: Vec<String> = self.target.iter().map(|name| short(name)).collect();
        let parts = folder.read(&targets, &bench::scenarios())?;
        let page = Page::new(&parts);
        let plot = self.out.with_extension("svg");
        if let Some(svg) = page.svg() {
            std::fs::write(&plot, svg).with_context(|| format!("cannot write {}", plot.display()))?;
        }
        let name = plot.file_name().and_then(|name| name.to_str()).context("the page's name is not UTF-8")?;
        std::fs::write(&self.out, page.markdown(name))
            .with_context(|| format!("cannot write {}", self.out.display()))
    }
}

/// What the files of a target are called: its own name, where it is given by its path.
fn short(target: &str) -> String {
    let name = std::path::Path::new(target).file_stem().and_then(|name| name.to_str());
    name.unwrap_or(target).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Arguments {
        Line::try_parse_from(line.split(' ')).unwrap().arguments
    }

    #[test]
    fn all_parts_or_those_that_are_named() {
        let plan = |line| {
            let plan = parse(line).plan().unwrap().into_iter();
            plan.map(|(kind, name)| format!("{} {name}", kind.name())).collect::<Vec<_>>()
        };
        let all = plan("results --target a,x/b.toml");
        assert_eq!(
            all.len(),
            4 + bench::scenarios().len() - 2,
            "an archive that takes long to fill is named, and so is what few servers have"
        );
        assert_eq!(all.first().unwrap(), "scripts a");
        let some = plan("results --target a,b,floor --part bench,converge --scenario routed");
        assert_eq!(some, ["converge a", "converge b", "bench routed"]);
        assert!(Line::try_parse_from("results --target a --render --part bench".split(' ')).is_err());
        assert_eq!((short("x/b.toml"), short("b")), ("b".to_owned(), "b".to_owned()));
    }

    #[test]
    fn a_page_is_put_together_from_what_is_there() {
        let temporary = tempfile::tempdir().unwrap();
        let (folder, out) = (Folder(temporary.path().join("parts")), temporary.path().join("page.md"));
        let parts = super::super::example::parts();
        folder.keep(Kind::Scripts, "prosody", &parts.scripts[1]).unwrap();
        folder.keep(Kind::Bench, "routed", &parts.bench[0]).unwrap();
        let arguments = Arguments { out: out.clone(), ..parse("results --target x/prosody.toml --render") };
        arguments.write(&folder).unwrap();
        let text = std::fs::read_to_string(out).unwrap();
        assert!(text.contains("**Prosody** failed 1.") && text.contains("(page.svg)"), "{text}");
        assert!(temporary.path().join("page.svg").exists());
    }
}
