//! What happens in a run: a list of steps that the seed alone decides.

use std::fmt;
use std::time::Duration;

use super::cast::{Cast, DeviceNo, Kind, UserNo};
use super::keeping::{Change, ChangeNo};
use super::operation::{Act, Emoji, Loss, MessageNo, Presence, Step, Trigger};
use super::random::Random;

/// How large a run is, and what may happen in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub users: usize,
    /// Devices of each of them.
    pub devices: usize,
    /// Things that people, devices and networks do; starts, returns and pauses are not counted.
    pub operations: usize,
    /// The server can be killed, stopped and started.
    pub restarts: bool,
    /// The server's clock can be moved.
    pub steps_clock: bool,
}

/// A run before it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub shape: Shape,
    pub cast: Cast,
    pub steps: Vec<Step>,
}

impl Plan {
    /// The plan of this seed.
    pub fn new(seed: u64, shape: Shape) -> Self {
        let mut random = Random::new(seed);
        let cast = Cast::draw(&mut random, shape.users, shape.devices);
        let author = Author {
            random,
            shape,
            places: vec![Place::Away; cast.parts.len()],
            asleep: vec![false; cast.parts.len()],
            cast,
            steps: Vec::new(),
            is_up: true,
            done: 0,
            due: Vec::new(),
            texts: Vec::new(),
            last_number: 0,
            keeping: Random::new(seed ^ 0x6B65_6570),
            last_change: 0,
        };
        author.write(seed)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.cast)?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>4}  {}", number.saturating_add(1), step.say(&self.cast))?;
        }
        Ok(())
    }
}

/// Where a device is, as far as the plan knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Online,
    /// Its network is broken, it may not know.
    Lost,
    Away,
}

/// A text that others may refer to.
#[derive(Debug, Clone, Copy)]
struct Text {
    number: MessageNo,
    from: UserNo,
    to: UserNo,
}

/// Texts so far back are not corrected, retracted or reacted to any more.
const MEMORY: usize = 12;

struct Author {
    random: Random,
    shape: Shape,
    cast: Cast,
    steps: Vec<Step>,
    places: Vec<Place>,
    /// Devices that nobody looks at.
    asleep: Vec<bool>,
    is_up: bool,
    done: usize,
    /// Steps that follow from earlier ones, with the number of operations after which they come.
    due: Vec<(usize, Step)>,
    texts: Vec<Text>,
    last_number: u32,
    /// Draws what accounts keep, so that the rest of a plan is what it was without that.
    keeping: Random,
    last_change: u32,
}

impl Author {
    fn write(mut self, seed: u64) -> Plan {
        let all: Vec<_> = self.cast.devices().map(|(device, _)| device).collect();
        for by in all {
            self.step(Step::Return { by, afresh: true });
        }
        self.step(Step::Settle);
        let disruptions = self.draw_disruptions();
        while self.done < self.shape.operations {
            self.catch_up();
            if disruptions.contains(&self.done) && self.is_up {
                self.disrupt();
            } else {
                self.operate();
            }
            self.change();
            self.done = self.done.saturating_add(1);
            self.breathe();
        }
        Plan { seed, shape: self.shape, cast: self.cast, steps: self.steps }
    }

    /// When the server dies or stops: once in thirty operations, and at least once.
    fn draw_disruptions(&mut self) -> Vec<usize> {
        if !self.shape.restarts {
            return Vec::new();
        }
        let count = self.shape.operations.div_ceil(30).max(1);
        let length = self.shape.operations.checked_div(count).unwrap_or(1).max(1);
        let early = length.saturating_sub(4).max(1);
        (0..count)
            .map(|part| part.saturating_mul(length).saturating_add(self.random.between(2, early)))
            .collect()
    }

    /// Appends a step, and keeps in mind what it does.
    fn step(&mut self, step: Step) {
        let place = match &step {
            Step::Return { by, .. } => Some((*by, Place::Online)),
            Step::Lose { by, .. } => Some((*by, Place::Lost)),
            Step::Leave { by } | Step::Die { by } => Some((*by, Place::Away)),
            _ => None,
        };
        if let Some((by, place)) = place {
            if let Some(slot) = self.places.get_mut(by.0) {
                *slot = place;
            }
            if place == Place::Online
                && let Some(asleep) = self.asleep.get_mut(by.0)
            {
                *asleep = false;
            }
        }
        self.steps.push(step);
    }

    /// The steps that are due by now. Without a server nobody comes back.
    fn catch_up(&mut self) {
        let (now, is_up) = (self.done, self.is_up);
        let is_due =
            |(at, step): &(usize, Step)| *at <= now && (is_up || !matches!(step, Step::Return { .. }));
        let (due, later) = std::mem::take(&mut self.due).into_iter().partition(is_due);
        self.due = later;
        let due: Vec<(usize, Step)> = due;
        for (_, step) in due {
            if step == Step::Start {
                self.start();
            } else if let Step::Return { by, .. } = step
                && self.places.get(by.0) == Some(&Place::Online)
            {
                // It came back for another reason.
            } else {
                self.step(step);
            }
        }
    }

    fn start(&mut self) {
        if self.shape.steps_clock && self.random.percent(60) {
            let size = i64::try_from(self.random.between(1, 300)).unwrap_or(1);
            let seconds = if self.random.percent(70) { size.saturating_neg() } else { size };
            self.step(Step::StepClock { seconds });
        }
        self.step(Step::Start);
        self.is_up = true;
        for number in 0..self.places.len() {
            if self.places.get(number) != Some(&Place::Online) {
                self.plan_return(DeviceNo(number), 8);
            }
        }
    }

    fn plan_return(&mut self, by: DeviceNo, at_most: usize) {
        let afresh = self.part_kind(by).has_sm() && self.random.percent(20);
        self.after(at_most, Step::Return { by, afresh });
    }

    fn after(&mut self, at_most: usize, step: Step) {
        let at = self.done.saturating_add(self.random.between(1, at_most.max(1)));
        self.due.push((at, step));
    }

    /// The server goes down, in the middle of something.
    fn disrupt(&mut self) {
        let manner = self.random.below(100);
        let armed = match manner {
            0..40 => self
                .find(|kind, place| kind.has_sm() && place == Place::Online)
                .map(|by| (by, Trigger::Acknowledged)),
            40..55 => self.find(|_, place| place == Place::Online).map(|by| (by, Trigger::Seen)),
            _ => None,
        };
        if let Some((by, trigger)) = armed {
            self.step(Step::Arm { by, trigger });
        }
        for _ in 0..self.random.between(1, 4) {
            self.write_texts();
        }
        if let Some((by, Trigger::Acknowledged)) = armed {
            let to = self.somebody_else(by);
            self.write_text(by, to);
            self.step(Step::Ask { by });
        }
        self.step(if manner < 75 { Step::Kill } else { Step::Stop });
        self.is_up = false;
        for place in &mut self.places {
            if *place == Place::Online {
                *place = Place::Lost;
            }
        }
        self.after(4, Step::Start);
    }

    fn operate(&mut self) {
        let done = match self.random.below(100) {
            0..38 => self.write_texts(),
            38..42 => self.step_aside(),
            42..49 => self.refer(|text, by| text.from == by, Act::Correct),
            49..53 => self.refer(|text, by| text.from == by, Act::Retract),
            53..61 => {
                let emoji = match self.random.below(5) {
                    0 => Emoji::None,
                    1 | 2 => Emoji::Thumb,
                    _ => Emoji::Heart,
                };
                self.refer(|text, by| text.from == by || text.to == by, |number| Act::React(number, emoji))
            }
            61..69 => self.refer(|text, by| text.to == by, Act::Mark),
            69..72 => self.compose(),
            72..76 => self.by_online(|by| Step::Ask { by }, Kind::has_sm),
            76..81 => self.toggle_sleep(),
            81..90 => self.lose(),
            90..93 => self.delay(),
            93..96 => self.leave(|by| Step::Die { by }),
            _ => self.leave(|by| Step::Leave { by }),
        };
        if !done {
            self.write_texts();
        }
    }

    /// Sometimes devices change what their accounts keep, one or several of them at once.
    fn change(&mut self) {
        if !self.keeping.percent(35) {
            return;
        }
        let online = self.cast.devices().zip(&self.places).filter(|(_, place)| **place == Place::Online);
        let online: Vec<(DeviceNo, UserNo)> = online.map(|((device, part), _)| (device, part.user)).collect();
        let slot = u8::try_from(self.keeping.below(2)).unwrap_or(0);
        let kind = self.keeping.below(10);
        for _ in 0..self.keeping.between(1, 3) {
            let Some((by, user)) = self.keeping.pick(&online).copied() else { return };
            let others: Vec<UserNo> =
                (0..self.cast.users.len()).map(UserNo).filter(|other| *other != user).collect();
            let peer = self.keeping.pick(&others).copied().unwrap_or(user);
            let is_undone = self.keeping.percent(30);
            let change = match (kind, is_undone) {
                (0..2, false) => Change::Contact(slot),
                (0..2, true) => Change::NoContact(slot),
                (2..4, false) => Change::Block(slot),
                (2..4, true) => Change::Unblock(slot),
                (4..6, false) => Change::Bookmark(slot),
                (4..6, true) => Change::NoBookmark(slot),
                (6..8, _) => Change::Announce,
                _ => Change::Read(peer),
            };
            self.last_change = self.last_change.saturating_add(1);
            self.step(Step::Keep { by, number: ChangeNo(self.last_change), change });
        }
    }

    fn breathe(&mut self) {
        match self.random.below(100) {
            0..5 => self.step(Step::Settle),
            5..30 => {
                let time = Duration::from_millis(self.random.between(1, 25) as u64);
                self.step(Step::Pause { time });
            }
            _ => {}
        }
    }

    /// One text, or a few in one go.
    fn write_texts(&mut self) -> bool {
        let Some(by) = self.writer() else { return false };
        let to = self.somebody_else(by);
        let count = if self.random.percent(20) { self.random.between(2, 6) } else { 1 };
        for _ in 0..count {
            self.write_text(by, to);
        }
        true
    }

    fn write_text(&mut self, by: DeviceNo, to: UserNo) {
        let asks_receipt = self.random.percent(30);
        let filler = if self.random.percent(6) { self.random.between(2_000, 40_000) } else { 0 };
        let number = self.number();
        self.texts.push(Text { number, from: self.user_of(by), to });
        self.step(Step::Write { by, to, number, act: Act::Text { asks_receipt, filler } });
    }

    /// A message about an earlier text.
    fn refer(&mut self, may: impl Fn(&Text, UserNo) -> bool, act: impl Fn(MessageNo) -> Act) -> bool {
        let Some(by) = self.writer() else { return false };
        let own = self.user_of(by);
        let fresh = self.texts.len().saturating_sub(MEMORY);
        let known: Vec<Text> = self.texts.iter().skip(fresh).filter(|text| may(text, own)).copied().collect();
        let Some(text) = self.random.pick(&known).copied() else { return false };
        let to = if text.from == own { text.to } else { text.from };
        let number = self.number();
        self.step(Step::Write { by, to, number, act: act(text.number) });
        true
    }

    fn compose(&mut self) -> bool {
        let Some(by) = self.find(|_, place| place == Place::Online) else { return false };
        let to = self.somebody_else(by);
        self.step(Step::Compose { by, to });
        true
    }

    fn toggle_sleep(&mut self) -> bool {
        let Some(by) = self.find(|kind, place| kind == Kind::Csi && place == Place::Online) else {
            return false;
        };
        let Some(asleep) = self.asleep.get_mut(by.0) else { return false };
        *asleep = !*asleep;
        let step = if *asleep { Step::LookAway { by } } else { Step::Look { by } };
        self.step(step);
        true
    }

    /// A device that catches up with what it misses is not there for a while, though it has a stream.
    fn step_aside(&mut self) -> bool {
        let may = |kind: Kind, place| kind != Kind::Carbons && place == Place::Online;
        let Some(by) = self.find(may) else { return false };
        // Copies reach a negative priority at once, and may overtake what waits for a better one.
        let may_be_negative = !self.part_kind(by).has_carbons() && self.random.percent(50);
        let presence = if may_be_negative { Presence::Negative } else { Presence::Unavailable };
        self.step(Step::Show { by, presence });
        self.after(6, Step::Show { by, presence: Presence::Available });
        true
    }

    fn lose(&mut self) -> bool {
        let how = self.random.pick(&Loss::ALL).copied().unwrap_or(Loss::Reset);
        let Some(by) = self.find(|_, place| place == Place::Online) else { return false };
        self.step(Step::Lose { by, how });
        self.plan_return(by, 8);
        true
    }

    fn delay(&mut self) -> bool {
        let time = Duration::from_millis(self.random.between(5, 60) as u64);
        let done = self.by_online(|by| Step::Delay { by, time }, |_| true);
        if let Some(Step::Delay { by, .. }) = self.steps.last().filter(|_| done) {
            let over = Step::Delay { by: *by, time: Duration::ZERO };
            self.after(12, over);
        }
        done
    }

    fn leave(&mut self, step: impl Fn(DeviceNo) -> Step) -> bool {
        let Some(by) = self.find(|_, place| place == Place::Online) else { return false };
        self.step(step(by));
        self.plan_return(by, 10);
        true
    }

    fn by_online(&mut self, step: impl Fn(DeviceNo) -> Step, may: impl Fn(Kind) -> bool) -> bool {
        let Some(by) = self.find(|kind, place| may(kind) && place == Place::Online) else { return false };
        self.step(step(by));
        true
    }

    /// Who writes next: mostly somebody who is online, sometimes somebody who has lost the network or is away.
    fn writer(&mut self) -> Option<DeviceNo> {
        let place = match self.random.below(100) {
            0..80 => Place::Online,
            80..95 => Place::Lost,
            _ => Place::Away,
        };
        self.find(|_, other| other == place).or_else(|| self.find(|_, _| true))
    }

    fn find(&mut self, may: impl Fn(Kind, Place) -> bool) -> Option<DeviceNo> {
        let places = self.cast.devices().zip(&self.places);
        let fit: Vec<DeviceNo> = places
            .filter(|((_, part), place)| may(part.kind, **place))
            .map(|((device, _), _)| device)
            .collect();
        self.random.pick(&fit).copied()
    }

    fn somebody_else(&mut self, by: DeviceNo) -> UserNo {
        let own = self.user_of(by);
        let others: Vec<UserNo> =
            (0..self.cast.users.len()).map(UserNo).filter(|user| *user != own).collect();
        self.random.pick(&others).copied().unwrap_or(own)
    }

    fn user_of(&self, by: DeviceNo) -> UserNo {
        self.cast.part(by).map_or(UserNo(0), |part| part.user)
    }

    fn part_kind(&self, by: DeviceNo) -> Kind {
        self.cast.part(by).map_or(Kind::Legacy, |part| part.kind)
    }

    fn number(&mut self) -> MessageNo {
        self.last_number = self.last_number.saturating_add(1);
        MessageNo(self.last_number)
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

    const SHAPE: Shape = Shape { users: 2, devices: 3, operations: 60, restarts: true, steps_clock: false };

    fn count(plan: &Plan, what: impl Fn(&Step) -> bool) -> usize {
        plan.steps.iter().filter(|step| what(step)).count()
    }

    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(Plan::new(5, SHAPE), Plan::new(5, SHAPE));
        assert_ne!(Plan::new(5, SHAPE).steps, Plan::new(6, SHAPE).steps);
        // What a seed means must not change with the machine or the build: somebody may hold a seed that failed.
        let text = Plan::new(5, SHAPE).to_string();
        assert!(text.starts_with("seed 5: alice/"), "{text}");
    }

    #[test]
    fn a_server_goes_down_twice_in_sixty_operations_and_never_twice_at_once() {
        for seed in 0..200 {
            let plan = Plan::new(seed, SHAPE);
            let mut is_up = true;
            for step in &plan.steps {
                match step {
                    Step::Kill | Step::Stop => assert!(std::mem::replace(&mut is_up, false), "{plan}"),
                    Step::Start => assert!(!std::mem::replace(&mut is_up, true), "{plan}"),
                    Step::Return { .. } => assert!(is_up, "{plan}"),
                    Step::StepClock { .. } => panic!("{plan}"),
                    _ => {}
                }
            }
            assert_eq!(count(&plan, |step| matches!(step, Step::Kill | Step::Stop)), 2, "{plan}");
        }
    }

    #[test]
    fn what_cannot_happen_is_not_planned() {
        for seed in 0..50 {
            let plan = Plan::new(seed, Shape { restarts: false, ..SHAPE });
            let is_restart =
                |step: &Step| matches!(step, Step::Kill | Step::Stop | Step::Start | Step::Arm { .. });
            assert_eq!(count(&plan, is_restart), 0);
        }
        let with_clock = |seed| Plan::new(seed, Shape { steps_clock: true, ..SHAPE });
        assert!(
            (0..20).any(|seed| count(&with_clock(seed), |step| matches!(step, Step::StepClock { .. })) > 0)
        );
    }

    #[test]
    fn everything_happens_in_some_plan() {
        let plans: Vec<_> = (0..100).map(|seed| Plan::new(seed, SHAPE)).collect();
        let happens = |what: &dyn Fn(&Step) -> bool| plans.iter().any(|plan| count(plan, what) > 0);
        for how in Loss::ALL {
            assert!(
                happens(&|step| matches!(step, Step::Lose { how: other, .. } if *other == how)),
                "{how:?}"
            );
        }
        for kind in Kind::ALL {
            assert!(
                plans.iter().all(|plan| plan.cast.parts.iter().any(|part| part.kind == kind)),
                "{kind:?}"
            );
        }
        assert!(happens(&|step| matches!(step, Step::Write { act: Act::Correct(_), .. })));
        assert!(happens(&|step| matches!(step, Step::Write { act: Act::Retract(_), .. })));
        assert!(happens(&|step| matches!(step, Step::Write { act: Act::React(_, Emoji::None), .. })));
        assert!(happens(&|step| matches!(step, Step::Write { act: Act::Mark(_), .. })));
        assert!(happens(&|step| matches!(step, Step::Die { .. })));
        assert!(happens(&|step| matches!(step, Step::Leave { .. })));
        assert!(happens(&|step| matches!(step, Step::Write { act: Act::Text { filler: 2_000.., .. }, .. })));
        assert!(happens(&|step| matches!(step, Step::LookAway { .. })));
        for presence in [Presence::Available, Presence::Negative, Presence::Unavailable] {
            let shows =
                |step: &Step| matches!(step, Step::Show { presence: other, .. } if *other == presence);
            assert!(happens(&shows), "{presence:?}");
        }
        assert!(happens(&|step| matches!(step, Step::Return { afresh: true, .. })));
        assert!(happens(&|step| matches!(step, Step::Arm { trigger: Trigger::Seen, .. })));
        assert!(happens(&|step| matches!(step, Step::Arm { trigger: Trigger::Acknowledged, .. })));
    }

    #[test]
    fn messages_refer_to_what_was_written_before_in_the_same_conversation() {
        for seed in 0..50 {
            let plan = Plan::new(seed, SHAPE);
            let mut texts = std::collections::BTreeMap::new();
            for step in &plan.steps {
                let Step::Write { by, to, number, act } = step else { continue };
                let from = plan.cast.part(*by).unwrap().user;
                let (Act::Correct(of) | Act::Retract(of) | Act::React(of, _) | Act::Mark(of)) = act else {
                    assert_eq!(texts.insert(*number, (from, *to)), None);
                    continue;
                };
                let (author, peer) = texts[of];
                let is_own = matches!(act, Act::Correct(_) | Act::Retract(_));
                assert!(
                    (author, peer) == (from, *to) || (!is_own && (author, peer) == (*to, from)),
                    "{plan}"
                );
            }
        }
    }
}
