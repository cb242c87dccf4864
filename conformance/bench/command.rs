//! `unisono-conformance bench …`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use futures::future::join_all;
use indicatif::{ProgressBar, ProgressStyle};

use super::amount::Amount;
use super::report::{Report, splice};
use super::sample::Sample;
use super::scenario::{Extent, Prepared, Scenario};
use super::server::Target;
use crate::target::interrupted;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Files of the targets folder without their `.toml`, or paths of such; `floor` is a relay that knows no XMPP
    #[arg(long, value_delimiter = ',', required = true)]
    target: Vec<String>,
    #[command(flatten)]
    amount: Amount,
    /// Unisono's program, in place of the one that the target names
    #[arg(long, env = "UNISONO_BENCH_BINARY")]
    binary: Option<PathBuf>,
    /// Write the figures of all rounds as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the tables into a Markdown file, in place of those that it has
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Write a plot
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Folder of the targets
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/targets"), hide_default_value = true)]
    targets: PathBuf,
}

impl Arguments {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let binary = self.binary.as_deref().map(std::path::absolute).transpose()?;
        let targets = self.target.iter().map(|name| Target::load(&self.targets, name, binary.as_deref()));
        let targets: Vec<Target> = targets.collect::<Result<_>>()?;
        let scenarios = self.amount.scenarios()?;
        let report = tokio::select! {
            report = measure(&self.amount, &targets, &scenarios, |report| self.write(report)) => report?,
            () = interrupted() => anyhow::bail!("interrupted"),
        };
        print!("{}", report.markdown(self.plot()));
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Writes the files that are asked for; a long run does so after each scenario.
    fn write(&self, report: &Report) -> Result<()> {
        let put = |path: &Path, text: String| {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        if let Some(path) = &self.json {
            put(path, format!("{:#}\n", serde_json::to_value(report)?))?;
        }
        if let Some(path) = &self.svg {
            put(path, report.svg())?;
        }
        if let Some(path) = &self.markdown {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            put(path, splice(&text, &report.markdown(self.plot())))?;
        }
        Ok(())
    }

    /// The plot as the tables name it: they lie in the same folder.
    fn plot(&self) -> Option<&str> {
        self.svg.as_deref()?.file_name()?.to_str()
    }
}

/// Measures the scenarios on all targets, and shows the report after each of them.
pub(super) async fn measure(
    amount: &Amount,
    targets: &[Target],
    scenarios: &[Scenario],
    show: impl Fn(&Report) -> Result<()>,
) -> Result<Report> {
    let extent = amount.extent();
    let mut report = Report::new(amount.quick);
    for target in targets {
        let server = target.start().await?;
        report.add_target(&target.name, target.title(), &server.version().await?);
        server.stop().await?;
    }
    let rounds = amount.rounds();
    let run = Run { extent: &extent, rounds, progress: progress(scenarios, targets, rounds) };
    for scenario in scenarios {
        run.scenario(*scenario, targets, &mut report).await;
        report.end();
        show(&report)?;
    }
    run.progress.finish_and_clear();
    Ok(report)
}

/// What all scenarios of a run have in common.
struct Run<'a> {
    extent: &'a Extent,
    rounds: usize,
    progress: ProgressBar,
}

impl Run<'_> {
    /// Measures one scenario on all servers, in turns. A server that fails does not end the run of the others.
    async fn scenario(&self, scenario: Scenario, targets: &[Target], report: &mut Report) {
        let targets: Vec<_> = targets.iter().filter(|target| scenario.applies_to(target)).collect();
        if scenario.is_measured_alone() {
            for target in targets {
                self.in_turns(scenario, vec![target], report).await;
            }
        } else {
            self.in_turns(scenario, targets, report).await;
        }
    }

    async fn in_turns(&self, scenario: Scenario, targets: Vec<&Target>, report: &mut Report) {
        let prepare = async |target: &Target| {
            self.say(scenario, target, "preparing");
            scenario.prepare(target.start().await?, target.is_floor(), self.extent).await
        };
        let mut results = Vec::new();
        if scenario.takes_long_to_prepare() {
            results = join_all(targets.iter().map(|target| prepare(target))).await;
        } else {
            for target in &targets {
                results.push(prepare(target).await);
            }
        }
        let mut prepared = Vec::new();
        for (target, result) in targets.into_iter().zip(results) {
            if let Some(ready) = self.keep(scenario, target, result, report) {
                prepared.push((target, ready));
            }
        }
        for round in 1..=scenario.rounds(self.rounds) {
            let mut still = Vec::new();
            for (target, mut ready) in prepared {
                self.say(scenario, target, &format!("round {round}"));
                let samples = ready.round(self.extent).await;
                self.progress.inc(1);
                if let Some(samples) = self.keep(scenario, target, samples, report) {
                    self.progress.suspend(|| show(&target.name, &samples));
                    report.add(&scenario.name(), &target.name, samples);
                    still.push((target, ready));
                }
            }
            prepared = still;
        }
        for (target, ready) in prepared {
            let notes = Prepared::finish(ready).await;
            if let Some(notes) = self.keep(scenario, target, notes, report) {
                report.add_notes(&scenario.name(), &target.name, &notes);
            }
        }
    }

    fn keep<T>(
        &self,
        scenario: Scenario,
        target: &Target,
        result: Result<T>,
        report: &mut Report,
    ) -> Option<T> {
        result
            .inspect_err(|error| {
                self.progress.suspend(|| eprintln!("{}: {}: {error:#}", target.name, scenario.name()));
                report.add_failure(&scenario.name(), &target.name, error);
            })
            .ok()
    }

    fn say(&self, scenario: Scenario, target: &Target, what: &str) {
        self.progress.set_message(format!("{} on {}: {what}", scenario.name(), target.name));
    }
}

fn progress(scenarios: &[Scenario], targets: &[Target], rounds: usize) -> ProgressBar {
    let steps = scenarios.iter().map(|scenario| {
        let count = targets.iter().filter(|target| scenario.applies_to(target)).count();
        count.saturating_mul(scenario.rounds(rounds))
    });
    let style = ProgressStyle::with_template("[{elapsed_precise}] {pos}/{len} {msg}");
    let bar = ProgressBar::new(steps.map(super::numbers::size).sum());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

/// What came out, at once: a long run may be interrupted.
fn show(target: &str, samples: &[Sample]) {
    for sample in samples {
        let figures = sample.figures.iter().map(|(name, value)| format!("{name} {value:.2}"));
        eprintln!("{target}: {}: {}", sample.row, figures.collect::<Vec<_>>().join(", "));
        for note in &sample.notes {
            eprintln!("{target}: {}: {note}", sample.row);
        }
    }
}
