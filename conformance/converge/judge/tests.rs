//! The judge and the whole checker, tried on a server in memory that breaks one promise at a time, and on histories that
//! were spoiled afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::sync::Arc;
use std::time::Duration;

use super::super::toy::{Fault, Toy};
use super::super::{
    Accounts, Content, DeviceNo, Event, Fact, History, Kind, Plan, Recorder, Shape, Sight, Way, perform,
};
use super::{Promise, Rule, judge};

const SHAPE: Shape = Shape { users: 2, devices: 3, operations: 60, restarts: true, steps_clock: false };

struct Run {
    plan: Plan,
    accounts: Arc<Accounts>,
    history: History,
}

impl Run {
    /// A run of this seed against a toy with this fault.
    fn new(seed: u64, fault: Fault) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let plan = Plan::new(seed, SHAPE);
        let (toy, accounts) = Toy::new(&plan.cast, fault);
        let (accounts, recorder) = (Arc::new(accounts), Recorder::default());
        let patience = Duration::from_secs(20);
        let performed = perform(&plan, accounts.clone(), Arc::new(toy), &recorder, patience, |_| {});
        runtime.unwrap().block_on(performed).unwrap();
        Self { plan, accounts, history: recorder.history() }
    }

    fn rules(&self) -> Vec<Rule> {
        let violations = judge(&self.plan.cast, &self.accounts, &self.history);
        violations.iter().map(|violation| violation.rule).collect()
    }

    /// Everything that happened, if there is something to blame.
    fn blame(&self) -> Option<String> {
        let violations = judge(&self.plan.cast, &self.accounts, &self.history);
        let violation = violations.first()?;
        let cast = self.plan.cast.with_auditors();
        let events = self.history.events.iter().enumerate();
        let story: Vec<String> = events.map(|(at, event)| format!("#{at} {}", event.say(&cast))).collect();
        let evidence = violation.evidence.join("\n");
        Some(format!("{violation}\n{evidence}\n{}\n{}", self.plan, story.join("\n")))
    }
}

#[test]
fn a_server_that_keeps_its_promises_is_not_blamed() {
    for seed in 0..20 {
        if let Some(story) = Run::new(seed, Fault::Nothing).blame() {
            panic!("{story}");
        }
    }
}

#[test]
fn every_planted_fault_is_found_and_named() {
    for (fault, rule, promise) in [
        (Fault::AckBeforeCommit, Rule::LostAfterAck, Promise::P2),
        (Fault::DeliveryBeforeCommit, Rule::DeliveredNotRecorded, Promise::P2),
        (Fault::NoMarkers, Rule::LostAfterAck, Promise::P2),
        (Fault::IdByClock, Rule::ReorderedOnDevice, Promise::P1),
        (Fault::Swapped, Rule::ReorderedOnDevice, Promise::P1),
        (Fault::OtherId, Rule::IdDiffers, Promise::P1),
        (Fault::NoId, Rule::IdMissing, Promise::P1),
        (Fault::Dropped, Rule::Missed, Promise::P1),
        (Fault::NoOffline, Rule::Missed, Promise::P1),
        (Fault::NoDedup, Rule::DoubledInLog, Promise::P3),
        (Fault::Doubled, Rule::DoubledOnDevice, Promise::P3),
        (Fault::ResumeQueueLost, Rule::LostInResumption, Promise::P4),
        (Fault::SessionsForgotten, Rule::NotResumed, Promise::P4),
        (Fault::HangsUp, Rule::Ended, Promise::P4),
        (Fault::Silent, Rule::Stuck, Promise::P4),
        (Fault::Rewritten, Rule::ContentDiffers, Promise::P5),
        (Fault::ForgetsChanges, Rule::StateDiffers, Promise::P5),
    ] {
        let is_found = |seed| Run::new(seed, fault).rules().contains(&rule);
        assert!((0..20).any(is_found), "{fault:?} is not found as {rule:?}");
        assert_eq!(rule.promise(), promise);
    }
}

#[test]
fn a_run_is_the_same_each_time() {
    assert_eq!(Run::new(7, Fault::Nothing).history, Run::new(7, Fault::Nothing).history);
}

/// A device of this kind in the run's cast.
fn device_of(run: &Run, kind: Kind) -> DeviceNo {
    run.plan.cast.devices().find(|(_, part)| part.kind == kind).unwrap().0
}

/// What a device saw, with the index of the event.
fn sights(run: &Run, device: DeviceNo) -> Vec<(usize, Sight)> {
    let events = run.history.events.iter().enumerate();
    let seen = events.filter_map(|(at, event)| match event {
        Event::Device(other, Fact::Saw(sight)) if *other == device => Some((at, sight.clone())),
        _ => None,
    });
    seen.collect()
}

/// Removes all that a device saw of a message.
fn blind(run: &mut Run, device: DeviceNo, id: &str) {
    run.history.events.retain(
        |event| !matches!(event, Event::Device(other, Fact::Saw(sight)) if *other == device && sight.id == id),
    );
}

/// Changes each sight of a device in which something can be changed; whether there was one.
fn spoil(run: &mut Run, device: DeviceNo, change: impl Fn(&mut Sight) -> bool) -> bool {
    let mut is_changed = false;
    for event in &mut run.history.events {
        if let Event::Device(other, Fact::Saw(sight)) = event
            && *other == device
            && !is_changed
        {
            is_changed = change(sight);
        }
    }
    is_changed
}

/// A change of a history, and the rule that has to notice it.
type Spoiler = (&'static str, fn(&mut Run), Rule);

const SPOILERS: &[Spoiler] = &[
    (
        "a device never saw a message",
        |run| {
            let device = device_of(run, Kind::Sm);
            let (_, sight) = sights(run, device).remove(0);
            blind(run, device, &sight.id);
        },
        Rule::Missed,
    ),
    (
        "a device saw a message twice",
        |run| {
            let device = device_of(run, Kind::SmOffline);
            let (at, sight) = sights(run, device).remove(0);
            run.history.events.insert(at, Event::Device(device, Fact::Saw(sight)));
        },
        Rule::DoubledOnDevice,
    ),
    (
        "a device saw two messages in another order",
        |run| {
            let device = device_of(run, Kind::SmOffline);
            let seen = sights(run, device);
            run.history.events.swap(seen[0].0, seen[1].0);
        },
        Rule::ReorderedOnDevice,
    ),
    (
        "a device saw another id",
        |run| {
            let device = device_of(run, Kind::Csi);
            let change = |sight: &mut Sight| sight.stanza_id.replace("other".into()).is_some();
            assert!(spoil(run, device, change));
        },
        Rule::IdDiffers,
    ),
    (
        "a device saw no id",
        |run| {
            let device = device_of(run, Kind::Legacy);
            assert!(spoil(run, device, |sight| sight.stanza_id.take().is_some()));
        },
        Rule::IdMissing,
    ),
    (
        "a device saw another text",
        |run| {
            let device = device_of(run, Kind::Mam);
            let change = |sight: &mut Sight| match &mut sight.content {
                Content::Text { body, .. } => {
                    body.push('!');
                    true
                }
                _ => false,
            };
            assert!(spoil(run, device, change));
        },
        Rule::ContentDiffers,
    ),
    (
        "an archive lacks what was acknowledged",
        |run| {
            let id = run.history.events.iter().find_map(|event| match event {
                Event::Device(_, Fact::Acknowledged { id }) => Some(id.clone()),
                _ => None,
            });
            let auditor = DeviceNo(run.plan.cast.parts.len());
            blind(run, auditor, &id.unwrap());
        },
        Rule::LostAfterAck,
    ),
    (
        "an archive has a message twice",
        |run| {
            let auditor = DeviceNo(run.plan.cast.parts.len());
            let (at, sight) = sights(run, auditor).remove(0);
            run.history.events.insert(at, Event::Device(auditor, Fact::Saw(sight)));
        },
        Rule::DoubledInLog,
    ),
    (
        "two entries of an archive have one id",
        |run| {
            let auditor = DeviceNo(run.plan.cast.parts.len());
            let first = sights(run, auditor)[0].1.clone();
            let change = |sight: &mut Sight| {
                let is_other = sight.id != first.id;
                if is_other {
                    sight.stanza_id.clone_from(&first.stanza_id);
                }
                is_other
            };
            assert!(spoil(run, auditor, change));
        },
        Rule::IdShared,
    ),
    (
        "an archive has what nobody wrote",
        |run| {
            let auditor = DeviceNo(run.plan.cast.parts.len());
            let (at, mut sight) = sights(run, auditor).remove(0);
            sight.id = "invented".into();
            run.history.events.insert(at, Event::Device(auditor, Fact::Saw(sight)));
        },
        Rule::Invented,
    ),
    (
        "the archive of a returning device has another order",
        |run| {
            let device = device_of(run, Kind::Mam);
            let seen = sights(run, device);
            let is_page = |pair: &&[(usize, Sight)]| pair.iter().all(|(_, sight)| sight.way == Way::Archive);
            let pair = seen.windows(2).find(|pair| is_page(pair) && pair[1].0 == pair[0].0 + 1).unwrap();
            run.history.events.swap(pair[0].0, pair[1].0);
        },
        Rule::ReorderedOnPage,
    ),
    (
        "a marker did not reach a device",
        |run| {
            let device = device_of(run, Kind::Csi);
            let is_marker = |sight: &Sight| matches!(sight.content, Content::Displayed { .. });
            let markers: Vec<_> =
                sights(run, device).into_iter().filter(|(_, sight)| is_marker(sight)).collect();
            for (_, sight) in markers {
                blind(run, device, &sight.id);
            }
        },
        Rule::MarkerBack,
    ),
];

#[test]
fn every_change_of_a_history_is_noticed() {
    for (what, spoil, rule) in SPOILERS {
        let mut run = Run::new(3, Fault::Nothing);
        assert!(!run.rules().contains(rule));
        spoil(&mut run);
        assert!(run.rules().contains(rule), "{what}: {:?}", run.rules());
    }
}
