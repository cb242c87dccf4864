//! P1: one order, that of the log.

use std::collections::BTreeSet;

use super::super::cast::UserNo;
use super::super::history::{Fact, Way};
use super::case::{Case, Log};
use super::verdict::{Rule, Violation};

pub(super) fn check(case: &Case<'_>, violations: &mut Vec<Violation>) {
    check_live(case, violations);
    check_pages(case, violations);
    check_senders(case, violations);
}

/// The furthest that something came, to find what comes behind it and belongs before.
#[derive(Default)]
struct Furthest<'a>(Option<(usize, &'a str)>);

impl<'a> Furthest<'a> {
    /// Goes on, or tells which message came too early.
    fn go(&mut self, position: usize, id: &'a str) -> Option<&'a str> {
        match self.0 {
            Some((at, other)) if position < at => Some(other),
            _ => {
                self.0 = Some((position, id));
                None
            }
        }
    }
}

/// What a device is sent comes in the order of the log. What it has seen before does not count again. After a broken
/// connection the server cannot know what a device has that neither counts nor pages, and may begin anew.
fn check_live(case: &Case<'_>, violations: &mut Vec<Violation>) {
    for (device, part, view) in case.players() {
        let Some(log) = case.log(part.user) else { continue };
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let mut furthest = Furthest::default();
        let mut session = 0;
        for seen in &view.seen {
            let is_next = std::mem::replace(&mut session, seen.session) != seen.session;
            if is_next && !part.kind.has_sm() && !part.kind.pages() && view.was_broken(seen.session) {
                furthest = Furthest::default();
            }
            let id = seen.sight.id.as_str();
            let is_new = known.insert(id);
            let Some(position) = log.position(id).filter(|_| is_new && seen.sight.way != Way::Archive) else {
                continue;
            };
            if let Some(other) = furthest.go(position, id) {
                let who = case.cast.name(device);
                let text =
                    format!("{who} was sent {other} before {id}, the archive has them the other way round");
                violations.push(case.violation(Rule::ReorderedOnDevice, Some(device), &[other, id], text));
            }
        }
    }
}

/// So do the pages of one catch-up.
fn check_pages(case: &Case<'_>, violations: &mut Vec<Violation>) {
    for (device, part, _) in case.players() {
        let Some(log) = case.log(part.user) else { continue };
        let mut furthest = Furthest::default();
        for (_, other, fact) in case.facts().filter(|(_, other, _)| *other == device) {
            match fact {
                Fact::CaughtUp | Fact::Bound | Fact::Forgotten { .. } => furthest = Furthest::default(),
                Fact::Saw(sight) if sight.way == Way::Archive => {
                    let early = log.position(&sight.id).and_then(|position| furthest.go(position, &sight.id));
                    if let Some(early) = early {
                        let who = case.cast.name(other);
                        let text = format!(
                            "the archive showed {who} {early} before {}, and later the other way round",
                            sight.id
                        );
                        let messages = [early, sight.id.as_str()];
                        violations.push(case.violation(Rule::ReorderedOnPage, Some(device), &messages, text));
                    }
                }
                _ => {}
            }
        }
    }
}

/// RFC 6120 §10.1: what one device sends keeps its order, in both logs.
fn check_senders(case: &Case<'_>, violations: &mut Vec<Violation>) {
    for (number, log) in case.logs.iter().enumerate() {
        let owner = case.cast.user(UserNo(number));
        for (device, _, _) in case.players() {
            for (first, second) in inversions(case, log, device) {
                let who = case.cast.name(device);
                let text = format!(
                    "{who} sent {second} before {first}, {owner}'s archive has them the other way round"
                );
                violations.push(case.violation(Rule::ReorderedInLog, Some(device), &[first, second], text));
            }
        }
    }
}

/// Pairs that a device sent in another order than the log has them in: earlier in the log, earlier sent.
fn inversions<'a>(
    case: &Case<'a>,
    log: &Log<'a>,
    device: super::super::cast::DeviceNo,
) -> Vec<(&'a str, &'a str)> {
    let mut letters: Vec<_> = case.letters.values().filter(|letter| letter.by == device).collect();
    letters.sort_by_key(|letter| letter.first_sent);
    let mut furthest = Furthest::default();
    let mut pairs = Vec::new();
    for letter in letters {
        let Some(position) = log.position(letter.id) else { continue };
        if let Some(other) = furthest.go(position, letter.id) {
            pairs.push((letter.id, other));
        }
    }
    pairs
}
