//! P3: the log has a message once, and so has each device.

use std::collections::BTreeMap;

use super::super::cast::{DeviceNo, Part, UserNo};
use super::super::history::{End, Way};
use super::case::{Case, Seen, View};
use super::verdict::{Rule, Violation};

pub(super) fn check(case: &Case<'_>, violations: &mut Vec<Violation>) {
    for (number, log) in case.logs.iter().enumerate() {
        let name = case.cast.user(UserNo(number));
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in &log.entries {
            let count = times.entry(&entry.id).or_default();
            *count = count.saturating_add(1);
        }
        for (id, count) in times.into_iter().filter(|(_, count)| *count > 1) {
            let text = format!("{name}'s archive has {id} {count} times");
            violations.push(case.violation(Rule::DoubledInLog, None, &[id], text));
        }
        for entry in log.entries.iter().filter(|entry| !case.letters.contains_key(entry.id.as_str())) {
            let text = format!("{name}'s archive has {}, which nobody sent", entry.id);
            violations.push(case.violation(Rule::Invented, None, &[&entry.id], text));
        }
    }
    for (device, part, view) in case.players() {
        check_device(case, device, part, view, violations);
    }
}

fn check_device(
    case: &Case<'_>,
    device: DeviceNo,
    part: &Part,
    view: &View<'_>,
    violations: &mut Vec<Violation>,
) {
    let who = case.cast.name(device);
    let mut before: BTreeMap<&str, Seen<'_>> = BTreeMap::new();
    for seen in view.seen.iter().filter(|seen| seen.sight.way != Way::Archive) {
        let id = seen.sight.id.as_str();
        match before.insert(id, *seen) {
            Some(first) if !is_excused(part, view, first, *seen) => {
                let again = if first.session == seen.session { "in one session" } else { "in two sessions" };
                let text = format!("{who} was sent {id} twice {again}");
                violations.push(case.violation(Rule::DoubledOnDevice, Some(device), &[id], text));
            }
            _ => {}
        }
        if case.user(&seen.sight.from).is_some() && !case.letters.contains_key(id) {
            let text = format!("{who} was sent {id:?}, which nobody wrote: {}", seen.sight.xml);
            violations.push(case.violation(Rule::Invented, Some(device), &[id], text));
        }
    }
}

/// Whether a message may come a second time: in another session, with the id by which a device tells that it has it,
/// and only as far as the server could not know.
pub(super) fn is_excused(part: &Part, view: &View<'_>, first: Seen<'_>, second: Seen<'_>) -> bool {
    if first.session == second.session
        || first.sight.stanza_id.is_none()
        || first.sight.stanza_id != second.sight.stanza_id
    {
        return false;
    }
    if part.kind.pages() {
        return true;
    }
    let Some(session) = view.sessions.get(first.session) else { return false };
    match first.sight.number.filter(|_| part.kind.has_sm()) {
        Some(number) => number > session.told,
        None => match session.end {
            Some(End::Left) => false,
            // What a stream without acknowledgements took is stored soon after.
            Some(End::Closed(_)) => session.was_killed,
            Some(End::Broken(_) | End::Dropped) | None => true,
        },
    }
}
