//! Runs a plan on a world, and writes down what happens.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::cast::{Cast, DeviceNo, Part};
use super::content::Content;
use super::device::{Accounts, Device};
use super::history::{Event, Recorder};
use super::operation::{Act, MessageNo, Presence, Step};
use super::performer::{Alarm, Command, Performer, State};
use super::plan::Plan;
use super::world::World;

/// How long it may take until what was to kill the server happens.
const ALARM_PATIENCE: Duration = Duration::from_millis(500);
/// Rounds of waiting in which something still comes; more is a server that never comes to rest.
const ROUNDS_MAX: usize = 50;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done: usize,
    pub steps: usize,
}

/// Runs the plan. The world's server is up and has the accounts; they are used by nobody else.
///
/// `patience` is how long the server may take to answer. An error means that the run could not go on; what happened
/// until then is written down.
pub async fn perform<W: World>(
    plan: &Plan,
    accounts: Arc<Accounts>,
    world: Arc<W>,
    recorder: &Recorder,
    patience: Duration,
    mut progress: impl FnMut(Progress) + Send,
) -> anyhow::Result<()> {
    let mut stage = Stage {
        cast: plan.cast.with_auditors(),
        accounts,
        world,
        recorder: recorder.clone(),
        alarm: Arc::default(),
        patience,
        actors: Vec::new(),
        tasks: JoinSet::new(),
        is_up: true,
    };
    for (number, part) in plan.cast.devices() {
        stage.enter(number, part.clone());
    }
    for (done, step) in plan.steps.iter().enumerate() {
        progress(Progress { done, steps: plan.steps.len() });
        stage.step(step).await?;
        tokio::task::yield_now().await;
    }
    stage.finish(plan).await?;
    progress(Progress { done: plan.steps.len(), steps: plan.steps.len() });
    stage.actors.clear();
    while let Some(performed) = stage.tasks.join_next().await {
        performed?;
    }
    Ok(())
}

/// A device as the driver sees it.
struct Actor {
    commands: mpsc::UnboundedSender<Command>,
    /// Its network is broken, so it cannot be waited for.
    is_lost: bool,
    /// It has gone, and comes back when it is told to.
    is_away: bool,
}

struct Stage<W: World> {
    cast: Cast,
    accounts: Arc<Accounts>,
    world: Arc<W>,
    recorder: Recorder,
    alarm: Arc<Alarm>,
    patience: Duration,
    /// By their numbers.
    actors: Vec<Actor>,
    tasks: JoinSet<()>,
    is_up: bool,
}

impl<W: World> Stage<W> {
    fn enter(&mut self, number: DeviceNo, part: Part) {
        let (commands, queue) = mpsc::unbounded_channel();
        let performer = Performer {
            number,
            device: Device::new(part, self.accounts.clone()),
            world: self.world.clone(),
            recorder: self.recorder.clone(),
            alarm: self.alarm.clone(),
            patience: self.patience,
            state: State::default(),
        };
        self.tasks.spawn(performer.perform(queue));
        self.actors.push(Actor { commands, is_lost: false, is_away: true });
    }

    fn tell(&self, device: DeviceNo, command: Command) {
        if let Some(actor) = self.actors.get(device.0) {
            // Who does not listen any more has panicked, and the end of the run will say so.
            let _ = actor.commands.send(command);
        }
    }

    fn set_lost(&mut self, device: DeviceNo, is_lost: bool) {
        if let Some(actor) = self.actors.get_mut(device.0) {
            actor.is_lost = is_lost;
        }
    }

    fn set_away(&mut self, device: DeviceNo, is_away: bool) {
        if let Some(actor) = self.actors.get_mut(device.0) {
            actor.is_away = is_away;
        }
    }

    /// Nobody told them to, but this is what clients do when a server is there again.
    fn call_back(&self) {
        for actor in self.actors.iter().filter(|actor| !actor.is_lost && !actor.is_away) {
            // As above.
            let _ = actor.commands.send(Command::ComeBack);
        }
    }

    async fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        if self.world.has_come_back() {
            self.call_back();
        }
        match *step {
            Step::Write { by, to, number, act } => {
                let content = content_of(act, number, &self.cast.name(by));
                self.tell(by, Command::Write { id: number.id(), to, content });
            }
            Step::Keep { by, number, change } => self.tell(by, Command::Keep(number, change)),
            Step::Compose { by, to } => self.tell(by, Command::Compose { to }),
            Step::Ask { by } => self.tell(by, Command::Ask),
            Step::LookAway { by } => self.tell(by, Command::Look(false)),
            Step::Look { by } => self.tell(by, Command::Look(true)),
            Step::Show { by, presence } => self.tell(by, Command::Show(presence)),
            Step::Lose { by, how } => {
                self.recorder.add(Event::NetworkLost(by));
                self.set_lost(by, true);
                self.tell(by, Command::NetworkLost);
                self.world.lose(by, how);
            }
            Step::Delay { by, time } => self.world.delay(by, time),
            Step::Die { by } => {
                self.set_away(by, true);
                self.tell(by, Command::Die);
            }
            Step::Leave { by } => {
                self.set_away(by, true);
                self.tell(by, Command::Leave);
            }
            Step::Return { by, afresh } => {
                self.set_lost(by, false);
                self.set_away(by, false);
                self.tell(by, Command::Return { afresh });
            }
            Step::Arm { by, trigger } => self.alarm.set(by, trigger),
            Step::Kill => self.kill().await,
            Step::Stop => {
                self.recorder.add(Event::ServerStopping);
                self.is_up = false;
                self.world.stop().await?;
            }
            Step::Start => self.start().await?,
            Step::StepClock { seconds } => self.world.step_clock(seconds).await?,
            Step::Settle => {
                if self.is_up {
                    self.settle().await;
                }
            }
            Step::Pause { time } => tokio::time::sleep(time).await,
        }
        Ok(())
    }

    async fn kill(&mut self) {
        let start = tokio::time::Instant::now();
        while self.alarm.is_set() && start.elapsed() < ALARM_PATIENCE {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Either it was still waiting, or there was none, or it has killed the server.
        if self.alarm.disarm() || !self.has_died() {
            self.recorder.add(Event::ServerKilled);
            self.world.kill();
        }
        self.is_up = false;
    }

    /// The last that happened to the server is that it was killed.
    fn has_died(&self) -> bool {
        let history = self.recorder.history();
        let is_about_server = |event: &&Event| {
            matches!(event, Event::ServerKilled | Event::ServerStarted | Event::ServerStopping)
        };
        history.events.iter().rev().find(is_about_server) == Some(&Event::ServerKilled)
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        self.world.start().await?;
        self.recorder.add(Event::ServerStarted);
        self.is_up = true;
        Ok(())
    }

    /// Everybody who can be waited for says when nothing is on its way.
    async fn settle(&mut self) {
        self.recorder.add(Event::SettleBegan);
        let mut waits = Vec::new();
        for actor in self.actors.iter().filter(|actor| !actor.is_lost) {
            let (done, wait) = oneshot::channel();
            if actor.commands.send(Command::Settle(done)).is_ok() {
                waits.push(wait);
            }
        }
        for wait in waits {
            // A device that is gone has nothing on its way.
            let _ = wait.await;
        }
    }

    /// Until a round in which nobody sends and nobody sees anything.
    async fn settle_all(&mut self) -> anyhow::Result<()> {
        for _ in 0..ROUNDS_MAX {
            let before = self.recorder.traffic();
            self.settle().await;
            if self.recorder.traffic() == before {
                return Ok(());
            }
        }
        anyhow::bail!("after {ROUNDS_MAX} rounds of waiting something still comes")
    }

    /// All is mended, everybody comes back, goes, comes back once more; then the archives are read.
    async fn finish(&mut self, plan: &Plan) -> anyhow::Result<()> {
        if !self.is_up {
            self.start().await?;
        }
        self.world.mend().await?;
        let all: Vec<DeviceNo> = plan.cast.devices().map(|(device, _)| device).collect();
        for device in &all {
            self.set_lost(*device, false);
            self.world.delay(*device, Duration::ZERO);
            self.tell(*device, Command::ComeBack);
            self.tell(*device, Command::Look(true));
            self.tell(*device, Command::Show(Presence::Available));
        }
        self.settle_all().await?;
        for device in &all {
            self.tell(*device, Command::Leave);
        }
        self.settle().await;
        for device in &all {
            self.tell(*device, Command::Return { afresh: true });
        }
        self.settle_all().await?;
        let auditors: Vec<_> =
            self.cast.devices().skip(all.len()).map(|(no, part)| (no, part.clone())).collect();
        for (number, part) in auditors {
            self.enter(number, part);
            self.tell(number, Command::Return { afresh: true });
        }
        self.settle_all().await?;
        for number in 0..self.actors.len() {
            self.tell(DeviceNo(number), Command::LookAtAll);
        }
        self.settle().await;
        for number in 0..self.actors.len() {
            self.tell(DeviceNo(number), Command::Leave);
        }
        self.settle().await;
        Ok(())
    }
}

/// What a message of a plan says.
fn content_of(act: Act, number: MessageNo, writer: &str) -> Content {
    match act {
        Act::Text { asks_receipt, filler } => {
            let body = format!("{}, written by {writer}{}", number.id(), ".".repeat(filler));
            Content::Text { body, asks_receipt }
        }
        Act::Correct(of) => {
            Content::Correction { of: of.id(), body: format!("{} corrects {}", number.id(), of.id()) }
        }
        Act::Retract(of) => Content::Retraction { of: of.id() },
        Act::React(to, emoji) => Content::Reactions { to: to.id(), emojis: emoji.all() },
        Act::Mark(upto) => Content::Displayed { upto: upto.id() },
    }
}
