//! The command line of the convergence checker.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::driver::{Progress, perform};
use super::history::Recorder;
use super::judge::judge;
use super::outcome::Outcome;
use super::plan::{Plan, Shape};
use super::real::Real;
use super::report::{Report, Run};
use super::shrink::shrink;
use crate::target::{Description, interrupted};

/// How long a server may take to answer.
const TIMEOUT_SECONDS: u64 = 20;

/// Runs for a page of results, where nothing else is said.
const RUNS_OF_RESULTS: u64 = 50;

/// How much is tried.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "runs that are made")]
pub(crate) struct Amount {
    /// Runs, with one seed and the next ones; they share nothing
    #[arg(long)]
    runs: Option<u64>,
    /// People
    #[arg(long, default_value_t = 2)]
    users: usize,
    /// Devices of each of them
    #[arg(long, default_value_t = 3)]
    devices: usize,
    /// What they do, their networks and the server included
    #[arg(long, default_value_t = 60)]
    ops: usize,
    /// Leave the server alone: nobody kills or stops it
    #[arg(long)]
    no_restarts: bool,
    /// Move the server's clock while it is down, mostly back (with Debian's package faketime)
    #[arg(long, conflicts_with = "no_restarts")]
    step_clock: bool,
    /// Seconds that the server may take to answer
    #[arg(long, default_value_t = TIMEOUT_SECONDS)]
    timeout: u64,
}

#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line are independent")]
pub(crate) struct Arguments {
    /// A file of the targets folder without its `.toml`, or the path of one
    #[arg(long, required_unless_present = "plan")]
    target: Option<String>,
    /// What decides everything; without one, it is drawn and told
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    amount: Amount,
    /// Print the stories of the seeds and run nothing
    #[arg(long)]
    plan: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print all that happened in a run that failed, and every violation
    #[arg(long)]
    trace: bool,
    /// After a run that failed, look for a shorter story that fails, in at most so many runs
    #[arg(long, value_name = "RUNS", num_args = 0..=1, default_missing_value = "100")]
    shrink: Option<usize>,
    /// Keep the folder of the server of a run that failed
    #[arg(long)]
    keep: bool,
    /// Runs at once
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// The server's program, in place of the one that the target names
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Folder of the targets
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/targets"), hide_default_value = true)]
    targets: PathBuf,
}

/// Runs the seeds from 1 on against one server, and says what came out.
pub(crate) async fn measure(
    target: &str,
    description: Arc<Description>,
    binary: Option<PathBuf>,
    amount: Amount,
    jobs: usize,
) -> Result<Outcome> {
    let checker = Arc::new(Checker { amount, shrink: None, keep: false, trace: false, jobs, binary });
    let count = checker.amount.runs.unwrap_or(RUNS_OF_RESULTS);
    let show = Show::new(count, Output::Brief);
    let seeds = (1..=count).collect();
    let runs = checker.run_all(description.clone(), seeds, show).await?;
    Ok(Report { target, server: &description.name, runs: &runs }.outcome())
}

impl Arguments {
    /// Runs what they say.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let first = match self.seed {
            Some(seed) => seed,
            None => draw_seed()?,
        };
        let count = self.amount.runs.unwrap_or(1);
        let seeds = (0..count).map(|number| first.wrapping_add(number));
        if self.plan {
            seeds.for_each(|seed| print!("{}", Plan::new(seed, self.amount.shape(true))));
            return Ok(ExitCode::SUCCESS);
        }
        let target = self.target.context("--target is needed")?;
        let description = self.amount.target(Description::load(&self.targets, &target)?)?;
        let binary = self.binary.as_deref().map(std::path::absolute).transpose()?;
        let Self { amount, shrink, keep, trace, jobs, .. } = self;
        let show = Show::new(count, if self.json { Output::Json } else { Output::Text });
        let checker = Arc::new(Checker { amount, shrink, keep, trace, jobs, binary });
        let runs = tokio::select! {
            runs = checker.run_all(description.clone(), seeds.collect(), show) => runs?,
            () = interrupted() => anyhow::bail!("interrupted"),
        };
        let report = Report { target: &target, server: &description.name, runs: &runs };
        if self.json {
            println!("{:#}", serde_json::to_value(report.outcome())?);
        } else {
            print!("{}", report.text());
        }
        Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

impl Amount {
    /// The options that say the same again, for the results.
    pub(crate) fn options(&self) -> String {
        let Self { runs, users, devices, ops, no_restarts, step_clock, timeout } = self;
        let runs = runs.unwrap_or(RUNS_OF_RESULTS);
        let mut options = format!("--runs {runs} --users {users} --devices {devices} --ops {ops}");
        if *no_restarts {
            options.push_str(" --no-restarts");
        }
        if *step_clock {
            options.push_str(" --step-clock");
        }
        if *timeout != TIMEOUT_SECONDS {
            options = format!("{options} --timeout {timeout}");
        }
        options
    }

    /// The server as it is tried.
    pub(crate) fn target(&self, description: Description) -> Result<Arc<Description>> {
        Ok(Arc::new(if self.step_clock { description.with_own_clock()? } else { description }))
    }

    fn shape(&self, restarts: bool) -> Shape {
        let Self { users, devices, ops: operations, step_clock: steps_clock, .. } = *self;
        Shape { users, devices, operations, restarts: restarts && !self.no_restarts, steps_clock }
    }
}

/// Runs plans, several at once.
struct Checker {
    amount: Amount,
    /// Runs that may be spent on a shorter story.
    shrink: Option<usize>,
    keep: bool,
    trace: bool,
    jobs: usize,
    binary: Option<PathBuf>,
}

impl Checker {
    async fn run_all(
        self: Arc<Self>,
        target: Arc<Description>,
        seeds: Vec<u64>,
        show: Show,
    ) -> Result<Vec<Run>> {
        let gate = Arc::new(Semaphore::new(self.jobs.max(1)));
        let show = Arc::new(show);
        let mut tasks = JoinSet::new();
        for seed in seeds {
            let (checker, target, gate, show) = (self.clone(), target.clone(), gate.clone(), show.clone());
            tasks.spawn(async move {
                // The gate is never closed.
                let _turn = gate.acquire().await;
                let run = checker.run_one(&target, checker.plan_of(&target, seed), &show).await?;
                let run = checker.shortest(&target, run, &show).await?;
                show.done(&run, checker.trace);
                anyhow::Ok(run)
            });
        }
        let mut runs = BTreeMap::new();
        while let Some(run) = tasks.join_next().await {
            let run = run.context("a run panicked")??;
            runs.insert(run.plan.seed, run);
        }
        Ok(runs.into_values().collect())
    }

    fn plan_of(&self, target: &Description, seed: u64) -> Plan {
        Plan::new(seed, self.amount.shape(target.start.is_some()))
    }

    /// The run itself, or a shorter one that breaks a promise by the same rule.
    async fn shortest(&self, target: &Description, run: Run, show: &Show) -> Result<Run> {
        let (Some(tries), Some(rule)) = (self.shrink, run.violations.first().map(|violation| violation.rule))
        else {
            return Ok(run);
        };
        let best = Mutex::new(run);
        let plan = lock(&best).plan.clone();
        shrink(&plan, tries, |plan| async {
            let steps = plan.steps.len();
            // A run that is not possible tells nothing.
            let Ok(run) = self.run_one(target, plan, show).await else { return false };
            let is_same = run.violations.iter().any(|violation| violation.rule == rule);
            if is_same {
                show.shrunk(steps);
                *lock(&best) = run;
            }
            is_same
        })
        .await;
        Ok(best.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn run_one(&self, target: &Description, plan: Plan, show: &Show) -> Result<Run> {
        let seed = plan.seed;
        let start = Instant::now();
        let (real, accounts) =
            Real::open(target, self.binary.as_deref(), &plan.cast, &format!("{seed:x}")).await?;
        let (real, accounts) = (Arc::new(real), Arc::new(accounts));
        let patience = Duration::from_secs(self.amount.timeout);
        let recorder = Recorder::default();
        let performed = perform(&plan, accounts.clone(), real.clone(), &recorder, patience, |progress| {
            show.progress(seed, progress);
        });
        let error = performed.await.err().map(|error| format!("{error:#}"));
        let history = recorder.history();
        let violations = if error.is_some() { Vec::new() } else { judge(&plan.cast, &accounts, &history) };
        let has_failed = error.is_some() || !violations.is_empty();
        let folder = real.close(self.keep && has_failed).await?;
        Ok(Run { plan, seconds: start.elapsed().as_secs_f64(), history, violations, error, folder })
    }
}

fn lock(run: &Mutex<Run>) -> MutexGuard<'_, Run> {
    run.lock().unwrap_or_else(PoisonError::into_inner)
}

fn draw_seed() -> Result<u64> {
    let mut bytes = [0; 4];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("no randomness")?;
    Ok(u64::from(u32::from_be_bytes(bytes)))
}

/// Shows how far runs are, on the error stream, so that the output stays for the results.
struct Show {
    bar: indicatif::ProgressBar,
    output: Output,
}

/// Who reads what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// People.
    Text,
    /// Programs read the output, people the other stream.
    Json,
    /// People who read the results later: a line for each run, on the other stream.
    Brief,
}

impl Show {
    fn new(runs: u64, output: Output) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            indicatif::ProgressBar::new(runs)
        } else {
            indicatif::ProgressBar::hidden()
        };
        if let Ok(style) = indicatif::ProgressStyle::with_template("{pos}/{len} runs, {elapsed}, {msg}") {
            bar.set_style(style);
        }
        Self { bar, output }
    }

    fn progress(&self, seed: u64, Progress { done, steps }: Progress) {
        self.bar.set_message(format!("seed {seed}: step {done} of {steps}"));
    }

    fn shrunk(&self, steps: usize) {
        self.bar.suspend(|| eprintln!("it still fails with {steps} steps"));
    }

    fn done(&self, run: &Run, with_trace: bool) {
        self.bar.inc(1);
        self.bar.suspend(|| {
            let mut text = format!("{}\n", run.summary());
            if run.has_failed() && self.output != Output::Brief {
                text.push_str(&run.details(with_trace));
            }
            // Who closed the stream does not want to know.
            let _ = if self.output == Output::Text {
                std::io::stdout().write_all(text.as_bytes())
            } else {
                std::io::stderr().write_all(text.as_bytes())
            };
        });
    }
}
