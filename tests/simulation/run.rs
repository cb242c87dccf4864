//! One seed: its run, and what is told of it.

use std::fmt::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use unisono_conformance::converge::{
    Accounts, History, Plan, Random, Recorder, Rule, Shape, Violation, judge, perform, shrink,
};

use super::faults::Fault;
use super::world::Simulated;

/// How long the server may take to answer; the disk fails for two seconds at most.
const PATIENCE: Duration = Duration::from_secs(20);
/// Tries to find a shorter story.
const SHRINK_TRIES: usize = 300;

/// A run that is over.
pub(super) struct Run {
    pub(super) plan: Plan,
    accounts: Arc<Accounts>,
    pub(super) history: History,
    /// What devices said and heard.
    pub(super) trace: Vec<u8>,
    /// Why it could not go on.
    error: Option<String>,
}

/// The plan of a seed: a few people with a few devices each, and a server that dies.
pub(super) fn plan_of(seed: u64) -> Plan {
    let mut random = Random::new(seed.rotate_left(32));
    let shape = Shape {
        users: random.between(2, 3),
        devices: random.between(2, 5),
        operations: random.between(20, 120),
        restarts: true,
        steps_clock: true,
    };
    Plan::new(seed, shape)
}

impl Run {
    pub(super) fn new(plan: Plan, fault: Fault) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let recorder = Recorder::default();
        let (accounts, trace, performed) = runtime.unwrap().block_on(async {
            let world = Simulated::open(&plan.cast, plan.seed, fault, &recorder).await;
            let accounts = world.people();
            let performed = perform(&plan, accounts.clone(), world.clone(), &recorder, PATIENCE, |_| {});
            let performed = performed.await;
            (accounts, world.take_trace(), performed)
        });
        let error = performed.err().map(|error| format!("{error:#}"));
        Self { plan, accounts, history: recorder.history(), trace, error }
    }

    fn violations(&self) -> Vec<Violation> {
        judge(&self.plan.cast, &self.accounts, &self.history)
    }

    /// The rules that are broken.
    pub(super) fn rules(&self) -> Vec<Rule> {
        self.violations().iter().map(|violation| violation.rule).collect()
    }

    /// By which rules it has failed.
    fn failure(&self) -> Option<Failure> {
        match &self.error {
            Some(_) => Some(Failure::Error),
            None => self.violations().first().map(|violation| Failure::Rule(violation.rule)),
        }
    }

    /// The first that is wrong, in a line.
    pub(super) fn reason(&self) -> String {
        let error = self.error.as_ref().map(|line| format!("it could not go on: {line}"));
        error.or_else(|| self.violations().first().map(ToString::to_string)).unwrap_or_default()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure().is_some()
    }

    /// What is wrong, and the shortest story that was found in which it is.
    pub(super) fn blame(&self, fault: Fault) -> String {
        let seed = self.plan.seed;
        let mut text = self.tell();
        let again = Self::new(self.shortest(fault), fault);
        let _ = write!(
            text,
            "in short:\n{}{}replay it: UNISONO_SIM_SEED={seed} UNISONO_SIM_SEEDS=1 cargo test -p unisono \
             --test stories simulation::\n",
            again.tell(),
            again.plan,
        );
        if std::env::var_os("UNISONO_SIM_TRACE").is_some() {
            let cast = again.plan.cast.with_auditors();
            for (moment, event) in again.history.events.iter().enumerate() {
                let _ = writeln!(text, "#{moment} {}", event.say(&cast));
            }
        }
        text
    }

    /// The shortest plan that was found and fails in the same way.
    pub(super) fn shortest(&self, fault: Fault) -> Plan {
        let failure = self.failure();
        at_once(shrink(&self.plan, SHRINK_TRIES, |plan| {
            std::future::ready(Self::new(plan, fault).failure() == failure)
        }))
    }

    fn tell(&self) -> String {
        let mut text = format!("seed {}, {} steps:\n", self.plan.seed, self.plan.steps.len());
        if let Some(line) = &self.error {
            let _ = writeln!(text, "  it could not go on: {line}");
        }
        for violation in self.violations() {
            let _ = writeln!(text, "  {violation}");
            for line in &violation.evidence {
                let _ = writeln!(text, "      {line}");
            }
        }
        text
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Error,
    Rule(Rule),
}

/// The result of a future that waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits"),
    }
}
