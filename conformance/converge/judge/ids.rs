//! P1: a message has one id in an account, on every device and in the archive.

use std::collections::BTreeMap;

use super::super::cast::UserNo;
use super::super::history::Way;
use super::case::Case;
use super::verdict::{Rule, Violation};

pub(super) fn check(case: &Case<'_>, violations: &mut Vec<Violation>) {
    for (number, log) in case.logs.iter().enumerate() {
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        for entry in &log.entries {
            let Some(stanza_id) = entry.stanza_id.as_deref() else { continue };
            if let Some(other) = owners.insert(stanza_id, &entry.id).filter(|other| *other != entry.id) {
                let name = case.cast.user(UserNo(number));
                let text = format!("{other} and {} share the id {stanza_id} in {name}'s archive", entry.id);
                violations.push(case.violation(Rule::IdShared, None, &[other, &entry.id], text));
            }
        }
    }
    for (device, part, view) in case.players() {
        let Some(log) = case.log(part.user) else { continue };
        let who = case.cast.name(device);
        for seen in &view.seen {
            let sight = seen.sight;
            let Some(entry) = log.position(&sight.id).and_then(|position| log.entries.get(position)) else {
                continue;
            };
            let way = match sight.way {
                Way::Archive => "in the archive",
                Way::Live(_) => "live",
            };
            if sight.stanza_id.is_none() {
                let text = format!("{who} saw {} {way} without its id ({:?})", sight.id, sight.way);
                violations.push(case.violation(Rule::IdMissing, Some(device), &[&sight.id], text));
            } else if sight.stanza_id != entry.stanza_id {
                let ids =
                    [sight.stanza_id.as_deref(), entry.stanza_id.as_deref()].map(Option::unwrap_or_default);
                let text = format!(
                    "{who} saw {} {way} with the id {}, the archive says {}",
                    sight.id, ids[0], ids[1]
                );
                violations.push(case.violation(Rule::IdDiffers, Some(device), &[&sight.id], text));
            }
        }
    }
}
