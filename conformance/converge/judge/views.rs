//! P1 and P4: how much of the log each device has to have seen.
//!
//! | kind | sees | may have holes |
//! | --- | --- | --- |
//! | sm, csi | all of the log: live, by resumption, else from the archive | never |
//! | mam | all of the log: live and from the archive | never |
//! | smoffline | what its account received: live, by resumption, else as offline messages | never: what was not acknowledged comes again |
//! | legacy | what its account received: live and as offline messages | what was on its way when a connection broke |
//! | carbons | what its account sent and received while it was there | all that happened between two of its sessions |
//!
//! Of these, all but carbons may say that they are not there, while their stream goes on. What passes them then is no
//! hole: it comes when they are there again, or is paged.
//!
//! A hole of the last two lies in the log behind what one session saw last, and what was sent after the next one had
//! begun cannot lie in it. That of a legacy device lies before what the next one saw first, too: its offline messages
//! have no holes, while carbons has no right to any of them.

use super::super::cast::{DeviceNo, Kind, Part};
use super::super::history::{End, Way};
use super::case::{Case, Letter, Log, Moment, View};
use super::verdict::{Rule, Violation};

pub(super) fn check(case: &Case<'_>, violations: &mut Vec<Violation>) {
    for (device, part, view) in case.players() {
        let Some(log) = case.log(part.user).filter(|log| log.is_whole && view.is_complete()) else {
            continue;
        };
        let reaches = Reaches::new(log, view);
        for (position, entry) in log.entries.iter().enumerate() {
            let Some(letter) = case.letters.get(entry.id.as_str()) else { continue };
            let is_first = log.position(letter.id) == Some(position);
            if !is_first || !is_for(part, device, letter) || view.known.contains(letter.id) {
                continue;
            }
            if reaches.is_excused(part.kind, view, letter, position) {
                continue;
            }
            let (rule, how) = if reaches.is_inside_of_resumed(view, position) {
                (Rule::LostInResumption, ", though it resumed its stream")
            } else {
                (Rule::Missed, "")
            };
            let who = case.cast.name(device);
            let text = format!("{who} never saw {}{how}", letter.id);
            violations.push(case.violation(rule, Some(device), &[letter.id], text));
        }
    }
}

/// Whether a message is one for this device at all.
fn is_for(part: &Part, device: DeviceNo, letter: &Letter<'_>) -> bool {
    let is_received = letter.to == Some(part.user);
    letter.by != device && (is_received || part.kind.sees_sent())
}

/// Which part of the log each session of a device saw live.
struct Reaches {
    /// First and last position, by the number of the session.
    sessions: Vec<Option<(usize, usize)>>,
}

impl Reaches {
    fn new(log: &Log<'_>, view: &View<'_>) -> Self {
        let mut sessions: Vec<Option<(usize, usize)>> = view.sessions.iter().map(|_| None).collect();
        for seen in view.seen.iter().filter(|seen| seen.sight.way != Way::Archive) {
            let position = log.position(&seen.sight.id);
            if let (Some(position), Some(reach)) = (position, sessions.get_mut(seen.session)) {
                let (first, last) = reach.unwrap_or((position, position));
                *reach = Some((first.min(position), last.max(position)));
            }
        }
        Self { sessions }
    }

    /// Whether a device of this kind may have missed what stands at this position.
    fn is_excused(&self, kind: Kind, view: &View<'_>, letter: &Letter<'_>, position: usize) -> bool {
        // Who pages reads what was there before it, nobody else is owed that.
        let first = view.sessions.first().map(|session| session.established.unwrap_or(session.began));
        if !kind.pages() && first.is_some_and(|first| letter.first_sent < first) {
            return true;
        }
        if !matches!(kind, Kind::Carbons | Kind::Legacy) {
            return false;
        }
        (0..view.sessions.len()).any(|before| self.is_hole(kind, view, letter, position, before))
    }

    /// Whether it can lie in the hole behind this session.
    fn is_hole(
        &self,
        kind: Kind,
        view: &View<'_>,
        letter: &Letter<'_>,
        position: usize,
        before: usize,
    ) -> bool {
        let after = before.saturating_add(1);
        let (Some(left), Some(right)) = (view.sessions.get(before), view.sessions.get(after)) else {
            return false;
        };
        let is_clean = matches!(left.end, Some(End::Left | End::Closed(_)));
        let is_possible = kind == Kind::Carbons || !is_clean;
        let was_there: Moment = right.established.unwrap_or(Moment::MAX);
        let is_delivered =
            left.confirmed.is_some_and(|confirmed| letter.known().is_some_and(|known| known < confirmed));
        let last_before = self.sessions.iter().take(after).flatten().map(|(_, last)| *last).max();
        let first_after = self.sessions.iter().skip(after).flatten().map(|(first, _)| *first).min();
        let first_after = first_after.filter(|_| kind == Kind::Legacy);
        is_possible
            && !is_delivered
            && letter.first_sent < was_there
            && last_before.is_none_or(|last| last < position)
            && first_after.is_none_or(|first| position < first)
    }

    /// Whether it stands between two messages that one session saw, and that session was resumed.
    fn is_inside_of_resumed(&self, view: &View<'_>, position: usize) -> bool {
        self.sessions.iter().zip(&view.sessions).any(|(reach, session)| {
            let is_inside = reach.is_some_and(|(first, last)| first < position && position < last);
            is_inside && !session.resumed.is_empty()
        })
    }
}
