//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};

use super::outcome::Outcome;
use super::probe::Offer;
use super::report::Report;
use super::stage::Context;
use super::suite::{self, Entry, Strictness, Verdict};
use crate::bench;
use crate::client::Damage;
use crate::converge;
use crate::results;
use crate::target::{Description, Instance, interrupted};

/// How long a client waits for what it expects.
const TIMEOUT_SECONDS: u64 = 5;

/// Black-box conformance suite for any XMPP server
#[derive(Parser)]
#[command(name = "unisono-conformance", version)]
struct Arguments {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Subcommand)]
enum Commands {
    /// Run the protocol scripts against a server.
    ///
    /// Exit codes: 0 all passed or not offered (`--all-offered`: or excused), 1 a script failed, 2 the run was not possible.
    Scripts(Run),
    /// Let devices of several kinds talk, lose their network and come back, while the server is killed and restarted,
    /// and compare what all of them saw.
    ///
    /// Exit codes: 0 all promises kept, 1 one was broken, 2 the run was not possible.
    Converge(converge::Arguments),
    /// Measure servers beside each other.
    ///
    /// Exit codes: 0 measured and nothing lost, doubled or out of order, 1 otherwise, 2 not possible.
    Bench(bench::Arguments),
    /// Run all of these against servers beside each other and write what came out as one page.
    ///
    /// Exit codes: 0 all parts were run, whatever came out; 1 one could not be; 2 none could.
    Results(results::Arguments),
    /// Pass bytes between TLS connections, as the floor of the benchmark
    #[command(hide = true)]
    Relay,
    /// List the scripts with their sections, and check that all can be read
    List {
        /// Parts of paths; no pattern means all
        patterns: Vec<String>,
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts"), hide_default_value = true)]
        scripts: PathBuf,
    },
}

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line are independent")]
struct Run {
    /// Parts of paths, as in `rfc6121/roster`; no pattern means all
    patterns: Vec<String>,
    /// A file of the targets folder without its `.toml`, or the path of one
    #[arg(long)]
    target: String,
    /// The server's program, in place of the one that the target names
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print what went over the wires below each failure
    #[arg(long)]
    trace: bool,
    /// Fail where a script is not run, unless the file of the target excuses it
    #[arg(long)]
    all_offered: bool,
    /// A setting for the server, as in `store.url=sqlite:other.db`, if its target says how it takes one
    #[arg(long = "set", value_name = "SETTING")]
    settings: Vec<String>,
    /// Name the scripts that were not run, and why
    #[arg(long)]
    excuses: bool,
    /// Keep the folder of the server
    #[arg(long)]
    keep: bool,
    /// Scripts at once
    #[arg(long, default_value_t = 8)]
    jobs: usize,
    /// Seconds that a client waits for what it expects
    #[arg(long, default_value_t = TIMEOUT_SECONDS)]
    timeout: u64,
    /// Spoil what the server sends: a script that still passes proves little
    #[arg(long, value_enum)]
    sabotage: Option<Damage>,
    /// Folder of the scripts
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts"), hide_default_value = true)]
    scripts: PathBuf,
    /// Folder of the targets
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/targets"), hide_default_value = true)]
    targets: PathBuf,
}

/// Runs what the command line of this process says.
pub fn main() -> ExitCode {
    perform(Arguments::parse())
}

/// Runs what a command line says; its first word is the name of the program.
///
/// # Errors
///
/// It is not one.
pub fn run<T: Into<OsString> + Clone>(words: impl IntoIterator<Item = T>) -> Result<ExitCode, clap::Error> {
    Arguments::try_parse_from(words).map(perform)
}

fn perform(arguments: Arguments) -> ExitCode {
    let result = match arguments.command {
        Commands::Scripts(scripts) => block_on(scripts.run()),
        Commands::Converge(arguments) => block_on(arguments.run()),
        Commands::Bench(arguments) => block_on(arguments.run()),
        Commands::Results(arguments) => block_on(arguments.run()),
        Commands::Relay => block_on(async { bench::relay().await.map(|()| ExitCode::SUCCESS) }),
        Commands::List { patterns, scripts } => list(&scripts, &patterns),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

fn block_on(future: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(future)
}

fn list(folder: &std::path::Path, patterns: &[String]) -> Result<ExitCode> {
    for Entry { path, script } in load(folder, patterns)? {
        println!("{path}: {} [{}]", script.says, script.spec);
    }
    Ok(ExitCode::SUCCESS)
}

fn load(folder: &std::path::Path, patterns: &[String]) -> Result<Vec<Entry>> {
    let (entries, errors) = suite::load(folder, patterns)?;
    for (path, error) in &errors {
        eprintln!("{path}:{}: {}", error.line, error.message);
    }
    anyhow::ensure!(errors.is_empty(), "{} scripts cannot be read", errors.len());
    anyhow::ensure!(!entries.is_empty(), "no script matches");
    Ok(entries)
}

impl Run {
    async fn run(self) -> Result<ExitCode> {
        let entries = load(&self.scripts, &self.patterns)?;
        let description = Description::load(&self.targets, &self.target)?.with_settings(&self.settings)?;
        let binary = self.binary.as_deref().map(std::path::absolute).transpose()?;
        let instance = Instance::start(&description, binary.as_deref()).await?;
        let context = context(&instance, &description, self.timeout, self.sabotage)?;
        let outcome = tokio::select! {
            outcome = self.play(&context, &description, entries) => outcome,
            () = interrupted() => Err(anyhow::anyhow!("interrupted")),
        };
        let folder = instance.stop(self.keep).await?;
        if let Some(folder) = folder {
            eprintln!("the server's folder is {}", folder.display());
        }
        outcome
    }

    async fn play(
        &self,
        context: &Arc<Context>,
        target: &Description,
        entries: Vec<Entry>,
    ) -> Result<ExitCode> {
        let played = play(context, target, entries, self.all_offered, self.jobs).await?;
        let report = played.report(&self.target);
        if self.json {
            println!("{:#}", serde_json::to_value(report.outcome())?);
        } else {
            print!("{}", report.text(self.trace, self.excuses));
        }
        Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// What was played, and against what.
struct Played {
    server: String,
    seconds: f64,
    results: Vec<Verdict>,
}

impl Played {
    fn report<'a>(&'a self, target: &'a str) -> Report<'a> {
        Report { target, server: self.server.clone(), seconds: self.seconds, results: &self.results }
    }
}

async fn play(
    context: &Arc<Context>,
    target: &Description,
    entries: Vec<Entry>,
    all_offered: bool,
    jobs: usize,
) -> Result<Played> {
    let offer = Offer::ask(context, &target.offers).await.context("cannot ask what the server offers")?;
    let start = Instant::now();
    let strictness = Strictness { excused: &target.not_offered, all_offered };
    let results = suite::run(context, &offer, strictness, entries, jobs.max(1)).await?;
    let version = offer.version.map(|version| format!(" {version}")).unwrap_or_default();
    let server = format!("{}{version}", target.name);
    Ok(Played { server, seconds: start.elapsed().as_secs_f64(), results })
}

fn context(
    instance: &Instance,
    description: &Description,
    timeout: u64,
    damage: Option<Damage>,
) -> Result<Arc<Context>> {
    Ok(Arc::new(Context {
        endpoint: instance.endpoint.clone(),
        accounts: instance.accounts.clone(),
        ignored: description.ignored()?,
        timeout: Duration::from_secs(timeout),
        run_id: run_id()?,
        damage,
    }))
}

/// What a server says that it is, if it does.
pub(crate) async fn version(description: &Description, binary: Option<&Path>) -> Result<Option<String>> {
    let instance = Instance::start(description, binary).await?;
    let context = context(&instance, description, TIMEOUT_SECONDS, None)?;
    let offer = Offer::ask(&context, &description.offers).await;
    instance.stop(false).await?;
    Ok(offer?.version)
}

/// Plays all scripts on a server, for the results.
pub(crate) async fn measure(
    folder: &Path,
    target: &str,
    description: &Description,
    binary: Option<&Path>,
    jobs: usize,
) -> Result<Outcome> {
    let entries = load(folder, &[])?;
    let instance = Instance::start(description, binary).await?;
    let context = context(&instance, description, TIMEOUT_SECONDS, None)?;
    let played = play(&context, description, entries, false, jobs).await;
    instance.stop(false).await?;
    Ok(played?.report(target).outcome())
}

/// A few letters that no other run has.
fn run_id() -> Result<String> {
    let mut bytes = [0; 5];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("no randomness")?;
    Ok(bytes.iter().map(|byte| char::from(b'a'.saturating_add(byte % 26))).collect())
}
