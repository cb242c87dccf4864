//! `unisono-conformance bench …`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::report::{Report, splice};
use super::sample::Sample;
use super::scenario::{Extent, Prepared, Scenario};
use super::server::Target;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Files of the targets folder without their `.toml`, or paths of such; `floor` is a relay that knows no XMPP
    #[arg(long, value_delimiter = ',', required = true)]
    target: Vec<String>,
    /// What to measure; `all` by default
    #[arg(long, value_delimiter = ',', default_value = "all")]
    scenario: Vec<String>,
    /// Unisono's program, in place of the one that the target names
    #[arg(long, env = "UNISONO_BENCH_BINARY")]
    binary: Option<PathBuf>,
    /// Small numbers, to see that everything works
    #[arg(long)]
    quick: bool,
    /// How often each scenario is measured, the targets taking turns
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of one measurement
    #[arg(long)]
    seconds: Option<u64>,
    /// Pairs of users that write
    #[arg(long)]
    pairs: Option<usize>,
    /// Messages of a pair on their way when the rate is free
    #[arg(long, default_value_t = 4)]
    window: u32,
    /// Messages in a second when latencies are measured
    #[arg(long)]
    rate: Option<f64>,
    /// Logins in a round
    #[arg(long)]
    logins: Option<usize>,
    /// Idle sessions
    #[arg(long, value_delimiter = ',')]
    idle: Option<Vec<usize>>,
    /// Messages in the archive that is paged through
    #[arg(long)]
    page_messages: Option<u64>,
    /// Streams that are cut and resumed in a round
    #[arg(long)]
    resumes: Option<usize>,
    /// Sessions that a restart meets
    #[arg(long)]
    restart_sessions: Option<usize>,
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
    fn extent(&self) -> Extent {
        let choose = |quick, full| if self.quick { quick } else { full };
        let seconds = |quick, full| Duration::from_secs(choose(quick, full));
        Extent {
            duration: self.seconds.map_or_else(|| seconds(1, 5), Duration::from_secs),
            settle: Duration::from_secs(1),
            pairs: self.pairs.unwrap_or(if self.quick { 4 } else { 50 }),
            window: self.window.max(1),
            per_second: self.rate,
            logins: self.logins.unwrap_or(if self.quick { 20 } else { 500 }),
            concurrency: if self.quick { 4 } else { 8 },
            idle: self
                .idle
                .clone()
                .unwrap_or_else(|| if self.quick { vec![50] } else { vec![1000, 5000, 19_000] }),
            idle_settle: seconds(1, 40),
            page_messages: self.page_messages.unwrap_or(if self.quick { 200 } else { 5000 }),
            resumes: self.resumes.unwrap_or(if self.quick { 8 } else { 200 }),
            restart_sessions: self.restart_sessions.unwrap_or(if self.quick { 40 } else { 15_000 }),
        }
    }

    fn scenarios(&self) -> Result<Vec<Scenario>> {
        let all = <Scenario as clap::ValueEnum>::value_variants();
        if self.scenario.iter().any(|name| name == "all") {
            return Ok(all.to_vec());
        }
        let find = |name: &String| <Scenario as clap::ValueEnum>::from_str(name, true);
        let names = || all.iter().map(|scenario| scenario.name()).collect::<Vec<_>>().join(", ");
        let scenarios = self.scenario.iter().map(|name| {
            find(name).ok().with_context(|| format!("there is no scenario {name}, but {}", names()))
        });
        scenarios.collect()
    }

    pub(crate) async fn run(self) -> Result<ExitCode> {
        let binary = self.binary.as_deref().map(std::path::absolute).transpose()?;
        let targets = self.target.iter().map(|name| Target::load(&self.targets, name, binary.as_deref()));
        let targets: Vec<Target> = targets.collect::<Result<_>>()?;
        let scenarios = self.scenarios()?;
        let report = tokio::select! {
            report = self.measure(&targets, &scenarios) => report?,
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        };
        print!("{}", report.markdown(self.plot()));
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn measure(&self, targets: &[Target], scenarios: &[Scenario]) -> Result<Report> {
        let extent = self.extent();
        let mut report = Report::new();
        for target in targets {
            let server = target.start().await?;
            report.add_target(&target.name, target.title(), &server.version().await?);
            server.stop().await?;
        }
        let rounds = self.rounds.unwrap_or(if self.quick { 1 } else { 3 }).max(1);
        let run = Run { extent: &extent, rounds, progress: progress(scenarios, targets, rounds) };
        for scenario in scenarios {
            run.scenario(*scenario, targets, &mut report).await;
            self.write(&report)?;
        }
        run.progress.finish_and_clear();
        report.end();
        self.write(&report)?;
        Ok(report)
    }

    /// Writes the files that are asked for; a long run does so after each scenario.
    fn write(&self, report: &Report) -> Result<()> {
        let put = |path: &Path, text: String| {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        if let Some(path) = &self.json {
            put(path, format!("{:#}\n", report.json()))?;
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

/// What all scenarios of a run have in common.
struct Run<'a> {
    extent: &'a Extent,
    rounds: usize,
    progress: ProgressBar,
}

impl Run<'_> {
    /// Measures one scenario on all servers, in turns. A server that fails does not end the run of the others.
    async fn scenario(&self, scenario: Scenario, targets: &[Target], report: &mut Report) {
        let mut prepared = Vec::new();
        for target in targets.iter().filter(|target| scenario.applies_to(target)) {
            self.say(scenario, target, "preparing");
            let result =
                async { scenario.prepare(target.start().await?, target.is_floor(), self.extent).await };
            if let Some(ready) = self.keep(scenario, target, result.await, report) {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

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
    fn scenarios_are_named_or_all() {
        let all = parse("bench --target a,b");
        assert_eq!(all.target, ["a", "b"]);
        assert_eq!(all.scenarios().unwrap(), <Scenario as clap::ValueEnum>::value_variants());
        let some = parse("bench --target a --scenario routed,four-devices");
        assert_eq!(some.scenarios().unwrap(), [Scenario::Routed, Scenario::FourDevices]);
        let error = parse("bench --target a --scenario rooted").scenarios().unwrap_err().to_string();
        assert!(error.contains("rooted") && error.contains("three-devices"), "{error}");
    }

    #[test]
    fn what_is_said_goes_before_what_is_usual() {
        let quick = parse("bench --target a --quick --pairs 7 --idle 3,5").extent();
        assert_eq!((quick.pairs, quick.idle.as_slice()), (7, &[3, 5][..]));
        assert_eq!(quick.duration, Duration::from_secs(1));
        assert_eq!(parse("bench --target a").extent().restart_sessions, 15_000);
    }
}
