//! P5: the same state everywhere: texts as last corrected or retracted, reactions, how far was read.
//!
//! A state is what the messages of a log make of it, in the log's order. A retraction beats a correction, a marker
//! moves forward only, and for the rest the last one decides.

use std::collections::BTreeMap;

use super::super::cast::UserNo;
use super::super::content::Content;
use super::super::history::{Way, brief};
use super::case::{Case, Letter, Log, View};
use super::verdict::{Rule, Violation};

pub(super) fn check(case: &Case<'_>, violations: &mut Vec<Violation>) {
    check_contents(case, violations);
    for (number, log) in case.logs.iter().enumerate().filter(|(_, log)| log.is_whole) {
        let owner = case.cast.user(UserNo(number));
        let sent = |position: usize| {
            let id = log.entries.get(position)?.id.as_str();
            case.letters.get(id).map(|letter| letter.content)
        };
        let meant = State::of(case, log, sent);
        let archived = |position: usize| log.entries.get(position).map(|entry| &entry.content);
        let shown = State::of(case, log, archived);
        compare(case, &meant, &shown, None, &format!("a new device of {owner}"), violations);
        for (device, part, view) in case.players() {
            let is_whole = part.kind.pages() && part.kind.has_carbons() && view.is_complete();
            if part.user != UserNo(number) || !is_whole {
                continue;
            }
            let seen = last_seen(case, view, device);
            let shown = State::of(case, log, |position| {
                let id = log.entries.get(position)?.id.as_str();
                seen.get(id).copied()
            });
            compare(case, &meant, &shown, Some(device), &case.cast.name(device), violations);
        }
    }
}

/// What a device shows of each message: as it came last, or as it was written there.
fn last_seen<'a>(
    case: &Case<'a>,
    view: &View<'a>,
    device: super::super::cast::DeviceNo,
) -> BTreeMap<&'a str, &'a Content> {
    let own = case.letters.values().filter(|letter| letter.by == device);
    let mut contents: BTreeMap<&str, &Content> = own.map(|letter| (letter.id, letter.content)).collect();
    contents.extend(view.seen.iter().map(|seen| (seen.sight.id.as_str(), &seen.sight.content)));
    contents
}

/// What was seen is what was sent, or a tombstone of it.
fn check_contents(case: &Case<'_>, violations: &mut Vec<Violation>) {
    for (device, _) in case.cast.devices() {
        let Some(view) = case.views.get(device.0) else { continue };
        for seen in &view.seen {
            let sight = seen.sight;
            let Some(letter) = case.letters.get(sight.id.as_str()) else { continue };
            let is_from_sender = case.user(&sight.from) == Some(letter.from);
            let is_same = sight.content == *letter.content
                || (sight.content == Content::Tombstone && is_retracted(case, letter));
            if is_same && is_from_sender {
                continue;
            }
            let who = case.cast.name(device);
            let way = if sight.way == Way::Archive { "in the archive" } else { "live" };
            let text = format!("{who} saw {} {way} with another content than it was sent with", sight.id);
            violations.push(case.violation(Rule::ContentDiffers, Some(device), &[&sight.id], text));
        }
    }
}

/// Whether its author took it back.
fn is_retracted(case: &Case<'_>, letter: &Letter<'_>) -> bool {
    case.letters.values().any(|other| {
        other.from == letter.from && matches!(other.content, Content::Retraction { of } if of == letter.id)
    })
}

/// A text as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    Text(String),
    Retracted,
}

/// What a device shows.
#[derive(Debug, Default, PartialEq, Eq)]
struct State {
    texts: BTreeMap<String, Shown>,
    /// By message and person.
    reactions: BTreeMap<(String, UserNo), Vec<String>>,
    /// By the person who read: the position of the last message that is marked.
    read: BTreeMap<UserNo, usize>,
}

impl State {
    /// The state that the messages of a log make, as far as their contents are known here.
    fn of<'a>(case: &Case<'_>, log: &Log<'_>, content: impl Fn(usize) -> Option<&'a Content>) -> Self {
        let mut state = Self::default();
        for (position, entry) in log.entries.iter().enumerate() {
            if let (Some(content), Some(from)) = (content(position), case.user(&entry.from)) {
                state.apply(case, log, &entry.id, from, content);
            }
        }
        state
    }

    fn apply(&mut self, case: &Case<'_>, log: &Log<'_>, id: &str, from: UserNo, content: &Content) {
        let is_own = |of: &str| case.letters.get(of).is_some_and(|letter| letter.from == from);
        match content {
            Content::Text { body, .. } => {
                // A retraction may stand before a text that was sent again.
                self.texts.entry(id.to_owned()).or_insert_with(|| Shown::Text(body.clone()));
            }
            Content::Correction { of, body } if is_own(of) => {
                let shown = self.texts.entry(of.clone()).or_insert_with(|| Shown::Text(body.clone()));
                if *shown != Shown::Retracted {
                    *shown = Shown::Text(body.clone());
                }
            }
            Content::Retraction { of } if is_own(of) => {
                self.texts.insert(of.clone(), Shown::Retracted);
            }
            Content::Tombstone => {
                self.texts.insert(id.to_owned(), Shown::Retracted);
            }
            Content::Reactions { to, emojis } => {
                self.reactions.insert((to.clone(), from), emojis.clone());
            }
            Content::Displayed { upto } => {
                if let Some(position) = log.position(upto) {
                    let read = self.read.entry(from).or_insert(position);
                    *read = position.max(*read);
                }
            }
            Content::Correction { .. }
            | Content::Retraction { .. }
            | Content::Receipt { .. }
            | Content::Other(_) => {}
        }
    }
}

fn compare(
    case: &Case<'_>,
    meant: &State,
    shown: &State,
    device: Option<super::super::cast::DeviceNo>,
    who: &str,
    violations: &mut Vec<Violation>,
) {
    for (id, want) in &meant.texts {
        let got = shown.texts.get(id);
        if got != Some(want) {
            let text = format!("{who} shows {id} as {}, it is {}", say(got), say(Some(want)));
            violations.push(case.violation(Rule::StateDiffers, device, &[id], text));
        }
    }
    for ((id, person), want) in &meant.reactions {
        let got = shown.reactions.get(&(id.clone(), *person));
        if got != Some(want) {
            let name = case.cast.user(*person);
            let text = format!("{who} shows the reactions of {name} to {id} as {got:?}, they are {want:?}");
            violations.push(case.violation(Rule::StateDiffers, device, &[id], text));
        }
    }
    for (person, want) in &meant.read {
        let got = shown.read.get(person);
        if got < Some(want) {
            let name = case.cast.user(*person);
            let text = format!(
                "{who} shows {name} to have read up to {got:?} of the log, it was marked up to {want}"
            );
            violations.push(case.violation(Rule::MarkerBack, device, &[], text));
        }
    }
}

fn say(shown: Option<&Shown>) -> String {
    match shown {
        None => "nothing".to_owned(),
        Some(Shown::Retracted) => "retracted".to_owned(),
        Some(Shown::Text(text)) => brief(&format!("{text:?}")),
    }
}
