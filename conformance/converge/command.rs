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
use super::plan::{Plan, Shape};
use super::real::Real;
use super::report::{Report, Run};
use super::shrink::shrink;
use crate::target::Description;

#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line are independent")]
pub(crate) struct Arguments {
    /// A file of the targets folder without its `.toml`, or the path of one
    #[arg(long, required_unless_present = "plan")]
    target: Option<String>,
    /// What decides everything; without one, it is drawn and told
    #[arg(long)]
    seed: Option<u64>,
    /// Runs, with this seed and the next ones; they share nothing
    #[arg(long, default_value_t = 1)]
    runs: u64,
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
    /// Seconds that the server may take to answer
    #[arg(long, default_value_t = 20)]
    timeout: u64,
    /// The server's program, in place of the one that the target names
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Folder of the targets
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/targets"), hide_default_value = true)]
    targets: PathBuf,
}

impl Arguments {
    /// Runs what they say.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let first = match self.seed {
            Some(seed) => seed,
            None => draw_seed()?,
        };
        let seeds = (0..self.runs).map(|number| first.wrapping_add(number));
        if self.plan {
            seeds.for_each(|seed| print!("{}", Plan::new(seed, self.shape(true, false))));
            return Ok(ExitCode::SUCCESS);
        }
        let target = self.target.clone().context("--target is needed")?;
        let description = Arc::new(Description::load(&self.targets, &target)?);
        let binary = self.binary.as_deref().map(std::path::absolute).transpose()?;
        let arguments = Arc::new(Self { binary, ..self });
        let show = Show::new(arguments.runs, arguments.json);
        let runs = tokio::select! {
            runs = arguments.clone().run_all(description.clone(), seeds.collect(), show) => runs?,
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        };
        let report = Report { target: &target, server: &description.name, runs: &runs };
        if arguments.json {
            println!("{:#}", report.json());
        } else {
            print!("{}", report.text());
        }
        Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn shape(&self, restarts: bool, steps_clock: bool) -> Shape {
        let restarts = restarts && !self.no_restarts;
        Shape { users: self.users, devices: self.devices, operations: self.ops, restarts, steps_clock }
    }

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
            let (arguments, target, gate, show) = (self.clone(), target.clone(), gate.clone(), show.clone());
            tasks.spawn(async move {
                // The gate is never closed.
                let _turn = gate.acquire().await;
                let run = arguments.run_one(&target, arguments.plan_of(&target, seed), &show).await?;
                let run = arguments.shortest(&target, run, &show).await?;
                show.done(&run, arguments.trace);
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
        let steps_clock = target.start.as_ref().is_some_and(|start| start.step_clock.is_some());
        Plan::new(seed, self.shape(target.start.is_some(), steps_clock))
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
        let patience = Duration::from_secs(self.timeout);
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
    is_quiet: bool,
}

impl Show {
    fn new(runs: u64, is_quiet: bool) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            indicatif::ProgressBar::new(runs)
        } else {
            indicatif::ProgressBar::hidden()
        };
        if let Ok(style) = indicatif::ProgressStyle::with_template("{pos}/{len} runs, {elapsed}, {msg}") {
            bar.set_style(style);
        }
        Self { bar, is_quiet }
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
            if run.has_failed() {
                text.push_str(&run.details(with_trace));
            }
            // With JSON on the output, people read the other stream. Who closed it does not want to know.
            let _ = if self.is_quiet {
                std::io::stderr().write_all(text.as_bytes())
            } else {
                std::io::stdout().write_all(text.as_bytes())
            };
        });
    }
}
