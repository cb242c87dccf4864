//! P5: what an account keeps is the same for all of its devices, and what was acknowledged is there.
//!
//! Each contact, room and conversation is by itself. What is found of it at the end was asked for last: it is the value of
//! a change that was not over before another one began that was acknowledged. How far a conversation was read may also be
//! further than what was asked for.

use std::collections::BTreeMap;

use super::super::cast::{DeviceNo, UserNo};
use super::super::history::Fact;
use super::super::keeping::{ChangeNo, Topic};
use super::case::{Case, Moment};
use super::verdict::{Rule, Violation};

/// A change that a device asked for.
struct Asked<'a> {
    by: DeviceNo,
    value: Option<&'a str>,
    began: Moment,
    acknowledged: Option<Moment>,
    is_refused: bool,
}

type Entries = BTreeMap<String, String>;

pub(super) fn check(case: &Case<'_>, violations: &mut Vec<Violation>) {
    let asked = read_changes(case);
    for number in 0..case.cast.users.len() {
        let user = UserNo(number);
        for topic in Topic::ALL {
            let found = found(case, user, topic);
            let Some((first, entries)) = found.first().copied() else { continue };
            for (device, other) in found.iter().skip(1).filter(|(_, other)| *other != entries) {
                let text = format!(
                    "{} finds other {} than {}: {other:?}, not {entries:?}",
                    case.cast.name(*device),
                    topic.as_str(),
                    case.cast.name(first)
                );
                violations.push(case.violation(Rule::StateDiffers, Some(*device), &[], text));
            }
            for ((whose, of, key), changes) in &asked {
                if (*whose, *of) != (user, topic) {
                    continue;
                }
                let value = entries.get(*key).map(String::as_str);
                let is_right = is_possible(value, changes)
                    || (topic == Topic::Read && is_further(case, user, value, changes));
                if !is_right {
                    let text = lost(case, user, topic, key, value, changes);
                    violations.push(case.violation(Rule::StateDiffers, None, &[], text));
                }
            }
        }
    }
}

fn lost(
    case: &Case<'_>,
    user: UserNo,
    topic: Topic,
    key: &str,
    value: Option<&str>,
    changes: &[Asked<'_>],
) -> String {
    let last = changes.iter().filter(|asked| asked.acknowledged.is_some()).max_by_key(|asked| asked.began);
    let last = last.map(|asked| {
        format!("{} was acknowledged {:?} at #{}", case.cast.name(asked.by), asked.value, asked.began)
    });
    format!(
        "the {} of {} have {value:?} for {key} at the end, and {}",
        topic.as_str(),
        case.cast.user(user),
        last.unwrap_or_else(|| "nobody asked for that".to_owned())
    )
}

/// What is kept under one name, and everything that was asked of it.
type Changes<'a> = BTreeMap<(UserNo, Topic, &'a str), Vec<Asked<'a>>>;

fn read_changes<'a>(case: &Case<'a>) -> Changes<'a> {
    let mut all: BTreeMap<ChangeNo, ((UserNo, Topic, &str), Asked<'_>)> = BTreeMap::new();
    for (moment, device, fact) in case.facts() {
        match fact {
            Fact::Changing { number, topic, key, value } => {
                let Some(part) = case.cast.part(device) else { continue };
                let value = value.as_deref();
                let asked = Asked { by: device, value, began: moment, acknowledged: None, is_refused: false };
                all.insert(*number, ((part.user, *topic, key.as_str()), asked));
            }
            Fact::Kept { number } => {
                if let Some((_, asked)) = all.get_mut(number) {
                    asked.acknowledged = Some(moment);
                }
            }
            Fact::NotKept { number } => {
                if let Some((_, asked)) = all.get_mut(number) {
                    asked.is_refused = true;
                }
            }
            _ => {}
        }
    }
    let mut changes = Changes::new();
    for (key, asked) in all.into_values() {
        changes.entry(key).or_default().push(asked);
    }
    changes
}

/// What each device of somebody found last.
fn found<'a>(case: &Case<'a>, user: UserNo, wanted: Topic) -> Vec<(DeviceNo, &'a Entries)> {
    let mut found = BTreeMap::new();
    for (_, device, fact) in case.facts() {
        let is_of_user = case.cast.part(device).is_some_and(|part| part.user == user);
        if let Fact::Holds { topic, entries } = fact
            && *topic == wanted
            && is_of_user
        {
            found.insert(device, entries);
        }
    }
    found.into_iter().collect()
}

/// Whether a value may be what the changes left.
fn is_possible(value: Option<&str>, changes: &[Asked<'_>]) -> bool {
    let is_over = |end: Moment| changes.iter().any(|other| other.acknowledged.is_some() && other.began > end);
    let is_first = value.is_none() && !changes.iter().any(|asked| asked.acknowledged.is_some());
    let mut fit = changes.iter().filter(|asked| asked.value == value && !asked.is_refused);
    is_first || fit.any(|asked| !asked.acknowledged.is_some_and(is_over))
}

/// Whether a position is behind none that was acknowledged.
fn is_further(case: &Case<'_>, user: UserNo, value: Option<&str>, changes: &[Asked<'_>]) -> bool {
    let Some(log) = case.log(user).filter(|log| log.is_whole) else { return true };
    let position = |id: Option<&str>| {
        log.entries.iter().position(|entry| id.is_some() && entry.stanza_id.as_deref() == id)
    };
    let found = position(value);
    let mut acknowledged = changes.iter().filter(|asked| asked.acknowledged.is_some());
    found.is_some() && acknowledged.all(|asked| position(asked.value) <= found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: Option<&'static str>, began: usize, acknowledged: Option<usize>) -> Asked<'static> {
        Asked { by: DeviceNo(0), value, began, acknowledged, is_refused: false }
    }

    #[test]
    fn what_may_be_left() {
        for (changes, value, want) in [
            (vec![], None, true),
            (vec![], Some("a"), false),
            (vec![asked(Some("a"), 1, Some(2))], Some("a"), true),
            (vec![asked(Some("a"), 1, Some(2))], None, false), // lost
            (vec![asked(Some("a"), 1, None)], None, true),
            (vec![asked(Some("a"), 1, None)], Some("a"), true),
            (vec![asked(Some("a"), 1, Some(2)), asked(Some("b"), 3, Some(4))], Some("a"), false), // over
            (vec![asked(Some("a"), 1, Some(4)), asked(Some("b"), 3, Some(5))], Some("a"), true),  // at once
            (vec![asked(Some("a"), 1, Some(2)), asked(None, 3, Some(4))], None, true),
            (vec![asked(Some("a"), 1, None), asked(Some("b"), 3, Some(4))], Some("a"), true), // it came late
        ] {
            assert_eq!(is_possible(value, &changes), want, "{value:?}");
        }
        let refused = Asked { is_refused: true, ..asked(Some("a"), 1, None) };
        assert!(!is_possible(Some("a"), &[refused]));
    }
}
